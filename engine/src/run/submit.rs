//! The way in: a client's request becomes a durable command (I1).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::access::{Denied, Principal, Scope};
use crate::document::{self, DocumentError};
use crate::engine::Engine;
use crate::id::RunId;
use crate::policy::Policy;
use crate::store::StoreError;
use crate::store::record::{Acceptance, Accepted};
use crate::trace::TraceContext;
use crate::workflow::Subject;

/// A client's request, not yet accepted.
#[derive(Debug, Clone, Default)]
pub struct Submission {
    /// For which client.
    pub client_id: String,
    /// The command type, such as `flow.run`.
    pub kind: String,
    /// The workflow's input.
    pub payload: Value,
    /// The platform that it is about.
    pub platform: Option<String>,
    /// The account that it acts for.
    pub account_id: Option<String>,
    /// The browser session that it uses.
    pub session_id: Option<String>,
    /// the same key and content is the same command.
    pub idempotency_key: Option<String>,
    /// Ties commands together for the client.
    pub correlation_id: Option<String>,
    /// 0 to 9, higher first; 5 when absent.
    pub priority: Option<u8>,
    /// Not to be started before.
    pub not_before: Option<DateTime<Utc>>,
    /// Failed with `deadline_exceeded` when not ended by then.
    pub deadline: Option<DateTime<Utc>>,
    /// Bounds of this command, as the documents name them.
    pub policy: Option<Value>,
    /// Where the caller stands in its trace; a trace of our own begins when absent.
    pub caller: Option<TraceContext>,
}

/// The proof that a command is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The command and its run.
    pub command_id: RunId,
    /// `QUEUED` for a new one.
    pub status: &'static str,
    /// An earlier submission with this key was the same.
    pub replayed: bool,
}

/// Why a command was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Something in it does not fit.
    #[error("{message}")]
    Invalid {
        /// RFC 6901 pointer into the request.
        pointer: String,
        /// What is wrong and what fits.
        message: String,
    },
    /// No workflow of that type is installed.
    #[error("no such command type; known are {}", known.join(", "))]
    UnknownType {
        /// What is installed.
        known: Vec<String>,
    },
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Its account was never connected, and the policy wants to know who it is (G-011).
    #[error("nobody has connected the account {account:?} on {platform:?}, and its policy demands to know who it is")]
    Unregistered {
        /// On which platform.
        platform: String,
        /// Which account.
        account: String,
    },
    /// The key was used for another command.
    #[error("the idempotency key was used for another request: command {command_id}")]
    Mismatch {
        /// That command.
        command_id: RunId,
    },
    /// The node has more to do than it can take.
    #[error("this node has more work than it can take; try again in a moment")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(StoreError),
}

impl SubmitError {
    fn invalid(pointer: &str, message: impl std::fmt::Display) -> Self {
        Self::Invalid { pointer: pointer.into(), message: message.to_string() }
    }
}

impl From<StoreError> for SubmitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            other => Self::Store(other),
        }
    }
}

/// The earliest and latest times that a command may name: what Postgres and RFC 3339 agree on.
const YEARS: std::ops::Range<i32> = 1970..9999;

impl Engine {
    /// Checks a command without queueing it.
    pub async fn check(&self, by: &Principal, submission: &Submission) -> Result<(), SubmitError> {
        self.fits(by, submission)?;
        self.is_registered(submission).await
    }

    /// Refuses a command for an account that has to be connected and is not. What is in the payload alone is found out by
    /// the guard, before anything is done.
    async fn is_registered(&self, submission: &Submission) -> Result<(), SubmitError> {
        let (Some(platform), Some(account)) = (&submission.platform, &submission.account_id) else { return Ok(()) };
        let client = &submission.client_id;
        let basis = self.store().basis(client, platform, account).await?;
        if basis.standing.known.is_some() || !Policy::of(basis.policies).wants_identity() {
            return Ok(());
        }
        // What was accepted before is answered as before, whatever the policy has become since.
        match &submission.idempotency_key {
            Some(key) if self.store().is_kept(client, key).await? => Ok(()),
            _ => Err(SubmitError::Unregistered { platform: platform.clone(), account: account.clone() }),
        }
    }

    fn fits(&self, by: &Principal, submission: &Submission) -> Result<(), SubmitError> {
        by.require(Scope::CommandsWrite)?;
        by.may_submit(&submission.kind)?;
        if submission.payload.get("flow").is_some() {
            by.require(Scope::FlowsInline)?;
        }
        if !by.may_act_for(&submission.client_id) {
            return Err(SubmitError::invalid("/client_id", "this token is for another client"));
        }
        submission.check()?;
        let subject =
            Subject { platform: submission.platform.as_deref(), account_id: submission.account_id.as_deref() };
        let checked = self.registry().check(&submission.kind, &submission.payload, subject);
        match checked {
            None => Err(SubmitError::UnknownType { known: self.registry().names().map(Into::into).collect() }),
            Some(Err(failure)) => {
                let inside = failure.details.get("pointer").and_then(Value::as_str).unwrap_or_default();
                Err(SubmitError::invalid(&format!("/payload{inside}"), failure.message))
            }
            Some(Ok(())) => Ok(()),
        }
    }

