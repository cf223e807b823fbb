//! From what has gathered to commits: rounds, outcomes, and what to do when a commit fails.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use tokio::sync::oneshot::Sender;
use tracing::warn;

use super::commit::Answer;
use super::{Acceptance, Accepted, Commit, Item, Lane, Load, Outcome, Record, Sending, Sent, StoreError, Wish};
use crate::id::RunId;
use crate::rigged::{crash_point, mutant};
use crate::store::batch::{fold, folds};
use crate::store::record::Kind;

/// A record (perhaps of several folded ones) and those who wait for it.
pub(super) struct Entry {
    pub(super) record: Record,
    waiting: Vec<Sender<Result<Outcome, StoreError>>>,
}

/// A command and the one who waits for it.
pub(super) type Submission = (Acceptance, Sender<Result<Accepted, StoreError>>);

/// A signal and the one who waits for it.
pub(super) type Signal = (Sending, Sender<Result<Sent, StoreError>>);

/// What goes in one commit: at most one record per run.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) submissions: Vec<Submission>,
    pub(super) entries: Vec<Entry>,
    pub(super) signals: Vec<Signal>,
    pub(super) wish: Option<Wish>,
    /// Some of its commands may have been accepted before.
    pub(super) again: bool,
}

/// What to do with a batch that failed.
enum Remedy {
    /// A new connection, and the same again: a resend is safe.
    Reconnect,
    /// The same again.
    Again,
    /// The same again, passing over the commands that are there.
    PassOver,
    /// Halves, until the culprit stands alone.
    Halve(String),
}

impl Lane {
    /// Commits everything in `load`; each waiter is told exactly once.
    pub(super) async fn send(&mut self, load: Load) {
        let (mut entries, mut submissions, mut signals) = (Vec::new(), Vec::new(), Vec::new());
        for item in load.items {
            match item {
                Item::Write(record, tell) => entries.push(Entry { record: *record, waiting: vec![tell] }),
                Item::Accept(acceptance, tell) => submissions.push((*acceptance, tell)),
                Item::Signal(sending, tell) => signals.push((*sending, tell)),
            }
        }
        if mutant!("lost-record")
            && entries.len() > 1
            && let Some(entry) = entries.pop()
        {
            let told = Outcome::Applied { inbox: entry.record.inbox, cancel: false };
            tell_all(vec![entry], &told);
        }
        let mut rounds = rounds(entries).into_iter();
        let entries = rounds.next().unwrap_or_default();
        self.commit(Batch { submissions, entries, signals, wish: load.wish, again: false }).await;
        for entries in rounds {
            self.commit(Batch { entries, ..Batch::default() }).await;
        }
    }

    async fn commit(&mut self, batch: Batch) {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            batch.entries.sort_by_key(|entry| entry.record.run);
            let began = self.clock.monotonic();
            if !batch.entries.is_empty() {
                crash_point!("batch-before-commit");
            }
            if !batch.submissions.is_empty() {
                crash_point!("submit-before-commit");
            }
            let error = match self.try_commit(&batch).await {
                Ok(answer) => {
                    if !batch.entries.is_empty() {
                        crash_point!("batch-after-commit");
                    }
                    if !batch.submissions.is_empty() {
                        crash_point!("submit-after-commit");
                    }
                    self.tell(batch.commit(&answer), batch.len(), began);
                    batch.settle(answer, self.clock.monotonic() - began);
                    continue;
                }
                Err(error) => error,
            };
            if let Some(wish) = batch.wish.take() {
                warn!(error = %error, "runs could not be claimed, will try again");
                wish.tell(None, self.clock.monotonic() - began);
            }
            match remedy(&error, batch.again) {
                Remedy::Halve(why) if batch.len() <= 1 => batch.refuse(&why),
                Remedy::Halve(_) => batches.extend(batch.halves()),
                Remedy::PassOver => batches.push(Batch { again: true, ..batch }),
                Remedy::Again => batches.push(batch),
                Remedy::Reconnect => {
                    warn!(error = %error, "a batch of {} was cut off, will send it again", batch.len());
                    self.connection = None;
                    if self.connected().await.is_none() {
                        return; // Dropping the waiters tells them that the node has stopped.
                    }
                    batches.push(batch);
                }
            }
            batches.retain(|batch| batch.len() > 0);
        }
    }
}

impl Batch {
    /// How many wait for it, the wish aside.
    fn len(&self) -> usize {
        self.submissions.len() + self.entries.len() + self.signals.len()
    }

