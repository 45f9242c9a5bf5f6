/** Numbers as Grafana writes them (`@grafana/data` valueFormats/baseFormatters). */

/** @typedef {{text: string, prefix?: string, suffix?: string}} Formatted */
/** @typedef {(value: number, decimals?: number|null) => Formatted} Formatter */

/** How many decimals show two or three significant digits. */
export function decimalsFor(value) {
  const size = Math.abs(value);
  const log10 = Math.floor(Math.log(size) / Math.LN10);
  let decimals = -log10 + 1;
  if (size / Math.pow(10, -decimals) > 2.25) decimals += 1;
  if (value % 1 === 0) decimals = 0;
  return Math.max(0, decimals);
}

/**
 * A number with so many decimals, or as many as it takes.
 * @param {number} value
 * @param {number|null} [decimals]
 */
export function toFixed(value, decimals) {
  if (value === Infinity || value === -Infinity) return value.toLocaleString("en");
  const places = decimals ?? decimalsFor(value);
  if (value === 0) return value.toFixed(Math.min(places, 100));
  const factor = places ? Math.pow(10, Math.max(0, places)) : 1;
  const formatted = String(Math.round(value * factor) / factor);
  if (formatted.includes("e")) return formatted;
  const point = formatted.indexOf(".");
  const precision = point === -1 ? 0 : formatted.length - point - 1;
  if (precision >= places) return formatted;
  return (precision ? formatted : `${formatted}.`) + String(factor).slice(1, places - precision + 1);
}

/** A fixed unit behind (or in front of) the number. */
export const fixedUnit = (unit, inFront = false) => (value, decimals) => {
  const text = toFixed(value, decimals);
  if (!unit) return { text };
  return inFront ? { text, prefix: unit } : { text, suffix: ` ${unit}` };
};

/**
 * Units that grow by a factor.
 * @param {number} factor 1000 or 1024
 * @param {string[]} names suffixes, ascending
 * @param {number} offset where the plain unit stands among them
 * @returns {Formatter}
 */
export const scaled = (factor, names, offset = 0) => (value, decimals) => {
  if (!Number.isFinite(value)) return { text: value.toLocaleString("en") };
  const step = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)) / Math.log10(factor));
  const clamped = Math.min(Math.max(step, -offset), names.length - offset - 1);
  const suffix = names[Math.min(Math.max(offset + step, 0), names.length - 1)];
  return { text: toFixed(value / factor ** clamped, decimals), suffix };
};

const SI = ["f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const COUNT = ["", "K", "M", "B", "T"];

/** @param {number} offset 0: the plain unit; 1: the value counts thousands of it */
export const si = (unit, offset = 0) => scaled(1000, SI.map((prefix) => ` ${prefix}${unit}`), SI.indexOf("") + offset);
export const binary = (unit, offset = 0) => scaled(1024, BINARY.map((prefix) => ` ${prefix}${unit}`), offset);

/** Offset of an SI prefix letter. */
export const siOffset = (letter) => Math.max(SI.indexOf(letter), -1) - (SI.includes(letter) ? SI.indexOf("") : -1);

/** A count of something: 1.2 K req/s. */
export const counted = (what) => (value, decimals) => {
  const shown = scaled(1000, COUNT)(value, decimals);
  return { ...shown, suffix: `${shown.suffix ?? ""} ${what}` };
};

/** Money. */
export const currency = (symbol, behind = false) => (value, decimals) => {
  const shown = scaled(1000, COUNT)(Math.abs(value), decimals);
  const sign = value < 0 ? "-" : "";
  if (!behind) return { ...shown, prefix: sign + symbol };
  return { ...shown, prefix: sign, suffix: (shown.suffix ?? "") + symbol };
};

/** @param {Formatted} formatted */
export const asText = ({ prefix = "", text, suffix = "" }) => `${prefix}${text}${suffix}`;
