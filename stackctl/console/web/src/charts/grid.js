/** From frames of single series to the columns that uPlot draws: one for time, one for each series. */

/**
 * Bring series onto one axis of time.
 * @param {import("../board/frames.js").Frame[]} frames each with one field of time
 * @param {(field: import("../board/frames.js").Field) => boolean|number} spans how wide a gap (milliseconds) is drawn through
 * @returns {{times: number[], fields: import("../board/frames.js").Field[], columns: Array<Array<number|null|undefined>>}}
 *   null is a gap, undefined is drawn through
 */
export function align(frames, spans) {
  const moments = new Set();
  const rows = frames.map((frame) => {
    const time = frame.fields.find((field) => field.type === "time");
    time?.values.forEach((at) => moments.add(at));
    return { time: time?.values ?? [], fields: frame.fields.filter((field) => field.type === "number") };
  });
  const times = [...moments].sort((one, other) => one - other);
  const place = new Map(times.map((at, index) => [at, index]));
  const fields = [];
  const columns = [];
  for (const { time, fields: found } of rows) {
    for (const field of found) {
      const column = new Array(times.length).fill(null);
      time.forEach((at, row) => (column[place.get(at)] = finite(field.values[row])));
      fields.push(field);
      columns.push(bridged(column, times, spans(field)));
    }
  }
  return { times, fields, columns };
}

const finite = (value) => (Number.isFinite(value) ? value : null);

/** Turn gaps that are narrow enough into values to draw through. */
function bridged(column, times, spans) {
  if (!spans) return column;
  const result = [...column];
  let last = -1;
  result.forEach((value, at) => {
    if (value === null) return;
    if (last >= 0 && at - last > 1 && (spans === true || times[at] - times[last] <= spans)) result.fill(undefined, last + 1, at);
    last = at;
  });
  return result;
}

/** Put columns on top of one another; where one knows nothing it adds nothing. */
export function stack(columns, shown) {
  const total = new Array(columns[0]?.length ?? 0).fill(0);
  return columns.map((column, at) => {
    if (!shown[at]) return column;
    return column.map((value, row) => {
      if (value === null || value === undefined) return value === null && !columns.some((other) => other[row] !== null) ? null : total[row];
      total[row] += value;
      return total[row];
    });
  });
}
