//! A command and everything that belongs to it.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::event::name::STATUS_CHANGED;
use fermata_engine::id::RunId;
use fermata_engine::read::{AuditFilter, AuditView, CommandView, EventView};
use serde_json::Value;

use super::{Action, Artifact, AuditEntry, Event, Failure, Gate, Step};
use crate::asked::Asked;
use crate::filter::{CommandActionFilter, CommandEventFilter, cursor, event_limit};
use crate::load::{Actions, Artifacts, AuditOfRun, Children, Events, Gates, Loaders, Steps, load};
use crate::page::{Connection, weigh};
use crate::scalar::Time;
use crate::word::{ActionState, CommandStatus, GateState, words};

/// A command: what was asked, where it stands, how it ended.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Command {
    /// The command, and the run that carries it out: a UUID.
    pub(super) id: ID,
    /// Whose it is.
    client_id: String,
    /// The command type, such as `flow.run`.
    r#type: String,
    /// The workflow that carries it out, as `name@version`.
    workflow: String,
    /// What it waits for, while it waits.
    wait_reason: Option<String>,
    /// When it goes on by itself, while it waits.
    due_at: Option<Time>,
    /// The platform that it is about.
    platform: Option<String>,
    /// The account that it acts for.
    account_id: Option<String>,
    /// The browser session that it uses.
    session_id: Option<String>,
    /// Ties commands together for the client.
    correlation_id: Option<String>,
    /// The key under which it was submitted.
    idempotency_key: Option<String>,
    /// 0 to 9, higher first.
    priority: i32,
    /// Not started before.
    not_before: Option<Time>,
    /// Failed when not ended by then.
    deadline: Option<Time>,
    /// Its bounds.
    policy: Option<Value>,
    /// What was submitted.
    input: Value,
    /// What it ended with, when it succeeded.
    result: Option<Value>,
    /// Why it ended, when it did not succeed.
    failure: Option<Failure>,
    /// The W3C trace id.
    trace_id: String,
    /// Who submitted it.
    submitted_by: String,
    /// When it was accepted.
    created_at: Time,
    /// When it ended.
    ended_at: Option<Time>,
    /// How often it was taken up: grows with each lease.
    epoch: Option<i32>,
    /// The node that carries it now.
    node: Option<ID>,
    /// Grows with each change, until it has ended.
    version: Option<i32>,
    #[graphql(skip)]
    run: RunId,
    #[graphql(skip)]
    parent_id: Option<RunId>,
    #[graphql(skip)]
    status: String,
}

/// A change of a command's status.
#[derive(Debug, SimpleObject)]
pub struct StatusChange {
    /// What it became.
    status: String,
    /// When.
    at: Time,
    /// Why, where there is more to say.
    reason: Option<String>,
}

impl From<CommandView> for Command {
    fn from(view: CommandView) -> Self {
        Self {
            id: ID(view.command_id.to_string()),
            client_id: view.client_id,
            r#type: view.r#type,
            workflow: view.workflow,
            wait_reason: view.wait_reason,
            due_at: view.due_at.map(Time),
            platform: view.platform,
            account_id: view.account_id,
            session_id: view.session_id,
            correlation_id: view.correlation_id,
            idempotency_key: view.idempotency_key,
            priority: view.priority.into(),
            not_before: view.not_before.map(Time),
            deadline: view.deadline.map(Time),
            policy: view.policy,
            input: view.payload,
            result: view.result,
            failure: view.error.map(Failure::from),
            trace_id: view.trace_id,
            submitted_by: view.submitted_by,
            created_at: Time(view.created_at),
            ended_at: view.ended_at.map(Time),
            epoch: view.epoch,
            node: view.node.map(|node| ID(node.to_string())),
            version: view.version,
            run: view.command_id,
            parent_id: view.parent_id,
            status: view.status,
        }
    }
}

