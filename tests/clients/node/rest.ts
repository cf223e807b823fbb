// The OpenAPI client: its types are generated from api/openapi.json, and each answer is held to the document
// again when it is there, because types say nothing about what a server really sends.

import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "../generated/api.js";
import { control, token } from "./server.js";

export type Event = components["schemas"]["Event"];
export type Command = components["schemas"]["Command"];
export type CommandRequest = components["schemas"]["CommandRequest"];
type EventQuery = { account_id?: string; type?: string; after?: string };

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Which (method, path, status) were answered; one that is not as the document says ends the driver. */
export const answered = new Set<string>();

/**
 * The document, closed: in an answer a field that the document does not name is as wrong as one that is
 * missing, because a generated client cannot read it.
 */
function closed(schema: Json): Json {
  if (Array.isArray(schema)) {
    return schema.map(closed);
  }
  if (schema === null || typeof schema !== "object") {
    return schema;
  }
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  if (copy["type"] === "object" && "properties" in copy && !("additionalProperties" in copy)) {
    copy["additionalProperties"] = false;
  }
  return copy;
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
// Numbers' widths, which `minimum` and `maximum` say where they matter.
for (const width of ["uint", "uint8", "uint16", "uint32", "uint64", "int8", "int16"]) {
  ajv.addFormat(width, true);
}
const document = JSON.parse(readFileSync(new URL("../../../../api/openapi.json", import.meta.url), "utf8"));
ajv.addSchema(closed(document) as object, "openapi.json");

/** The media type of the document that an answer's own is described by; ranges come after the type itself. */
function described(content: Record<string, unknown>, type: string): string | undefined {
  return [type, `${type.split("/")[0]}/*`, "*/*"].find((range) => range in content);
}

/** Everything in an answer that the document does not say. */
async function misfits(method: string, path: string, response: Response): Promise<string[]> {
  const where = `${method} ${path} ${response.status}`;
  answered.add(where);
  const responses = document.paths[path][method].responses;
  const status = String(response.status) in responses ? String(response.status) : "default";
  const header = response.headers.get("content-type");
  const content = responses[status].content ?? {};
  if (header === null) {
    return Object.keys(content).length === 0 ? [] : [`${where}: has no content`];
  }
  const type = header.split(";")[0] ?? "";
  const known = described(content, type);
  if (known === undefined) {
    return [`${where}: its type ${type} is not in the document`];
  }
  if (!type.endsWith("json")) {
    return [];
  }
  const escape = (part: string) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
  const parts = ["paths", path, method, "responses", status, "content", known, "schema"];
  const check = ajv.getSchema(`openapi.json#/${parts.map(escape).join("/")}`);
  if (check === undefined) {
    return [`${where}: has no schema`];
  }
  check(await response.clone().json());
  return (check.errors ?? []).map((error) => `${where}: ${ajv.errorsText([error])} ${JSON.stringify(error.params)}`);
}

const byTheDocument: Middleware = {
  async onResponse({ request, response, schemaPath }) {
    const found = await misfits(request.method.toLowerCase(), schemaPath, response);
    if (found.length > 0) {
      throw new Error(`api/openapi.json does not describe this answer:\n${found.join("\n")}`);
    }
  },
};

/** A client whose methods, paths, parameters and bodies are those of the document. */
export const rest = createClient<paths>({ baseUrl: control, headers: { authorization: `Bearer ${token}` } });
rest.use(byTheDocument);

/** Every event that a query matches, page by page. */
export async function events(query: EventQuery, limit = 200): Promise<Event[]> {
  const all: Event[] = [];
  for (let after = query.after; ; ) {
    const page = await rest.GET("/v1/events", { params: { query: { ...query, limit, ...(after && { after }) } } });
    if (page.error) {
      throw new Error(page.error.detail);
    }
    all.push(...page.data.items);
    if (!page.data.next_cursor) {
      return all;
    }
    after = page.data.next_cursor;
  }
}
