/** A trace as the console sees it: spans in a tree, and what an LLM call's attributes mean. */

import { plainValue } from "../board/frames.js";
import * as names from "../names.js";

/**
 * @typedef {object} Span
 * @property {string} id
 * @property {string|null} parent
 * @property {string} name
 * @property {string} service
 * @property {string} kind
 * @property {"unset"|"ok"|"error"} status
 * @property {string} message status message
 * @property {number} offset milliseconds since the trace's start
 * @property {number} duration milliseconds
 * @property {Record<string, any>} attributes
 * @property {Record<string, any>} resource
 * @property {Array<{name: string, offset: number, attributes: Record<string, any>}>} events
 * @property {Array<{traceId: string, spanId: string}>} links
 * @property {string} scope
 * @property {Span[]} children
 * @property {number} depth
 * @typedef {{id: string, start: number, duration: number, spans: Span[], roots: Span[]}} Trace spans in drawing order
 */

const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUSES = ["unset", "ok", "error"];

const enumOf = (value, words, prefix) => (typeof value === "string" ? value.replace(prefix, "").toLowerCase() : (words[value ?? 0] ?? words[0]));

/** Ids are base64 in protobuf's JSON and hex in OTLP's: told apart by their length. */
function hex(text, bytes) {
  if (!text || text.length === bytes * 2) return (text ?? "").toLowerCase();
  try {
    return Array.from(atob(text), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  } catch {
    return text;
  }
}

const attributesOf = (rows = []) => Object.fromEntries(rows.map((row) => [row.key, plainValue(row.value)]));

/**
 * Read the answer of Tempo's trace API.
 * @param {any} answer
 * @returns {Trace}
 */
export function readTrace(answer) {
  const body = answer.trace ?? answer;
  const raw = (body.resourceSpans ?? body.batches ?? []).flatMap((batch) => {
    const resource = attributesOf(batch.resource?.attributes);
    return (batch.scopeSpans ?? []).flatMap((scope) => (scope.spans ?? []).map((span) => ({ span, resource, scope: scope.scope?.name ?? "" })));
  });
  const nanos = raw.map(({ span }) => BigInt(span.startTimeUnixNano ?? 0));
  const first = nanos.reduce((least, at) => (at < least ? at : least), nanos[0] ?? 0n);
  const spans = raw.map((one) => readSpan(one, first));
  const end = spans.reduce((latest, span) => Math.max(latest, span.offset + span.duration), 0);
  const roots = tree(spans);
  return { id: hex(raw[0]?.span.traceId, 16), start: Number(first) / 1e6, duration: end, roots, spans: walk(roots) };
}

function readSpan({ span, resource, scope }, first) {
  const since = (nanos) => Number(BigInt(nanos ?? 0) - first) / 1e6;
  return {
    id: hex(span.spanId, 8),
    parent: /[1-9a-f]/i.test(hex(span.parentSpanId, 8)) ? hex(span.parentSpanId, 8) : null,
    name: span.name ?? "",
    service: String(resource[names.SERVICE_NAME] ?? ""),
    kind: enumOf(span.kind, KINDS, "SPAN_KIND_"),
    status: enumOf(span.status?.code, STATUSES, "STATUS_CODE_"),
    message: span.status?.message ?? "",
    offset: since(span.startTimeUnixNano),
    duration: Number(BigInt(span.endTimeUnixNano ?? 0) - BigInt(span.startTimeUnixNano ?? 0)) / 1e6,
    attributes: attributesOf(span.attributes),
    resource,
    events: (span.events ?? []).map((event) => ({ name: event.name ?? "", offset: since(event.timeUnixNano), attributes: attributesOf(event.attributes) })),
    links: (span.links ?? []).map((link) => ({ traceId: hex(link.traceId, 16), spanId: hex(link.spanId, 8) })),
    scope,
    children: [],
    depth: 0,
  };
}

/** Hang spans below their parents; what has no stored parent is a root, also one of a circle of parents. */
function tree(spans) {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const sorted = [...spans].sort((one, other) => one.offset - other.offset || one.depth - other.depth);
  const roots = [];
  for (const span of sorted) {
    const parent = span.parent && byId.get(span.parent);
    if (parent && parent !== span) parent.children.push(span);
    else roots.push(span);
  }
  const reached = new Set(walk(roots));
  for (const span of sorted) {
    if (reached.has(span)) continue;
    byId.get(span.parent).children = byId.get(span.parent).children.filter((child) => child !== span);
    roots.push(span);
    walk([span]).forEach((one) => reached.add(one));
  }
  return roots;
}

/** All spans below some, parents first; sets their depth. Without recursion: traces may be thousands deep. */
export function walk(roots) {
  const found = [];
  const seen = new Set();
  const pending = [...roots].reverse();
  roots.forEach((root) => (root.depth = 0));
  while (pending.length) {
    const span = pending.pop();
    if (seen.has(span)) continue;
    seen.add(span);
    found.push(span);
    for (let at = span.children.length - 1; at >= 0; at -= 1) {
      span.children[at].depth = span.depth + 1;
      pending.push(span.children[at]);
    }
  }
  return found;
}

const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** What an LLM call's span says; null where it does not say it: unknown is never 0. */
export function callOf({ attributes }) {
  const get = (name) => attributes[name] ?? null;
  return {
    counted: get(names.ACCOUNTED) === true,
    operation: get(names.OPERATION),
    provider: get(names.PROVIDER),
    asked: get(names.REQUEST_MODEL),
    answered: get(names.RESPONSE_MODEL),
    finish: get(names.FINISH_REASONS),
    firstToken: number(get(names.TIME_TO_FIRST_CHUNK)),
    rate: number(get(names.OUTPUT_RATE)),
    window: number(get(names.CONTEXT_UTILIZATION)),
    tokens: {
      input: number(get(names.INPUT_TOKENS)),
      cacheRead: number(get(names.CACHE_READ_TOKENS)),
      cacheWrite: number(get(names.CACHE_WRITE_TOKENS)),
      output: number(get(names.OUTPUT_TOKENS)),
      reasoning: number(get(names.REASONING_TOKENS)),
    },
    cost: number(get(names.COST_USD)),
    costStatus: get(names.COST_STATUS),
    costs: {
      input: number(get(names.COST_INPUT_USD)),
      cacheRead: number(get(names.COST_CACHE_READ_USD)),
      cacheWrite: number(get(names.COST_CACHE_WRITE_USD)),
      output: number(get(names.COST_OUTPUT_USD)),
    },
    pricedAs: [get(names.PRICED_PROVIDER), get(names.PRICED_MODEL)].filter(Boolean).join(" / ") || null,
    sentCost: number(get(names.SENT_COST_USD)),
  };
}

/** The judgements on a span: its events, and the attributes of an evaluator's own span. */
export function evaluationsOf(span) {
  const own = { name: names.EVALUATION_EVENT, attributes: span.attributes };
  return [own, ...span.events]
    .filter((event) => event.name === names.EVALUATION_EVENT && event.attributes[names.EVALUATION_NAME])
    .map(({ attributes }) => ({
      name: attributes[names.EVALUATION_NAME],
      score: number(attributes[names.EVALUATION_SCORE]),
      label: attributes[names.EVALUATION_LABEL] ?? null,
      explanation: attributes[names.EVALUATION_EXPLANATION] ?? null,
      error: attributes[names.ERROR_TYPE] ?? null,
    }));
}

/** Sums over the counted calls of a trace. */
export function totals(trace) {
  const calls = trace.spans.map(callOf).filter((call) => call.counted);
  const add = (values) => (values.some((value) => value !== null) ? values.reduce((sum, value) => sum + (value ?? 0), 0) : null);
  const models = [...new Set(calls.filter((call) => call.operation !== "embeddings").concat(calls).map((call) => call.answered ?? call.asked).filter(Boolean))];
  const firsts = calls.map((call) => call.firstToken).filter((value) => value !== null);
  return {
    calls: calls.length,
    models,
    input: add(calls.map((call) => call.tokens.input)),
    output: add(calls.map((call) => call.tokens.output)),
    cost: add(calls.map((call) => call.cost)),
    unpriced: calls.filter((call) => call.cost === null).length,
    firstToken: firsts.length ? Math.max(...firsts) : null,
    errors: trace.spans.filter((span) => span.status === "error").length,
  };
}
