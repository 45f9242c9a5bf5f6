/** One panel's card: asks when it is seen, draws, and says so when it cannot. */

import { KINDS, SILENT } from "../panels/registry.js";
import { h, keepFocus, put, visible } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { failed, nothing, waiting } from "../ui/states.js";
import { popButton } from "../ui/popover.js";
import { configure } from "./fields.js";
import { address } from "./links.js";
import { interpolate, pinnedScope } from "./interpolate.js";
import { macros, run } from "./queries.js";
import { transform } from "./transform.js";

const HINT_AFTER_MS = 350; // a quick answer needs no sign that it is coming
const RESIZE_AFTER_MS = 80;

/**
 * What a board tells its panels.
 * @typedef {object} Context
 * @property {import("../time/range.js").Range} range
 * @property {import("./interpolate.js").Scope} scope
 * @property {URLSearchParams} place
 * @property {(texts: string) => Promise<void>|null} ready what to wait for before a query with these texts runs
 * @property {(range: {from: string, to: string}) => void} onzoom
 */

/** A panel on the page. */
export class Panel {
  /** @param {any} definition Grafana's JSON */
  constructor(definition) {
    this.definition = definition;
    this.body = h("div.panel-body", {});
    this.title = h("h3", {});
    this.tools = h("span.panel-tools");
    this.element = h("section.panel", { class: `panel panel-${definition.type}${definition.transparent ? " transparent" : ""}`, "data-title": definition.title }, h("header", {}, this.title, this.tools), this.body);
    this.seen = false;
    this.dirty = false;
    this.abort = null;
    this.drawn = null;
    this.marks = [];
    this.memory = {};
    this.resize = new ResizeObserver(() => this.resized());
    this.resize.observe(this.body);
    put(this.body, waiting());
  }

  /** @param {Context} context ask again, now or as soon as the panel is seen */
  refresh(context) {
    this.context = { ...context, scope: pinnedScope(this.definition.pinned, context.scope) };
    this.abort?.abort();
    this.dirty = true;
    this.head();
    if (this.seen) this.load();
  }

  /** @param {boolean} seen whether any of it is in the window */
  see(seen) {
    this.seen = seen;
    if (seen && this.dirty) this.load();
  }

  /** @param {import("./annotations.js").Mark[]} marks annotations of the board */
  mark(marks) {
    const had = this.marks.length > 0;
    this.marks = marks;
    if (had || marks.length) this.redraw();
  }

  /** Redraw what is known: the theme or the time zone changed. */
  redraw() {
    if (this.answer) this.show();
  }

  destroy() {
    this.abort?.abort();
    this.resize.disconnect();
    this.clear();
  }

  head() {
    const { definition, context } = this;
    const scope = macros(context, 15_000);
    const words = (text) => visible(interpolate(text ?? "", scope));
    put(this.title, words(definition.title));
    this.title.title = words(definition.title);
    this.links = linksOf(definition);
    const described = definition.description && popButton({ label: icon("info"), title: "What this shows", classes: ".bare", body: () => h("p.help", {}, words(definition.description)) });
    put(this.tools, described, this.links.map((link) => this.linkButton(link)));
  }

  linkButton(link) {
    const href = address(link.url, { ...this.context, scope: macros(this.context, 15_000) });
    return href && h("a.control.bare", { href, title: link.title, "aria-label": `${link.title}: ${this.definition.title}` }, icon("traces"));
  }

  async load() {
    this.dirty = false;
    const { type, targets = [] } = this.definition;
    if (!Object.hasOwn(KINDS, type)) return this.refuse(type);
    const abort = new AbortController();
    this.abort = abort;
    const hint = setTimeout(() => this.element.classList.add("asking"), HINT_AFTER_MS);
    try {
      await this.context.ready(JSON.stringify(targets));
      if (abort.signal.aborted) return undefined;
      const { range, scope } = this.context;
      const asked = { range, scope, width: this.body.clientWidth, signal: abort.signal };
      this.answer = SILENT.has(type) ? { frames: [], exemplars: [], range, step: 0 } : await run(this.definition, asked);
      if (!abort.signal.aborted) this.show();
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      clearTimeout(hint);
      if (this.abort === abort) this.element.classList.remove("asking");
    }
    return undefined;
  }

  show() {
    const { definition, context, answer } = this;
    try {
      // Configuring writes into the fields, and a redraw must begin from what was answered.
      const raw = answer.frames.map((frame) => ({ ...frame, fields: frame.fields.map((field) => ({ ...field })) }));
      const frames = configure(transform(raw, definition.transformations), definition.fieldConfig);
      const scope = macros(context, answer.step || 15_000);
      const linking = { ...context, scope };
      const { clientWidth: width, clientHeight: height } = this.body;
      const link = () => (this.links[0] ? address(this.links[0].url, linking) : null);
      const drawn = KINDS[definition.type]({ ...answer, frames, panel: definition, width, height, context: linking, link, marks: this.marks, memory: this.memory, onzoom: context.onzoom });
      this.clear();
      this.drawn = drawn instanceof Node ? { node: drawn } : drawn;
      keepFocus(this.body, () => {
        put(this.body, this.drawn.node);
        this.drawn.mounted?.();
      });
      this.element.dataset.state = "drawn";
      this.size = [width, height];
    } catch (error) {
      this.fail(error);
    }
  }

  refuse(type) {
    put(this.body, nothing(`Panels of kind "${visible(type)}" are not supported.`));
    this.element.dataset.state = "unsupported";
  }

  fail(error) {
    this.clear();
    this.answer = null;
    put(this.body, failed(error));
    this.element.dataset.state = "failed";
  }

  clear() {
    this.drawn?.destroy?.();
    this.drawn = null;
  }

  resized() {
    clearTimeout(this.resizing);
    this.resizing = setTimeout(() => {
      const [width, height] = this.size ?? [];
      const { clientWidth, clientHeight } = this.body;
      if (this.answer && clientWidth && (width !== clientWidth || height !== clientHeight)) this.show();
    }, RESIZE_AFTER_MS);
  }
}

/** A panel's own links, then those of its values. */
function linksOf({ links = [], fieldConfig = {} }) {
  const fields = (fieldConfig.defaults?.links ?? []).filter((link) => !/__data|__value|__series/.test(link.url ?? ""));
  return [...links, ...fields].filter((link) => link.url);
}
