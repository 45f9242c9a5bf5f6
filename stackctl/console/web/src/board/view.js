/** A board: its toolbar, its panels, and the clock that asks them to look again. */

import * as api from "../lib/api.js";
import { onTheme } from "../lib/colors.js";
import { h, keepFocus, put, visible } from "../lib/dom.js";
import { change, changed } from "../lib/router.js";
import { recall, remember } from "../lib/store.js";
import { useUtc } from "../format/times.js";
import { choice } from "../ui/choice.js";
import { toast } from "../ui/popover.js";
import { failed, waiting } from "../ui/states.js";
import { timePicker } from "../time/picker.js";
import { resolve } from "../time/range.js";
import { emptyStack, isEmpty } from "../stack/empty.js";
import { address } from "./links.js";
import { groups, section } from "./layout.js";
import * as annotations from "./annotations.js";
import { interpolate, pinnedScope } from "./interpolate.js";
import { Panel } from "./panel.js";
import { expand, signature } from "./repeat.js";
import { Variables } from "./variables.js";

const AHEAD_PX = 240; // panels just below the window ask already
const REFRESH_MS = { s: 1000, m: 60_000, h: 3_600_000 };
const NEW_STACK_MS = 3000;

/** Use the zone that was chosen here before, else the board's; other pages show times as our boards do. */
export function useZone(wanted = "utc") {
  useUtc((recall("zone") ?? (wanted === "utc" ? "utc" : "local")) === "utc");
}

function inWindow(element) {
  const { width, top } = element.getBoundingClientRect();
  return width > 0 && top < innerHeight + AHEAD_PX;
}

/** The page of one board. */
export class BoardView {
  /** @param {HTMLElement} root */
  constructor(root, uid) {
    this.root = root;
    this.uid = uid;
    this.abort = new AbortController();
    this.panels = [];
    this.watch = new IntersectionObserver((entries) => entries.forEach((entry) => this.bySection.get(entry.target)?.see(entry.isIntersecting)), { rootMargin: `${AHEAD_PX}px` });
    this.bySection = new Map();
    this.offTheme = onTheme(() => this.panels.forEach((panel) => panel.redraw()));
    this.wake = () => !document.hidden && this.stale && this.ask();
    document.addEventListener("visibilitychange", this.wake);
  }

  async open(place) {
    this.place = place;
    put(this.root, waiting());
    try {
      this.board = await api.board(this.uid, this.abort.signal);
    } catch (error) {
      if (error.name !== "AbortError") put(this.root, failed(error));
      return;
    }
    document.title = `${this.board.title} · stackctl`;
    useZone(this.board.timezone);
    this.update(this.place);
  }

  /** Put the panels on the page; anew where other values repeat a panel. */
  build(repeated) {
    this.repeated = repeated;
    this.panels.forEach((panel) => panel.destroy());
    this.watch.disconnect();
    this.bySection.clear();
    this.panels = [];
    const folded = new Set(JSON.parse(recall(`folded.${this.uid}`) ?? "[]"));
    const sections = groups(expand(this.board.panels, (name) => this.variables.valuesOf(name))).map((group) => {
      const own = group.panels.map((definition) => new Panel(definition));
      this.panels.push(...own);
      const title = interpolate(group.row?.title ?? "", pinnedScope(group.row?.pinned, this.variables));
      const closed = folded.has(title) || (group.row?.collapsed && recall(`folded.${this.uid}`) === null);
      return section(title, group, own, Boolean(closed), (now) => {
        folded[now ? "add" : "delete"](title);
        remember(`folded.${this.uid}`, JSON.stringify([...folded]));
      });
    });
    this.toolbar ??= h("div.toolbar");
    this.content = h("div.board", {}, sections);
    put(this.root, h("header.page-head", {}, h("div.page-title", {}, h("h1", {}, visible(this.board.title)), h("p", {}, this.board.description ?? "")), this.toolbar), this.content);
    for (const panel of this.panels) {
      this.bySection.set(panel.element, panel);
      this.watch.observe(panel.element);
    }
    // The observer only speaks after the first frame; what is plainly in the window asks before it.
    this.panels.filter(({ element }) => inWindow(element)).forEach((panel) => panel.see(true));
  }

  /** The address changed: another range, another choice. */
  update(place) {
    this.place = place;
    if (!this.board) return;
    const { query } = place;
    const { from: usualFrom = "now-6h", to: usualTo = "now" } = this.board.time ?? {};
    this.wanted = { from: query.get("from") ?? usualFrom, to: query.get("to") ?? usualTo };
    if (!resolve(this.wanted)) this.wanted = { from: usualFrom, to: usualTo };
    this.interval = query.get("refresh") ?? this.board.refresh ?? "";
    this.variables = new Variables(this.board.templating?.list, query);
    this.repeat();
    keepFocus(this.toolbar, () => this.drawToolbar());
    this.ask();
    this.schedule();
  }

  /** Make the panels for the values that are chosen now. @returns {boolean} whether they are others than before */
  repeat() {
    const wanted = signature(this.board.panels ?? [], (name) => this.variables.valuesOf(name));
    if (wanted === this.repeated) return false;
    this.build(wanted);
    return true;
  }

