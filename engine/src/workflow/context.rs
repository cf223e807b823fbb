//! What a workflow's code holds: the only way to the outside, to time, and to chance.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::parts::Parts;
use super::session::{Exit, Session};
use super::{Failure, StepBuilder};
use crate::artifact::ArtifactRef;
use crate::clock::Clock;
use crate::document;
use crate::effect::{Effect, Look, perform};
use crate::event::{Severity, name};
use crate::id::{ArtifactId, GateId, RunId, uuid_at};
use crate::rigged::crash_point;
use crate::step::{Begun, Kind};
use crate::store::record::StepRow;
use crate::wait::{GateDecision, GateRequest, Reason, Wait};

/// The hands of a run. Cheap to clone; a branch of a race gets one with a scope of its own.
#[derive(Clone)]
pub struct Context {
    pub(crate) session: Arc<Session>,
    pub(crate) scope: Arc<str>,
}

impl Context {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, scope: "".into() }
    }

    /// The run, which is also the command's id.
    pub fn run_id(&self) -> RunId {
        self.session.claim.run
    }

    /// The client that the run acts for.
    pub fn client_id(&self) -> &str {
        &self.session.claim.client
    }

    /// The account named by the command.
    pub fn account_id(&self) -> Option<&str> {
        self.session.claim.account_id.as_deref()
    }

    /// The W3C trace id of the command.
    pub fn trace_id(&self) -> &str {
        &self.session.claim.trace_id
    }

    /// For waiting and deadlines inside of step bodies. Not for decisions of the workflow: those
    /// take [`Context::now`].
    pub fn clock(&self) -> &Clock {
        self.session.clock()
    }

    /// What read-only work, and a browser session, may know of the run.
    pub fn look(&self) -> Look {
        let claim = &self.session.claim;
        Look {
            run_id: claim.run,
            client_id: claim.client.to_string(),
            action_id: None,
            idempotency_key: String::new(),
            epoch: claim.epoch,
            fence: format!("{}:{}", claim.run, claim.epoch),
            trace: self.session.trace.command(),
            now: self.clock().now(),
        }
    }

    /// A step; see [`StepBuilder::run`].
    pub fn step(&self, name: &str) -> StepBuilder<'_> {
        StepBuilder::new(self, name)
    }

    /// Records a value that costs nothing to make and touches nothing outside. Returns at once:
    /// it is durable before anything else of this run happens (the law of design section 4).
    pub async fn pure<T>(&self, name: &str, make: impl FnOnce() -> T) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
    {
        let (begun, _flight) = self.session.begin(&scoped(self, name), None, Kind::Pure, "").await?;
        if let Some(output) = begun.output {
            return decode(output);
        }
        let value = make();
        let json = serde_json::to_value(&value).map_err(|error| Failure::new("output_not_json", error.to_string()))?;
        document::check(&json).map_err(|error| Failure::new("output_unstorable", error.to_string()))?;
        self.session.ride(Parts { steps: vec![self.checkpoint(&begun, Kind::Pure, "", &json)], ..Parts::default() });
        Ok(value)
    }

    /// The time, recorded.
    pub async fn now(&self) -> Result<DateTime<Utc>, Failure> {
        self.pure("@now", || self.clock().now()).await
    }

    /// A random number, recorded.
    pub async fn random(&self) -> Result<u64, Failure> {
        self.pure("@random", rand::random).await
    }

    /// A new id, recorded.
    pub async fn id(&self) -> Result<Uuid, Failure> {
        self.pure("@id", || uuid_at(self.clock().now())).await
    }

    /// Waits durably. The time is kept, so a restart neither shortens nor lengthens it.
    pub async fn sleep(&self, name: &str, time: Duration) -> Result<(), Failure> {
        let hash = time.as_millis().to_string();
        let (begun, _flight) = self.session.begin(&scoped(self, name), None, Kind::Sleep, &hash).await?;
        let due = if let Some(output) = &begun.output {
            decode(output.clone())?
        } else {
            let due = self.clock().now() + time;
            let row = self.checkpoint(&begun, Kind::Sleep, &hash, &json!(due));
            self.session.ride(Parts { steps: vec![row], ..Parts::default() });
            due
        };
        self.wait_until(due, Reason::Timer).await;
        Ok(())
    }

    pub(crate) async fn wait_until(&self, due: DateTime<Utc>, reason: Reason) {
        while self.clock().now() < due {
            self.session.wait(Wait::new(reason, Some(due))).await;
        }
    }

    /// Waits for a signal of that name; one that came earlier is found.
    pub async fn wait_signal<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        let (begun, _flight) = self.session.begin(&scoped(self, name), None, Kind::Signal, "").await?;
        if let Some(output) = begun.output {
            return decode(output);
        }
        loop {
            let taken = self.session.state().mailbox.take_signal(name);
            let Some((id, payload)) = taken else {
                self.session.wait(Wait::new(Reason::Signal, None)).await;
                continue;
            };
            let parts = Parts::default()
                .step(self.checkpoint(&begun, Kind::Signal, "", &payload))
                .rare(json!({"op": "consume", "signal_id": id, "key": begun.key}));
            self.session.found(parts).await;
            return decode(payload);
        }
    }

    /// Asks a person and waits for the answer.
    pub async fn gate(&self, name: &str, request: GateRequest) -> Result<GateDecision, Failure> {
        self.gate_at(&scoped(self, name), request).await
    }

    pub(crate) async fn gate_at(&self, name: &str, request: GateRequest) -> Result<GateDecision, Failure> {
        let hash = document::fingerprint(&json!([request.kind.as_str(), request.reason, request.shown]));
        let (begun, _flight) = self.session.begin(name, None, Kind::Gate, &hash).await?;
        if let Some(output) = begun.output {
            return decode(output);
        }
        loop {
            let gate = self.session.state().mailbox.gate(&begun.key).cloned();
            let Some(gate) = gate else {
                self.open_gate(&begun.key, &request).await;
                continue;
            };
            if let Some(decision) = gate.decision() {
                let row = self.checkpoint(&begun, Kind::Gate, &hash, &json!(decision));
                self.session.found(Parts::default().step(row)).await;
                return Ok(decision);
            }
            if gate.state != "open" || gate.expires_at.is_some_and(|at| at <= self.clock().now()) {
                let close = json!({"op": "close_gate", "gate_id": gate.id, "state": "expired", "actor": "fermata"});
                let event = json!({"gate_id": gate.id, "state": "expired"});
                self.session
                    .write(Parts::default().rare(close).event(name::GATE_RESOLVED, Severity::Warn, &event))
                    .await;
                return Err(Failure::new("gate_expired", format!("nobody decided `{}` in time", request.reason)));
            }
            self.session.wait(Wait::new(reason_of(&request), gate.expires_at)).await;
        }
    }

    /// Opens a gate and tells everyone who follows the stream.
    pub(crate) async fn open_gate(&self, key: &str, request: &GateRequest) {
        let id = GateId::new(self.clock());
        let expires_at = request.expires_in.map(|time| self.clock().now() + time);
        crash_point!("gate-before-open");
        self.session.write(gate_parts(&self.session, id, key, request, expires_at)).await;
        self.session.state().mailbox.opened(key, id, expires_at);
    }

    /// Changes the outside world, at most once (design, section 5): returns the receipt of the
    /// confirmed effect, now or as it was confirmed before.
    pub async fn effect(&self, name: &str, effect: &dyn Effect) -> Result<Value, Failure> {
        perform(self, &scoped(self, name), effect).await
    }

    /// Keeps bytes as an artifact of this run. Content-addressed: the same bytes are kept once.
    pub async fn artifact(&self, kind: &str, content_type: &str, bytes: Vec<u8>) -> Result<ArtifactRef, Failure> {
        let _active = self.session.active();
        let size = bytes.len();
        let checksum =
            self.session.host.artifacts.keep(bytes).await.map_err(|error| {
                Failure::new("artifact_not_kept", format!("the artifact could not be kept: {error}"))
            })?;
        let kept = ArtifactRef { id: ArtifactId::new(self.clock()), checksum, bytes: size };
        let part = json!({
            "op": "artifact", "artifact_id": kept.id, "client_id": self.client_id(), "run_id": self.run_id(),
            "kind": kind, "content_type": content_type, "checksum": kept.checksum, "bytes": size,
        });
        let event = json!({"artifact_id": kept.id, "type": kind, "checksum": kept.checksum, "bytes": size});
        self.session.ride(Parts::default().rare(part).event(name::ARTIFACT_CAPTURED, Severity::Info, &event));
        Ok(kept)
    }

    /// Goes on under the same command with a fresh record and another input. Never returns.
    pub async fn continue_as_new(&self, input: Value) -> Infallible {
        let part = json!({"op": "renew", "run_id": self.run_id(), "input": input});
        self.session.write(Parts::default().rare(part)).await;
        self.session.leave(Exit::Renewed).await
    }

    pub(crate) fn checkpoint(&self, begun: &Begun, kind: Kind, hash: &str, output: &Value) -> StepRow {
        StepRow {
            key: begun.key.clone(),
            attempt: u16::try_from(begun.failed.len() + 1).unwrap_or(u16::MAX),
            kind: kind.into(),
            beside: begun.beside,
            input_hash: hash.into(),
            output: Some(document::raw(output)),
            error: None,
            started_at: self.clock().now(),
        }
    }
}

