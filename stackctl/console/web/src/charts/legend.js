/** The names of a chart's series; a click shows one alone, with Ctrl it hides one. */

import { display, displayName } from "../board/fields.js";
import { calcName, reduce } from "../board/reduce.js";
import { h, shorten, visible } from "../lib/dom.js";

/**
 * @param {import("../board/frames.js").Field[]} fields
 * @param {any} options `legend` of the panel
 * @param {(shown: boolean[]) => void} onshow called with what is to be seen
 * @param {{hidden?: Set<string>}} memory names that are not to be seen, also after new data came
 */
export function legend(fields, options, onshow, memory) {
  const hidden = (memory.hidden ??= new Set());
  const shown = fields.map((field) => !hidden.has(displayName(field)));
  const buttons = [];
  const pick = (at, add) => {
    const alone = shown.every((on, place) => on === (place === at));
    shown.forEach((on, place) => (shown[place] = add ? (place === at ? !on : on) : alone || place === at));
    fields.forEach((field, place) => hidden[shown[place] ? "delete" : "add"](displayName(field)));
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(shown[place])));
    onshow(shown);
  };
  const name = (field, at) => {
    const text = visible(displayName(field));
    buttons[at] = h("button.series", { type: "button", "aria-pressed": String(shown[at]), title: text, onclick: (event) => pick(at, event.ctrlKey || event.metaKey || event.shiftKey) }, h("i.swatch", { style: { background: field.colour } }), shorten(text, 60));
    return buttons[at];
  };
  if (options.displayMode === "table") return table(fields, options.calcs ?? [], name);
  const calcs = (options.calcs ?? []).map((calc) => (field) => h("span.quiet", {}, `${calcName(calc)}: ${display(reduce(field.values, calc), field).text}`));
  return h("div.legend", {}, fields.map((field, at) => h("span.legend-item", {}, name(field, at), calcs.map((calc) => calc(field)))));
}

function table(fields, calcs, name) {
  return h(
    "div.legend.as-table",
    {},
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, h("th", {}, "Name"), calcs.map((calc) => h("th.number", {}, calcName(calc))))),
      h("tbody", {}, fields.map((field, at) => h("tr", {}, h("td", {}, name(field, at)), calcs.map((calc) => h("td.number", {}, display(reduce(field.values, calc), field).text))))),
    ),
  );
}
