/** Two traces side by side, on one scale of time, with what differs. */

import * as api from "../lib/api.js";
import { h, put, shorten, visible } from "../lib/dom.js";
import { moment } from "../format/times.js";
import { useZone } from "../board/view.js";
import { failed, waiting } from "../ui/states.js";
import { evaluationsOf, readTrace, totals } from "./model.js";
import { costText, duration, seconds, tokens } from "./text.js";
import { waterfall } from "./waterfall.js";

const MANY_TIMES = 10; // a difference that percents no longer tell

/** The page of two traces. */
export class CompareView {
  constructor(root, one, other) {
    this.root = root;
    this.ids = [one, other];
    this.abort = new AbortController();
  }

  async open() {
    document.title = "Two traces · stackctl";
    useZone();
    put(this.root, waiting("Looking for both traces"));
    try {
      const traces = await Promise.all(this.ids.map(async (id) => readTrace(await api.trace(id, this.abort.signal))));
      this.draw(traces);
    } catch (error) {
      if (error.name !== "AbortError") put(this.root, failed(error));
    }
  }

  draw(traces) {
    const scale = Math.max(...traces.map((trace) => trace.duration)) || 1;
    put(
      this.root,
      h("header.page-head", {}, h("div.page-title", {}, h("h1", {}, "Two traces"), h("p", {}, "Both on one scale of time."))),
      h("section.card", {}, differences(traces)),
      h("div.compare", {}, traces.map((trace) => h("section.card.flush", {}, h("h2", {}, name(trace)), waterfall(trace, { scale })))),
    );
  }

  update() {}

  destroy() {
    this.abort.abort();
  }
}

const name = (trace) => h("a", { href: `/traces/${trace.id}` }, `${shorten(visible(trace.roots[0]?.name ?? ""), 60)} `, h("code", {}, trace.id.slice(0, 8)));

const judged = (trace) =>
  [...new Set(trace.spans.flatMap(evaluationsOf).map((one) => `${one.name}: ${one.label ?? one.error ?? one.score}`))].sort().join(", ") || "–";

/** What is compared: how it is called, how it is found, how it is written, how the difference is, and whether less is better. */
const ROWS = [
  ["Started", (trace) => trace.start, (value) => moment(value, true), null],
  ["Duration", (trace) => trace.duration, duration, "relative", true],
  ["Slowest first token", (_, sums) => sums.firstToken, seconds, "relative", true],
  ["Models", (_, sums) => sums.models.join(", "), (value) => visible(value) || "–", null],
  ["Model calls", (_, sums) => sums.calls, (count) => String(count), "absolute"],
  ["Input tokens", (_, sums) => sums.input, tokens, "relative"],
  ["Output tokens", (_, sums) => sums.output, tokens, "relative"],
  ["Cost", (_, sums) => (sums.unpriced ? null : sums.cost), (_, sums) => costText(sums), "relative", true],
  ["Spans", (trace) => trace.spans.length, (count) => String(count), "absolute"],
  ["Errors", (_, sums) => sums.errors, (count) => String(count), "absolute", true],
  ["Judged", judged, (value) => visible(value), null],
];

function differences(traces) {
  const sums = traces.map(totals);
  const row = ([label, get, write, kind, lessIsBetter]) => {
    const [one, other] = traces.map((trace, at) => get(trace, sums[at]));
    const judged = lessIsBetter && one !== null && other !== null && (other > one ? "more" : "less");
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, write(one, sums[0])), h("td", {}, write(other, sums[1])), h("td", { class: one === other ? "quiet" : judged || null }, changed(one, other, kind)));
  };
  return h("table.grid.differences", {}, h("thead", {}, h("tr", {}, h("th"), traces.map((trace) => h("th", { scope: "col" }, name(trace))), h("th", { scope: "col" }, "Difference"))), h("tbody", {}, ROWS.map(row)));
}

function changed(one, other, kind) {
  if (!kind || one === null || other === null) return "";
  if (one === other) return "same";
  const sign = other > one ? "+" : "−";
  if (kind === "absolute" || !one) return `${sign}${Math.abs(other - one).toLocaleString("en")}`;
  if (other / one >= MANY_TIMES) return `${tokens(Math.round(other / one))} times`;
  return `${sign}${(Math.abs(other / one - 1) * 100).toFixed(0)} %`;
}
