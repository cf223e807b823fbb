//! The root of all questions: one method per list or thing, each a translator.

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use fermata_engine::effect::AccountName;
use fermata_engine::id::{ActionId, ArtifactId, GateId, IntentId, RunId};
use fermata_engine::policy::PolicyScope;
use fermata_engine::read::{AuditView, NodeKind, ReadError};
use uuid::Uuid;

use crate::asked::Asked;
use crate::filter::{
    AccountFilter, ActionFilter, ArtifactFilter, AuditFilter, CommandFilter, EventFilter, GateFilter, cursor,
    event_limit,
};
use crate::node::{Action, Artifact, AuditEntry, Command, Event, Gate, Intent, Node, PlatformAccount, Policy};
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

    /// The policies in force that the caller may see, by scope; the first 1000.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn policies(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<Policy>> {
        let asked = Asked::of(context)?;
        let page = asked.page(first, after.as_deref())?;
        let whole = asked.engine.policies(&asked.by).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_places(page, &page.of_whole(whole)))
    }

    /// A scope's policy, if the caller may see it.
    async fn policy(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "`global`, `platform:…`, `client:…` or `account:<client>/<account>`.")] scope: String,
        #[graphql(desc = "The version; the one in force when left out.")] version: Option<i64>,
    ) -> Result<Option<Policy>> {
        let asked = Asked::of(context)?;
        let wanted: PolicyScope =
            scope.parse().map_err(|error: fermata_engine::policy::ScopeError| asked.invalid("/scope", error))?;
        there(asked, asked.engine.policy(&asked.by, &wanted, version).await)
    }

    /// The accounts that something is known of, those that nothing may be done with first; the first 1000.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn platform_accounts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<AccountFilter>,
    ) -> Result<Connection<PlatformAccount>> {
        let asked = Asked::of(context)?;
        let (page, filter) = (asked.page(first, after.as_deref())?, filter.unwrap_or_default().into());
        let whole = asked.engine.accounts(&asked.by, &filter).await.map_err(|error| asked.refuse(error))?;
        Ok(Connection::of_places(page, &page.of_whole(whole)))
    }

    /// One account, if something is known of it for the caller.
    async fn platform_account(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The platform.")] platform: String,
        #[graphql(desc = "The account.")] account_id: String,
        #[graphql(desc = "Whose; the caller's own client when left out.")] client_id: Option<String>,
    ) -> Result<Option<PlatformAccount>> {
        let asked = Asked::of(context)?;
        let which = AccountName { client: client_id, platform, account: account_id };
        there(asked, asked.engine.account(&asked.by, &which).await)
    }
}

/// What was found; nothing for what is not there, or not to be seen.
fn there<V, T: From<V>>(asked: &Asked, found: std::result::Result<V, ReadError>) -> Result<Option<T>> {
    match found {
        Ok(view) => Ok(Some(T::from(view))),
        Err(ReadError::NotFound(_)) => Ok(None),
        Err(error) => Err(asked.refuse(error)),
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
