//! What an author of an action type writes: the call, the look, and what each can promise.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EffectPermit, Fingerprint};
use crate::id::{ActionId, ArtifactId, RunId};
use crate::trace::TraceContext;
use crate::workflow::{Failure, StepError};

/// How an action reaches its platform (S-077).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The platform's API.
    Api,
    /// A real browser.
    Browser,
    /// Both.
    Hybrid,
}

impl Lane {
    /// The word in the database and on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Browser => "browser",
            Self::Hybrid => "hybrid",
        }
    }
}

/// What *not* finding an effect proves, once it may be judged at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The look sees every effect that exists: not found means not there.
    Conclusive,
    /// The look may miss an effect that exists: not found proves nothing.
    Inconclusive,
}

/// The declared nature of one side effect: its identity and what its platform promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectSpec {
    /// S-078: `publish`, `dm_send`, `comment_reply`, `like`, ...
    pub action_type: String,
    /// The platform's name, as data.
    pub platform: String,
    /// The account acted for.
    pub account_id: String,
    /// How it is reached.
    pub lane: Lane,
    /// What makes this effect *this* effect (S-039): two effects with equal client, account,
    /// type, payload and `dedupe` are one and happen once.
    pub payload: Value,
    /// A key or time bucket where the same thing may be meant twice.
    pub dedupe: Option<String>,
    /// The platform honours idempotency keys: the same call may be sent again.
    pub honours_keys: bool,
    /// The longest that the call may take, in milliseconds; whatever carries it enforces this.
    pub call_timeout_ms: u64,
    /// How long a done effect may stay invisible to the look, in milliseconds.
    pub visible_within_ms: u64,
    /// What the look's silence proves.
    pub absence: Absence,
    /// Look before the first attempt too (S-044): a person or an earlier run may have done it.
    pub look_first: bool,
}

impl EffectSpec {
    /// `call_timeout_ms` as a duration.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms)
    }
}

/// What shows an outcome to whoever comes later (S-013, S-047): ids and pointers, never content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Evidence {
    /// What we called the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What the platform called its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// What the platform calls what was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_id: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permalink: Option<String>,
    /// The status that the platform answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Pictures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub screenshots: Vec<ArtifactId>,
    /// SHA-256 of the page, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dom_hash: Option<String>,
}

/// What an effect leaves behind: what its step returns, and what shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    /// What the step returns: whatever identifies the effect (id, permalink, ...).
    pub output: Value,
    /// What shows it.
    pub evidence: Evidence,
}

impl From<Value> for Receipt {
    /// A field `id` is what the platform calls what was made, a field `permalink` where it is.
    fn from(output: Value) -> Self {
        let text = |name: &str| match output.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let evidence = Evidence { object_id: text("id"), permalink: text("permalink"), ..Evidence::default() };
        Self { output, evidence }
    }
}

/// What a read-only look found.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, for as long as a look takes")]
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// The effect is there.
    Present(Receipt),
    /// The effect was not found.
    Absent,
    /// There is no way to look: nothing is ever found, and that proves nothing.
    Blind,
}

/// How a call ended, as far as the caller can tell.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// The platform said that it is done.
    Done(Receipt),
    /// The platform said that it did not do it: nothing changed, and `retry` says whether a
    /// successor may succeed.
    Refused {
        /// What the platform said.
        failure: Failure,
        /// Whether another attempt makes sense.
        retry: bool,
        /// When, if the platform said so.
        after: Option<Duration>,
    },
    /// The answer was lost or says nothing: it may have happened.
    Ambiguous(Failure),
}

/// What a look or a preparation may know.
#[derive(Debug, Clone)]
pub struct Look {
    /// The run that looks.
    pub run_id: RunId,
    /// The client it acts for.
    pub client_id: String,
    /// The action looked for, once there is one.
    pub action_id: Option<ActionId>,
    /// The key that the call carries or carried.
    pub idempotency_key: String,
    /// The lease's epoch: carriers refuse an older one (`Fermata-Fence`).
    pub epoch: i32,
    /// The lease as a fence, `run:epoch`.
    pub fence: String,
    /// The place in the command's trace, to be sent along with requests (`traceparent`).
    pub trace: TraceContext,
    /// The current time.
    pub now: DateTime<Utc>,
}

/// Whatever a preparation hands to the call: a page with a filled form, an uploaded file.
pub type Prepared = Box<dyn Any + Send>;

/// An action type: how to look for the effect, how to get ready, and the one call.
///
/// `look` and `prepare` change nothing that counts and are free to be repeated; `call` takes the
/// permit by value and is the only place where the outside world is changed.
#[async_trait]
pub trait Effect: Send + Sync {
    /// The declared nature; must be the same each time that the run is replayed.
    fn spec(&self) -> EffectSpec;

    /// Asks the platform, read-only, as whom it would act (S-032): the guard compares that with what is stored of the account.
    /// `None`, unless it is said otherwise: there is no way to ask.
    async fn identity(&self, _look: &Look) -> Result<Option<Fingerprint>, StepError> {
        Ok(None)
    }

    /// Looks for the effect, read-only.
    async fn look(&self, look: &Look) -> Result<Sighting, StepError>;

    /// Gets everything ready up to the call itself: uploads, forms, drafts. Free to repeat.
    async fn prepare(&self, _look: &Look) -> Result<Prepared, StepError> {
        Ok(Box::new(()))
    }

    /// Changes the outside world. Must end before [`EffectPermit::call_deadline`].
    async fn call(&self, permit: EffectPermit, prepared: Prepared) -> CallOutcome;

    /// Whether people see it where it is (S-053), read-only: what shows that, or `None` when they do not, or nobody can tell.
    async fn surface(&self, _look: &Look, _permalink: &str) -> Result<Option<Evidence>, StepError> {
        Ok(None)
    }
}
