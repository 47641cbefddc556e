// The operators' desk: who is there, which view, and keeping it live.

import { ask, make, signedIn } from "./desk.js";
import * as mounts from "./desk-mounts.js";
import { bans, gone, listeners } from "./desk-people.js";
import { log, server } from "./desk-server.js";
import { $, setText } from "./ui.js";

// Each view: load() asks the API, show(found, view, tools) draws it, `every` so many ms; `right` is the scope it needs.
const VIEWS = {
  mounts: { title: "Mounts", right: "read", ...mounts },
  listeners: { title: "Listeners", right: "read", ...listeners },
  gone: { title: "Gone", right: "read", ...gone },
  bans: { title: "Bans", right: "ban", ...bans },
  log: { title: "Log", right: "server", ...log },
  server: { title: "Server", right: "server", ...server },
};

let session = null;
let shown = ""; // name of the view
let timer = 0;

const may = (right) => session.scopes.includes("admin") || session.scopes.includes(right);
const open = () => Object.keys(VIEWS).filter((name) => may(VIEWS[name].right));

function enter(given) {
  session = given;
  signedIn(given.csrf_token, leave);
  $("sign-in").hidden = true;
  $("desk").hidden = false;
  setText($("who"), given.mounts.length ? `${given.user}, for ${given.mounts.join(", ")}` : given.user);
  $("tabs").replaceChildren(...open().map((name) => make("a", { href: `#${name}` }, VIEWS[name].title)));
  turn();
}

function leave(why = "Please sign in again.") {
  clearTimeout(timer);
  [session, shown] = [null, ""];
  signedIn("none", () => {});
  $("view").replaceChildren();
  $("desk").hidden = true;
  $("sign-in").hidden = false;
  setText($("sign-in-error"), why);
}

function turn() {
  if (!session) return;
  const names = open();
  const asked = location.hash.slice(1);
  const name = names.includes(asked) ? asked : names[0];
  if (!name) return setText($("trouble"), "What you signed in with is for the API alone.");
  if (name !== shown) {
    VIEWS[shown]?.leave?.();
    shown = name;
    $("view").replaceChildren(make("p", { className: "quiet" }, "…"));
    for (const link of $("tabs").children) {
      if (link.hash === `#${name}`) link.ariaCurrent = "page";
      else link.ariaCurrent = null;
    }
  }
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  const [name, view] = [shown, VIEWS[shown]];
  try {
    const found = await view.load({ may });
    if (name !== shown || !session) return;
    draw(view, found);
    setText($("trouble"), "");
  } catch (error) {
    if (!session || name !== shown) return;
    setText($("trouble"), error.message);
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? view.every * 10 : view.every);
}

// What is drawn anew must not take the focus away from whoever uses the keyboard.
function draw(view, found) {
  const main = $("view");
  const all = () => [...main.querySelectorAll("a, button, input, select, [tabindex]")];
  const at = all().indexOf(document.activeElement);
  const scrolled = main.querySelector(".scroll")?.scrollLeft ?? 0;
  view.show(found, main, { may, again: refresh });
  const box = main.querySelector(".scroll");
  if (box) box.scrollLeft = scrolled;
  const now = all()[at];
  if (at >= 0 && now && now !== document.activeElement) now.focus({ preventScroll: true });
}

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const { user, password, token } = Object.fromEntries(new FormData(form));
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  const basic = `Basic ${btoa(String.fromCharCode(...bytes))}`;
  setText($("sign-in-error"), "");
  try {
    const headers = { Authorization: token ? `Bearer ${token.trim()}` : basic };
    const given = await ask("session", { method: "POST", headers });
    form.reset();
    enter(given);
  } catch (error) {
    setText($("sign-in-error"), error.message);
  }
});

$("sign-out").addEventListener("click", async () => {
  await ask("session", { method: "DELETE" }).catch(() => {});
  leave("Signed out.");
});

addEventListener("hashchange", turn);
document.addEventListener("visibilitychange", () => !document.hidden && session && refresh());

ask("../session").then(
  ({ session: given }) => (given ? enter(given) : leave("")),
  (error) => leave(error.message),
);
