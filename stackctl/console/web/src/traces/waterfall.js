/** The waterfall: spans in time, nested, with errors, first tokens and costs marked. */

import { h, put, shorten, svg, visible } from "../lib/dom.js";
import { byName, color } from "../lib/colors.js";
import { icon } from "../lib/icons.js";
import { callOf, evaluationsOf } from "./model.js";
import { duration, seconds, usd } from "./text.js";

const FIRST_ROWS = 400; // the rest comes when asked for
const TICKS = 4;
const INDENT_PX = 14;
const DEEPEST_INDENT = 14;

/**
 * @param {import("./model.js").Trace} trace
 * @param {{selected?: string, onselect?: (span: import("./model.js").Span) => void, scale?: number}} options
 *   scale: milliseconds that the whole width stands for; the trace's own if not said
 * @returns {HTMLElement}
 */
export function waterfall(trace, { selected, onselect = () => {}, scale }) {
  const whole = scale ?? (trace.duration || 1);
  const services = [...new Set(trace.spans.map((span) => span.service))];
  // Where there is one service its colour would say nothing.
  const colours = services.length > 1 ? new Map(byName(services).map((colour, at) => [services[at], colour])) : null;
  const state = { folded: new Set(), limit: FIRST_ROWS, selected };
  const rows = h("div.spans", { role: "tree", "aria-label": "Spans" });
  const draw = () => {
    const seen = unfolded(trace.roots, state.folded);
    put(rows, seen.slice(0, state.limit).map((span) => row(span, { whole, colours, state, onselect, redraw: draw })), more(seen.length, state, draw));
  };
  draw();
  rows.addEventListener("keydown", (event) => steer(event, rows, trace, state, draw));
  return h("div.waterfall", {}, h("div.waterfall-axis", { "aria-hidden": "true" }, ticks(whole)), rows, key(trace.spans));
}

/** What the colours and marks that this trace has mean. */
function key(spans) {
  const calls = spans.map((span) => [span, callOf(span)]);
  const works = Object.keys(WORK).filter((work) => calls.some(([, call]) => call.operation === work));
  const entry = (colour, text) => h("span", {}, h("i.swatch", { style: { background: colour } }), text);
  const judged = calls.some(([span, call]) => evaluationsOf(span).length && !call.counted);
  const entries = [
    ...works.map((work) => entry(color(WORK[work]), work.replaceAll("_", " "))),
    judged && entry(color("green"), "evaluation"),
    calls.some(([, call]) => call.firstToken !== null) && h("span", {}, diamond(), "first token"),
  ].filter(Boolean);
  return entries.length > 0 && h("p.waterfall-key", {}, entries);
}

function unfolded(roots, folded) {
  const found = [];
  const pending = [...roots].reverse();
  while (pending.length) {
    const span = pending.pop();
    found.push(span);
    if (!folded.has(span.id)) for (let at = span.children.length - 1; at >= 0; at -= 1) pending.push(span.children[at]);
  }
  return found;
}

function more(count, state, draw) {
  if (count <= state.limit) return null;
  const show = () => {
    state.limit += 4 * FIRST_ROWS;
    draw();
  };
  return h("button.control", { type: "button", onclick: show }, `${state.limit} of ${count} spans; show more`);
}

function ticks(whole) {
  return Array.from({ length: TICKS + 1 }, (_, at) => h("span", { style: { left: `${(at / TICKS) * 100}%` } }, at ? duration((whole * at) / TICKS) : "0"));
}

function row(span, { whole, colours, state, onselect, redraw }) {
  const call = callOf(span);
  const failed = span.status === "error";
  const open = span.children.length ? !state.folded.has(span.id) : null;
  const element = h(
    "div.span-row",
    {
      role: "treeitem",
      class: ["span-row", failed && "failed", call.counted && "call", state.selected === span.id && "selected"].filter(Boolean).join(" "),
      tabindex: state.selected === span.id ? 0 : -1,
      "aria-level": span.depth + 1,
      "aria-expanded": open,
      "aria-selected": String(state.selected === span.id),
      "data-span": span.id,
      onclick: () => choose(element, span, state, onselect),
    },
    h(
      "div.span-name",
      { style: { paddingLeft: `${Math.min(span.depth, DEEPEST_INDENT) * INDENT_PX}px` } },
      twisty(span, open, state, redraw),
      colours && h("i.swatch", { style: { background: colours.get(span.service) }, title: visible(span.service) }),
      failed && icon("alert"),
      h("span.span-text", { title: shorten(visible(span.name), 500) }, shorten(visible(span.name), 120)),
    ),
    h("div.span-time", {}, bar(span, call, whole)),
    h("div.span-facts", {}, facts(span, call)),
  );
  return element;
}

