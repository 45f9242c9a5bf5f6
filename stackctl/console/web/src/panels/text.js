/** Text: markdown or HTML of a board, sanitised; its libraries are only loaded where a board has such a panel. */

import { h } from "../lib/dom.js";

/** @type {import("./registry.js").Draw} */
export function draw({ panel }) {
  const { mode = "markdown", content = "" } = panel.options ?? {};
  if (mode === "code") return h("pre.text-code", {}, content);
  const box = h("div.prose");
  import("../lib/markup.js").then(({ fragment }) => box.append(fragment(content, mode === "html")));
  return box;
}
