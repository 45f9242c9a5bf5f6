/** uPlot as every time chart here uses it: axes, shared crosshair, drag to zoom, colours of the theme. */

import uPlot from "uplot";
import { display } from "../board/fields.js";
import { isUtc, tick } from "../format/times.js";
import { ink } from "../lib/colors.js";

const FONT = '11px "Inter Variable", system-ui, sans-serif';
const CROSSHAIR = uPlot.sync("board"); // one for all charts of the page
const LEAST_ZOOM_PX = 6;

/** Colours of the page, read once for each drawing. */
export function inks() {
  return { text: ink("--muted"), grid: ink("--grid"), surface: ink("--surface") };
}

/** How wide a column of labels is, in CSS pixels. */
function labelWidth(u, labels) {
  u.ctx.save();
  u.ctx.font = FONT;
  const width = Math.max(0, ...(labels ?? []).map((label) => u.ctx.measureText(label ?? "").width));
  u.ctx.restore();
  return Math.ceil(width) + 14;
}

const SECOND = 1000;
const [MINUTE, HOUR, DAY] = [60 * SECOND, 3600 * SECOND, 86_400 * SECOND];
// Distances of ticks that people read at a glance; two minutes are missing in uPlot's own.
const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 7, 14, 30, 90, 365].map((count) => count * DAY),
];

const LABEL_HALF_PX = 24;

/** True for a moment so near the right edge that its label would be cut off. */
function cutOff(u, at) {
  const { min, max } = u.scales.x;
  return ((max - at) / (max - min)) * u.width < LABEL_HALF_PX - 8; // 8 px of padding are beyond the edge
}

/** The axis of time. */
export function timeAxis({ text, grid }) {
  return {
    stroke: text,
    font: FONT,
    size: 26,
    gap: 4,
    space: 52,
    incrs: TIME_STEPS,
    grid: { stroke: grid, width: 1 },
    ticks: { show: false },
    values: (u, splits, _, __, step) => splits.map((at) => (cutOff(u, at) ? "" : tick(at, step))),
  };
}

/**
 * An axis of values.
 * @param {import("../board/frames.js").Field} field whose unit the labels have
 */
export function valueAxis({ text, grid }, scale, field, right) {
  return {
    scale,
    side: right ? 1 : 3,
    stroke: text,
    font: FONT,
    gap: 6,
    space: 34,
    grid: right ? { show: false } : { stroke: grid, width: 1 },
    ticks: { show: false },
    size: (u, labels) => labelWidth(u, labels),
    values: (_, splits, __, ___, step) => splits.map((value) => (value === null ? "" : display(value, field, decimalsOf(step)).text.replace(/ +/g, " "))),
  };
}

function decimalsOf(step) {
  return step >= 1 ? 0 : Math.min(9, Math.ceil(-Math.log10(step) + 1e-9));
}

/**
 * Make a chart.
 * @param {object} setup
 * @param {HTMLElement} setup.box
 * @param {{from: number, to: number}} setup.range milliseconds
 * @param {(range: {from: string, to: string}) => void} setup.onzoom
 * @param {Partial<uPlot.Options>} setup.options series, axes, scales and hooks of this kind of chart
 * @returns {uPlot}
 */
export function plot({ box, width, height, range, data, options, onzoom }) {
  const { hooks = {}, scales = {}, cursor = {}, ...rest } = options;
  const zoom = (u) => {
    const { left, width: dragged } = u.select;
    if (dragged < LEAST_ZOOM_PX) return;
    const [from, to] = [left, left + dragged].map((at) => Math.round(u.posToVal(at, "x")));
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    onzoom({ from: String(from), to: String(to) });
  };
  return new uPlot(
    {
      width,
      height,
      ms: 1,
      padding: [8, 8, 0, 0],
      tzDate: isUtc() ? (ms) => uPlot.tzDate(new Date(ms), "Etc/UTC") : (ms) => new Date(ms),
      legend: { show: false },
      cursor: {
        sync: { key: CROSSHAIR.key, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        points: { show: false },
        y: false,
        ...cursor,
      },
      scales: { x: { time: true, range: () => [range.from, range.to] }, ...scales },
      hooks: { ...hooks, setSelect: [zoom] },
      ...rest,
    },
    data,
    box,
  );
}
