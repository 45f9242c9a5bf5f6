/** Gauge: a number on an arc from its minimum to its maximum, with the thresholds around it. */

import { display, thresholdOf } from "../board/fields.js";
import { color } from "../lib/colors.js";
import { h, svg, visible } from "../lib/dom.js";
import { emptyText, extent, singles } from "./values.js";

const SWEEP = 240; // degrees, open at the bottom
const START = -SWEEP / 2;

function point(angle, radius) {
  const radians = ((angle - 90) * Math.PI) / 180;
  return `${(radius * Math.cos(radians)).toFixed(3)} ${(radius * Math.sin(radians)).toFixed(3)}`;
}

function arc(from, to, radius) {
  return `M${point(from, radius)}A${radius} ${radius} 0 ${to - from > 180 ? 1 : 0} 1 ${point(to, radius)}`;
}

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel, width, height }) {
  const found = singles(frames, panel);
  if (!found.length) return h("div.stat.quiet", {}, emptyText(panel));
  const across = width > height;
  const each = found.length;
  return h("div.gauges", { class: across ? "gauges across" : "gauges" }, found.map((single) => gauge(single, found, panel, across ? width / each : width, across ? height : height / each)));
}

function gauge(single, found, panel, width, height) {
  const { min, max } = extent(found);
  const angle = (value) => START + SWEEP * Math.min(Math.max((value - min) / (max - min || 1), 0), 1);
  const named = found.length > 1;
  const { shown, field, value } = single;
  const stroke = color(thresholdOf(value ?? -Infinity, field.config)?.color);
  const ring = panel.options?.showThresholdMarkers === false ? [] : marks(field.config, angle, max);
  return h(
    "figure.gauge",
    { style: { width: `${Math.min(width, height * 1.5)}px` } },
    svg(
      "svg",
      { viewBox: "-50 -48 100 76", role: "img", "aria-label": `${visible(single.name)}: ${shown.text}, of ${display(max, field).text}` },
      svg("path.gauge-track", { d: arc(START, START + SWEEP, 38) }),
      value !== null && angle(value) > START && svg("path.gauge-bar", { d: arc(START, angle(value), 38), style: { stroke } }),
      ring,
      svg("text.gauge-text", { x: 0, y: 6, "text-anchor": "middle", style: { fill: stroke, fontSize: `${shown.text.length > 8 ? 11 : 15}px` } }, shown.text),
    ),
    named && h("figcaption", {}, visible(single.name)),
  );
}

function marks(config, angle, max) {
  const steps = config.thresholds?.steps ?? [];
  return steps.map((step, at) => {
    const from = at === 0 ? START : angle(step.value);
    const to = at + 1 < steps.length ? angle(Math.min(steps[at + 1].value, max)) : START + SWEEP;
    return to > from ? svg("path.gauge-mark", { d: arc(from, to, 46), style: { stroke: color(step.color) } }) : null;
  });
}
