//! Control from outside a lease: signal, cancel, resume, decide. Each is one transaction.

use serde_json::Value;

use crate::access::{Denied, Principal, Scope};
use crate::document;
use crate::engine::Engine;
use crate::id::{GateId, RunId, SignalId};
use crate::read::GateView;
use crate::rigged::{crash_point, mutant};
use crate::store::StoreError;
use crate::store::outside::{Resumed, Target};
use crate::store::record::{Sending, Sent};

/// Outside input for a run.
#[derive(Debug, Clone)]
pub struct NewSignal {
    /// Chosen by the client to make a resend harmless; made up when absent.
    pub id: Option<SignalId>,
    /// What the run waits for.
    pub name: String,
    /// What it gets.
    pub payload: Value,
}

/// How far a cancellation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run had not started: it has ended.
    Done,
    /// The run ends at its next checkpoint, after any action in flight is settled.
    Underway,
}

/// Why a run was not moved.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No such command for this principal.
    #[error("no such command")]
    NotFound,
    /// It has ended already.
    #[error("the command has ended; submit a new one")]
    Ended,
    /// It does not wait for a person.
    #[error("the command does not wait for a takeover; see its gates")]
    NotWaiting,
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Something in the request does not fit.
    #[error("{message}")]
    Invalid {
        /// RFC 6901 pointer into the request.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person's word on a gate.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Approve (or, at a takeover, complete), or reject.
    pub approve: bool,
    /// Why.
    pub comment: Option<String>,
    /// What the person adds or corrects.
    pub outputs: Value,
}

impl Decision {
    /// Whether it says that what did not happen is done again.
    fn asks_to_repeat(&self) -> bool {
        !self.approve && self.outputs.get("repeat").and_then(Value::as_bool) == Some(true)
    }
}

/// Why a gate was not decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No such gate for this principal.
    #[error("no such gate")]
    NotFound,
    /// Somebody was faster.
    #[error("the gate was decided already")]
    AlreadyDecided(Box<GateView>),
    /// Its time has run out.
    #[error("the gate has expired")]
    Expired,
    /// What it asks about is not such that it could be done again.
    #[error("the action cannot be repeated: it is not the newest of its intent, or it is not over; read it again")]
    NotRepeatable,
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The decision cannot be stored.
    #[error("{0}")]
    Invalid(#[from] document::DocumentError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Sends a signal; a run that waits for it goes on, one that does not yet finds it later.
    pub async fn signal(&self, by: &Principal, run: RunId, signal: NewSignal) -> Result<SignalId, ControlError> {
        by.require(Scope::CommandsWrite)?;
        let invalid = |pointer: &str, error: document::DocumentError| ControlError::Invalid {
            pointer: pointer.into(),
            message: error.to_string(),
        };
        document::check_key("the signal's name", &signal.name).map_err(|error| invalid("/name", error))?;
        document::check(&signal.payload).map_err(|error| invalid("/payload", error))?;
        let id = signal.id.unwrap_or_else(|| SignalId::new(self.clock()));
        let sending = Sending {
            id,
            run,
            client: by.client_id.clone(),
            actor: by.name.clone(),
            name: signal.name,
            payload: document::raw(&signal.payload),
        };
        let sent = if mutant!("no-rollback") {
            self.store().signal_by_hand(&sending).await?
        } else {
            self.writer().signal(sending).await?
        };
        if matches!(sent, Sent::Applied | Sent::Held) {
            crash_point!("signal-after-commit");
        }
        match sent {
            // One that was there may be our own, sent again after its answer was lost, and nobody may have been told.
            Sent::Held | Sent::Replayed => {
                self.wake_up();
                Ok(id)
            }
            Sent::Applied => Ok(id),
            Sent::Ended => Err(ControlError::Ended),
            Sent::Missing => Err(ControlError::NotFound),
            Sent::Unstorable(message) => Err(ControlError::Invalid { pointer: String::new(), message }),
        }
    }

    /// Cancels a run, and with it its children.
    pub async fn cancel(&self, by: &Principal, run: RunId, reason: String) -> Result<Cancelled, ControlError> {
        by.require(Scope::CommandsWrite)?;
        let client = self.client_of(by, run).await?;
        let word = self
            .store()
            .cancel_run(Target { run, client: &client, actor: &by.name }, &reason.replace('\0', ""))
            .await?;
        crash_point!("cancel-after-commit");
        self.wake_up();
        match word.as_str() {
            "cancelled" => Ok(Cancelled::Done),
            "cancelling" => Ok(Cancelled::Underway),
            "ended" => Err(ControlError::Ended),
            _ => Err(ControlError::NotFound),
        }
    }

    /// Lets a run go on that waits at a takeover gate.
    pub async fn resume(
        &self,
        by: &Principal,
        run: RunId,
        comment: Option<String>,
        outputs: Value,
    ) -> Result<(), ControlError> {
        by.require(Scope::GatesDecide)?;
        document::check(&outputs)
            .map_err(|error| ControlError::Invalid { pointer: "/outputs".into(), message: error.to_string() })?;
        let client = self.client_of(by, run).await?;
        let resumed = self
            .store()
            .resume_run(Target { run, client: &client, actor: &by.name }, comment.as_deref(), &outputs)
            .await?;
        match resumed {
            Resumed::Done => {
                self.wake_up();
                Ok(())
            }
            Resumed::NotWaiting => Err(ControlError::NotWaiting),
            Resumed::Ended => Err(ControlError::Ended),
            Resumed::Missing => Err(ControlError::NotFound),
        }
    }

    /// Decides a gate: the decision, its event, its audit row and the readying of the run are one
    /// transaction, and the first decision wins.
    pub async fn decide(&self, by: &Principal, gate: GateId, decision: Decision) -> Result<GateView, DecideError> {
        by.require(Scope::GatesDecide)?;
        document::check(&decision.outputs)?;
        document::check(&Value::from(decision.comment.clone()))?;
        if decision.asks_to_repeat() && !self.store().may_repeat(gate, &by.client_id).await? {
            return Err(DecideError::NotRepeatable);
        }
        let decided = self.store().decide_gate(gate, &by.client_id, &by.name, &decision).await?;
        let Some((decided, view)) = decided else { return Err(DecideError::NotFound) };
        if decided {
            crash_point!("gate-after-decision");
            self.wake_up();
            return Ok(view);
        }
        if view.state == "open" { Err(DecideError::Expired) } else { Err(DecideError::AlreadyDecided(Box::new(view))) }
    }

    /// The client that a run belongs to, if this principal may act for it.
    async fn client_of(&self, by: &Principal, run: RunId) -> Result<String, ControlError> {
        let client = self.store().client_of(run).await?.ok_or(ControlError::NotFound)?;
        if by.may_act_for(&client) { Ok(client) } else { Err(ControlError::NotFound) }
    }
}
