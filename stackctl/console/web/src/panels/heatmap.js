/** Heat map: how many values fell into which bucket when. */

import { drawMarks } from "../board/annotations.js";
import { inks, plot, timeAxis } from "../charts/plot.js";
import { tooltip } from "../charts/tooltip.js";
import { format } from "../format/units.js";
import { ink, theme } from "../lib/colors.js";
import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";
import { emptyText } from "./values.js";

const SHADES = 24;
const NEAR_PX = 9;

/** @type {import("./registry.js").Draw} */
export function draw(setup) {
  const { panel, width, height } = setup;
  const map = cells(setup.frames, panel.options?.filterValues?.le ?? 0);
  if (!map.rows.length || !map.most) return h("div.state", {}, emptyText(panel));
  const box = h("div.plot");
  const scale = panel.options?.legend?.show === false ? null : colourScale(map, shades());
  let chart = null;
  return {
    node: h("div.chart", {}, box, scale),
    mounted: () => (chart = build(setup, map, box, width, height - (scale?.offsetHeight ?? 0))),
    destroy: () => chart?.destroy(),
  };
}

/** Counts by row (bucket) and column (moment); empty rows at both ends are left out. */
function cells(frames, least) {
  const buckets = frames.filter((frame) => frame.kind === "bucket");
  const times = [...new Set(buckets.flatMap((frame) => frame.fields[0].values))].sort((one, other) => one - other);
  const place = new Map(times.map((at, index) => [at, index]));
  let most = 0;
  const all = buckets.map((frame, at) => {
    const counts = new Array(times.length).fill(0);
    frame.fields[0].values.forEach((moment, row) => (counts[place.get(moment)] = frame.fields[1].values[row]));
    most = Math.max(most, ...counts);
    return { counts, upper: frame.upper, lower: at ? buckets[at - 1].upper : 0 };
  });
  const filled = all.map((row) => row.counts.some((count) => count > least));
  return { times, most, least, rows: all.slice(Math.max(0, filled.indexOf(true)), filled.lastIndexOf(true) + 1) };
}

/** From nearly the surface to strong; few is faint in either theme. */
function shades() {
  const [low, high] = theme() === "dark" ? ["#16324f", "#9ecbff"] : ["#dbe9fb", "#0b3d91"];
  return Array.from({ length: SHADES }, (_, at) => `color-mix(in oklab, ${high} ${Math.round((at / (SHADES - 1)) * 100)}%, ${low})`);
}

const shadeOf = (count, most, exponent) => Math.min(SHADES - 1, Math.floor((count / most) ** exponent * SHADES));

function build(setup, map, box, width, height) {
  const { panel, range, onzoom, step } = setup;
  const colours = inks();
  const palette = shades();
  const { unit } = panel.options?.yAxis ?? {};
  const exponent = panel.options?.color?.exponent ?? 0.5;
  const tip = tooltip(box);
  const paint = (u) => drawCells(u, map, palette, exponent, step);
  const points = exemplarPoints(setup, map);
  const options = {
    series: [{}, { scale: "y", paths: () => null, points: { show: false } }],
    axes: [timeAxis(colours), bucketAxis(colours, map, unit)],
    scales: { y: { range: () => [0, map.rows.length] } },
    hooks: {
      draw: [paint, (u) => drawMarks(u, setup.marks), (u) => drawPoints(u, points)],
      setCursor: [(u) => hover(u, map, tip, unit, points)],
      ready: [(u) => u.over.addEventListener("click", () => open(u, points))],
    },
  };
  return plot({ box, width, height, range, data: [map.times, map.times.map(() => null)], options, onzoom });
}

function bucketAxis({ text }, { rows }, unit) {
  const every = Math.ceil(rows.length / 8);
  return {
    scale: "y",
    stroke: text,
    font: '11px "Inter Variable", system-ui, sans-serif',
    gap: 6,
    grid: { show: false },
    ticks: { show: false },
    size: 58,
    splits: () => rows.map((_, at) => at + 1).filter((at) => at % every === 0),
    values: (_, splits) => splits.map((at) => (rows[at - 1].upper === Infinity ? "+Inf" : format(rows[at - 1].upper, unit))),
  };
}

/** Cells end at their moment: an increase looks back. */
function drawCells(u, { times, rows, most, least }, palette, exponent, step) {
  const { ctx } = u;
  const x = times.map((at) => u.valToPos(at, "x", true));
  const wide = Math.max(1, u.valToPos(u.scales.x.min + step, "x", true) - u.valToPos(u.scales.x.min, "x", true));
  const gap = wide > 5 ? devicePixelRatio : 0;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  rows.forEach((row, at) => {
    const [top, bottom] = [u.valToPos(at + 1, "y", true), u.valToPos(at, "y", true)];
    row.counts.forEach((count, column) => {
      if (count <= least) return;
      ctx.fillStyle = palette[shadeOf(count, most, exponent)];
      ctx.fillRect(x[column] - wide, top + gap, wide - gap, bottom - top - gap);
    });
  });
  ctx.restore();
}

/** Where single calls stand: in their bucket, as far up as their value is in it. */
function exemplarPoints({ exemplars = [], range }, { rows }) {
  return exemplars
    .filter((one) => one.at >= range.from && one.at <= range.to)
    .map((one) => {
      const row = rows.findIndex(({ upper }) => one.value <= upper);
      if (row < 0) return null;
      const { lower, upper } = rows[row];
      return { ...one, y: row + (upper === Infinity ? 0.5 : (one.value - lower) / (upper - lower || 1)) };
    })
    .filter((one) => one && one.y >= 0);
}

function drawPoints(u, points) {
  if (!points.length) return;
  const { ctx } = u;
  ctx.save();
  ctx.fillStyle = ink("--accent-2");
  ctx.globalAlpha = 0.85;
  for (const one of points) {
    ctx.beginPath();
    ctx.arc(u.valToPos(one.at, "x", true), u.valToPos(one.y, "y", true), 1.8 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}

function nearest(u, points) {
  const { left, top } = u.cursor;
  const near = points.map((one) => ({ one, distance: Math.hypot(u.valToPos(one.at, "x") - left, u.valToPos(one.y, "y") - top) }));
  return near.filter(({ distance }) => distance <= NEAR_PX).sort((a, b) => a.distance - b.distance)[0]?.one;
}

function open(u, points) {
  const one = nearest(u, points);
  if (one) go(`/traces/${one.traceId}`);
}

function hover(u, { times, rows }, tip, unit, points) {
  const { left, top } = u.cursor;
  if (left < 0 || !u.over.matches(":hover")) return tip.hide();
  const at = u.posToVal(left, "x");
  const column = times.findIndex((time) => time >= at);
  const row = rows[Math.floor(u.posToVal(top, "y"))];
  if (column < 0 || !row) return tip.hide();
  const dot = nearest(u, points);
  u.over.classList.toggle("on-dot", Boolean(dot));
  const bucket = `${format(row.lower, unit)} to ${row.upper === Infinity ? "+Inf" : format(row.upper, unit)}`;
  const more = dot && h("p.tip-dot", {}, `One call: ${format(dot.value, unit)}`, h("br"), "Click to open its trace");
  return tip.show(u, times[column], [{ name: bucket, text: format(row.counts[column], "short", 1) }], more);
}

function colourScale({ most }, palette) {
  return h(
    "div.colour-scale",
    {},
    h("span", {}, "0"),
    h("i", { style: { background: `linear-gradient(to right, ${palette[0]}, ${palette[SHADES >> 1]}, ${palette[SHADES - 1]})` } }),
    h("span", {}, format(most, "short")),
  );
}
