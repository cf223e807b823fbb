// Holds the documents that we publish to validators that others wrote: OpenAPI, AsyncAPI, and the GraphQL
// documents against the schema. Needs no server.

import { readFileSync, readdirSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { Validator } from "@seriousme/openapi-schema-validator";
import { buildSchema, parse, validate, validateSchema } from "graphql";
import { finish, holds, same } from "./assertion.js";

const root = new URL("../../../../", import.meta.url);
const text = (path: string) => readFileSync(new URL(path, root), "utf8");

const openapi = JSON.parse(text("api/openapi.json"));
const validator = new Validator();
const { valid, errors } = await validator.validate(openapi);
holds("api/openapi.json is valid for @seriousme/openapi-schema-validator", valid, errors);
same("as OpenAPI 3.1", validator.version, "3.1");

const { document, diagnostics } = await new Parser().parse(text("api/asyncapi.json"));
const found = diagnostics.map(({ code, message, path, severity }) => ({ code, message, path: path.join("."), severity }));
// 0 and 1 are errors and warnings. What is left is taste: that there is a newer version, that servers want tags.
holds("api/asyncapi.json is valid for @asyncapi/parser", !found.some((one) => one.severity <= 1), found);
holds("and is read as an AsyncAPI document", document !== undefined);
same("of version 3.0.0", document.version(), "3.0.0");
const operations = document.operations().all().map((operation) => [operation.id(), operation.messages().all().length]);
same("with what a client says and what the server says", operations, [["say", 5], ["hear", 8]]);

const schema = buildSchema(text("graphql/schema.graphql"));
same("graphql/schema.graphql is a valid schema for graphql-js", validateSchema(schema), []);
const folder = new URL("graphql/documents/", root);
for (const name of readdirSync(folder)) {
  same(`${name} is valid against it`, validate(schema, parse(text(`graphql/documents/${name}`))), []);
}
finish("documents");
