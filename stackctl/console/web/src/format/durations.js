/** Durations as Grafana writes them (`@grafana/data` valueFormats/dateTimeFormatters). */

import { toFixed } from "./numbers.js";

const PLURAL = new Set([" min", " hour", " day", " week", " year"]);

function scaledTo(value, decimals, unit, single = false) {
  const suffix = PLURAL.has(unit) && !single && Math.abs(value) > 1 ? `${unit}s` : unit;
  return { text: toFixed(value, decimals), suffix };
}

/**
 * Steps of a unit: below `limit` the value is divided by `by` and shown in `unit`.
 * @param {Array<[number, number, string, boolean?]>} steps ascending; true: the unit has no plural there
 */
const stepped = (steps) => (value, decimals) => {
  const [, by, unit, single] = steps.find(([limit]) => Math.abs(value) < limit) ?? steps.at(-1);
  return scaledTo(value / by, decimals, unit, single);
};

const DAY = 86_400;
const toSeconds = stepped([
  [1e-6, 1e-9, " ns"],
  [1e-3, 1e-6, " µs"],
  [1, 1e-3, " ms"],
  [60, 1, " s"],
  [3600, 60, " min"],
  [DAY, 3600, " hour"],
  [7 * DAY, DAY, " day"],
  [365 * DAY, 7 * DAY, " week"],
  [Infinity, 31_556_900, " year"],
]);

// Grafana multiplies below a second, which rounds otherwise than dividing does.
function seconds(value, decimals) {
  if (value === 0) return { text: "0", suffix: " s" };
  const size = Math.abs(value);
  if (size < 1e-6) return scaledTo(value * 1e9, decimals, " ns");
  if (size < 1e-3) return scaledTo(value * 1e6, decimals, " µs");
  if (size < 1) return scaledTo(value * 1e3, decimals, " ms");
  return toSeconds(value, decimals);
}

const NAMES = ["year", "month", "week", "day", "hour", "minute", "second", "millisecond"];
const LENGTHS = [31_536_000, 2_592_000, 604_800, 86_400, 3600, 60, 1, 0.001].map((one) => one * 1000);

/** A duration in words: `2 hours, 3 minutes`; decimals is how many units more than the largest. */
const inWords = (name) => (value, decimals) => {
  if (value === 0) return { text: "0", suffix: ` ${name}s` };
  if (value < 0) {
    const positive = inWords(name)(-value, decimals);
    return { ...positive, suffix: `${positive.suffix ?? ""} ago` };
  }
  let left = value * LENGTHS[NAMES.indexOf(name)];
  let more = decimals ?? 0;
  const words = [];
  for (let at = 0; at < NAMES.length && more >= 0; at += 1) {
    if (left / LENGTHS[at] < 1 && !words.length) continue;
    const whole = Math.floor(left / LENGTHS[at]);
    words.push(`${whole} ${NAMES[at]}${whole === 1 ? "" : "s"}`);
    left %= LENGTHS[at];
    more -= 1;
  }
  return { text: words.join(", ") };
};

function clock(value) {
  if (value < 0) {
    const positive = clock(-value);
    return { ...positive, suffix: " ago" };
  }
  const parts = [value / 3600, (value % 3600) / 60, value % 60].map((part) => String(Math.floor(part)).padStart(2, "0"));
  return { text: parts.join(":") };
}

/** Formatters by Grafana's unit id. */
export const DURATIONS = {
  ns: stepped([
    [1e3, 1, " ns"],
    [1e6, 1e3, " µs"],
    [1e9, 1e6, " ms"],
    [6e10, 1e9, " s"],
    [36e11, 6e10, " min"],
    [864e11, 36e11, " hour"],
    [Infinity, 864e11, " day"],
  ]),
  "µs": stepped([
    [1e3, 1, " µs"],
    [1e6, 1e3, " ms"],
    [Infinity, 1e6, " s"],
  ]),
  ms: stepped([
    [1e3, 1, " ms"],
    [6e4, 1e3, " s"],
    [36e5, 6e4, " min"],
    [864e5, 36e5, " hour"],
    [31_536e6, 864e5, " day"],
    [Infinity, 31_536e6, " year"],
  ]),
  s: seconds,
  m: stepped([
    [60, 1, " min", true],
    [1440, 60, " hour"],
    [10_080, 1440, " day"],
    [604_800, 10_080, " week"],
    [Infinity, 525_948, " year"],
  ]),
  h: stepped([
    [24, 1, " hour", true],
    [168, 24, " day"],
    [8760, 168, " week"],
    [Infinity, 8760, " year"],
  ]),
  d: stepped([
    [7, 1, " day"],
    [365, 7, " week"],
    [Infinity, 365, " year"],
  ]),
  dtdurationms: inWords("millisecond"),
  dtdurations: inWords("second"),
  dthms: clock,
};
