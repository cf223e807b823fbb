//! Folding and shaping: from records to the typed arrays of one statement. Pure.

use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use super::record::{Kind, Record};

/// Whether `later` may join `earlier` in one row change: both only advance the same run, in order.
pub(crate) fn folds(earlier: &Record, later: &Record) -> bool {
    earlier.run == later.run
        && earlier.kind == Kind::Advance
        && later.kind == Kind::Advance
        && earlier.epoch == later.epoch
        && earlier.next == later.seq
        && earlier.rare.is_empty()
        && later.rare.is_empty()
}

/// Joins `later` to `earlier`; see [`folds`].
pub(crate) fn fold(earlier: &mut Record, later: Record) {
    earlier.next = later.next;
    earlier.inbox = later.inbox;
    earlier.steps.extend(later.steps);
    earlier.events.extend(later.events);
    earlier.audits.extend(later.audits);
}

/// The arrays of `fermata.write`, in its order; what they hold stays with the records.
#[derive(Debug, Default)]
pub(crate) struct Columns<'a> {
    pub(crate) ids: Vec<Uuid>,
    pub(crate) clients: Vec<&'a str>,
    pub(crate) kinds: Vec<i16>,
    pub(crate) epochs: Vec<i32>,
    pub(crate) seqs: Vec<i32>,
    pub(crate) nexts: Vec<i32>,
    pub(crate) inboxes: Vec<i32>,
    pub(crate) generations: Vec<i32>,
    pub(crate) dues: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    pub(crate) words: Vec<Option<&'static str>>,
    pub(crate) bodies: Vec<Option<Json<&'a RawValue>>>,
    pub(crate) steps: StepColumns<'a>,
    pub(crate) events: EventColumns<'a>,
    /// Rows to lock in order first: only when a record touches another row than its own.
    pub(crate) locks: Option<Vec<Uuid>>,
    pub(crate) rare: Option<Json<Value>>,
    pub(crate) audits: Option<Json<Value>>,
}

/// The arrays of checkpoints.
#[derive(Debug, Default)]
pub(crate) struct StepColumns<'a> {
    pub(crate) ords: Vec<i32>,
    pub(crate) keys: Vec<&'a str>,
    pub(crate) attempts: Vec<i16>,
    pub(crate) kinds: Vec<i16>,
    pub(crate) besides: Vec<bool>,
    pub(crate) hashes: Vec<&'a str>,
    pub(crate) outputs: Vec<Option<Json<&'a RawValue>>>,
    pub(crate) errors: Vec<Option<Json<&'a RawValue>>>,
    pub(crate) started: Vec<chrono::DateTime<chrono::Utc>>,
}

/// The arrays of events.
#[derive(Debug, Default)]
pub(crate) struct EventColumns<'a> {
    pub(crate) ords: Vec<i32>,
    pub(crate) clients: Vec<&'a str>,
    pub(crate) runs: Vec<Uuid>,
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) severities: Vec<i16>,
    pub(crate) datas: Vec<Json<&'a RawValue>>,
}

impl<'a> Columns<'a> {
    /// Shapes records that are sorted by run, at most one per run.
    pub(crate) fn of(records: impl Iterator<Item = &'a Record> + Clone) -> Self {
        let mut columns = Self::default();
        let (mut rare, mut audits, mut locks) = (Vec::new(), Vec::new(), Vec::new());
        for (record, ord) in records.clone().zip(1..) {
            columns.push(record);
            columns.steps.push(ord, record);
            columns.events.push(ord, record);
            rare.extend(record.rare.iter().map(|part| numbered(part, ord)));
            audits.extend(record.audits.iter().map(|row| numbered(row, ord)));
            if !record.rare.is_empty() || record.parent.is_some() {
                locks.extend(record.parent.map(|parent| parent.0));
                locks.push(record.run.0);
            }
        }
        if !locks.is_empty() {
            // All of them, not only those: a lock taken outside of the order could wait in a circle.
            locks.extend(records.map(|record| record.run.0));
            columns.locks = Some(locks);
        }
        columns.rare = (!rare.is_empty()).then_some(Json(Value::Array(rare)));
        columns.audits = (!audits.is_empty()).then_some(Json(Value::Array(audits)));
        columns
    }