    /// What others are to be told of it.
    fn commit(&self, answer: &Answer) -> Commit {
        Commit { ready: self.leaves_ready(answer), head: answer.head }
    }

    /// Whether it made a run ready that its own claim did not take: another node may host that one, or this one have
    /// no slot for it.
    fn leaves_ready(&self, answer: &Answer) -> bool {
        let taken: HashSet<RunId> = answer.claims.iter().map(|claim| claim.run).collect();
        let commands = self.submissions.iter().map(|(acceptance, _)| acceptance.run);
        let signals = self.signals.iter().map(|(sending, _)| sending.run);
        let woken = signals.zip(&answer.sent).filter(|(_, sent)| matches!(sent, Sent::Applied | Sent::Replayed));
        let mut made_ready = commands.chain(woken.map(|(run, _)| run));
        made_ready.any(|run| !taken.contains(&run)) || makes_ready(&self.entries, answer, &taken)
    }

    fn settle(self, mut answer: Answer, took: std::time::Duration) {
        // First: a step may begin while the others are told.
        if let Some(wish) = self.wish {
            wish.tell(Some(std::mem::take(&mut answer.claims)), took);
        }
        for (entry, ord) in self.entries.into_iter().zip(1..) {
            let outcome = match answer.applied.get(&ord) {
                Some(&(inbox, cancel)) => Outcome::Applied { inbox, cancel },
                None => refusal(answer.refused.get(ord.to_string())),
            };
            tell_all(vec![entry], &outcome);
        }
        for ((acceptance, tell), ord) in self.submissions.into_iter().zip(1..) {
            let accepted = match answer.known.get(&ord) {
                // Our own id: this batch was sent before and its answer was lost.
                Some(&(run, _)) if run == acceptance.run => Accepted::New,
                Some(&(run, true)) => Accepted::Replayed(run),
                Some(&(run, false)) => Accepted::Mismatch(run),
                None => Accepted::New,
            };
            // A waiter that went away has lost nothing: the command is durable. So is the signal.
            drop(tell.send(Ok(accepted)));
        }
        for ((_, tell), word) in self.signals.into_iter().zip(answer.sent) {
            drop(tell.send(Ok(word)));
        }
    }

    /// Tells the only one in it that Postgres will not have it.
    fn refuse(self, why: &str) {
        tell_all(self.entries, &Outcome::Unstorable(why.to_owned()));
        for (_, tell) in self.submissions {
            drop(tell.send(Ok(Accepted::Unstorable(why.to_owned()))));
        }
        for (_, tell) in self.signals {
            drop(tell.send(Ok(Sent::Unstorable(why.to_owned()))));
        }
    }

