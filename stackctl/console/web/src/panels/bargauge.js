/** Bar gauge: one bar for each series, largest where the query put it. */

import { color, faded } from "../lib/colors.js";
import { thresholdOf } from "../board/fields.js";
import { h, visible } from "../lib/dom.js";
import { emptyText, extent, singles } from "./values.js";

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel }) {
  const found = singles(frames, panel);
  if (!found.length) return h("div.state", {}, emptyText(panel));
  const { min, max } = extent(found);
  const share = (value) => (value === null ? 0 : Math.min(Math.max((value - min) / (max - min || 1), 0), 1));
  const unfilled = panel.options?.showUnfilled !== false;
  const vertical = panel.options?.orientation === "vertical";
  const bar = (single) => {
    const tint = color(thresholdOf(single.value ?? -Infinity, single.field.config)?.color);
    const length = `${(share(single.value) * 100).toFixed(2)}%`;
    return h(
      "div.bar-row",
      {},
      h("span.bar-name", { title: visible(single.name) }, visible(single.name)),
      h(
        "span.bar-track",
        { style: { background: unfilled ? null : "transparent" } },
        h("span.bar-fill", { style: { [vertical ? "height" : "width"]: length, background: faded(tint, 0.35), borderColor: tint } }),
      ),
      h("span.bar-value", { style: { color: single.shown.missing ? null : tint } }, single.shown.text),
    );
  };
  return h(vertical ? "div.bars.vertical" : "div.bars", {}, found.map(bar));
}
