/** The page of one trace: summary, waterfall, and the span that is looked at. */

import * as api from "../lib/api.js";
import { onTheme } from "../lib/colors.js";
import { moment } from "../format/times.js";
import { h, put, shorten, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { change, go } from "../lib/router.js";
import { recall, remember } from "../lib/store.js";
import { useZone } from "../board/view.js";
import { copy } from "../ui/popover.js";
import { failed, nothing, waiting } from "../ui/states.js";
import { detail } from "./detail.js";
import { callOf, readTrace, totals } from "./model.js";
import { costText, duration, seconds, tokens } from "./text.js";
import { waterfall } from "./waterfall.js";

const COMPARE_KEY = "compare"; // the trace that was set aside to be compared

/** The page of one trace. */
export class TraceView {
  constructor(root, id) {
    this.root = root;
    this.id = id;
    this.abort = new AbortController();
    this.offTheme = onTheme(() => this.trace && this.draw());
  }

  async open(place) {
    this.place = place;
    useZone();
    put(this.root, waiting("Looking for the trace"));
    try {
      this.trace = readTrace(await api.trace(this.id, this.abort.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      put(this.root, error.status === 404 ? nothing(`There is no trace ${this.id}. It may be older than what the stack keeps.`) : failed(error));
      return;
    }
    this.draw();
  }

  draw() {
    const { trace } = this;
    const root = trace.roots[0];
    document.title = `${root?.name ?? "Trace"} · stackctl`;
    this.side = h("aside.side-panel", { "aria-label": "Span" });
    const selected = this.selected();
    const chart = waterfall(trace, { selected: selected?.id, onselect: (span) => change({ span: span.id }, { replace: true }) });
    put(this.root, heading(trace), h("div.trace-body", {}, h("div.card.flush", {}, chart), this.side));
    this.showSpan(selected);
  }

  /** The span of the address, else the one that says most: a failed call, the dearest or longest answer, the root. */
  selected() {
    const wanted = this.place.query.get("span");
    const { spans, roots } = this.trace;
    const calls = spans.map((span) => ({ span, call: callOf(span) })).filter(({ call }) => call.counted);
    const weight = ({ span, call }) => [call.operation === "embeddings" ? 0 : 1, call.cost ?? 0, span.duration];
    const [first] = calls.sort((one, other) => byWeight(weight(other), weight(one)));
    return spans.find((span) => span.id === wanted) ?? calls.find(({ span }) => span.status === "error")?.span ?? first?.span ?? roots[0];
  }

  showSpan(span) {
    if (span) put(this.side, detail(span, this.trace));
  }

  update(place) {
    this.place = place;
    if (!this.trace) return;
    const span = this.selected();
    this.showSpan(span);
    for (const row of this.root.querySelectorAll("[data-span]")) row.classList.toggle("selected", row.dataset.span === span?.id);
  }

  destroy() {
    this.abort.abort();
    this.offTheme();
  }
}

const byWeight = (one, other) => one.map((value, at) => value - other[at]).find((difference) => difference !== 0) ?? 0;

/** The head of a trace's page. */
function heading(trace) {
  const root = trace.roots[0];
  return h(
    "header.page-head",
    {},
    h("div.page-title", {}, h("h1", {}, shorten(visible(root?.name ?? trace.id), 120)), h("p", {}, `${visible(root?.service ?? "")} · ${moment(trace.start, true)}`)),
    h("div.toolbar", {}, buttons(trace)),
    summary(trace),
  );
}

/** The sums of a trace in one line. */
export function summary(trace) {
  const sums = totals(trace);
  const fact = (label, value, classes = "") => h(`div.fact${classes}`, {}, h("dt", {}, label), h("dd", {}, value));
  return h(
    "dl.facts",
    {},
    fact("Duration", duration(trace.duration)),
    sums.firstToken !== null && fact("First token", seconds(sums.firstToken)),
    fact("Model calls", String(sums.calls)),
    sums.calls > 0 && fact("Tokens", `${tokens(sums.input)} in, ${tokens(sums.output)} out`),
    sums.calls > 0 && fact("Cost", costText(sums)),
    fact("Spans", String(trace.spans.length)),
    sums.errors > 0 && fact("Errors", String(sums.errors), ".bad-text"),
  );
}

function buttons(trace) {
  const kept = recall(COMPARE_KEY);
  const set = () => {
    remember(COMPARE_KEY, trace.id);
    go("/traces");
  };
  return [
    h("button.control", { type: "button", onclick: () => copy(trace.id, "Trace id") }, icon("copy"), "Copy id"),
    h("button.control", { type: "button", onclick: () => copy(location.href, "Link") }, icon("link"), "Copy link"),
    kept && kept !== trace.id
      ? h("a.control", { href: `/traces/compare/${kept}/${trace.id}`, onclick: () => remember(COMPARE_KEY, null) }, icon("compare"), `Compare with ${kept.slice(0, 8)}`)
      : h("button.control", { type: "button", title: "Choose the other one from the list", onclick: set }, icon("compare"), "Compare with …"),
  ];
}
