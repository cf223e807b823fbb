//! A small world that writes trial folders: what happens in it is told as the engine would tell it.
//!
//! Each call is one committed record, ten milliseconds after the last one. The files are JSON
//! lines in memory; [`World::trial`] reads them as the program does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use fermata_checker::Trial;
use fermata_checker::rows::Dump;
use fermata_checker::stream::{Reader, cursor_at};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The tenant of the trial.
pub(crate) const CLIENT: &str = "t17";
/// The account that its effects are for.
pub(crate) const ACCOUNT: &str = "ada";
/// How long a call may take.
pub(crate) const CALL_MS: i64 = 100;
const TABLES: [&str; 12] = [
    "run",
    "live",
    "outcome",
    "step",
    "event",
    "audit",
    "action",
    "intent",
    "gate",
    "signal",
    "idempotency",
    "kill_switch",
];

/// Where a run stands.
#[derive(Default)]
struct Standing {
    epoch: i32,
    seq: i32,
    status: String,
}

/// The world.
pub(crate) struct World {
    files: BTreeMap<String, Vec<Value>>,
    runs: BTreeMap<String, Standing>,
    actions: BTreeMap<String, Value>,
    now: DateTime<Utc>,
    asked: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let files = TABLES.iter().map(|table| (format!("dump/{table}"), Vec::new())).collect();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Self { files, runs: BTreeMap::new(), actions: BTreeMap::new(), now, asked: 0 }
    }

    pub(crate) fn pass(&mut self, ms: i64) -> DateTime<Utc> {
        self.now += TimeDelta::milliseconds(ms);
        self.now
    }

    pub(crate) fn push(&mut self, file: &str, line: Value) {
        self.files.entry(file.to_owned()).or_default().push(line);
    }

    pub(crate) fn row(&mut self, table: &str, row: Value) {
        self.push(&format!("dump/{table}"), row);
    }

    pub(crate) fn event(&mut self, run: Option<&str>, kind: &str, data: &Value) -> i64 {
        let position = self.head("event") + 1;
        let row = json!({"position": position, "at": self.now, "client_id": CLIENT, "run_id": run, "type": kind,
            "severity": 1, "data": data});
        self.row("event", row);
        position
    }

    pub(crate) fn audit(&mut self, run: &str, action: Option<&str>, phase: &str) {
        let position = self.head("audit") + 1;
        let row = json!({"position": position, "at": self.now, "client_id": CLIENT, "run_id": run,
            "action_id": action, "actor": "fermata", "phase": phase, "body": {"n": position}});
        self.row("audit", row);
    }

    fn head(&self, table: &str) -> i64 {
        100 + i64::try_from(self.files[&format!("dump/{table}")].len()).unwrap()
    }

    /// One request of a client.
    #[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
    pub(crate) fn ask(&mut self, op: &str, result: &str, ask: Value, answer: Value) {
        self.asked += 1;
        let (sent_at, answered_at) = (self.pass(10), self.pass(10));
        let answered_at = (result != "unknown").then_some(answered_at);
        let status = if result == "fail" { json!(404) } else { Value::Null };
        self.push(
            "history",
            json!({"n": self.asked, "who": "c1", "via": "rest", "op": op, "sent_at": sent_at,
            "answered_at": answered_at, "result": result, "status": status, "ask": ask, "answer": answer}),
        );
    }

    pub(crate) fn submit(&mut self, run: &str, result: &str, key: Option<&str>, about: &Value) {
        let ask = json!({"client_id": CLIENT, "idempotency_key": key, "type": "flow.run",
            "payload": {"of": about}, "about": about});
        let answer = if result == "ok" { json!({"command_id": run, "status": "QUEUED"}) } else { Value::Null };
        self.ask("submit", result, ask, answer);
    }

    /// A command that was accepted.
    pub(crate) fn accept(&mut self, run: &str, key: Option<&str>, about: &Value) {
        let at = self.pass(10);
        self.row(
            "run",
            json!({"id": run, "client_id": CLIENT, "kind": "flow.run", "idempotency_key": key,
            "input": {"of": about}, "parent_id": null, "created_at": at}),
        );
        if let Some(key) = key {
            self.row("idempotency", json!({"client_id": CLIENT, "family": "commands", "key": key, "run_id": run}));
        }
        self.event(Some(run), "status.changed", &json!({"from": null, "to": "QUEUED"}));
        self.runs.insert(run.to_owned(), Standing { status: "QUEUED".to_owned(), ..Standing::default() });
    }

    /// A command that was submitted, acknowledged and claimed.
    pub(crate) fn begin(&mut self, run: &str, about: &Value) {
        self.accept(run, None, about);
        self.submit(run, "ok", None, about);
        self.claim(run);
    }

    fn change(&mut self, run: &str, to: &str, version: bool) {
        self.pass(10);
        let standing = self.runs.get_mut(run).unwrap();
        let from = std::mem::replace(&mut standing.status, to.to_owned());
        let mut data = json!({"from": from, "to": to});
        if version {
            standing.seq += 1;
            data["version"] = standing.seq.into();
        }
        self.event(Some(run), "status.changed", &data);
    }

    pub(crate) fn claim(&mut self, run: &str) {
        self.runs.get_mut(run).unwrap().epoch += 1;
        self.change(run, "RUNNING", false);
    }

    /// A claim of a run that is being cancelled.
    pub(crate) fn claim_for(&mut self, run: &str, status: &str) {
        self.runs.get_mut(run).unwrap().epoch += 1;
        self.change(run, status, false);
    }

    /// What the next change of status says that it leaves.
    pub(crate) fn status(&mut self, run: &str, status: &str) {
        status.clone_into(&mut self.runs.get_mut(run).unwrap().status);
    }

    /// The next record is written as if the last one never was.
    pub(crate) fn rewind(&mut self, run: &str) {
        self.runs.get_mut(run).unwrap().seq -= 1;
    }

    pub(crate) fn reap(&mut self, run: &str) {
        self.change(run, "QUEUED", false);
    }

    pub(crate) fn cancel(&mut self, run: &str, to: &str) {
        self.change(run, to, false);
    }

    pub(crate) fn wait(&mut self, run: &str, status: &str) {
        self.change(run, status, true);
    }

    pub(crate) fn live(&mut self, run: &str, state: i16, reason: Option<&str>) {
        let Standing { epoch, seq, .. } = self.runs[run];
        self.row(
            "live",
            json!({"id": run, "client_id": CLIENT, "state": state, "epoch": epoch, "seq": seq,
            "cancel": false, "wait_reason": reason}),
        );
    }

    pub(crate) fn finish(&mut self, run: &str, status: &str) {
        self.change(run, status, true);
        let (epoch, at) = (self.runs[run].epoch, self.now);
        self.row(
            "outcome",
            json!({"id": run, "client_id": CLIENT, "status": status, "epoch": epoch,
            "ended_at": at}),
        );
    }

    pub(crate) fn step(&mut self, run: &str, key: &str, kind: i16) {
        let (started_at, ended_at) = (self.now, self.pass(10));
        let standing = self.runs.get_mut(run).unwrap();
        standing.seq += 1;
        let Standing { epoch, seq, .. } = *standing;
        self.row(
            "step",
            json!({"run_id": run, "generation": 0, "key": key, "attempt": 1, "seq": seq,
            "epoch": epoch, "kind": kind, "output": {"ok": true}, "error": null, "started_at": started_at,
            "ended_at": ended_at}),
        );
        self.event(Some(run), "step.succeeded", &json!({"key": key, "attempt": 1}));
    }

    /// An action moves; its row, its event and its audit row move with it.
    pub(crate) fn moves(&mut self, run: &str, action: &str, state: &str, detail: &Value) {
        let epoch = self.runs[run].epoch;
        let row = self.actions.entry(action.to_owned()).or_insert_with(|| {
            json!({"id": action, "intent_id": format!("i-{run}"), "run_id": run, "client_id": CLIENT,
                "step_key": "publish", "account_id": ACCOUNT, "idempotency_key": format!("key-{run}"),
                "epoch": epoch, "call_deadline": null, "resends": 0, "effect": null, "receipt": null})
        });
        row["state"] = state.into();
        for field in ["effect", "receipt", "call_deadline"] {
            if let Some(value) = detail.get(field) {
                row[field] = value.clone();
            }
        }
        if state == "attempted" {
            row["epoch"] = epoch.into();
        }
        if detail.get("resend").is_some() {
            row["resends"] = json!(1);
        }
        let kind = match state {
            "attempted" => "action.attempted",
            "confirmed_success" | "confirmed_failed" | "unknown" => "action.verified",
            _ => "action.moved",
        };
        self.event(
            Some(run),
            kind,
            &json!({"action_id": action, "account_id": ACCOUNT, "status": state, "detail": detail}),
        );
        self.audit(run, Some(action), state);
    }

    /// A planned action.
    pub(crate) fn plan(&mut self, run: &str, action: &str) {
        self.pass(10);
        if !self.files["dump/intent"].iter().any(|intent| intent["id"] == format!("i-{run}")) {
            self.row("intent", json!({"id": format!("i-{run}"), "spec": {"visible_within_ms": 20}}));
        }
        self.runs.get_mut(run).unwrap().seq += 1;
        self.moves(run, action, "queued", &Value::Null);
        self.moves(run, action, "preflight_passed", &json!({"verdict": {}}));
    }

    /// The record before a call.
    pub(crate) fn attempt(&mut self, run: &str, action: &str) {
        let deadline = self.pass(10) + TimeDelta::milliseconds(CALL_MS);
        self.runs.get_mut(run).unwrap().seq += 1;
        self.moves(run, action, "identity_verified", &Value::Null);
        self.moves(run, action, "attempted", &json!({"call_deadline": deadline}));
    }

    /// The same call once more.
    pub(crate) fn resend(&mut self, run: &str, action: &str) {
        let deadline = self.pass(10) + TimeDelta::milliseconds(CALL_MS);
        self.runs.get_mut(run).unwrap().seq += 1;
        self.moves(run, action, "attempted", &json!({"call_deadline": deadline, "resend": true}));
    }

    /// What became of a call.
    pub(crate) fn outcome(&mut self, run: &str, action: &str, states: &[&str], detail: &Value) {
        self.pass(10);
        self.runs.get_mut(run).unwrap().seq += 1;
        for (n, state) in states.iter().enumerate() {
            self.moves(run, action, state, if n == 0 { detail } else { &Value::Null });
        }
    }

    /// The platform has it, and the step is done.
    pub(crate) fn confirm(&mut self, run: &str, action: &str) {
        let detail = json!({"effect": true, "receipt": {"id": run}, "level": 2, "looks": 0});
        self.outcome(run, action, &["confirmed_success", "postcheck_complete"], &detail);
        self.step(run, "publish", 5);
    }

    /// The platform applies the effect of a run.
    pub(crate) fn apply(&mut self, run: &str, reference: &str) {
        let (epoch, at, key) = (self.runs[run].epoch, self.pass(10), format!("key-{run}"));
        let seq = self.files.get("ledger").map_or(0, Vec::len) + 1;
        self.push(
            "ledger",
            json!({"seq": seq, "key": key, "kind": "post", "content_hash": "00", "time": at,
            "received": at, "account": ACCOUNT, "lane": "api", "id": seq.to_string(), "reference": reference,
            "idempotency_key": key, "fence": format!("{run}:{epoch}")}),
        );
    }

    /// A request for an effect reached the platform.
    pub(crate) fn call(&mut self, reference: &str) {
        self.push("calls", json!({"reference": reference, "received": self.now}));
    }

    /// A gate, opened and perhaps decided now.
    pub(crate) fn gate(&mut self, run: &str, key: &str, state: &str) {
        let at = self.pass(10);
        self.runs.get_mut(run).unwrap().seq += 1;
        let (decided_at, actor) = if state == "open" { (None, None) } else { (Some(at), Some("mia")) };
        self.row(
            "gate",
            json!({"id": format!("g-{run}-{key}"), "run_id": run, "client_id": CLIENT, "key": key,
            "state": state, "decided_at": decided_at, "actor": actor}),
        );
    }

    /// Ends the trial: the middle dump of the audit, two readers, and what the rig says of it all.
    pub(crate) fn end(&mut self) {
        for row in self.actions.values().cloned().collect::<Vec<_>>() {
            self.row("action", row);
        }
        let half = self.files["dump/audit"].iter().take(5).cloned().collect();
        self.files.insert("earlier/audit".to_owned(), half);
        self.read("all", None, 7);
        self.read("mine", Some(CLIENT), 1_000);
        for file in ["ledger", "calls"] {
            self.files.entry(file.to_owned()).or_default();
        }
        self.files.entry("history".to_owned()).or_default();
    }

    /// A reader that loses its connection after so many events.
    fn read(&mut self, name: &str, filter: Option<&str>, most: usize) {
        let file = format!("streams/{name}");
        let events = self.files["dump/event"].clone();
        let mut after = filter.is_none().then(|| cursor_at(100));
        for some in events.chunks(most) {
            self.push(
                &file,
                json!({"kind": "opened", "at": self.now, "via": "stream", "after": after, "client_id": filter}),
            );
            for row in some {
                let cursor = cursor_at(row["position"].as_i64().unwrap());
                let event = json!({"id": format!("e-{}", row["position"]), "type": row["type"],
                    "cursor": cursor, "subject": row["run_id"], "clientid": row["client_id"], "time": row["at"],
                    "data": row["data"]});
                self.push(&file, json!({"kind": "event", "at": self.now, "event": event}));
                after = Some(cursor);
            }
            self.push(&file, json!({"kind": "closed", "why": "cut"}));
        }
        let position = self.head("event");
        self.push(&file, json!({"kind": "reached", "position": position}));
    }

    fn facts(&self) -> Value {
        let window = |table: &str| json!({"after": 100, "upto": self.head(table)});
        json!({"seed": 7, "trial": 17, "fault": "random-kill", "clients": [CLIENT], "window": window("event"),
            "audit_window": window("audit"), "tolerance_ms": 2, "began_at": self.now, "calm_at": self.now,
            "ended_at": self.now})
    }

    fn lines<T: DeserializeOwned>(&self, file: &str) -> Vec<T> {
        self.files[file].iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect()
    }

    /// The trial, in memory.
    pub(crate) fn trial(&self) -> Trial {
        let reader = |name: &str| Reader { name: name.to_owned(), seen: self.lines(&format!("streams/{name}")) };
        Trial {
            facts: serde_json::from_value(self.facts()).unwrap(),
            history: self.lines("history"),
            ledger: self.lines("ledger"),
            calls: self.lines("calls"),
            dump: Dump {
                run: self.lines("dump/run"),
                live: self.lines("dump/live"),
                outcome: self.lines("dump/outcome"),
                step: self.lines("dump/step"),
                event: self.lines("dump/event"),
                audit: self.lines("dump/audit"),
                action: self.lines("dump/action"),
                intent: self.lines("dump/intent"),
                gate: self.lines("dump/gate"),
                signal: self.lines("dump/signal"),
                idempotency: self.lines("dump/idempotency"),
                kill_switch: self.lines("dump/kill_switch"),
            },
            earlier: self.lines("earlier/audit"),
            readers: vec![reader("all"), reader("mine")],
        }
    }

    /// The trial as a folder.
    pub(crate) fn write(&self, folder: &Path) {
        for (name, lines) in &self.files {
            let path = folder.join(format!("{name}.jsonl"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect::<String>())
                .unwrap();
        }
        fs::write(folder.join("trial.json"), self.facts().to_string()).unwrap();
    }
}
