//! Policies: put in force, read, and asked what they would say.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use fermata_engine::policy::{Evaluation, PolicyDocument, PolicyScope, PolicyView, Proposal, RunProposal};
use fermata_engine::read::Paged;
use fermata_engine::workflow::Workflow as _;
use fermata_workflows::flow::FlowRun;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::body::JsonBody;
use super::query::Params;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::{FieldError, Kind, Problem};

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// The version; the one in force when left out.
    #[param(minimum = 1)]
    version: Option<i64>,
}

/// What the caller goes by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutQuery {
    /// Only if this is the version in force, 0 for none; otherwise 409 `version_moved`.
    #[param(minimum = 0)]
    if_version: Option<i64>,
}

/// Something that somebody thinks of: one action, or a flow with all of its actions.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Proposal")]
pub(crate) struct EvaluationRequest {
    /// For which client; the caller's own when left out.
    pub client_id: Option<String>,
    /// An action: on which platform. An action needs `platform`, `account_id` and `action_type`.
    pub platform: Option<String>,
    /// An action: for which account.
    pub account_id: Option<String>,
    /// An action: what is done: `publish`, `dm_send`, ...
    pub action_type: Option<String>,
    /// An action: what it would carry.
    pub payload: Value,
    /// An installed flow. Either this, or `flow`, or an action.
    pub workflow_name: Option<String>,
    /// A flow document, for tokens with `flows:inline`.
    pub flow: Option<Map<String, Value>>,
    /// What the flow takes.
    pub inputs: Option<Map<String, Value>>,
    /// At what time; now when left out. What is rationed is looked at as it is now.
    pub at: Option<DateTime<Utc>>,
}

/// What is asked about.
enum Asked {
    Action(Proposal),
    Run(RunProposal),
}

impl EvaluationRequest {
    fn asked(self) -> Result<Asked, Problem> {
        let Self { client_id, platform, account_id, action_type, payload, workflow_name, flow, inputs, at } = self;
        let is_run = workflow_name.is_some() || flow.is_some();
        let odd = [
            ("/platform", is_run && platform.is_some()),
            ("/account_id", is_run && account_id.is_some()),
            ("/action_type", is_run && action_type.is_some()),
            ("/payload", is_run && !payload.is_null()),
            ("/inputs", !is_run && inputs.is_some()),
            ("/flow", workflow_name.is_some() && flow.is_some()),
        ];
        let mut wrong = Wrong::default();
        odd.iter().filter(|(_, odd)| *odd).for_each(|(pointer, _)| {
            wrong.add(pointer, "ask about one thing: an action, or a flow by `workflow_name` or `flow`");
        });
        if is_run {
            let mut payload = json!({ "inputs": inputs.unwrap_or_default() });
            if let Some(name) = workflow_name {
                payload["workflow_name"] = name.into();
            }
            if let Some(flow) = flow {
                payload["flow"] = flow.into();
            }
            return wrong.unless(Asked::Run(RunProposal { client_id, kind: FlowRun::NAME.to_owned(), payload, at }));
        }
        let mut needed = |pointer: &str, given: Option<String>| {
            given.unwrap_or_else(|| {
                wrong.add(pointer, "is required of an action; a flow is asked about by `workflow_name` or `flow`");
                String::new()
            })
        };
        let platform = needed("/platform", platform);
        let account_id = needed("/account_id", account_id);
        let action_type = needed("/action_type", action_type);
        wrong.unless(Asked::Action(Proposal { client_id, platform, account_id, action_type, payload, at }))
    }
}

/// Everything that is wrong with a request.
#[derive(Default)]
struct Wrong(Vec<FieldError>);

impl Wrong {
    fn add(&mut self, pointer: &str, message: &str) {
        self.0.push(FieldError { pointer: pointer.to_owned(), message: message.to_owned() });
    }

    fn unless(self, asked: Asked) -> Result<Asked, Problem> {
        if self.0.is_empty() {
            return Ok(asked);
        }
        Err(Problem::new(Kind::Validation, "the question does not fit").with_errors(self.0))
    }
}

fn scope(word: &str) -> Result<PolicyScope, Problem> {
    word.parse()
        .map_err(|error: fermata_engine::policy::ScopeError| Problem::invalid("/scope", format!("{word:?} {error}")))
}

/// List the policies in force that the token may see.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "listPolicies", tag = "policies",
    responses((status = 200, description = "At most 1000, by scope.", body = wire::PolicyList))
)]
pub(super) async fn list(State(app): State<AppState>, Caller(by): Caller) -> Result<Json<Paged<PolicyView>>, Problem> {
    let items = app.engine.policies(&by).await?;
    Ok(Json(Paged { items, next_cursor: None }))
}

/// Read a scope's policy.
#[utoipa::path(
    get, path = "/v1/policies/{scope}", operation_id = "getPolicy", tag = "policies",
    params(("scope" = String, Path, description = "`global`, `platform:…`, `client:…` or `account:<client>/<account>`."), VersionQuery),
    responses((status = 200, description = "The policy.", body = wire::Policy))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(word): Path<String>,
    Params(query): Params<VersionQuery>,
) -> Result<Json<PolicyView>, Problem> {
    Ok(Json(app.engine.policy(&by, &scope(&word)?, query.version).await?))
}

/// Put a policy in force. When it has answered, no effect begins under the one before it.
#[utoipa::path(
    put, path = "/v1/policies/{scope}", operation_id = "putPolicy", tag = "policies",
    params(("scope" = String, Path, description = "`global`, `platform:…`, `client:…` or `account:<client>/<account>`."), PutQuery),
    request_body = wire::PolicyDocument,
    responses((status = 200, description = "The policy, as its newest version.", body = wire::Policy))
)]
pub(super) async fn put(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(word): Path<String>,
    Params(query): Params<PutQuery>,
    JsonBody(document): JsonBody<PolicyDocument>,
) -> Result<Json<PolicyView>, Problem> {
    Ok(Json(app.engine.put_policy(&by, &scope(&word)?, &document, query.if_version).await?))
}

/// Ask what would become of an action, or of every action of a flow, and why. Nothing is done.
#[utoipa::path(
    post, path = "/v1/policies/evaluate", operation_id = "evaluatePolicy", tag = "policies",
    request_body = wire::Proposal,
    responses((status = 200, description = "The verdict, and what it was judged by; of a flow also that of each of its actions.", body = wire::PolicyEvaluation))
)]
pub(super) async fn evaluate(
    State(app): State<AppState>,
    Caller(by): Caller,
    JsonBody(request): JsonBody<EvaluationRequest>,
) -> Result<Json<Evaluation>, Problem> {
    Ok(Json(match request.asked()? {
        Asked::Action(proposal) => app.engine.evaluate(&by, &proposal).await?,
        Asked::Run(proposal) => app.engine.evaluate_run(&by, &proposal).await?,
    }))
}
