// Listeners, those who have gone, and bans: tables of people.

import { ask, button, confirmed, make, size } from "./desk.js";
import { clock, count, duration } from "./text.js";

const PAGE = 100;

const COLUMNS = [
  ["id", "Id", "number"], ["mount", "Mount"], ["address", "Address"], ["agent", "Player", "long"], ["user", "User"],
  ["connected_seconds", "Since", "number"], ["bytes_sent", "Got", "number"], ["lag_seconds", "Behind", "number"],
];

const wanted = { mount: "", search: "", sort: "id", descending: false, offset: 0 };

export const listeners = {
  every: 5000,

  async load() {
    const query = new URLSearchParams({ ...wanted, limit: PAGE });
    for (const [name, value] of [...query]) if (value === "") query.delete(name);
    const [found, { mounts }] = await Promise.all([ask(`listeners?${query}`), ask("stats")]);
    return { ...found, mounts: mounts.map(({ mount }) => mount) };
  },

  show({ listeners: rows, total, mounts }, view, { may, again }) {
    if (!view.querySelector("#search")) view.replaceChildren(tools(mounts, again), make("div"));
    view.querySelector("#mount-filter").replaceChildren(
      new Option("all mounts", ""), ...mounts.map((name) => new Option(name, name, false, name === wanted.mount)),
    );
    const list = make("tbody", {}, ...rows.map((row) => listenerRow(row, may, again)));
    const heads = COLUMNS.map(([key, text, className = ""]) => sortableHead(key, text, className, again));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads, make("th", {}, "Do"))), list);
    view.lastElementChild.replaceWith(
      make("div", {}, make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Listeners" }, table), pager(rows.length, total, again)),
    );
  },
};

function tools(mounts, again) {
  const search = make("input", { id: "search", type: "search", placeholder: "address, player, user, id", value: wanted.search });
  let timer;
  search.oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(() => want({ search: search.value, offset: 0 }, again), 250);
  };
  const mount = make("select", { id: "mount-filter", onchange: () => want({ mount: mount.value, offset: 0 }, again) });
  return make("div", { className: "tools" }, make("label", {}, "Search", search), make("label", {}, "Mount", mount));
}

function want(changes, again) {
  Object.assign(wanted, changes);
  again();
}

function sortableHead(key, text, className, again) {
  const mine = wanted.sort === key;
  const click = () => want({ sort: key, descending: mine && !wanted.descending, offset: 0 }, again);
  const head = make("th", { className, scope: "col" }, button(text, click, ""));
  if (mine) head.ariaSort = wanted.descending ? "descending" : "ascending";
  return head;
}

function listenerRow(row, may, again) {
  const shown = {
    ...row,
    connected_seconds: duration(row.connected_seconds),
    bytes_sent: size(row.bytes_sent),
    lag_seconds: `${row.lag_seconds.toFixed(1)} s`,
  };
  const cells = COLUMNS.map(([key, , className = ""]) => make("td", { className, dir: "auto" }, String(shown[key])));
  const kick = () =>
    confirmed(`Disconnect listener ${row.id}?`, `${row.agent || "A player"} from ${row.address}, at ${row.mount}.`, "Disconnect", () =>
      ask(`listeners/${row.id}`, { method: "DELETE" }),
    ).then(again);
  const buttons = [may("kick") && button("Kick…", kick), may("ban") && button("Ban…", () => ban(row.address, again))];
  return make("tr", { "data-id": row.id }, ...cells, make("td", {}, make("span", { className: "buttons" }, ...buttons.filter(Boolean))));
}

function pager(shown, total, again) {
  const from = total ? wanted.offset + 1 : 0;
  const turn = (text, offset, there) => {
    const made = button(text, () => want({ offset }, again));
    made.disabled = !there;
    return made;
  };
  return make(
    "p", { className: "buttons" },
    turn("Back", Math.max(0, wanted.offset - PAGE), wanted.offset > 0),
    make("span", { id: "range" }, `${from} to ${wanted.offset + shown} of ${count(total, "listener")}`),
    turn("Next", wanted.offset + PAGE, wanted.offset + shown < total),
  );
}

function ban(address, again) {
  const fields = {
    address: { label: "Address or network", value: address },
    agent: { label: "or a pattern of players, such as *bot*" },
    scope: { label: "Gets", options: [["listeners", "no streams"], ["sources", "no mounts to feed"], ["all", "nothing at all"]] },
    reason: { label: "Why" },
    hours: { label: "For how many hours (empty: for ever)", type: "number", value: "24" },
    kick: { label: "Disconnect them now", type: "checkbox", value: true },
  };
  const make_ = ({ hours, ...body }) => {
    if (body.agent) delete body.address;
    return ask("bans", { method: "POST", body: { ...body, seconds: hours ? Number(hours) * 3600 : null } });
  };
  return confirmed("Ban", "A banned address gets 403, with the reason.", "Ban", make_, fields).then(again);
}

export const gone = {
  every: 5000,
  load: () => ask("sessions?limit=100"),
  show({ sessions }, view) {
    const row = (visit) =>
      make(
        "tr", {},
        make("td", { className: "number" }, clock(visit.ended)),
        make("td", {}, visit.mount),
        make("td", {}, visit.kind),
        make("td", { className: ["left", "finished"].includes(visit.reason) ? "" : "warn" }, visit.reason.replaceAll("_", " ")),
        make("td", { className: "long", dir: "auto" }, visit.explained),
      );
    const heads = ["At", "Mount", "What", "Why", "In a sentence"].map((text) => make("th", { scope: "col" }, text));
    const table = make("table", { id: "gone" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...sessions.map(row)));
    view.replaceChildren(
      sessions.length ? make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Who has gone" }, table) : make("p", {}, "Nobody has gone yet."),
    );
  },
};

export const bans = {
  every: 10000,
  load: () => ask("bans"),
  show({ bans: rows }, view, { again }) {
    const lift = (row) =>
      confirmed("Lift this ban?", row.address ?? row.agent, "Lift", () => ask(`bans/${row.id}`, { method: "DELETE" })).then(again);
    const line = (row) =>
      make(
        "tr", {},
        make("td", {}, row.address ?? row.agent),
        make("td", {}, row.scope),
        make("td", { className: "long", dir: "auto" }, row.reason),
        make("td", {}, row.expires ? new Date(row.expires).toLocaleString() : "for ever"),
        make("td", {}, row.by),
        make("td", {}, row.id ? button("Lift…", () => lift(row)) : null),
      );
    const heads = ["Who", "Gets none of", "Why", "Until", "By", "Do"].map((text) => make("th", { scope: "col" }, text));
    const table = make("table", { id: "bans" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows.map(line)));
    view.replaceChildren(
      make("p", {}, button("Ban somebody…", () => ban("", again), "main")),
      rows.length ? make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Bans" }, table) : make("p", {}, "Nobody is banned."),
    );
  },
};
