/** Frames: tables of named columns, the one form in which data reaches a panel. */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"time"|"number"|"string"|"boolean"} type
 * @property {any[]} values times in milliseconds
 * @property {Record<string, string>} [labels]
 * @property {string} [legend] the name that the query's legend gives
 * @property {boolean} [brief] a moment that need not name today
 * @property {object} [config] defaults and overrides, by `fields.js`
 * @typedef {{refId: string, fields: Field[], kind?: string}} Frame
 */

const sample = (text) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : text === "NaN" ? NaN : Number(text));

/** @param {string} legend `legendFormat` of the target */
function legendOf(legend, labels, all) {
  if (legend && legend !== "__auto") return legend.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, name) => labels[name] ?? "");
  return autoName(labels, all);
}

/** Grafana's automatic name: the value of the one label that tells the series apart, else all of them. */
function autoName(labels, all) {
  const { __name__: name = "", ...rest } = labels;
  const keys = Object.keys(rest);
  if (!keys.length) return name;
  const telling = keys.filter((key) => all.some((other) => other[key] !== labels[key]));
  if (telling.length === 1) return rest[telling[0]];
  return `${name}{${keys.map((key) => `${key}="${rest[key]}"`).join(", ")}}`;
}

/** One frame for each series of a range query. */
export function fromMatrix(data, target) {
  const all = data.result.map((row) => row.metric);
  return data.result.map((row) => ({
    refId: target.refId,
    fields: [
      { name: "Time", type: "time", values: row.values.map(([at]) => at * 1000) },
      { name: "Value", type: "number", values: row.values.map(([, text]) => sample(text)), labels: row.metric, legend: legendOf(target.legendFormat, row.metric, all) },
    ],
  }));
}

/** One frame of one row for each series of an instant query. */
export function fromVector(data, target) {
  return fromMatrix({ result: rowsOf(data).map((row) => ({ metric: row.metric, values: [row.value] })) }, target);
}

function rowsOf(data) {
  if (data.resultType === "scalar" || data.resultType === "string") return [{ metric: {}, value: data.result }];
  if (data.resultType === "matrix") return data.result.map((row) => ({ metric: row.metric, value: row.values.at(-1) }));
  return data.result;
}

