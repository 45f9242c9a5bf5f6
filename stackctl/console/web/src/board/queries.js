/** Running a panel's queries. */

import * as api from "../lib/api.js";
import { aligned, duration, interval, rateInterval, SCRAPE_MS } from "../time/steps.js";
import { fromBuckets, fromMatrix, fromVector, spansTable, toTable, tracesTable } from "./frames.js";
import { interpolate, inPromql, inTraceql, within } from "./interpolate.js";

const DEFAULT_POINTS = 600;
const MOST_EXEMPLARS = 300;

/**
 * @typedef {object} Asked
 * @property {import("../time/range.js").Range} range
 * @property {import("./interpolate.js").Scope} scope the board's variables
 * @property {number} width pixels of the panel
 * @property {AbortSignal} signal
 * @typedef {{frames: import("./frames.js").Frame[], exemplars: Array<{at: number, value: number, traceId: string, labels: Record<string, string>}>, range: import("../time/range.js").Range, step: number}} Answer
 */

/**
 * Run all queries of a panel.
 * @param {any} panel Grafana's JSON
 * @param {Asked} asked
 * @returns {Promise<Answer>}
 */
export async function run(panel, { range: whole, ...rest }) {
  const asked = { ...rest, range: ownRange(panel, whole) };
  const targets = (panel.targets ?? []).filter((target) => !target.hide);
  const step = interval(asked.range, panel.maxDataPoints ?? (Math.round(asked.width) || DEFAULT_POINTS), leastStep(panel));
  const context = { ...asked, step, scope: macros(asked, step), single: targets.length === 1 };
  const answers = await Promise.all(targets.map((target) => ask(target, panel, context)));
  return {
    frames: answers.flatMap((answer) => answer.frames),
    exemplars: once(answers.flatMap((answer) => answer.exemplars ?? [])),
    range: asked.range,
    step,
  };
}

/** Quantiles of one histogram have the same calls behind them. */
const once = (dots) => [...new Map(dots.map((dot) => [`${dot.traceId} ${dot.at} ${dot.value}`, dot])).values()];

/** The range of a panel that looks at its own: `timeFrom` its length, `timeShift` how far it lies back. */
function ownRange({ timeFrom, timeShift }, { from, to }) {
  const shift = lengthOf(timeShift);
  const length = lengthOf(timeFrom) || to - from;
  return { from: to - shift - length, to: to - shift };
}

function lengthOf(text) {
  const found = /^(?:now-)?(\d+)([smhdw])$/.exec(text ?? "");
  if (text && !found) throw new Error(`The panel's own time "${text}" is not understood.`);
  return found ? Number(found[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 }[found[2]] : 0;
}

function leastStep(panel) {
  const found = /^>?(\d+)(ms|s|m|h)$/.exec(panel.interval ?? "");
  return found ? Number(found[1]) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[found[2]] : SCRAPE_MS;
}

/** Grafana's own names for the range and the step. */
export function macros({ range, scope }, step) {
  const seconds = Math.round((range.to - range.from) / 1000);
  return within(
    {
      __interval: duration(step),
      __interval_ms: step,
      __rate_interval: duration(rateInterval(step)),
      __rate_interval_ms: rateInterval(step),
      __range: `${seconds}s`,
      __range_s: seconds,
      __range_ms: range.to - range.from,
      __from: Math.round(range.from),
      __to: Math.round(range.to),
    },
    scope,
  );
}

function ask(target, panel, context) {
  const source = target.datasource?.type ?? panel.datasource?.type ?? "prometheus";
  if (source === "prometheus") return askPrometheus(target, panel, context);
  if (source === "tempo") return askTempo(target, context);
  throw new Error(`Data sources of type "${source}" are not supported.`);
}

async function askPrometheus(target, panel, { range, step, scope, signal, single }) {
  const query = interpolate(target.expr ?? "", scope, inPromql);
  if (target.instant && !target.range) {
    const data = await api.instant(query, range.to, signal);
    return { frames: target.format === "table" ? [toTable(data, target, single)] : fromVector(data, target) };
  }
  const { from, to } = aligned(range, step);
  const wantsDots = target.exemplar && (panel.type === "timeseries" || panel.type === "heatmap");
  const [data, dots] = await Promise.all([
    api.range(query, from, to, step, signal),
    wantsDots && query.includes("_bucket") ? exemplars(query, range, signal) : [],
  ]);
  if (data.resultType !== "matrix") throw new Error(`A range query answered with a ${data.resultType}.`);
  return { frames: target.format === "heatmap" ? fromBuckets(data, target) : fromMatrix(data, target), exemplars: dots };
}

/** Single calls behind a histogram; that a server keeps none is no reason to lose the graph. */
async function exemplars(query, { from, to }, signal) {
  try {
    const rows = await api.exemplars(query, from, to, signal);
    const all = rows.flatMap((row) =>
      row.exemplars.map((one) => ({ at: one.timestamp * 1000, value: Number(one.value), traceId: one.labels.trace_id ?? one.labels.traceID, labels: row.seriesLabels })),
    );
    return all.filter((one) => one.traceId).sort((one, other) => other.value - one.value).slice(0, MOST_EXEMPLARS);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return [];
  }
}

async function askTempo(target, { range, scope, signal }) {
  if (target.queryType && target.queryType !== "traceql" && target.queryType !== "traceId") throw new Error(`Tempo queries of type "${target.queryType}" are not supported.`);
  const query = interpolate(target.query ?? "", scope, inTraceql);
  if (/^[0-9a-f]{16,32}$/i.test(query.trim())) return { frames: [{ refId: target.refId, kind: "trace", traceId: query.trim(), fields: [] }] };
  const found = await api.search({ q: query, start: range.from, end: range.to, limit: Number(target.limit ?? 20), spss: Number(target.spss ?? 3) }, signal);
  return { frames: [target.tableType === "spans" ? spansTable(found, target) : tracesTable(found, target)] };
}
