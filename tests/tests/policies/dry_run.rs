//! A dry run of a flow: what would become of each of its actions, and why, without doing anything.

#![expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]

use fermata_engine::clock::Clock;
use fermata_engine::policy::{Evaluation, PolicyError, RunProposal};
use fermata_engine::workflow::Reached;
use fermata_workflows::{Installation, registry};

use super::*;

struct Told {
    db: TestDb,
    engine: Engine,
}

fn publish(id: &str, payload: Value, more: Value) -> Value {
    let call = json!({"http": {"method": "POST", "url": "${env.site}/posts", "save": {"id": "/id"}}});
    let mut step = json!({"id": id, "effect": {"action_type": "publish", "account": "${inputs.who}", "payload": payload,
        "dedupe": "${run.id} step", "call": call}});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

fn flow(steps: Value) -> Value {
    json!({"name": "test.told", "version": "1", "platform": "demo", "lane": "api", "steps": steps,
        "inputs": {"type": "object", "additionalProperties": false, "required": ["who"], "properties": {
            "who": {"type": "string"}, "text": {"type": "string", "default": "hello"}}}})
}

impl Told {
    async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let db = TestDb::new().await;
        let mut installation = Installation::with_packs(Clock::system()).unwrap();
        // Nobody listens there: whoever asked would fail.
        installation.sites.insert("site".to_owned(), "http://127.0.0.1:1".to_owned());
        installation.sites.insert("demo_site".to_owned(), "http://127.0.0.1:1".to_owned());
        let engine = db.engine(registry(installation).unwrap()).await;
        Self { db, engine }
    }

    async fn put(&self, scope: &str, document: Value) {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let scope: PolicyScope = scope.parse().unwrap();
        self.engine.put_policy(&Principal::operator(), &scope, &document, None).await.unwrap();
    }

    async fn ask(&self, payload: Value) -> Result<Evaluation, PolicyError> {
        let (client_id, kind) = (Some("acme".to_owned()), "flow.run".to_owned());
        self.engine.evaluate_run(&Principal::operator(), &RunProposal { client_id, kind, payload, at: None }).await
    }

    async fn tell(&self, steps: Value) -> Evaluation {
        self.ask(json!({"flow": flow(steps), "inputs": {"who": "ada"}})).await.unwrap()
    }
}

/// The decision and the rule of each action; nothing where there is no verdict.
fn said(told: &Evaluation) -> Vec<(String, String)> {
    let actions = told.actions.as_ref().unwrap();
    let word = |decision: Decision| json!(decision).as_str().unwrap().to_owned();
    let said = actions
        .iter()
        .map(|action| action.verdict.as_ref().map_or_else(Default::default, |it| (word(it.decision), it.rule.clone())));
    said.collect()
}

