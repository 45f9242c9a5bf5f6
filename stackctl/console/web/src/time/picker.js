/** The time range: quick ranges, absolute ones, UTC or local, zoom out, refresh. */

import { isUtc, moment } from "../format/times.js";
import { h, put } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { popButton } from "../ui/popover.js";
import { describe, QUICK, resolve, zoomedOut } from "./range.js";

export const REFRESHES = ["", "5s", "10s", "30s", "1m", "5m", "15m"];

/**
 * @param {{wanted: import("./range.js").Wanted, refresh?: string, onrange: (wanted: any) => void, onzone: (utc: boolean) => void, onrefresh?: (interval: string) => void, onnow: () => void}} setup
 */
export function timePicker(setup) {
  const range = popButton({
    label: [icon("clock"), h("span.range-text", {}, describe(setup.wanted)), h("span.zone", {}, isUtc() ? "UTC" : "local"), icon("chevron")],
    title: "Time range",
    classes: ".time-range",
    body: (close) => chooser(setup, close),
  });
  const zoom = h("button.control.square", { type: "button", title: "Zoom out", "aria-label": "Zoom out", onclick: () => zoomOut(setup) }, "−");
  const now = h("button.control.square.refresh-now", { type: "button", title: "Refresh now", "aria-label": "Refresh now", onclick: setup.onnow }, icon("refresh"));
  return h("div.time-controls", {}, range, zoom, now, setup.onrefresh && refreshChoice(setup));
}

function zoomOut({ wanted, onrange }) {
  const range = resolve(wanted);
  if (range) onrange(zoomedOut(range));
}

function refreshChoice({ refresh, onrefresh }) {
  const known = REFRESHES.includes(refresh) ? REFRESHES : [...REFRESHES, refresh];
  const select = h("select.control", { title: "Refresh every", "aria-label": "Refresh every", onchange: () => onrefresh(select.value) });
  put(select, known.map((interval) => h("option", { value: interval, selected: interval === refresh }, interval || "Off")));
  return select;
}

function chooser(setup, close) {
  const pick = (wanted) => {
    close();
    setup.onrange(wanted);
  };
  const quick = QUICK.map((wanted) =>
    h("button.quick", { type: "button", "aria-pressed": String(wanted.from === setup.wanted.from && setup.wanted.to === "now"), onclick: () => pick(wanted) }, describe(wanted)),
  );
  return h("div.range-choice", {}, h("div.quick-ranges", {}, quick), h("div.exact", {}, exactForm(setup, pick), zoneChoice(setup, close)));
}

function exactForm({ wanted }, pick) {
  const shown = (end) => (/^\d{11,}$/.test(end) ? moment(Number(end)) : end);
  const from = h("input", { value: shown(wanted.from), "aria-label": "From", spellcheck: "false" });
  const to = h("input", { value: shown(wanted.to), "aria-label": "To", spellcheck: "false" });
  const error = h("p.field-error", { role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    const typed = { from: from.value.trim(), to: to.value.trim() };
    const range = resolve(typed);
    if (!range) return put(error, "Write now-6h, or 2026-11-25 17:00:00, the start before the end.");
    const exact = (text, ms) => (text.startsWith("now") ? text : String(ms));
    return pick({ from: exact(typed.from, range.from), to: exact(typed.to, range.to) });
  };
  return h("form", { onsubmit: submit }, h("label", {}, "From", from), h("label", {}, "To", to), error, h("button.primary", { type: "submit" }, "Apply"));
}

function zoneChoice({ onzone }, close) {
  const button = (utc, text) =>
    h("button.quick", { type: "button", "aria-pressed": String(isUtc() === utc), onclick: () => { close(); onzone(utc); } }, text);
  return h("div.zones", { role: "group", "aria-label": "Time zone" }, button(true, "UTC"), button(false, `Local (${Intl.DateTimeFormat().resolvedOptions().timeZone})`));
}
