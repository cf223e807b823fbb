//! Render, read for others (renderctl-svc): its services are listed (O-041).
//!
//! Owns our routes and shapes. Knows Render only through [`RenderApi`], and stores nothing. Callers
//! are known by tokens of ours; Render's token is never theirs to see. Nothing here changes
//! anything at Render: a deploy is a side effect, and goes the way of all side effects (commands).

mod refusal;
mod render;

use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Json, Router};
use chrono::{DateTime, Utc};
use fermata_engine::access::Scope;
use fermata_engine::read::Paged;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::app::{AppState, service};
use crate::auth::Caller;
use crate::config::Config;
use crate::error::Problem;
use crate::process::{Exit, Trouble};
use crate::rest::query::{Params, answered, next_link};

use refusal::of_list;
use render::{Entry, RenderApi, Service, Wanted};

/// How many services a page has when nothing is said.
const DEFAULT_LIMIT: u32 = 50;
/// How many Render gives at most.
const MAX_LIMIT: u32 = 100;

/// The whole service.
pub(super) fn renderctl(state: AppState, config: &Config) -> Result<Router, Trouble> {
    let routes = Router::new().route("/render/services", get(list)).layer(Extension(client(config)?));
    Ok(service(routes, state))
}

fn client(config: &Config) -> Result<RenderApi, Trouble> {
    let unfit = |why: String| {
        Trouble::new(Exit::Config, "Render cannot be spoken with")
            .why(why)
            .remedy("correct RENDER_API_TOKEN and RENDER_API_BASE_URL; .env.example explains them")
            .code("config_invalid")
    };
    let token = config.render_api_token.as_ref().ok_or_else(|| unfit("RENDER_API_TOKEN is not set".to_owned()))?;
    let made = RenderApi::new(&config.render_api_base_url, token, config.request_timeout);
    made.map_err(|error| unfit(error.to_string()))
}

/// Which services are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceQuery {
    /// Names, with commas between.
    name: Option<String>,
    /// Render's types, with commas between.
    r#type: Option<String>,
    /// 1 to [`MAX_LIMIT`]; [`DEFAULT_LIMIT`] when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// A service at Render.
#[derive(Debug, Serialize)]
struct ServiceView {
    id: String,
    name: String,
    r#type: String,
    /// `suspended` or `not_suspended`.
    status: String,
    url: Option<String>,
    dashboard_url: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Service> for ServiceView {
    fn from(service: Service) -> Self {
        Self {
            id: service.id,
            name: service.name,
            r#type: service.r#type,
            status: service.suspended,
            url: service.details.and_then(|details| details.url),
            dashboard_url: service.dashboard_url,
            created_at: service.created_at,
            updated_at: service.updated_at,
        }
    }
}

/// A page of Render's list. Render does not say which page is the last, so a full one may be
/// followed by an empty one.
async fn list(
    Extension(render): Extension<RenderApi>,
    Caller(by): Caller,
    uri: Uri,
    Params(query): Params<ServiceQuery>,
) -> Result<Response, Problem> {
    by.require(Scope::RenderRead)?;
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid("/limit", format!("must be 1 to {MAX_LIMIT}")));
    }
    let wanted = Wanted { name: query.name, r#type: query.r#type, limit, cursor: query.after };
    let entries = render.services(&wanted).await.map_err(|error| of_list(&error))?;
    let is_full = usize::try_from(limit).is_ok_and(|limit| entries.len() >= limit);
    let next_cursor = entries.last().filter(|_| is_full).map(|last| last.cursor.clone());
    // The cursor is Render's, and may be of any characters.
    let escaped = next_cursor.as_deref().map(|cursor| utf8_percent_encode(cursor, NON_ALPHANUMERIC).to_string());
    let link = escaped.map(|cursor| next_link(&uri, &cursor));
    let items: Vec<ServiceView> = entries.into_iter().map(|Entry { service, .. }| service.into()).collect();
    Ok(answered(link, Json(Paged { items, next_cursor })))
}
