//! The root of all questions: one method per list or thing, each a translator.

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use fermata_engine::id::{ActionId, ArtifactId, GateId, IntentId, RunId};
use fermata_engine::read::{AuditView, NodeKind};
use uuid::Uuid;

use crate::asked::Asked;
use crate::filter::{
    ActionFilter, ArtifactFilter, AuditFilter, CommandFilter, EventFilter, GateFilter, cursor, event_limit,
};
use crate::node::{Action, Artifact, AuditEntry, Command, Event, Gate, Intent, Node};
use crate::page::{Connection, weigh};

/// Everything that can be asked.
#[derive(Debug)]
pub struct Query;

/// Places in the stream, as cursors.
#[derive(Debug, SimpleObject)]
pub(crate) struct StreamReach {
    /// Just before the oldest event that is kept.
    oldest: String,
    /// The newest event.
    head: String,
}

/// Everything that can be asked.
#[Object]
impl Query {
    /// Whatever has this id, if it is the caller's to see.
    async fn node(&self, context: &Context<'_>, #[graphql(desc = "A UUID.")] id: ID) -> Result<Option<Node>> {
        let asked = Asked::of(context)?;
        let id: Uuid = asked.id("/id", &id)?;
        let kind = asked.engine.node_kind(&asked.by, id).await.map_err(|error| asked.refuse(error))?;
        Ok(match kind {
            None => None,
            Some(NodeKind::Command) => Command::by_id(context, RunId(id)).await?.map(Node::from),
            Some(NodeKind::Action) => Action::by_id(context, ActionId(id)).await?.map(Node::from),
            Some(NodeKind::Intent) => Intent::by_id(context, IntentId(id)).await?.map(Node::from),
            Some(NodeKind::Gate) => gate(asked, GateId(id)).await?.map(Node::from),
            Some(NodeKind::Artifact) => artifact(asked, ArtifactId(id)).await?.map(Node::from),
        })
    }

    /// One command, if it exists for the caller.
    async fn command(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The command.")] id: ID,
    ) -> Result<Option<Command>> {
        Command::by_id(context, Asked::of(context)?.id("/id", &id)?).await
    }

    /// How far back and ahead the stream reaches. A subscription that begins behind `head` misses
    /// nothing of what follows, even when it is cut before its first event.
    async fn stream(&self, context: &Context<'_>) -> Result<StreamReach> {
        let asked = Asked::of(context)?;
        let (oldest, head) = asked.engine.stream_bounds(&asked.by).await.map_err(|error| asked.refuse(error))?;
        Ok(StreamReach { oldest: oldest.to_string(), head: head.to_string() })
    }

    /// Commands, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn commands(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<CommandFilter>,
    ) -> Result<Connection<Command>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().read(asked)?);
        let found = asked.engine.commands(&asked.by, &filter, page).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_ids(page, &found, |command| command.command_id.0))
    }

    /// One action, if it exists for the caller.
    async fn action(&self, context: &Context<'_>, #[graphql(desc = "The action.")] id: ID) -> Result<Option<Action>> {
        Action::by_id(context, Asked::of(context)?.id("/id", &id)?).await
    }

    /// Actions, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn actions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<ActionFilter>,
    ) -> Result<Connection<Action>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().read(asked)?);
        let found = asked.engine.actions(&asked.by, &filter, page).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_ids(page, &found, |action| action.action_id.0))
    }

    /// One gate, if it exists for the caller.
    async fn gate(&self, context: &Context<'_>, #[graphql(desc = "The gate.")] id: ID) -> Result<Option<Gate>> {
        let asked = Asked::of(context)?;
        gate(asked, asked.id("/id", &id)?).await
    }

    /// Gates, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn gates(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<GateFilter>,
    ) -> Result<Connection<Gate>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().read(asked)?);
        let found = asked.engine.gates(&asked.by, &filter, page).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_ids(page, &found, |gate| gate.gate_id.0))
    }

    /// Events, in the order of the stream. A page may be empty although there is more: the filter
    /// skipped what was looked at, and the end cursor says how far.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "A cursor of the stream; from the oldest kept when left out.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<EventFilter>,
    ) -> Result<Connection<Event>> {
        let asked = Asked::of(context)?;
        let (limit, after) = (event_limit(asked, first)?, cursor(asked, after.as_deref())?);
        let filter = filter.unwrap_or_default().read(asked)?;
        let found = asked.engine.events(&asked.by, &filter, after, limit).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_events(after.is_some(), &found))
    }

    /// One artifact, if it exists for the caller.
    async fn artifact(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The artifact.")] id: ID,
    ) -> Result<Option<Artifact>> {
        let asked = Asked::of(context)?;
        artifact(asked, asked.id("/id", &id)?).await
    }

    /// Artifacts, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn artifacts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<ArtifactFilter>,
    ) -> Result<Connection<Artifact>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().read(asked)?);
        let found = asked.engine.artifacts_of(&asked.by, &filter, page).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_ids(page, &found, |artifact| artifact.artifact_id.0))
    }

    /// The audit trail, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn audit(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which rows.")] filter: Option<AuditFilter>,
    ) -> Result<Connection<AuditEntry>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().read(asked)?);
        let found = asked.engine.audit(&asked.by, &filter, page).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_ids(page, &found, AuditView::place))
    }
}

async fn gate(asked: &Asked, id: GateId) -> Result<Option<Gate>> {
    let found = asked.engine.gate(&asked.by, id).await.map_err(|error| asked.refuse(error))?;
    Ok(found.map(Gate::from))
}

async fn artifact(asked: &Asked, id: ArtifactId) -> Result<Option<Artifact>> {
    let found = asked.engine.artifact(&asked.by, id).await.map_err(|error| asked.refuse(error))?;
    Ok(found.map(Artifact::from))
}
