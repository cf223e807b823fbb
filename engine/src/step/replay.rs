//! What is recorded of a run, and whether its code still calls the same (design, section 4).
//!
//! Steps are keyed by name, never by position. A name repeated in sequence gets a counter in
//! program order; names in flight at the same time must carry explicit keys.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MAX_STEPS;

/// What a checkpoint is of. Stored as a number: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "i16", try_from = "i16")]
#[repr(i16)]
pub(crate) enum Kind {
    Step = 0,
    Pure = 1,
    Sleep = 2,
    Signal = 3,
    Gate = 4,
    Effect = 5,
    Child = 6,
    ChildResult = 7,
    Race = 8,
    Unrecorded = 9,
}

impl From<Kind> for i16 {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

impl TryFrom<i16> for Kind {
    type Error = String;

    fn try_from(number: i16) -> Result<Self, String> {
        Ok(match number {
            0 => Self::Step,
            1 => Self::Pure,
            2 => Self::Sleep,
            3 => Self::Signal,
            4 => Self::Gate,
            5 => Self::Effect,
            6 => Self::Child,
            7 => Self::ChildResult,
            8 => Self::Race,
            9 => Self::Unrecorded,
            other => return Err(format!("no step kind has the number {other}")),
        })
    }
}

/// One recorded attempt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) key: String,
    pub(crate) attempt: u16,
    pub(crate) kind: Kind,
    /// Another step was in flight when this one was called.
    pub(crate) beside: bool,
    pub(crate) input_hash: String,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<Value>,
}

/// What a call finds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Begun {
    /// The full key.
    pub(crate) key: String,
    /// Whether another step was in flight when this one was called.
    pub(crate) beside: bool,
    /// Its checkpoint, if it succeeded before.
    pub(crate) output: Option<Value>,
    /// Its failed attempts so far.
    pub(crate) failed: Vec<Value>,
}

/// The code and the record do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "mismatch", rename_all = "snake_case")]
pub(crate) enum Mismatch {
    /// The same key with another kind or input.
    Changed { key: String, recorded: String, called: String },
    /// A recorded step was not reached before something new was called, or before the end.
    Skipped { recorded: String, called: Option<String> },
    /// A name without an explicit key, called again while it is in flight.
    Ambiguous { name: String },
    /// More than [`MAX_STEPS`] checkpoints.
    TooMany,
}

/// The record of one generation, and how far the code has followed it.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    recorded: HashMap<String, Vec<Recorded>>,
    /// Recorded keys in order that must be reached in sequence.
    order: Vec<String>,
    next_in_order: usize,
    reached: HashSet<String>,
    counters: HashMap<String, u32>,
    in_flight: HashMap<String, u32>,
    flying: usize,
}

impl Replay {
    /// A replay of what was recorded, in the order of its records.
    pub(crate) fn new(rows: Vec<Recorded>) -> Self {
        let mut replay = Self::default();
        for row in rows {
            if !row.beside && !replay.recorded.contains_key(&row.key) {
                replay.order.push(row.key.clone());
            }
            replay.recorded.entry(row.key.clone()).or_default().push(row);
        }
        replay
    }

    /// The code calls a step. `name` is its scoped name; `explicit` its key, if it gave one.
    pub(crate) fn begin(
        &mut self,
        name: &str,
        explicit: Option<&str>,
        kind: Kind,
        input_hash: &str,
    ) -> Result<Begun, Mismatch> {
        let key = self.key(name, explicit)?;
        let beside = self.flying > 0;
        let found = self.recorded.get(&key).cloned().unwrap_or_default();
        if found.is_empty() {
            self.nothing_skipped(Some(&key))?;
        }
        if let Some(row) = found.first()
            && (row.kind != kind || row.input_hash != input_hash)
        {
            return Err(Mismatch::Changed {
                key,
                recorded: format!("{:?} {}", row.kind, row.input_hash),
                called: format!("{kind:?} {input_hash}"),
            });
        }
        if self.reached.len() >= MAX_STEPS {
            return Err(Mismatch::TooMany);
        }
        self.reached.insert(key.clone());
        self.flying += 1;
        *self.in_flight.entry(name.to_owned()).or_default() += 1;
        let output = found.iter().find(|row| row.error.is_none()).map(|row| row.output.clone().unwrap_or(Value::Null));
        let failed = found.into_iter().filter_map(|row| row.error).collect();
        Ok(Begun { key, beside, output, failed })
    }

    /// Whether nothing is in flight but the step, or the wait, that asks.
    pub(crate) fn is_alone(&self) -> bool {
        self.flying <= 1
    }

