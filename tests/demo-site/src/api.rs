//! The JSON API, as a program would use it: bearer tokens, `Idempotency-Key`, 201 and 200.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::account::{Handle, PASSWORD};
use crate::app::App;
use crate::arrival::Arrival;
use crate::clock;
use crate::effect::{Attachment, Draft};
use crate::ledger::{Lane, Line};
use crate::mode::Me;
use crate::problem::Problem;
use crate::site::{Outcome, PostFilter, Request};
use crate::view::{CommentView, LikeView, MessageView};

const MAX_KEY_BYTES: usize = 256;

/// The routes under `/api`.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/login", post(log_in))
        .route("/api/me", get(me))
        .route("/api/posts", get(list_posts).post(create_post))
        .route("/api/posts/{id}", get(show_post))
        .route("/api/posts/{id}/comments", get(list_comments).post(create_comment))
        .route("/api/posts/{id}/likes", get(list_likes).post(create_like))
        .route("/api/messages", get(list_messages).post(create_message))
}

/// A JSON object, whatever its content type says; anything else is a 400 with the reason.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await?;
        // By way of a map, because serde would take an array for a struct's fields in order.
        serde_json::from_slice::<Map<String, Value>>(&bytes)
            .and_then(|object| serde_json::from_value(Value::Object(object)))
            .map(Self)
            .map_err(|error| Problem::malformed(error.to_string()))
    }
}

/// A query string that parses.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub(crate) struct Params<T>(pub(crate) T);

/// The account whose bearer token came with the request.
pub(crate) struct Bearer(pub(crate) Handle);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let token = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or(Problem::NotSignedIn)?;
        let handle = app.site.lock().await.signed_in(token);
        handle.map(Self).ok_or(Problem::NotSignedIn)
    }
}

/// A request of this lane that is ready to be performed.
struct Caller {
    account: Handle,
    idempotency_key: Option<String>,
    arrival: Arrival,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let arrival = Arrival::from_request_parts(parts, app).await?;
        let Bearer(account) = Bearer::from_request_parts(parts, app).await?;
        let idempotency_key = key_of(&parts.headers)?;
        Ok(Self { account, idempotency_key, arrival })
    }
}

