//! Laws of policies: what each rule decides, how scopes add up, and what an attempt takes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn part(scope: &str, document: Value) -> Part {
    Part { scope: scope.into(), version: 1, document: serde_json::from_value(document).unwrap() }
}

fn policy(documents: &[Value]) -> Policy {
    let scopes = ["global", "platform:p", "client:c", "account:c/a"];
    Policy::of(documents.iter().zip(scopes).map(|(document, scope)| part(scope, document.clone())).collect())
}

fn question<'a>(action_type: &'a str, payload: &'a Value) -> Question<'a> {
    Question { client: "c", platform: "p", account: "a", action_type, payload }
}

fn verdict(documents: &[Value], action_type: &str, payload: &Value) -> (Decision, String) {
    let now = "2026-11-20T21:00:00Z".parse().unwrap();
    let verdict = judge(&policy(documents), question(action_type, payload), now);
    (verdict.decision, verdict.rule)
}

fn said(decision: Decision, rule: &str) -> (Decision, String) {
    (decision, rule.to_owned())
}

#[test]
fn an_identity_that_one_scope_requires_is_required_whatever_the_others_say() {
    let says = |words: &[&str]| {
        let documents: Vec<Value> = words.iter().map(|word| json!({"identity": word})).collect();
        policy(&documents).wants_identity()
    };
    for required in [&["required"][..], &["required", "optional"], &["optional", "required"]] {
        assert!(says(required), "{required:?}");
    }
    assert!(!says(&["optional", "optional"]) && !says(&[]));
    assert!(!policy(&[json!({})]).wants_identity());
}

#[test]
fn each_rule_decides_by_its_name() {
    use Decision::*;
    let none = json!({});
    let cases = [
        (json!({}), json!({}), said(Allow, "allowed")),
        (json!({"allowed_actions": {"p": ["like"]}}), none.clone(), said(Block, "allowed_actions")),
        (json!({"allowed_actions": {"q": ["publish"]}}), none.clone(), said(Block, "allowed_actions")),
        (json!({"allowed_actions": {"*": ["publish"]}}), none.clone(), said(Allow, "allowed")),
        (
            json!({"compliance": {"block_flags": ["gore"]}}),
            json!({"content_flags": ["gore"]}),
            said(Block, "compliance/block_flags"),
        ),
        (json!({}), json!({"content_flags": ["new"]}), said(Block, "compliance/allow_flags")),
        (json!({"compliance": {"allow_flags": ["new"]}}), json!({"content_flags": ["new"]}), said(Allow, "allowed")),
        (json!({}), json!({"content_flags": "gore"}), said(Block, "compliance/content_flags")),
        (json!({}), json!({"content_flags": [7]}), said(Block, "compliance/content_flags")),
        (json!({}), json!({"cost_usd_micro": 5.5}), said(Block, "budgets/cost")),
        (json!({}), json!({"cost_usd_micro": "6"}), said(Block, "budgets/cost")),
        (json!({}), json!({"cost_usd_micro": -1}), said(Block, "budgets/cost")),
        (
            json!({"compliance": {"banned_terms": ["Free Money"]}}),
            json!({"a": [{"b": "get FREE money"}]}),
            said(Block, "compliance/banned_terms"),
        ),
        (json!({"compliance": {"max_length": 3}}), json!({"text": "äöüß"}), said(Block, "compliance/max_length")),
        (json!({"compliance": {"max_length": 4}}), json!({"text": "äöüß"}), said(Allow, "allowed")),
        (
            json!({"budgets": {"rate": [{"name": "none", "max": 0, "window_s": 60}]}}),
            none.clone(),
            said(Block, "budgets/none"),
        ),
        (
            json!({"budgets": {"cost": [{"name": "usd", "unit": "usd_micro", "max": 5, "window_s": 60}]}}),
            json!({"cost_usd_micro": 6}),
            said(Block, "budgets/usd"),
        ),
        (
            json!({"quiet_hours": [{"tz": "Europe/Berlin", "from": "22:00", "to": "07:00"}]}),
            none.clone(),
            said(Wait, "quiet_hours"),
        ),
        (json!({"autonomy": "manual"}), none.clone(), said(Approve, "autonomy")),
        (json!({"high_risk": ["publish"]}), none.clone(), said(Approve, "high_risk")),
        (json!({"gates": {"publish": "required"}}), none.clone(), said(Approve, "gates/publish")),
    ];
    for (document, payload, wanted) in cases {
        assert_eq!(verdict(std::slice::from_ref(&document), "publish", &payload), wanted, "{document}");
    }
}

#[test]
fn a_narrower_scope_lifts_no_restriction_of_a_wider_one() {
    let wide =
        json!({"autonomy": "manual", "allowed_actions": {"p": ["publish"]}, "compliance": {"block_flags": ["x"]}});
    let narrow = json!({"autonomy": "auto", "allowed_actions": {"p": ["publish", "like"]}, "compliance": {"allow_flags": ["x"]}});
    let both = [wide, narrow];
    assert_eq!(verdict(&both, "publish", &json!({})), said(Decision::Approve, "autonomy"));
    assert_eq!(verdict(&both, "like", &json!({})), said(Decision::Block, "allowed_actions"));
    assert_eq!(
        verdict(&both, "publish", &json!({"content_flags": ["x"]})),
        said(Decision::Block, "compliance/block_flags")
    );
}

