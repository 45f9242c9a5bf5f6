/** Numbers of traces as text. */

/** Three significant digits: 1.37 s, 49.9 ms, 172 µs. */
export function duration(value) {
  for (const [size, unit] of [[60_000, "min"], [1000, "s"], [1, "ms"], [0.001, "µs"]]) {
    if (value >= size) return `${significant(value / size)} ${unit}`;
  }
  return `${Math.round(value * 1e6)} ns`;
}

const significant = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** Seconds, where known. */
export const seconds = (value) => (value === null ? "–" : duration(value * 1000));

/** Tokens, where known. */
export const tokens = (value) => (value === null ? "–" : value.toLocaleString("en"));

/** Money: a call may cost a millionth of a dollar, and that is not nothing. */
export function usd(value) {
  if (value === null) return "–";
  if (value === 0) return "$0";
  return value >= 0.01 ? `$${value.toFixed(value >= 100 ? 2 : 4)}` : `$${Number(value.toPrecision(3)).toFixed(Math.min(10, 2 - Math.floor(Math.log10(value))))}`;
}
