//! Commands: submit, list, read. A command is never deleted: other methods are 405.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use fermata_engine::Engine;
use fermata_engine::access::{NoClient, Principal};
use fermata_engine::id::RunId;
use fermata_engine::read::{CommandFilter, CommandView, Links};
use fermata_engine::run::{Submission, SubmitError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::IntoParams;

use super::asked::Asked;
use super::body::{self, JsonBody};
use super::query::{id, id_param, listed, page, time, words};
use super::{RequestContext, wire};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Says that an earlier request with the same key was answered again (Q-10).
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 255;

/// The command envelope (Q-05).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandRequest {
    /// The command type, such as `flow.run`; `/v1/schemas` lists them.
    pub r#type: String,
    /// What the type asks for; `/v1/schemas/command/{type}` describes it.
    pub payload: Map<String, Value>,
    /// For which client; may be left out by a token of one client.
    #[schemars(length(min = 1, max = MAX_KEY_BYTES))]
    pub client_id: Option<String>,
    /// The platform that it is about.
    #[schemars(length(min = 1, max = MAX_KEY_BYTES))]
    pub platform: Option<String>,
    /// The account that it acts for.
    #[schemars(length(min = 1, max = MAX_KEY_BYTES))]
    pub account_id: Option<String>,
    /// The browser session that it uses.
    #[schemars(length(min = 1, max = MAX_KEY_BYTES))]
    pub session_id: Option<String>,
    /// The same key and content is the same command: 1 to 255 visible ASCII characters. May be
    /// sent as the header `Idempotency-Key` instead.
    #[schemars(regex(pattern = r"^[\x21-\x7E]{1,255}$"))]
    pub idempotency_key: Option<String>,
    /// Ties commands together for the client.
    #[schemars(length(min = 1, max = MAX_KEY_BYTES))]
    pub correlation_id: Option<String>,
    /// 0 to 9, higher first; 5 when left out.
    #[schemars(range(min = 0, max = 9))]
    pub priority: Option<u8>,
    /// Not to be started before.
    pub not_before: Option<DateTime<Utc>>,
    /// Failed when not ended by then.
    pub deadline: Option<DateTime<Utc>>,
    /// The client's own word that what needs an extra flag (direct messages) is meant. Kept with
    /// the policy.
    pub approval: Option<bool>,
    /// Bounds of this command.
    pub policy: Option<CommandPolicy>,
    /// Check only: nothing is queued.
    #[serde(default)]
    pub dry_run: bool,
}

/// Bounds of a command.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandPolicy {
    /// The most retries of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// The longest time that it may take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration_s: Option<u64>,
}

/// A command is durable.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CommandAccepted {
    /// The command.
    pub command_id: RunId,
    /// Its status.
    pub status: String,
    /// Where its resources are.
    pub links: Links,
}

/// A command would be accepted.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CommandValid {
    /// Always true.
    pub valid: bool,
}

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommandQuery {
    /// Statuses, with commas between.
    #[serde(alias = "status")]
    state: Option<String>,
    /// The command type.
    r#type: Option<String>,
    /// The account.
    account_id: Option<String>,
    /// The client; of use to tokens of every client.
    client_id: Option<String>,
    /// The correlation id.
    correlation_id: Option<String>,
    /// The command that started it.
    parent_id: Option<String>,
    /// Accepted at or after (RFC 3339).
    since: Option<String>,
    /// Accepted before (RFC 3339).
    until: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// Submit a command. Once it is accepted it survives any crash.
#[utoipa::path(
    post, path = "/v1/commands", operation_id = "submitCommand", tag = "commands",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and content is the same command.")),
    request_body = wire::CommandRequest,
    responses(
        (status = 202, description = "Accepted, or accepted before under the same key.", body = wire::CommandAccepted,
         headers(("Location" = String), ("Idempotent-Replayed" = String, description = "`true` for the same again."))),
        (status = 200, description = "A dry run: it would be accepted.", body = wire::CommandValid),
        (status = 409, description = "The key was used for another request: `command_id` says which.",
         content_type = "application/problem+json", body = wire::Problem),
    )
)]
pub(super) async fn submit(
    State(app): State<AppState>,
    Caller(by): Caller,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<CommandRequest>,
) -> Result<Response, Problem> {
    let dry_run = request.dry_run;
    let submission = submission(request, &by, &headers, &context, app.engine.default_client())?;
    let (kind, payload) = (submission.kind.clone(), submission.payload.clone());
    let explain = |error| explain(&app.engine, &kind, &payload, error);
    if dry_run {
        app.engine.check(&by, &submission).await.map_err(explain)?;
        return Ok(Json(CommandValid { valid: true }).into_response());
    }
    let receipt = app.engine.submit(&by, submission).await.map_err(explain)?;
    let mut status = receipt.status.to_owned();
    if receipt.replayed {
        status = app.engine.command_status(&by, receipt.command_id).await?.unwrap_or(status);
    }
    let links = Links::of(receipt.command_id);
    let location = [(LOCATION, links.own.clone())];
    let replayed = receipt.replayed.then_some([(REPLAYED, "true")]);
    let accepted = Json(CommandAccepted { command_id: receipt.command_id, status, links });
    Ok(match replayed {
        Some(replayed) => (StatusCode::ACCEPTED, location, replayed, accepted).into_response(),
        None => (StatusCode::ACCEPTED, location, accepted).into_response(),
    })
}

