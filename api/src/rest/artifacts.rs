//! Artifacts and their content.

use std::io::SeekFrom;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fermata_engine::id::ArtifactId;
use fermata_engine::read::{ArtifactFilter, ArtifactView};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use super::asked::Asked;
use super::query::{id, listed, page};
use super::range::{Wanted, wanted};
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::{Kind, Problem};

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ArtifactQuery {
    /// What it is, such as `screenshot`.
    #[serde(alias = "kind")]
    r#type: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// List the artifacts of a command, newest first.
#[utoipa::path(
    get, path = "/v1/commands/{id}/artifacts", operation_id = "listCommandArtifacts", tag = "artifacts",
    params(("id" = String, Path, description = "The command."), ArtifactQuery),
    responses((status = 200, description = "A page.", body = wire::ArtifactList, headers(("Link" = String))))
)]
pub(super) async fn of_command(asked: Asked<ArtifactQuery>) -> Result<Response, Problem> {
    let run = asked.command()?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let filter = ArtifactFilter { run: Some(run), kind: query.r#type };
    Ok(listed(&uri, app.engine.artifacts_of(&by, &filter, page).await?))
}

/// Read what is known of an artifact.
#[utoipa::path(
    get, path = "/v1/artifacts/{id}", operation_id = "readArtifact", tag = "artifacts",
    params(("id" = String, Path, description = "The artifact.")),
    responses((status = 200, description = "The artifact.", body = wire::Artifact))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(artifact): Path<String>,
) -> Result<Json<ArtifactView>, Problem> {
    let found = app.engine.artifact(&by, id(&artifact, "artifact")?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("artifact"))
}

/// Fetch the content of an artifact, whole or a range of it.
#[utoipa::path(
    get, path = "/v1/artifacts/{id}/content", operation_id = "readArtifactContent", tag = "artifacts",
    params(("id" = String, Path, description = "The artifact."), ("Range" = Option<String>, Header, description = "One range of bytes.")),
    responses(
        (status = 200, description = "All of it.", content_type = "*/*", body = inline(wire::Bytes)),
        (status = 206, description = "The range.", content_type = "*/*", body = inline(wire::Bytes)),
        (status = 304, description = "The caller has it already."),
    )
)]
pub(super) async fn content(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(artifact): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: ArtifactId = id(&artifact, "artifact")?;
    let found = app.engine.artifact_content(&by, id).await?;
    let (artifact, file) = found.ok_or_else(|| Problem::not_found("artifact"))?;
    let tag = format!("\"{}\"", artifact.checksum);
    let length = u64::try_from(artifact.bytes).unwrap_or(0);
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = if text(IF_NONE_MATCH).is_some_and(|known| known == "*" || known.contains(&tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|known| known == tag));
        match wanted(range, length) {
            Wanted::Whole => sent(file, StatusCode::OK, 0, length).await?,
            Wanted::Part { first, last } => {
                let mut part = sent(file, StatusCode::PARTIAL_CONTENT, first, last - first + 1).await?;
                put(&mut part, CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
                part
            }
            Wanted::Nothing => {
                let detail = format!("the content has {length} bytes");
                let mut refused = Problem::new(Kind::Range, detail).into_response();
                put(&mut refused, CONTENT_RANGE, &format!("bytes */{length}"));
                return Ok(refused);
            }
        }
    };
    describe(&mut response, &artifact, &tag);
    Ok(response)
}

/// A part of a file as an answer; read while it is sent.
async fn sent(mut file: File, status: StatusCode, first: u64, count: u64) -> Result<Response, Problem> {
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await.map_err(|error| Problem::internal(&error))?;
    }
    let mut response = (status, Body::from_stream(ReaderStream::new(file.take(count)))).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, count.into());
    Ok(response)
}

/// The headers of content that came from outside: it is saved, never shown as a page of ours.
fn describe(response: &mut Response, artifact: &ArtifactView, tag: &str) {
    let kind = HeaderValue::from_str(&artifact.content_type);
    let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    put(response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{}\"", artifact.artifact_id));
    put(response, ETAG, tag);
    put(response, ACCEPT_RANGES, "bytes");
    put(response, CACHE_CONTROL, "private, max-age=3600, immutable");
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
