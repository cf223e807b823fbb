//! Records out of whatever a workflow, a page or another side may have answered.
//!
//! An entry is a list of records as JSON: `run`, `kind`, `epoch`, `seq`, `parent` and the lists `steps`, `events`,
//! `rare` and `audits`; what is left out has its usual value.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use fermata_corpus::Target;
use uuid::Uuid;

use super::*;
use crate::document::{self, DocumentError, MAX_DEPTH, MAX_DOCUMENT_BYTES};
use crate::event::Severity;
use crate::id::RunId;
use crate::store::record::{EventRow, StepRow};

/// What Postgres, and we for it, would say to a document, told from its text alone.
fn refusal(text: &str) -> Option<&'static str> {
    let (mut depth, mut deepest, mut nul, mut in_text, mut escaped) = (0_usize, 0_usize, false, false, false);
    for (n, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => in_text = !in_text,
            b'u' if escaped => nul |= text.as_bytes()[n..].starts_with(b"u0000"),
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        if !matches!(byte, b']' | b'}' | b',' | b':') {
            deepest = deepest.max(depth);
        }
        depth += usize::from(!in_text && matches!(byte, b'[' | b'{'));
        escaped = in_text && byte == b'\\' && !escaped;
    }
    match () {
        () if nul && deepest > MAX_DEPTH => Some("nul or deep"),
        () if nul => Some("nul"),
        () if deepest > MAX_DEPTH => Some("deep"),
        () if text.len() > MAX_DOCUMENT_BYTES => Some("large"),
        () => None,
    }
}

/// The document as it comes back out of a `jsonb` column: each number as `numeric` writes it.
fn stored(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(stored).collect(),
        Value::Object(fields) => fields.iter().map(|(name, item)| (name.clone(), stored(item))).collect(),
        Value::Number(number) => serde_json::from_str(&numeric(&number.to_string())).unwrap(),
        other => other.clone(),
    }
}

/// A JSON number without an exponent, and without the sign of a zero.
fn numeric(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shift: i32 = exponent.parse().unwrap();
    assert!(shift.abs() < 400, "far inside of what `numeric` takes");
    let zeros = "0".repeat(400);
    let digits = format!("{zeros}{whole}{fraction}{zeros}");
    let point = zeros.len() + whole.len();
    let point =
        if shift < 0 { point - usize::try_from(-shift).unwrap() } else { point + usize::try_from(shift).unwrap() };
    let scale = i32::try_from(fraction.len()).unwrap() - shift;
    let (whole, fraction) = digits.split_at(point);
    let whole = Some(whole.trim_start_matches('0')).filter(|whole| !whole.is_empty()).unwrap_or("0");
    let fraction = &fraction[..usize::try_from(scale.max(0)).unwrap()];
    let is_zero = whole.chars().chain(fraction.chars()).all(|digit| digit == '0');
    let sign = if is_zero { "" } else { sign };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn judge(value: &Value) -> bool {
    let raw = document::raw(value);
    let refused = document::check(value).map_err(|error| match error {
        DocumentError::Nul { pointer } => {
            assert!(value.pointer(&pointer).is_some(), "{pointer} is in the document");
            "nul"
        }
        DocumentError::TooDeep => "deep",
        DocumentError::TooLarge { bytes } => {
            assert_eq!(bytes, raw.get().len());
            "large"
        }
        DocumentError::Key { .. } => "key",
    });
    let wanted = refusal(raw.get());
    match (refused, wanted) {
        (Ok(()), None) => {}
        (Err(why), Some(wanted)) => assert!(wanted.contains(why), "{why}, not {wanted}"),
        (one, other) => panic!("{one:?} by us, {other:?} by Postgres: {}", raw.get()),
    }
    assert_eq!(serde_json::from_str::<Value>(raw.get()).ok().as_ref(), Some(value), "what is written is read again");
    let (before, after) = (document::fingerprint(value), document::fingerprint(&stored(value)));
    assert_eq!(before, after, "storing it changes no fingerprint: {}", raw.get());
    wanted.is_none()
}

fn list<'v>(from: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    from[name].as_array().into_iter().flatten().filter(|value| judge(value))
}

