/** Where panels stand: rows that fold, and within each the grid of 24 columns that Grafana's boards are laid out on. */

import { h } from "../lib/dom.js";
import { icon } from "../lib/icons.js";

const ROW_PX = 30;
const GAP_PX = 8;

/**
 * Group a board's panels by the row panel above them.
 * @param {any[]} panels Grafana's JSON
 * @returns {Array<{row: any|null, panels: any[]}>}
 */
export function groups(panels = []) {
  const sorted = [...panels].sort((one, other) => one.gridPos.y - other.gridPos.y || one.gridPos.x - other.gridPos.x);
  const found = [{ row: null, panels: [] }];
  for (const panel of sorted) {
    if (panel.type === "row") found.push({ row: panel, panels: [...(panel.panels ?? [])] });
    else found.at(-1).panels.push(panel);
  }
  return found.filter((group) => group.row || group.panels.length);
}

/** True for a band of nothing but tables: it is as high as their rows need, and at most as high as it was laid out. */
function fitting(panels) {
  const [first] = panels;
  return panels.length > 0 && panels.every(({ definition: { type, gridPos } }) => type === "table" && gridPos.y === first.definition.gridPos.y);
}

/**
 * A group on the page.
 * @param {string} title of its row
 * @param {{row: any|null, panels: any[]}} group
 * @param {Array<{definition: any, element: HTMLElement}>} panels the group's own
 * @param {boolean} folded
 * @param {(folded: boolean) => void} onfold
 */
export function section(title, { row }, panels, folded, onfold) {
  const top = Math.min(...panels.map((panel) => panel.definition.gridPos.y));
  const fits = fitting(panels);
  for (const { definition, element } of panels) {
    const { x, y, w, h: height } = definition.gridPos;
    element.style.gridColumn = `${x + 1} / span ${w}`;
    element.style.gridRow = fits ? "1" : `${y - top + 1} / span ${height}`;
    element.style.setProperty("--height", `${height * ROW_PX + (height - 1) * GAP_PX}px`);
  }
  const grid = h(fits ? "div.board-grid.fitting" : "div.board-grid", { hidden: folded }, panels.map((panel) => panel.element));
  if (!row) return h("div.board-row", {}, grid);
  const button = h("button.row-title", { type: "button", "aria-expanded": String(!folded) }, icon("chevron"), h("h2", {}, title), h("span.row-count", {}, folded ? `${panels.length} panels` : ""));
  button.addEventListener("click", () => {
    grid.hidden = !grid.hidden;
    button.setAttribute("aria-expanded", String(!grid.hidden));
    button.lastChild.textContent = grid.hidden ? `${panels.length} panels` : "";
    onfold(grid.hidden);
  });
  return h("div.board-row", {}, button, grid);
}