#[test]
fn a_narrower_budget_replaces_the_wider_one_of_its_name_and_no_other() {
    let wide = json!({"budgets": {"rate": [{"name": "posts", "max": 1, "window_s": 60}, {"name": "all", "max": 9, "window_s": 60, "per": "client"}]}});
    let narrow = json!({"budgets": {"rate": [{"name": "posts", "max": 5, "window_s": 60}]}});
    let taken = rations(&policy(&[wide, json!({}), narrow]), question("publish", &Value::Null), 0.0).tokens;
    let mut taken: Vec<_> = taken.iter().map(|token| (token.name.as_str(), token.max, token.key.as_str())).collect();
    taken.sort_unstable();
    assert_eq!(taken, [("all", 9, r#"["global","all","c"]"#), ("posts", 5, r#"["client:c","posts","c","p","a"]"#)]);
}

#[test]
fn everybody_has_the_documents_own_limits_until_somebody_says_otherwise() {
    let taken =
        |documents: &[Value], action: &str| rations(&policy(documents), question(action, &Value::Null), 0.0).tokens;
    let limits = ["comment_reply", "like", "dm_send"]
        .map(|action| taken(&[], action).iter().map(|token| (token.max, token.window_s)).collect::<Vec<_>>());
    assert_eq!(limits, [[(10, 600)], [(20, 3_600)], [(5, 3_600)]]);
    let more = json!({"budgets": {"rate": [{"name": "dms", "actions": ["dm_send"], "max": 50, "window_s": 3600}]}});
    assert_eq!(taken(&[json!({}), json!({}), more], "dm_send").iter().map(|token| token.max).collect::<Vec<_>>(), [50]);
}

#[test]
fn the_least_ceiling_holds_and_no_budget_can_be_taken_for_one() {
    let wide = json!({"ceilings": {"per_account_day": 5, "per_client_day": 50}});
    let narrow = json!({"ceilings": {"per_account_day": 9},
        "budgets": {"rate": [{"name": "per_account_day", "max": 70, "window_s": 86400}]}});
    let both = policy(&[wide.clone(), json!({}), narrow.clone()]);
    let taken = rations(&both, question("publish", &Value::Null), 0.0).tokens;
    let taken: Vec<_> = taken.iter().map(|token| (token.rule(), token.max, token.window_s)).collect();
    let wanted = [("ceilings/per_account_day", 5), ("ceilings/per_client_day", 50), ("budgets/per_account_day", 70)];
    assert_eq!(taken, wanted.map(|(rule, max)| (rule.to_owned(), max, 86_400)));
    let none = json!({"ceilings": {"per_account_day": 0}});
    assert_eq!(verdict(&[wide, none], "publish", &json!({})), said(Decision::Block, "ceilings/per_account_day"));
    // What a budget is called has no control character, and what a ceiling is called has one.
    let scope = PolicyScope::Client("c".into());
    let mut document = part("client:c", narrow).document;
    document.budgets.rate[0].name = "\u{1f}per_account_day".into();
    assert_eq!(document.misfits(&scope).len(), 1);
}

#[test]
fn the_longest_pause_and_the_fewest_calls_hold() {
    let documents = [
        json!({"spacing": {"*": {"min_s": 5}}, "concurrency": 4}),
        json!({"spacing": {"like": {"min_s": 1, "max_s": 9}}, "concurrency": 8}),
    ];
    for (chance, wanted) in [(0.0, 5_000), (0.5, 7_000), (1.0, 9_000)] {
        let taken = rations(&policy(&documents), question("like", &Value::Null), chance);
        assert_eq!((taken.spacing.unwrap().gap_ms, taken.concurrency), (wanted, Some(4)));
    }
}

#[test]
fn the_narrowest_word_on_verification_holds_and_without_one_a_person_is_asked_at_once() {
    let said = |pauses: &[u32], ask_after| Verification { pauses_s: pauses.to_vec(), ask_after };
    assert_eq!(policy(&[]).verification(), said(&[30, 60, 120, 300, 600], 0));
    let (wide, narrow) = (json!({"verification": {"pauses_s": [9]}}), json!({"verification": {"ask_after": 3}}));
    assert_eq!(policy(&[wide.clone(), narrow]).verification(), said(&[30, 60, 120, 300, 600], 3));
    assert_eq!(policy(&[wide, json!({})]).verification(), said(&[9], 0));
}

#[test]
fn a_policy_is_known_by_everything_that_it_came_from() {
    let one = policy(&[json!({"autonomy": "auto"})]);
    assert_eq!(one.hash(), policy(&[json!({"autonomy": "auto"})]).hash());
    assert_ne!(one.hash(), policy(&[json!({"autonomy": "manual"})]).hash());
    assert_ne!(one.hash(), policy(&[]).hash());
    assert_eq!(one.heads().into_iter().collect::<Vec<_>>(), [("global".to_owned(), 1)]);
}

proptest! {
    /// Whatever else is said, adding a document never turns a refusal into a permission.
    #[test]
    fn another_document_never_lifts_a_refusal(
        allowed in prop::collection::vec(prop::collection::btree_set("publish|like|follow", 0..3), 0..4),
        manual in prop::collection::vec(prop::bool::ANY, 4),
    ) {
        let documents: Vec<Value> = allowed.iter().zip(&manual).map(|(types, manual)| {
            json!({"allowed_actions": {"p": types}, "autonomy": if *manual { "manual" } else { "auto" }})
        }).collect();
        let rank = |(decision, _): (Decision, String)| match decision {
            Decision::Allow => 0, Decision::Approve => 1, Decision::Wait => 2, Decision::Block => 3,
        };
        let ranks: Vec<u8> = (0..=documents.len()).map(|n| rank(verdict(&documents[..n], "like", &Value::Null))).collect();
        prop_assert!(ranks.is_sorted(), "{ranks:?}");
    }
}