impl Caller {
    async fn perform(self, app: &Arc<App>, draft: Draft) -> Result<(StatusCode, Line), Problem> {
        let Self { account, idempotency_key, arrival: Arrival { received, fence, cord } } = self;
        let request = Request { account, lane: Lane::Api, idempotency_key, received, fence, draft };
        Ok(match app.perform(&cord, request).await? {
            Outcome::Applied(line) => (StatusCode::CREATED, line),
            Outcome::Replayed(line) => (StatusCode::OK, line),
        })
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_BYTES => Ok(Some(key.to_owned())),
        _ => Err(Problem::malformed(format!("`Idempotency-Key` is 1 to {MAX_KEY_BYTES} visible ASCII characters"))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    handle: String,
    password: String,
}

async fn log_in(State(app): State<Arc<App>>, Body(login): Body<Login>) -> Result<Json<Value>, Problem> {
    let handle = Handle::try_from(login.handle)?;
    if login.password != PASSWORD {
        return Err(Problem::WrongPassword);
    }
    let token = app.site.lock().await.log_in(&handle)?;
    Ok(Json(json!({ "token": token, "handle": handle })))
}

async fn me(State(app): State<Arc<App>>, Bearer(handle): Bearer) -> Result<Json<Value>, Problem> {
    let handle = match app.switchboard.mode().me {
        Me::Truth => handle,
        Me::Account(other) => other,
        Me::Busy => return Err(Problem::Fault(StatusCode::SERVICE_UNAVAILABLE)),
        Me::Nobody => return Ok(Json(json!({}))),
    };
    Ok(Json(json!({
        "id": handle.account_id(),
        "display_name": handle.display_name(),
        "handle": handle,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPost {
    caption: String,
    media_url: Option<String>,
    media_base64: Option<String>,
    reference: Option<String>,
}

impl NewPost {
    fn draft(self) -> Result<Draft, Problem> {
        let attachment = match (self.media_url, self.media_base64) {
            (None, None) => Attachment::None,
            (Some(url), None) => Attachment::Url(url),
            (None, Some(text)) => {
                let bytes =
                    STANDARD.decode(text).map_err(|error| Problem::malformed(format!("`media_base64`: {error}")))?;
                Attachment::Bytes(bytes.into())
            }
            (Some(_), Some(_)) => {
                return Err(Problem::malformed("give `media_url` or `media_base64`, not both"));
            }
        };
        Draft::post(self.caption, attachment, self.reference)
    }
}

async fn create_post(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body<NewPost>,
) -> Result<Response, Problem> {
    let (status, line) = caller.perform(&app, body.draft()?).await?;
    let view = app.site.lock().await.post_view(&line, clock::now());
    shown(status, view)
}

#[derive(Deserialize)]
struct PostParams {
    author: Option<String>,
    reference: Option<String>,
}

async fn list_posts(State(app): State<Arc<App>>, Params(params): Params<PostParams>) -> Json<Value> {
    let filter = PostFilter { author: params.author, reference: params.reference };
    let posts = app.site.lock().await.posts(&filter, clock::now());
    Json(json!({ "posts": posts }))
}

async fn show_post(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let post = app.site.lock().await.post(&id, clock::now());
    post.map(|post| Json(post).into_response()).ok_or(Problem::NotFound("post"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewComment {
    text: String,
    reference: Option<String>,
}

async fn create_comment(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(post_id): Path<String>,
    Body(body): Body<NewComment>,
) -> Result<Response, Problem> {
    let draft = Draft::comment(post_id, body.text, body.reference)?;
    let (status, line) = caller.perform(&app, draft).await?;
    shown(status, CommentView::of(&line))
}

async fn list_comments(State(app): State<Arc<App>>, Path(post_id): Path<String>) -> Result<Json<Value>, Problem> {
    let (site, now) = (app.site.lock().await, clock::now());
    site.post(&post_id, now).ok_or(Problem::NotFound("post"))?;
    Ok(Json(json!({ "comments": site.comments(&post_id, now) })))
}

async fn create_like(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(post_id): Path<String>,
) -> Result<Response, Problem> {
    let (status, line) = caller.perform(&app, Draft::like(post_id)).await?;
    shown(status, LikeView::of(&line))
}

async fn list_likes(State(app): State<Arc<App>>, Path(post_id): Path<String>) -> Result<Json<Value>, Problem> {
    let (site, now) = (app.site.lock().await, clock::now());
    site.post(&post_id, now).ok_or(Problem::NotFound("post"))?;
    Ok(Json(json!({ "likes": site.likes(&post_id, now) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    to: String,
    text: String,
    reference: Option<String>,
}

async fn create_message(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body<NewMessage>,
) -> Result<Response, Problem> {
    let draft = Draft::message(Handle::try_from(body.to)?, body.text, body.reference)?;
    let (status, line) = caller.perform(&app, draft).await?;
    shown(status, MessageView::of(&line))
}

#[derive(Deserialize)]
struct MessageParams {
    with: Option<String>,
    reference: Option<String>,
}

async fn list_messages(
    State(app): State<Arc<App>>,
    Bearer(of): Bearer,
    Params(params): Params<MessageParams>,
) -> Json<Value> {
    let (with, reference) = (params.with.as_deref(), params.reference.as_deref());
    let site = app.site.lock().await;
    Json(json!({ "messages": site.messages(&of, with, reference, clock::now()) }))
}

/// Answers with what a request made. A line always has the kind of the draft it came from.
fn shown<V: serde::Serialize>(status: StatusCode, view: Option<V>) -> Result<Response, Problem> {
    let view = view.ok_or(Problem::Broken)?;
    Ok((status, Json(view)).into_response())
}
