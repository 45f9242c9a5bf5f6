/** The few icons, as SVG paths on a 16 by 16 grid. */

import { svg } from "./dom.js";

const PATHS = {
  alert: "M8 1.8 15 14H1L8 1.8Zm0 4.7v3.4m0 1.7v.6",
  back: "M10 3 5 8l5 5",
  board: "M2 2.5h5v6H2zM9 2.5h5v3.5H9zM9 8h5v5.5H9zM2 10.5h5v3H2z",
  check: "m3 8.5 3.2 3.2L13 4.8",
  chevron: "m4 6 4 4 4-4",
  clock: "M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4ZM8 4.4V8l2.4 1.6",
  close: "m4 4 8 8m0-8-8 8",
  compare: "M6.5 2v12M9.5 2v12M2 5h3m-3 3h3m-3 3h3m6-6h3m-3 3h3m-3 3h3",
  copy: "M5.5 5.5V2.8h7.7v7.7h-2.7M2.8 5.5h7.7v7.7H2.8z",
  heart: "M1.5 8.5h3l1.7-4.2 3 8 1.8-3.8h3.5",
  info: "M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4ZM8 7.3v3.8m0-6.2v.4",
  link: "M6.6 9.4 9.4 6.6M7.4 4.6l1.5-1.5a2.8 2.8 0 0 1 4 4L11.4 8.6M8.6 11.4l-1.5 1.5a2.8 2.8 0 0 1-4-4l1.5-1.5",
  menu: "M2 4h12M2 8h12M2 12h12",
  moon: "M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7Z",
  refresh: "M13.3 6.5A5.6 5.6 0 0 0 3.4 5M2.7 2.2V5.2h3M2.7 9.5a5.6 5.6 0 0 0 9.9 1.5m.7 2.8v-3h-3",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Zm3.6-1.4L14 14",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM8 1.2v1.6m0 10.4v1.6M1.2 8h1.6m10.4 0h1.6M3.2 3.2l1.1 1.1m7.4 7.4 1.1 1.1m0-9.6-1.1 1.1m-7.4 7.4-1.1 1.1",
  traces: "M2 3.5h8M4 8h9M6.5 12.5h5",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  return svg("svg.icon", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}
