/** The transformations of Grafana that boards of ours use; another one is an error by name. */

/** @typedef {import("./frames.js").Frame} Frame */

const columns = (frame, keep) => ({ ...frame, fields: frame.fields.filter(keep) });

/** Rows of several tables become one: those that agree in every column they share are one row. */
function merge(frames) {
  if (frames.length < 2) return frames;
  const names = [...new Set(frames.flatMap((frame) => frame.fields.map((field) => field.name)))];
  const shared = names.filter((name) => frames.every((frame) => frame.fields.some((field) => field.name === name)));
  const templates = new Map(frames.flatMap((frame) => frame.fields.map((field) => [field.name, field])));
  const rows = new Map();
  for (const frame of frames) {
    const length = frame.fields[0]?.values.length ?? 0;
    for (let at = 0; at < length; at += 1) {
      const row = Object.fromEntries(frame.fields.map((field) => [field.name, field.values[at]]));
      const key = JSON.stringify(shared.map((name) => row[name]));
      rows.set(key, { ...rows.get(key), ...row });
    }
  }
  const all = [...rows.values()];
  return [{ refId: frames[0].refId, fields: names.map((name) => ({ ...templates.get(name), values: all.map((row) => row[name] ?? null) })) }];
}

function organize(frames, { excludeByName = {}, includeByName = {}, indexByName = {}, renameByName = {} }) {
  const included = (field) => !excludeByName[field.name] && (!Object.keys(includeByName).length || includeByName[field.name]);
  const place = (field, at) => indexByName[field.name] ?? 1000 + at;
  return frames.map((frame) => {
    const kept = columns(frame, included);
    const ordered = kept.fields.map((field, at) => [place(field, at), field]).sort(([one], [other]) => one - other);
    return { ...kept, fields: ordered.map(([, field]) => (renameByName[field.name] ? { ...field, name: renameByName[field.name], legend: undefined } : field)) };
  });
}

function sortBy(frames, { sort = [] }) {
  const [{ field: name, desc } = {}] = sort;
  return frames.map((frame) => {
    const by = frame.fields.find((field) => field.name === name);
    if (!by) return frame;
    const order = by.values.map((_, at) => at).sort((one, other) => compare(by.values[one], by.values[other]) * (desc ? -1 : 1));
    return { ...frame, fields: frame.fields.map((field) => ({ ...field, values: order.map((at) => field.values[at]) })) };
  });
}

/** Order of two values; what is missing comes last. */
export function compare(one, other) {
  const lacks = (value) => value === null || value === undefined || Number.isNaN(value);
  if (lacks(one) || lacks(other)) return lacks(one) - lacks(other);
  return typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
}

const limit = (frames, { limitField = 10 }) =>
  frames.map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field, values: field.values.slice(0, Number(limitField)) })) }));

function filterFieldsByName(frames, { include = {}, exclude = {} }) {
  const matches = ({ names = [], pattern }, name) => names.includes(name) || (pattern && new RegExp(pattern).test(name));
  const any = include.names?.length || include.pattern;
  return frames.map((frame) => columns(frame, (field) => (!any || matches(include, field.name)) && !matches(exclude, field.name)));
}

/** @type {Record<string, (frames: Frame[], options: any) => Frame[]>} */
const TRANSFORMATIONS = { merge, organize, sortBy, limit, filterFieldsByName };

/**
 * Apply a panel's transformations in order.
 * @param {Frame[]} frames
 * @throws {Error} one is not supported
 */
export function transform(frames, transformations = []) {
  return transformations
    .filter((one) => !one.disabled)
    .reduce((now, { id, options = {} }) => {
      if (!Object.hasOwn(TRANSFORMATIONS, id)) throw new Error(`The transformation "${id}" is not supported.`);
      return TRANSFORMATIONS[id](now, options);
    }, frames);
}
