/** Table: rows and columns with units, colours and links, sorted by a click on a column's head. */

import { display, displayName } from "../board/fields.js";
import { compare } from "../board/transform.js";
import { h, put, shorten, visible } from "../lib/dom.js";
import { address } from "../board/links.js";
import { faded } from "../lib/colors.js";

const MOST_ROWS = 500;
const LONGEST_CELL = 300; // characters shown; the title has the rest, cut too
const LONGEST_TITLE = 2000;

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel, context, memory }) {
  const frame = frames[panel.options?.frameIndex ?? 0] ?? frames[0];
  const fields = (frame?.fields ?? []).filter((field) => !field.config.custom?.hidden && !field.config.custom?.hideFrom?.viz);
  const length = fields[0]?.values.length ?? 0;
  if (!length) return h("div.state", {}, "Nothing in this range");
  const [initial] = panel.options?.sortBy ?? [];
  const state = (memory.sort ??= { by: initial?.displayName, down: Boolean(initial?.desc) });
  const body = h("tbody");
  const head = h("thead");
  const redraw = () => {
    put(head, header(fields, state, redraw));
    put(body, order(fields, state, length).slice(0, MOST_ROWS).map((row) => h("tr", {}, fields.map((field) => cell(field, row, fields, context)))));
  };
  redraw();
  const cut = length > MOST_ROWS && h("p.note", {}, `${MOST_ROWS} of ${length} rows`);
  return h("div.table-box", {}, h("table.grid", {}, panel.options?.showHeader !== false && head, body), cut);
}

function header(fields, state, redraw) {
  const column = (field) => {
    const name = displayName(field);
    const sorted = state.by === name ? (state.down ? "descending" : "ascending") : null;
    const sort = () => {
      state.down = state.by === name ? !state.down : field.type === "number";
      state.by = name;
      redraw();
    };
    return h("th", { class: field.type === "number" ? "number" : null, "aria-sort": sorted, scope: "col" }, h("button", { type: "button", onclick: sort }, visible(name), sorted && (state.down ? " ↓" : " ↑")));
  };
  return h("tr", {}, fields.map(column));
}

function order(fields, { by, down }, length) {
  const rows = [...Array(length).keys()];
  const { values } = fields.find((field) => displayName(field) === by) ?? {};
  if (!values) return rows;
  return rows.sort((one, other) => {
    const found = compare(values[one], values[other]);
    const missing = values[one] === null || values[other] === null;
    return down && !missing ? -found : found;
  });
}

function cell(field, row, fields, context) {
  const shown = display(field.values[row], field);
  const { type } = field.config.custom?.cellOptions ?? {};
  const style = {};
  if (type === "color-text" && !shown.missing) style.color = shown.color;
  if (type === "color-background" && !shown.missing) style.background = faded(shown.color, 0.3);
  const text = visible(shown.text);
  const inside = linked(field, row, fields, context, shorten(text, LONGEST_CELL));
  const align = field.config.custom?.align;
  const classes = [field.type === "number" && align !== "left" ? "number" : null, shown.missing ? "quiet" : null].filter(Boolean).join(" ");
  return h("td", { class: classes || null, style, title: text.length > 30 ? shorten(text, LONGEST_TITLE) : null }, inside);
}

function linked(field, row, fields, context, text) {
  if (field.link) return h("a", { href: field.link(row) }, text);
  const [link] = field.config.links ?? [];
  if (!link?.url || !text) return text;
  const valueOf = (name) => fields.find((other) => other.name === name || displayName(other) === name)?.values[row];
  const href = address(link.url, context, valueOf);
  return href ? h("a", { href, title: link.title, target: link.targetBlank ? "_blank" : null, rel: link.targetBlank ? "noopener noreferrer" : null }, text) : text;
}
