//! The client of Render's public REST API (<https://api-docs.render.com>), as far as it is read.
//!
//! Owns what is sent there and how an answer is read: each request once, over a connection of its
//! own, bounded in time and size, following nothing. Our token leaves this file in one direction
//! only. What an error means for a caller is said in `refusal.rs`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::Secret;

/// The longest that Render may take for a whole answer. A request of ours that has less time gives
/// Render four fifths of it, so that it is we who say what is not known.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The longest that a connection may take. Until there is one, nothing was sent.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The most of an answer that is read. A page of a hundred services has about 300 KB.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The longest pause that is handed on, whatever Render asks for.
const MAX_PAUSE_SECS: u64 = 3600;

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// No header can carry it.
    #[error("RENDER_API_TOKEN has characters that no header can carry")]
    Token,
    /// Not an address to which paths can be added, or one with credentials.
    #[error("RENDER_API_BASE_URL must be an address without a user and a password")]
    Base,
    /// The HTTP client itself.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why Render did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum RenderError {
    /// No connection was made, so nothing was sent.
    #[error("Render cannot be reached; nothing was sent")]
    Unreached(#[source] reqwest::Error),
    /// The request was sent, and no whole answer came in time.
    #[error("Render did not answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// The request was sent, and the connection broke.
    #[error("the connection to Render broke before the answer was there")]
    Lost(#[source] reqwest::Error),
    /// It does not take our token.
    #[error("Render refuses our token with {0}")]
    TokenRefused(StatusCode),
    /// We, or others with our token, have asked too much.
    #[error("Render takes no more requests with our token for now")]
    Busy {
        /// When it wants to be asked again, if it said so.
        retry_after_secs: Option<u64>,
    },
    /// It knows nothing of that name.
    #[error("Render has no such thing")]
    NoSuch,
    /// It will not do this.
    #[error("Render refuses this with {0}")]
    Refused(StatusCode),
    /// A fault on its side.
    #[error("Render failed: it answered {0}")]
    Broken(StatusCode),
    /// Not an answer of its API.
    #[error("the answer of Render cannot be used: {0}")]
    Unreadable(String),
}

/// Which services are wanted, in Render's own terms.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Names, with commas between.
    pub(super) name: Option<String>,
    /// Types, with commas between.
    pub(super) r#type: Option<String>,
    /// How many at most.
    pub(super) limit: u32,
    /// Those behind this cursor of Render's.
    pub(super) cursor: Option<String>,
}

/// A service with its place in the list.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// The place.
    pub(super) cursor: String,
    /// The service.
    pub(super) service: Service,
}

/// What we read of a service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    /// Its id.
    pub(super) id: String,
    /// Its name.
    pub(super) name: String,
    /// `web_service`, `static_site`, …
    pub(super) r#type: String,
    /// `suspended` or `not_suspended`.
    pub(super) suspended: String,
    /// Where people look at it.
    pub(super) dashboard_url: Option<String>,
    /// When it was made.
    pub(super) created_at: DateTime<Utc>,
    /// When it was changed last.
    pub(super) updated_at: DateTime<Utc>,
    /// What depends on its type.
    #[serde(rename = "serviceDetails")]
    pub(super) details: Option<Details>,
}

/// What we read of what depends on the type of a service.
#[derive(Debug, Deserialize)]
pub(super) struct Details {
    /// Where it answers; a cron job or a worker does not.
    pub(super) url: Option<String>,
}

/// Render's API, as our token sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RenderApi {
    client: Client,
    /// The list of services.
    services: Url,
    /// Our token. It does not print itself.
    authorization: HeaderValue,
    /// How long a whole answer may take.
    patience: Duration,
}

