/** Pie chart: parts of a whole, with the numbers beside it. */

import { display } from "../board/fields.js";
import { h, svg, visible } from "../lib/dom.js";
import { emptyText, singles } from "./values.js";

const RADIUS = 46;
const HOLE = 28;

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel, width, height }) {
  const sort = panel.options?.sort ?? "desc";
  const found = singles(frames, panel).filter((single) => single.value > 0);
  if (sort !== "none") found.sort((one, other) => (sort === "asc" ? 1 : -1) * (one.value - other.value));
  const total = found.reduce((sum, single) => sum + single.value, 0);
  if (!total) return h("div.state", {}, emptyText(panel));
  const right = (panel.options?.legend?.placement ?? "bottom") === "right" && width > 320;
  const size = Math.max(80, Math.min(right ? width * 0.42 : width * 0.8, right ? height * 0.9 : height * 0.62));
  const shares = slices(found, total, panel.options?.pieType === "donut" ? HOLE : 0);
  const chart = svg("svg.pie", { viewBox: "-50 -50 100 100", width: size, height: size, role: "img", "aria-label": found.map((one) => `${visible(one.name)} ${one.shown.text}`).join(", ") }, shares);
  const showLegend = panel.options?.legend?.showLegend !== false;
  return h(right ? "div.pie-box.right" : "div.pie-box", {}, chart, showLegend && legend(found, total, panel.options?.legend?.values ?? [], shares));
}

function slices(found, total, hole) {
  let at = 0;
  return found.map((single) => {
    const from = at;
    at += single.value / total;
    const title = svg("title", {}, `${visible(single.name)}: ${single.shown.text} (${percent(single.value / total)})`);
    if (single.value === total) return svg("circle.slice", { r: (RADIUS + hole) / 2, style: { fill: "none", stroke: single.field.colour, strokeWidth: RADIUS - hole } }, title);
    return svg("path.slice", { d: slice(from, at, hole), style: { fill: single.field.colour } }, title);
  });
}

function slice(from, to, hole) {
  const point = (share, radius) => `${(radius * Math.sin(share * 2 * Math.PI)).toFixed(3)} ${(-radius * Math.cos(share * 2 * Math.PI)).toFixed(3)}`;
  const large = to - from > 0.5 ? 1 : 0;
  return `M${point(from, RADIUS)}A${RADIUS} ${RADIUS} 0 ${large} 1 ${point(to, RADIUS)}L${point(to, hole)}A${hole} ${hole} 0 ${large} 0 ${point(from, hole)}Z`;
}

const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

function legend(found, total, values, shares) {
  const row = (single, at) => {
    const lift = (on) => shares[at].classList.toggle("lifted", on);
    return h(
      "tr",
      { onmouseenter: () => lift(true), onmouseleave: () => lift(false) },
      h("td", {}, h("i.swatch", { style: { background: single.field.colour } }), visible(single.name)),
      values.includes("value") && h("td.number", {}, display(single.value, single.field).text),
      values.includes("percent") && h("td.number.quiet", {}, percent(single.value / total)),
    );
  };
  return h("table.pie-legend", {}, h("tbody", {}, found.map(row)));
}
