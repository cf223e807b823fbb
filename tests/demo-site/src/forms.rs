//! What the pages' forms send. Each accepted submit applies again: forms know no keys.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use bytes::Bytes;
use multer::{Constraints, Multipart};
use serde::Deserialize;

use crate::account::{Handle, PASSWORD};
use crate::app::App;
use crate::arrival::Arrival;
use crate::effect::{Attachment, Draft};
use crate::ledger::{Lane, Line};
use crate::markup;
use crate::pages;
use crate::problem::Problem;
use crate::session::{self, Fields, PageProblem, Viewer};
use crate::site::{Outcome, Request};

/// The login form's fields.
#[derive(Deserialize)]
pub(crate) struct LoginFields {
    handle: String,
    password: String,
    next: Option<String>,
}

/// `POST /login`
pub(crate) async fn log_in(
    State(app): State<Arc<App>>,
    Fields(fields): Fields<LoginFields>,
) -> Result<Response, PageProblem> {
    let next = session::local(fields.next);
    let handle = Handle::try_from(fields.handle.trim().to_owned());
    let handle = handle.ok().filter(|_| fields.password == PASSWORD);
    let Some(handle) = handle else {
        let banner = markup::alert_banner(&Problem::WrongPassword.to_string());
        let form = pages::login_form(&next, &banner);
        return Ok((StatusCode::UNAUTHORIZED, form).into_response());
    };
    let token = app.site.lock().await.log_in(&handle)?;
    let cookie = AppendHeaders([(header::SET_COOKIE, session::cookie(&token))]);
    Ok((cookie, Redirect::to(&next)).into_response())
}

/// `POST /logout`
pub(crate) async fn log_out() -> Response {
    let cookie = AppendHeaders([(header::SET_COOKIE, session::no_cookie())]);
    (cookie, Redirect::to("/login")).into_response()
}

async fn perform(app: &Arc<App>, account: Handle, arrival: Arrival, draft: Draft) -> Result<Line, Problem> {
    let Arrival { received, fence, cord } = arrival;
    let request = Request { account, lane: Lane::Html, idempotency_key: None, received, fence, draft };
    match app.perform(&cord, request).await? {
        Outcome::Applied(line) | Outcome::Replayed(line) => Ok(line),
    }
}

/// `POST /compose`
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    Viewer(viewer): Viewer,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Redirect, PageProblem> {
    let composed = Composed::read(&headers, body?).await?;
    let line = perform(&app, viewer, arrival, composed.draft()?).await?;
    Ok(Redirect::to(&format!("/posts/{}?published=1", line.id)))
}

/// The fields of the composer.
#[derive(Default)]
struct Composed {
    caption: String,
    reference: String,
    media: Bytes,
}

impl Composed {
    async fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let boundary = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| multer::parse_boundary(value).ok())
            .ok_or_else(|| Problem::malformed("the form is not multipart/form-data"))?;
        let expected = Constraints::new().allowed_fields(vec!["media", "caption", "reference"]);
        let stream = Body::from(body).into_data_stream();
        let mut form = Multipart::with_constraints(stream, boundary, expected);
        let mut composed = Self::default();
        while let Some(field) = form.next_field().await? {
            match field.name() {
                Some("media") => composed.media = field.bytes().await?,
                Some("caption") => composed.caption = field.text().await?,
                _ => composed.reference = field.text().await?,
            }
        }
        Ok(composed)
    }

    fn draft(self) -> Result<Draft, Problem> {
        // A file input without a file sends an empty one.
        let attachment = if self.media.is_empty() { Attachment::None } else { Attachment::Bytes(self.media) };
        Draft::post(typed(&self.caption), attachment, given(&self.reference))
    }
}

/// The reply form's fields.
#[derive(Deserialize)]
pub(crate) struct CommentFields {
    text: String,
}

/// `POST /posts/{id}/comments`
pub(crate) async fn reply(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    Viewer(viewer): Viewer,
    Path(post_id): Path<String>,
    Fields(fields): Fields<CommentFields>,
) -> Result<Redirect, PageProblem> {
    let draft = Draft::comment(post_id.clone(), typed(&fields.text), None)?;
    perform(&app, viewer, arrival, draft).await?;
    Ok(Redirect::to(&format!("/posts/{post_id}?replied=1")))
}

/// `POST /posts/{id}/likes`
pub(crate) async fn like(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    Viewer(viewer): Viewer,
    Path(post_id): Path<String>,
) -> Result<Redirect, PageProblem> {
    perform(&app, viewer, arrival, Draft::like(post_id.clone())).await?;
    Ok(Redirect::to(&format!("/posts/{post_id}?liked=1")))
}

/// The message form's fields.
#[derive(Deserialize)]
pub(crate) struct MessageFields {
    text: String,
    reference: Option<String>,
}

/// `POST /messages/{handle}`
pub(crate) async fn send(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    Viewer(viewer): Viewer,
    Path(to): Path<String>,
    Fields(fields): Fields<MessageFields>,
) -> Result<Redirect, PageProblem> {
    let to = Handle::try_from(to).map_err(|_| Problem::NotFound("account"))?;
    let reference = given(fields.reference.as_deref().unwrap_or_default());
    let draft = Draft::message(to.clone(), typed(&fields.text), reference)?;
    perform(&app, viewer, arrival, draft).await?;
    Ok(Redirect::to(&format!("/messages/{to}?sent=1")))
}

/// The studio's form.
#[derive(Deserialize)]
pub(crate) struct PromptFields {
    prompt: String,
    reference: Option<String>,
}

/// `POST /studio`
pub(crate) async fn submit(
    State(app): State<Arc<App>>,
    arrival: Arrival,
    Viewer(viewer): Viewer,
    Fields(fields): Fields<PromptFields>,
) -> Result<Redirect, PageProblem> {
    let reference = given(fields.reference.as_deref().unwrap_or_default());
    let draft = Draft::video(typed(&fields.prompt), reference)?;
    perform(&app, viewer, arrival, draft).await?;
    Ok(Redirect::to("/studio?submitted=1"))
}

/// Browsers send a textarea's line ends as CRLF; the content is the same as with LF.
fn typed(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn given(reference: &str) -> Option<String> {
    let reference = reference.trim();
    (!reference.is_empty()).then(|| reference.to_owned())
}