function twisty(span, open, state, redraw) {
  if (open === null) return h("span.twisty");
  const turn = (event) => {
    event.stopPropagation();
    fold(span, state, redraw);
  };
  return h("button.twisty", { type: "button", tabindex: "-1", "aria-label": open ? "Fold" : "Unfold", class: open ? "twisty open" : "twisty", onclick: turn }, icon("chevron"));
}

function fold(span, state, redraw) {
  if (!state.folded.delete(span.id)) state.folded.add(span.id);
  redraw();
}

// What a span does, by its operation (GenAI conventions), and the colour of its bar.
const WORK = {
  chat: "blue",
  text_completion: "blue",
  generate_content: "blue",
  embeddings: "light-blue",
  retrieval: "purple",
  execute_tool: "orange",
  invoke_agent: "yellow",
  create_agent: "yellow",
  invoke_workflow: "yellow",
};

function workColour(span, call) {
  if (evaluationsOf(span).length && !call.counted) return color("green");
  return Object.hasOwn(WORK, call.operation ?? "") ? color(WORK[call.operation]) : "var(--plain-bar)";
}

/** A span's bar, with what happened in it. */
function bar(span, call, whole) {
  const left = Math.min(100, (span.offset / whole) * 100);
  const width = Math.min(100 - left, (Math.max(0, span.duration) / whole) * 100);
  const first = call.firstToken === null ? null : Math.min(100, ((call.firstToken * 1000) / (span.duration || 1)) * 100);
  return h(
    "div.span-bar",
    { style: { left: `${left}%`, width: `${width}%`, "--colour": workColour(span, call) } },
    first !== null && [h("i.before-first", { style: { width: `${first}%` } }), firstMark(first, call.firstToken)],
  );
}

/** A span's figures: how long, how dear, and whether it was found to be made up. */
function facts(span, call) {
  const bad = evaluationsOf(span).some((one) => one.label === "hallucinated");
  return [bad && h("span.bad-text", { title: "Judged to be hallucinated" }, "hallucinated"), call.cost !== null && h("span.quiet", {}, usd(call.cost)), h("span", {}, duration(span.duration))];
}

const diamond = () => svg("svg.diamond", { viewBox: "0 0 8 8", "aria-hidden": "true" }, svg("path", { d: "M4 0 8 4 4 8 0 4Z" }));

function firstMark(at, firstToken) {
  return h("span.first-token", { style: { left: `${at}%` }, title: `First token after ${seconds(firstToken)}`, "data-first-token": firstToken }, diamond());
}

function choose(element, span, state, onselect) {
  state.selected = span.id;
  for (const other of element.parentElement.querySelectorAll(".selected")) {
    other.classList.remove("selected");
    other.setAttribute("aria-selected", "false");
    other.tabIndex = -1;
  }
  element.classList.add("selected");
  element.setAttribute("aria-selected", "true");
  element.tabIndex = 0;
  onselect(span);
}

/** Arrow keys as in every tree. */
function steer(event, rows, trace, state, draw) {
  const current = event.target.closest("[data-span]");
  if (!current) return;
  const list = [...rows.querySelectorAll("[data-span]")];
  const at = list.indexOf(current);
  const span = trace.spans.find((one) => one.id === current.dataset.span);
  const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: list.length - 1 };
  if (event.key in moves) focus(list[moves[event.key]]);
  else if (event.key === "ArrowRight" && state.folded.has(span.id)) refocus(span, state, draw, rows);
  else if (event.key === "ArrowLeft" && span.children.length && !state.folded.has(span.id)) refocus(span, state, draw, rows);
  else if (event.key === "ArrowLeft" && span.parent) focus(rows.querySelector(`[data-span="${CSS.escape(span.parent)}"]`));
  else return;
  event.preventDefault();
}

function focus(element) {
  element?.focus();
  element?.click();
}

function refocus(span, state, draw, rows) {
  fold(span, state, draw);
  rows.querySelector(`[data-span="${CSS.escape(span.id)}"]`)?.focus();
}
