//! One batch over one connection: round trip, outcomes, and what to do when it fails.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::Row;
use sqlx::types::Json;
use tokio::sync::oneshot::Sender;
use tracing::warn;

use super::{Acceptance, Accepted, Commit, Item, Lane, Outcome, Record, StoreError};
use crate::document::Raw;
use crate::id::RunId;
use crate::rigged::{crash_point, mutant};
use crate::store::batch::{Columns, fold, folds};
use crate::store::record::Kind;

/// A record (perhaps of several folded ones) and those who wait for it.
struct Entry {
    record: Record,
    waiting: Vec<Sender<Result<Outcome, StoreError>>>,
}

/// A command and the one who waits for it.
type Submission = (Acceptance, Sender<Result<Accepted, StoreError>>);

/// What `fermata.write` answered.
struct Answer {
    applied: HashMap<i32, (i32, bool)>,
    refused: Value,
    head: Option<i64>,
}

/// What to do with a batch that failed.
enum Remedy {
    /// A new connection, and the same again: a resend is safe.
    Reconnect,
    /// The same again.
    Again,
    /// Halves, until the culprit stands alone.
    Halve(String),
}

impl Lane {
    /// Writes everything in `items`; each waiter is told exactly once.
    pub(super) async fn send(&mut self, items: Vec<Item>) {
        let (mut entries, mut submissions) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Write(record, tell) => entries.push(Entry { record: *record, waiting: vec![tell] }),
                Item::Accept(acceptance, tell) => submissions.push((*acceptance, tell)),
            }
        }
        if mutant!("lost-record")
            && entries.len() > 1
            && let Some(entry) = entries.pop()
        {
            let told = Outcome::Applied { inbox: entry.record.inbox, cancel: false };
            tell_all(vec![entry], &told);
        }
        if !submissions.is_empty() {
            self.accept(submissions).await;
        }
        for round in rounds(entries) {
            self.write(round).await;
        }
    }

    async fn write(&mut self, entries: Vec<Entry>) {
        let mut groups = vec![entries];
        while let Some(mut group) = groups.pop() {
            group.sort_by_key(|entry| entry.record.run);
            let records: Vec<_> = group.iter().map(|entry| entry.record.clone()).collect();
            let began = self.clock.monotonic();
            crash_point!("batch-before-commit");
            match self.try_write(&records).await {
                Ok(answer) => {
                    crash_point!("batch-after-commit");
                    let commit = Commit { ready: makes_ready(&records, &answer), head: answer.head };
                    self.tell(commit, group.len(), began);
                    settle(group, &answer);
                }
                Err(error) => match remedy(&error) {
                    Remedy::Halve(why) if group.len() == 1 => tell_all(group, &Outcome::Unstorable(why)),
                    Remedy::Halve(_) => {
                        let rest = group.split_off(group.len() / 2);
                        groups.extend([rest, group]);
                    }
                    Remedy::Again => groups.push(group),
                    Remedy::Reconnect => {
                        warn!(error = %error, "a batch of {} was cut off, will send it again", group.len());
                        self.connection = None;
                        if self.connected().await.is_none() {
                            return; // Dropping the waiters tells them that the node has stopped.
                        }
                        groups.push(group);
                    }
                },
            }
        }
    }

    async fn try_write(&mut self, records: &[Record]) -> Result<Answer, StoreError> {
        let Columns {
            ids,
            clients,
            kinds,
            epochs,
            seqs,
            nexts,
            inboxes,
            dues,
            words,
            bodies,
            steps,
            events,
            locks,
            rare,
            audits,
        } = Columns::of(records);
        let Some(connection) = self.connected().await else { return Err(StoreError::Stopped) };
        let row = sqlx::query(
            "select * from fermata.write(now(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
             $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)",
        )
        .bind(ids)
        .bind(clients)
        .bind(kinds)
        .bind(epochs)
        .bind(seqs)
        .bind(nexts)
        .bind(inboxes)
        .bind(dues)
        .bind(words)
        .bind(bodies)
        .bind(steps.ords)
        .bind(steps.keys)
        .bind(steps.attempts)
        .bind(steps.kinds)
        .bind(steps.besides)
        .bind(steps.hashes)
        .bind(steps.outputs)
        .bind(steps.errors)
        .bind(steps.started)
        .bind(events.ords)
        .bind(events.kinds)
        .bind(events.severities)
        .bind(events.datas)
        .bind(locks)
        .bind(rare)
        .bind(audits)
        .fetch_one(connection)
        .await?;
        let applied: Vec<i32> = row.try_get("applied")?;
        let seen: Option<Vec<i32>> = row.try_get("seen")?;
        let cancels: Option<Vec<bool>> = row.try_get("cancels")?;
        let state = seen.unwrap_or_default().into_iter().zip(cancels.unwrap_or_default());
        Ok(Answer {
            applied: applied.into_iter().zip(state).collect(),
            refused: row.try_get::<Json<Value>, _>("refused")?.0,
            head: row.try_get("head")?,
        })
    }

    async fn accept(&mut self, submissions: Vec<Submission>) {
        let mut groups = vec![submissions];
        while let Some(mut group) = groups.pop() {
            let began = self.clock.monotonic();
            crash_point!("submit-before-commit");
            match self.try_accept(&group).await {
                Ok(mut known) => {
                    crash_point!("submit-after-commit");
                    self.tell(Commit { ready: true, head: None }, group.len(), began);
                    for (n, (_, tell)) in group.into_iter().enumerate() {
                        // A waiter that went away has lost nothing: the command is durable.
                        drop(tell.send(Ok(known.remove(&n).unwrap_or(Accepted::New))));
                    }
                }
                Err(error) => match remedy(&error) {
                    Remedy::Halve(why) if group.len() == 1 => {
                        for (_, tell) in group {
                            drop(tell.send(Ok(Accepted::Unstorable(why.clone()))));
                        }
                    }
                    Remedy::Halve(_) => {
                        let rest = group.split_off(group.len() / 2);
                        groups.extend([rest, group]);
                    }
                    Remedy::Again => groups.push(group),
                    Remedy::Reconnect => {
                        self.connection = None;
                        if self.connected().await.is_none() {
                            return;
                        }
                        groups.push(group);
                    }
                },
            }
        }
    }

    /// Answers what is known of those that were not newly accepted, by index.
    async fn try_accept(&mut self, group: &[Submission]) -> Result<HashMap<usize, Accepted>, StoreError> {
        fn column<T>(group: &[Submission], of: impl Fn(&Acceptance) -> T) -> Vec<T> {
            group.iter().map(|(acceptance, _)| of(acceptance)).collect()
        }
        let Some(connection) = self.connected().await else { return Err(StoreError::Stopped) };
        let rows = sqlx::query("select * from fermata.accept(now(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(column(group, |a| a.run.0))
            .bind(column(group, |a| a.client.clone()))
            .bind(column(group, |a| a.kind.clone()))
            .bind(column(group, |a| a.workflow.clone()))
            .bind(column::<Json<Raw>>(group, |a| Json(a.input.clone())))
            .bind(column::<Json<Raw>>(group, |a| Json(a.envelope.clone())))
            .bind(column(group, |a| a.key.clone()))
            .bind(column(group, |a| a.fingerprint.clone()))
            .bind(column(group, |a| a.trace_id.clone()))
            .bind(column(group, |a| a.submitted_by.clone()))
            .fetch_all(connection)
            .await?;
        let mut known = HashMap::new();
        for row in rows {
            let index = usize::try_from(row.try_get::<i32, _>("ord")? - 1).unwrap_or_default();
            let run = RunId(row.try_get("run_id")?);
            // Our own id: this batch was sent before and its answer was lost.
            if group.get(index).is_some_and(|(acceptance, _)| acceptance.run == run) {
                continue;
            }
            let same: bool = row.try_get("same")?;
            known.insert(index, if same { Accepted::Replayed(run) } else { Accepted::Mismatch(run) });
        }
        Ok(known)
    }
}

