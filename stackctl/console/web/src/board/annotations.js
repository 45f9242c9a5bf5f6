/** Annotations: moments and spans of time that a board's own queries tell of, marked on every chart with a time axis. */

import * as api from "../lib/api.js";
import { color } from "../lib/colors.js";
import { aligned, interval } from "../time/steps.js";
import { interpolate, inPromql } from "./interpolate.js";
import { macros } from "./queries.js";

const POINTS = 600; // how finely a range is asked for
const MOST_MARKS = 500;

/** @typedef {{from: number, to: number, title: string, text: string, colour: string}} Mark from and to in milliseconds */

/** The annotations of a board that can be asked for here; Grafana's own built-in one is about Grafana's own storage. */
export const asked = (board) => (board.annotations?.list ?? []).filter((one) => !one.builtIn && one.datasource?.type === "prometheus" && one.expr);

/** True where an address, or else the board, wants an annotation shown. */
export const shown = (annotation, query) => (query.get(`annotation-${annotation.name}`) ?? (annotation.enable === false ? "off" : "on")) === "on";

/**
 * Ask for the marks of annotations.
 * @param {any[]} annotations Grafana's JSON
 * @param {import("../time/range.js").Range} range
 * @param {import("./interpolate.js").Scope} scope
 * @returns {Promise<Mark[]>}
 */
export async function marks(annotations, range, scope, signal) {
  const found = await Promise.all(annotations.map((annotation) => marksOf(annotation, range, scope, signal)));
  return found.flat().slice(0, MOST_MARKS);
}

async function marksOf(annotation, range, scope, signal) {
  const step = interval(range, POINTS);
  const { from, to } = aligned(range, step);
  const query = interpolate(annotation.expr, macros({ range, scope }, step), inPromql);
  const { result } = await api.range(query, from, to, step, signal);
  const colour = annotation.iconColor || "light-blue";
  return result.flatMap(({ metric, values }) => spans(values, step).map((span) => ({ ...span, colour, ...words(annotation, metric) })));
}

/** Neighbouring samples that are not 0 are one span of time, as in Grafana. */
function spans(values, step) {
  const found = [];
  for (const [seconds, text] of values) {
    if (Number(text) === 0 || text === "NaN") continue;
    const at = seconds * 1000;
    const last = found.at(-1);
    if (last && at - last.to <= step * 1.01) last.to = at;
    else found.push({ from: at, to: at });
  }
  return found;
}

function words({ name, titleFormat, textFormat, tagKeys = "" }, labels) {
  const put = (format) => format.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, label) => labels[label] ?? "");
  const tags = tagKeys.split(",").map((key) => labels[key.trim()]).filter(Boolean);
  return { title: titleFormat ? put(titleFormat) : name, text: [textFormat && put(textFormat), ...tags].filter(Boolean).join(" · ") };
}

/** Draw marks behind the lines of a chart. @param {any} u uPlot */
export function drawMarks(u, found) {
  const { left, top, width, height } = u.bbox;
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const mark of found) {
    const [from, to] = [mark.from, mark.to].map((at) => u.valToPos(at, "x", true));
    ctx.strokeStyle = ctx.fillStyle = color(mark.colour);
    ctx.globalAlpha = 0.12;
    ctx.fillRect(from, top, to - from, height);
    ctx.globalAlpha = 0.8;
    ctx.beginPath();
    for (const x of new Set([from, to])) {
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
    }
    ctx.stroke();
  }
  ctx.restore();
}

const NEAR_PX = 6;

/** The marks below the cursor. @returns {Mark[]} */
export function under(u, found) {
  const { left } = u.cursor;
  return found.filter(({ from, to }) => left >= u.valToPos(from, "x") - NEAR_PX && left <= u.valToPos(to, "x") + NEAR_PX);
}
