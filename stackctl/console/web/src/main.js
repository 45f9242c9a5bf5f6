/** Begins: reads the address and opens the page it names. */

import { keepToken, LOCKED, setToken } from "./lib/api.js";
import { fromExplore } from "./board/links.js";
import { BoardView } from "./board/view.js";
import { h, put } from "./lib/dom.js";
import { go, start } from "./lib/router.js";
import { shell } from "./shell.js";

/** @typedef {{open: (place: any) => void, update: (place: any) => void, destroy: () => void}} View */

let view = null;
let key = null;

/** Which page an address names; pages beside the boards are loaded when they are first wanted. */
function pageOf({ path }) {
  const parts = path.split("/").filter(Boolean);
  if (!parts.length) return ["d/home", async (root) => new BoardView(root, "home")];
  if (parts[0] === "d") return [`d/${parts[1]}`, async (root) => new BoardView(root, decodeURIComponent(parts[1] ?? "home"))];
  if (parts[0] === "stack") return ["stack", async (root) => new (await import("./stack/view.js")).StackView(root)];
  if (parts[0] === "traces" && parts[1] === "compare") return [path, async (root) => new (await import("./traces/compare.js")).CompareView(root, parts[2], parts[3])];
  if (parts[0] === "traces" && parts[1]) return [`traces/${parts[1]}`, async (root) => new (await import("./traces/trace.js")).TraceView(root, parts[1])];
  return ["traces", async (root) => new (await import("./traces/list.js")).TraceListView(root)];
}

async function draw(place) {
  if (place.path === "/explore") return go(fromExplore(place.query), { replace: true });
  frame.update(place);
  const [wanted, make] = pageOf(place);
  if (wanted === key) return view?.update(place);
  key = wanted;
  view?.destroy();
  view = null;
  const root = h("div.page");
  put(frame.main, root);
  const made = await make(root);
  if (key !== wanted) return made.destroy(); // gone on while the page's code was fetched
  view = made;
  return view.open(place);
}

/** A stack on the network asks for its token; it is kept in this tab. */
function askForToken() {
  const input = h("input", { type: "password", "aria-label": "Token", autocomplete: "off" });
  const submit = (event) => {
    event.preventDefault();
    setToken(input.value);
    location.reload();
  };
  put(document.body, h("form.token", { onsubmit: submit }, h("h1", {}, "This stack asks for its token"), h("p", {}, "It lies in the file that ", h("code", {}, "stackctl up"), " printed."), input, h("button.primary", { type: "submit" }, "Open")));
  input.focus();
}

addEventListener(LOCKED, askForToken, { once: true });
keepToken();
const frame = shell();
start(draw);
