//! The same reads for many things at once: a nested list costs one statement, however many there
//! are on the page around it.
//!
//! Each answers by what it was asked for; what is missing there has nothing, or is not the
//! principal's to see.

use std::collections::HashMap;
use std::hash::Hash;

use uuid::Uuid;

use super::{
    ActionFilter, ActionView, ArtifactFilter, ArtifactView, AuditFilter, AuditView, CommandView, EventFilter,
    EventPage, GateFilter, GateView, IntentView, MAX_LIMIT, Page, Paged, ReadError, StepId, StepSummary, StepView,
};
use crate::access::{Principal, Scope};
use crate::engine::Engine;
use crate::event::Cursor;
use crate::id::{ActionId, GateId, IntentId, RunId};

/// How many things one call asks for at most.
pub const MAX_AT_ONCE: usize = 1_000;

/// What was found, by what it was asked for.
pub type Found<K, T> = HashMap<K, T>;

/// What an id can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A command.
    Command,
    /// An action.
    Action,
    /// An intent.
    Intent,
    /// A gate.
    Gate,
    /// An artifact.
    Artifact,
}

/// Either of the scopes that show gates.
const GATES: [Scope; 2] = [Scope::CommandsRead, Scope::GatesDecide];

impl Engine {
    /// What an id names, if it is the principal's to see.
    pub async fn node_kind(&self, by: &Principal, id: Uuid) -> Result<Option<NodeKind>, ReadError> {
        by.require_any(&[Scope::CommandsRead, Scope::GatesDecide, Scope::ArtifactsRead])?;
        Ok(self.store().node_kind(&by.client_id, id).await?)
    }

