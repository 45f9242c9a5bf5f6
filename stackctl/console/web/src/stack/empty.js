/** The first screen of a stack that has seen nothing yet: what to do next. */

import * as api from "../lib/api.js";
import { h } from "../lib/dom.js";
import { icon } from "../lib/icons.js";
import { copy } from "../ui/popover.js";
import { LLM_REQUESTS } from "../names.js";

/** True when no call was ever counted and no trace is stored. */
export async function isEmpty(signal) {
  const [services, traces] = await Promise.all([api.labelValues("service_name", LLM_REQUESTS, undefined, undefined, signal), api.search({ limit: 1 }, signal)]);
  return services.length === 0 && traces.length === 0;
}

const WAYS = [
  ["See it with traffic", "A small RAG application answers 40 questions; takes about 15 seconds.", "stackctl demo"],
  ["Your own Python program", "Runs it instrumented, without a change to its code.", "stackctl run -- python app.py"],
];

function command(text) {
  return h("div.command", {}, h("code", {}, text), h("button.control.bare", { type: "button", title: "Copy", "aria-label": `Copy: ${text}`, onclick: () => copy(text, "Command") }, icon("copy")));
}

export function emptyStack() {
  const endpoint = h("span", {}, "…");
  api.stack().then((found) => {
    const { otlp_grpc: grpc, otlp_http: http } = found.endpoints;
    endpoint.textContent = grpc ? `${grpc} (gRPC) or ${http} (HTTP)` : "the Collector in front of these servers";
  }, () => (endpoint.textContent = "the stack's OTLP endpoint"));
  return h(
    "div.empty-stack",
    {},
    h("h2", {}, "The stack runs and waits for its first call"),
    h("p.lead", {}, "Nothing has been sent yet. This page changes by itself as soon as something arrives."),
    h("div.ways", {}, WAYS.map(([title, text, line]) => h("section.way", {}, h("h3", {}, title), h("p", {}, text), command(line))), h("section.way", {}, h("h3", {}, "Anything that speaks OpenTelemetry"), h("p", {}, "Send OTLP to ", endpoint, ": traces, metrics and logs."), command("stackctl status"))),
  );
}
