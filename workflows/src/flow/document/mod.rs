//! The flow document: a workflow written as data. Plain values; reading and judging them is
//! elsewhere ([`Flow`](super::Flow), [`lint`](super::lint)).
//!
//! Read [`FlowDocument`] and [`Action`] first. To add a kind of step: one file with its struct,
//! one variant of [`Action`], one field of `StepFields`, one arm in the interpreter.

mod browser;
mod effect;
mod http;
mod offer;
mod step;
mod waits;

use std::collections::BTreeMap;

use fermata_engine::effect::Lane;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::browser::Target;

pub use browser::{
    BrowserAct, BrowserStep, Fill, Poll, Reading, Readings, SavedDownload, SavedReading, Upload, Waiting,
};
pub use effect::{BrowserCall, BrowserLook, Call, EffectStep, HttpLook, LookFor};
pub use http::{Assertion, HttpCall, HttpExpect, Is, Method, When};
pub use offer::Offer;
pub use step::{ACTIONS, Action, Phase, Step};
pub use waits::{ChildStep, HumanKind, HumanStep, OnReject, SetStep, SignalStep, SleepStep};

/// A workflow as data: what it takes, what it does step by step, what it ends with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Fermata flow")]
pub struct FlowDocument {
    /// The name it is started by, such as `demo.publish`.
    pub name: String,
    /// The author's version; the content hash is what a run is pinned to.
    pub version: String,
    /// A few words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for, in sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The platform that it acts on.
    pub platform: String,
    /// How it reaches the platform.
    pub lane: Lane,
    /// The single action that the command `action.run` starts it for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offers: Option<Offer>,
    /// The JSON Schema (2020-12) of its inputs. A `default` may be a template over `run`.
    #[serde(default = "no_inputs")]
    pub inputs: Map<String, Value>,
    /// Controls of the platform's pages by name, used as `${targets.<name>}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, Target>,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// What it ends with: a value with templates.
    #[serde(default)]
    pub outputs: Value,
}

fn no_inputs() -> Map<String, Value> {
    let fields = [("type", Value::from("object")), ("additionalProperties", Value::from(false))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// For `skip_serializing_if`: whether a flag has its usual value.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The same for a flag that is usually set.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

fn yes() -> bool {
    true
}