impl RenderApi {
    /// A client with our token, for requests of ours that may take `request_timeout`.
    pub(super) fn new(base: &Url, token: &Secret, request_timeout: Duration) -> Result<Self, SetupError> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| SetupError::Token)?;
        authorization.set_sensitive(true);
        let mut services = base.clone();
        services.set_query(None);
        services.set_fragment(None);
        if !services.username().is_empty() || services.password().is_some() {
            return Err(SetupError::Base);
        }
        services.path_segments_mut().map_err(|()| SetupError::Base)?.pop_if_empty().push("services");
        let patience = ANSWER_LIMIT.min(request_timeout * 4 / 5);
        // reqwest needs a provider for TLS; whoever installed one first has made the choice.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .timeout(patience)
            .connect_timeout(CONNECT_LIMIT.min(patience / 2))
            // No connection is used twice: one that died unnoticed would look like Render's fault.
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(concat!("fermata/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(SetupError::Client)?;
        Ok(Self { client, services, authorization, patience })
    }

    /// A part of the list of services.
    pub(super) async fn services(&self, wanted: &Wanted) -> Result<Vec<Entry>, RenderError> {
        let mut url = self.services.clone();
        let limit = wanted.limit.to_string();
        let pairs = [
            ("name", wanted.name.as_deref()),
            ("type", wanted.r#type.as_deref()),
            ("limit", Some(limit.as_str())),
            ("cursor", wanted.cursor.as_deref()),
        ];
        url.query_pairs_mut().extend_pairs(pairs.into_iter().filter_map(|(name, value)| Some((name, value?))));
        read(&self.ask(self.client.get(url)).await?)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, RenderError> {
        let sent = request.header(AUTHORIZATION, self.authorization.clone()).send().await;
        let mut response = sent.map_err(|error| self.lost(error))?;
        if let Some(error) = refusal(&response) {
            return Err(error);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(RenderError::Unreadable(format!("it has more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn lost(&self, error: reqwest::Error) -> RenderError {
        let error = error.without_url();
        if error.is_connect() || error.is_builder() {
            RenderError::Unreached(error)
        } else if error.is_timeout() {
            RenderError::Silent(self.patience)
        } else {
            RenderError::Lost(error)
        }
    }
}

/// What an answer says when it is not what was asked for.
fn refusal(response: &Response) -> Option<RenderError> {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(RenderError::TokenRefused(status)),
        StatusCode::NOT_FOUND => Some(RenderError::NoSuch),
        StatusCode::TOO_MANY_REQUESTS => Some(RenderError::Busy { retry_after_secs: pause(response.headers()) }),
        _ if status.is_success() => None,
        _ if status.is_client_error() => Some(RenderError::Refused(status)),
        _ if status.is_server_error() => Some(RenderError::Broken(status)),
        _ => Some(RenderError::Unreadable(format!("it is {status}, which is not followed"))),
    }
}

/// `Retry-After` in seconds. `Ratelimit-Reset` is not asked: Render documents it as a time and shows
/// a number of seconds.
fn pause(headers: &HeaderMap) -> Option<u64> {
    let secs: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(secs.min(MAX_PAUSE_SECS))
}

/// The place of a misfit is told, but not what stands there: it may not be for a log.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, RenderError> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        RenderError::Unreadable(format!("it has another shape at line {line}, column {column}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base: &str, token: &str) -> Result<RenderApi, SetupError> {
        RenderApi::new(&base.parse().unwrap(), &Secret::new(token), Duration::from_secs(30))
    }

    #[test]
    fn the_path_of_the_base_is_kept_and_nothing_else_of_it() {
        for base in ["http://r.example/v1", "http://r.example/v1/", "http://r.example/v1?a=b#c"] {
            assert_eq!(api(base, "t").unwrap().services.as_str(), "http://r.example/v1/services", "{base}");
        }
        assert!(matches!(api("http://u:p@r.example/v1", "t"), Err(SetupError::Base)));
    }

    #[test]
    fn the_token_is_not_printed_and_must_fit_into_a_header() {
        assert!(!format!("{:?}", api("http://r.example", "sesame").unwrap()).contains("sesame"));
        assert!(matches!(api("http://r.example", "a\nb"), Err(SetupError::Token)));
    }

    #[test]
    fn a_pause_is_a_bounded_number_of_seconds() {
        let of = |value: &'static str| pause(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]));
        assert_eq!((of("17"), of("99999999"), of("soon")), (Some(17), Some(MAX_PAUSE_SECS), None));
        assert_eq!(pause(&HeaderMap::new()), None);
    }
}