fn rules(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(decision, rule)| ((*decision).to_owned(), (*rule).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_of_each_action_what_would_become_of_it_and_does_nothing() {
    let told = Told::new().await;
    told.put("account:acme/ada", json!({"compliance": {"banned_terms": ["spam"]}, "gates": {"publish": "required"}}))
        .await;
    let look = json!({"id": "look", "http": {"method": "GET", "url": "${env.site}/n", "save": {"n": "/n"}}});
    let when = json!({"when": {"value": "${steps.look.n}", "is": "present"}});
    let evaluation = told
        .tell(json!([
            publish("first", json!({"text": "${inputs.text}"}), json!({})),
            look,
            publish("second", json!({"text": "spam ${steps.look.n}", "also": "spam"}), when),
        ]))
        .await;
    assert_eq!(said(&evaluation), rules(&[("approve", "gates/publish"), ("block", "compliance/banned_terms")]));
    assert_eq!(evaluation.verdict.rule, "compliance/banned_terms", "the strictest is that of the whole");
    let actions = evaluation.actions.unwrap();
    assert_eq!((&actions[0].payload, actions[0].reached), (&json!({"text": "hello"}), Reached::Always));
    assert_eq!((actions[1].not_known[0].as_str(), actions[1].reached), ("steps.look.n", Reached::Perhaps));
    assert_eq!(actions[1].payload["text"], "spam ${steps.look.n}");
    for table in [
        "select count(*) from fermata.run",
        "select count(*) from fermata.action",
        "select count(*) from fermata.intent",
        "select count(*) from fermata.budget",
        "select count(*) from fermata.gate",
        "select count(*) from fermata.platform_account",
        "select count(*) from fermata.posted_text",
    ] {
        assert_eq!(told.db.count(table).await, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_of_a_flow_that_take_of_the_same_count_together() {
    let told = Told::new().await;
    let step = |id: &str, text: &str| publish(id, json!({"text": text}), json!({}));
    let both = json!([step("one", "a"), step("two", "b")]);
    for (policy, rule) in [
        (json!({"budgets": {"rate": [{"name": "posts", "max": 1, "window_s": 86400}]}}), "budgets/posts"),
        (json!({"ceilings": {"per_client_day": 1}}), "ceilings/per_client_day"),
        (json!({"spacing": {"publish": {"min_s": 60}}}), "spacing"),
    ] {
        told.put("client:acme", policy).await;
        let evaluation = told.tell(both.clone()).await;
        assert_eq!(said(&evaluation), rules(&[("allow", "allowed"), ("wait", rule)]));
        assert!(evaluation.verdict.until.is_some());
    }
    told.put("client:acme", json!({"compliance": {"repeated_text": {"window_s": 60}}})).await;
    let evaluation = told.tell(json!([step("one", "Same"), step("two", "same ")])).await;
    assert_eq!(said(&evaluation), rules(&[("allow", "allowed"), ("block", "compliance/repeated_text")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_whose_account_only_the_run_knows_has_no_verdict_and_says_so() {
    let told = Told::new().await;
    let look = json!({"id": "look", "http": {"method": "GET", "url": "${env.site}/n", "save": {"who": "/who"}}});
    let mut step = publish("post", json!({}), json!({}));
    step["effect"]["account"] = json!("${steps.look.who}");
    let evaluation = told.tell(json!([look, step])).await;
    assert_eq!(said(&evaluation), rules(&[("", "")]));
    let action = &evaluation.actions.unwrap()[0];
    assert!(action.account_id.is_none() && action.not_known.contains(&"steps.look.who".to_owned()), "{action:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_flow_is_told_by_its_name_and_what_does_not_fit_is_refused_with_a_place() {
    let told = Told::new().await;
    let ask = |inputs: Value| json!({"workflow_name": "demo.http_publish", "inputs": inputs});
    let evaluation = told.ask(ask(json!({"caption": "hi"}))).await.unwrap();
    assert_eq!(said(&evaluation), rules(&[("allow", "allowed")]));
    let refused = async |payload: Value| match told.ask(payload).await {
        Err(PolicyError::Invalid(misfits)) => misfits[0].pointer.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(ask(json!({"caption": 7}))).await, "/inputs/caption");
    assert_eq!(refused(json!({"workflow_name": "nobody.knows"})).await, "/workflow_name");
    let pubish = json!({"flow": flow(json!([publish("a", json!({}), json!({}))])), "inputs": {"who": "ada"}});
    let with = |pointer: &str, word: &str| {
        let mut asked = pubish.clone();
        *asked.pointer_mut(pointer).unwrap() = word.into();
        asked
    };
    let kind = "/flow/steps/0/effect/action_type";
    assert_eq!(refused(with(kind, "pubish")).await, kind);
    assert_eq!(refused(with("/flow/platform", "myspace")).await, "/flow/platform");
    let reader = Principal { scopes: [fermata_engine::access::Scope::CommandsRead].into(), ..Principal::operator() };
    let inline =
        RunProposal { client_id: Some("acme".into()), kind: "flow.run".into(), payload: pubish.clone(), at: None };
    assert!(matches!(told.engine.evaluate_run(&reader, &inline).await, Err(PolicyError::Denied(_))));
}