    /// Accepts a command; once this returns it survives any crash (I1).
    pub async fn submit(&self, by: &Principal, submission: Submission) -> Result<Receipt, SubmitError> {
        self.check(by, &submission).await?;
        let acceptance = self.acceptance(by, submission);
        let command_id = acceptance.run;
        let receipt = |command_id, replayed| Receipt { command_id, status: "QUEUED", replayed };
        match self.accept(acceptance).await? {
            Accepted::New => Ok(receipt(command_id, false)),
            Accepted::Replayed(command_id) => Ok(receipt(command_id, true)),
            Accepted::Mismatch(command_id) => Err(SubmitError::Mismatch { command_id }),
            Accepted::Unstorable(why) => Err(SubmitError::invalid("", why)),
        }
    }

    fn acceptance(&self, by: &Principal, submission: Submission) -> Acceptance {
        let fingerprint = submission.idempotency_key.as_ref().map(|_| submission.fingerprint()).unwrap_or_default();
        let workflow = self.registry().versioned(&submission.kind).unwrap_or_default();
        let (input, envelope) = (document::raw(&submission.payload), submission.envelope());
        Acceptance {
            run: RunId::new(self.clock()),
            client: submission.client_id,
            kind: submission.kind,
            workflow,
            bytes: input.get().len() + envelope.get().len(),
            input,
            envelope,
            fingerprint,
            key: submission.idempotency_key,
            trace_id: match submission.caller {
                Some(caller) => caller.trace_id(),
                None => RunId::new(self.clock()).0.simple().to_string(),
            },
            submitted_by: by.name.clone(),
        }
    }
}

/// What is said of a command beside its kind and payload. Most say nothing.
#[derive(serde::Serialize)]
struct Envelope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
}

impl Submission {
    /// Tells commands apart that came under the same key. Who asks is no part of what is asked: the same command from
    /// elsewhere has the same fingerprint.
    fn fingerprint(&self) -> String {
        document::fingerprint(&json!({
            "kind": self.kind, "payload": self.payload,
            "envelope": {
                "platform": self.platform, "account_id": self.account_id,
                "session_id": self.session_id, "correlation_id": self.correlation_id,
                "priority": self.priority, "not_before": self.not_before,
                "deadline": self.deadline, "policy": self.policy,
            },
        }))
    }

    fn envelope(&self) -> crate::document::Raw {
        document::raw(&Envelope {
            platform: self.platform.as_deref(),
            account_id: self.account_id.as_deref(),
            session_id: self.session_id.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            priority: self.priority,
            not_before: self.not_before,
            deadline: self.deadline,
            policy: self.policy.as_ref(),
            caller: self.caller.as_ref().map(TraceContext::caller),
        })
    }

    /// Checks everything that can be said of it without knowing who asks and which workflows there are: what passes
    /// can be stored.
    pub fn check(&self) -> Result<(), SubmitError> {
        let keys = [
            ("/client_id", "client_id", Some(&self.client_id)),
            ("/platform", "platform", self.platform.as_ref()),
            ("/account_id", "account_id", self.account_id.as_ref()),
            ("/session_id", "session_id", self.session_id.as_ref()),
            ("/correlation_id", "correlation_id", self.correlation_id.as_ref()),
            ("/idempotency_key", "idempotency_key", self.idempotency_key.as_ref()),
        ];
        for (pointer, what, key) in keys {
            if let Some(key) = key {
                document::check_key(what, key).map_err(|error| SubmitError::invalid(pointer, error))?;
            }
        }
        if self.client_id == "*" {
            return Err(SubmitError::invalid("/client_id", "name one client; `*` is no client"));
        }
        if self.priority.is_some_and(|priority| priority > 9) {
            return Err(SubmitError::invalid("/priority", "must be 0 to 9"));
        }
        for (pointer, time) in [("/not_before", self.not_before), ("/deadline", self.deadline)] {
            if time.is_some_and(|time| !YEARS.contains(&chrono::Datelike::year(&time))) {
                return Err(SubmitError::invalid(pointer, "the year must be 1970 to 9998"));
            }
        }
        if !self.payload.is_object() {
            return Err(SubmitError::invalid("/payload", "must be an object"));
        }
        document_at("/payload", &self.payload)?;
        self.policy.as_ref().map_or(Ok(()), |policy| document_at("/policy", policy))
    }
}

fn document_at(pointer: &str, value: &Value) -> Result<(), SubmitError> {
    document::check(value).map_err(|error| match &error {
        DocumentError::Nul { pointer: inside } => SubmitError::invalid(&format!("{pointer}{inside}"), &error),
        _ => SubmitError::invalid(pointer, &error),
    })
}
