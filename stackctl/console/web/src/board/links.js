/** Links of panels and cells, as addresses of the console. */

import { FORMATS, interpolate, within } from "./interpolate.js";

/**
 * The console's address for a link of a board; null where it leads to another place than the console or the web.
 * @param {string} url Grafana's, with macros
 * @param {{scope: import("./interpolate.js").Scope, range: import("../time/range.js").Range, place: URLSearchParams}} context
 * @param {(name: string) => any} [field] value of a field of the clicked row
 */
export function address(url, context, field) {
  const { from, to } = { from: context.place.get("from"), to: context.place.get("to") };
  const time = new URLSearchParams({ from: from ?? String(Math.round(context.range.from)), to: to ?? String(Math.round(context.range.to)) });
  const own = { __url_time_range: time.toString(), __from: Math.round(context.range.from), __to: Math.round(context.range.to), __all_variables: variables(context.place) };
  const withCells = url.replace(/\$\{__data\.fields\[\s*["']?([^"'\]]+)["']?\s*\](?:\.\w+)?\}|\$\{__data\.fields\.(\w+)\}/g, (_, quoted, plain) =>
    encodeURIComponent(field?.(quoted ?? plain) ?? ""),
  );
  const raw = new Set(["__url_time_range", "__all_variables"]);
  const scope = {
    lookup: (name) => {
      const found = within(own, context.scope).lookup(name);
      return found && !raw.has(name) ? { ...found, values: found.values.map((value) => encodeURIComponent(value)), literal: found.literal } : found;
    },
  };
  return local(interpolate(withCells, scope, FORMATS.pipe));
}

function variables(place) {
  return new URLSearchParams([...place].filter(([name]) => name.startsWith("var-"))).toString();
}

/** Keep what leads into the console or to a web page; nothing else becomes a link. */
function local(url) {
  let parsed;
  try {
    parsed = new URL(url, location.origin);
  } catch {
    return null;
  }
  if (parsed.origin !== location.origin) return /^https?:$/.test(parsed.protocol) ? parsed.href : null;
  return parsed.pathname === "/explore" ? fromExplore(parsed.searchParams) : parsed.pathname + parsed.search;
}

/**
 * Grafana's Explore address of a Tempo search as ours.
 * @param {URLSearchParams} query
 */
export function fromExplore(query) {
  try {
    const [pane] = Object.values(JSON.parse(query.get("panes") ?? "{}"));
    const found = new URLSearchParams({ q: pane.queries[0].query ?? "", from: String(pane.range.from), to: String(pane.range.to) });
    return /^[0-9a-f]{32}$/i.test(pane.queries[0].query) ? `/traces/${pane.queries[0].query}` : `/traces?${found}`;
  } catch {
    return "/traces"; // an address that somebody wrote by hand
  }
}
