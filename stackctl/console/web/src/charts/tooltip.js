/** The box beside the crosshair. */

import { moment } from "../format/times.js";
import { h, put, shorten, visible } from "../lib/dom.js";

const MOST_ROWS = 12;

/**
 * @param {HTMLElement} box the chart's element
 * @returns {{show: (u: any, at: number, rows: Array<{name: string, text: string, colour?: string, strong?: boolean}>, more?: any) => void, hide: () => void}}
 */
export function tooltip(box) {
  const panel = h("div.tip", { role: "tooltip", hidden: true });
  box.append(panel);
  const row = ({ name, text, colour, strong }) =>
    h("tr", { class: strong ? "strong" : null }, h("td", {}, colour && h("i.swatch", { style: { background: colour } }), shorten(visible(name), 60)), h("td.number", {}, text));
  return {
    show(u, at, rows, more) {
      const cut = rows.length > MOST_ROWS && h("p.note", {}, `and ${rows.length - MOST_ROWS} more`);
      put(panel, h("p.tip-time", {}, moment(at)), h("table", {}, h("tbody", {}, rows.slice(0, MOST_ROWS).map(row))), cut, more);
      panel.hidden = false;
      place(panel, u);
    },
    hide() {
      panel.hidden = true;
    },
  };
}

/** Beside the cursor, on the side where there is room, within the window. */
function place(panel, u) {
  const over = u.over.getBoundingClientRect();
  const [x, y] = [over.left + u.cursor.left, over.top + u.cursor.top];
  const width = panel.offsetWidth;
  const left = x + width + 24 > innerWidth ? x - width - 14 : x + 14;
  panel.style.left = `${Math.max(4, left)}px`;
  panel.style.top = `${Math.max(4, Math.min(y - 10, innerHeight - panel.offsetHeight - 8))}px`;
}
