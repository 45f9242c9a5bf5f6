/** Things that open above the page: in the browser's top layer, closed by Escape or a click beside them. */

import { h, put } from "../lib/dom.js";

let count = 0;

/**
 * A button that opens a panel below itself.
 * @param {{label: Array<any>|string, title?: string, classes?: string, body: (close: () => void) => Node, onclose?: () => void}} options
 *   body is made anew at each opening
 */
export function popButton({ label, title, classes = "", body, onclose }) {
  const id = `pop${(count += 1)}`;
  const panel = h("div.pop", { popover: "auto", id });
  const button = h(`button.control${classes}`, { type: "button", popovertarget: id, title, "aria-haspopup": "dialog", "aria-expanded": "false" }, label);
  panel.addEventListener("beforetoggle", (event) => {
    button.setAttribute("aria-expanded", String(event.newState === "open"));
    if (event.newState !== "open") return;
    put(panel, body(() => panel.hidePopover()));
  });
  panel.addEventListener("toggle", (event) => {
    if (event.newState === "open") {
      place(panel, button);
      panel.querySelector("[autofocus], input, button, a")?.focus({ preventScroll: true });
    } else onclose?.();
  });
  return h("span.pop-holder", {}, button, panel);
}

/** Put a panel below an element, within the window. */
function place(panel, anchor) {
  const at = anchor.getBoundingClientRect();
  const width = panel.offsetWidth;
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  const below = innerHeight - at.bottom - 12;
  panel.style.left = `${left}px`;
  panel.style.top = below > Math.min(panel.offsetHeight, 240) ? `${at.bottom + 4}px` : `${Math.max(8, at.top - panel.offsetHeight - 4)}px`;
  panel.style.maxHeight = `${Math.max(below, 240)}px`;
}

let toastTimer = 0;

/** A short word at the bottom of the page, also for those who listen to it. */
export function toast(text) {
  let line = document.getElementById("toast");
  if (!line) {
    line = h("div.toast", { id: "toast", role: "status" });
    document.body.append(line);
  }
  put(line, text);
  line.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => line.classList.remove("shown"), 1800);
}

/** Copy a text and say so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast(`The browser does not allow copying: ${text}`);
  }
}
