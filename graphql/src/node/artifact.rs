//! Artifacts.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::id::RunId;
use fermata_engine::read::ArtifactView;

use super::Command;
use crate::scalar::{Long, Time};

/// A file or document kept for a command.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Artifact {
    /// The artifact: a UUID.
    pub(super) id: ID,
    /// Whose it is.
    client_id: String,
    /// What it is, such as `screenshot`.
    kind: String,
    /// Its media type.
    content_type: String,
    /// SHA-256 of the content, in hex.
    checksum: String,
    /// Its size.
    bytes: Long,
    /// When it was kept.
    created_at: Time,
    /// Where its content is, as a path.
    content: String,
    #[graphql(skip)]
    run: Option<RunId>,
}

impl From<ArtifactView> for Artifact {
    fn from(view: ArtifactView) -> Self {
        Self {
            id: ID(view.artifact_id.to_string()),
            client_id: view.client_id,
            kind: view.kind,
            content_type: view.content_type,
            checksum: view.checksum,
            bytes: Long(view.bytes),
            created_at: Time(view.created_at),
            content: view.content,
            run: view.command_id,
        }
    }
}

#[ComplexObject]
impl Artifact {
    /// The command that it was kept for.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        match self.run {
            Some(run) => Command::by_id(context, run).await,
            None => Ok(None),
        }
    }
}
