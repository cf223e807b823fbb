//! Steps and their attempts.

use async_graphql::{ComplexObject, Context, Result, SimpleObject};
use chrono::TimeDelta;
use fermata_engine::read::{StepId, StepSummary, StepView};
use serde_json::Value;

use super::Failure;
use crate::asked::Asked;
use crate::load::{Attempts, load};
use crate::page::{Connection, weigh};
use crate::scalar::{Long, Time};
use crate::word::{StepKind, StepState};

/// A named unit of a run, whose result is a checkpoint.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Step {
    /// The step's key: its name, with a counter where it repeats.
    key: String,
    /// Which generation of the run it belongs to.
    generation: i32,
    /// How its newest attempt ended.
    state: StepState,
    /// How many attempts there were.
    attempt_count: i32,
    /// SHA-256 of its input, in hex.
    input_hash: String,
    /// The checkpoint, when it succeeded.
    output: Option<Value>,
    /// Why the newest attempt failed.
    failure: Option<Failure>,
    /// When the first attempt began.
    started_at: Time,
    /// When the end of the newest one was durable.
    ended_at: Time,
    /// The time between, in milliseconds.
    duration_ms: Long,
    #[graphql(skip)]
    id: StepId,
    #[graphql(skip)]
    kind: String,
}

/// One attempt of a step.
#[derive(Debug, SimpleObject)]
pub struct Attempt {
    /// 1 for the first one.
    number: i32,
    /// How it ended.
    state: StepState,
    /// The checkpoint, when it succeeded.
    output: Option<Value>,
    /// Why it failed.
    failure: Option<Failure>,
    /// Under which lease it ran.
    epoch: i32,
    /// When it began.
    started_at: Time,
    /// When its end was durable.
    ended_at: Time,
    /// The time between, in milliseconds.
    duration_ms: Long,
}

impl From<StepSummary> for Step {
    fn from(StepSummary { command_id, began_at, newest }: StepSummary) -> Self {
        let taken = (newest.ended_at - began_at).max(TimeDelta::zero());
        Self {
            id: StepId { command_id, generation: newest.generation, key: newest.key.clone() },
            key: newest.key,
            generation: newest.generation,
            kind: newest.kind,
            state: newest.state.into(),
            attempt_count: newest.attempt.into(),
            input_hash: newest.input_hash,
            output: newest.output,
            failure: newest.error.map(Failure::from),
            started_at: Time(began_at),
            ended_at: Time(newest.ended_at),
            duration_ms: Long(taken.num_milliseconds()),
        }
    }
}

impl From<StepView> for Attempt {
    fn from(view: StepView) -> Self {
        Self {
            number: view.attempt.into(),
            state: view.state.into(),
            output: view.output,
            failure: view.error.map(Failure::from),
            epoch: view.epoch,
            started_at: Time(view.started_at),
            ended_at: Time(view.ended_at),
            duration_ms: Long(view.duration_ms),
        }
    }
}

#[ComplexObject]
impl Step {
    /// What it is.
    async fn kind(&self) -> StepKind {
        StepKind::of(&self.kind).unwrap_or(StepKind::Other)
    }

    /// Its attempts, the first one first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn attempts(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<Attempt>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let found = load(context, self.id.clone(), Attempts { page }).await?.unwrap_or_default();
        Ok(Some(Connection::of_places(page, &found)))
    }
}
