/** The stack's health: components, endpoints, versions, what the engine counts. */

import * as api from "../lib/api.js";
import { h, keepFocus, put, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { format } from "../format/units.js";
import { ago, moment } from "../format/times.js";
import { copy } from "../ui/popover.js";
import { failed, waiting } from "../ui/states.js";

const LOOK_AGAIN_MS = 5000;
const GOOD = "healthy";

/** The page of the stack. */
export class StackView {
  constructor(root) {
    this.root = root;
    this.abort = new AbortController();
  }

  async open() {
    document.title = "Stack · stackctl";
    this.content = h("div.stack-page", {}, waiting());
    put(this.root, h("header.page-head", {}, h("div.page-title", {}, h("h1", {}, "Stack"), h("p", {}, "What runs, where it listens, and what it has counted."))), this.content);
    await this.look();
    this.clock = setInterval(() => document.hidden || this.look(), LOOK_AGAIN_MS);
  }

  async look() {
    try {
      const found = await api.stack(this.abort.signal);
      keepFocus(this.content, () => put(this.content, report(found)));
    } catch (error) {
      if (error.name !== "AbortError") put(this.content, failed(error));
    }
  }

  update() {}

  destroy() {
    clearInterval(this.clock);
    this.abort.abort();
  }
}

function report(found) {
  return [
    found.findings.length > 0 && card("Findings", h("ul.findings", {}, found.findings.map(finding))),
    found.components.length > 0 && card("Components", table(["", "Component", "State", "Running", "Memory", "Restarts"], found.components.map(component))),
    card("Endpoints", table(["Endpoint", "Address", ""], Object.entries(found.endpoints).filter(([, url]) => url).map(endpoint))),
    card("Servers", table(["API", "Address", "Version"], Object.entries(found.servers).map(server))),
    found.engine && card("Counted by the engine", counters(found.engine)),
    h("p.note", {}, `stackctl ${found.version}, ${found.runtime} runtime${found.data_dir ? `, data in ${visible(found.data_dir)}` : ""}`),
  ];
}

const card = (title, content) => h("section.card", {}, h("h2", {}, title), content);
const table = (head, rows) => h("div.table-box", {}, h("table.grid", {}, h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)));

function component(one) {
  const good = one.state === GOOD;
  return h(
    "tr",
    {},
    h("td", {}, h("span", { class: good ? "dot good" : "dot bad" })),
    h("td", {}, one.name),
    h("td", { class: good ? null : "bad-text" }, one.state),
    h("td", {}, one.since ? `since ${ago(one.since * 1000).replace(" ago", "")}` : "–"),
    h("td.number", {}, one.memory_bytes === null ? "–" : format(one.memory_bytes, "bytes")),
    h("td.number", {}, one.restarts ?? 0),
  );
}

/** What was found, and the board that shows more of it; an address of another place is no link. */
function finding({ state, severity, title, text, since, board }) {
  const firing = state === "firing";
  const when = since ? `${firing ? "Since" : "Pending since"} ${moment(Date.parse(since))}` : "";
  return h(
    "li.finding",
    {},
    h("span", { class: firing ? `tag ${severity === "critical" ? "bad" : "warn"}` : "tag" }, firing ? visible(severity) : visible(state)),
    h("div", {}, h("strong", {}, visible(title)), h("p.quiet", {}, visible(text), " ", when)),
    board?.startsWith("/d/") && h("a.control", { href: board }, "Open the board"),
  );
}

function endpoint([name, url]) {
  return h("tr", {}, h("td", {}, name), h("td", {}, h("code", {}, url)), h("td", {}, h("button.control.bare", { type: "button", title: "Copy", "aria-label": `Copy ${url}`, onclick: () => copy(url, "Address") }, icon("copy"))));
}

function server([name, { url, version }]) {
  return h("tr", {}, h("td", {}, name), h("td", {}, h("code", {}, url)), h("td", { class: version ? null : "bad-text" }, version ?? "does not answer"));
}

function counters(engine) {
  const shown = Object.entries(engine).filter(([, value]) => ["number", "boolean", "string"].includes(typeof value));
  const text = (name, value) => (typeof value === "number" ? (name.endsWith("bytes") ? format(value, "bytes") : value.toLocaleString("en")) : String(value));
  return h("dl.counters", {}, shown.map(([name, value]) => h("div", {}, h("dt", {}, name.replaceAll("_", " ")), h("dd", {}, text(name, value)))));
}
