/** Building the page: text is only ever set as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag name, with classes behind dots: `div.card.quiet`
 * @param {Record<string, any>} [props] attributes; `on*` are listeners, `style` an object of CSS properties
 * @param {...(Node|string|number|null|undefined|false|Array<any>)} children text becomes text nodes
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElement(name), classes, props, children);
}

/**
 * Make an SVG element; arguments as for `h`.
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  return fill(document.createElementNS(SVG, name), classes, props, children);
}

function fill(element, classes, props, children) {
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") Object.entries(value).forEach(([name, css]) => setStyle(element, name, css));
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function setStyle(element, name, css) {
  if (css === null || css === undefined) return;
  element.style.setProperty(name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`), String(css));
}

/** Append children as `h` does. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** Replace all children. */
export function put(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

const CONTROLS = "a[href], button, input, select, textarea, summary";
const nameOf = (control) => control.getAttribute("aria-label") || control.title || control.textContent;

/**
 * Redraw without taking the keyboard's place away: the control that had the focus has it again, by its name.
 * @param {HTMLElement} container
 * @param {() => void} redraw
 */
export function keepFocus(container, redraw) {
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  const name = focused?.matches(CONTROLS) ? nameOf(focused) : "";
  redraw();
  if (!name || container.contains(document.activeElement)) return;
  const same = [...container.querySelectorAll(CONTROLS)].find((one) => nameOf(one) === name);
  same?.focus({ preventScroll: true });
}

/** Cut a text for a label; the whole of it belongs into the title. */
export function shorten(text, limit = 200) {
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

/**
 * Text as it can be shown: control characters and marks that turn the reading direction become visible.
 * @param {unknown} value
 */
export function visible(value) {
  return String(value).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (mark) => {
    const code = mark.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}
