//! What the site shows of an effect: the JSON API's shapes, which the pages draw from as well, and
//! what only pages show.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::account::Handle;
use crate::effect::Effect;
use crate::ledger::Line;
use crate::media::Media;

/// A post.
#[derive(Debug, Serialize)]
pub(crate) struct PostView {
    /// The post's id.
    pub(crate) id: String,
    /// Its page, with host.
    pub(crate) permalink: String,
    /// Its text.
    pub(crate) caption: String,
    /// Who posted it.
    pub(crate) author: Handle,
    /// The author's own name for it.
    pub(crate) reference: Option<String>,
    /// When it was applied.
    pub(crate) created_at: DateTime<Utc>,
    /// SHA-256 of caption and medium.
    pub(crate) content_hash: String,
    /// Where the medium is.
    pub(crate) media_url: Option<String>,
    /// What the medium is, when the site holds it.
    pub(crate) media_type: Option<String>,
    /// How many likes are visible.
    pub(crate) likes: usize,
    /// How many comments are visible.
    pub(crate) comments: usize,
}

impl PostView {
    /// Shows a ledger line, if it is a post's.
    pub(crate) fn of(line: &Line, base_url: &str, likes: usize, comments: usize) -> Option<Self> {
        let Effect::Post { caption, media, reference } = &line.effect else {
            return None;
        };
        let (media_url, media_type) = match media {
            None => (None, None),
            Some(Media::Url(url)) => (Some(url.clone()), None),
            Some(Media::File { sha256, content_type }) => {
                (Some(format!("{base_url}/media/{sha256}")), Some(content_type.clone()))
            }
        };
        Some(Self {
            id: line.id.clone(),
            permalink: format!("{base_url}/posts/{}", line.id),
            caption: caption.clone(),
            author: line.account.clone(),
            reference: reference.clone(),
            created_at: line.time,
            content_hash: line.content_hash.clone(),
            media_url,
            media_type,
            likes,
            comments,
        })
    }
}

/// A reply to a post.
#[derive(Debug, Serialize)]
pub(crate) struct CommentView {
    /// The comment's id.
    pub(crate) id: String,
    /// The post replied to.
    pub(crate) post_id: String,
    /// What is said.
    pub(crate) text: String,
    /// Who said it.
    pub(crate) author: Handle,
    /// The author's own name for it.
    pub(crate) reference: Option<String>,
    /// When it was applied.
    pub(crate) created_at: DateTime<Utc>,
    /// SHA-256 of the text.
    pub(crate) content_hash: String,
}

impl CommentView {
    /// Shows a ledger line, if it is a comment's.
    pub(crate) fn of(line: &Line) -> Option<Self> {
        let Effect::Comment { post_id, text, reference } = &line.effect else {
            return None;
        };
        Some(Self {
            id: line.id.clone(),
            post_id: post_id.clone(),
            text: text.clone(),
            author: line.account.clone(),
            reference: reference.clone(),
            created_at: line.time,
            content_hash: line.content_hash.clone(),
        })
    }
}

/// A like of a post.
#[derive(Debug, Serialize)]
pub(crate) struct LikeView {
    /// The like's id.
    pub(crate) id: String,
    /// The post liked.
    pub(crate) post_id: String,
    /// Who likes it.
    pub(crate) author: Handle,
    /// When it was applied.
    pub(crate) created_at: DateTime<Utc>,
}

impl LikeView {
    /// Shows a ledger line, if it is a like's.
    pub(crate) fn of(line: &Line) -> Option<Self> {
        let Effect::Like { post_id } = &line.effect else {
            return None;
        };
        Some(Self {
            id: line.id.clone(),
            post_id: post_id.clone(),
            author: line.account.clone(),
            created_at: line.time,
        })
    }
}

/// A direct message.
#[derive(Debug, Serialize)]
pub(crate) struct MessageView {
    /// The message's id.
    pub(crate) id: String,
    /// Who sent it.
    pub(crate) from: Handle,
    /// Who receives it.
    pub(crate) to: Handle,
    /// What is said.
    pub(crate) text: String,
    /// The sender's own name for it.
    pub(crate) reference: Option<String>,
    /// When it was applied.
    pub(crate) created_at: DateTime<Utc>,
    /// SHA-256 of the text.
    pub(crate) content_hash: String,
}

impl MessageView {
    /// Shows a ledger line, if it is a message's.
    pub(crate) fn of(line: &Line) -> Option<Self> {
        let Effect::Message { to, text, reference } = &line.effect else {
            return None;
        };
        Some(Self {
            id: line.id.clone(),
            from: line.account.clone(),
            to: to.clone(),
            text: text.clone(),
            reference: reference.clone(),
            created_at: line.time,
            content_hash: line.content_hash.clone(),
        })
    }
}

/// A video that was asked for in the studio. Only pages show it.
#[derive(Debug)]
pub(crate) struct VideoView {
    /// The draft's id.
    pub(crate) id: String,
    /// What it is to show.
    pub(crate) prompt: String,
    /// The author's own name for it.
    pub(crate) reference: Option<String>,
    /// When it was asked for.
    pub(crate) created_at: DateTime<Utc>,
    /// Whether it can be had.
    pub(crate) is_ready: bool,
}

impl VideoView {
    /// Shows a ledger line, if it is a video's.
    pub(crate) fn of(line: &Line, now: DateTime<Utc>) -> Option<Self> {
        let Effect::Video { prompt, reference } = &line.effect else {
            return None;
        };
        Some(Self {
            id: line.id.clone(),
            prompt: prompt.clone(),
            reference: reference.clone(),
            created_at: line.time,
            is_ready: line.ready_from.is_none_or(|from| from <= now),
        })
    }
}
