// Drives REST through the client that was generated from api/openapi.json: a command from its submission to its
// last event, the lists with their filters and cursors, and the refusals.

import { finish, holds, same, sameList } from "./assertion.js";
import { answered, events, rest, type Command, type CommandRequest } from "./rest.js";
import { eventually, run } from "./server.js";

const account = `openapi-${run}`;
const steps = 3;

function request(key: string, count: number): CommandRequest & { idempotency_key: string } {
  return {
    type: "flow.run",
    account_id: account,
    correlation_id: run,
    idempotency_key: key,
    payload: { workflow_name: "bench.steps", inputs: { steps: count } },
  };
}

async function ended(id: string): Promise<Command> {
  return await eventually(`command ${id} ends`, async () => {
    const { data } = await rest.GET("/v1/commands/{id}", { params: { path: { id } } });
    return data && ["SUCCEEDED", "FAILED", "CANCELLED"].includes(data.status) ? data : undefined;
  });
}

/** What the compiler refuses; compiling this file is the assertion, and nothing here is ever run. */
export async function doesNotCompile(): Promise<void> {
  // @ts-expect-error a command has a payload
  await rest.POST("/v1/commands", { body: { type: "flow.run" } });
  // @ts-expect-error no field of a command is called this
  const misspelt: CommandRequest = { type: "flow.run", payload: {}, acount_id: "a" };
  await rest.POST("/v1/commands", { body: misspelt });
  // @ts-expect-error a priority is a number
  await rest.POST("/v1/commands", { body: { ...request("k", 1), priority: "high" } });
  // @ts-expect-error no parameter is called this
  await rest.GET("/v1/commands", { params: { query: { acount: "a" } } });
  // @ts-expect-error an id is needed
  await rest.GET("/v1/commands/{id}", {});
  // @ts-expect-error there is no such path
  await rest.GET("/v1/command");
  // @ts-expect-error a command is never deleted
  await rest.DELETE("/v1/commands/{id}", { params: { path: { id: "x" } } });
  const { data } = await rest.GET("/v1/commands");
  // @ts-expect-error an item has no such field
  data?.items[0]?.command;
}

async function submit(): Promise<string> {
  const first = await rest.POST("/v1/commands", { body: request(`${run}-1`, steps) });
  same("a command is accepted with 202", first.response.status, 202);
  holds("and its id is told", first.data !== undefined && "command_id" in first.data, first.error);
  const id = first.data.command_id;
  same("`Location` is the command's own link", first.response.headers.get("location"), first.data.links.self);
  same("the first answer is no replay", first.response.headers.get("idempotent-replayed"), null);

  const again = await rest.POST("/v1/commands", { body: request(`${run}-1`, steps) });
  same("the same key and content is answered with 202", again.response.status, 202);
  same("and is the same command", again.data && "command_id" in again.data && again.data.command_id, id);
  same("and says so", again.response.headers.get("idempotent-replayed"), "true");
  const { idempotency_key: key, ...keyless } = request(`${run}-1`, steps);
  const header = await rest.POST("/v1/commands", { params: { header: { "Idempotency-Key": key } }, body: keyless });
  same("a key in the header is the same key", header.data && "command_id" in header.data && header.data.command_id, id);

  const other = await rest.POST("/v1/commands", { body: request(`${run}-1`, steps + 1) });
  same("the same key with other content is refused with 409", other.response.status, 409);
  same("as a problem", other.response.headers.get("content-type"), "application/problem+json");
  same("with its code", other.error?.code, "idempotency_mismatch");
  same("and the command whose key it is", other.error?.command_id, id);
  return id;
}

async function read(id: string): Promise<void> {
  const command = await ended(id);
  same("the command succeeds", command.status, "SUCCEEDED");
  same("with its result", command.result, { steps });
  const path = { id };
  const stepList = await rest.GET("/v1/commands/{id}/steps", { params: { path } });
  const keys = stepList.data?.items.map(({ key, state }) => [key, state]);
  same("its steps are listed", keys, [["step[1]", "succeeded"], ["step[2]", "succeeded"], ["step[3]", "succeeded"]]);
  const actions = await rest.GET("/v1/commands/{id}/actions", { params: { path } });
  same("it has no actions", actions.data?.items, []);
  const eventList = await rest.GET("/v1/commands/{id}/events", { params: { path } });
  const types = eventList.data?.items.map((event) => event.type) ?? [];
  const wanted = ["status.changed", "status.changed", ...Array(steps).fill("step.succeeded"), "status.changed"];
  sameList("its events are listed in their order", types, wanted);
  holds("each about it", eventList.data?.items.every((event) => event.subject === id) === true);
  for (const list of ["gates", "artifacts"] as const) {
    const none = await rest.GET(`/v1/commands/{id}/${list}`, { params: { path } });
    same(`it has no ${list}`, none.data?.items, []);
  }
}

