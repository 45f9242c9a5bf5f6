/** Time series: lines, stacked or not, with thresholds, exemplars, crosshair and legend. */

import uPlot from "uplot";
import { align, stack } from "../charts/grid.js";
import { legend } from "../charts/legend.js";
import { inks, plot, timeAxis, valueAxis } from "../charts/plot.js";
import { tooltip } from "../charts/tooltip.js";
import { drawMarks, under } from "../board/annotations.js";
import { display, displayName } from "../board/fields.js";
import { color, faded } from "../lib/colors.js";
import { h, shorten, visible } from "../lib/dom.js";
import { dots } from "../charts/exemplars.js";
import { emptyText } from "./values.js";

/** @type {import("./registry.js").Draw} */
export function draw(setup) {
  const { frames, panel, width, height, memory } = setup;
  const aligned = align(frames, (field) => field.config.custom?.spanNulls);
  if (!aligned.times.length) return h("div.state", {}, emptyText(panel));
  const options = { showLegend: true, displayMode: "list", ...panel.options?.legend };
  const side = options.placement === "right" && width > 420;
  const box = h("div.plot");
  let chart = null;
  const redraw = (shown) => chart && show(chart, aligned, shown);
  const names = options.showLegend && options.displayMode !== "hidden" ? legend(aligned.fields, options, redraw, memory) : null;
  const node = h(side ? "div.chart.side" : "div.chart", {}, box, names);
  return {
    node,
    /** Charts measure their labels, so they are drawn once they are on the page. */
    mounted() {
      const room = names ? (side ? names.offsetWidth : Math.min(names.offsetHeight, height * 0.4)) : 0;
      chart = build(setup, aligned, box, side ? width - room : width, side ? height : height - room);
      const shown = aligned.fields.map((field) => !memory.hidden?.has(displayName(field)));
      if (!shown.every(Boolean)) redraw(shown);
    },
    destroy: () => chart?.destroy(),
  };
}

function build(setup, aligned, box, width, height) {
  const { panel, range, onzoom, marks: annotations } = setup;
  const colours = inks();
  const { fields } = aligned;
  const axes = scalesOf(fields);
  const tip = tooltip(box);
  const marks = dots(setup, axes.keys[0], axes.first);
  const columns = stacked(fields) ? stack(aligned.columns, fields.map(() => true)) : aligned.columns;
  const options = {
    series: [{}, ...fields.map((field, at) => line(field, axes.keys[at]))],
    bands: stacked(fields) ? fields.slice(1).map((field, at) => ({ series: [at + 2, at + 1], fill: faded(field.colour, opacity(field)) })) : [],
    axes: [timeAxis(colours), ...axes.list.map(({ key, field, right }) => valueAxis(colours, key, field, right))],
    scales: Object.fromEntries(axes.list.map(({ key, field }) => [key, { range: (_, low, high) => limits(low, high, field.config) }])),
    hooks: {
      drawClear: [(u) => drawMarks(u, annotations), (u) => thresholds(u, axes)],
      draw: [marks.draw],
      setCursor: [(u) => hover(u, aligned, tip, marks, setup)],
      ready: [(u) => u.over.addEventListener("click", () => marks.open(u))],
    },
  };
  return plot({ box, width, height, range, data: [aligned.times, ...columns], options, onzoom });
}

const stacked = (fields) => fields.some((field) => (field.config.custom?.stacking?.mode ?? "none") !== "none");
const opacity = (field) => (field.config.custom?.fillOpacity ?? 0) / 100;

function line(field, scale) {
  const { lineWidth = 1, drawStyle = "line", lineInterpolation = "linear", pointSize = 5, showPoints = "auto" } = field.config.custom ?? {};
  const paths = drawStyle === "bars" ? uPlot.paths.bars({ size: [0.8, 60] }) : { smooth: uPlot.paths.spline(), stepBefore: uPlot.paths.stepped({ align: -1 }), stepAfter: uPlot.paths.stepped({ align: 1 }) }[lineInterpolation];
  return {
    label: displayName(field),
    scale,
    stroke: field.colour,
    width: drawStyle === "points" ? 0 : lineWidth,
    fill: opacity(field) ? faded(field.colour, opacity(field)) : undefined,
    paths,
    points: showPoints === "never" ? { show: false } : { size: pointSize, fill: field.colour, filter: lonely },
  };
}

