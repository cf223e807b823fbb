//! Carries requests: listed hosts only, bounded in time and size, nothing retried behind our back.

use std::time::Duration;

use chrono::DateTime;
use fermata_engine::clock::Clock;
use fermata_engine::document::MAX_KEY_BYTES;
use http::header::{LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::Value;

use super::answer::Answer;
use super::hosts::AllowList;
use super::request::Request;
use crate::flow::limits::{MAX_BODY_BYTES, MAX_REDIRECTS, MAX_RETRY_AFTER};
use crate::flow::scope::FillError;

/// Where platforms write what they call their answer.
const ID_HEADERS: [&str; 3] = ["x-request-id", "request-id", "x-amzn-requestid"];

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A template of the request could not be filled.
    #[error("the request could not be made: {0}")]
    Fill(#[from] FillError),
    /// Not an address.
    #[error("the address cannot be used: {why}")]
    Address {
        /// What the parser says.
        why: String,
    },
    /// A header with a name or value that no header can have.
    #[error("the header `{name}` cannot be sent with this name and value")]
    Header {
        /// Its name.
        name: String,
    },
    /// Not on the installation's list.
    #[error("flows may not reach `{host}`; add it to the allowed hosts of the installation")]
    NotAllowed {
        /// The host.
        host: String,
    },
    /// No connection was made, so nothing was sent.
    #[error("no connection to `{host}`")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Something may have been sent, and no whole answer came in time.
    #[error("`{host}` did not answer within {} ms", time.as_millis())]
    Timeout {
        /// The host.
        host: String,
        /// How long was waited.
        time: Duration,
    },
    /// Something may have been sent, and the connection broke.
    #[error("the connection to `{host}` broke before the answer was there")]
    Lost {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer larger than [`MAX_BODY_BYTES`].
    #[error("the answer of `{host}` is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// The host.
        host: String,
    },
    /// The client itself could not be made.
    #[error("the HTTP client could not be made")]
    Client(#[source] reqwest::Error),
}

impl HttpError {
    /// Whether it is certain that nothing was sent.
    pub fn nothing_was_sent(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Lost { .. } | Self::TooLarge { .. })
    }

    /// Whether the same may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. })
    }
}

/// Carries the requests of flows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpLane {
    client: Client,
    allowed: AllowList,
    clock: Clock,
}

impl HttpLane {
    /// A lane to these hosts.
    pub fn new(allowed: AllowList, clock: Clock) -> Result<Self, HttpError> {
        // reqwest needs a provider for TLS; whoever installed one first has made the choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            // No connection is used twice: one that died unnoticed would turn a call that never
            // left this machine into one that may have happened.
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(concat!("fermata/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(HttpError::Client)?;
        Ok(Self { client, allowed, clock })
    }

    /// Which hosts it reaches.
    pub fn allowed(&self) -> &AllowList {
        &self.allowed
    }

    /// Sends a request once and follows nothing.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let until = request.timeout;
        let response = self.exchange(request).await?;
        self.answer(response, until).await
    }

    /// Sends a reading request and follows redirects within its host.
    pub(crate) async fn read(&self, mut request: Request) -> Result<Answer, HttpError> {
        let until = self.clock.monotonic() + request.timeout;
        for _ in 0..MAX_REDIRECTS {
            let time = until.saturating_duration_since(self.clock.monotonic());
            let response = self.exchange(request.clone().within(time)).await?;
            match redirected(&request, &response) {
                Some(url) => request.url = url,
                None => return self.answer(response, time).await,
            }
        }
        let host = host_of(&request.url);
        Err(HttpError::Address { why: format!("`{host}` redirects more than {MAX_REDIRECTS} times") })
    }

    async fn exchange(&self, request: Request) -> Result<Response, HttpError> {
        let host = host_of(&request.url);
        if !self.allowed.allows(&request.url) {
            return Err(HttpError::NotAllowed { host });
        }
        let mut outgoing = self.client.request(request.method, request.url).timeout(request.timeout);
        for (name, value) in request.headers {
            outgoing = outgoing.header(name, value);
        }
        if let Some(body) = request.body {
            outgoing = outgoing.body(body);
        }
        outgoing.send().await.map_err(|error| lost(error, host, request.timeout))
    }

    async fn answer(&self, mut response: Response, time: Duration) -> Result<Answer, HttpError> {
        let host = host_of(response.url());
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| pause(text, &self.clock));
        let id = ID_HEADERS.iter().find_map(|name| response.headers().get(*name)).and_then(|id| id.to_str().ok());
        let id = id.filter(|id| id.len() <= MAX_KEY_BYTES).map(str::to_owned);
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| lost(error, host.clone(), time))?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(HttpError::TooLarge { host });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after, id, body: document(&body) })
    }
}

fn lost(error: reqwest::Error, host: String, time: Duration) -> HttpError {
    let source = error.without_url();
    if source.is_builder() {
        HttpError::Address { why: source.to_string() }
    } else if source.is_connect() {
        HttpError::Connect { host, source }
    } else if source.is_timeout() {
        HttpError::Timeout { host, time }
    } else {
        HttpError::Lost { host, source }
    }
}

/// The body as JSON; otherwise as text; otherwise nothing.
fn document(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| std::str::from_utf8(body).map_or(Value::Null, |text| Value::from(text.replace('\0', ""))))
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where a reading request goes on: only to the same host, with the same scheme and port.
fn redirected(request: &Request, response: &Response) -> Option<Url> {
    let follows = response.status().is_redirection() && matches!(request.method.as_str(), "GET" | "HEAD");
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let url = request.url.join(location).ok()?;
    (follows && url.origin() == request.url.origin()).then_some(url)
}

/// `Retry-After` as seconds or as a date.
fn pause(text: &str, clock: &Clock) -> Option<Duration> {
    let asked = if let Ok(seconds) = text.trim().parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
        (at.to_utc() - clock.now()).to_std().unwrap_or_default()
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date_and_bounded() {
        let clock = Clock::system();
        assert_eq!(pause("7", &clock), Some(Duration::from_secs(7)));
        assert_eq!(pause("99999999", &clock), Some(MAX_RETRY_AFTER));
        assert_eq!(pause("Wed, 21 Oct 2015 07:28:00 GMT", &clock), Some(Duration::ZERO));
        assert_eq!(pause("soon", &clock), None);
    }

    #[test]
    fn a_body_is_json_or_text() {
        assert_eq!(document(br#"{"a":1}"#)["a"], 1);
        assert_eq!(document(b"<p>"), Value::from("<p>"));
        assert_eq!(document(&[0xff]), Value::Null);
    }
}
