/** A board's variables: what may be chosen, what is chosen, and how the address says so. */

import { labelValues, series } from "../lib/api.js";
import { interpolate, inPromql } from "./interpolate.js";

export const ALL = "$__all";
const SUPPORTED = new Set(["query", "custom", "datasource", "textbox", "constant", "interval"]);

/** The variables of one board, with the choices of one address. */
export class Variables {
  /**
   * @param {any[]} definitions `templating.list` of a board
   * @param {URLSearchParams} query with `var-NAME` parameters
   */
  constructor(definitions, query) {
    this.list = (definitions ?? []).map((definition) => new Variable(definition, query.getAll(`var-${definition.name}`)));
    this.byName = new Map(this.list.map((variable) => [variable.name, variable]));
  }

  /** @type {import("./interpolate.js").Scope["lookup"]} */
  lookup(name) {
    return this.byName.get(name)?.found() ?? null;
  }

  /** What is chosen of a variable: all of its options where all are. */
  valuesOf(name) {
    const variable = this.byName.get(name);
    if (!variable) return [];
    return variable.isAll() ? variable.options.map((option) => option.value) : variable.values;
  }

  /** True while a text needs the options of a variable that were not fetched yet. */
  waitsFor(text) {
    return this.list.some((variable) => variable.needsOptions() && new RegExp(`\\$\\{?${variable.name}\\b|\\[\\[${variable.name}\\b`).test(text));
  }

  /**
   * Fetch the options of all variables; those whose query uses another one come after it.
   * @param {import("../time/range.js").Range} range
   */
  async load(range, signal) {
    const [dependent, free] = [[], []];
    for (const variable of this.list) (/[$[]/.test(variable.queryText()) ? dependent : free).push(variable);
    await Promise.all(free.map((variable) => variable.load(range, this, signal)));
    for (const variable of dependent) await variable.load(range, this, signal);
  }
}

/** One variable. */
class Variable {
  constructor(definition, fromAddress) {
    this.definition = definition;
    this.name = definition.name;
    this.label = definition.label || definition.name;
    this.type = definition.type;
    this.hidden = definition.hide === 2 || definition.type === "constant";
    this.multi = Boolean(definition.multi);
    this.includeAll = Boolean(definition.includeAll);
    this.options = fixedOptions(definition);
    this.error = SUPPORTED.has(this.type) ? null : `variables of type ${this.type} are not supported`;
    this.values = fromAddress.length ? fromAddress.map((value) => (value === "All" && this.includeAll ? ALL : value)) : this.initial();
  }

  initial() {
    const { current, query } = this.definition;
    if (this.type === "textbox" || this.type === "constant") return [String(current?.value ?? query ?? "")];
    const value = current?.value;
    if (value !== undefined && value !== "" && [value].flat().length) return [value].flat().map(String);
    if (this.includeAll) return [ALL];
    return this.options.length ? [this.options[0].value] : [];
  }

  /** True for a query whose options decide what is chosen: all of them, without a value that stands for all. */
  needsOptions() {
    return this.type === "query" && !this.loaded && ((this.isAll() && !this.definition.allValue) || !this.values.length);
  }

  isAll() {
    return this.values.includes(ALL);
  }

  queryText() {
    const { query } = this.definition;
    return this.type === "query" ? String(typeof query === "string" ? query : (query?.query ?? "")) : "";
  }

  /** @returns {import("./interpolate.js").Found} */
  found() {
    const single = !this.multi && !this.includeAll;
    if (this.isAll() && this.definition.allValue) return { values: [this.definition.allValue], single, literal: true };
    const values = this.isAll() ? this.options.map((option) => option.value) : this.values;
    return { values, single, literal: false };
  }

  async load(range, scope, signal) {
    if (this.type !== "query") return;
    try {
      this.options = await queried(interpolate(this.queryText(), scope, inPromql), this.definition, range, signal);
      this.loaded = true;
      if (!this.values.length && this.options.length) this.values = [this.options[0].value];
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.error = error.message; // shown beside the variable; the board goes on with what is chosen
    }
  }
}

function fixedOptions({ type, query, options }) {
  if (type === "custom") return customOptions(String(query ?? ""));
  if (type === "interval") return String(query ?? "").split(",").map((text) => text.trim()).filter(Boolean).map((text) => ({ value: text, text }));
  if (type === "datasource") return [{ value: String(query), text: String(query) }];
  return (options ?? []).filter((option) => option.value !== ALL).map(({ value, text }) => ({ value: String(value), text: String(text ?? value) }));
}

/** `a, b : 2` as Grafana reads it; a comma behind a backslash is none. */
function customOptions(query) {
  return (query.match(/(?:\\,|[^,])+/g) ?? []).map((part) => {
    const [text, value] = part.replace(/\\,/g, ",").trim().split(/\s+:\s+/);
    return { text, value: value ?? text };
  });
}

async function queried(text, definition, range, signal) {
  const values = /^\s*label_values\(/.test(text) ? await fromLabels(text, range, signal) : await fromSeries(text, range, signal);
  return sorted(filtered(values, definition.regex), definition.sort).map((value) => ({ value, text: value }));
}

async function fromLabels(text, range, signal) {
  const inside = /^\s*label_values\(\s*(?:([\s\S]+)\s*,\s*)?([A-Za-z_][A-Za-z0-9_.]*)\s*\)\s*$/.exec(text);
  if (!inside) throw new Error(`this query is not understood: ${text}`);
  return labelValues(inside[2], inside[1]?.trim(), range.from, range.to, signal);
}

async function fromSeries(text, range, signal) {
  const inside = /^\s*metrics\((.*)\)\s*$/.exec(text);
  if (inside) {
    const pattern = new RegExp(inside[1]);
    return (await labelValues("__name__", undefined, range.from, range.to, signal)).filter((name) => pattern.test(name));
  }
  if (/^\s*(query_result|label_names)\(/.test(text)) throw new Error(`this query is not supported: ${text}`);
  return (await series(text, range.from, range.to, signal)).map((labels) => {
    const { __name__: name = "", ...rest } = labels;
    return `${name}{${Object.entries(rest).map(([key, value]) => `${key}="${value}"`).join(",")}}`;
  });
}

/** Apply a variable's `/regex/`: what it does not match goes, and its first group is the value. */
function filtered(values, regex) {
  if (!regex) return values;
  const parts = /^\/(.*)\/([gimsu]*)$/s.exec(regex);
  const pattern = new RegExp(parts ? parts[1] : regex, (parts?.[2] ?? "").replace("g", ""));
  const found = values.map((value) => pattern.exec(value)).filter(Boolean);
  return [...new Set(found.map((match) => match.groups?.value ?? match[1] ?? match[0]))];
}

// Grafana's numbers: 1 and 2 alphabetical, 3 and 4 numerical, 5 and 6 without case; the even ones downwards.
function sorted(values, sort = 0) {
  if (!sort) return values;
  const number = (text) => Number(/-?\d+(\.\d+)?/.exec(text)?.[0] ?? Infinity);
  const compare = { 1: (a, b) => (a < b ? -1 : 1), 3: (a, b) => number(a) - number(b), 5: (a, b) => a.localeCompare(b, undefined, { sensitivity: "base" }) }[
    sort % 2 ? sort : sort - 1
  ];
  const result = compare ? [...values].sort(compare) : values;
  return sort % 2 ? result : result.reverse();
}
