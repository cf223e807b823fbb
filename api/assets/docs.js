// Draws /openapi.json. Text only ever enters the page as text, never as markup.
"use strict";

const node = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== ""));
  return element;
};

// What stands in backticks is code.
const prose = (text) => node("span", {},
  ...(text || "").split("`").map((part, n) => (n % 2 ? node("code", {}, part) : part)));

const shapeName = (reference) => reference.split("/").pop();

// A shape in a few words, with links to the named ones.
const inWords = (schema) => {
  if (schema === true || schema === undefined) return "any";
  if (schema.$ref) return node("a", { href: `#shape-${shapeName(schema.$ref)}` }, shapeName(schema.$ref));
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.anyOf || schema.oneOf || schema.allOf;
  if (several) {
    const parts = several.flatMap((part, n) => (n ? [" | ", inWords(part)] : [inWords(part)]));
    return node("span", {}, ...parts);
  }
  const types = [].concat(schema.type || "any");
  if (types.includes("array")) return node("span", {}, "list of ", inWords(schema.items));
  return types.join(" | ") + (schema.format ? ` (${schema.format})` : "");
};

const fields = (schema) => {
  const rows = Object.entries(schema.properties || {}).map(([name, field]) =>
    node("tr", {},
      node("td", {}, node("code", {}, name), (schema.required || []).includes(name) ? " *" : ""),
      node("td", {}, inWords(field)),
      node("td", {}, prose(field && field.description))));
  return rows.length ? node("table", {}, ...rows) : node("p", {}, inWords(schema));
};

const parameters = (list) => node("table", {}, ...list.map((parameter) =>
  node("tr", {},
    node("td", {}, node("code", {}, parameter.name), parameter.required ? " *" : ""),
    node("td", {}, parameter.in),
    node("td", {}, inWords(parameter.schema)),
    node("td", {}, prose(parameter.description)))));

const content = (body) => Object.entries((body && body.content) || {}).map(([kind, { schema }]) =>
  node("p", {}, node("code", {}, kind), " ", inWords(schema)));

const operation = (path, method, it) => {
  const details = node("details", { id: it.operationId },
    node("summary", {},
      node("span", { class: `method ${method}` }, method.toUpperCase()),
      node("span", { class: "path" }, path), " ",
      node("span", { class: "what" }, prose(it.summary))));
  if (it.description) details.append(node("p", {}, prose(it.description)));
  if (!it.security) details.append(node("p", {}, "Needs no token, unless the installation says otherwise."));
  if ((it.parameters || []).length) details.append(node("h4", {}, "Parameters"), parameters(it.parameters));
  if (it.requestBody) details.append(node("h4", {}, "Body"), ...content(it.requestBody));
  details.append(node("h4", {}, "Answers"));
  for (const [status, answer] of Object.entries(it.responses || {})) {
    details.append(node("p", {}, node("strong", {}, status), " ", prose(answer.description)), ...content(answer));
  }
  details.dataset.words = [path, method, it.summary, it.description, it.operationId].join(" ").toLowerCase();
  return details;
};

const draw = (api) => {
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("about").replaceChildren(prose(api.info.description));
  const section = (name, about) => [name, node("section", { id: `tag-${name}` }, node("h2", {}, name), node("p", {}, prose(about)))];
  const sections = new Map((api.tags || []).map((tag) => section(tag.name, tag.description)));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, it] of Object.entries(methods)) {
      // An operation under a tag that nobody described is shown all the same.
      const tag = (it.tags || ["other"])[0];
      if (!sections.has(tag)) sections.set(...section(tag, ""));
      sections.get(tag).append(operation(path, method, it));
    }
  }
  document.getElementById("operations").replaceChildren(...sections.values());
  document.getElementById("tags").replaceChildren(
    ...[...sections.keys(), "shapes"].map((name) => node("a", { href: name === "shapes" ? "#shapes" : `#tag-${name}` }, name)));
  document.getElementById("shapes").replaceChildren(node("h2", {}, "shapes"),
    ...Object.entries(api.components.schemas).map(([name, schema]) =>
      node("details", { id: `shape-${name}` }, node("summary", {}, node("code", {}, name)),
        node("p", {}, prose(schema.description)), fields(schema),
        node("details", {}, node("summary", {}, "as JSON Schema"), node("pre", {}, JSON.stringify(schema, null, 2))))));
  openTarget();
};

const openTarget = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
};

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const details of document.querySelectorAll("main details")) {
    details.hidden = wanted !== "" && !details.dataset.words.includes(wanted);
  }
  for (const section of document.querySelectorAll("main section")) {
    section.hidden = !section.querySelector("details:not([hidden])");
  }
});
window.addEventListener("hashchange", openTarget);

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(draw)
  .catch((error) => {
    document.getElementById("operations").textContent = `The document could not be read: ${error.message}`;
  });
