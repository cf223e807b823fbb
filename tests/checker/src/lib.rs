//! The checker: judges from the outside whether a tortured Fermata kept its promises.
//!
//! It reads a *trial folder*, which the torture rig wrote, and decides the invariants I1 to I8 and
//! I11 of the founding design, section 1. It shares no code with the engine and knows its tables
//! and events only by their published shapes, so that it can be wrong where the engine is right,
//! but never wrong in the same way. It starts nothing, connects to nothing, and takes the folder's
//! word for the facts alone. I9, I10 and I12 are not its business.
//!
//! Read [`Trial`] and [`Verdict`] first. To add a rule, add it to its invariant's file under
//! `invariant/`, whose head states all rules of that invariant, and a law under `tests/laws/`.
//!
//! # The trial folder
//!
//! All files are JSON Lines but `trial.json`. Fields that are not named here are ignored. A missing
//! file is an error that names it, but for `streams/` and `earlier/`. Times are RFC 3339 with an
//! offset. An `ask` that does not have the shape of its `op` is an error too.
//!
//! ## `trial.json`
//!
//! `{"seed": u64, "trial": u64, "fault": "random-kill", "clients": ["t17"],
//! "window": {"after": i64, "upto": i64}, "audit_window": {"after": i64, "upto": i64},
//! "began_at": time, "calm_at": time, "ended_at": time, "tolerance_ms": u32,
//! "rations": {"concurrency": n, "max": n, "window_s": n, "min_s": n|null}|null}`
//!
//! `rations` is what the policy in force of all of them allowed each account, from the beginning to the end.
//! `clients` are the tenants whose runs belong to this trial, and to no other. Other tenants' rows
//! may be in the windows and count for their density alone. The windows are positions of the event
//! stream and of the audit, `after` excluded; they hold every event and audit row of the trial's
//! runs, from the first. `tolerance_ms` is how far the clocks of Postgres, the platform and the rig
//! may be apart; on one machine a few milliseconds.
//!
//! ## `history.jsonl`
//!
//! What the rig's clients asked and were told, one line a request: `{"n": u64, "who": "c1",
//! "via": "rest"|"graphql"|"stream"|"sql", "op": ..., "sent_at": time, "answered_at": time|null,
//! "result": "ok"|"fail"|"unknown", "status": u16|null, "ask": {...}, "answer": {...}|null}`.
//! `fail` is a refusal for good (a problem of 4xx), `unknown` is no answer, a 5xx or a timeout.
//! The ops, others being ignored:
//!
//! | op | ask | answer |
//! |---|---|---|
//! | `submit` | `{client_id, idempotency_key, type, payload, about}` | `{command_id}` |
//! | `read` | `{command_id}` | `{status}`: the command's, as REST writes it |
//! | `signal` | `{command_id, name, signal_id?}` | |
//! | `decide` | `{gate_id, command_id?, approve, repeat?}` | `{state}`: the gate's afterwards |
//! | `cancel` | `{command_id}` | |
//! | `trip` | `{scope}` | `{under_way: [{action_id}]}` |
//! | `lift` | `{scope}` | |
//! | `tamper` | `{statement, breaks?}` | |
//!
//! `scope` is the switch's name: `global`, `client:<client>` or `account:<client>/<account>`.
//! `tamper` is an UPDATE, DELETE or TRUNCATE of the audit, or an illegal transition with
//! `breaks: "I4"`, tried as the program's own database role; anything but `fail` is a violation.
//! A `read` of a command that is not there is `fail`, with status 404 or none.
//!
//! `about` says what the run is to do:
//! - `{"kind": "steps", "steps": n, "signal": bool}`: n rows in `step` without an error, whose keys
//!   differ, once it SUCCEEDED. All kinds of steps count but the one that waits for the signal.
//! - `{"kind": "publish", "reference": r, "honours_keys": bool, "absence":
//!   "conclusive"|"inconclusive", "gated": bool, "after": bool}`: the step `publish` has an effect
//!   that the platform knows by r; when gated the step `approval` opens a gate before it; when
//!   `after` the step `after` follows it. A key ends in these names (`scope/publish`, `publish#2`).
//!
//! ## `ledger.jsonl`
//!
//! What the platform really applied: `{seq, key, kind, content_hash, time, received?, account,
//! lane, id, reference, idempotency_key, fence}`, all lines of the trial's references. `fence` is
//! `<run>:<epoch>` as it came with the call, `null` when none came. `received` is when the request
//! arrived; where the platform applies late by itself (a delay, a queue) it must be there, for
//! `time` stands in for it.
//!
//! ## `calls.jsonl`
//!
//! Each request for an effect that reached the platform, whether it was applied or not: `{reference, received}`, all of the
//! trial's references.
//!
//! ## `dump/<table>.jsonl`
//!
//! For `run`, `live`, `outcome`, `step`, `event`, `audit`, `action`, `intent`, `gate`, `signal`,
//! `idempotency` and `kill_switch`: each row as `row_to_json` gives it. Of `event` and `audit` all
//! rows in the windows, of the others those of the trial's clients. A table without rows is an
//! empty file.
//!
//! ## `earlier/audit.jsonl`
//!
//! Optional: rows of the audit window as they were in the middle of the trial.
//!
//! ## `streams/<reader>.jsonl`
//!
//! One file a reader, over all its connections: `{"kind": "opened", "at": time, "via": ...,
//! "after": cursor|null, "client_id": filter|null}`, then `{"kind": "event", "at": time, "event":
//! {id, type, cursor, subject?, clientid, time, data, ...}}`, then `{"kind": "closed", "why": ...}`,
//! and again. Each connection resumes from the last cursor. `{"kind": "reached", "position": p}` at
//! the very end says that the reader had caught up to position p. A reader whose `client_id` is
//! `null` must be entitled to the events of every client.
//!
//! A cursor is base64url without padding of 13 bytes: form u8 = 1, epoch u32, position i64, both
//! big-endian.

mod dossier;
mod figures;
mod folder;
pub mod history;
mod invariant;
pub mod ledger;
mod report;
pub mod rows;
pub mod stream;
mod trial;
mod verdict;

pub use figures::Figures;
pub use folder::{ReadError, read};
pub use invariant::judge as check;
pub use report::Report;
pub use trial::{Facts, Rations, Trial, Window};
pub use verdict::{Invariant, MAX_LISTED, Verdict, Violation};