fn number<T: TryFrom<i64>>(from: &Value, name: &str, usual: T) -> T {
    from[name].as_i64().and_then(|number| T::try_from(number).ok()).unwrap_or(usual)
}

fn record(from: &Value, seq: i32) -> Record {
    let raw = |value: &Value| (!value.is_null() && judge(value)).then(|| document::raw(value));
    let step = |step: &Value| StepRow {
        key: step["key"].as_str().unwrap_or("k").to_owned(),
        attempt: number(step, "attempt", u16::MAX),
        kind: number(step, "kind", 0),
        beside: step["beside"] == true,
        input_hash: document::fingerprint(step),
        output: raw(&step["output"]),
        error: raw(&step["error"]),
        started_at: DateTime::UNIX_EPOCH,
    };
    let event = |data: &Value| EventRow { kind: "e", severity: Severity::Info, data: document::raw(data) };
    let seq = number(from, "seq", seq);
    Record {
        run: RunId(Uuid::from_u128(number(from, "run", 0))),
        client: Arc::from("c"),
        kind: match from["kind"].as_str() {
            Some("suspend") => Kind::Suspend,
            Some("handback") => Kind::HandBack,
            Some("finish") => Kind::Finish,
            _ => Kind::Advance,
        },
        epoch: number(from, "epoch", 1),
        seq,
        next: seq.wrapping_add(1),
        generation: number(from, "generation", 0),
        inbox: number(from, "inbox", 0),
        due: None,
        word: None,
        body: raw(&from["body"]),
        steps: from["steps"].as_array().into_iter().flatten().map(step).collect(),
        events: list(from, "events").map(event).collect(),
        rare: list(from, "rare").filter(|part| part.is_object()).cloned().collect(),
        audits: list(from, "audits").filter(|row| row.is_object()).cloned().collect(),
        parent: from["parent"].as_i64().and_then(|run| u128::try_from(run).ok()).map(|run| RunId(Uuid::from_u128(run))),
    }
}

/// Everything that a record brings, in the order in which it must arrive.
fn brought(record: &Record) -> Vec<String> {
    let steps = record.steps.iter().map(|step| format!("step {} {:?} {:?}", step.key, step.output, step.error));
    let events = record.events.iter().map(|event| format!("event {}", event.data));
    let audits = record.audits.iter().map(|row| format!("audit {row}"));
    let rare = record.rare.iter().map(|part| format!("rare {part}"));
    let mut all: Vec<String> = steps.chain(events).chain(audits).chain(rare).collect();
    // Of each kind the order counts; the kinds are apart.
    all.sort_by_key(|line| line.split(' ').next().map(str::to_owned));
    all
}

