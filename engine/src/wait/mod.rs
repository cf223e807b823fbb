//! Waits: timers, signals, gates and children free the worker (design, section 4).
//!
//! Owns what a run may wait for and what may have arrived for it. A suspended run holds no
//! memory; everything here is read again when it is taken on.

mod gate;
mod mailbox;

pub use gate::{GateDecision, GateKind, GateRequest};
pub(crate) use mailbox::{ChildEnd, Mailbox, MailboxRows};

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Why a run waits, as every surface says it (A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A person's approval.
    Approval,
    /// A person's help.
    Takeover,
    /// Another look at an action.
    Reverify,
    /// The end of quiet hours.
    QuietHours,
    /// What is rationed.
    RateLimited,
    /// The pause between two actions.
    Cooldown,
    /// The next attempt of a step.
    Retry,
    /// A signal.
    Signal,
    /// A child run.
    Child,
    /// A time.
    Timer,
    /// Another run holds the same intent.
    IntentHeld,
    /// The node could not carry the run on.
    Backoff,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Takeover => "takeover",
            Self::Reverify => "reverify",
            Self::QuietHours => "quiet_hours",
            Self::RateLimited => "rate_limited",
            Self::Cooldown => "cooldown",
            Self::Retry => "retry",
            Self::Signal => "signal",
            Self::Child => "child",
            Self::Timer => "timer",
            Self::IntentHeld => "intent_held",
            Self::Backoff => "backoff",
        }
    }
}

/// One thing that a run waits for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wait {
    pub(crate) reason: Reason,
    pub(crate) due: Option<DateTime<Utc>>,
    /// The rare part that the run's record has if the run is put away meanwhile.
    pub(crate) told: Option<Value>,
}

impl Wait {
    /// For something to arrive, or until `due`.
    pub(crate) fn new(reason: Reason, due: Option<DateTime<Utc>>) -> Self {
        Self { reason, due, told: None }
    }
}
