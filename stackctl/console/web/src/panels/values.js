/** Panels that show single numbers: what is shared by stat, gauge, bar gauge and pie chart. */

import { display, displayName } from "../board/fields.js";
import { reduce } from "../board/reduce.js";

/**
 * @typedef {{name: string, value: number|null, shown: ReturnType<typeof display>, field: import("../board/frames.js").Field, row?: number}} Single
 * @param {import("../board/frames.js").Frame[]} frames
 * @param {any} panel Grafana's JSON
 * @returns {Single[]}
 */
export function singles(frames, panel) {
  const { calcs = ["lastNotNull"], values: everyRow = false, limit = 100 } = panel.options?.reduceOptions ?? {};
  const fields = frames.flatMap((frame) => frame.fields.filter((field) => field.type === "number"));
  if (everyRow) return fields.flatMap((field) => field.values.slice(0, limit).map((value) => single(value, field)));
  return fields.map((field) => single(reduce(field.values, calcs[0]), field));
}

function single(value, field) {
  return { name: displayName(field), value, shown: display(value, field), field };
}

/** What stands in a panel of single numbers when no series answered. */
export function emptyText(panel) {
  return panel.fieldConfig?.defaults?.noValue ?? "No data";
}

/** The range of a gauge: as configured, else as far as its values and thresholds go. */
export function extent(found) {
  const { min, max, thresholds, unit } = found[0]?.field.config ?? {};
  const values = found.map((one) => one.value).filter((value) => value !== null);
  const marks = (thresholds?.steps ?? []).slice(1).map((step) => step.value);
  const most = Math.max(...values, ...marks.map((mark) => mark * 1.2), 0);
  return { min: min ?? Math.min(0, ...values), max: max ?? (unit === "percent" ? 100 : most || 1) };
}
