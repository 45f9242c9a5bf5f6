/** Moments as text, in UTC or the browser's own zone; the choice is one for the whole page. */

let utc = false;

/** @param {boolean} wanted true: UTC, false: the browser's zone */
export function useUtc(wanted) {
  utc = wanted;
}

export const isUtc = () => utc;

const two = (number) => String(number).padStart(2, "0");

/** The fields of a moment in the chosen zone. */
export function fields(ms) {
  const date = new Date(ms);
  const get = (name) => date[`get${utc ? "UTC" : ""}${name}`]();
  return {
    year: get("FullYear"),
    month: get("Month") + 1,
    day: get("Date"),
    hour: get("Hours"),
    minute: get("Minutes"),
    second: get("Seconds"),
    ms: get("Milliseconds"),
  };
}

export function dateText(ms) {
  const { year, month, day } = fields(ms);
  return `${year}-${two(month)}-${two(day)}`;
}

/** @param {boolean} [precise] with milliseconds */
export function clockText(ms, precise = false) {
  const { hour, minute, second, ms: thousandths } = fields(ms);
  const text = `${two(hour)}:${two(minute)}:${two(second)}`;
  return precise ? `${text}.${String(thousandths).padStart(3, "0")}` : text;
}

/** `2026-11-25 17:03:51` */
export const moment = (ms, precise = false) => `${dateText(ms)} ${clockText(ms, precise)}`;

/** A moment of today by its clock alone; of another day with its month and day. */
export const shortMoment = (ms, now = Date.now()) => (dateText(ms) === dateText(now) ? clockText(ms) : `${dateText(ms).slice(5)} ${clockText(ms)}`);

/** How long ago, in one unit. */
export function ago(ms, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  for (const [size, unit] of [[86_400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

/** A label of a time axis: as much of the moment as the distance of the ticks calls for. */
export function tick(ms, stepMs) {
  const { year, month, day, hour, minute, second } = fields(ms);
  if (stepMs >= 300 * 86_400_000) return String(year);
  if (stepMs >= 86_400_000) return `${two(month)}-${two(day)}`;
  if (hour === 0 && minute === 0 && second === 0) return `${two(month)}-${two(day)}`;
  return stepMs >= 60_000 ? `${two(hour)}:${two(minute)}` : `${two(hour)}:${two(minute)}:${two(second)}`;
}

/** Milliseconds since the epoch of what `moment` writes (seconds may be left out); NaN where it is none. */
export function parseMoment(text) {
  const found = /^\s*(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?\s*$/.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour = 0, minute = 0, second = 0] = found.slice(1).map((part) => (part === undefined ? undefined : Number(part)));
  return utc ? Date.UTC(year, month - 1, day, hour, minute, second) : new Date(year, month - 1, day, hour, minute, second).getTime();
}