/** One effect through the API lane, so that an action and its artifacts are read, too. */
async function publish(): Promise<void> {
  const inputs = { caption: `published by ${run}`, reference: run };
  const body = { type: "flow.run", account_id: account, payload: { workflow_name: "demo.http_publish", inputs } };
  const accepted = await rest.POST("/v1/commands", { body });
  holds("a publication is accepted", accepted.data !== undefined && "command_id" in accepted.data, accepted.error);
  const id = accepted.data.command_id;
  same("it succeeds", (await ended(id)).status, "SUCCEEDED");
  const own = await rest.GET("/v1/commands/{id}/actions", { params: { path: { id } } });
  same("by one action", own.data?.items.length, 1);
  const action = own.data?.items[0];
  const known = await rest.GET("/v1/actions", { params: { query: { command_id: id } } });
  same("which is in the list of all actions", known.data?.items, [action]);
  const stepList = await rest.GET("/v1/commands/{id}/steps", { params: { path: { id } } });
  holds("it did so in a step", (stepList.data?.items ?? []).some((step) => step.kind === "effect"));
}

/** What is done to a command under way: a signal, a cancellation, a decision. */
async function act(): Promise<void> {
  const started = async (payload: CommandRequest["payload"]): Promise<string> => {
    const { data, error } = await rest.POST("/v1/commands", { body: { type: "flow.run", account_id: account, payload } });
    holds("a command that will wait is accepted", data !== undefined && "command_id" in data, error);
    return data.command_id;
  };
  const waits = { workflow_name: "bench.steps", inputs: { steps: 1, wait_signal: true } };
  const [signalled, cancelled] = [await started(waits), await started(waits)];
  const path = { id: signalled, name: "go" };
  const signal = await rest.POST("/v1/commands/{id}/signals/{name}", { params: { path }, body: { payload: {} } });
  same("a signal is taken for its command", [signal.response.status, signal.data?.command_id], [202, signalled]);
  same("which goes on", (await ended(signalled)).status, "SUCCEEDED");
  const cancel = await rest.POST("/v1/commands/{id}/cancel", { params: { path: { id: cancelled } } });
  holds("a cancellation without a body is taken", [200, 202].includes(cancel.response.status), cancel.error);
  same("and ends its command", (await ended(cancelled)).status, "CANCELLED");

  const human = { reason: "a client asks", shown: { of: run } };
  const steps = [{ id: "approval", phase: "decide", human }];
  const asks = await started({ flow: { name: "clients.ask", version: "1", platform: "demo", lane: "api", steps }, inputs: {} });
  const gate = await eventually("its gate is open", async () => {
    const { data } = await rest.GET("/v1/gates", { params: { query: { command_id: asks, state: "open" } } });
    return data?.items[0];
  });
  same("its gate shows what the flow shows", gate.shown, human.shown);
  const at = { params: { path: { id: gate.gate_id } } };
  const decided = await rest.POST("/v1/gates/{id}/decisions", { ...at, body: { decision: "approve", comment: "yes" } });
  same("the gate is decided", decided.data?.state, "approved");
  same("as reading it shows", (await rest.GET("/v1/gates/{id}", at)).data, decided.data);
  const late = await rest.POST("/v1/gates/{id}/decisions", { ...at, body: { decision: "reject" } });
  same("a second decision is a conflict", late.response.status, 409);
  same("and the command goes on", (await ended(asks)).status, "SUCCEEDED");
}

async function tokens(): Promise<void> {
  const scopes: ["commands:read"] = ["commands:read"];
  const created = await rest.POST("/v1/tokens", { body: { client_id: "demo", name: run, scopes } });
  holds("a token is created", created.data !== undefined, created.error);
  const { token_id: id, token } = created.data;
  const headers = { authorization: `Bearer ${token}` };
  same("it may do what its scope says", (await rest.GET("/v1/commands", { headers })).response.status, 200);
  const beyond = await rest.POST("/v1/commands", { headers, body: request("beyond", 1) });
  same("and nothing more", [beyond.response.status, beyond.error?.code], [403, "scope_missing"]);
  const rotated = await rest.POST("/v1/tokens/{id}/rotate", { params: { path: { id } } });
  holds("it is rotated", rotated.data !== undefined, rotated.error);
  for (const one of [id, rotated.data.token_id]) {
    const revoked = await rest.DELETE("/v1/tokens/{id}", { params: { path: { id: one } } });
    same("it is revoked", revoked.response.status, 204);
  }
  same("and good for nothing", (await rest.GET("/v1/commands", { headers })).response.status, 401);
}

