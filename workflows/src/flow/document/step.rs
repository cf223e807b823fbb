//! One step: its name, when and how often it is tried, and the one thing that it does.

use fermata_engine::workflow::RetryPolicy;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{BrowserStep, ChildStep, EffectStep, HttpCall, HumanStep, SetStep, SignalStep, SleepStep, When};
use crate::flow::late::Seconds;

/// The part of the work that a step belongs to (G-002).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reads what is there.
    Extract,
    /// Decides what is to be done.
    Decide,
    /// Does it.
    Act,
    /// Makes sure that it was done.
    Verify,
    /// Keeps what came of it.
    Persist,
}

/// The names of the kinds of step, as fields of a step.
pub const ACTIONS: [&str; 8] = ["http", "browser", "effect", "human", "sleep", "wait_signal", "set", "child"];

/// A step (B-050): a name, a precondition, one action with its success criteria, a retry policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StepFields", into = "StepFields")]
#[schemars(with = "StepFields")]
pub struct Step {
    /// Unique in the flow; its result is `steps.<id>`.
    pub id: String,
    /// A few words for people.
    pub title: Option<String>,
    /// The part of the work that it belongs to.
    pub phase: Option<Phase>,
    /// Without it the step is always done; a step that is not done has the result `null`.
    pub when: Option<When>,
    /// How often it is tried again, and when.
    pub retry: Option<RetryPolicy>,
    /// How long one attempt may take.
    pub timeout_s: Option<Seconds>,
    /// What it does.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A request that changes nothing.
    Http(Box<HttpCall>),
    /// Acts in a page, short of changing anything outside.
    Browser(BrowserStep),
    /// Changes the outside world, once.
    Effect(Box<EffectStep>),
    /// Waits for a person's decision.
    Human(HumanStep),
    /// Waits for a time.
    Sleep(SleepStep),
    /// Waits for a signal.
    WaitSignal(SignalStep),
    /// Computes values.
    Set(SetStep),
    /// Starts another workflow and waits for it.
    Child(ChildStep),
}

impl Action {
    /// Its field's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Browser(_) => "browser",
            Self::Effect(_) => "effect",
            Self::Human(_) => "human",
            Self::Sleep(_) => "sleep",
            Self::WaitSignal(_) => "wait_signal",
            Self::Set(_) => "set",
            Self::Child(_) => "child",
        }
    }
}

/// One step of a flow: exactly one of `http`, `browser`, `effect`, `human`, `sleep`,
/// `wait_signal`, `set`, `child`.
#[derive(Serialize, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Step", transform = exactly_one)]
struct StepFields {
    /// Unique in the flow; its result is named `steps.<id>`.
    id: String,
    /// A few words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// The part of the work that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    /// Done only when this holds; otherwise its result is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<When>,
    /// How often it is tried again, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<RetryPolicy>,
    /// How long one attempt may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_s: Option<Seconds>,
    /// A request that changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<Box<HttpCall>>,
    /// Acts in a page, short of changing anything outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    browser: Option<BrowserStep>,
    /// Changes the outside world, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    effect: Option<Box<EffectStep>>,
    /// Waits for a person's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    human: Option<HumanStep>,
    /// Waits for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sleep: Option<SleepStep>,
    /// Waits for a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_signal: Option<SignalStep>,
    /// Computes values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<SetStep>,
    /// Starts another workflow and waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    child: Option<ChildStep>,
}

fn exactly_one(schema: &mut Schema) {
    let branch = |name: &str| json!({ "required": [name], "properties": { name: { "type": "object" } } });
    schema.insert("oneOf".to_owned(), ACTIONS.into_iter().map(branch).collect());
}

/// A step with none or several actions.
#[derive(Debug, thiserror::Error)]
#[error("step `{id}` has {count} actions; give exactly one of {}", ACTIONS.join(", "))]
struct NotOneAction {
    id: String,
    count: usize,
}

impl TryFrom<StepFields> for Step {
    type Error = NotOneAction;

    fn try_from(fields: StepFields) -> Result<Self, NotOneAction> {
        let StepFields { id, title, phase, when, retry, timeout_s, .. } = fields;
        let actions = [
            fields.http.map(Action::Http),
            fields.browser.map(Action::Browser),
            fields.effect.map(Action::Effect),
            fields.human.map(Action::Human),
            fields.sleep.map(Action::Sleep),
            fields.wait_signal.map(Action::WaitSignal),
            fields.set.map(Action::Set),
            fields.child.map(Action::Child),
        ];
        let mut given: Vec<Action> = actions.into_iter().flatten().collect();
        match (given.pop(), given.len()) {
            (Some(action), 0) => Ok(Self { id, title, phase, when, retry, timeout_s, action }),
            (last, others) => Err(NotOneAction { id, count: others + usize::from(last.is_some()) }),
        }
    }
}

impl From<Step> for StepFields {
    fn from(step: Step) -> Self {
        let Step { id, title, phase, when, retry, timeout_s, action } = step;
        let mut fields = Self { id, title, phase, when, retry, timeout_s, ..Self::default() };
        match action {
            Action::Http(action) => fields.http = Some(action),
            Action::Browser(action) => fields.browser = Some(action),
            Action::Effect(action) => fields.effect = Some(action),
            Action::Human(action) => fields.human = Some(action),
            Action::Sleep(action) => fields.sleep = Some(action),
            Action::WaitSignal(action) => fields.wait_signal = Some(action),
            Action::Set(action) => fields.set = Some(action),
            Action::Child(action) => fields.child = Some(action),
        }
        fields
    }
}
