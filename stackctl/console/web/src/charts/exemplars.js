/** Exemplars: single calls as dots on a chart; a click on one opens its trace. */

import { display } from "../board/fields.js";
import { color } from "../lib/colors.js";
import { h } from "../lib/dom.js";
import { go } from "../lib/router.js";

const NEAR_PX = 9;

/**
 * @param {{exemplars: any[], range: {from: number, to: number}}} setup of the panel
 * @param {string} scale the scale that their values are on
 * @param {import("../board/frames.js").Field} field whose unit they have
 */
export function dots({ exemplars = [], range }, scale, field) {
  const inside = exemplars.filter((one) => one.at >= range.from && one.at <= range.to);
  // Values beyond the scale stand at its edge, as in Grafana: a dot that nobody sees cannot be clicked.
  const position = (u, one, canvas) => {
    const { min, max } = u.scales[scale];
    return [u.valToPos(one.at, "x", canvas), u.valToPos(Math.min(Math.max(one.value, min), max), scale, canvas)];
  };
  const nearest = (u) => {
    const { left, top } = u.cursor;
    let best = null;
    for (const one of inside) {
      const [x, y] = position(u, one, false);
      const distance = Math.hypot(x - left, y - top);
      if (distance <= NEAR_PX && (!best || distance < best.distance)) best = { one, distance };
    }
    return best?.one ?? null;
  };
  return {
    draw(u) {
      if (!inside.length) return;
      const { ctx } = u;
      const size = 2.5 * devicePixelRatio;
      ctx.save();
      ctx.fillStyle = color("light-blue");
      ctx.globalAlpha = 0.5;
      for (const one of inside) {
        const [x, y] = position(u, one, true);
        ctx.beginPath();
        ctx.moveTo(x, y - size * 1.3);
        ctx.lineTo(x + size * 1.3, y);
        ctx.lineTo(x, y + size * 1.3);
        ctx.lineTo(x - size * 1.3, y);
        ctx.fill();
      }
      ctx.restore();
    },
    /** What the tooltip says of a dot below the cursor. */
    hint(u) {
      const one = nearest(u);
      u.over.classList.toggle("on-dot", Boolean(one));
      if (!one) return null;
      return h("p.tip-dot", {}, `One call: ${display(one.value, field).text}`, h("br"), "Click to open its trace");
    },
    open(u) {
      const one = nearest(u);
      if (one) go(`/traces/${one.traceId}`);
    },
  };
}
