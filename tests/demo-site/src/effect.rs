//! What an account can do to the site: post, comment, like, message, ask the studio for a video.
//!
//! A [`Draft`] is an effect that has been checked but not applied; `site.rs` turns it into a line
//! of the ledger. To add a kind, add a variant here and the compiler names the rest.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::account::Handle;
use crate::media::{self, Media};
use crate::problem::Problem;

const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The longest reference.
pub(crate) const MAX_REFERENCE_BYTES: usize = 256;
const MAX_URL_BYTES: usize = 2048;

/// The kinds of effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A post on the author's profile.
    Post,
    /// A reply to a post.
    Comment,
    /// A like of a post.
    Like,
    /// A direct message.
    Message,
    /// A video asked for in the studio.
    Video,
}

/// An effect with its content, as the ledger keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// A post on the author's profile.
    Post {
        /// The text; empty only beside a medium.
        caption: String,
        /// The picture or film, if any.
        media: Option<Media>,
        /// The author's own name for it.
        reference: Option<String>,
    },
    /// A reply to a post.
    Comment {
        /// The post replied to.
        post_id: String,
        /// What is said.
        text: String,
        /// The author's own name for it.
        reference: Option<String>,
    },
    /// A like of a post.
    Like {
        /// The post liked.
        post_id: String,
    },
    /// A direct message.
    Message {
        /// Who receives it.
        to: Handle,
        /// What is said.
        text: String,
        /// The author's own name for it.
        reference: Option<String>,
    },
    /// A video asked for in the studio.
    Video {
        /// What it is to show.
        prompt: String,
        /// The author's own name for it.
        reference: Option<String>,
    },
}

impl Effect {
    /// Which kind it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Post { .. } => Kind::Post,
            Self::Comment { .. } => Kind::Comment,
            Self::Like { .. } => Kind::Like,
            Self::Message { .. } => Kind::Message,
            Self::Video { .. } => Kind::Video,
        }
    }

    /// The author's own name for it.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Post { reference, .. }
            | Self::Comment { reference, .. }
            | Self::Message { reference, .. }
            | Self::Video { reference, .. } => reference.as_deref(),
            Self::Like { .. } => None,
        }
    }

    /// The post it hangs on, for comments and likes.
    pub(crate) fn target(&self) -> Option<&str> {
        match self {
            Self::Comment { post_id, .. } | Self::Like { post_id } => Some(post_id),
            Self::Post { .. } | Self::Message { .. } | Self::Video { .. } => None,
        }
    }

    /// The receiver of a message.
    pub(crate) fn receiver(&self) -> Option<&Handle> {
        match self {
            Self::Message { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// A medium as it arrives.
#[derive(Debug)]
pub(crate) enum Attachment {
    /// No medium.
    None,
    /// An address elsewhere, which the site only links to.
    Url(String),
    /// The bytes themselves.
    Bytes(Bytes),
}

/// A checked effect that has not been applied.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What is to happen.
    pub(crate) effect: Effect,
    /// SHA-256 of the content, in hexadecimal.
    pub(crate) content_hash: String,
    /// The medium to be stored before the effect is.
    pub(crate) bytes: Option<Bytes>,
}

impl Draft {
    /// A post. Its hash is over the caption, or over caption, a zero byte and the medium (its
    /// bytes, or its URL).
    pub(crate) fn post(caption: String, attachment: Attachment, reference: Option<String>) -> Result<Self, Problem> {
        let mut hash = Sha256::new_with_prefix(&caption);
        let (media, bytes) = match attachment {
            Attachment::None => (None, None),
            Attachment::Url(url) => {
                hash.update([0]);
                hash.update(&url);
                (Some(Media::Url(checked_url(url)?)), None)
            }
            Attachment::Bytes(bytes) => {
                hash.update([0]);
                hash.update(&bytes);
                (Some(media::described(&bytes)), Some(bytes))
            }
        };
        if media.is_none() && caption.trim().is_empty() {
            return Err(Problem::malformed("a post needs a caption or a medium"));
        }
        let effect = Effect::Post {
            caption: bounded("caption", caption, MAX_TEXT_BYTES)?,
            media,
            reference: checked_reference(reference)?,
        };
        let content_hash = hex::encode(hash.finalize());
        Ok(Self { effect, content_hash, bytes })
    }

    /// A comment; its hash is over the text.
    pub(crate) fn comment(post_id: String, text: String, reference: Option<String>) -> Result<Self, Problem> {
        let content_hash = hash_of(&text);
        let text = checked_text("text", text)?;
        let reference = checked_reference(reference)?;
        let effect = Effect::Comment { post_id, text, reference };
        Ok(Self::without_media(effect, content_hash))
    }

    /// A like; its hash is over the post's id.
    pub(crate) fn like(post_id: String) -> Self {
        let content_hash = hash_of(&post_id);
        Self::without_media(Effect::Like { post_id }, content_hash)
    }

    /// A message; its hash is over the text.
    pub(crate) fn message(to: Handle, text: String, reference: Option<String>) -> Result<Self, Problem> {
        let content_hash = hash_of(&text);
        let text = checked_text("text", text)?;
        let reference = checked_reference(reference)?;
        let effect = Effect::Message { to, text, reference };
        Ok(Self::without_media(effect, content_hash))
    }

    /// A video; its hash is over the prompt.
    pub(crate) fn video(prompt: String, reference: Option<String>) -> Result<Self, Problem> {
        let content_hash = hash_of(&prompt);
        let prompt = checked_text("prompt", prompt)?;
        let reference = checked_reference(reference)?;
        Ok(Self::without_media(Effect::Video { prompt, reference }, content_hash))
    }

    fn without_media(effect: Effect, content_hash: String) -> Self {
        Self { effect, content_hash, bytes: None }
    }

    /// Says whether two requests ask for the same: a hash over the effect as it would be stored.
    pub(crate) fn fingerprint(&self) -> Result<String, Problem> {
        let stored = serde_json::to_vec(&self.effect).map_err(|_| Problem::Broken)?;
        Ok(hex::encode(Sha256::digest(stored)))
    }
}

fn hash_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn checked_text(field: &str, text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::malformed(format!("`{field}` is empty")));
    }
    bounded(field, text, MAX_TEXT_BYTES)
}

/// A form sends an empty reference where a program sends none.
fn checked_reference(reference: Option<String>) -> Result<Option<String>, Problem> {
    reference
        .filter(|reference| !reference.is_empty())
        .map(|reference| bounded("reference", reference, MAX_REFERENCE_BYTES))
        .transpose()
}

fn checked_url(url: String) -> Result<String, Problem> {
    // The URL becomes a link on a page, so no other scheme may pass.
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(Problem::malformed("`media_url` is not an http(s) URL"));
    }
    bounded("media_url", url, MAX_URL_BYTES)
}

fn bounded(field: &str, text: String, max_bytes: usize) -> Result<String, Problem> {
    if text.len() > max_bytes {
        return Err(Problem::malformed(format!("`{field}` is longer than {max_bytes} bytes")));
    }
    Ok(text)
}
