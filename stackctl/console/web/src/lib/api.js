/** Asking the console's own server, and nobody else. */

const TOKEN_KEY = "stackctl.token";
const AGAIN_AFTER_MS = [100, 400, 0]; // waits between attempts

/** The event of a stack that asks for its token. */
export const LOCKED = "stackctl:locked";

/** An answer that is an error, with the server's own words. */
export class ApiError extends Error {
  /** @param {number} status HTTP status; 0 where nobody answered */
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/** Keep the token that an address brought in its fragment (`#token=...`), for this tab only. */
export function keepToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  sessionStorage.setItem(TOKEN_KEY, decodeURIComponent(found[1]));
  history.replaceState(history.state, "", location.pathname + location.search);
}

/** Keep a token that a person typed. */
export function setToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token.trim());
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { ...options.headers, authorization: `Bearer ${token}` } : options.headers;
  const answer = await fetched(path, { ...options, headers });
  if (answer.ok) return answer.json();
  if (answer.status === 401) dispatchEvent(new Event(LOCKED));
  throw new ApiError(await message(answer), answer.status);
}

/** Everything here only reads, so what a change of the machine's networks cut off is asked again. */
async function fetched(path, options) {
  for (const wait of AGAIN_AFTER_MS) {
    try {
      return await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
      options.signal?.throwIfAborted();
    }
  }
  throw new ApiError("The console does not answer. Does the stack still run?", 0);
}

async function message(answer) {
  const text = await answer.text();
  try {
    const body = JSON.parse(text);
    return body.error || body.message || text;
  } catch {
    return text.trim() || `${answer.status} ${answer.statusText}`;
  }
}

function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value === undefined || value === null || value === "") continue;
    for (const one of [value].flat()) query.append(key, one);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** A Prometheus query as a form, so that its length does not matter. */
async function prometheus(path, parameters, signal) {
  const body = new URLSearchParams(parameters);
  const answer = await ask(`/api/prometheus/api/v1/${path}`, { method: "POST", body, signal });
  return answer.data;
}

/**
 * Evaluate at one moment.
 * @param {number} at milliseconds since the epoch
 */
export const instant = (query, at, signal) => prometheus("query", { query, time: at / 1000 }, signal);

/**
 * Evaluate at steps; all times in milliseconds.
 */
export const range = (query, start, end, step, signal) =>
  prometheus("query_range", { query, start: start / 1000, end: end / 1000, step: step / 1000 }, signal);

/** Exemplars of the series in a query; times in milliseconds. */
export const exemplars = (query, start, end, signal) =>
  prometheus("query_exemplars", { query, start: start / 1000, end: end / 1000 }, signal);

/** Values of one label of the series that a selector chooses; times in milliseconds. */
export async function labelValues(label, selector, start, end, signal) {
  const path = `/api/prometheus/api/v1/label/${encodeURIComponent(label)}/values`;
  const within = start ? { start: start / 1000, end: end / 1000 } : {};
  const answer = await ask(withQuery(path, { "match[]": selector, ...within }), { signal });
  return answer.data;
}

/** Label sets of the series that a selector chooses. */
export async function series(selector, start, end, signal) {
  const query = { "match[]": selector, start: start / 1000, end: end / 1000 };
  return (await ask(withQuery("/api/prometheus/api/v1/series", query), { signal })).data;
}

/**
 * Search traces by TraceQL.
 * @param {{q?: string, start?: number, end?: number, limit?: number, spss?: number}} wanted times in milliseconds
 */
export async function search({ q, start, end, limit = 20, spss = 3 }, signal) {
  const whole = start === undefined ? {} : { start: Math.floor(start / 1000), end: Math.ceil(end / 1000) };
  const answer = await ask(withQuery("/api/tempo/api/search", { q, limit, spss, ...whole }), { signal });
  return answer.traces || [];
}

/** Values of a span or resource attribute, e.g. `resource.service.name`. */
export async function tagValues(tag, signal) {
  const answer = await ask(`/api/tempo/api/v2/search/tag/${encodeURIComponent(tag)}/values`, { signal });
  return (answer.tagValues || []).map((row) => row.value);
}

/** One trace as OTLP's JSON. */
export const trace = (id, signal) => ask(`/api/tempo/api/v2/traces/${encodeURIComponent(id)}`, { signal });

export const boards = async (signal) => (await ask("/api/boards", { signal })).boards;
export const board = (uid, signal) => ask(`/api/boards/${encodeURIComponent(uid)}`, { signal });
export const stack = (signal) => ask("/api/stack", { signal });
