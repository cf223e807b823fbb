//! Pictures and films: what they are, and the folder beside the ledger that holds them.
//!
//! A file is named by the SHA-256 of its bytes, so storing one twice is harmless, and one that
//! was stored for an effect that then failed is garbage without meaning.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The medium of a post, as the ledger keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Media {
    /// An address elsewhere.
    Url(String),
    /// A file of ours, served at `/media/{sha256}`.
    File {
        /// The name of the file and the hash of its bytes.
        sha256: String,
        /// What the bytes look like.
        content_type: String,
    },
}

/// Describes bytes by what they are, never by what the sender says they are.
pub(crate) fn described(bytes: &[u8]) -> Media {
    Media::File { sha256: hex::encode(Sha256::digest(bytes)), content_type: sniffed(bytes).to_owned() }
}

/// The content type that the first bytes show.
pub(crate) fn sniffed(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "video/mp4",
        _ => "application/octet-stream",
    }
}

/// The folder of media files.
#[derive(Clone, Debug)]
pub(crate) struct MediaFolder(PathBuf);

impl MediaFolder {
    /// The folder that belongs to a ledger: its path with `.media` appended.
    pub(crate) fn beside(ledger: &Path) -> io::Result<Self> {
        let mut name = ledger.as_os_str().to_owned();
        name.push(".media");
        let folder = PathBuf::from(name);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Stores bytes durably under their hash.
    pub(crate) fn store(&self, bytes: &Bytes) -> io::Result<()> {
        let path = self.0.join(hex::encode(Sha256::digest(bytes)));
        if path.exists() {
            return Ok(());
        }
        let half = path.with_extension("part");
        let mut file = File::create(&half)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&half, &path)?;
        File::open(&self.0)?.sync_all()
    }

    /// The bytes stored under a hash, if it is one and there are any.
    pub(crate) async fn load(&self, sha256: &str) -> Option<Vec<u8>> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hash {
            return None;
        }
        tokio::fs::read(self.0.join(sha256)).await.ok()
    }
}