/// The parts of a record that open a gate.
pub(crate) fn gate_parts(
    session: &Session,
    id: GateId,
    key: &str,
    request: &GateRequest,
    expires_at: Option<DateTime<Utc>>,
) -> Parts {
    let claim = &session.claim;
    let part = json!({
        "op": "gate", "gate_id": id, "run_id": claim.run, "client_id": &*claim.client, "key": key,
        "generation": claim.generation, "kind": request.kind.as_str(), "reason": request.reason,
        "shown": request.shown, "expires_at": expires_at,
    });
    let event = json!({
        "gate_id": id, "kind": request.kind.as_str(), "reason": request.reason, "expires_at": expires_at,
        "url": format!("/v1/gates/{id}"),
    });
    Parts::default().rare(part).event(name::HUMAN_REQUIRED, Severity::Warn, &event)
}

fn reason_of(request: &GateRequest) -> Reason {
    match request.kind {
        crate::wait::GateKind::Approval => Reason::Approval,
        crate::wait::GateKind::Takeover => Reason::Takeover,
    }
}

/// A name within the context's scope.
pub(crate) fn scoped(context: &Context, name: &str) -> String {
    if context.scope.is_empty() { name.to_owned() } else { format!("{}/{name}", context.scope) }
}

/// A recorded value as the code wants it.
pub(crate) fn decode<T: DeserializeOwned>(output: Value) -> Result<T, Failure> {
    serde_json::from_value(output)
        .map_err(|error| Failure::new("record_unreadable", format!("a recorded value does not fit its type: {error}")))
}