/// List commands, newest first.
#[utoipa::path(
    get, path = "/v1/commands", operation_id = "listCommands", tag = "commands", params(CommandQuery),
    responses((status = 200, description = "A page.", body = wire::CommandList, headers(("Link" = String))))
)]
pub(super) async fn list(asked: Asked<CommandQuery>) -> Result<Response, Problem> {
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let filter = CommandFilter {
        statuses: words(query.state.as_deref()),
        parent_id: id_param("parent_id", query.parent_id.as_deref())?,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
        kind: query.r#type,
        account_id: query.account_id,
        client_id: query.client_id,
        correlation_id: query.correlation_id,
    };
    Ok(listed(&uri, app.engine.commands(&by, &filter, page).await?))
}

/// Read a command with its lifecycle.
#[utoipa::path(
    get, path = "/v1/commands/{id}", operation_id = "readCommand", tag = "commands",
    params(("id" = String, Path, description = "The command.")),
    responses((status = 200, description = "The command.", body = wire::Command))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(command): Path<String>,
) -> Result<Json<CommandView>, Problem> {
    let found = app.engine.command(&by, id(&command, "command")?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("command"))
}

/// The engine's submission out of the envelope, the headers and who calls.
fn submission(
    request: CommandRequest,
    by: &Principal,
    headers: &HeaderMap,
    context: &RequestContext,
    default_client: Option<&str>,
) -> Result<Submission, Problem> {
    let client_id = by.client_for(request.client_id, default_client).map_err(|none| match none {
        NoClient::Denied(denied) => denied.into(),
        NoClient::Unnamed => Problem::invalid("/client_id", none.to_string()),
    })?;
    let idempotency_key = idempotency_key(headers, request.idempotency_key)?;
    Ok(Submission {
        client_id,
        kind: request.r#type,
        payload: Value::Object(request.payload),
        platform: request.platform,
        account_id: request.account_id,
        session_id: request.session_id,
        idempotency_key,
        correlation_id: request.correlation_id,
        priority: request.priority,
        not_before: request.not_before,
        deadline: request.deadline,
        policy: policy(request.policy, request.approval),
        caller: context.trace,
    })
}

fn policy(policy: Option<CommandPolicy>, approval: Option<bool>) -> Option<Value> {
    if policy.is_none() && approval.is_none() {
        return None;
    }
    let mut all = json!(policy.unwrap_or(CommandPolicy { max_retries: None, max_duration_s: None }));
    if let Some(approval) = approval {
        all["approval"] = approval.into();
    }
    Some(all)
}

/// The key out of the header or the body (C-35): both are fine when they are the same.
fn idempotency_key(headers: &HeaderMap, in_body: Option<String>) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let in_header = given.next();
    if given.next().is_some() {
        return Err(Problem::invalid("/Idempotency-Key", "send it once"));
    }
    let unfit =
        |pointer: &str| Problem::invalid(pointer, format!("must be 1 to {MAX_KEY_BYTES} visible ASCII characters"));
    let fits = |key: &str| (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if in_body.as_deref().is_some_and(|key| !fits(key)) {
        return Err(unfit("/idempotency_key"));
    }
    let Some(in_header) = in_header else { return Ok(in_body) };
    let key = in_header.to_str().ok().filter(|key| fits(key)).ok_or_else(|| unfit("/Idempotency-Key"))?;
    match in_body {
        Some(other) if other != key => {
            Err(Problem::invalid("/idempotency_key", "differs from the header Idempotency-Key; send one of them"))
        }
        _ => Ok(Some(key.to_owned())),
    }
}