    fn push(&mut self, record: &'a Record) {
        self.ids.push(record.run.0);
        self.clients.push(&record.client);
        self.kinds.push(match record.kind {
            Kind::Advance => 0,
            Kind::Suspend => 1,
            Kind::HandBack => 2,
            Kind::Finish => 3,
        });
        self.epochs.push(record.epoch);
        self.seqs.push(record.seq);
        self.nexts.push(record.next);
        self.inboxes.push(record.inbox);
        self.generations.push(record.generation);
        self.dues.push(record.due);
        self.words.push(record.word);
        self.bodies.push(record.body.as_deref().map(Json));
    }
}

impl<'a> StepColumns<'a> {
    fn push(&mut self, ord: i32, record: &'a Record) {
        for step in &record.steps {
            self.ords.push(ord);
            self.keys.push(&step.key);
            self.attempts.push(i16::try_from(step.attempt).unwrap_or(i16::MAX));
            self.kinds.push(step.kind);
            self.besides.push(step.beside);
            self.hashes.push(&step.input_hash);
            self.outputs.push(step.output.as_deref().map(Json));
            self.errors.push(step.error.as_deref().map(Json));
            self.started.push(step.started_at);
        }
    }
}

impl<'a> EventColumns<'a> {
    fn push(&mut self, ord: i32, record: &'a Record) {
        for event in &record.events {
            self.ords.push(ord);
            self.clients.push(&record.client);
            self.runs.push(record.run.0);
            self.kinds.push(event.kind);
            self.severities.push(event.severity as i16);
            self.datas.push(Json(&event.data));
        }
    }
}

fn numbered(part: &Value, ord: i32) -> Value {
    let mut part = part.clone();
    if let Value::Object(fields) = &mut part {
        fields.insert("ord".into(), ord.into());
    }
    part
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::document;
    use crate::event::Severity;
    use crate::id::RunId;
    use crate::store::record::EventRow;

    fn record(run: u128, kind: Kind, seq: i32, events: usize) -> Record {
        let event = |n: usize| EventRow { kind: "e", severity: Severity::Info, data: document::raw(&(seq, n)) };
        Record {
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
            events: (0..events).map(event).collect(),
            rare: Vec::new(),
            audits: Vec::new(),
            parent: None,
        }
    }

    #[test]
    fn only_consecutive_advances_of_one_run_fold() {
        let first = record(1, Kind::Advance, 0, 1);
        assert!(folds(&first, &record(1, Kind::Advance, 1, 1)));
        assert!(!folds(&first, &record(2, Kind::Advance, 1, 1)));
        assert!(!folds(&first, &record(1, Kind::Advance, 2, 1)));
        assert!(!folds(&first, &record(1, Kind::Finish, 1, 1)));
        assert!(!folds(&record(1, Kind::Suspend, 0, 1), &record(1, Kind::Advance, 1, 1)));
    }

    proptest! {
        /// Whatever is folded, the columns hold every event once, in order, under one row change.
        #[test]
        fn folding_loses_nothing_and_keeps_the_order(counts in prop::collection::vec(0_usize..4, 1..20)) {
            let mut records = counts.iter().zip(0..).map(|(count, seq)| record(1, Kind::Advance, seq, *count));
            let mut folded = records.next().unwrap();
            for later in records {
                prop_assert!(folds(&folded, &later));
                fold(&mut folded, later);
            }
            let columns = Columns::of(std::iter::once(&folded));
            prop_assert_eq!((&columns.seqs, &columns.nexts), (&vec![0], &vec![i32::try_from(counts.len()).unwrap()]));
            let seen: Vec<String> = columns.events.datas.iter().map(|data| data.0.get().to_owned()).collect();
            let expected: Vec<String> = counts.iter().enumerate()
                .flat_map(|(seq, count)| (0..*count).map(move |n| format!("[{seq},{n}]"))).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