    fn halves(mut self) -> [Self; 2] {
        let mut rest = Self { again: self.again, ..Self::default() };
        let kinds = [!self.entries.is_empty(), !self.submissions.is_empty(), !self.signals.is_empty()];
        if kinds.into_iter().filter(|kind| *kind).count() > 1 {
            // One kind leaves, of which the others know nothing.
            if self.signals.is_empty() {
                rest.submissions = std::mem::take(&mut self.submissions);
            } else {
                rest.signals = std::mem::take(&mut self.signals);
            }
        } else {
            rest.entries = self.entries.split_off(self.entries.len() / 2);
            rest.submissions = self.submissions.split_off(self.submissions.len() / 2);
            rest.signals = self.signals.split_off(self.signals.len() / 2);
        }
        [rest, self]
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

/// Whether records made a run ready that is not among the taken: a child began or ended, a run was handed back, or was
/// put away while something arrived for it.
fn makes_ready(group: &[Entry], answer: &Answer, taken: &HashSet<RunId>) -> bool {
    group.iter().map(|entry| &entry.record).zip(1..).any(|(record, ord)| {
        let mail = || {
            answer.applied.get(&ord).is_some_and(|(inbox, _)| record.kind == Kind::Suspend && *inbox != record.inbox)
        };
        record.parent.is_some()
            // The end of a call may have woken another run that waited for it, or one that was about to.
            || record.rare.iter().any(|part| matches!(part.get("op").and_then(Value::as_str), Some("child" | "move" | "queue")))
            || (record.kind == Kind::HandBack || mail()) && !taken.contains(&record.run)
    })
}

fn refusal(why: Option<&Value>) -> Outcome {
    match why.and_then(|why| why.get("outcome")).and_then(Value::as_str) {
        Some("replayed") => Outcome::Replayed,
        Some("refused") => Outcome::Refused,
        Some("cancelled") => Outcome::Cancelled,
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

/// Whether a table, as Postgres names it in an error, is one that a command goes into: `live`, or a partition of `run`.
fn holds_commands(table: &str) -> bool {
    table == "live" || table.starts_with("run_")
}

fn remedy(error: &StoreError, again: bool) -> Remedy {
    match error {
        StoreError::Refused(sqlx::Error::Database(database)) => match database.code().as_deref() {
            // Deadlock, serialization failure, lock not available: nothing was applied.
            Some("40P01" | "40001" | "55P03") => Remedy::Again,
            // The key of a run: the batch was carried out before, and the answer to it was lost.
            Some("23505") if !again && database.table().is_some_and(holds_commands) => Remedy::PassOver,
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
    use tokio::sync::oneshot;
    use uuid::Uuid;

    use super::*;
    use crate::document;
    use crate::id::SignalId;
    use crate::store::queue::Claim;

    fn entry(run: u128, kind: Kind, seq: i32) -> Entry {
        let record = Record {
            run: RunId(Uuid::from_u128(run)),
            client: Arc::from("c"),
            kind,
            epoch: 1,
            seq,
            next: seq + 1,
            generation: 0,
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

    fn acceptance(run: u128) -> Submission {
        let acceptance = Acceptance {
            run: RunId(Uuid::from_u128(run)),
            client: "c".into(),
            kind: "test".into(),
            workflow: "test@1".into(),
            input: document::raw(&()),
            envelope: document::raw(&()),
            key: None,
            fingerprint: String::new(),
            trace_id: String::new(),
            submitted_by: "me".into(),
            bytes: 0,
        };
        (acceptance, oneshot::channel().0)
    }

    fn signal(run: u128) -> Signal {
        let sending = Sending {
            id: SignalId(Uuid::from_u128(run)),
            run: RunId(Uuid::from_u128(run)),
            client: "c".into(),
            actor: "me".into(),
            name: "go".into(),
            payload: document::raw(&()),
        };
        (sending, oneshot::channel().0)
    }

    fn answer(sent: Vec<Sent>, claimed: &[u128]) -> Answer {
        Answer {
            applied: HashMap::new(),
            refused: Value::Null,
            known: HashMap::new(),
            sent,
            head: None,
            claims: claimed.iter().map(|run| Claim::example(RunId(Uuid::from_u128(*run)))).collect(),
        }
    }

    /// A claim takes only what its node hosts: with another node's runs its seats stay empty, and they are still ready.
    #[test]
    fn others_are_told_of_each_run_that_was_made_ready_and_not_taken() {
        let handed_back = || vec![entry(3, Kind::HandBack, 0)];
        let batch = Batch {
            submissions: vec![acceptance(1)],
            signals: vec![signal(2)],
            entries: handed_back(),
            ..Batch::default()
        };
        assert!(!batch.leaves_ready(&answer(vec![Sent::Applied], &[1, 2, 3])));
        for taken in [[1, 2], [1, 3], [2, 3]] {
            assert!(batch.leaves_ready(&answer(vec![Sent::Applied], &taken)), "{taken:?}");
        }
        // A run in some node's hands is not ready; of one whose signal was there, nobody knows who was told.
        assert!(!batch.leaves_ready(&answer(vec![Sent::Held], &[1, 3])));
        assert!(batch.leaves_ready(&answer(vec![Sent::Replayed], &[1, 3])));
    }

    proptest! {
        /// However a batch is made up, halving it ends with everybody alone, and nobody lost.
        #[test]
        fn halving_leaves_each_alone_and_loses_nobody(counts in [0_usize..20, 0_usize..20, 0_usize..20]) {
            let [records, commands, signals] = counts;
            let alone = |n: usize| u128::try_from(n).unwrap();
            let mut batches = vec![Batch {
                entries: (0..records).map(|n| entry(alone(n), Kind::Advance, 0)).collect(),
                submissions: (0..commands).map(|n| acceptance(alone(n))).collect(),
                signals: (0..signals).map(|n| signal(alone(n))).collect(),
                ..Batch::default()
            }];
            let mut seen = [0, 0, 0];
            while let Some(batch) = batches.pop() {
                let whole = batch.len();
                if whole <= 1 {
                    let [records, commands, signals] = &mut seen;
                    *records += batch.entries.len();
                    *commands += batch.submissions.len();
                    *signals += batch.signals.len();
                    continue;
                }
                let halves = batch.halves();
                prop_assert!(halves.iter().all(|half| half.len() < whole));
                batches.extend(halves);
            }
            prop_assert_eq!(seen, counts);
        }

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