/// Where a payload does not fit, its published schema says more than the reading of it.
pub(crate) fn explain(engine: &Engine, kind: &str, payload: &Value, error: SubmitError) -> Problem {
    let SubmitError::Invalid { pointer, message } = &error else { return error.into() };
    if pointer != "/payload" {
        return error.into();
    }
    let schema = engine.registry().input_schema(kind).map(Value::from);
    let found = schema.and_then(|schema| body::validator(&schema)).map(|validator| body::list(&validator, payload));
    let mut found = found.unwrap_or_default();
    if found.is_empty() {
        return Problem::invalid("/payload", message);
    }
    for misfit in &mut found {
        misfit.pointer.insert_str(0, "/payload");
    }
    body::refused(found, String::new)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use fermata_engine::access::Scope;

    use super::*;
    use crate::error::Kind;

    fn keyed(header: Option<&'static str>, in_body: Option<&str>) -> Result<Option<String>, Kind> {
        let mut headers = HeaderMap::new();
        if let Some(key) = header {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static(key));
        }
        idempotency_key(&headers, in_body.map(str::to_owned)).map_err(|problem| problem.kind())
    }

    fn envelope(more: &Value) -> CommandRequest {
        let mut envelope = json!({"type": "flow.run", "payload": {}});
        envelope.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(envelope).unwrap()
    }

    fn submitted(by: &Principal, more: &Value) -> Result<Submission, Problem> {
        let context = RequestContext { id: "r".into(), trace: None };
        submission(envelope(more), by, &HeaderMap::new(), &context, None)
    }

    fn of_acme() -> Principal {
        Principal { client_id: "acme".into(), scopes: [Scope::CommandsWrite].into(), ..Principal::operator() }
    }

    #[test]
    fn the_key_comes_in_the_header_or_the_body_or_the_same_in_both() {
        assert_eq!(keyed(None, None), Ok(None));
        assert_eq!(keyed(Some("k"), None), Ok(Some("k".into())));
        assert_eq!(keyed(None, Some("k")), Ok(Some("k".into())));
        assert_eq!(keyed(Some("k"), Some("k")), Ok(Some("k".into())));
        assert_eq!(keyed(Some("k"), Some("l")), Err(Kind::Validation));
    }

    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        let longest = "x".repeat(255);
        assert_eq!(keyed(None, Some(&longest)), Ok(Some(longest.clone())));
        for bad in ["", "a b", "ä", "a\tb", "a\u{7f}", &format!("{longest}x")] {
            assert_eq!(keyed(None, Some(bad)), Err(Kind::Validation), "{bad:?}");
        }
        assert_eq!(keyed(Some("a b"), None), Err(Kind::Validation));
    }

    #[test]
    fn the_client_is_the_tokens_own_or_named_by_who_may() {
        assert_eq!(submitted(&of_acme(), &json!({})).unwrap().client_id, "acme");
        assert_eq!(submitted(&of_acme(), &json!({"client_id": "acme"})).unwrap().client_id, "acme");
        let other = submitted(&of_acme(), &json!({"client_id": "other"})).unwrap_err();
        assert_eq!(other.kind(), Kind::Forbidden);
        let nobody = submitted(&Principal::operator(), &json!({})).unwrap_err();
        assert_eq!(nobody.kind(), Kind::Validation);
        let named = submitted(&Principal::operator(), &json!({"client_id": "other"})).unwrap();
        assert_eq!(named.client_id, "other");
    }

    #[test]
    fn an_unknown_field_of_the_envelope_is_refused() {
        let body = json!({"type": "flow.run", "payload": {}, "prio": 1});
        assert!(serde_json::from_value::<CommandRequest>(body).is_err());
        let policy = json!({"type": "flow.run", "payload": {}, "policy": {"retries": 1}});
        assert!(serde_json::from_value::<CommandRequest>(policy).is_err());
    }

    #[test]
    fn policy_and_approval_are_kept_together() {
        let kept = submitted(&of_acme(), &json!({"policy": {"max_retries": 2}, "approval": true})).unwrap();
        assert_eq!(kept.policy, Some(json!({"max_retries": 2, "approval": true})));
        assert_eq!(submitted(&of_acme(), &json!({})).unwrap().policy, None);
    }
}
