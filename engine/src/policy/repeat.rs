//! Text that an account has posted before: what is compared, and what it decides.
//!
//! A text is known by its fingerprint only: SHA-256 of it in lower case, in Unicode NFC, with single spaces.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;

use super::document::{OnRepeat, RepeatedText};
use super::{Decision, Policy, Question, Verdict};
use crate::store::{Store, StoreError};

/// The fields whose texts are compared where a policy names none.
const FIELDS: [&str; 5] = ["text", "caption", "message", "comment", "body"];
/// The most texts of one payload that are compared.
const MAX_TEXTS: usize = 64;
/// The rule, as verdicts name it.
const RULE: &str = "compliance/repeated_text";

/// When texts were posted last, by their fingerprints.
pub(crate) type Posted = BTreeMap<String, DateTime<Utc>>;

/// The verdict with what its account has posted before, as far as that is known now.
///
/// `intent` is the key of the one that asks: what it posted itself, in an earlier attempt, is no repeat.
pub(crate) async fn unless_repeated(
    store: &Store,
    (policy, question): (&Policy, Question<'_>),
    intent: Option<&str>,
    (mut verdict, now): (Verdict, DateTime<Utc>),
    beside: &BTreeSet<String>,
) -> Result<Verdict, StoreError> {
    if verdict.decision == Decision::Block {
        return Ok(verdict);
    }
    let Some(texts) = fingerprints(policy, question.payload) else {
        let reason = format!("the payload has more than {MAX_TEXTS} texts to compare");
        return Ok(Verdict::by(policy, Decision::Block, RULE, reason));
    };
    if texts.is_empty() {
        return Ok(verdict);
    }
    let mut posted = store.posted(question, &texts, intent).await?;
    posted.extend(beside.intersection(&texts).map(|text| (text.clone(), now)));
    let found = repeated(policy, question.payload, &posted, now);
    if let Some(found) = found.filter(|found| outranks(found, &verdict)) {
        verdict = found;
    }
    Ok(Verdict { texts: texts.into_iter().collect(), ..verdict })
}

/// Nobody is asked in vain: what blocks comes before what has to wait, and that before who has to be asked.
fn outranks(found: &Verdict, verdict: &Verdict) -> bool {
    found.decision == Decision::Block || verdict.decision == Decision::Allow
}

/// What any scope's rule compares of a payload; `None` when that is too much.
pub(crate) fn fingerprints(policy: &Policy, payload: &Value) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (_, rule) in policy.repeats() {
        all.extend(compared(rule, payload)?);
    }
    (all.len() <= MAX_TEXTS).then_some(all)
}

/// What the policy says of a payload of which some texts were `posted`; `None` when that is no matter.
fn repeated(policy: &Policy, payload: &Value, posted: &Posted, now: DateTime<Utc>) -> Option<Verdict> {
    let found = policy.repeats().filter_map(|(scope, rule)| {
        let since = now - TimeDelta::seconds(rule.window_s.into());
        let texts = compared(rule, payload)?;
        let last = texts.iter().filter_map(|text| posted.get(text)).filter(|at| **at > since).max()?;
        Some((rule.then, scope, *last))
    });
    let (then, scope, last) = found.max_by_key(|(then, ..)| *then == OnRepeat::Block)?;
    let decision = if then == OnRepeat::Block { Decision::Block } else { Decision::Approve };
    let reason = format!("this account has posted the same text at {} (`{scope}`)", last.to_rfc3339());
    Some(Verdict::by(policy, decision, RULE, reason))
}

/// The fingerprints of the texts that a rule compares; `None` when they are too many.
fn compared(rule: &RepeatedText, payload: &Value) -> Option<BTreeSet<String>> {
    let counts = |name: &str| if rule.fields.is_empty() { FIELDS.contains(&name) } else { rule.fields.contains(name) };
    let mut texts = Vec::new();
    gather(payload, false, &counts, &mut texts);
    let all: BTreeSet<String> = texts.into_iter().take(MAX_TEXTS + 1).filter_map(fingerprint).collect();
    (all.len() <= MAX_TEXTS).then_some(all)
}

