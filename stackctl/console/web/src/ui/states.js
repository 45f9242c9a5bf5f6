/** What stands where there is nothing else to show: waiting, nothing found, an error. */

import { h, shorten, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";

const LONGEST_ERROR = 600;

export const waiting = (text = "Loading") => h("div.state", { role: "status" }, h("span.pulse", {}), text);

export const nothing = (text) => h("div.state", {}, text);

/** @param {Error} error */
export function failed(error) {
  return h("div.state.failed", { role: "alert" }, icon("alert"), h("span", {}, shorten(visible(error.message), LONGEST_ERROR)));
}