  /** Ask everything again for the range as it is now. */
  ask() {
    this.stale = false;
    this.loading?.abort();
    this.loading = new AbortController();
    const range = resolve(this.wanted);
    const { variables } = this;
    const loaded = variables.load(range, this.loading.signal).then(
      () => this.variables === variables && this.known(),
      (error) => error.name === "AbortError" || Promise.reject(error),
    );
    this.context = {
      range,
      scope: variables,
      place: this.place.query,
      ready: (texts) => (variables.waitsFor(texts) ? loaded : null),
      onzoom: (wanted) => change(wanted),
    };
    this.panels.forEach((panel) => panel.refresh(this.context));
    this.annotate(range, this.loading.signal);
  }

  /** Mark what the board's annotations tell of; that one cannot be asked is said where it is chosen. */
  async annotate(range, signal) {
    const wanted = annotations.asked(this.board).filter((one) => annotations.shown(one, this.place.query));
    try {
      if (wanted.length) await this.context.ready(JSON.stringify(wanted));
      const found = wanted.length ? await annotations.marks(wanted, range, this.variables, signal) : [];
      this.panels.forEach((panel) => panel.mark(found));
    } catch (error) {
      if (error.name !== "AbortError") toast(`Annotations: ${error.message}`);
    }
  }

  /** The variables' options have come. */
  async known() {
    if (this.repeat()) this.panels.forEach((panel) => panel.refresh(this.context));
    this.choices.forEach((one) => one.update());
    const first = this.variables.list.find((variable) => variable.type === "query");
    if (!first || first.options.length || first.error || !(await isEmpty(this.loading.signal).catch(() => false))) return;
    if (this.empty) return;
    this.empty = emptyStack();
    this.content.replaceWith(this.empty);
    const look = setInterval(async () => {
      if (this.abort.signal.aborted) return clearInterval(look);
      if (await isEmpty().catch(() => true)) return undefined;
      clearInterval(look);
      this.empty.replaceWith(this.content);
      this.empty = null;
      return this.ask();
    }, NEW_STACK_MS);
  }

  schedule() {
    clearInterval(this.clock);
    const found = /^(\d+)([smh])$/.exec(this.interval);
    if (!found) return;
    this.clock = setInterval(() => {
      if (document.hidden) this.stale = true;
      else this.ask();
    }, Number(found[1]) * REFRESH_MS[found[2]]);
  }

  drawToolbar() {
    const shown = this.variables.list.filter((variable) => !variable.hidden);
    this.choices = [];
    put(this.toolbar, h("div.variables", {}, shown.map((variable) => this.control(variable)), this.annotationSwitches(), this.boardLinks()), this.timeControls());
  }

  control(variable) {
    if (variable.error) return h("span.control.failed", { title: variable.error }, `${variable.label}: ${variable.error}`);
    const set = (values) => change({ [`var-${variable.name}`]: values });
    if (variable.type === "textbox") {
      const input = h("input", { value: variable.values[0] ?? "", size: 6, "aria-label": variable.label, onchange: () => set([input.value]) });
      return h("label.control.typed", {}, h("span.choice-label", {}, variable.label), input);
    }
    const one = choice({
      label: variable.label,
      options: () => variable.options,
      chosen: () => variable.values,
      multi: variable.multi,
      all: variable.includeAll ? "$__all" : undefined,
      onchange: set,
    });
    this.choices.push(one);
    return one.element;
  }

  annotationSwitches() {
    const one = (annotation) => {
      const input = h("input", { type: "checkbox", checked: annotations.shown(annotation, this.place.query), onchange: () => change({ [`annotation-${annotation.name}`]: input.checked ? "on" : "off" }) });
      return h("label.control", {}, input, visible(annotation.name));
    };
    return annotations.asked(this.board).filter((annotation) => !annotation.hide).map(one);
  }

  /** Links of the board that lead elsewhere; to its sisters leads the menu. */
  boardLinks() {
    const context = { range: resolve(this.wanted), scope: this.variables, place: this.place.query };
    return (this.board.links ?? [])
      .filter((link) => link.type === "link" && link.url)
      .map((link) => h("a.control", { href: address(link.url, context), title: link.tooltip }, visible(link.title)));
  }

  timeControls() {
    return timePicker({
      wanted: this.wanted,
      refresh: this.interval,
      onrange: (wanted) => change(wanted),
      onrefresh: (refresh) => change({ refresh }),
      onzone: (utc) => {
        remember("zone", utc ? "utc" : "local");
        useUtc(utc);
        this.drawToolbar();
        this.ask();
      },
      onnow: () => this.ask(),
    });
  }

  destroy() {
    this.abort.abort();
    this.loading?.abort();
    clearInterval(this.clock);
    this.offTheme();
    this.watch.disconnect();
    document.removeEventListener("visibilitychange", this.wake);
    this.panels.forEach((panel) => panel.destroy());
  }
}

/** The address of a board that keeps the range and the choices of where one is. */
export function boardAddress(uid, place) {
  const kept = new URLSearchParams([...place.query].filter(([name]) => name === "from" || name === "to" || name === "refresh" || name.startsWith("var-")));
  return changed({}, { path: `/d/${uid}`, query: kept });
}
