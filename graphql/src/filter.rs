//! Filters of lists, as REST has them: everything left out matches everything.

use async_graphql::{ID, InputObject, Result};
use fermata_engine::effect;
use fermata_engine::event::Cursor;
use fermata_engine::read as engine;
use fermata_engine::read::{DEFAULT_LIMIT, MAX_LIMIT};

use crate::asked::{Asked, Refusal};
use crate::scalar::Time;
use crate::word::{AccountMode, ActionState, CommandStatus, GateState, Severity, words};

/// Which commands.
#[derive(Debug, Default, InputObject)]
pub struct CommandFilter {
    /// In any of these statuses.
    statuses: Option<Vec<CommandStatus>>,
    /// Of this type.
    r#type: Option<String>,
    /// For this account.
    account_id: Option<String>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// With this correlation id.
    correlation_id: Option<String>,
    /// Started by this command.
    parent_id: Option<ID>,
    /// Accepted at or after.
    since: Option<Time>,
    /// Accepted before.
    until: Option<Time>,
}

/// Which actions.
#[derive(Debug, Default, InputObject)]
pub struct ActionFilter {
    /// Of this command.
    command_id: Option<ID>,
    /// In any of these states.
    states: Option<Vec<ActionState>>,
    /// For this account.
    account_id: Option<String>,
    /// Of this action type.
    action_type: Option<String>,
}

/// Which of a command's actions.
#[derive(Debug, Default, InputObject)]
pub struct CommandActionFilter {
    /// In any of these states.
    pub(crate) states: Option<Vec<ActionState>>,
    /// For this account.
    pub(crate) account_id: Option<String>,
    /// Of this action type.
    pub(crate) action_type: Option<String>,
}

/// Which gates.
#[derive(Debug, Default, InputObject)]
pub struct GateFilter {
    /// Of this command.
    command_id: Option<ID>,
    /// In any of these states.
    states: Option<Vec<GateState>>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
}

/// Which artifacts.
#[derive(Debug, Default, InputObject)]
pub struct ArtifactFilter {
    /// Of this command.
    command_id: Option<ID>,
    /// Of this kind, such as `screenshot`.
    kind: Option<String>,
}

/// Which events.
#[derive(Debug, Default, InputObject)]
pub struct EventFilter {
    /// About this command.
    command_id: Option<ID>,
    /// Of any of these types.
    types: Option<Vec<String>>,
    /// At least this severe.
    min_severity: Option<Severity>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// About commands for this account.
    account_id: Option<String>,
    /// About commands of this browser session.
    session_id: Option<String>,
}

/// Which of a command's events.
#[derive(Debug, Default, InputObject)]
pub struct CommandEventFilter {
    /// Of any of these types.
    pub(crate) types: Option<Vec<String>>,
    /// At least this severe.
    pub(crate) min_severity: Option<Severity>,
}

/// Which accounts.
#[derive(Debug, Default, InputObject)]
pub struct AccountFilter {
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// On this platform.
    platform: Option<String>,
    /// In this mode.
    mode: Option<AccountMode>,
}

/// Which rows of the audit trail.
#[derive(Debug, Default, InputObject)]
pub struct AuditFilter {
    /// About this command.
    command_id: Option<ID>,
    /// About this action.
    action_id: Option<ID>,
    /// By this actor.
    actor: Option<String>,
    /// Of any of these phases.
    phases: Option<Vec<String>>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// About actions on this platform.
    platform: Option<String>,
    /// About actions for this account.
    account_id: Option<String>,
    /// About actions of this type.
    action_type: Option<String>,
    /// Not before this time.
    since: Option<Time>,
    /// Before this time.
    until: Option<Time>,
}

impl CommandFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::CommandFilter> {
        Ok(engine::CommandFilter {
            statuses: words(self.statuses, CommandStatus::word),
            kind: self.r#type,
            account_id: self.account_id,
            client_id: self.client_id,
            correlation_id: self.correlation_id,
            parent_id: asked.some_id("/filter/parentId", self.parent_id.as_ref())?,
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
        })
    }
}

impl ActionFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::ActionFilter> {
        Ok(engine::ActionFilter {
            run: asked.some_id("/filter/commandId", self.command_id.as_ref())?,
            states: words(self.states, ActionState::word),
            account_id: self.account_id,
            action_type: self.action_type,
        })
    }
}

impl GateFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::GateFilter> {
        Ok(engine::GateFilter {
            run: asked.some_id("/filter/commandId", self.command_id.as_ref())?,
            states: words(self.states, GateState::word),
            client_id: self.client_id,
        })
    }
}

impl ArtifactFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::ArtifactFilter> {
        let run = asked.some_id("/filter/commandId", self.command_id.as_ref())?;
        Ok(engine::ArtifactFilter { run, kind: self.kind })
    }
}

impl EventFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::EventFilter> {
        Ok(engine::EventFilter {
            run: asked.some_id("/filter/commandId", self.command_id.as_ref())?,
            types: self.types.unwrap_or_default(),
            min_severity: self.min_severity.map(Into::into),
            client_id: self.client_id,
            account_id: self.account_id,
            session_id: self.session_id,
        })
    }
}

impl From<AccountFilter> for effect::AccountFilter {
    fn from(asked: AccountFilter) -> Self {
        let mode = asked.mode.and_then(|mode| effect::AccountMode::parse(mode.word()));
        Self { client_id: asked.client_id, platform: asked.platform, mode }
    }
}

impl AuditFilter {
    pub(crate) fn read(self, asked: &Asked) -> Result<engine::AuditFilter> {
        Ok(engine::AuditFilter {
            run: asked.some_id("/filter/commandId", self.command_id.as_ref())?,
            action: asked.some_id("/filter/actionId", self.action_id.as_ref())?,
            actor: self.actor,
            phases: self.phases.unwrap_or_default(),
            client_id: self.client_id,
            platform: self.platform,
            account_id: self.account_id,
            action_type: self.action_type,
            since: self.since.map(|time| time.0),
            until: self.until.map(|time| time.0),
        })
    }
}

/// A cursor of the stream out of an argument.
pub(crate) fn cursor(asked: &Asked, after: Option<&str>) -> Result<Option<Cursor>> {
    after.map(str::parse).transpose().map_err(|error| asked.refuse(Refusal::Read(engine::ReadError::Cursor(error))))
}

/// How many events a page has.
pub(crate) fn event_limit(asked: &Asked, first: Option<u32>) -> Result<u32> {
    match first.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        _ => Err(asked.invalid("/first", format!("must be 1 to {MAX_LIMIT}"))),
    }
}
