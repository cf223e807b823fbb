//! The published schemas of events (JSON Schema 2020-12): one envelope, and `data` by type.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::{data, name};
use crate::document::SCHEMA_BASE;
use crate::effect::ActionState;
use crate::read::EventView;

/// The identity of the envelope.
pub fn envelope_id() -> String {
    format!("{SCHEMA_BASE}/event/1")
}

/// A type of event.
#[derive(Debug, Clone, Copy)]
pub struct EventType {
    /// Its name, one of [`name`].
    pub name: &'static str,
    /// Raised, with another schema beside the old one, if `data` ever changed its meaning.
    version: u16,
    data: fn() -> Value,
}

/// Every type of event that this program writes.
pub static TYPES: [EventType; 16] = [
    event(name::STATUS_CHANGED, of::<data::StatusChanged>),
    event(name::STEP_SUCCEEDED, of::<data::StepSucceeded>),
    event(name::STEP_FAILED, of::<data::StepFailed>),
    event(name::ACTION_MOVED, || action(&MOVED)),
    event(name::ACTION_ATTEMPTED, || action(&ATTEMPTED)),
    event(name::ACTION_VERIFIED, || action(&VERIFIED)),
    event(name::HUMAN_REQUIRED, of::<data::HumanRequired>),
    event(name::GATE_RESOLVED, of::<data::GateResolved>),
    event(name::SIGNAL_RECEIVED, of::<data::SignalReceived>),
    event(name::ARTIFACT_CAPTURED, of::<data::ArtifactCaptured>),
    event(name::KILL_SWITCH_CHANGED, of::<data::KillSwitchChanged>),
    event(name::RATE_LIMITED, of::<data::RateLimited>),
    event(name::POLICY_CHANGED, of::<data::PolicyChanged>),
    event(name::ACCOUNT_CHANGED, of::<data::AccountChanged>),
    event(name::ACCOUNT_CONNECTED, of::<data::AccountConnected>),
    event(name::ACCOUNT_CONFIGURED, of::<data::AccountConfigured>),
];

const MOVED: [ActionState; 6] = [
    ActionState::Queued,
    ActionState::PreflightPassed,
    ActionState::IdentityVerified,
    ActionState::PostcheckComplete,
    ActionState::Blocked,
    ActionState::Cancelled,
];
const ATTEMPTED: [ActionState; 1] = [ActionState::Attempted];
const VERIFIED: [ActionState; 3] = [ActionState::ConfirmedSuccess, ActionState::ConfirmedFailed, ActionState::Unknown];

const fn event(name: &'static str, data: fn() -> Value) -> EventType {
    EventType { name, version: 1, data }
}

impl EventType {
    /// The identity of the schema of `data`, as `dataschema` says it.
    pub fn id(&self) -> String {
        format!("{SCHEMA_BASE}/event/{}/{}", self.name, self.version)
    }

    /// The schema of `data`.
    pub fn schema(&self) -> Value {
        named((self.data)(), &self.id(), &format!("Data of {}", self.name))
    }
}

/// The type of that name.
pub fn find(name: &str) -> Option<&'static EventType> {
    TYPES.iter().find(|known| known.name == name)
}

/// The schema of the envelope: an event as every surface shows it.
pub fn envelope() -> Value {
    named(of::<EventView>(), &envelope_id(), "Event")
}

/// As it is written: what is always there is required.
fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema: Schema = generator.into_root_schema_for::<T>();
    schema.to_value()
}

/// An action's move to one of some states.
fn action(states: &[ActionState]) -> Value {
    let mut schema = of::<data::ActionChanged>();
    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    if let Some(status) = schema.pointer_mut("/properties/status") {
        *status = json!({ "description": "What the action became.", "enum": words });
    }
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        definitions.remove("ActionState");
    }
    schema
}

/// The same schema with its identity first.
fn named(schema: Value, id: &str, title: &str) -> Value {
    let first = ["$schema", "$id", "title"];
    let mut all = Map::new();
    all.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    all.insert("$id".to_owned(), id.into());
    all.insert("title".to_owned(), title.into());
    if let Value::Object(rest) = schema {
        all.extend(rest.into_iter().filter(|(key, _)| !first.contains(&key.as_str())));
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_schema_of_its_own() {
        let mut ids: Vec<String> = TYPES.iter().map(EventType::id).collect();
        ids.push(envelope_id());
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), TYPES.len() + 1);
        for known in &TYPES {
            assert_eq!(find(known.name).map(EventType::id), Some(known.id()));
            assert_eq!(known.schema()["$id"], known.id());
            assert_eq!(known.schema()["type"], "object");
        }
    }

    #[test]
    fn every_state_of_an_action_is_told_by_exactly_one_type() {
        let told: Vec<ActionState> = [MOVED.as_slice(), &ATTEMPTED, &VERIFIED].concat();
        assert_eq!(told.len(), ActionState::ALL.len());
        assert!(ActionState::ALL.iter().all(|state| told.contains(state)));
    }

    #[test]
    fn what_is_always_written_is_required() {
        let schema = find(name::STATUS_CHANGED).unwrap().schema();
        assert_eq!(schema["required"], json!(["from", "to"]));
        let schema = find(name::STEP_FAILED).unwrap().schema();
        assert_eq!(schema["required"].as_array().unwrap().len(), 5);
    }
}
