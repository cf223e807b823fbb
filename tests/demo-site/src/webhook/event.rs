//! What the site tells an account's endpoints of an applied effect.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::account::{Handle, short_hash};
use crate::effect::Kind;
use crate::ledger::Line;

/// The types of event that an endpoint may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum EventType {
    /// A post was published.
    #[serde(rename = "post.created")]
    PostCreated,
    /// A reply was written.
    #[serde(rename = "comment.created")]
    CommentCreated,
    /// A post was liked.
    #[serde(rename = "like.created")]
    LikeCreated,
    /// A message was sent.
    #[serde(rename = "message.created")]
    MessageCreated,
    /// A video was asked for.
    #[serde(rename = "video.created")]
    VideoCreated,
    /// A video can be had.
    #[serde(rename = "video.ready")]
    VideoReady,
}

impl EventType {
    /// Every type there is.
    pub(crate) const ALL: [Self; 6] = [
        Self::PostCreated,
        Self::CommentCreated,
        Self::LikeCreated,
        Self::MessageCreated,
        Self::VideoCreated,
        Self::VideoReady,
    ];

    fn of_creation(kind: Kind) -> Self {
        match kind {
            Kind::Post => Self::PostCreated,
            Kind::Comment => Self::CommentCreated,
            Kind::Like => Self::LikeCreated,
            Kind::Message => Self::MessageCreated,
            Kind::Video => Self::VideoCreated,
        }
    }
}

/// One thing that happened, as every endpoint is told it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The `webhook-id`: the same for every endpoint and every time it is sent.
    pub(crate) id: String,
    /// What kind of thing happened.
    pub(crate) of_type: EventType,
    /// Whose effect it is.
    pub(crate) account: Handle,
    /// The author's own name for the effect.
    pub(crate) reference: Option<String>,
    /// When it happens; a video is ready later than it is asked for.
    pub(crate) due: DateTime<Utc>,
    /// What is sent.
    pub(crate) body: Bytes,
}

impl Event {
    /// Everything that is told of an applied effect.
    pub(crate) fn all_of(line: &Line) -> Vec<Self> {
        let created = Self::of(line, EventType::of_creation(line.kind), line.time);
        let ready = line.ready_from.map(|from| Self::of(line, EventType::VideoReady, from));
        [Some(created), ready].into_iter().flatten().collect()
    }

    fn of(line: &Line, of_type: EventType, due: DateTime<Utc>) -> Self {
        let body = json!({
            "type": of_type,
            "timestamp": due,
            "data": {
                "id": line.id,
                "kind": line.kind,
                "reference": line.effect.reference(),
                "account": line.account,
                "content_hash": line.content_hash,
                "created_at": line.time,
                "post_id": line.effect.target(),
                "to": line.effect.receiver(),
            },
        });
        Self {
            id: format!("msg_{}", short_hash(&format!("webhook:{}:{of_type:?}", line.id))),
            of_type,
            account: line.account.clone(),
            reference: line.effect.reference().map(str::to_owned),
            due,
            body: body.to_string().into(),
        }
    }
}
