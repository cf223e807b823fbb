// Drives GraphQL: the schema as the server tells it, queries and mutations over HTTP, and the subscription through
// graphql-ws on a line that is cut again and again. The client's own retrying is used as it comes; what it is told
// in addition is only the cursor of the last event.

import { setTimeout as pause } from "node:timers/promises";
import { readFileSync } from "node:fs";
import {
  buildClientSchema, buildSchema, getIntrospectionQuery, lexicographicSortSchema, parse, printSchema, validate,
  type IntrospectionQuery,
} from "graphql";
import { serverAudits } from "graphql-http";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";
import WebSocket from "ws";
import { finish, holds, same, sameList } from "./assertion.js";
import { Chance } from "./chance.js";
import { Relay } from "./relay.js";
import { events as pages, rest, type Event } from "./rest.js";
import { control, eventually, run, token } from "./server.js";

const CUTS = 120;
const UNDER_WAY = 5;
const account = `graphql-${run}`;
const chance = Chance.ofEnvironment();

// What the server answers is checked by value below; its types are those of the schema, which is checked, too.
type Data = any;

async function post(query: string, variables: object = {}): Promise<{ data?: Data; errors?: Data[] }> {
  const response = await fetch(`${control}/graphql`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/graphql-response+json, application/json;q=0.9",
    },
    body: JSON.stringify({ query, variables }),
  });
  return (await response.json()) as { data?: Data; errors?: Data[] };
}

const introspected = await post(getIntrospectionQuery({ specifiedByUrl: true, inputValueDeprecation: true }));
holds("the server answers the introspection of graphql-js", introspected.data != null, introspected.errors);
const schema = buildClientSchema(introspected.data as IntrospectionQuery);
const sdl = readFileSync(new URL("../../../../graphql/schema.graphql", import.meta.url), "utf8");
const [told, written] = [schema, buildSchema(sdl)].map((one) => printSchema(lexicographicSortSchema(one)).split("\n"));
sameList("a client schema is built from it, and is graphql/schema.graphql, line by line", told ?? [], written ?? []);

/** Asks over HTTP what is valid for the client. */
async function ask(query: string, variables: object = {}): Promise<Data> {
  const invalid = validate(schema, parse(query));
  const { data, errors } = invalid.length > 0 ? { data: undefined, errors: invalid } : await post(query, variables);
  if (errors !== undefined) {
    throw new Error(`${query} ${JSON.stringify(variables)} is refused: ${JSON.stringify(errors)}`);
  }
  return data;
}

const FIELDS = `id cursor type time severity clientId subject accountId sessionId correlationId traceparent data
  command { id }`;
const SUBMIT = `mutation($input: SubmitCommandInput!) {
  submitCommand(input: $input) { commandId replayed status command { id status } } }`;
const SUBSCRIBE = `subscription($filter: EventFilter, $after: String) {
  events(filter: $filter, after: $after) { ${FIELDS} } }`;
const COMMAND = `query($id: ID!) { command(id: $id) { id status result accountId
  steps(first: 20) { edges { node { key kind state output attemptCount } } pageInfo { hasNextPage } } } }`;
// A page of fifty: more would weigh more than one query may (docs/graphql.md).
const PAGE = `query($filter: EventFilter, $after: String) {
  events(first: 50, filter: $filter, after: $after) {
    edges { node { ${FIELDS} } } pageInfo { hasNextPage endCursor } } }`;

function input(key: string, steps: number, accountId = account) {
  const payload = { workflow_name: "bench.steps", inputs: { steps } };
  return { type: "flow.run", accountId, correlationId: run, idempotencyKey: `${run}-${key}`, payload };
}

/** An event of REST as GraphQL tells it. */
function asTold(event: Event) {
  const { id, cursor, type, time, data, subject = null } = event;
  const { clientid: clientId, accountid: accountId = null, sessionid: sessionId = null } = event;
  const { correlationid: correlationId = null, traceparent = null } = event;
  const command = subject === null ? null : { id: subject };
  const severity = event.severity.toUpperCase();
  const about = { clientId, subject, accountId, sessionId, correlationId, traceparent, command };
  return { id, cursor, type, time, severity, ...about, data };
}

async function ended(id: string): Promise<Data> {
  return await eventually(`command ${id} ends`, async () => {
    const { command } = await ask(COMMAND, { id });
    return ["SUCCEEDED", "FAILED", "CANCELLED"].includes(command.status) ? command : undefined;
  });
}

