/** Numbers of traces as text. */

/** Three significant digits: 1.37 s, 49.9 ms, 172 µs. */
export function duration(value) {
  if (value < 0) return `-${duration(-value)}`; // of a span that ends before it begins
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

const CENT_PARTS = 6; // decimals that tell calls apart and keep a column aligned
const exact = (value) => value >= 1 ? `$${value.toFixed(2)}` : `$${Number(value.toPrecision(3)).toFixed(Math.min(12, Math.max(2, 2 - Math.floor(Math.log10(value)))))}`;

/** Money in a column: decimals stand below one another; what is less than they show says so, and is not nothing. */
export function usd(value) {
  if (value === null) return "–";
  if (value === 0) return "$0";
  if (value < 10 ** -CENT_PARTS) return `<$${(10 ** -CENT_PARTS).toFixed(CENT_PARTS)}`;
  return `$${value.toFixed(value >= 100 ? 2 : value >= 0.1 ? 4 : CENT_PARTS)}`;
}

/** Money to three significant digits, however small: a call may cost a millionth of a dollar. */
export const usdExact = (value) => (value === null || value === 0 ? usd(value) : exact(value));

/** A sum of money, and how many calls are not in it since their cost is not known. */
export const costText = ({ cost, unpriced }) => usdExact(cost) + (unpriced && cost !== null ? ` + ${unpriced} unknown` : "");
