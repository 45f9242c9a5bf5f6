/** What a person chose and the next visit should find again; a browser that forbids storage forgets it. */

const PREFIX = "stackctl.";

/** @returns {string|null} */
export function recall(key) {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null; // storage is forbidden
  }
}

/** @param {string|null} value null forgets */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    // storage is forbidden: the choice holds for this page
  }
}
