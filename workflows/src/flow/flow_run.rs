//! The workflow `flow.run`: carries out an installed flow or one that comes with the command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use fermata_engine::effect::Vocabulary;
use fermata_engine::workflow::{Context, Failure, Foresight, RetryPolicy, Subject, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::finding::{Finding, refusal};
use super::foresee::foresee;
use super::interpreter::{Interpreter, Limits, Tools, run_scope};
use super::scope::Scope;
use super::{Flow, lint_sites, lint_words};
use crate::bench::{BenchInput, BenchSteps};

/// The name of the step that pins a run to its flow. No step of a flow can have it.
const PIN: &str = "flow.pin";

/// What `flow.run` carries: exactly one of `workflow_name` and `flow`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["workflow_name"], "properties": { "workflow_name": { "type": "string" } } },
    { "required": ["flow"], "properties": { "flow": { "type": "object" } } },
]))]
pub struct FlowInput {
    /// An installed flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// A flow document; its schema is served at `/v1/schemas/flow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<Map<String, Value>>,
    /// What the flow takes; its own schema says what.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// Bounds on retries and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
}

/// Bounds on retries and time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The most retries of each step; the steps' own policies may ask for fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = RetryPolicy::MAX_ATTEMPTS - 1))]
    pub max_retries: Option<u16>,
    /// After this time no step begins another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_duration_s: Option<u32>,
}

/// What a run is pinned to by its first step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pin {
    flow: String,
    version: String,
    hash: String,
    started_at: DateTime<Utc>,
}

/// Carries out flows; cheap to clone.
#[derive(Debug, Clone)]
pub struct FlowRun {
    flows: Arc<BTreeMap<String, Arc<Flow>>>,
    tools: Arc<Tools>,
    words: Arc<Vocabulary>,
}

/// What a command asks for.
enum Asked {
    Flow(Arc<Flow>),
    Bench(BenchInput),
}

impl FlowRun {
    pub(crate) fn new(flows: BTreeMap<String, Arc<Flow>>, tools: Tools, words: Vocabulary) -> Self {
        Self { flows: Arc::new(flows), tools: Arc::new(tools), words: Arc::new(words) }
    }

    /// The installed flows.
    pub(crate) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.values().map(AsRef::as_ref)
    }

    fn asked(&self, input: &FlowInput) -> Result<Asked, Failure> {
        match (&input.workflow_name, &input.flow) {
            (Some(name), None) if name == BenchSteps::NAME => bench_input(&input.inputs).map(Asked::Bench),
            (Some(name), None) => {
                let known = || self.flows.keys().map(String::as_str).chain([BenchSteps::NAME]).collect::<Vec<_>>();
                let flow = self.flows.get(name).cloned().ok_or_else(|| {
                    let remedy = format!("name one of {}", known().join(", "));
                    let finding = Finding::error("/workflow_name", format!("no flow `{name}` is installed"), remedy);
                    refusal("flow_not_found", vec![finding], "")
                })?;
                self.fits_here(&flow, "")?;
                Ok(Asked::Flow(flow))
            }
            (None, Some(document)) => {
                let flow = Flow::of(&Value::Object(document.clone()))
                    .map_err(|error| refusal("flow_invalid", error.findings(), "/flow"))?;
                self.fits_here(&flow, "/flow")?;
                Ok(Asked::Flow(Arc::new(flow)))
            }
            _ => {
                let finding = Finding::error(
                    "",
                    "it is not clear what is to be run",
                    "give exactly one of `workflow_name` and `flow`",
                );
                Err(refusal("input_invalid", vec![finding], ""))
            }
        }
    }

    /// Refuses a flow that acts on a platform, or names sites, which this installation does not have.
    fn fits_here(&self, flow: &Flow, prefix: &str) -> Result<(), Failure> {
        let sites: BTreeSet<&str> =
            self.tools.sites.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let mut unknown = lint_words(flow.document(), &self.words);
        unknown.extend(lint_sites(flow.document(), &sites));
        if unknown.is_empty() { Ok(()) } else { Err(refusal("flow_invalid", unknown, prefix)) }
    }

    async fn pinned(&self, context: &Context, flow: &Flow) -> Result<Pin, Failure> {
        let now = Pin {
            flow: flow.name().to_owned(),
            version: flow.document().version.clone(),
            hash: flow.hash().to_owned(),
            started_at: context.clock().now(),
        };
        let (hash, version) = (now.hash.clone(), now.version.clone());
        let pin = context.pure(PIN, || now).await?;
        if pin.hash == hash {
            return Ok(pin);
        }
        let message =
            format!("the flow `{}` changed while this run was under way; install the pinned one again", pin.flow);
        Err(Failure::new("definition_changed", message).with_details(json!({
            "pinned": { "version": pin.version, "hash": pin.hash },
            "installed": { "version": version, "hash": hash },
        })))
    }
}