/// Splits records into rounds with at most one per run each, in order, folding where possible.
fn rounds(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut rounds: Vec<Vec<Entry>> = Vec::new();
    let mut at: HashMap<RunId, (usize, usize)> = HashMap::new();
    for entry in entries {
        let run = entry.record.run;
        let round = match at.get(&run) {
            Some(&(round, place)) => {
                if let Some(earlier) = rounds.get_mut(round).and_then(|round| round.get_mut(place))
                    && folds(&earlier.record, &entry.record)
                {
                    fold(&mut earlier.record, entry.record);
                    earlier.waiting.extend(entry.waiting);
                    continue;
                }
                round + 1
            }
            None => 0,
        };
        if rounds.len() <= round {
            rounds.push(Vec::new());
        }
        if let Some(entries) = rounds.get_mut(round) {
            at.insert(run, (round, entries.len()));
            entries.push(entry);
        }
    }
    rounds
}

/// Whether a batch made some run ready: a child began or ended, a run was handed back, or was put
/// away while something arrived for it.
fn makes_ready(records: &[Record], answer: &Answer) -> bool {
    records.iter().zip(1..).any(|(record, ord)| {
        record.kind == Kind::HandBack
            || record.parent.is_some()
            || record.rare.iter().any(|part| part.get("op").and_then(Value::as_str) == Some("child"))
            || record.kind == Kind::Suspend && answer.applied.get(&ord).is_some_and(|(inbox, _)| *inbox != record.inbox)
    })
}