impl From<EventView> for StatusChange {
    fn from(event: EventView) -> Self {
        let text = |name: &str| event.data.get(name).and_then(Value::as_str).map(str::to_owned);
        let reason = text("wait_reason").or_else(|| text("reason"));
        Self { status: text("to").unwrap_or_default(), at: Time(event.time), reason }
    }
}

impl Command {
    /// A command by id; `None` when it is not there, or not to be seen.
    pub(crate) async fn by_id(context: &Context<'_>, id: RunId) -> Result<Option<Self>> {
        Ok(context.data::<Loaders>()?.load_one(id).await?.map(Self::from))
    }
}

#[ComplexObject]
impl Command {
    /// Where it stands.
    async fn status(&self) -> Result<CommandStatus> {
        CommandStatus::of(&self.status)
    }

    /// The command that started this one.
    async fn parent(&self, context: &Context<'_>) -> Result<Option<Self>> {
        match self.parent_id {
            Some(parent) => Self::by_id(context, parent).await,
            None => Ok(None),
        }
    }

    /// The commands that it started, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn children(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<Self>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let found = load(context, self.run, Children { page }).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, |command| command.command_id.0)))
    }

    /// Its steps, in the order in which their first attempts ended.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn steps(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<Step>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let found = load(context, self.run, Steps { page }).await?.unwrap_or_default();
        Ok(Some(Connection::of_places(page, &found)))
    }

    /// Its actions, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn actions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<CommandActionFilter>,
    ) -> Result<Option<Connection<Action>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let filter = filter.unwrap_or_default();
        let states = words(filter.states, ActionState::word);
        let list = Actions { page, states, account_id: filter.account_id, action_type: filter.action_type };
        let found = load(context, self.run, list).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, |action| action.action_id.0)))
    }

    /// Its gates, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn gates(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "In any of these states; every one when left out.")] states: Option<Vec<GateState>>,
    ) -> Result<Option<Connection<Gate>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let list = Gates { page, states: words(states, GateState::word) };
        let found = load(context, self.run, list).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, |gate| gate.gate_id.0)))
    }

    /// Its events, in the order of the stream.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn events(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "A cursor of the stream; from the oldest kept when left out.")] after: Option<String>,
        #[graphql(desc = "Which of them.")] filter: Option<CommandEventFilter>,
    ) -> Result<Option<Connection<Event>>> {
        let filter = filter.unwrap_or_default();
        let types = filter.types.unwrap_or_default();
        let list = self.part(context, (first, after), types, filter.min_severity.map(Into::into))?;
        let continues = list.after.is_some();
        let found = load(context, self.run, list).await?;
        Ok(Some(found.map_or_else(Connection::default, |found| Connection::of_events(continues, &found))))
    }

    /// The changes of its status, oldest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn lifecycle(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<StatusChange>>> {
        let list = self.part(context, (first, after), vec![STATUS_CHANGED.to_owned()], None)?;
        let continues = list.after.is_some();
        let found = load(context, self.run, list).await?;
        Ok(Some(found.map_or_else(Connection::default, |found| Connection::of_events(continues, &found))))
    }

    /// Its artifacts, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn artifacts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
        #[graphql(desc = "Of this kind, such as `screenshot`.")] kind: Option<String>,
    ) -> Result<Option<Connection<Artifact>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let found = load(context, self.run, Artifacts { page, kind }).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, |artifact| artifact.artifact_id.0)))
    }

    /// What the audit trail says of it, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn audit(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<AuditEntry>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let list = AuditOfRun { page, filter: AuditFilter::default() };
        let found = load(context, self.run, list).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, AuditView::place)))
    }
}

impl Command {
    fn part(
        &self,
        context: &Context<'_>,
        (first, after): (Option<u32>, Option<String>),
        types: Vec<String>,
        min_severity: Option<fermata_engine::event::Severity>,
    ) -> Result<Events> {
        let asked = Asked::of(context)?;
        let (limit, after) = (event_limit(asked, first)?, cursor(asked, after.as_deref())?);
        Ok(Events { after, limit, types, min_severity })
    }
}