    /// The step is over, or its future was dropped.
    pub(crate) fn end(&mut self, name: &str) {
        self.flying = self.flying.saturating_sub(1);
        if let Some(count) = self.in_flight.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    /// The code has ended: everything recorded in sequence must have been reached.
    pub(crate) fn finish(&mut self) -> Result<(), Mismatch> {
        self.nothing_skipped(None)
    }

    fn key(&mut self, name: &str, explicit: Option<&str>) -> Result<String, Mismatch> {
        let key = match explicit {
            Some(key) => format!("{name}[{key}]"),
            None if self.in_flight.get(name).is_some_and(|count| *count > 0) => {
                return Err(Mismatch::Ambiguous { name: name.to_owned() });
            }
            None => {
                let count = self.counters.entry(name.to_owned()).or_default();
                *count += 1;
                if *count == 1 { name.to_owned() } else { format!("{name}#{count}") }
            }
        };
        if explicit.is_some() && self.reached.contains(&key) {
            return Err(Mismatch::Ambiguous { name: key });
        }
        Ok(key)
    }

    fn nothing_skipped(&mut self, called: Option<&str>) -> Result<(), Mismatch> {
        while let Some(key) = self.order.get(self.next_in_order) {
            if !self.reached.contains(key) {
                return Err(Mismatch::Skipped { recorded: key.clone(), called: called.map(Into::into) });
            }
            self.next_in_order += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(key: &str, beside: bool) -> Recorded {
        Recorded {
            key: key.into(),
            attempt: 1,
            kind: Kind::Step,
            beside,
            input_hash: String::new(),
            output: None,
            error: None,
        }
    }

    fn call(replay: &mut Replay, name: &str) -> Result<Begun, Mismatch> {
        let begun = replay.begin(name, None, Kind::Step, "");
        replay.end(name);
        begun
    }

    #[test]
    fn a_name_repeated_in_sequence_gets_a_counter() {
        let mut replay = Replay::default();
        let keys: Vec<_> = (0..3).map(|_| call(&mut replay, "a").unwrap().key).collect();
        assert_eq!(keys, ["a", "a#2", "a#3"]);
    }

    #[test]
    fn a_name_in_flight_twice_is_ambiguous_in_the_first_run() {
        let mut replay = Replay::default();
        replay.begin("a", None, Kind::Step, "").unwrap();
        assert_eq!(replay.begin("a", None, Kind::Step, ""), Err(Mismatch::Ambiguous { name: "a".into() }));
        assert!(replay.begin("a", Some("x"), Kind::Step, "").is_ok());
        assert!(replay.begin("a", Some("x"), Kind::Step, "").is_err());
    }

    #[test]
    fn a_changed_kind_or_input_is_a_mismatch() {
        for (kind, hash) in [(Kind::Pure, ""), (Kind::Step, "other")] {
            let mut replay = Replay::new(vec![row("a", false)]);
            assert!(matches!(replay.begin("a", None, kind, hash), Err(Mismatch::Changed { .. })));
        }
    }

    #[test]
    fn something_new_before_a_recorded_step_was_reached_is_a_mismatch() {
        let mut replay = Replay::new(vec![row("a", false), row("b", false)]);
        call(&mut replay, "a").unwrap();
        let skipped = Mismatch::Skipped { recorded: "b".into(), called: Some("c".into()) };
        assert_eq!(call(&mut replay, "c"), Err(skipped));
        assert!(matches!(replay.finish(), Err(Mismatch::Skipped { .. })));
    }

    #[test]
    fn steps_recorded_side_by_side_may_be_reached_in_any_order() {
        let mut replay = Replay::new(vec![row("a", false), row("b", true)]);
        call(&mut replay, "a").unwrap();
        assert!(call(&mut replay, "new").is_ok());
        assert!(replay.finish().is_ok());
    }

    proptest! {
        /// Against a reference model: whatever sequential program ran, the same program replays
        /// every prefix of its record without a mismatch and finds each checkpoint.
        #[test]
        fn the_same_program_replays_every_prefix(names in prop::collection::vec("[a-d]", 0..24), cut in 0_usize..24) {
            let mut first = Replay::default();
            let keys: Vec<String> = names.iter().map(|name| call(&mut first, name).unwrap().key).collect();
            let unique: HashSet<_> = keys.iter().collect();
            prop_assert_eq!(unique.len(), keys.len());

            let cut = cut.min(keys.len());
            let mut second = Replay::new(keys.iter().take(cut).map(|key| row(key, false)).collect());
            for (n, name) in names.iter().enumerate() {
                let begun = call(&mut second, name).unwrap();
                prop_assert_eq!(&begun.key, &keys[n]);
                prop_assert_eq!(begun.output.is_some(), n < cut);
            }
            prop_assert!(second.finish().is_ok());
        }

        /// A program that leaves out one recorded step is always found out.
        #[test]
        fn a_left_out_step_is_always_found(names in prop::collection::vec("[a-d]", 1..16), out in 0_usize..16) {
            let unique: Vec<String> = names.iter().enumerate().map(|(n, name)| format!("{name}{n}")).collect();
            let out = out % unique.len();
            let mut replay = Replay::new(unique.iter().map(|key| row(key, false)).collect());
            let called = unique.iter().enumerate().filter(|(n, _)| *n != out).all(|(_, name)| call(&mut replay, name).is_ok());
            prop_assert!(!called || replay.finish().is_err());
        }
    }
}
