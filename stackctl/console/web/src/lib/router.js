/** Addresses: every state of the console has one, and the back button undoes what changed it. */

/** @typedef {{path: string, query: URLSearchParams}} Place */

let draw = () => {};

/** @returns {Place} where the page is */
export const here = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });

/**
 * Begin: draw now, and whenever the address changes.
 * @param {(place: Place) => void} drawing
 */
export function start(drawing) {
  draw = drawing;
  addEventListener("popstate", () => draw(here()));
  addEventListener("click", follow);
  draw(here());
}

/**
 * Go to an address of the console.
 * @param {string} address path and query
 * @param {{replace?: boolean}} [how] replace: a correction, not a step that the back button should undo
 */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  draw(here());
}

/**
 * Change parameters of the address that it stands at; null removes one.
 * @param {Record<string, string|string[]|null>} changes
 */
export function change(changes, how) {
  go(changed(changes), how);
}

/** The address with changed parameters. */
export function changed(changes, place = here()) {
  const query = new URLSearchParams(place.query);
  for (const [key, value] of Object.entries(changes)) {
    query.delete(key);
    if (value === null || value === undefined) continue;
    for (const one of [value].flat()) query.append(key, one);
  }
  const text = query.toString();
  return text ? `${place.path}?${text}` : place.path;
}

function follow(event) {
  const anchor = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!anchor || !plain || event.defaultPrevented || anchor.target === "_blank" || anchor.hasAttribute("download")) return;
  const url = new URL(anchor.href, location.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/assets/")) return;
  event.preventDefault();
  if (url.pathname + url.search === location.pathname + location.search) return;
  go(url.pathname + url.search);
  if (!anchor.closest("[data-keep-scroll]")) scrollTo(0, 0);
}
