//! Carries WebDriver commands to the endpoint, each with the run's fence and the call's deadline.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{Request, Response};
use thirtyfour::error::{WebDriverError, WebDriverResult};
use thirtyfour::session::http::{Body, HttpClient};

/// The header that names the run and the epoch of its holder.
pub const FENCE_HEADER: &str = "fermata-fence";
/// The header that says until when the command may be carried out.
pub const DEADLINE_HEADER: &str = "fermata-deadline";

/// Who drives: the run, and the epoch of the lease under which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The run.
    pub run: String,
    /// The lease epoch of the holder.
    pub epoch: i32,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.run, self.epoch)
    }
}

/// The HTTP client of one page. Clones share the deadline.
#[derive(Clone)]
pub(super) struct Carrier {
    client: reqwest::Client,
    fence: Fence,
    request_timeout: Duration,
    deadline: Arc<Mutex<Option<DateTime<Utc>>>>,
}

impl Carrier {
    pub(super) fn new(client: reqwest::Client, fence: Fence, request_timeout: Duration) -> Self {
        Self { client, fence, request_timeout, deadline: Arc::default() }
    }

    pub(super) fn set_deadline(&self, deadline: Option<DateTime<Utc>>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send(&self, request: Request<Body<'_>>) -> WebDriverResult<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        let mut outgoing = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .header(FENCE_HEADER, self.fence.to_string())
            .timeout(self.request_timeout);
        if let Some(deadline) = self.deadline() {
            outgoing = outgoing.header(DEADLINE_HEADER, deadline.to_rfc3339_opts(SecondsFormat::Micros, true));
        }
        if let Body::Json(json) = body {
            outgoing = outgoing.json(json);
        }
        let answer = outgoing.send().await.map_err(unanswered)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unanswered)?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    async fn new(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.clone())
    }
}

/// Only a connection that was never made proves that the command was never carried out.
fn unanswered(error: reqwest::Error) -> WebDriverError {
    let kind = if error.is_connect() {
        io::ErrorKind::ConnectionRefused
    } else if error.is_timeout() {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::ConnectionAborted
    };
    WebDriverError::from(io::Error::new(kind, error.without_url()))
}
