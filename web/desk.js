// What all views of the operators' desk need: the API, dialogs, and elements.

import { $, setText } from "./ui.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let csrfToken = "none"; // before one signs in; the server wants the field all the same
let onSignedOut = () => {};

export function signedIn(token, signedOut) {
  [csrfToken, onSignedOut] = [token, signedOut];
}

// Ask the API: ask("listeners?limit=5"), ask("bans", { method: "POST", body: {...} }). Throws Problem.
export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(`/api/v1/admin/${path}`, {
      method,
      headers: { "X-CSRF-Token": csrfToken, ...(body && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(15000),
    });
  } catch {
    throw new Problem(0, "The server is not reached.");
  }
  const value = await response.json().catch(() => ({}));
  if (response.ok) return value;
  if (response.status === 401) onSignedOut();
  throw new Problem(response.status, value.detail ?? response.statusText);
}

// make("td", { className: "number" }, "12"): an element; texts become text, whatever is in them.
export function make(name, fields = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(fields)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (text, onclick, className = "copy") => make("button", { type: "button", className, onclick }, text);

// Ask before something is done. `fields`: { name: { label, value, type, options, hint } }; `act` gets their values, and
// what it throws is shown. Resolves to whether it was done.
export function confirmed(title, text, okText, act, fields = {}) {
  const dialog = $("dialog");
  setText($("dialog-title"), title);
  setText($("dialog-text"), text);
  setText($("dialog-ok"), okText);
  setText($("dialog-error"), "");
  const inputs = Object.entries(fields).map(([name, field]) => [name, inputFor(field)]);
  $("dialog-fields").replaceChildren(
    ...inputs.map(([name, input]) =>
      make("label", { className: input.type === "checkbox" ? "check" : "" }, fields[name].label, input),
    ),
  );
  dialog.showModal();
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const end = (done) => {
      form.onsubmit = $("dialog-cancel").onclick = dialog.oncancel = null;
      if (dialog.open) dialog.close();
      resolve(done);
    };
    $("dialog-cancel").onclick = () => end(false);
    dialog.oncancel = () => end(false);
    form.onsubmit = async (event) => {
      event.preventDefault();
      const values = inputs.map(([name, input]) => [name, input.type === "checkbox" ? input.checked : input.value]);
      $("dialog-ok").disabled = true;
      try {
        const done = await act(Object.fromEntries(values));
        setText($("done"), typeof done === "string" ? done : "Done.");
        end(true);
      } catch (error) {
        setText($("dialog-error"), error.message);
      } finally {
        $("dialog-ok").disabled = false;
      }
    };
  });
}

function inputFor({ value = "", type = "text", options }) {
  if (!options) return make("input", type === "checkbox" ? { type, checked: Boolean(value) } : { type, value });
  return make("select", {}, ...options.map(([key, text]) => new Option(text, key, false, key === value)));
}

// A line of numbers as a picture, from 0 to its largest.
export function spark(values, label) {
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  if (values.length === 1) values = [values[0], values[0]];
  const most = Math.max(1, ...values);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, index) => `${(index * step).toFixed(2)},${(29 - (value / most) * 27).toFixed(2)}`);
  const picture = svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": label });
  picture.append(svg("polygon", { points: `0,30 ${points.join(" ")} 100,30` }), svg("polyline", { points: points.join(" ") }));
  return picture;
}

export const kbit = (bits) => (bits ? `${Math.round(bits / 1000)} kbit/s` : "–");

export function size(bytes) {
  if (bytes < 10_000) return `${bytes} B`;
  const [unit, divisor] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / divisor).toFixed(bytes / divisor < 10 ? 1 : 0)} ${unit}`;
}
