//! A file and an address that signed heads go to.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::audit::{HeadSink, SignedHead};
use reqwest::redirect::Policy;
use serde_json::json;

use crate::config::Secret;
use crate::process::Trouble;

/// How long the address may take to answer.
const POST_LIMIT: Duration = Duration::from_secs(10);

/// A file that grows by a line for each head.
#[derive(Debug)]
pub(super) struct HeadsFile(PathBuf);

impl HeadsFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

#[async_trait]
impl HeadSink for HeadsFile {
    async fn keep(&self, heads: &[SignedHead]) -> Result<(), String> {
        let lines: String = heads.iter().map(|head| head.line() + "\n").collect();
        let path = self.0.clone();
        let kept = tokio::task::spawn_blocking(move || append(&path, &lines)).await;
        match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{}: {error}", self.0.display())),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn append(path: &std::path::Path, lines: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Several processes may append to one file: a single write of whole lines does not mix with another's.
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

/// An address that heads are posted to.
pub(super) struct HeadsUrl {
    url: String,
    client: reqwest::Client,
}

impl std::fmt::Debug for HeadsUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The address may hold a secret.
        f.write_str("HeadsUrl")
    }
}

impl HeadsUrl {
    pub(super) fn new(url: &Secret) -> Result<Self, Trouble> {
        // A redirect may be followed without what was posted, and the answer there be about nothing.
        let client = reqwest::Client::builder().timeout(POST_LIMIT).redirect(Policy::none()).build();
        let client = client.map_err(|error| Trouble::failed("no HTTP client").why(error.to_string()))?;
        Ok(Self { url: url.expose().to_owned(), client })
    }
}

#[async_trait]
impl HeadSink for HeadsUrl {
    async fn keep(&self, heads: &[SignedHead]) -> Result<(), String> {
        let sent = self.client.post(&self.url).json(&json!({ "heads": heads })).send().await;
        let answer = sent.map_err(|error| error.without_url().to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("AUDIT_HEADS_URL answered {}", answer.status())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fermata-audit-{:016x}", rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn heads_are_appended_a_line_each() {
        let folder = folder();
        let path = folder.join("heads.ndjson");
        let head = SignedHead {
            format: fermata_engine::audit::HEAD_FORMAT.into(),
            client_id: "acme".into(),
            seq: 1,
            hash: "00".into(),
            issued_at: chrono::DateTime::UNIX_EPOCH,
            key_id: "k".into(),
            public_key: "p".into(),
            signature: "s".into(),
        };
        let file = HeadsFile::new(path.clone());
        file.keep(std::slice::from_ref(&head)).await.unwrap();
        file.keep(&[head.clone(), head.clone()]).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let read: Vec<SignedHead> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [head.clone(), head.clone(), head]);
    }
}
