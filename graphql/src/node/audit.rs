//! The audit trail.

use crate::scalar::Time;
use async_graphql::{ComplexObject, Context, Result, SimpleObject};
use fermata_engine::id::{ActionId, RunId};
use fermata_engine::read::AuditView;
use serde_json::Value;

use super::{Action, Command};

/// One row of the audit trail.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct AuditEntry {
    /// When.
    at: Time,
    /// Whose it is.
    client_id: String,
    /// Who acted: a token's name, or `fermata`.
    actor: String,
    /// What happened, such as `attempted` or `gate_approved`.
    phase: String,
    /// The particulars.
    body: Value,
    #[graphql(skip)]
    run: Option<RunId>,
    #[graphql(skip)]
    action: Option<ActionId>,
}

impl From<AuditView> for AuditEntry {
    fn from(view: AuditView) -> Self {
        Self {
            at: Time(view.at),
            client_id: view.client_id,
            actor: view.actor,
            phase: view.phase,
            body: view.body,
            run: view.command_id,
            action: view.action_id,
        }
    }
}

#[ComplexObject]
impl AuditEntry {
    /// The command that it is about.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        match self.run {
            Some(run) => Command::by_id(context, run).await,
            None => Ok(None),
        }
    }

    /// The action that it is about.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        match self.action {
            Some(action) => Action::by_id(context, action).await,
            None => Ok(None),
        }
    }
}
