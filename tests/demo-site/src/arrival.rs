//! What is known of a mutating request before its body is read.

use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::app::App;
use crate::clock;
use crate::connection::Cord;
use crate::problem::Problem;

/// The header that carries the caller's fencing token.
const FENCE_HEADER: &str = "fermata-fence";
const MAX_FENCE_BYTES: usize = 256;

/// How a request came; the first extractor of every handler that performs one.
pub(crate) struct Arrival {
    /// When it came, before anything was waited for.
    pub(crate) received: DateTime<Utc>,
    /// The caller's fencing token, as it came; the site knows nothing of its meaning.
    pub(crate) fence: Option<String>,
    /// Cuts the connection it came by.
    pub(crate) cord: Cord,
}

impl FromRequestParts<Arc<App>> for Arrival {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let received = clock::now();
        let fence = fence_of(&parts.headers)?;
        let cord = ConnectInfo::<Cord>::from_request_parts(parts, app).await.map_err(|_| Problem::Broken)?;
        Ok(Self { received, fence, cord: cord.0 })
    }
}

fn fence_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(FENCE_HEADER) else {
        return Ok(None);
    };
    match str::from_utf8(value.as_bytes()) {
        Ok(fence) if fence.len() <= MAX_FENCE_BYTES => Ok(Some(fence.to_owned())),
        _ => Err(Problem::malformed(format!("`Fermata-Fence` is at most {MAX_FENCE_BYTES} bytes of UTF-8"))),
    }
}
