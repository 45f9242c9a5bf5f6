/** Searching traces: filters, a TraceQL box, and what was found. */

import * as api from "../lib/api.js";
import { ago, moment, shortMoment } from "../format/times.js";
import { h, keepFocus, put, shorten, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { change, go } from "../lib/router.js";
import { recall, remember } from "../lib/store.js";
import { useZone } from "../board/view.js";
import { plainValue } from "../board/frames.js";
import { timePicker } from "../time/picker.js";
import { resolve } from "../time/range.js";
import { useUtc } from "../format/times.js";
import { emptyStack, isEmpty } from "../stack/empty.js";
import { failed, nothing, waiting } from "../ui/states.js";
import * as names from "../names.js";
import { composed, errorPlace, FILTERS, selecting } from "./filters.js";
import { newestFirst } from "./search.js";
import { duration, seconds, tokens, usd } from "./text.js";

const MOST = 100;
const SPANS_OF_EACH = 30;
const USUAL = { from: "now-1h", to: "now" };

/** The page of the trace list. */
export class TraceListView {
  constructor(root) {
    this.root = root;
    this.abort = new AbortController();
    this.options = {};
  }

  open(place) {
    document.title = "Traces · stackctl";
    useZone();
    this.toolbar = h("div.toolbar");
    this.form = h("div.search");
    this.results = h("div.results", { "aria-live": "polite" });
    put(this.root, h("header.page-head", {}, h("div.page-title", {}, h("h1", {}, "Traces"), h("p", {}, "Every call from question to answer.")), this.toolbar), this.form, this.results);
    this.update(place);
    for (const { key, tag } of FILTERS.filter((filter) => filter.tag)) {
      api.tagValues(tag, this.abort.signal).then((values) => { this.options[key] = values; this.drawFilters(); }, () => {}); // without the list the filter still takes what the address says
    }
  }

  update(place) {
    this.place = place;
    this.wanted = { from: place.query.get("from") ?? USUAL.from, to: place.query.get("to") ?? USUAL.to };
    if (!resolve(this.wanted)) this.wanted = USUAL;
    put(
      this.toolbar,
      timePicker({ wanted: this.wanted, onrange: (wanted) => change(wanted), onnow: () => this.ask(), onzone: (utc) => { remember("zone", utc ? "utc" : "local"); useUtc(utc); this.update(this.place); } }),
    );
    keepFocus(this.form, () => this.drawForm());
    this.ask();
  }

  /** The query in force. */
  query() {
    return this.place.query.get("q") ?? composed(this.place.query);
  }

  drawForm() {
    this.filters = h("div.filters");
    put(this.form, this.filters, this.box());
    this.drawFilters();
  }

  drawFilters() {
    put(this.filters, this.place.query.has("q") ? this.backToFilters() : FILTERS.map((filter) => this.filter(filter)));
  }

  backToFilters() {
    return h("button.control", { type: "button", onclick: () => change({ q: null }) }, icon("back"), "Back to the filters");
  }

  filter({ key, label, unit, choices, tag }) {
    const value = this.place.query.get(key) ?? "";
    const set = (wanted) => change({ [key]: wanted || null });
    if (unit) {
      const input = h("input", { value, size: 4, inputmode: "decimal", placeholder: "any", "aria-label": `${label}, in ${unit}`, onchange: () => set(input.value.trim()) });
      return h("label.control.typed", {}, h("span.choice-label", {}, label), input, h("span.choice-label", {}, unit));
    }
    const known = choices ?? [["", "Any"], ...[...new Set([...(this.options[key] ?? []), value].filter(Boolean))].map((one) => [one, one])];
    const select = h("select", { "aria-label": label, "data-tag": tag, onchange: () => set(select.value) });
    put(select, known.map(([wanted, text]) => h("option", { value: wanted, selected: wanted === value }, shorten(visible(text), 60))));
    return h("label.control.typed", {}, h("span.choice-label", {}, label), select);
  }

  box() {
    const q = this.query();
    const area = h("textarea", { rows: Math.min(6, q.split("\n").length), spellcheck: "false", "aria-label": "TraceQL", autocapitalize: "off" });
    area.value = q;
    const run = () => (area.value.trim() === composed(this.place.query) ? change({ q: null }) : change({ q: area.value.trim() }));
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      if (area.value.trim() === this.query()) this.ask();
      else run();
    });
    this.mark = h("div.query-error", { role: "alert" });
    return h("div.query", {}, h("div.query-line", {}, area, h("button.primary", { type: "button", onclick: () => (area.value.trim() === this.query() ? this.ask() : run()) }, "Search")), this.mark);
  }

  /** Search; rows appear as they are found. */
  async ask() {
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    const wanted = { q: selecting(this.query()), range: resolve(this.wanted), limit: MOST, spss: SPANS_OF_EACH };
    if (!this.results.firstChild) put(this.results, waiting());
    put(this.mark);
    try {
      for await (const { traces, done } of newestFirst(wanted, signal)) {
        if (signal.aborted) return undefined;
        if (traces.length) this.show(traces, !done);
        else if (done) put(this.results, (await isEmpty(signal)) ? emptyStack() : nothing("No trace in this range matches."));
      }
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
    return undefined;
  }

  fail(error) {
    const q = this.query();
    const at = errorPlace(error.message, q);
    if (at === null) return put(this.results, failed(error));
    put(this.results);
    const marked = h("pre", {}, q.slice(0, at), h("mark", { "data-at": at }, q.slice(at, at + 1) || " "), q.slice(at + 1));
    return put(this.mark, marked, h("p", {}, shorten(visible(error.message), 500)));
  }

  show(found, more) {
    const kept = recall("compare");
    const slowest = Math.max(...found.map((trace) => trace.durationMs ?? 0), 1);
    const head = ["Started", "Trace", "Model", "Duration", "First token", "Tokens", "Cost", ""].map((name) => h("th", { scope: "col", class: ["First token", "Tokens", "Cost"].includes(name) ? "number" : null }, name));
    put(
      this.results,
      kept && h("p.hint", {}, `Choose the trace to compare with ${kept.slice(0, 8)}. `, h("button.link", { type: "button", onclick: () => { remember("compare", null); this.ask(); } }, "Not now")),
      h("section.card.flush", {}, h("div.table-box", {}, h("table.grid.traces", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, found.map((trace) => row(trace, slowest, kept)))))),
      h("p.note", {}, more ? `${found.length} traces, looking for more` : found.length >= MOST ? `The newest ${found.length}; narrow the search to see others` : `${found.length} traces`),
    );
  }

  destroy() {
    this.abort.abort();
    this.asking?.abort();
  }
}

