//! What an installation can do, as people read it before they start anything: its flows with their
//! steps and phases (G-002), and the workflows that are code.

use std::collections::BTreeMap;

use fermata_engine::effect::Lane;
use fermata_engine::workflow::{Registry, Workflow as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::flow::document::{Phase, Step};
use crate::flow::{Flow, FlowRun};

/// What a workflow is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    /// Data: started as `flow.run` with its name.
    Flow,
    /// Code: a command type of its own.
    Code,
}

/// A step of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "WorkflowStep")]
pub struct CatalogStep {
    /// Unique in the flow.
    pub id: String,
    /// A few words for people.
    pub title: Option<String>,
    /// What it does: `http`, `browser`, `effect`, `human`, `sleep`, `wait_signal`, `set` or `child`.
    pub kind: String,
    /// The part of the work that it belongs to.
    pub phase: Option<Phase>,
}

/// A workflow of an installation.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogEntry {
    /// The name that it is started by.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// What it is made of.
    pub kind: WorkflowKind,
    /// The command type that starts it.
    pub command_type: String,
    /// How it reaches its platform.
    pub lane: Option<Lane>,
    /// The platform that it acts on.
    pub platform: Option<String>,
    /// A few words for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it does, in order; empty for code, which decides as it runs.
    pub steps: Vec<CatalogStep>,
    /// The JSON Schema (2020-12) of what it takes.
    pub inputs: Value,
}

/// The workflows of an installation, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    entries: BTreeMap<String, CatalogEntry>,
}

impl Catalog {
    /// The flows. Of several with one name the last wins, as in the registry.
    pub fn of_flows(flows: &[Flow]) -> Self {
        Self { entries: flows.iter().map(|flow| (flow.name().to_owned(), of_flow(flow))).collect() }
    }

    /// Adds the workflows that are code.
    pub fn with_code(mut self, registry: &Registry) -> Self {
        for name in registry.names() {
            if let Some(entry) = of_code(registry, name) {
                self.entries.insert(name.to_owned(), entry);
            }
        }
        self
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = &CatalogEntry> {
        self.entries.values()
    }

    /// The one of that name.
    pub fn find(&self, name: &str) -> Option<&CatalogEntry> {
        self.entries.get(name)
    }
}

fn of_flow(flow: &Flow) -> CatalogEntry {
    let document = flow.document();
    CatalogEntry {
        name: document.name.clone(),
        version: document.version.clone(),
        kind: WorkflowKind::Flow,
        command_type: FlowRun::NAME.to_owned(),
        lane: Some(document.lane),
        platform: Some(document.platform.clone()),
        title: document.title.clone(),
        description: document.description.clone(),
        steps: document.steps.iter().map(step).collect(),
        inputs: Value::Object(document.inputs.clone()),
    }
}

fn step(step: &Step) -> CatalogStep {
    CatalogStep {
        id: step.id.clone(),
        title: step.title.clone(),
        kind: step.action.name().to_owned(),
        phase: step.phase,
    }
}

fn of_code(registry: &Registry, name: &str) -> Option<CatalogEntry> {
    let about = registry.about(name)?;
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(CatalogEntry {
        name: about.name.to_owned(),
        version: about.version.to_owned(),
        kind: WorkflowKind::Code,
        command_type: about.name.to_owned(),
        lane: None,
        platform: None,
        title: said(about.title),
        description: said(about.description),
        steps: Vec::new(),
        inputs: registry.input_schema(name).map(Value::from).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use fermata_engine::clock::Clock;

    use super::*;
    use crate::{Installation, registry};

    fn installed() -> Catalog {
        let installation = Installation::with_packs(Clock::system()).unwrap();
        let flows = Catalog::of_flows(&installation.flows);
        drop(rustls::crypto::ring::default_provider().install_default());
        flows.with_code(&registry(installation).unwrap())
    }

    #[test]
    fn every_step_of_every_installed_flow_has_a_phase_and_a_title() {
        let catalog = installed();
        let flows: Vec<_> = catalog.entries().filter(|entry| entry.kind == WorkflowKind::Flow).collect();
        assert!(!flows.is_empty());
        for flow in flows {
            assert!(!flow.steps.is_empty(), "{} has steps", flow.name);
            for step in &flow.steps {
                assert!(step.phase.is_some(), "`{}` of {} has no phase", step.id, flow.name);
                assert!(step.title.is_some(), "`{}` of {} has no title", step.id, flow.name);
            }
        }
    }

    #[test]
    fn every_installed_workflow_says_what_it_is_for() {
        for entry in installed().entries() {
            assert!(entry.title.is_some() && entry.description.is_some(), "{}", entry.name);
            assert_eq!(entry.inputs["type"], "object", "{}", entry.name);
        }
    }
}