fn settle(group: Vec<Entry>, answer: &Answer) {
    for (n, entry) in group.into_iter().enumerate() {
        let ord = i32::try_from(n + 1).unwrap_or(i32::MAX);
        let outcome = match answer.applied.get(&ord) {
            Some(&(inbox, cancel)) => Outcome::Applied { inbox, cancel },
            None => refusal(answer.refused.get(ord.to_string())),
        };
        tell_all(vec![entry], &outcome);
    }
}

fn refusal(why: Option<&Value>) -> Outcome {
    match why.and_then(|why| why.get("outcome")).and_then(Value::as_str) {
        Some("replayed") => Outcome::Replayed,
        Some("refused") => Outcome::Refused,
        Some(_) => Outcome::Fenced,
        None => why.map_or(Outcome::Fenced, |why| Outcome::Conflict(why.clone())),
    }
}

fn tell_all(group: Vec<Entry>, outcome: &Outcome) {
    for tell in group.into_iter().flat_map(|entry| entry.waiting) {
        // A holder that went away re-reads before it acts; the outcome stands either way.
        drop(tell.send(Ok(outcome.clone())));
    }
}

fn remedy(error: &StoreError) -> Remedy {
    match error {
        StoreError::Refused(sqlx::Error::Database(database)) => match database.code().as_deref() {
            // Deadlock, serialization failure, lock not available: nothing was applied.
            Some("40P01" | "40001" | "55P03") => Remedy::Again,
            _ => Remedy::Halve(database.message().to_owned()),
        },
        StoreError::Refused(other) => Remedy::Halve(other.to_string()),
        _ => Remedy::Reconnect,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn entry(run: u128, kind: Kind, seq: i32) -> Entry {
        let record = Record {
            run: RunId(Uuid::from_u128(run)),
            client: Arc::from("c"),
            kind,
            epoch: 1,
            seq,
            next: seq + 1,
            inbox: 0,
            due: None,
            word: None,
            body: None,
            steps: Vec::new(),
            events: Vec::new(),
            rare: Vec::new(),
            audits: Vec::new(),
            parent: None,
        };
        Entry { record, waiting: Vec::new() }
    }

    proptest! {
        /// A batch holds a run at most once, and a run's records go in the order they came.
        #[test]
        fn a_round_has_each_run_once_and_rounds_keep_its_order(
            calls in prop::collection::vec((0_u128..4, prop::bool::ANY), 0..40)
        ) {
            let mut seqs = [0_i32; 4];
            let entries: Vec<Entry> = calls.iter().map(|(run, suspends)| {
                let seq = &mut seqs[usize::try_from(*run).unwrap()];
                *seq += 1;
                entry(*run, if *suspends { Kind::Suspend } else { Kind::Advance }, *seq - 1)
            }).collect();
            let mut next = [0_i32; 4];
            for round in rounds(entries) {
                let mut runs: Vec<_> = round.iter().map(|entry| entry.record.run).collect();
                runs.sort();
                runs.dedup();
                prop_assert_eq!(runs.len(), round.len());
                for entry in round {
                    let run = usize::try_from(entry.record.run.0.as_u128()).unwrap();
                    prop_assert_eq!(entry.record.seq, next[run]);
                    next[run] = entry.record.next;
                }
            }
            prop_assert_eq!(next, seqs);
        }
    }
}
