//! Workflows: what this installation can do, its flows with their steps and phases (G-002).

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use fermata_engine::effect::Lane;
use fermata_workflows::{CatalogEntry, CatalogStep, WorkflowKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schemas::SCHEMA_JSON;
use super::wire;
use crate::app::AppState;
use crate::error::Problem;

/// What this installation can do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkflowList {
    /// The workflows, by name: as many as were installed, so there is one page.
    pub items: Vec<WorkflowSummary>,
}

/// A workflow, without its steps.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkflowSummary {
    /// The name that it is started by.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// Data or code.
    pub kind: WorkflowKind,
    /// The command type that starts it: `flow.run` with `workflow_name`, or its own.
    pub command_type: String,
    /// How it reaches its platform; `null` for code that says nothing of it.
    pub lane: Option<Lane>,
    /// The platform that it acts on.
    pub platform: Option<String>,
    /// A few words.
    pub title: Option<String>,
    /// Sentences.
    pub description: Option<String>,
    /// Where more is.
    pub links: WorkflowLinks,
}

/// Where a workflow's resources are, as paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkflowLinks {
    /// The workflow with its steps.
    #[serde(rename = "self")]
    #[schemars(rename = "self")]
    pub own: String,
    /// The JSON Schema of its inputs.
    pub inputs: String,
}

/// A workflow: what it takes and what it does.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Workflow")]
pub(crate) struct WorkflowView {
    /// The name that it is started by.
    pub name: String,
    /// Its author's version.
    pub version: String,
    /// Data or code.
    pub kind: WorkflowKind,
    /// The command type that starts it: `flow.run` with `workflow_name`, or its own.
    pub command_type: String,
    /// How it reaches its platform; `null` for code that says nothing of it.
    pub lane: Option<Lane>,
    /// The platform that it acts on.
    pub platform: Option<String>,
    /// A few words.
    pub title: Option<String>,
    /// Sentences.
    pub description: Option<String>,
    /// What it does, in order; empty for code, which decides as it runs.
    pub steps: Vec<CatalogStep>,
    /// The JSON Schema (2020-12) of what it takes.
    pub inputs: Value,
    /// Where more is.
    pub links: WorkflowLinks,
}

impl From<&CatalogEntry> for WorkflowSummary {
    fn from(entry: &CatalogEntry) -> Self {
        let CatalogEntry { name, version, kind, command_type, lane, platform, title, description, .. } = entry.clone();
        let links = WorkflowLinks::of(&name);
        Self { name, version, kind, command_type, lane, platform, title, description, links }
    }
}

impl From<&CatalogEntry> for WorkflowView {
    fn from(entry: &CatalogEntry) -> Self {
        let CatalogEntry { name, version, kind, command_type, lane, platform, title, description, steps, inputs } =
            entry.clone();
        let links = WorkflowLinks::of(&name);
        Self { name, version, kind, command_type, lane, platform, title, description, steps, inputs, links }
    }
}

impl WorkflowLinks {
    fn of(name: &str) -> Self {
        Self { own: format!("/v1/workflows/{name}"), inputs: format!("/v1/workflows/{name}/inputs") }
    }
}

/// List the installed workflows.
#[utoipa::path(
    get, path = "/v1/workflows", operation_id = "listWorkflows", tag = "workflows",
    responses((status = 200, description = "All of them.", body = wire::WorkflowList))
)]
pub(super) async fn list(State(app): State<AppState>) -> Json<WorkflowList> {
    Json(WorkflowList { items: app.catalog.entries().map(WorkflowSummary::from).collect() })
}

/// Read a workflow with its steps.
#[utoipa::path(
    get, path = "/v1/workflows/{name}", operation_id = "readWorkflow", tag = "workflows",
    params(("name" = String, Path, description = "The workflow.")),
    responses((status = 200, description = "The workflow.", body = wire::Workflow))
)]
pub(super) async fn read(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<WorkflowView>, Problem> {
    found(&app, &name).map(|entry| Json(entry.into()))
}

/// The schema of a workflow's inputs.
#[utoipa::path(
    get, path = "/v1/workflows/{name}/inputs", operation_id = "workflowInputs", tag = "workflows",
    params(("name" = String, Path, description = "The workflow.")),
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn inputs(
    State(app): State<AppState>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok((SCHEMA_JSON, found(&app, &name)?.inputs.to_string()))
}

fn found<'a>(app: &'a AppState, name: &str) -> Result<&'a CatalogEntry, Problem> {
    app.catalog.find(name).ok_or_else(|| Problem::not_found("workflow"))
}