    /// Commands by id, without their lifecycles.
    pub async fn commands_by_id(&self, by: &Principal, ids: &[RunId]) -> Result<Found<RunId, CommandView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(ids)?;
        let rows = self.store().commands_by_id(&by.client_id, ids).await?;
        Ok(rows.into_iter().map(|row| (row.command_id, row)).collect())
    }

    /// Actions by id.
    pub async fn actions_by_id(
        &self,
        by: &Principal,
        ids: &[ActionId],
    ) -> Result<Found<ActionId, ActionView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(ids)?;
        let rows = self.store().actions_by_id(&by.client_id, ids).await?;
        Ok(rows.into_iter().map(|row| (row.action_id, row)).collect())
    }

    /// One action.
    pub async fn action(&self, by: &Principal, id: ActionId) -> Result<Option<ActionView>, ReadError> {
        Ok(self.actions_by_id(by, &[id]).await?.remove(&id))
    }

    /// Intents by id.
    pub async fn intents_by_id(
        &self,
        by: &Principal,
        ids: &[IntentId],
    ) -> Result<Found<IntentId, IntentView>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(ids)?;
        let rows = self.store().intents_by_id(&by.client_id, ids).await?;
        Ok(rows.into_iter().map(|row| (row.intent_id, row)).collect())
    }

    /// Gates by id.
    pub async fn gates_by_id(&self, by: &Principal, ids: &[GateId]) -> Result<Found<GateId, GateView>, ReadError> {
        by.require_any(&GATES)?;
        bounded(ids)?;
        let rows = self.store().gates_by_id(&by.client_id, ids).await?;
        Ok(rows.into_iter().map(|row| (row.gate_id, row)).collect())
    }

    /// The commands that each of these started, newest first.
    pub async fn children_of(
        &self,
        by: &Principal,
        parents: &[RunId],
        page: Page,
    ) -> Result<Found<RunId, Paged<CommandView>>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(parents)?;
        let found = self.store().children_of(&by.client_id, parents, page).await?;
        Ok(cut(found, RunId, |rows| page.cut(rows, |command| command.command_id.0)))
    }

    /// The steps of each run, in the order in which their first attempts ended.
    pub async fn steps_of(
        &self,
        by: &Principal,
        runs: &[RunId],
        page: Page,
    ) -> Result<Found<RunId, Paged<StepSummary>>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(runs)?;
        let found = self.store().steps_of(&by.client_id, runs, page).await?;
        Ok(cut(found, RunId, |rows| page.number(rows)))
    }

    /// The attempts of each step, the first one first.
    pub async fn attempts_of(
        &self,
        by: &Principal,
        steps: &[StepId],
        page: Page,
    ) -> Result<Found<StepId, Paged<StepView>>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(steps)?;
        let found = self.store().attempts_of(&by.client_id, steps, page).await?;
        let paged = |(step, rows)| (step, page.number(rows));
        Ok(found.into_iter().map(paged).collect())
    }

    /// The actions of each run, newest first. The filter's own run does not count.
    pub async fn actions_of(
        &self,
        by: &Principal,
        runs: &[RunId],
        filter: &ActionFilter,
        page: Page,
    ) -> Result<Found<RunId, Paged<ActionView>>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(runs)?;
        filter.check()?;
        let found = self.store().actions_of(&by.client_id, runs, filter, page).await?;
        Ok(cut(found, RunId, |rows| page.cut(rows, |action| action.action_id.0)))
    }

    /// The actions that attempted each intent, newest first.
    pub async fn actions_of_intents(
        &self,
        by: &Principal,
        intents: &[IntentId],
        page: Page,
    ) -> Result<Found<IntentId, Paged<ActionView>>, ReadError> {
        by.require(Scope::CommandsRead)?;
        bounded(intents)?;
        let found = self.store().actions_of_intents(&by.client_id, intents, page).await?;
        Ok(cut(found, IntentId, |rows| page.cut(rows, |action| action.action_id.0)))
    }

    /// The gates of each run, newest first. The filter's own run does not count.
    pub async fn gates_of(
        &self,
        by: &Principal,
        runs: &[RunId],
        filter: &GateFilter,
        page: Page,
    ) -> Result<Found<RunId, Paged<GateView>>, ReadError> {
        by.require_any(&GATES)?;
        bounded(runs)?;
        filter.check()?;
        let found = self.store().gates_of(&by.client_id, runs, filter, page).await?;
        Ok(cut(found, RunId, |rows| page.cut(rows, |gate| gate.gate_id.0)))
    }

    /// The artifacts of each run, newest first. The filter's own run does not count.
    pub async fn artifacts_of_each(
        &self,
        by: &Principal,
        runs: &[RunId],
        filter: &ArtifactFilter,
        page: Page,
    ) -> Result<Found<RunId, Paged<ArtifactView>>, ReadError> {
        by.require(Scope::ArtifactsRead)?;
        bounded(runs)?;
        let found = self.store().artifacts_of(&by.client_id, runs, filter, page).await?;
        Ok(cut(found, RunId, |rows| page.cut(rows, |artifact| artifact.artifact_id.0)))
    }

    /// The audit rows about each run, newest first. The filter's own run does not count.
    pub async fn audit_of_runs(
        &self,
        by: &Principal,
        runs: &[RunId],
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Found<RunId, Paged<AuditView>>, ReadError> {
        by.require(Scope::AuditRead)?;
        bounded(runs)?;
        let found = self.store().audit_of(&by.client_id, ids(runs, |run| run.0), (" and run_id = k.id", filter), page);
        Ok(cut(found.await?, RunId, |rows| page.cut(rows, AuditView::place)))
    }

    /// The audit rows about each action, newest first. The filter's own action does not count.
    pub async fn audit_of_actions(
        &self,
        by: &Principal,
        actions: &[ActionId],
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Found<ActionId, Paged<AuditView>>, ReadError> {
        by.require(Scope::AuditRead)?;
        bounded(actions)?;
        let asked = ids(actions, |action| action.0);
        let found = self.store().audit_of(&by.client_id, asked, (" and action_id = k.id", filter), page);
        Ok(cut(found.await?, ActionId, |rows| page.cut(rows, AuditView::place)))
    }

    /// The events of each run behind a cursor, in the order of the stream. The filter's own run
    /// does not count.
    pub async fn events_of(
        &self,
        by: &Principal,
        runs: &[RunId],
        filter: &EventFilter,
        (after, limit): (Option<Cursor>, u32),
    ) -> Result<Found<RunId, EventPage>, ReadError> {
        by.require(Scope::EventsRead)?;
        bounded(runs)?;
        let (oldest, head) = self.store().stream_bounds().await?;
        let after = after.unwrap_or(oldest).check(oldest, head)?;
        let limit = limit.clamp(1, MAX_LIMIT);
        let found = self.store().events_of(&by.client_id, runs, filter, (after, limit)).await?;
        let page = |mut items: Vec<_>| {
            let kept = usize::try_from(limit).unwrap_or(usize::MAX);
            let more = items.len() > kept;
            items.truncate(kept);
            let next_cursor = items.last().filter(|_| more).map(|last: &super::EventView| last.cursor);
            EventPage { items, next_cursor }
        };
        Ok(cut(found, RunId, page))
    }
}

fn bounded<T>(asked: &[T]) -> Result<(), ReadError> {
    if asked.len() <= MAX_AT_ONCE {
        return Ok(());
    }
    Err(ReadError::Filter { name: "id", message: format!("at most {MAX_AT_ONCE} can be asked for at once") })
}

fn ids<K: Copy>(keys: &[K], id: impl Fn(K) -> Uuid) -> Vec<Uuid> {
    keys.iter().copied().map(id).collect()
}

fn cut<K: Hash + Eq, T, P>(
    found: HashMap<Uuid, Vec<T>>,
    key: impl Fn(Uuid) -> K,
    page: impl Fn(Vec<T>) -> P,
) -> Found<K, P> {
    found.into_iter().map(|(id, rows)| (key(id), page(rows))).collect()
}
