/** The side panel of a span: what matters in an LLM call, then everything. */

import { h, shorten, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import * as names from "../names.js";
import { copy } from "../ui/popover.js";
import { conversation, parsed } from "./conversation.js";
import { callOf, evaluationsOf } from "./model.js";
import { duration, seconds, tokens, usdExact } from "./text.js";

const LONGEST_VALUE = 2000;
const STATUS_WORDS = { priced: "priced", unpriced: "no price is known for this model, or not for its service tier", no_usage: "the answer carried no usage" };
// Shown above in their own form.
const CONTENT = new Set([names.INPUT_MESSAGES, names.OUTPUT_MESSAGES, names.SYSTEM_INSTRUCTIONS, names.RETRIEVAL_DOCUMENTS]);

/**
 * @param {import("./model.js").Span} span
 * @param {import("./model.js").Trace} trace
 */
export function detail(span, trace) {
  const call = callOf(span);
  return h(
    "div.detail",
    {},
    h("header", {}, h("h2", {}, shorten(visible(span.name), 200)), h("p.quiet", {}, [span.service, span.kind, span.scope].filter(Boolean).map(visible).join(" · "))),
    span.status === "error" && problem(span),
    h("div.tiles", {}, tiles(span, call)),
    call.costStatus && costs(call),
    judgements(span),
    documents(span),
    messages(span),
    span.events.length > 0 && events(span),
    span.links.length > 0 && links(span),
    section("Attributes", pairs(Object.entries(span.attributes).filter(([key]) => !CONTENT.has(key))), true),
    section("Resource", pairs(Object.entries(span.resource)), false),
    h("p.ids", {}, id("Trace", trace.id), id("Span", span.id)),
  );
}

function section(title, content, open = true) {
  return h("details.section", { open }, h("summary", {}, title), content);
}

const WIDE = 12; // characters that one column does not hold
const tile = (label, value, more) => h("div.tile", { class: String(value).length > WIDE ? "tile wide" : "tile" }, h("dt", {}, label), h("dd", {}, value, more && h("small", {}, more)));

function tiles(span, call) {
  const model = call.answered ?? call.asked;
  const other = call.asked && call.answered && call.asked !== call.answered ? `asked for ${visible(call.asked)}` : call.provider;
  const { input, output, cacheRead, cacheWrite, reasoning } = call.tokens;
  const inside = [cacheRead && `${tokens(cacheRead)} read from cache`, cacheWrite && `${tokens(cacheWrite)} written to it`].filter(Boolean).join(", ");
  const finish = call.finish && [call.finish].flat().map(visible).join(", ");
  return [
    model && tile("Model", visible(model), other && visible(other)),
    tile("Duration", duration(span.duration), `at ${duration(span.offset)}`),
    call.firstToken !== null && tile("First token", seconds(call.firstToken), call.rate !== null && `then ${call.rate.toFixed(0)} tokens/s`),
    call.counted && tile("Input tokens", tokens(input), inside),
    call.counted && call.operation !== "embeddings" && tile("Output tokens", tokens(output), reasoning && `${tokens(reasoning)} of them reasoning`),
    call.costStatus && tile("Cost", usdExact(call.cost), STATUS_WORDS[call.costStatus] ?? visible(call.costStatus)),
    finish && tile("Finished", finish),
    call.window !== null && tile("Window used", `${(call.window * 100).toFixed(call.window < 0.1 ? 2 : 0)} %`),
    span.attributes[names.RETRIEVED_DOCUMENTS] !== undefined && tile("Documents", tokens(span.attributes[names.RETRIEVED_DOCUMENTS])),
    span.attributes[names.TOOL_NAME] && tile("Tool", visible(span.attributes[names.TOOL_NAME])),
  ];
}

function problem(span) {
  const type = span.attributes[names.ERROR_TYPE];
  return h("p.problem", {}, icon("alert"), h("span", {}, visible([type, span.message].filter(Boolean).join(": ") || "This span ended in an error")));
}

/** How the cost came about: tokens of each kind, the share each had, and under which price. */
function costs(call) {
  if (call.cost === null) return null;
  const { input, cacheRead, cacheWrite, output } = call.tokens;
  const uncached = input === null ? null : input - (cacheRead ?? 0) - (cacheWrite ?? 0);
  const rows = [
    ["Input, not cached", uncached, call.costs.input],
    ["Read from cache", cacheRead, call.costs.cacheRead],
    ["Written to cache", cacheWrite, call.costs.cacheWrite],
    ["Output", output, call.costs.output],
  ].filter(([, , cost]) => cost !== null && cost > 0);
  return section(
    "How it was priced",
    [
      h("table.grid", {}, h("tbody", {}, rows.map(([label, count, cost]) => h("tr", {}, h("td", {}, label), h("td.number", {}, tokens(count)), h("td.number", {}, usdExact(cost)))))),
      call.pricedAs && h("p.note", {}, `Price of ${visible(call.pricedAs)}`),
      call.sentCost !== null && h("p.note", {}, `The library itself says ${usdExact(call.sentCost)}`),
    ],
    false,
  );
}

const BAD = new Set(["hallucinated", "irrelevant", "incomplete", "fail", "failed"]);
const GOOD = new Set(["grounded", "relevant", "complete", "pass", "passed"]);
const verdict = ({ label, error }) => (error || BAD.has(label) ? ".bad" : GOOD.has(label) ? ".good" : "");

function judgements(span) {
  const found = evaluationsOf(span);
  if (!found.length) return null;
  const row = (one) =>
    h(
      "tr",
      {},
      h("td", {}, visible(one.name)),
      h("td", {}, h(`span.tag${verdict(one)}`, {}, visible(one.label ?? one.error ?? "–"))),
      h("td.number", {}, one.score === null ? "–" : one.score.toFixed(2)),
      h("td", {}, one.explanation ? shorten(visible(one.explanation), 400) : ""),
    );
  return section("Evaluations", h("table.grid", {}, h("tbody", {}, found.map(row))));
}

function documents(span) {
  const found = parsed(span.attributes[names.RETRIEVAL_DOCUMENTS]);
  if (!Array.isArray(found) || !found.length) return null;
  const one = (document, at) => {
    const { id: name, score, content, ...rest } = typeof document === "object" && document ? document : { content: document };
    const body = content ?? (Object.keys(rest).length ? JSON.stringify(rest) : "");
    return h("li", {}, h("span.doc-name", {}, visible(name ?? `document ${at + 1}`)), typeof score === "number" && h("span.quiet", {}, ` score ${score.toFixed(3)}`), body && h("p", {}, shorten(visible(body), LONGEST_VALUE)));
  };
  return section(`Documents (${found.length})`, h("ol.documents", {}, found.map(one)));
}

function messages(span) {
  const found = conversation(span);
  if (found) return section("Messages", found);
  return callOf(span).counted && callOf(span).operation === "chat" ? h("p.note", {}, "Messages were not captured. To keep them: stackctl up --capture-content") : null;
}

function events(span) {
  const row = (event) => h("li", {}, h("span.event-name", {}, visible(event.name)), h("span.quiet", {}, ` at ${duration(Math.max(0, event.offset))}`), Object.keys(event.attributes).length > 0 && pairs(Object.entries(event.attributes)));
  return section(`Events (${span.events.length})`, h("ol.events", {}, span.events.map(row)), false);
}

function links(span) {
  return section("Links", h("ul", {}, span.links.map((link) => h("li", {}, h("a", { href: `/traces/${link.traceId}?span=${link.spanId}` }, link.traceId)))));
}

function pairs(entries) {
  const sorted = entries.sort(([one], [other]) => (one < other ? -1 : 1));
  const text = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
  return h("dl.pairs", {}, sorted.map(([key, value]) => h("div", {}, h("dt", {}, breakable(shorten(visible(key), 200))), h("dd", {}, shorten(visible(text(value)), LONGEST_VALUE)))));
}

/** A dotted name that breaks behind its dots. */
const breakable = (key) => key.split(/(?<=[._])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));

function id(label, value) {
  return h("span.id", {}, `${label} `, h("code", {}, value), h("button.control.bare", { type: "button", title: "Copy", "aria-label": `Copy ${label} id`, onclick: () => copy(value, `${label} id`) }, icon("copy")));
}
