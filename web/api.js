// The OpenAPI document for people.

import { make } from "./desk.js";
import { $ } from "./ui.js";

const document_ = await (await fetch("/api/v1/openapi.json")).json();
const schemas = document_.components.schemas;
const nameOf = (reference) => reference.split("/").at(-1);

// A type in a few words, with links to the shapes.
function typeOf(schema = {}) {
  if (schema.$ref) return [make("a", { href: `#${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  if (schema.anyOf) return schema.anyOf.flatMap((each, index) => (index ? [" or ", ...typeOf(each)] : typeOf(each)));
  if (schema.enum) return [schema.enum.join(" | ")];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  return [schema.format ?? schema.type ?? "anything"];
}

function table(rows, what) {
  return make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: `Fields of ${what}` }, make("table", {}, make("tbody", {}, ...rows)));
}

const field = (name, schema, note = "") =>
  make(
    "tr", {},
    make("td", {}, make("code", {}, name)),
    make("td", {}, ...typeOf(schema)),
    make("td", { className: "long" }, [note, schema.description].filter(Boolean).join(" ")),
  );

function operation(path, method, { summary, description, parameters = [], requestBody, responses, security }) {
  const [status, good] = Object.entries(responses)[0];
  const content = Object.entries(good.content ?? {})[0] ?? ["", {}];
  const body = requestBody?.content["application/json"].schema;
  const rows = parameters.map((each) => field(each.name, each.schema, each.required ? "needed." : ""));
  return make(
    "article", {},
    make("h3", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    make("p", {}, `${summary}. `, security ? make("span", { className: "quiet" }, description ?? "For operators.") : null),
    rows.length ? table(rows, `${method} ${path}`) : null,
    body ? make("p", {}, "Takes ", ...typeOf(body), ".") : null,
    make("p", {}, `${status}: `, ...(content[1].schema ? typeOf(content[1].schema) : [content[0]]), make("span", { className: "quiet" }, ` · else ${Object.keys(responses).slice(1).join(", ")}`)),
  );
}

function shape(name, { description, properties = {}, required = [] }) {
  const rows = Object.entries(properties).map(([key, schema]) => field(key, schema, required.includes(key) ? "" : "optional."));
  return make("article", { id: name }, make("h3", {}, name), description ? make("p", { className: "quiet" }, description) : null, rows.length ? table(rows, name) : null);
}

const operations = Object.entries(document_.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, each]) => ({ tag: each.tags[0], made: operation(path, method, each) })),
);
const section = (title, made) => make("section", {}, make("h2", {}, title), make("div", { className: "mounts" }, ...made));

$("view").replaceChildren(
  make("p", { className: "panel" }, document_.info.description),
  section("For everybody", operations.filter(({ tag }) => tag === "public").map(({ made }) => made)),
  section("For operators", operations.filter(({ tag }) => tag !== "public").map(({ made }) => made)),
  section("Shapes", Object.entries(schemas).map(([name, each]) => shape(name, each))),
);
if (location.hash) $(location.hash.slice(1))?.scrollIntoView();
