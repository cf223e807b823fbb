//! What the schema shows: one file per thing, each a view of the engine's in the schema's words.
//!
//! Lists inside of a node may be `null`: then an error beside the data says why, and the rest of
//! the answer stands.

mod account;
mod action;
mod artifact;
mod audit;
mod command;
mod event;
mod gate;
mod policy;
mod step;

use async_graphql::{ID, Interface, SimpleObject};
use serde_json::Value;

pub use account::{AccountSettings, Fingerprint, PlatformAccount};
pub use action::{Action, Intent, Proof};
pub use artifact::Artifact;
pub use audit::AuditEntry;
pub use command::{Command, StatusChange};
pub use event::Event;
pub use gate::Gate;
pub use policy::Policy;
pub use step::{Attempt, Step};

/// What an id can name.
#[derive(Debug, Interface)]
#[graphql(field(name = "id", ty = "&ID", desc = "Its id, a UUID: unique among everything."))]
pub enum Node {
    /// A command.
    Command(Command),
    /// An action.
    Action(Action),
    /// An intent.
    Intent(Intent),
    /// A gate.
    Gate(Gate),
    /// An artifact.
    Artifact(Artifact),
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, SimpleObject)]
pub struct Failure {
    /// A word for programs.
    code: String,
    /// A sentence for people.
    message: String,
    /// More, by code.
    details: Option<Value>,
}

impl From<Value> for Failure {
    fn from(stored: Value) -> Self {
        // A failed attempt of a step keeps beside its failure what comes next.
        let stored = stored.get("failure").unwrap_or(&stored);
        let text = |name: &str| stored.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, message) = (text("code"), text("message"));
        Self { code, message, details: stored.get("details").filter(|details| !details.is_null()).cloned() }
    }
}