/** What the matched spans of a found trace add up to. */
function sums(trace) {
  const sets = trace.spanSets ?? (trace.spanSet ? [trace.spanSet] : []);
  const spans = sets.flatMap((set) => set.spans ?? []);
  const rows = spans.map((span) => Object.fromEntries((span.attributes ?? []).map((one) => [one.key, plainValue(one.value)])));
  const values = (name) => rows.map((row) => row[name]).filter((value) => typeof value === "number");
  const total = (name) => (values(name).length ? values(name).reduce((sum, value) => sum + value, 0) : null);
  const chat = rows.filter((row) => row[names.OPERATION] !== "embeddings");
  const models = [...new Set((chat.length ? chat : rows).map((row) => row[names.RESPONSE_MODEL] ?? row[names.REQUEST_MODEL]).filter(Boolean))];
  const firsts = values(names.TIME_TO_FIRST_CHUNK);
  const whole = sets.every((set) => (set.matched ?? 0) <= (set.spans ?? []).length);
  const unpriced = rows.some((row) => row[names.COST_STATUS] && row[names.COST_STATUS] !== "priced");
  return { models, unpriced, input: total(names.INPUT_TOKENS), output: total(names.OUTPUT_TOKENS), cost: total(names.COST_USD), first: firsts.length ? Math.max(...firsts) : null, whole };
}

const LEAST_USD = 1e-6; // a known part below it is not worth a number

function costOf(cost, unpriced, least) {
  if (unpriced && (cost ?? 0) < LEAST_USD) return h("span.quiet", {}, "unknown");
  return cost === null ? "–" : (unpriced ? "≥ " : least) + usd(cost);
}

function row(trace, slowest, kept) {
  const { models, unpriced, input, output, cost, first, whole } = sums(trace);
  const id = trace.traceID.padStart(32, "0");
  const start = Number(trace.startTimeUnixNano) / 1e6;
  const errors = Object.values(trace.serviceStats ?? {}).reduce((sum, one) => sum + (one.errorCount ?? 0), 0);
  const href = kept && kept !== id ? `/traces/compare/${kept}/${id}` : `/traces/${id}`;
  const open = (event) => event.target.closest("a, button") || getSelection().toString() || go(href);
  const least = whole ? "" : "≥ ";
  return h(
    "tr",
    { onclick: open, class: errors ? "failed" : null },
    h("td.clock", { title: `${moment(start, true)}, ${ago(start)}` }, h("time", {}, shortMoment(start))),
    h("td", {}, h("a", { href, onclick: () => kept && remember("compare", null) }, shorten(visible(trace.rootTraceName || id), 60)), h("span.quiet", {}, ` ${shorten(visible(trace.rootServiceName ?? ""), 40)}`)),
    h("td", {}, shorten(visible(models.join(", ")), 60) || h("span.quiet", {}, "–")),
    h("td", {}, h("span.meter", {}, h("i", { style: { width: `${((trace.durationMs ?? 0) / slowest) * 100}%` } })), duration(trace.durationMs ?? 0)),
    h("td.number", {}, seconds(first)),
    h("td.number", {}, input === null && output === null ? "–" : `${least}${tokens(input)} → ${tokens(output)}`),
    h("td.number", { title: unpriced ? "The cost of a call is not known" : null }, costOf(cost, unpriced, least)),
    h("td", {}, errors > 0 && h("span.tag.bad", {}, errors === 1 ? "1 error" : `${errors} errors`)),
  );
}
