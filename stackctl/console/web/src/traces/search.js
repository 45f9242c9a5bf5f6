/** Searching in parts: the newest traces stand on the page while older ones are still looked for. */

import * as api from "../lib/api.js";

const LEAST_PART_MS = 5 * 60_000;
const FIRST_SHARE = 1 / 24;
const GROWTH = 4; // each part before the last is so many times longer

/**
 * The parts of a range, newest first.
 * @param {import("../time/range.js").Range} range
 * @returns {Array<import("../time/range.js").Range>}
 */
export function parts({ from, to }) {
  const found = [];
  let length = Math.max(LEAST_PART_MS, (to - from) * FIRST_SHARE);
  for (let end = to; end > from; length *= GROWTH) {
    // What would be left over is not worth another question.
    const start = end - length * 1.5 <= from ? from : end - length;
    found.push({ from: start, to: end });
    end = start;
  }
  return found;
}

const started = (trace) => Number(trace.startTimeUnixNano ?? 0);
const matched = (trace) => (trace.spanSets ?? [trace.spanSet ?? {}]).reduce((sum, set) => sum + (set.matched ?? 0), 0);

/** A trace that lies across two parts is found in both: the answer that knows more of it counts. */
function take(found, traces) {
  for (const trace of traces) {
    const known = found.get(trace.traceID);
    if (!known || matched(known) < matched(trace)) found.set(trace.traceID, trace);
  }
}

/**
 * Yield what is found so far, newest first, each time more is.
 * @param {{q: string, range: import("../time/range.js").Range, limit: number, spss: number}} wanted
 * @param {AbortSignal} signal ends the search
 * @returns {AsyncGenerator<{traces: any[], done: boolean}>}
 */
export async function* newestFirst({ q, range, limit, spss }, signal) {
  const found = new Map();
  // A query that calculates over a trace must see the whole of it in one answer.
  const asked = /\|(?!\s*select\b)/.test(q) ? [range] : parts(range);
  for (const { from, to } of asked) {
    take(found, await api.search({ q, start: from, end: to, limit, spss }, signal));
    const traces = [...found.values()].sort((one, other) => started(other) - started(one)).slice(0, limit);
    const done = from === range.from || found.size >= limit;
    yield { traces, done };
    if (done) return;
  }
}
