/** Histogram: how often values of the query fell into which part of their range. */

import { display } from "../board/fields.js";
import { h } from "../lib/dom.js";
import { emptyText } from "./values.js";

const BUCKETS = 20;

/** A round size of about a number: 1, 2 or 5 times a power of ten. */
function round(size) {
  const power = 10 ** Math.floor(Math.log10(size));
  return power * ([1, 2, 5].find((step) => step * power >= size) ?? 10);
}

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel }) {
  const fields = frames.flatMap((frame) => frame.fields.filter((field) => field.type === "number"));
  const values = fields.flatMap((field) => field.values).filter(Number.isFinite);
  if (!values.length) return h("div.state", {}, emptyText(panel));
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const size = panel.options?.bucketSize || round((high - low) / (panel.options?.bucketCount || BUCKETS) || Math.abs(low) || 1);
  const first = Math.floor(low / size);
  const counts = new Array(Math.floor(high / size) - first + 1).fill(0);
  for (const value of values) counts[Math.floor(value / size) - first] += 1;
  const most = Math.max(...counts);
  const edge = (at) => display((first + at) * size, fields[0]).text;
  return h(
    "div.histogram",
    {},
    h("div.columns", {}, counts.map((count, at) => h("i.column", { title: `${edge(at)} to ${edge(at + 1)}: ${count}`, style: { height: `${(count / most) * 100}%`, background: fields[0].colour } }))),
    h("div.edges", {}, h("span", {}, edge(0)), h("span", {}, edge(counts.length))),
  );
}
