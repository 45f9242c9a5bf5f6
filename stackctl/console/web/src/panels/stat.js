/** Stat: one large number, coloured by what it means. */

import { faded } from "../lib/colors.js";
import { h, svg, visible } from "../lib/dom.js";
import { emptyText, singles } from "./values.js";

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel, width, height, link }) {
  const found = singles(frames, panel);
  if (!found.length) return h("div.stat.quiet", {}, h("span.stat-value", { style: { fontSize: `${fitting(emptyText(panel).length, width, height)}px` } }, emptyText(panel)));
  const { colorMode = "value", graphMode = "none", textMode = "auto", orientation = "auto", justifyMode = "auto" } = panel.options ?? {};
  const named = textMode === "value_and_name" || textMode === "name" || (textMode === "auto" && found.length > 1);
  const across = orientation === "vertical" || (orientation === "auto" && width > height);
  const [one, other] = across ? [width / found.length, height] : [width, height / found.length];
  const tile = (single) => {
    const text = textMode === "name" ? visible(single.name) : single.shown.text;
    // The unit behind a number is written smaller.
    const seen = textMode === "name" ? text.length : text.length - single.shown.suffix.length * 0.42;
    const size = fitting(seen, one, named ? other * 0.7 : other);
    const solid = colorMode === "background" || colorMode === "background_solid";
    return h(
      "div.stat",
      { class: solid ? "stat solid" : single.shown.missing ? "stat quiet" : "stat", style: solid ? { background: single.shown.color } : {} },
      graphMode === "area" && sparkline(single, one, other),
      named && textMode !== "name" && h("span.stat-name", {}, visible(single.name)),
      textMode !== "none" && number(single, text, size, colorMode === "value", link),
    );
  };
  const centred = justifyMode === "center" ? ".centred" : "";
  return h(`div.stats${across ? ".across" : ""}${centred}`, {}, found.map(tile));
}

function number(single, text, size, coloured, link) {
  const { shown } = single;
  const style = { fontSize: `${size}px`, color: coloured && !shown.missing ? shown.color : null };
  const parts = text === shown.text && shown.suffix ? [shown.prefix + shown.number, h("span.stat-unit", {}, shown.suffix)] : [text];
  const href = link?.();
  return href ? h("a.stat-value", { href, style, title: "Traces behind it" }, parts) : h("span.stat-value", { style }, parts);
}

/** The largest font that fits; a digit of the page's font is about 0.6 of its size wide. */
function fitting(characters, width, height) {
  return Math.max(14, Math.min(height * 0.5, (width - 24) / (Math.max(characters, 3) * 0.58), 38));
}

function sparkline(single, width, height) {
  const values = single.field.values.filter((value) => value !== null && !Number.isNaN(value));
  if (values.length < 2) return null;
  const [low, high] = [Math.min(...values, 0), Math.max(...values)];
  const x = (at) => (at / (values.length - 1)) * width;
  const y = (value) => height - 2 - ((value - low) / (high - low || 1)) * height * 0.4;
  const line = values.map((value, at) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return svg(
    "svg.sparkline",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("polygon", { points: `0,${height} ${line} ${width},${height}`, style: { fill: faded(single.shown.color, 0.15) } }),
    svg("polyline", { points: line, style: { stroke: single.shown.color } }),
  );
}
