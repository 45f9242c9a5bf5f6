/** Calculations over a column (`@grafana/data` fieldReducer). */

const known = (values) => values.filter((value) => value !== null && value !== undefined && !Number.isNaN(value));
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** @type {Record<string, (values: any[]) => any>} */
const CALCULATIONS = {
  lastNotNull: (values) => known(values).at(-1),
  last: (values) => values.at(-1),
  firstNotNull: (values) => known(values)[0],
  first: (values) => values[0],
  min: (values) => known(values).reduce((least, value) => Math.min(least, value), Infinity),
  max: (values) => known(values).reduce((most, value) => Math.max(most, value), -Infinity),
  mean: (values) => sum(known(values)) / known(values).length,
  sum: (values) => sum(known(values)),
  count: (values) => values.length,
  range: (values) => CALCULATIONS.max(values) - CALCULATIONS.min(values),
  diff: (values) => known(values).at(-1) - known(values)[0],
  median: (values) => {
    const sorted = known(values).sort((one, other) => one - other);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  },
};

/** The name of a calculation as a legend heads it. */
export const calcName = (id) =>
  ({ lastNotNull: "Last", last: "Last", firstNotNull: "First", first: "First", min: "Min", max: "Max", mean: "Mean", sum: "Total", count: "Count", range: "Range", diff: "Difference", median: "Median" })[id] ?? id;

/**
 * One value out of a column; null where there is none to calculate with.
 * @param {any[]} values
 * @param {string} calc
 * @throws {Error} the calculation is not supported
 */
export function reduce(values, calc = "lastNotNull") {
  if (!Object.hasOwn(CALCULATIONS, calc)) throw new Error(`The calculation "${calc}" is not supported.`);
  if (calc !== "count" && !known(values).length) return null;
  return CALCULATIONS[calc](values) ?? null;
}
