/** Traces: the waterfall of one trace on a board. */

import { trace } from "../lib/api.js";
import { h, put } from "../lib/dom.js";
import { failed, nothing, waiting } from "../ui/states.js";

/** @type {import("./registry.js").Draw} */
export function draw({ frames, panel }) {
  const wanted = frames.find((frame) => frame.kind === "trace")?.traceId ?? panel.targets?.[0]?.query;
  if (!wanted) return nothing("No trace is named");
  const box = h("div.trace-panel", {}, waiting());
  Promise.all([trace(wanted), import("../traces/model.js"), import("../traces/waterfall.js")]).then(
    ([answer, { readTrace }, { waterfall }]) => put(box, waterfall(readTrace(answer), {})),
    (error) => put(box, failed(error)),
  );
  return box;
}
