/** Filters of the trace list, and the TraceQL they amount to. */

import * as names from "../names.js";

const text = (value) => `"${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
const positive = (value) => /^\d+(\.\d+)?$/.test(value);

/** What a list of calls shows of each. */
const SELECTED = [names.REQUEST_MODEL, names.RESPONSE_MODEL, names.TIME_TO_FIRST_CHUNK, names.INPUT_TOKENS, names.OUTPUT_TOKENS, names.COST_USD, names.COST_STATUS, names.OPERATION].map((name) => `span.${name}`);

/**
 * One filter: its parameter in the address, its label, and its condition.
 * @type {Array<{key: string, label: string, unit?: string, tag?: string, choices?: Array<[string, string]>, condition: (value: string) => string}>}
 */
export const FILTERS = [
  { key: "service", label: "Service", tag: `resource.${names.SERVICE_NAME}`, condition: (value) => `resource.${names.SERVICE_NAME} = ${text(value)}` },
  { key: "model", label: "Model", tag: `span.${names.REQUEST_MODEL}`, condition: (value) => `span.${names.REQUEST_MODEL} = ${text(value)}` },
  { key: "status", label: "Status", choices: [["", "Any"], ["error", "Error"], ["ok", "No error"]], condition: (value) => (value === "error" ? "status = error" : "status != error") },
  { key: "duration", label: "Slower than", unit: "ms", condition: (value) => `traceDuration > ${value}ms` },
  { key: "first", label: "First token after", unit: "ms", condition: (value) => `span.${names.TIME_TO_FIRST_CHUNK} > ${Number(value) / 1000}` },
  { key: "cost", label: "Costs more than", unit: "USD", condition: (value) => `span.${names.COST_USD} > ${decimal(value)}` },
];

/** TraceQL has no exponents. */
const decimal = (value) => Number(value).toFixed(12).replace(/\.?0+$/, "");

/**
 * The query that the filters of an address amount to.
 * @param {URLSearchParams} query
 */
export function composed(query) {
  const conditions = [`span.${names.ACCOUNTED} = true`];
  for (const { key, unit, condition } of FILTERS) {
    const value = query.get(key);
    if (value && (!unit || positive(value))) conditions.push(condition(value));
  }
  return `{ ${conditions.join(" && ")} }`;
}

/** A query that also answers with what the list shows, where it does not calculate anything itself. */
export function selecting(q) {
  return q.includes("|") ? q : `${q} | select(${SELECTED.join(", ")})`;
}

/**
 * Where in a query a server's message says the error is; null where it does not say.
 * @param {string} message e.g. `parse error at line 1, col 14: ...`
 */
export function errorPlace(message, q) {
  const found = /line (\d+),? col(?:umn)?:? (\d+)/i.exec(message);
  if (!found) return null;
  const lines = q.split("\n");
  const before = lines.slice(0, Number(found[1]) - 1).reduce((sum, line) => sum + line.length + 1, 0);
  return Math.min(before + Math.max(0, Number(found[2]) - 1), q.length);
}