impl Workflow for FlowRun {
    type Input = FlowInput;
    type Output = Value;

    const NAME: &'static str = "flow.run";
    const VERSION: &'static str = "1";
    const TITLE: &'static str = "Run a flow";
    const DESCRIPTION: &'static str = "Carries out an installed flow, or one that comes with the command.";

    fn check(&self, input: &FlowInput, subject: Subject<'_>) -> Result<(), Failure> {
        if let Some(policy) = &input.policy {
            check_policy(policy)?;
        }
        match self.asked(input)? {
            Asked::Bench(input) => BenchSteps.check(&input, subject),
            Asked::Flow(flow) => match flow.inputs(&input.inputs, &sample_scope()) {
                Ok(_) => Ok(()),
                Err(findings) => Err(refusal("input_invalid", findings, "/inputs")),
            },
        }
    }

    fn foresee(&self, input: &FlowInput, client: &str) -> Result<Option<Foresight>, Failure> {
        match self.asked(input)? {
            Asked::Bench(_) => Ok(Some(Foresight::default())),
            Asked::Flow(flow) => foresee(&flow, &input.inputs, client).map(Some),
        }
    }

    async fn run(&self, context: Context, input: FlowInput) -> Result<Value, Failure> {
        let flow = match self.asked(&input)? {
            Asked::Bench(input) => return Ok(json!(BenchSteps.run(context, input).await?)),
            Asked::Flow(flow) => flow,
        };
        let pin = self.pinned(&context, &flow).await?;
        let inputs = flow
            .inputs(&input.inputs, &run_scope(&context))
            .map_err(|findings| refusal("input_invalid", findings, "/inputs"))?;
        let limits = Limits::of(&input.policy.unwrap_or_default(), pin.started_at);
        let interpreter = Interpreter::new(context, flow, Arc::clone(&self.tools), limits);
        Box::pin(interpreter.run(inputs)).await
    }
}

/// Stands in for a run whose id is not known before it is queued.
fn sample_scope() -> Scope {
    scope_of("client")
}

/// The same for a client that is known.
pub(super) fn scope_of(client: &str) -> Scope {
    Scope::default().with("run", json!({ "id": "00000000-0000-7000-8000-000000000000", "client": client }))
}

fn bench_input(inputs: &Map<String, Value>) -> Result<BenchInput, Failure> {
    serde_json::from_value(Value::Object(inputs.clone())).map_err(|error| {
        let finding = Finding::error("", error.to_string(), "correct the inputs of `bench.steps`");
        refusal("input_invalid", vec![finding], "/inputs")
    })
}

fn check_policy(policy: &Policy) -> Result<(), Failure> {
    let mut findings = Vec::new();
    if policy.max_retries.is_some_and(|retries| retries >= RetryPolicy::MAX_ATTEMPTS) {
        let remedy = format!("write less than {}", RetryPolicy::MAX_ATTEMPTS);
        findings.push(Finding::error("/policy/max_retries", "out of bounds", remedy));
    }
    if policy.max_duration_s == Some(0) {
        findings.push(Finding::error("/policy/max_duration_s", "no time at all", "write at least 1"));
    }
    if findings.is_empty() { Ok(()) } else { Err(refusal("input_invalid", findings, "")) }
}
