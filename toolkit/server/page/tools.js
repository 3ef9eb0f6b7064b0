// The tools that this user has, with their arguments, and why others are absent.

import { count, make } from "./dom.js";

const EXPLAIN = "toolkit:explain";

/** Say which values a schema takes, in a few words. */
function kind(schema) {
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const some = schema.anyOf ?? schema.oneOf;
  if (some) return [...new Set(some.map(kind))].join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items ?? {})}`;
  if (schema.$ref) return schema.$ref.split("/").pop();
  return [schema.type ?? "anything"].flat().join(" | ");
}

function argument([name, schema], required) {
  const isNeeded = required.includes(name);
  const fallback = schema.default === undefined ? "" : `, else ${JSON.stringify(schema.default)}`;
  return [
    make("dt", {}, make("code", {}, name),
      make("span", { className: "quiet" }, ` ${kind(schema)}${isNeeded ? ", needed" : fallback}`)),
    make("dd", {}, schema.description ?? ""),
  ];
}

function tool({ name, description, input_schema: schema, ...more }) {
  const facts = [
    more.destructive ? "may destroy" : more.read_only ? "only reads" : "",
    more.version ? `version ${more.version}` : "",
    ...(more.tags ?? []),
  ].filter(Boolean);
  const given = Object.entries(schema.properties ?? {});
  const [first, ...rest] = description.split(/\n\s*\n/);
  return make("li", {}, make("details", {},
    make("summary", {}, make("code", {}, name), make("span", {}, first || "No description.")),
    ...rest.map((one) => make("p", { className: "prose" }, one)),
    given.length > 0
      ? make("dl", {}, ...given.flatMap((one) => argument(one, schema.required ?? [])))
      : make("p", { className: "quiet" }, "Takes no arguments."),
    facts.length > 0 ? make("p", { className: "quiet" }, facts.join(", ")) : null,
  ));
}

function missing({ name, distribution, reason, remedy }) {
  return make("li", {},
    make("p", {}, make("code", {}, name),
      make("span", { className: "quiet" }, distribution ? ` from ${distribution}` : "")),
    make("p", {}, reason),
    remedy ? make("p", { className: "quiet" }, remedy) : null,
  );
}

function noneMissing(scopes) {
  if (scopes.includes(EXPLAIN)) return make("p", { className: "quiet" }, "None that you may know of.");
  return make("p", { className: "quiet" },
    "You are not told. A token with the scope ", make("code", {}, EXPLAIN),
    " shows which tools you have not, and why.");
}

/** Write both lists into an element. */
export function showTools(element, { tools, absent }, { user, scopes }) {
  const rights = scopes.length > 0 ? [make("code", {}, scopes.join(" "))] : ["no scopes"];
  element.replaceChildren(
    make("p", {}, make("strong", {}, user), " has ", ...rights, ` and ${count(tools.length, "tool")}.`),
    make("ul", { className: "tool-list" }, ...tools.map(tool)),
    make("h3", {}, "Absent"),
    absent.length > 0
      ? make("ul", { className: "absent-list" }, ...absent.map(missing))
      : noneMissing(scopes),
  );
}
