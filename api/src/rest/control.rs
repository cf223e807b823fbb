//! Control of a command: cancel, resume, signal.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use fermata_engine::id::{RunId, SignalId};
use fermata_engine::run::{Cancelled, NewSignal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::MaybeJsonBody;
use super::query::id;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Why a command is cancelled.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {
    /// For the record.
    #[schemars(length(max = 2000))]
    reason: Option<String>,
}

/// What a person says at the end of a takeover.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeRequest {
    /// For the record.
    comment: Option<String>,
    /// What the run gets to see.
    #[serde(default)]
    outputs: Value,
}

/// Outside input for a run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalRequest {
    /// Chosen by the sender, a UUID: the same again changes nothing.
    signal_id: Option<SignalId>,
    /// What the run gets.
    #[serde(default)]
    payload: Value,
}

/// A command was moved.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CommandMoved {
    /// The command.
    pub command_id: RunId,
    /// Its status.
    pub status: String,
}

/// A signal is durable.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SignalAccepted {
    /// The signal.
    pub signal_id: SignalId,
    /// The command that it is for.
    pub command_id: RunId,
}

/// Cancel a command. One that has not started ends at once; any other at its next checkpoint,
/// after an action in flight is settled.
#[utoipa::path(
    post, path = "/v1/commands/{id}/cancel", operation_id = "cancelCommand", tag = "commands",
    params(("id" = String, Path, description = "The command.")), request_body = Option<wire::CancelRequest>,
    responses(
        (status = 200, description = "It has ended.", body = wire::CommandMoved),
        (status = 202, description = "It will end.", body = wire::CommandMoved),
    )
)]
pub(super) async fn cancel(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(command): Path<String>,
    MaybeJsonBody(request): MaybeJsonBody<CancelRequest>,
) -> Result<(StatusCode, Json<CommandMoved>), Problem> {
    let command_id = id(&command, "command")?;
    let cancelled = app.engine.cancel(&by, command_id, request.reason.unwrap_or_default()).await?;
    let (code, status) = match cancelled {
        Cancelled::Done => (StatusCode::OK, "CANCELLED"),
        Cancelled::Underway => (StatusCode::ACCEPTED, "CANCELLING"),
    };
    Ok((code, Json(CommandMoved { command_id, status: status.to_owned() })))
}

/// Let a command go on that waits for the end of a takeover.
#[utoipa::path(
    post, path = "/v1/commands/{id}/resume", operation_id = "resumeCommand", tag = "commands",
    params(("id" = String, Path, description = "The command.")), request_body = Option<wire::ResumeRequest>,
    responses((status = 202, description = "It goes on.", body = wire::CommandMoved))
)]
pub(super) async fn resume(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(command): Path<String>,
    MaybeJsonBody(request): MaybeJsonBody<ResumeRequest>,
) -> Result<(StatusCode, Json<CommandMoved>), Problem> {
    let command_id = id(&command, "command")?;
    app.engine.resume(&by, command_id, request.comment, request.outputs).await?;
    Ok((StatusCode::ACCEPTED, Json(CommandMoved { command_id, status: "QUEUED".to_owned() })))
}

/// Send a signal. One that comes before it is waited for is kept.
#[utoipa::path(
    post, path = "/v1/commands/{id}/signals/{name}", operation_id = "sendSignal", tag = "commands",
    params(("id" = String, Path, description = "The command."), ("name" = String, Path, description = "What it waits for.")),
    request_body = Option<wire::SignalRequest>,
    responses((status = 202, description = "It is durable.", body = wire::SignalAccepted))
)]
pub(super) async fn signal(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path((command, name)): Path<(String, String)>,
    MaybeJsonBody(request): MaybeJsonBody<SignalRequest>,
) -> Result<(StatusCode, Json<SignalAccepted>), Problem> {
    let command_id = id(&command, "command")?;
    let signal = NewSignal { id: request.signal_id, name, payload: request.payload };
    let signal_id = app.engine.signal(&by, command_id, signal).await?;
    Ok((StatusCode::ACCEPTED, Json(SignalAccepted { signal_id, command_id })))
}
