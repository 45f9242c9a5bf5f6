/** The frame around every page: the menu, and where the page goes. */

import * as api from "./lib/api.js";
import { boardAddress } from "./board/view.js";
import { theme, toggleTheme } from "./lib/colors.js";
import { h, keepFocus, put, visible } from "./lib/dom.js";
import { icon } from "./lib/icons.js";

const HEALTH_MS = 15_000;

/** Names and addresses of the pages that are no boards. */
const PAGES = [
  { path: "/traces", title: "Search traces", image: "search" },
  { path: "/stack", title: "Stack", image: "heart" },
];

/** Images of our own boards by uid. */
const IMAGES = { home: "home", cost: "coin", latency: "clock", quality: "answers", rag: "book", throughput: "gauge", traces: "traces" };

/** Build the frame. @returns {{main: HTMLElement, update: (place: import("./lib/router.js").Place) => void}} */
export function shell() {
  const boards = h("ul");
  const pages = h("ul");
  const main = h("main", { id: "main", tabindex: "-1" });
  const side = h(
    "nav.side",
    { "aria-label": "Pages", "data-keep-scroll": true },
    h("a.brand", { href: "/" }, mark(), "stackctl"),
    h("h2", {}, "Boards"),
    boards,
    h("h2", {}, "Look into"),
    pages,
    h("div.side-foot", {}, themeButton()),
  );
  const open = h("button.control.square.menu", { type: "button", "aria-label": "Menu", onclick: () => document.body.classList.toggle("menu-open") }, icon("menu"));
  put(document.body, h("a.skip", { href: "#main" }, "Skip to the page"), open, side, main);
  side.addEventListener("click", () => document.body.classList.remove("menu-open"));
  const state = { list: [], place: null, health: null };
  const draw = () => keepFocus(side, () => drawMenu(state, boards, pages));
  api.boards().then((found) => { state.list = found; draw(); }, () => {});
  watchHealth(state, draw);
  return { main, update: (place) => { state.place = place; draw(); } };
}

function drawMenu({ list, place, health }, boards, pages) {
  if (!place) return;
  const entry = (href, title, image, current, more) => h("li", {}, h("a", { href, "aria-current": current ? "page" : null }, icon(image), h("span", {}, visible(title)), more));
  const imageOf = (uid) => (Object.hasOwn(IMAGES, uid) ? IMAGES[uid] : "board");
  put(boards, list.map((board) => entry(boardAddress(board.uid, place), board.title, imageOf(board.uid), place.path === `/d/${board.uid}` || (place.path === "/" && board.uid === "home"))));
  put(pages, PAGES.map(({ path, title, image }) => entry(path, title, image, place.path.startsWith(path), path === "/stack" && sign(health))));
}

/** How the stack fares, in a dot or the number of what was found; nothing while that is not known. */
function sign(health) {
  if (!health) return null;
  if (!health.well) return h("span.dot.bad", { title: "A component is not healthy" });
  if (health.firing) return h("span.badge", { title: health.firing === 1 ? "One finding" : `${health.firing} findings` }, String(health.firing));
  return h("span.dot.good", { title: "All components are healthy" });
}

function watchHealth(state, draw) {
  const look = async () => {
    if (document.hidden) return;
    const before = JSON.stringify(state.health);
    try {
      const { components, servers, findings } = await api.stack();
      const well = components.every((one) => one.state === "healthy") && Object.values(servers).every((server) => server.version);
      state.health = { well, firing: findings.filter((one) => one.state === "firing").length };
    } catch {
      state.health = { well: false, firing: 0 }; // the console itself does not answer
    }
    if (JSON.stringify(state.health) !== before) draw();
  };
  setTimeout(look, 1500); // what was opened goes first
  setInterval(look, HEALTH_MS);
}

function themeButton() {
  const button = h("button.control.bare", { type: "button" });
  const label = () => {
    const other = theme() === "dark" ? "light" : "dark";
    put(button, icon(other === "dark" ? "moon" : "sun"), h("span", {}, `${other === "dark" ? "Dark" : "Light"} theme`));
  };
  button.addEventListener("click", () => { toggleTheme(); label(); });
  label();
  return button;
}

function mark() {
  return h("span.mark", { "aria-hidden": "true" }, h("i"), h("i"), h("i"));
}
