//! The one statement: a batch over one connection, and what it answers.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::send::{Batch, Signal, Submission};
use super::{Acceptance, Lane, Sent, StoreError};
use crate::id::RunId;
use crate::store::batch::Columns;
use crate::store::queue::{Claim, claim};

/// What `fermata.commit` answered; whom it concerns is told by ordinals from 1.
pub(super) struct Answer {
    /// The records that were applied, with their runs' inbox and cancel flag.
    pub(super) applied: HashMap<i32, (i32, bool)>,
    /// Why the others were not.
    pub(super) refused: Value,
    /// The commands whose keys were used before, by which command, and whether that is the same.
    pub(super) known: HashMap<i32, (RunId, bool)>,
    /// What became of the signals, in their order.
    pub(super) sent: Vec<Sent>,
    pub(super) head: Option<i64>,
    pub(super) claims: Vec<Claim>,
}

/// Each part of a batch that is missing is null.
const COMMIT: &str = "select * from fermata.commit(now(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
    $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, \
    $38, $39, $40, $41, $42, $43, $44, $45, $46)";

impl Lane {
    pub(super) async fn try_commit(&mut self, batch: &Batch) -> Result<Answer, StoreError> {
        let Some(connection) = self.connected().await else { return Err(StoreError::Stopped) };
        let new = &batch.submissions;
        let want = batch.wish.as_ref().map(|wish| (wish.want(), wish.seats()));
        let records = Columns::of(batch.entries.iter().map(|entry| &entry.record));
        let rows = sqlx::query(COMMIT)
            .bind((!new.is_empty()).then(|| column(new, |a| a.run.0)))
            .bind(column(new, |a| a.client.as_str()))
            .bind(column(new, |a| a.kind.as_str()))
            .bind(column(new, |a| a.workflow.as_str()))
            .bind(column(new, |a| Json(&*a.input)))
            .bind(column(new, |a| Json(&*a.envelope)))
            .bind(column(new, |a| a.key.as_deref()))
            .bind(column(new, |a| a.fingerprint.as_str()))
            .bind(column(new, |a| a.trace_id.as_str()))
            .bind(column(new, |a| a.submitted_by.as_str()))
            .bind(want.map(|(want, _)| want.node.0))
            .bind(want.map(|(_, seats)| i32::try_from(seats).unwrap_or(i32::MAX)))
            .bind(want.map(|(want, _)| &*want.hosted))
            .bind(want.map(|(want, _)| want.after.as_str()))
            .bind(want.map(|(want, _)| want.max_deliveries))
            .bind((!records.ids.is_empty()).then_some(records.ids))
            .bind(records.clients)
            .bind(records.kinds)
            .bind(records.epochs)
            .bind(records.seqs)
            .bind(records.nexts)
            .bind(records.inboxes)
            .bind(records.generations)
            .bind(records.dues)
            .bind(records.words)
            .bind(records.bodies)
            .bind(records.steps.ords)
            .bind(records.steps.keys)
            .bind(records.steps.attempts)
            .bind(records.steps.kinds)
            .bind(records.steps.besides)
            .bind(records.steps.hashes)
            .bind(records.steps.outputs)
            .bind(records.steps.errors)
            .bind(records.steps.started)
            .bind(records.events.ords)
            .bind(records.events.clients)
            .bind(records.events.runs)
            .bind(records.events.kinds)
            .bind(records.events.severities)
            .bind(records.events.datas)
            .bind(locked(records.locks, batch))
            .bind(records.rare)
            .bind(records.audits)
            .bind((!batch.signals.is_empty()).then(|| Json(batch.signals.iter().map(Words::of).collect::<Vec<_>>())))
            .bind(batch.again)
            .fetch_all(connection)
            .await?;
        Ok(answer(&rows)?)
    }
}

fn column<'a, T>(submissions: &'a [Submission], of: impl Fn(&'a Acceptance) -> T) -> Vec<T> {
    submissions.iter().map(|(acceptance, _)| of(acceptance)).collect()
}

/// Rows to lock in order first. A signal is about another row than the records': then all of them.
fn locked(locks: Option<Vec<Uuid>>, batch: &Batch) -> Option<Vec<Uuid>> {
    if batch.signals.is_empty() {
        return locks;
    }
    let mut locks = locks.unwrap_or_default();
    locks.extend(batch.entries.iter().map(|entry| entry.record.run.0));
    locks.extend(batch.signals.iter().map(|(sending, _)| sending.run.0));
    Some(locks)
}

/// A signal as `fermata.commit` reads it.
#[derive(serde::Serialize)]
struct Words<'a> {
    id: Uuid,
    run: Uuid,
    client: &'a str,
    actor: &'a str,
    name: &'a str,
    payload: &'a RawValue,
}

impl<'a> Words<'a> {
    fn of((sending, _): &'a Signal) -> Self {
        Self {
            id: sending.id.0,
            run: sending.run.0,
            client: &sending.client,
            actor: &sending.actor,
            name: &sending.name,
            payload: &sending.payload,
        }
    }
}

/// The last row answers the batch; the others are claimed runs.
fn answer(rows: &[PgRow]) -> Result<Answer, sqlx::Error> {
    let (last, claimed) = rows.split_last().ok_or(sqlx::Error::RowNotFound)?;
    let applied: Vec<i32> = last.try_get::<Option<_>, _>("applied")?.unwrap_or_default();
    let seen: Vec<i32> = last.try_get::<Option<_>, _>("seen")?.unwrap_or_default();
    let cancels: Vec<bool> = last.try_get::<Option<_>, _>("cancels")?.unwrap_or_default();
    let known: Vec<Known> = last.try_get::<Option<Json<_>>, _>("known")?.map(|known| known.0).unwrap_or_default();
    let sent: Vec<String> = last.try_get::<Option<_>, _>("sent")?.unwrap_or_default();
    Ok(Answer {
        applied: applied.into_iter().zip(seen.into_iter().zip(cancels)).collect(),
        refused: last.try_get::<Option<Json<_>>, _>("refused")?.map(|refused| refused.0).unwrap_or_default(),
        known: known.into_iter().map(|known| (known.ord, (RunId(known.run_id), known.same))).collect(),
        sent: sent.iter().map(|word| Sent::of(word)).collect(),
        head: last.try_get("head")?,
        claims: claimed.iter().map(claim).collect::<Result<_, _>>()?,
    })
}

#[derive(serde::Deserialize)]
struct Known {
    ord: i32,
    run_id: Uuid,
    same: bool,
}