// What a query ordered by itself stays so; else a server may answer in another order each time, and rows would jump.
const ORDERED = /\b(sort(_desc|_by_label|_by_label_desc)?|topk|bottomk)\s*(\(|by|without)/;

function steady(rows, labels, { expr = "" }) {
  if (ORDERED.test(expr)) return rows;
  const key = (row) => labels.map((name) => row.metric[name] ?? "").join("\0");
  return [...rows].sort((one, other) => (key(one) < key(other) ? -1 : 1));
}

/** An instant query as one table: time, a column for each label, the value. */
export function toTable(data, target, single) {
  const found = rowsOf(data);
  const labels = [...new Set(found.flatMap((row) => Object.keys(row.metric)))].sort();
  const rows = steady(found, labels, target);
  const column = (name, type, values) => ({ name, type, values });
  return {
    refId: target.refId,
    fields: [
      column("Time", "time", rows.map((row) => row.value[0] * 1000)),
      ...labels.map((name) => column(name, "string", rows.map((row) => row.metric[name] ?? ""))),
      column(single ? "Value" : `Value #${target.refId}`, "number", rows.map((row) => sample(row.value[1]))),
    ],
  };
}

/** Buckets of a histogram over time, lowest first, each with what is in it alone (PromQL's are cumulative). */
export function fromBuckets(data, target) {
  const bound = (row) => sample(row.metric.le ?? "NaN");
  const rows = [...data.result].sort((one, other) => bound(one) - bound(other));
  let below = new Map();
  return rows.map((row) => {
    const cumulative = new Map(row.values.map(([at, text]) => [at * 1000, sample(text)]));
    const own = [...cumulative].map(([at, value]) => [at, Math.max(0, value - (below.get(at) ?? 0))]);
    below = cumulative;
    return {
      refId: target.refId,
      kind: "bucket",
      upper: bound(row),
      fields: [
        { name: "Time", type: "time", values: own.map(([at]) => at) },
        { name: row.metric.le ?? "", type: "number", values: own.map(([, value]) => value), labels: row.metric, legend: row.metric.le },
      ],
    };
  });
}

const ANY_VALUE = { intValue: Number, doubleValue: Number, boolValue: Boolean, stringValue: String };

/** An OTLP attribute value as a plain one. */
export function plainValue(value = {}) {
  const [kind, raw] = Object.entries(value)[0] ?? [];
  if (kind === "arrayValue") return (raw.values ?? []).map(plainValue);
  if (kind === "kvlistValue") return Object.fromEntries((raw.values ?? []).map((row) => [row.key, plainValue(row.value)]));
  return kind in ANY_VALUE ? ANY_VALUE[kind](raw) : (raw ?? null);
}

/** Found traces as a table of traces, with Grafana's column names. */
export function tracesTable(found, target) {
  return {
    refId: target.refId,
    kind: "traces",
    fields: [
      { name: "traceID", legend: "Trace ID", type: "string", values: found.map((row) => row.traceID), link: traceAddress(found.map((row) => row.traceID)) },
      { name: "startTime", legend: "Start time", type: "time", values: found.map((row) => Number(row.startTimeUnixNano) / 1e6) },
      { name: "traceService", legend: "Service", type: "string", values: found.map((row) => row.rootServiceName ?? "") },
      { name: "traceName", legend: "Name", type: "string", values: found.map((row) => row.rootTraceName ?? "") },
      { name: "traceDuration", legend: "Duration", type: "number", unit: "ms", values: found.map((row) => row.durationMs ?? 0) },
    ],
  };
}

const traceAddress = (traces, spans) => (row) => `/traces/${traces[row]}${spans ? `?span=${spans[row]}` : ""}`;

/** The attributes that a query selects; null where it selects none, and then those of its conditions are shown. */
function selected(query = "") {
  const inside = /\|\s*select\(([^)]*)\)/.exec(query);
  return inside && new Set(inside[1].split(",").map((name) => name.trim().replace(/^(span|resource|event|link|instrumentation)?\./, "")));
}

/** Found traces as a table of the spans that matched, newest first, with a column for each attribute asked for. */
export function spansTable(found, target) {
  const rows = found
    .flatMap((trace) => (trace.spanSets ?? (trace.spanSet ? [trace.spanSet] : [])).flatMap((set) => (set.spans ?? []).map((span) => spanRow(trace, span))))
    .sort((one, other) => other.start - one.start);
  const wanted = selected(target.query);
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row.attributes)))].filter((key) => !wanted || wanted.has(key)).sort();
  const traces = rows.map((row) => row.trace.traceID);
  const spans = rows.map((row) => row.span.spanID);
  // Where the spans' own service is asked for, that of their traces mostly says it again.
  const told = keys.some((key) => rows.every((row) => row.attributes[key] === row.trace.rootServiceName));
  const column = (name, legend, type, value, more = {}) => ({ name, legend, type, values: rows.map(value), ...more });
  return {
    refId: target.refId,
    kind: "spans",
    fields: [
      column("time", "Start time", "time", (row) => row.start, { link: traceAddress(traces, spans), brief: true }),
      ...(told ? [] : [column("traceService", "Trace Service", "string", (row) => row.trace.rootServiceName ?? "")]),
      column("traceName", "Trace Name", "string", (row) => row.trace.rootTraceName ?? ""),
      column("name", "Name", "string", (row) => row.span.name ?? "", { link: traceAddress(traces, spans) }),
      ...keys.map((key) => attributeColumn(key, rows)),
      column("duration", "Duration", "number", (row) => Number(row.span.durationNanos ?? 0), { unit: "ns" }),
    ],
  };
}

function spanRow(trace, span) {
  const attributes = Object.fromEntries((span.attributes ?? []).map((row) => [row.key, plainValue(row.value)]));
  return { trace, span, attributes, start: Number(span.startTimeUnixNano) / 1e6 };
}

function attributeColumn(key, rows) {
  const values = rows.map((row) => row.attributes[key] ?? null);
  const some = values.find((value) => value !== null);
  const type = typeof some === "number" ? "number" : typeof some === "boolean" ? "boolean" : "string";
  return { name: key, type, values: values.map((value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : value)) };
}
