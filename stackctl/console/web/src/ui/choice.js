/** Choosing one or several of a list, with a search box where the list is long. */

import { h, put, shorten, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { popButton } from "./popover.js";

const SEARCH_FROM = 8;
const MOST_SHOWN = 500;

/**
 * @typedef {{value: string, text: string}} Option
 * @param {{label: string, options: () => Option[], chosen: () => string[], multi: boolean, all?: string, onchange: (values: string[]) => void}} setup
 *   all: the value that stands for every one, where there is such a choice
 */
export function choice(setup) {
  const text = h("span.choice-value", {}, summary(setup));
  const chosen = new Set();
  const holder = popButton({
    label: [h("span.choice-label", {}, setup.label), text, icon("chevron")],
    title: setup.label,
    body: (close) => list(setup, chosen, close),
    onclose: () => setup.multi && commit(setup, chosen),
  });
  return { element: holder, update: () => put(text, summary(setup)) };
}

function summary({ options, chosen, all }) {
  const values = chosen();
  if (all && values.includes(all)) return "All";
  const byValue = new Map(options().map((option) => [option.value, option.text]));
  const words = values.map((value) => visible(byValue.get(value) ?? value));
  return shorten(words.length > 2 ? `${words[0]} + ${words.length - 1}` : words.join(", ") || "none", 40);
}

function list(setup, chosen, close) {
  chosen.clear();
  setup.chosen().forEach((value) => chosen.add(value));
  const rows = h("div.choice-rows", { role: "group", "aria-label": setup.label });
  const draw = (needle) => put(rows, found(setup, needle).map((option) => row(setup, chosen, option, close, () => draw(needle))));
  draw("");
  if (setup.options().length < SEARCH_FROM) return h("div.choice-list", {}, rows);
  const box = h("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${setup.label}`, autofocus: true, oninput: () => draw(box.value) });
  return h("div.choice-list", {}, box, rows);
}

function found({ options, all }, needle) {
  const lower = needle.toLowerCase();
  const some = options().filter((option) => option.text.toLowerCase().includes(lower)).slice(0, MOST_SHOWN);
  return all && !needle ? [{ value: all, text: "All" }, ...some] : some;
}

function row(setup, chosen, option, close, redraw) {
  const kind = setup.multi ? "checkbox" : "radio";
  const input = h("input", { type: kind, name: `choice-${setup.label}`, checked: chosen.has(option.value) });
  input.addEventListener("change", () => {
    pick(setup, chosen, option.value);
    if (setup.multi) redraw();
    else {
      close();
      commit(setup, chosen);
    }
  });
  return h("label.choice-row", { title: option.text }, input, h("span", {}, shorten(visible(option.text), 80)));
}

function pick({ multi, all }, chosen, value) {
  if (!multi || value === all) {
    chosen.clear();
    chosen.add(value);
    return;
  }
  chosen.delete(all);
  if (!chosen.delete(value)) chosen.add(value);
  if (!chosen.size && all) chosen.add(all);
}

function commit(setup, chosen) {
  const values = [...chosen];
  if (values.join("\n") !== setup.chosen().join("\n")) setup.onchange(values);
}