/** Points that no line reaches are drawn as points. */
function lonely(u, series) {
  const values = u.data[series];
  const alone = [];
  values.forEach((value, at) => {
    if (value === null || value === undefined) return;
    const before = at > 0 && values[at - 1] !== null; // undefined is drawn through
    const after = at + 1 < values.length && values[at + 1] !== null;
    if (!before && !after) alone.push(at);
  });
  return alone;
}

/** One scale for each unit and side; the first is on the left. */
function scalesOf(fields) {
  const list = [];
  const keys = fields.map((field) => {
    const right = field.config.custom?.axisPlacement === "right";
    const key = `${field.config.unit ?? ""}|${right ? "r" : "l"}`;
    if (!list.some((axis) => axis.key === key)) list.push({ key, field, right: right || list.length > 0 });
    return key;
  });
  return { keys, list, first: list[0].field };
}

/** Where a scale begins and ends: hard limits, then soft ones, then the data with a little room above. */
function limits(low, high, config) {
  const { axisSoftMin, axisSoftMax } = config.custom ?? {};
  let bottom = config.min ?? Math.min(low ?? 0, axisSoftMin ?? Infinity);
  let top = config.max ?? Math.max(high ?? 1, axisSoftMax ?? -Infinity);
  if (top === bottom) top = bottom + (Math.abs(bottom) || 1);
  if (config.max === undefined) top += (top - bottom) * 0.06;
  if (config.min === undefined && axisSoftMin === undefined) bottom -= bottom === 0 ? 0 : (top - bottom) * 0.06;
  return [bottom, top];
}

function thresholds(u, { list }) {
  for (const { key, field } of list) {
    const { mode = "off" } = field.config.custom?.thresholdsStyle ?? {};
    if (mode === "off") continue;
    for (const step of (field.config.thresholds?.steps ?? []).slice(1)) ruler(u, key, step, mode);
  }
}

function ruler(u, key, step, mode) {
  const y = u.valToPos(step.value, key, true);
  const { left, top, width, height } = u.bbox;
  if (y < top || y > top + height) return;
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color(step.color);
  ctx.globalAlpha = 0.65;
  ctx.lineWidth = devicePixelRatio;
  if (mode.startsWith("dashed")) ctx.setLineDash([6 * devicePixelRatio, 5 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.restore();
}

function show(chart, { fields, columns, times }, shown) {
  chart.batch(() => {
    if (stacked(fields)) chart.setData([times, ...stack(columns, shown)], false);
    shown.forEach((on, at) => chart.setSeries(at + 1, { show: on }));
  });
  chart.redraw(true, true);
}

/** What an annotation says. */
const told = ({ title, text, colour }) => h("p.tip-mark", { style: { borderColor: color(colour) } }, shorten(visible(title), 120), text && h("span.quiet", {}, ` ${shorten(visible(text), 200)}`));

function hover(u, { fields, columns, times }, tip, marks, { panel, marks: annotations }) {
  const { idx, left } = u.cursor;
  // The crosshair is everywhere, the box only where the mouse is.
  if (idx === null || idx === undefined || left < 0 || !u.over.matches(":hover")) return tip.hide();
  const { mode = "multi", sort = "none", hideZeros } = panel.options?.tooltip ?? {};
  if (mode === "none") return tip.hide();
  const rows = fields
    .map((field, at) => ({ field, value: columns[at][idx], on: u.series[at + 1].show }))
    .filter(({ value, on }) => on && value !== null && value !== undefined && !(hideZeros && value === 0))
    .map(({ field, value }) => ({ name: displayName(field), text: display(value, field).text, colour: field.colour, value }));
  if (sort !== "none") rows.sort((one, other) => (sort === "asc" ? 1 : -1) * (one.value - other.value));
  return tip.show(u, times[idx], rows, [under(u, annotations).map(told), marks.hint(u)]);
}
