/** Putting values into texts with `$name`, `${name:format}` and `[[name]]`, as Grafana does. */

const MACRO = /\$(\w+)|\$\{(\w+)(?::([^}]+))?\}|\[\[(\w+)(?::(\w+))?\]\]/g;

/** @typedef {(name: string) => string[]|null} Lookup values of a variable; null where there is none */
/** @typedef {(values: string[], single: boolean) => string} Format */

const prometheusEscape = (text) => text.replace(/\\/g, "\\\\\\\\").replace(/[$^*{}[\]'+?.()|]/g, "\\\\$&");
const regexEscape = (text) => text.replace(/[\\^$*+?.()|[\]{}/]/g, "\\$&");
const stringEscape = (text) => text.replace(/\\/g, "\\\\").replace(/"/g, '\\"');

/** Formats by the name behind the colon. @type {Record<string, Format>} */
export const FORMATS = {
  raw: (values) => values.join(","),
  csv: (values) => values.join(","),
  pipe: (values) => values.join("|"),
  regex: (values) => (values.length === 1 ? regexEscape(values[0]) : `(${values.map(regexEscape).join("|")})`),
  json: (values) => JSON.stringify(values),
  singlequote: (values) => values.map((value) => `'${value.replace(/'/g, "\\'")}'`).join(","),
  doublequote: (values) => values.map((value) => `"${stringEscape(value)}"`).join(","),
  percentencode: (values) => encodeURIComponent(values.length === 1 ? values[0] : `{${values.join(",")}}`),
  text: (values) => values.join(" + "),
  glob: (values) => (values.length === 1 ? values[0] : `{${values.join(",")}}`),
};

/** How a choice stands in PromQL: alternatives of a regular expression, escaped twice since it stands in a string. */
export const inPromql = (values, single) => {
  if (single) return values[0] ?? "";
  const escaped = values.map(prometheusEscape);
  return escaped.length === 1 ? escaped[0] : `(${escaped.join("|")})`;
};

/** How a choice stands in TraceQL: alternatives, safe inside a string. */
export const inTraceql = (values) => values.map(stringEscape).join("|");

/**
 * Replace every macro that has a value; others stay, as in Grafana.
 * @param {string} text
 * @param {Scope} scope
 * @param {Format} format where the macro names none
 */
export function interpolate(text, scope, format = FORMATS.raw) {
  return text.replace(MACRO, (whole, plain, braced, wanted, bracketed, wantedToo) => {
    const found = scope.lookup(plain ?? braced ?? bracketed);
    if (!found) return whole;
    const named = wanted ?? wantedToo;
    if (named && Object.hasOwn(FORMATS, named)) return FORMATS[named](found.values);
    return found.literal ? found.values.join(",") : format(found.values, found.single);
  });
}

/**
 * @typedef {object} Found
 * @property {string[]} values
 * @property {boolean} single not a choice of several: stands as it is
 * @property {boolean} literal a text that no format may change, such as a duration or an `allValue`
 * @typedef {{lookup: (name: string) => Found|null}} Scope
 */

/** A scope with more names in front of another's. @param {Record<string, string>} own */
export const within = (own, outer) => ({
  lookup: (name) => (Object.hasOwn(own, name) ? { values: [String(own[name])], single: true, literal: true } : outer.lookup(name)),
});

/** A scope in which variables have one value each: those of a repeated panel. @param {Record<string, string>} [pinned] */
export const pinnedScope = (pinned, outer) =>
  pinned ? { lookup: (name) => (Object.hasOwn(pinned, name) ? { values: [pinned[name]], single: false, literal: false } : outer.lookup(name)) } : outer;