async function list(first: string): Promise<void> {
  const ids = [first];
  for (let n = 2; n <= 5; n += 1) {
    const { data } = await rest.POST("/v1/commands", { body: request(`${run}-${n}`, 1) });
    holds(`command ${n} is accepted`, data !== undefined && "command_id" in data);
    ids.push(data.command_id);
  }
  for (const id of ids) {
    await ended(id);
  }
  const query = { correlation_id: run, state: "SUCCEEDED", type: "flow.run", account_id: account, limit: 2 };
  const seen: string[] = [];
  let pages = 0;
  for (let after: string | undefined; ; pages += 1) {
    const page = await rest.GET("/v1/commands", { params: { query: { ...query, ...(after && { after }) } } });
    holds(`page ${pages + 1} of the filtered list has at most 2 commands`, (page.data?.items.length ?? 9) <= 2);
    seen.push(...(page.data?.items ?? []).map((command) => command.command_id));
    const link = page.response.headers.get("link");
    const next = page.data?.next_cursor ?? undefined;
    same("its `Link` says what its cursor says", link?.includes(`after=${next}`) ?? false, next !== undefined);
    if (next === undefined) {
      break;
    }
    after = next;
  }
  sameList("the pages together are the commands, newest first, each once", seen, [...ids].reverse());
  const failed = await rest.GET("/v1/commands", { params: { query: { ...query, state: "FAILED,CANCELLED" } } });
  same("another state has none of them", failed.data?.items, []);
  const whole = await events({ account_id: account });
  sameList("events come in the same order page by page", await events({ account_id: account }, 3), whole);
}

async function refusals(): Promise<void> {
  const nobody = "01900000-0000-7000-8000-000000000000";
  const unknown = await rest.GET("/v1/commands/{id}", { params: { path: { id: nobody } } });
  same("an unknown command is 404", [unknown.response.status, unknown.error?.code], [404, "not_found"]);
  const unfit = await rest.POST("/v1/commands", { body: { ...request("x", 1), priority: 12 } });
  const where = unfit.error && "errors" in unfit.error ? unfit.error.errors?.map((error) => error.pointer) : undefined;
  same("what does not fit is 400 and pointed at", [unfit.response.status, where], [400, ["/priority"]]);
  for (const limit of [0, 201]) {
    const { response } = await rest.GET("/v1/commands", { params: { query: { limit } } });
    same(`a page of ${limit} is refused`, response.status, 400);
  }
  const stranger = await rest.GET("/v1/commands", { headers: { authorization: "Bearer nobody" } });
  same("a token that is none is 401", stranger.response.status, 401);
  const dry = await rest.POST("/v1/commands", { body: { ...request(`${run}-dry`, 1), dry_run: true } });
  same("a dry run is 200 and accepts nothing", [dry.response.status, dry.data], [200, { valid: true }]);
}

/** Everything that is only read and needs nothing first: its answer has to be as the document says. */
async function look(): Promise<void> {
  for (const path of ["/health", "/ready", "/problems", "/metrics", "/config/validate"] as const) {
    same(`${path} answers`, (await rest.GET(path, { parseAs: "text" })).response.status, 200);
  }
  const json = { accept: "application/json" };
  const pages = await rest.GET("/problems", { headers: json });
  holds("the pages of problems are a list, too", typeof pages.data === "object" && pages.data.items.length > 10);
  for (const path of ["/v1/actions", "/v1/events", "/v1/gates", "/v1/tokens", "/v1/workflows", "/v1/schemas"] as const) {
    same(`${path} answers`, (await rest.GET(path)).response.status, 200);
  }
  const params = { path: { name: "demo.http_publish" } };
  same("a workflow is described", (await rest.GET("/v1/workflows/{name}", { params })).response.status, 200);
  same("a ticket is sold", (await rest.POST("/v1/ws-tickets")).response.status, 201);
}

const id = await submit();
await read(id);
await publish();
await act();
await tokens();
await list(id);
await refusals();
await look();
holds(`each of ${answered.size} kinds of answers was as the document says`, answered.size >= 25, [...answered]);
finish("openapi");
