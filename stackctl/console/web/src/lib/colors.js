/** Colours by Grafana's names, in the theme that is shown, and the palette of series. */

import { recall, remember } from "./store.js";

// Grafana's hues; each with its shades from light to dark, for the dark theme and for the light one.
// From its middle on each can be read as text.
const SHADES = ["super-light", "light", "", "semi-dark", "dark"];
const HUES = {
  dark: {
    red: ["#FFA6B0", "#FF7383", "#F2495C", "#E02F44", "#C4162A"],
    orange: ["#FFCB7D", "#FFB357", "#FF9830", "#FF780A", "#FA6400"],
    yellow: ["#FFF899", "#FFEE52", "#FADE2A", "#F2CC0C", "#E0B400"],
    green: ["#C8F2C2", "#96D98D", "#73BF69", "#56A64B", "#37872D"],
    blue: ["#C0D8FF", "#8AB8FF", "#5794F2", "#3274D9", "#1F60C4"],
    purple: ["#DEB6F2", "#CA95E5", "#B877D9", "#A352CC", "#8F3BB8"],
  },
  light: {
    red: ["#FF7383", "#F2495C", "#D92438", "#C4162A", "#AD0317"],
    orange: ["#FFB357", "#FF9830", "#B85000", "#A84700", "#943C00"],
    yellow: ["#FFEE52", "#FADE2A", "#8A6A00", "#7D6000", "#6E5400"],
    green: ["#96D98D", "#5BAA50", "#2F7D26", "#28701F", "#19630E"],
    blue: ["#8AB8FF", "#5794F2", "#2F6BD0", "#1F60C4", "#1250B0"],
    purple: ["#CA95E5", "#B877D9", "#A352CC", "#8F3BB8", "#7C2EA3"],
  },
};
const PALETTE = {
  dark: ["#A3AEC2", "#5794F2", "#F2A93B", "#B877D9", "#4CC9C0", "#F2708B", "#C9B458", "#7FA8F5", "#E08A4F", "#73BF69", "#D98FD0", "#6FC3E8"],
  light: ["#67707F", "#2F6BD0", "#C27A00", "#8F3BB8", "#0E8C84", "#C9365A", "#8A7400", "#5278D6", "#B85C1A", "#3D8F33", "#A8449C", "#1F86B3"],
};
const system = matchMedia("(prefers-color-scheme: dark)");
const watchers = new Set();

/** @returns {"dark"|"light"} */
export const theme = () => document.documentElement.dataset.theme || (system.matches ? "dark" : "light");

/** Change between dark and light; the system's own choice is no longer followed where it is the other. */
export function toggleTheme() {
  const wanted = theme() === "dark" ? "light" : "dark";
  const own = (system.matches ? "dark" : "light") === wanted;
  if (own) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  remember("theme", own ? null : wanted);
  watchers.forEach((watcher) => watcher());
}

/** Call back when the theme changes. @returns {() => void} stops it */
export function onTheme(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}
system.addEventListener("change", () => !recall("theme") && watchers.forEach((watcher) => watcher()));

/**
 * A colour by Grafana's name, or as it is.
 * @param {string} name e.g. `semi-dark-red`, `text`, `#abc`
 */
export function color(name) {
  if (!name || name === "text") return ink("--text");
  if (name === "transparent") return "transparent";
  const found = /^(?:(super-light|light|semi-dark|dark)-)?(red|orange|yellow|green|blue|purple)$/.exec(name);
  return found ? HUES[theme()][found[2]][SHADES.indexOf(found[1] ?? "")] : name;
}

const inksOfTheme = new Map(); // asking the page restyles it, and charts ask often
watchers.add(() => inksOfTheme.clear()); // the first to know: those who redraw come after it

/** A colour of the page by its CSS variable, as a canvas takes it. */
export function ink(variable) {
  if (!inksOfTheme.has(variable)) inksOfTheme.set(variable, computed(variable));
  return inksOfTheme.get(variable);
}

function computed(variable) {
  const probe = document.createElement("i");
  probe.style.color = `var(${variable})`;
  probe.hidden = true;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// Grafana's string hash (`@grafana/data` fieldColor): the same name has the same place in every panel.
function hash(text) {
  let value = 0;
  for (let at = 0; at < text.length; at += 1) value = ((value << 5) - value + text.charCodeAt(at)) | 0;
  return Math.abs(value);
}

/**
 * Colours of a panel's series by their names; two names of one panel never share one while there are enough.
 * @param {string[]} names
 * @returns {string[]}
 */
export function byName(names) {
  const palette = PALETTE[theme()];
  const taken = new Map();
  // Names are placed in alphabetical order, so that a panel's order does not change their colours.
  for (const name of [...new Set(names)].sort()) {
    let place = hash(name) % palette.length;
    const used = new Set(taken.values());
    for (let tries = 0; used.has(place) && tries < palette.length; tries += 1) place = (place + 1) % palette.length;
    taken.set(name, place);
  }
  return names.map((name) => palette[taken.get(name)]);
}

/** The colour of the series at a place; the grey one comes last. */
export const byIndex = (index) => PALETTE[theme()][(index + 1) % PALETTE.dark.length];

/** A colour with an opacity; takes `#rrggbb` and `rgb(...)`. */
export function faded(base, opacity) {
  return `color-mix(in srgb, ${base} ${Math.round(opacity * 100)}%, transparent)`;
}
