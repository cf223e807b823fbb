// Verifies a proof bundle of `fermata runs export` without Fermata and without a database: node verify.mjs BUNDLE [KEY...]
//
// Shares no code with the engine, and needs nothing but Node. KEYs are the public keys (base64url) that are trusted; without
// one, every key counts whose signature fits. Ends with 0 when everything holds, with 1 and a line for each thing otherwise.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

/** The states of the action machine, and where each may go (the safety document, section 3). */
const NEXT = {
  queued: ["preflight_passed", "blocked", "cancelled"],
  preflight_passed: ["identity_verified", "blocked", "cancelled"],
  identity_verified: ["attempted", "blocked", "cancelled"],
  // A resend keeps the state.
  attempted: ["attempted", "confirmed_success", "confirmed_failed", "unknown"],
  unknown: ["confirmed_success", "confirmed_failed", "postcheck_complete"],
  confirmed_success: ["postcheck_complete"],
  confirmed_failed: ["postcheck_complete"],
  postcheck_complete: [],
  blocked: [],
  cancelled: [],
};

const [file, ...trusted] = process.argv.slice(2);
if (!file) {
  console.error("usage: node verify.mjs BUNDLE [KEY...]");
  process.exit(2);
}
const bundle = JSON.parse(readFileSync(file, "utf8"));
const wrong = [];
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

/** JSON with sorted keys and without spaces (RFC 8785, as far as strings and whole numbers go). */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const fields = Object.keys(value).sort();
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

function headHolds(head) {
  const { signature, ...signed } = head;
  const id = sha256(Buffer.from(head.public_key, "base64url")).toString("hex").slice(0, 16);
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: head.public_key }, format: "jwk" });
  const holds = verify(null, Buffer.from(canonical(signed)), key, Buffer.from(signature, "base64url"));
  return holds && id === head.key_id && (trusted.length === 0 || trusted.includes(head.public_key));
}

if (bundle.format !== "fermata-proof-bundle/1") wrong.push(`this is no proof bundle: ${bundle.format}`);
if (bundle.unsealed !== 0) wrong.push(`${bundle.unsealed} rows are not under a signed head yet`);

const rows = [];
for (const segment of bundle.audit ?? []) {
  let link = Buffer.from(segment.before, "hex");
  let seq = segment.entries[0]?.seq - 1;
  for (const entry of segment.entries) {
    if (entry.seq !== seq + 1) wrong.push(`link ${entry.seq} follows link ${seq}`);
    seq = entry.seq;
    const leaf = entry.text === undefined ? Buffer.from(entry.leaf, "hex") : sha256(entry.text);
    link = sha256(link, leaf);
    if (entry.text !== undefined) rows.push(JSON.parse(entry.text));
  }
  const { head } = segment;
  if (!headHolds(head)) wrong.push(`the head at ${head.seq} is not signed by a trusted key`);
  if (head.client_id !== segment.client_id) wrong.push(`the head at ${head.seq} is of another client`);
  if (head.seq !== seq || head.hash !== link.toString("hex")) wrong.push(`the rows do not lead to the head at ${head.seq}`);
}

for (const row of rows) {
  if (row.client_id !== bundle.command.client_id) wrong.push(`row ${row.audit_event_id} is of another client`);
  if (row.command_id !== bundle.command.command_id) wrong.push(`row ${row.audit_event_id} is of another command`);
}

// Every action walked the machine, in one piece: no row of its way is left out.
const policies = new Set((bundle.policies ?? []).map((policy) => policy.hash));
for (const action of bundle.actions ?? []) {
  const mine = rows.filter((row) => row.action_id === action.action_id);
  const way = mine.filter((row) => NEXT[row.phase] !== undefined);
  if (way[0]?.phase !== "queued") wrong.push(`action ${action.action_id} does not begin as queued`);
  way.slice(1).forEach((row, n) => {
    if (!NEXT[way[n].phase].includes(row.phase)) {
      wrong.push(`action ${action.action_id} went from ${way[n].phase} to ${row.phase}`);
    }
  });
  if (way.at(-1)?.phase !== action.state) wrong.push(`action ${action.action_id} is ${action.state}, and its rows do not say so`);
  for (const row of mine) {
    const said = [row.body.request.safe_payload_hash, row.body.idempotency_key, row.body.policy_snapshot_id];
    const is = [action.payload_hash, action.idempotency_key, action.policy_hash];
    if (said.join() !== is.join()) wrong.push(`row ${row.audit_event_id} tells of another request`);
  }
  if (!policies.has(action.policy_hash)) wrong.push(`the policy of action ${action.action_id} is not in the bundle`);
}
const known = new Set((bundle.actions ?? []).map((action) => action.action_id));
for (const row of rows) {
  if (row.action_id !== null && !known.has(row.action_id)) wrong.push(`action ${row.action_id} is not in the bundle`);
}

wrong.forEach((line) => console.error(line));
const summary = { ok: wrong.length === 0, rows: rows.length, actions: known.size, wrong: wrong.length };
console.log(JSON.stringify(summary));
process.exit(wrong.length === 0 ? 0 : 1);