fn check_columns(records: &[Record]) {
    let columns = Columns::of(records.iter());
    let runs: Vec<Uuid> = records.iter().map(|record| record.run.0).collect();
    assert_eq!(columns.ids, runs);
    let (steps, events) = (&columns.steps, &columns.events);
    let rows = [columns.clients.len(), columns.kinds.len(), columns.epochs.len(), columns.seqs.len()];
    assert_eq!(rows, [records.len(); 4]);
    let rows = [columns.nexts.len(), columns.inboxes.len(), columns.dues.len(), columns.bodies.len()];
    assert_eq!((rows, columns.words.len()), ([records.len(); 4], records.len()));
    assert_eq!(columns.generations.len(), records.len());
    let ords = |of: &dyn Fn(&Record) -> usize| -> Vec<i32> {
        records.iter().zip(1..).flat_map(|(record, ord)| vec![ord; of(record)]).collect()
    };
    assert_eq!(steps.ords, ords(&|record| record.steps.len()));
    assert_eq!(events.ords, ords(&|record| record.events.len()));
    let count = steps.ords.len();
    let rows = [steps.keys.len(), steps.attempts.len(), steps.kinds.len(), steps.hashes.len(), steps.besides.len()];
    assert_eq!(rows, [count; 5]);
    assert_eq!([steps.outputs.len(), steps.errors.len(), steps.started.len()], [count; 3]);
    assert!(steps.attempts.iter().all(|attempt| *attempt >= 0));
    let count = events.ords.len();
    assert_eq!([events.kinds.len(), events.severities.len(), events.datas.len()], [count; 3]);
    assert_eq!([events.clients.len(), events.runs.len()], [count; 2]);
    let numbered = |parts: Option<&Json<Value>>| -> Vec<i32> {
        let parts = parts.and_then(|parts| parts.0.as_array()).into_iter().flatten();
        parts.map(|part| i32::try_from(part["ord"].as_i64().unwrap()).unwrap()).collect()
    };
    assert_eq!(numbered(columns.audits.as_ref()), ords(&|record| record.audits.len()));
    assert_eq!(numbered(columns.rare.as_ref()), ords(&|record| record.rare.len()));
    let parts = columns.rare.iter().filter_map(|parts| parts.0.as_array()).flatten();
    let brought = records.iter().zip(1..).flat_map(|(record, ord)| record.rare.iter().map(move |part| (part, ord)));
    assert!(
        parts.eq(&brought.map(|(part, ord)| super::numbered(part, ord)).collect::<Vec<_>>()),
        "each record in its order"
    );
    let touching = records.iter().any(|record| !record.rare.is_empty() || record.parent.is_some());
    assert_eq!(columns.locks.is_some(), touching);
    if let Some(locks) = &columns.locks {
        let parents = records.iter().filter_map(|record| record.parent).map(|parent| parent.0);
        assert!(runs.iter().copied().chain(parents).all(|row| locks.contains(&row)), "every row is locked");
    }
}

#[test]
fn fuzz_what_is_stored_is_what_was_brought_in_order() {
    Target::new("batch", 2_000).holds(|bytes| {
        let Ok(Value::Array(sent)) = serde_json::from_slice(bytes) else { return };
        let mut batch: BTreeMap<Uuid, Record> = BTreeMap::new();
        let mut wanted: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
        for one in &sent {
            let run = RunId(Uuid::from_u128(number(one, "run", 0))).0;
            let later = record(one, batch.get(&run).map_or(0, |earlier| earlier.next));
            let (next, size) = (later.next, later.bytes());
            let lines = brought(&later);
            match batch.get_mut(&run) {
                None => drop(batch.insert(run, later)),
                Some(earlier) if folds(earlier, &later) => {
                    let before = earlier.bytes();
                    fold(earlier, later);
                    assert_eq!(earlier.next, next);
                    assert!(earlier.bytes() <= before + size, "folding makes nothing larger");
                }
                // It waits for the next batch.
                Some(_) => continue,
            }
            wanted.entry(run).or_default().extend(lines);
        }
        let records: Vec<Record> = batch.into_values().collect();
        for record in &records {
            let lines = wanted.get_mut(&record.run.0).unwrap();
            lines.sort_by_key(|line| line.split(' ').next().map(str::to_owned));
            assert_eq!(&brought(record), lines, "nothing is lost or changes places");
        }
        check_columns(&records);
    });
}

#[test]
fn a_number_comes_back_as_numeric_writes_it() {
    for (text, written) in [
        ("1e16", "10000000000000000"),
        ("1.5e16", "15000000000000000"),
        ("-0.0", "0.0"),
        ("1e-7", "0.0000001"),
        ("-12.50", "-12.50"),
        ("1.25e1", "12.5"),
        ("7", "7"),
    ] {
        assert_eq!(numeric(text), written);
    }
}
