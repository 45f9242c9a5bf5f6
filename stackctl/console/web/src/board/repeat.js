/** Panels and rows that a board wants once for each value of a variable. */

const COLUMNS = 24;
const MOST_PER_ROW = 4; // Grafana's, where a panel does not say

/** @typedef {(name: string) => string[]} ValuesOf what is chosen of a variable; all of its options where all are */

/**
 * What repeats and over which values: while it stays the same the panels need not be made anew.
 * @param {ValuesOf} valuesOf
 */
export function signature(panels, valuesOf) {
  const names = panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]).map((panel) => panel.repeat).filter(Boolean);
  return JSON.stringify([...new Set(names)].sort().map((name) => [name, valuesOf(name)]));
}

/**
 * A board's panels with each repeated one as many times as its variable has values; what stood below moves down.
 * A copy knows its value as `pinned`.
 * @param {any[]} panels Grafana's JSON
 * @param {ValuesOf} valuesOf
 */
export function expand(panels = [], valuesOf) {
  const found = [];
  let down = 0;
  for (const band of bands(panels)) {
    const [row] = band;
    const copies = row.type === "row" && row.repeat ? rowCopies(band, valuesOf(row.repeat)) : [band];
    for (const copy of copies) {
      const moved = copy.map((panel) => placed(panel, { y: panel.gridPos.y + down }));
      const { all, grown } = expandBand(moved, valuesOf);
      found.push(...all);
      down += grown;
      if (copy !== copies.at(-1)) down += heightOf(band);
    }
    if (!copies.length) down -= heightOf(band);
  }
  return found;
}

const placed = (panel, change) => ({ ...panel, gridPos: { ...panel.gridPos, ...change } });
const pin = (panel, name, value) => ({ ...panel, pinned: { ...panel.pinned, [name]: value } });
const bottomOf = (band) => Math.max(...band.map(({ gridPos: { y, h } }) => y + h));
const heightOf = (band) => bottomOf(band) - band[0].gridPos.y;

/** Each row with what stands below it. */
function bands(panels) {
  const sorted = [...panels].sort((one, other) => one.gridPos.y - other.gridPos.y || one.gridPos.x - other.gridPos.x);
  const found = [];
  for (const panel of sorted) {
    if (panel.type === "row" || !found.length) found.push([panel]);
    else found.at(-1).push(panel);
  }
  return found;
}

function rowCopies(band, values) {
  const [{ repeat }] = band;
  return values.map((value) => band.map((panel) => pin({ ...panel, panels: panel.panels?.map((inner) => pin(inner, repeat, value)), repeat: panel.type === "row" ? undefined : panel.repeat }, repeat, value)));
}

function expandBand(band, valuesOf) {
  let grown = 0;
  const all = band.flatMap((panel) => {
    const moved = placed(panel, { y: panel.gridPos.y + grown });
    if (!panel.repeat || panel.type === "row") return [moved.panels ? { ...moved, panels: expandBand(moved.panels, valuesOf).all } : moved];
    const copies = copiesOf(moved, valuesOf(panel.repeat));
    if (copies.length) grown += bottomOf(copies) - (moved.gridPos.y + moved.gridPos.h);
    return copies;
  });
  return { all, grown };
}

/** Side by side and then below one another, as wide as fits; or, where it is wanted, only below one another. */
function copiesOf(panel, values) {
  const { x, y, w, h } = panel.gridPos;
  const { repeat, repeatDirection, maxPerRow = MOST_PER_ROW, ...rest } = panel;
  const across = Math.max(1, Math.min(values.length, maxPerRow));
  const width = Math.floor(COLUMNS / across);
  return values.map((value, at) => {
    const where = repeatDirection === "v" ? { x, y: y + at * h, w } : { x: (at % across) * width, y: y + Math.floor(at / across) * h, w: width };
    return placed(pin(rest, repeat, value), where);
  });
}
