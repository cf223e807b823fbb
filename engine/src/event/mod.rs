//! Events: immutable facts with dense positions in commit order (design, section 4).
//!
//! Owns the names that never change, what each event carries ([`data`]) with its published schema
//! ([`schema`]), and the cursor. Positions are given in the database, last in each transaction;
//! nothing here invents one. A new event is a name here, a struct in `data` and a line in
//! [`schema::TYPES`].

mod cursor;
pub mod data;
mod follower;
pub mod schema;
pub(crate) mod tail;

pub use cursor::{Cursor, CursorError};
pub use follower::{FollowEnd, Followed, Follower, Start};
use serde::{Deserialize, Serialize};
pub use tail::RING_EVENTS;

/// How much an event matters to who follows the stream (G-037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For those who look closely.
    Debug = 0,
    /// Something went on as it should.
    Info = 1,
    /// Something needs an eye.
    Warn = 2,
    /// Something failed.
    Error = 3,
}

/// The names of events. They are part of the contract and never change (style, habit 16).
pub mod name {
    /// A command changed its status: `{from, to, wait_reason?}`.
    pub const STATUS_CHANGED: &str = "status.changed";
    /// A step's checkpoint is durable: `{key, attempt}`.
    pub const STEP_SUCCEEDED: &str = "step.succeeded";
    /// An attempt of a step failed: `{key, attempt, code, retry_at?}`.
    pub const STEP_FAILED: &str = "step.failed";
    /// An action moved without touching the outside: `{action_id, state, ...}`.
    pub const ACTION_MOVED: &str = "action.moved";
    /// An action may now change the outside world (G-100).
    pub const ACTION_ATTEMPTED: &str = "action.attempted";
    /// An action's outcome is known, or known to be unknown (G-101).
    pub const ACTION_VERIFIED: &str = "action.verified";
    /// A person is needed (G-104): `{gate_id, kind, reason, expires_at}`.
    pub const HUMAN_REQUIRED: &str = "human.required";
    /// A gate was decided or closed.
    pub const GATE_RESOLVED: &str = "gate.resolved";
    /// A signal arrived.
    pub const SIGNAL_RECEIVED: &str = "signal.received";
    /// An artifact was kept (G-105): `{artifact_id, type, checksum, bytes}`.
    pub const ARTIFACT_CAPTURED: &str = "artifact.captured";
    /// A kill switch was turned: `{scope, engaged, reason, actor, version}`.
    pub const KILL_SWITCH_CHANGED: &str = "kill_switch.changed";
    /// An action has to wait: `{platform, account_id, action_type, rule, until}`.
    pub const RATE_LIMITED: &str = "rate.limited";
    /// An account is in another mode: `{platform, account_id, from, to, reason, actor}`.
    pub const ACCOUNT_CHANGED: &str = "account.changed";
    /// An account was connected: `{platform, account_id, id, before, actor}`.
    pub const ACCOUNT_CONNECTED: &str = "account.connected";
    /// It was said how an account posts: `{platform, account_id, settings, actor}`.
    pub const ACCOUNT_CONFIGURED: &str = "account.configured";
    /// A policy was put in force: `{scope, version, actor}`.
    pub const POLICY_CHANGED: &str = "policy.changed";
}
