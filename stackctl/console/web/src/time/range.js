/** Time ranges as Grafana's addresses write them: `now-6h`, `now/d`, or milliseconds. */

import { fields, isUtc, moment, parseMoment } from "../format/times.js";

const UNIT_MS = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5, M: 2592e6, y: 31_536e6 };
const WORDS = { s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks", M: "months", y: "years" };

/** @typedef {{from: string, to: string}} Wanted as the address has it */
/** @typedef {{from: number, to: number}} Range milliseconds since the epoch */

/** Ranges that the picker offers. */
export const QUICK = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "30d"].map((length) => ({
  from: `now-${length}`,
  to: "now",
}));

function rounded(ms, unit, up) {
  const at = fields(ms);
  const start = { y: [at.year], M: [at.year, at.month - 1], d: [at.year, at.month - 1, at.day], h: [at.year, at.month - 1, at.day, at.hour] }[unit];
  if (!start) return Math.floor(ms / UNIT_MS[unit]) * UNIT_MS[unit] + (up ? UNIT_MS[unit] - 1 : 0);
  const make = (parts) => {
    const full = [parts[0], parts[1] ?? 0, parts[2] ?? 1, parts[3] ?? 0];
    return isUtc() ? Date.UTC(...full) : new Date(...full).getTime();
  };
  if (!up) return make(start);
  const next = [...start];
  next[next.length - 1] += 1;
  return make(next) - 1;
}

/**
 * One end of a range in milliseconds; NaN where the text is none.
 * @param {string} text
 * @param {number} now
 * @param {boolean} up round up (the end of a range)
 */
export function parseEnd(text, now, up = false) {
  if (/^\d{11,}$/.test(text)) return Number(text);
  const found = /^now(?:([-+])(\d{1,5})([smhdwMy]))?(?:\/([smhdwMy]))?$/.exec(text);
  if (!found) return parseMoment(text);
  const [, sign, count, unit, whole] = found;
  const shift = count ? Number(count) * UNIT_MS[unit] * (sign === "-" ? -1 : 1) : 0;
  return whole ? rounded(now + shift, whole, up) : now + shift;
}

/**
 * The range in milliseconds; null where it is none.
 * @param {Wanted} wanted
 * @returns {Range|null}
 */
export function resolve(wanted, now = Date.now()) {
  const from = parseEnd(wanted.from, now);
  const to = parseEnd(wanted.to, now, true);
  return Number.isFinite(from) && Number.isFinite(to) && from < to ? { from, to } : null;
}

/** True while the range moves with the clock. */
export const moves = (wanted) => wanted.to.startsWith("now");

/** The range in words. */
export function describe({ from, to }) {
  const last = to === "now" && /^now-(\d+)([smhdwMy])$/.exec(from);
  if (last) return `Last ${last[1]} ${last[1] === "1" ? WORDS[last[2]].slice(0, -1) : WORDS[last[2]]}`;
  const shown = (end) => (/^\d{11,}$/.test(end) ? moment(Number(end)) : end);
  const [first, second] = [shown(from), shown(to)];
  const sameDay = first.slice(0, 10) === second.slice(0, 10) && /^\d{4}-/.test(first);
  return `${first} to ${sameDay ? second.slice(11) : second}`;
}

/** A range twice as long around the same middle. */
export function zoomedOut({ from, to }) {
  const half = (to - from) / 2;
  const end = Math.min(Math.round(to + half), Date.now());
  return { from: String(Math.round(end - 4 * half)), to: String(end) };
}
