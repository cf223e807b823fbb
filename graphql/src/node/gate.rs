//! Gates.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::id::RunId;
use fermata_engine::read::GateView;
use serde_json::Value;

use super::Command;
use crate::scalar::Time;
use crate::word::{GateKind, GateState};

/// A wait for a person's decision.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Gate {
    /// The gate: a UUID.
    pub(super) id: ID,
    /// Whose it is.
    client_id: String,
    /// The step that waits.
    step_key: String,
    /// Which generation of the run it belongs to.
    generation: i32,
    /// Why a person is asked.
    reason: String,
    /// What the person is shown.
    shown: Value,
    /// Since when it waits.
    opened_at: Time,
    /// When it gives up.
    expires_at: Option<Time>,
    /// When it was decided or closed.
    decided_at: Option<Time>,
    /// Who decided.
    actor: Option<String>,
    /// Why, in the person's words.
    comment: Option<String>,
    /// What the person added or corrected.
    outputs: Option<Value>,
    #[graphql(skip)]
    run: RunId,
    #[graphql(skip)]
    kind: String,
    #[graphql(skip)]
    state: String,
}

impl From<GateView> for Gate {
    fn from(view: GateView) -> Self {
        Self {
            id: ID(view.gate_id.to_string()),
            client_id: view.client_id,
            step_key: view.key,
            generation: view.generation,
            reason: view.reason,
            shown: view.shown,
            opened_at: Time(view.opened_at),
            expires_at: view.expires_at.map(Time),
            decided_at: view.decided_at.map(Time),
            actor: view.actor,
            comment: view.comment,
            outputs: view.outputs,
            run: view.command_id,
            kind: view.kind,
            state: view.state,
        }
    }
}

#[ComplexObject]
impl Gate {
    /// What the person is asked for.
    async fn kind(&self) -> Result<GateKind> {
        GateKind::of(&self.kind)
    }

    /// Where it stands.
    async fn state(&self) -> Result<GateState> {
        GateState::of(&self.state)
    }

    /// The command that waits.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        Command::by_id(context, self.run).await
    }
}
