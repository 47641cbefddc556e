// The server: its log, its limits, its configuration.

import { ask, button, confirmed, make } from "./desk.js";

const LINES = 500;
const LEVELS = [["info", "everything"], ["warning", "warnings and errors"], ["error", "errors"]];

let level = "info";
let last = 0;

export const log = {
  every: 2000,

  async load() {
    const { lines, last: now } = await ask(`log?level=${level}&after=${last}&limit=${LINES}`);
    const anew = now < last;
    last = now;
    return { lines, anew };
  },

  show({ lines, anew }, view, { again }) {
    if (!view.querySelector("#log")) {
      const choice = make("select", { onchange: () => restart(view, choice.value, again) });
      choice.append(...LEVELS.map(([key, text]) => new Option(text, key, false, key === level)));
      view.replaceChildren(
        make("div", { className: "tools" }, make("label", {}, "Show", choice)),
        make("div", { id: "log", role: "log", tabIndex: 0, ariaLabel: "The server's log" }),
      );
    }
    const box = view.querySelector("#log");
    if (anew) box.replaceChildren();
    const below = box.scrollHeight - box.scrollTop - box.clientHeight < 40; // else somebody reads further up
    for (const line of lines) {
      const className = line.level === "warning" ? "warning" : line.level === "info" ? "" : "error-line";
      const time = new Date(line.time).toLocaleTimeString();
      box.append(make("p", { className }, `${time} ${line.level} ${line.logger.replace("castd.", "")}: ${line.message}`));
    }
    while (box.children.length > LINES) box.firstElementChild.remove();
    if (below) box.scrollTop = box.scrollHeight;
  },

  leave: () => (last = 0),
};

function restart(view, chosen, again) {
  [level, last] = [chosen, 0];
  view.querySelector("#log").replaceChildren();
  again();
}

export const server = {
  every: 5000,
  load: () => Promise.all([ask("limits"), ask("hooks")]),

  show([{ limits }, { hooks }], view, { again }) {
    const row = ({ limit, mount, value, used }) =>
      make(
        "tr", {},
        make("td", {}, limit),
        make("td", {}, mount),
        make("td", { className: "number" }, used.toLocaleString("en")),
        make("td", { className: "number" }, value ? value.toLocaleString("en") : "no limit"),
        make("td", { className: "long" }, value ? make("meter", { min: 0, max: value, high: value * 0.8, value: used, ariaLabel: limit }) : null),
      );
    const heads = ["Limit", "Mount", "Used", "Of", "How close"].map((text) => make("th", { scope: "col", className: /Used|Of/.test(text) ? "number" : "" }, text));
    const hook = ({ url, program, told, failed, waiting, last_failure: failure }) =>
      make("li", { className: failure ? "warn" : "" }, `${url ?? program}: ${told} told, ${waiting} waiting, ${failed} failed${failure ? ` (${failure})` : ""}`);
    view.replaceChildren(
      make("p", { className: "buttons" }, button("Read the configuration again…", () => reload().then(again), "main")),
      make("h2", {}, "Limits"),
      make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Limits" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...limits.map(row)))),
      make("h2", {}, "Hooks"),
      hooks.length ? make("ul", {}, ...hooks.map(hook)) : make("p", { className: "quiet" }, "There are none."),
    );
  },
};

async function reload() {
  const lines = (changes) => changes.map(({ key, before, after }) => `${key}: ${before} → ${after}`).join("\n");
  let text;
  try {
    const { changed, waiting } = await ask("reload?trial=true", { method: "POST" });
    text = changed.length ? `Changes:\n${lines(changed)}` : "Nothing has changed in the file.";
    if (waiting.length) text += `\nFor a restart:\n${lines(waiting)}`;
  } catch (error) {
    text = `The file cannot be used:\n${error.message}`;
  }
  return confirmed("Read castd.toml again?", text, "Read", () => ask("reload", { method: "POST" }));
}
