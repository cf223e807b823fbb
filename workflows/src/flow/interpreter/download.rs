//! Keeping the file behind a link of a page.

use fermata_engine::id::ArtifactId;
use fermata_engine::workflow::{Failure, StepError};
use serde::Serialize;

use super::Interpreter;
use super::page::Trouble;
use crate::browser::{BrowserError, Page, Read};
use crate::flow::document::SavedDownload;
use crate::flow::limits::{DOWNLOAD_TIMEOUT, MAX_DOWNLOAD_BYTES, MAX_TIMEOUT_S};
use crate::flow::scope::Scope;

/// The kind of artifact that a download becomes.
const KIND: &str = "download";

/// A kept file, as later steps name it.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    id: ArtifactId,
    checksum: String,
    bytes: usize,
    content_type: String,
    /// Relative to the folder of artifacts.
    path: String,
}

impl Interpreter {
    pub(super) async fn download(&self, page: &Page, download: &SavedDownload, scope: &Scope) -> Result<Kept, Trouble> {
        let asked = download.timeout_s.map(|time| time.within(MAX_TIMEOUT_S, "timeout_s")).transpose()?;
        let linked = self.read(page, &download.target, &Read::Url, scope).await?;
        let address = self.reachable(&linked)?;
        let fetched = page.download(address.as_str(), MAX_DOWNLOAD_BYTES, asked.unwrap_or(DOWNLOAD_TIMEOUT)).await;
        let fetched = fetched.map_err(not_fetched)?;
        // A redirect must not lead to where a link may not.
        self.reachable(&fetched.address)?;
        let kept = self.context.artifact(KIND, &fetched.content_type, fetched.bytes).await.map_err(StepError::Fail)?;
        let path = kept.path();
        Ok(Kept { id: kept.id, checksum: kept.checksum, bytes: kept.bytes, content_type: fetched.content_type, path })
    }
}

/// What concerns the file and not the page has words of its own.
fn not_fetched(error: BrowserError) -> Trouble {
    let failure = match &error {
        BrowserError::DownloadFailed { .. } => Failure::new("download_failed", error.to_string()),
        BrowserError::DownloadRefused { .. } => Failure::new("download_refused", error.to_string()),
        BrowserError::DownloadTooLarge { .. } => Failure::new("download_too_large", error.to_string()),
        _ => return error.into(),
    };
    let step = if error.is_transient() { StepError::Retry { failure, after: None } } else { StepError::Fail(failure) };
    step.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_had_has_a_code_and_is_asked_for_again_only_where_that_may_help() {
        for (error, code, again) in [
            (BrowserError::DownloadFailed { why: "cut".into() }, "download_failed", true),
            (BrowserError::DownloadRefused { status: 503 }, "download_refused", true),
            (BrowserError::DownloadRefused { status: 404 }, "download_refused", false),
            (BrowserError::DownloadTooLarge { most: 1 }, "download_too_large", false),
        ] {
            let error = StepError::from(not_fetched(error));
            assert_eq!(error.failure().code, code);
            assert_eq!(matches!(error, StepError::Retry { .. }), again, "{error:?}");
        }
    }
}
