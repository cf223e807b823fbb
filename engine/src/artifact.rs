//! Artifacts: files by the hash of their content.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::id::ArtifactId;

/// The largest artifact in bytes.
pub const MAX_ARTIFACT_BYTES: usize = 64 << 20;

/// A kept artifact, as a run refers to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRef {
    /// Its id on every surface.
    pub id: ArtifactId,
    /// SHA-256 of the content, hex.
    pub checksum: String,
    /// Its size.
    pub bytes: usize,
}

impl ArtifactRef {
    /// Where its content is, relative to the folder of artifacts: the same on every node,
    /// wherever that folder is mounted.
    pub fn path(&self) -> String {
        relative_path(&self.checksum)
    }
}

/// The one place that says where in the folder of artifacts a checksum's content is. Folders of
/// two digits keep each of them small.
fn relative_path(checksum: &str) -> String {
    match checksum.split_at_checked(2) {
        Some((folder, file)) => format!("{folder}/{file}"),
        None => checksum.to_owned(),
    }
}

/// Why an artifact could not be kept or opened.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Larger than [`MAX_ARTIFACT_BYTES`].
    #[error("{bytes} bytes are more than the {MAX_ARTIFACT_BYTES} of an artifact")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the hash of any content.
    #[error("no artifact has the checksum `{0}`")]
    NoSuch(String),
    /// The file system.
    #[error("the artifact folder {folder:?} failed")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// How.
        #[source]
        source: std::io::Error,
    },
}

/// The folder of artifacts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    folder: Arc<PathBuf>,
}

impl Artifacts {
    /// Artifacts under a folder, which is made when needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Arc::new(folder.into()) }
    }

    /// Keeps bytes and answers their checksum; durable when it returns.
    pub async fn keep(&self, bytes: Vec<u8>) -> Result<String, ArtifactError> {
        if bytes.len() > MAX_ARTIFACT_BYTES {
            return Err(ArtifactError::TooLarge { bytes: bytes.len() });
        }
        let checksum = hex::encode(Sha256::digest(&bytes));
        let place = self.path(&checksum);
        if tokio::fs::try_exists(&place).await.unwrap_or(false) {
            return Ok(checksum);
        }
        self.write(&place, &bytes).await.map_err(|source| self.failed(source))?;
        Ok(checksum)
    }

    /// Opens the content of a checksum.
    pub async fn open(&self, checksum: &str) -> Result<tokio::fs::File, ArtifactError> {
        let is_hash = checksum.len() == 64 && checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(ArtifactError::NoSuch(checksum.to_owned()));
        }
        tokio::fs::File::open(self.path(checksum)).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ArtifactError::NoSuch(checksum.to_owned()),
            _ => self.failed(source),
        })
    }

    async fn write(&self, place: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
        let folder = place.parent().unwrap_or(&self.folder);
        tokio::fs::create_dir_all(folder).await?;
        // Written aside and renamed: a reader never sees half a file.
        let aside = folder.join(format!(".{:016x}", rand::random::<u64>()));
        let mut file = tokio::fs::File::create(&aside).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        tokio::fs::rename(&aside, place).await?;
        tokio::fs::File::open(folder).await?.sync_all().await
    }

    fn path(&self, checksum: &str) -> PathBuf {
        self.folder.join(relative_path(checksum))
    }

    fn failed(&self, source: std::io::Error) -> ArtifactError {
        ArtifactError::Folder { folder: self.folder.as_ref().clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn content_is_kept_where_its_reference_says() {
        let folder = std::env::temp_dir().join(format!("fermata-artifacts-{:016x}", rand::random::<u64>()));
        let checksum = Artifacts::new(&folder).keep(b"a film".to_vec()).await.unwrap();
        let kept = ArtifactRef { id: ArtifactId::new(&Clock::system()), checksum, bytes: 6 };

        assert!(Path::new(&kept.path()).is_relative());
        assert_eq!(tokio::fs::read(folder.join(kept.path())).await.unwrap(), b"a film");
        tokio::fs::remove_dir_all(folder).await.unwrap();
    }
}