function client(address: string, of = token): Client {
  return createClient({
    url: `ws://${address}/graphql/ws`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${of}` },
    retryAttempts: Number.MAX_SAFE_INTEGER,
    retryWait: () => pause(chance.between(0, 30)),
    // A line that breaks in the handshake is an error and no close, and is tried again, too. Whether who is
    // forbidden tries again is left to us by the client, which ends by itself only on the other closes of 44xx.
    shouldRetry: (why) => (why as { code?: number }).code !== 4403,
    keepAlive: 200,
  });
}

/** Follows events, from one cut to the next, and keeps what it heard. */
class Follower {
  readonly heard: Data[] = [];
  private readonly variables: { filter: object; after: string };

  constructor(to: Client, readonly filter: object, after: string) {
    this.variables = { filter, after };
    to.subscribe<{ events: Data }>(
      // The client sends this again after each cut; the cursor in it is the place to go on from.
      { query: SUBSCRIBE, variables: this.variables as unknown as Record<string, unknown> },
      {
        next: ({ data, errors }) => {
          if (data == null || errors !== undefined) {
            throw new Error(`an event was refused: ${JSON.stringify(errors)}`);
          }
          this.heard.push(data.events);
          this.variables.after = data.events.cursor;
        },
        error: (error) => holds("the subscription goes on", false, String((error as Data)?.reason ?? error)),
        complete: () => holds("the subscription goes on", false, "it is complete"),
      },
    );
  }
}

/** An operation with one result. A cut before its end sends it again, and then both results must agree. */
async function once(to: Client, payload: SubscribePayload): Promise<Data[]> {
  const results: Data[] = [];
  await new Promise<void>((done, failed) => {
    to.subscribe(payload, { next: (result) => void results.push(result), error: failed, complete: done });
  });
  return results;
}

async function simple(): Promise<void> {
  const { submitCommand: first } = await ask(SUBMIT, { input: input("one", 3) });
  holds("submitCommand answers a command", typeof first.commandId === "string" && !first.replayed, first);
  const { submitCommand: again } = await ask(SUBMIT, { input: input("one", 3) });
  same("the same key and content is the same command", [again.commandId, again.replayed], [first.commandId, true]);
  const other = await post(SUBMIT, { input: input("one", 4) });
  same("the same key with other content is refused", other.errors?.[0]?.extensions?.code, "idempotency_mismatch");
  same("with the status that REST would have", other.errors?.[0]?.extensions?.status, 409);
  const command = await ended(first.commandId);
  same("command(id) shows its end", [command.status, command.result], ["SUCCEEDED", { steps: 3 }]);
  const steps = command.steps.edges.map(({ node }: Data) => [node.key, node.state, node.attemptCount]);
  const wanted = [1, 2, 3].map((n) => [`step[${n}]`, "SUCCEEDED", 1]);
  same("and its steps", steps, wanted);
  const params = { path: { id: first.commandId } };
  const read = await rest.GET("/v1/commands/{id}/steps", { params });
  same("with the results that REST shows", command.steps.edges.map(({ node }: Data) => node.output),
    read.data?.items.map((step) => step.output));
}

async function decide(): Promise<void> {
  const human = { reason: "a client asks", shown: { of: run } };
  const steps = [{ id: "approval", phase: "decide", human }];
  const payload = { flow: { name: "clients.ask", version: "1", platform: "demo", lane: "api", steps }, inputs: {} };
  const { submitCommand } = await ask(SUBMIT, { input: { ...input("ask", 0), payload } });
  const query = `query($id: ID!) { gates(filter: {commandId: $id, states: [OPEN]}) { edges { node { id shown } } } }`;
  const gate = await eventually("its gate is open", async () => {
    const { gates } = await ask(query, { id: submitCommand.commandId });
    return gates.edges[0]?.node;
  });
  same("a gate shows what the flow shows", gate.shown, human.shown);
  const mutation = `mutation($id: ID!) { decideGate(id: $id, decision: REJECT, comment: "no") { gate { state } } }`;
  same("it is decided", (await ask(mutation, { id: gate.id })).decideGate.gate.state, "REJECTED");
  const late = await post(mutation, { id: gate.id });
  same("once", late.errors?.[0]?.extensions?.code, "gate_decided");
  await ended(submitCommand.commandId);
}

async function strangers(): Promise<void> {
  const address = new URL(control).host;
  const closed = await once(client(address, "nobody"), { query: "{ __typename }" }).catch((error) => error);
  same("who is nobody is closed with 4403", closed.code, 4403);
  const to = client(address);
  const errors = await once(to, { query: SUBSCRIBE, variables: { after: "x" } }).catch((error) => error);
  same("a cursor that is none is an error of its operation", errors[0]?.extensions?.code, "cursor_invalid");
  const answers = await once(to, { query: "{ __typename }" });
  same("and the connection goes on", answers, [{ data: { __typename: "Query" } }]);
  await to.dispose();
}

/** The rules of GraphQL over HTTP, each tried by those who wrote them down. */
async function audits(): Promise<void> {
  const known: typeof fetch = (url, init) =>
    fetch(url, { ...init, headers: { ...(init?.headers as Record<string, string>), authorization: `Bearer ${token}` } });
  for (const audit of serverAudits({ url: `${control}/graphql`, fetchFn: known })) {
    const result = await audit.fn();
    holds(`GraphQL over HTTP: ${audit.name}`, result.status === "ok", "reason" in result ? result.reason : undefined);
  }
}

/** Submits over the line that breaks until it has broken often enough; answers how many commands there are. */
async function submitUntilCut(to: Client, relay: Relay): Promise<number> {
  let count = 0;
  let again = 0;
  const deadline = performance.now() + 120_000;
  while (relay.cuts < CUTS) {
    if (performance.now() > deadline) {
      throw new Error(`only ${relay.cuts} cuts in time`);
    }
    count += 1;
    // Some are about another account, which one of the followers must not hear of.
    const of = chance.oneIn(4) ? `${account}-other` : account;
    const variables = { input: input(`cut-${count}`, chance.between(1, 12), of) };
    const results = await once(to, { query: SUBMIT, variables });
    const ids = new Set(results.map((result) => result.data?.submitCommand.commandId));
    holds(`command ${count} is accepted as one, sent on a line that breaks`, ids.size === 1 && !ids.has(undefined), results);
    again += results.at(-1).data.submitCommand.replayed ? 1 : 0;
    if (count % UNDER_WAY === 0) {
      // Not more work than two cores do beside us.
      await ended([...ids][0]);
    }
  }
  holds(`${relay.cuts} lines were cut, ${relay.inside} of them in what the server said`, relay.inside > CUTS / 4);
  console.log(`        ${again} of ${count} submissions were sent again because of it`);
  return count;
}

async function throughGraphql(filter: object, start: string): Promise<Data[]> {
  const all: Data[] = [];
  for (let after = start; ; ) {
    const { events: page } = await ask(PAGE, { filter, after });
    all.push(...page.edges.map((edge: Data) => edge.node));
    if (!page.pageInfo.hasNextPage) {
      return all;
    }
    after = page.pageInfo.endCursor;
  }
}

async function cut(): Promise<void> {
  const start = (await pages({})).at(-1)?.cursor;
  holds("there are events to begin behind", start !== undefined);
  const relay = await Relay.to(control, chance);
  const to = client(relay.address);
  const followers = {
    everything: { follower: new Follower(to, {}, start), query: {} },
    "an account's": { follower: new Follower(to, { accountId: account }, start), query: { account_id: account } },
    "changes of status": {
      follower: new Follower(to, { accountId: account, types: ["status.changed"] }, start),
      query: { account_id: account, type: "status.changed" },
    },
  };
  const count = await submitUntilCut(to, relay);
  relay.hold();
  // The last command's last event comes behind whatever might still be on its way.
  const last = await ask(SUBMIT, { input: input("last", 1) });
  await ended(last.submitCommand.commandId);
  const query = `query($after: String) { commands(first: 200, after: $after, filter: {correlationId: "${run}"}) {
    edges { node { id status idempotencyKey } } pageInfo { hasNextPage endCursor } } }`;
  const commands = await eventually("every command ends", async () => {
    const all: Data[] = [];
    for (let after = null; ; ) {
      const { commands: page } = await ask(query, { after });
      all.push(...page.edges.map((edge: Data) => edge.node));
      if (!page.pageInfo.hasNextPage) {
        const open = all.some((one) => !["SUCCEEDED", "FAILED", "CANCELLED"].includes(one.status));
        return open ? undefined : all;
      }
      after = page.pageInfo.endCursor;
    }
  });
  const sent = commands.filter((one: Data) => one.idempotencyKey.startsWith(`${run}-cut-`));
  same("however often each was sent, there are as many commands as keys", sent.length, count);
  for (const [name, { follower, query }] of Object.entries(followers)) {
    const listed = await pages({ ...query, after: start });
    const end = listed.at(-1)?.id;
    await eventually(`${name}: the last event is heard`, () => follower.heard.some((event) => event.id === end) || undefined);
    sameList(`${name}: each event was heard once, in order, as REST lists it`, follower.heard, listed.map(asTold));
    sameList(`${name}: pages of GraphQL are the same`, await throughGraphql(follower.filter, start), follower.heard);
  }
  relay.close();
}

await simple();
await decide();
await strangers();
await cut();
await audits();
finish("graphql");
