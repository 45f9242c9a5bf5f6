/** Messages of a call as a conversation; shown as text, whatever they hold. */

import { h, shorten, visible } from "../lib/dom.js";
import * as names from "../names.js";

const LONGEST_SHOWN = 6000;
const [HEAD, TAIL] = [60, 140]; // of a folded text

/** JSON that a library wrote into an attribute; null where it is none. */
export function parsed(value) {
  if (typeof value !== "string") return value ?? null;
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

/**
 * The conversation of a span.
 * @returns {Node|null} null where no message was captured
 */
export function conversation({ attributes }) {
  const system = attributes[names.SYSTEM_INSTRUCTIONS];
  const messages = [
    ...(system ? [{ role: "system", parts: parsed(system) ?? system }] : []),
    ...listOf(attributes[names.INPUT_MESSAGES], "user"),
    ...listOf(attributes[names.OUTPUT_MESSAGES], "assistant"),
  ];
  if (!messages.length) return null;
  return h("ol.conversation", {}, messages.map(message));
}

function listOf(value, role) {
  if (value === undefined || value === null) return [];
  const found = parsed(value);
  if (Array.isArray(found)) return found;
  return [{ role, parts: [{ type: "text", content: String(value) }] }];
}

function message(one) {
  const role = typeof one?.role === "string" ? one.role : "message";
  const parts = [one?.parts ?? one?.content ?? one].flat();
  return h("li.message", { class: `message ${["system", "user", "assistant", "tool"].includes(role) ? role : "other"}` }, h("span.role", {}, visible(role), one?.finish_reason && h("span.quiet", {}, ` · ${visible(one.finish_reason)}`)), parts.map(part));
}

function part(one) {
  if (typeof one === "string") return text(one);
  const type = one?.type;
  if (type === "tool_call") return labelled(`calls ${one.name ?? "a tool"}`, one.arguments);
  if (type === "tool_call_response") return labelled("tool's answer", one.response ?? one.result ?? one.content);
  if (type === "reasoning" || type === "thinking") return labelled("reasoning", one.content);
  if (typeof one?.content === "string") return text(one.content);
  if (typeof one?.text === "string") return text(one.text);
  return labelled(String(type ?? "part"), one);
}

function labelled(label, value) {
  const body = typeof value === "string" ? value : JSON.stringify(value, null, 1);
  return h("div.part", {}, h("span.quiet", {}, visible(label)), h("pre", {}, shorten(visible(body ?? ""), LONGEST_SHOWN)));
}

/** A long text folds: what was asked at its end matters more than the passages before it. */
function text(content) {
  const shown = shorten(visible(content), LONGEST_SHOWN);
  if (shown.length < 700) return h("p", {}, shown);
  return h("details.long", {}, h("summary", {}, `${shown.slice(0, HEAD)} … ${shown.slice(-TAIL)}`), h("p", {}, shown));
}
