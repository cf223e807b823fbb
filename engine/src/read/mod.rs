//! Reads: what a principal may see, as plain structs that every surface shows alike.
//!
//! Owns the views, the filters and the pages. Every call checks a scope and then reads as the
//! reader role with the principal's client set, so that Postgres itself hides the others' rows:
//! what belongs to another client is simply not there. Knows nothing of HTTP. Read
//! [`CommandView`] and [`Page`] first; a new list is a filter, a view and one method here.

mod event;
mod filter;
mod health;
mod many;
mod page;
mod service;
mod view;

use tokio::fs::File;

pub use event::{EventFacts, EventPage, EventView, SharedEvent};
pub use filter::{ActionFilter, ArtifactFilter, AuditFilter, CommandFilter, EventFilter, GateFilter, STATUSES};
pub use health::Dependency;
pub use many::{Found, MAX_AT_ONCE, NodeKind};
pub use page::{DEFAULT_LIMIT, MAX_LIMIT, Page, PageError, Paged};
pub use service::{ConnectionsInUse, GatesOpen, QueueState, ServiceState};
pub use view::{
    ActionView, ArtifactView, AuditView, CommandView, GateView, IntentView, Lifecycle, Links, ProofView, StepId,
    StepState, StepSummary, StepView,
};

use crate::access::{Denied, Principal, Scope};
use crate::artifact::ArtifactError;
use crate::engine::Engine;
use crate::event::{Cursor, CursorError};
use crate::id::{ArtifactId, GateId, RunId};
use crate::store::StoreError;

/// How many positions one call for events looks at, when it is not for one command. What is
/// filtered out costs time too; beyond this the caller is handed a cursor to go on from.
const EVENT_WINDOW: i64 = 100_000;
/// The newest changes of status that a single command shows.
const MAX_LIFECYCLE: i64 = 1000;

/// Why a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Nothing of that id for this principal.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A cursor of the stream that cannot be resumed.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// A filter's value that cannot match.
    #[error("{message}")]
    Filter {
        /// The filter's name.
        name: &'static str,
        /// What fits.
        message: String,
    },
    /// The content of an artifact is not to be had.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The query ran into its time limit.
    #[error("the query took too long; narrow it by command, client or time")]
    TooSlow,
    /// The database.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        if error.is_timeout() { Self::TooSlow } else { Self::Store(error) }
    }
}

impl Engine {
    /// One command with its lifecycle (G-038).
    pub async fn command(&self, by: &Principal, id: RunId) -> Result<Option<CommandView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        Ok(self.store().command(&by.client_id, id, MAX_LIFECYCLE).await?)
    }

    /// A command's status alone, for who may submit it but not read it.
    pub async fn command_status(&self, by: &Principal, id: RunId) -> Result<Option<String>, ReadError> {
        by.require_any(&[Scope::CommandsRead, Scope::CommandsWrite])?;
        Ok(self.store().command_status(&by.client_id, id).await?)
    }

    /// Commands, newest first, without their lifecycles.
    pub async fn commands(
        &self,
        by: &Principal,
        filter: &CommandFilter,
        page: Page,
    ) -> Result<Paged<CommandView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        filter.check()?;
        let rows = self.store().commands(&by.client_id, filter, page).await?;
        Ok(page.cut(rows, |command| command.command_id.0))
    }

    /// The steps of a command, in the order in which they ended.
    pub async fn steps(&self, by: &Principal, run: RunId, page: Page) -> Result<Paged<StepView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        let rows = self.store().steps(&by.client_id, run, page).await?;
        Ok(page.number(rows.ok_or(ReadError::NotFound("command"))?))
    }

    /// Actions, newest first.
    pub async fn actions(
        &self,
        by: &Principal,
        filter: &ActionFilter,
        page: Page,
    ) -> Result<Paged<ActionView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        filter.check()?;
        let rows = self.store().actions(&by.client_id, filter, page).await?;
        Ok(page.cut(rows.ok_or(ReadError::NotFound("command"))?, |action| action.action_id.0))
    }

    /// Events behind a cursor (from the oldest kept, without one), in the order of the stream.
    pub async fn events(
        &self,
        by: &Principal,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<EventPage, ReadError> {
        by.require(Scope::EventsRead)?;
        let (oldest, head) = self.store().stream_bounds().await?;
        let after = after.unwrap_or(oldest).check(oldest, head)?;
        // One command's events are found by an index; there is nothing to skip over.
        let window = if filter.run.is_some() { i64::MAX } else { EVENT_WINDOW };
        let until = after.position.saturating_add(window).min(head.position);
        let limit = limit.clamp(1, MAX_LIMIT);
        let rows = self.store().events(&by.client_id, filter, (after, until), limit).await?;
        let items = rows.ok_or(ReadError::NotFound("command"))?;
        let full = u32::try_from(items.len()).is_ok_and(|count| count >= limit);
        let next_cursor = match items.last() {
            Some(last) if full => Some(last.cursor),
            _ if until < head.position => Some(Cursor { position: until, ..head }),
            _ => None,
        };
        Ok(EventPage { items, next_cursor })
    }

    /// Gates, newest first.
    pub async fn gates(&self, by: &Principal, filter: &GateFilter, page: Page) -> Result<Paged<GateView>, ReadError> {
        by.require_any(&[Scope::CommandsRead, Scope::GatesDecide])?;
        filter.check()?;
        let rows = self.store().gates(&by.client_id, filter, page).await?;
        Ok(page.cut(rows.ok_or(ReadError::NotFound("command"))?, |gate| gate.gate_id.0))
    }

    /// One gate.
    pub async fn gate(&self, by: &Principal, id: GateId) -> Result<Option<GateView>, ReadError> {
        by.require_any(&[Scope::CommandsRead, Scope::GatesDecide])?;
        Ok(self.store().gate(&by.client_id, id).await?)
    }

    /// Artifacts, newest first.
    pub async fn artifacts_of(
        &self,
        by: &Principal,
        filter: &ArtifactFilter,
        page: Page,
    ) -> Result<Paged<ArtifactView>, ReadError> {
        by.require(Scope::ArtifactsRead)?;
        let rows = self.store().artifacts(&by.client_id, filter, page).await?;
        Ok(page.cut(rows.ok_or(ReadError::NotFound("command"))?, |artifact| artifact.artifact_id.0))
    }

    /// One artifact.
    pub async fn artifact(&self, by: &Principal, id: ArtifactId) -> Result<Option<ArtifactView>, ReadError> {
        by.require(Scope::ArtifactsRead)?;
        Ok(self.store().artifact(&by.client_id, id).await?)
    }

    /// The audit trail, newest first.
    pub async fn audit(&self, by: &Principal, filter: &AuditFilter, page: Page) -> Result<Paged<AuditView>, ReadError> {
        by.require(Scope::AuditRead)?;
        let rows = self.store().audit(&by.client_id, filter, page).await?;
        Ok(page.cut(rows.ok_or(ReadError::NotFound("command"))?, AuditView::place))
    }

    /// One artifact and its content, open for reading.
    pub async fn artifact_content(
        &self,
        by: &Principal,
        id: ArtifactId,
    ) -> Result<Option<(ArtifactView, File)>, ReadError> {
        let Some(artifact) = self.artifact(by, id).await? else { return Ok(None) };
        let file = self.artifacts().open(&artifact.checksum).await?;
        Ok(Some((artifact, file)))
    }
}