fn gather<'a>(value: &'a Value, counts: bool, named: &impl Fn(&str) -> bool, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if counts => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| gather(item, counts, named, texts)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| gather(item, counts || named(name), named, texts));
        }
        _ => {}
    }
}

/// What a text is known by; nothing for one that has nothing in it.
fn fingerprint(text: &str) -> Option<String> {
    // In this order: the lower case of composed letters is the same whatever they were composed of.
    let lower: String = text.nfc().collect::<String>().to_lowercase().nfc().collect();
    let plain = lower.split_whitespace().collect::<Vec<_>>().join(" ");
    (!plain.is_empty()).then(|| hex::encode(Sha256::digest(plain.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;
    use serde_json::json;

    fn policy(rules: &[Value]) -> Policy {
        let part = |(n, rule): (usize, &Value)| {
            let document = serde_json::from_value(json!({"compliance": {"repeated_text": rule}})).unwrap();
            Part { scope: format!("client:{n}"), version: 1, document }
        };
        Policy::of(rules.iter().enumerate().map(part).collect())
    }

    #[test]
    fn texts_that_read_the_same_are_the_same() {
        let same = ["Caf\u{e9}  au\nlait", "cafe\u{301} au lait ", "CAF\u{c9} AU LAIT"];
        assert_eq!(same.map(fingerprint), [fingerprint("café au lait"), fingerprint(same[1]), fingerprint(same[0])]);
        assert_ne!(fingerprint("café au lait"), fingerprint("cafe au lait"));
        assert_eq!(fingerprint(" \n"), None);
    }

    #[test]
    fn only_the_fields_that_a_rule_names_are_compared_at_whatever_depth() {
        let payload = json!({"caption": "A", "tags": ["B"], "parts": [{"text": ["C", {"alt": "D"}]}]});
        let texts = |rule: Value| fingerprints(&policy(&[rule]), &payload).unwrap();
        let all = |words: &[&str]| words.iter().filter_map(|word| fingerprint(word)).collect::<BTreeSet<_>>();
        assert_eq!(texts(json!({"window_s": 9})), all(&["A", "C", "D"]));
        assert_eq!(texts(json!({"window_s": 9, "fields": ["tags"]})), all(&["B"]));
        assert_eq!(fingerprints(&policy(&[]), &payload), Some(BTreeSet::new()), "nobody asks for it");
        let many: Vec<String> = (0..=MAX_TEXTS).map(|n| n.to_string()).collect();
        assert_eq!(fingerprints(&policy(&[json!({"window_s": 9})]), &json!({"text": many})), None);
    }

    #[test]
    fn a_text_is_a_repeat_within_the_window_and_whoever_refuses_comes_first() {
        let now: DateTime<Utc> = "2026-11-20T12:00:00Z".parse().unwrap();
        let payload = json!({"text": "hello"});
        let posted = |ago| Posted::from([(fingerprint("Hello").unwrap(), now - TimeDelta::seconds(ago))]);
        let decided = |rules: &[Value], ago| {
            repeated(&policy(rules), &payload, &posted(ago), now).map(|verdict| (verdict.decision, verdict.rule))
        };
        let (short, ask) = (json!({"window_s": 60}), json!({"window_s": 600, "then": "approve"}));
        let said = |decision| Some((decision, RULE.to_owned()));
        assert_eq!(decided(std::slice::from_ref(&short), 59), said(Decision::Block));
        assert_eq!(decided(std::slice::from_ref(&short), 60), None, "the window is over");
        assert_eq!(decided(&[ask.clone(), short.clone()], 59), said(Decision::Block));
        assert_eq!(decided(&[short, ask], 61), said(Decision::Approve));
    }
}
