//! What `flow.run` refuses before anything is queued.

use fermata_engine::clock::Clock;
use fermata_engine::workflow::{Failure, Subject};
use serde_json::{Value, json};

use crate::{Installation, registry};

fn check(input: Value) -> Result<(), Failure> {
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.sites.insert("demo_site".to_owned(), "http://127.0.0.1:7079".to_owned());
    registry(installation).unwrap().check("flow.run", &input, Subject::default()).unwrap()
}

fn pointers(input: Value) -> Vec<String> {
    let failure = check(input).unwrap_err();
    let findings = failure.details["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|finding| finding["pointer"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_installed_flow_is_run_with_inputs_that_fit() {
    for input in [
        json!({"workflow_name": "demo.publish", "inputs": {"caption": "hi"}}),
        json!({"workflow_name": "demo.dm", "inputs": {"to": "bob", "text": "hi"}, "policy": {"max_retries": 2}}),
        json!({"workflow_name": "demo.http_publish",
               "inputs": {"caption": "hi", "honours_keys": false, "absence": "conclusive", "call_timeout_s": 0.5}}),
        json!({"workflow_name": "bench.steps", "inputs": {"steps": 3}}),
        json!({"workflow_name": "bench.steps"}),
    ] {
        assert_eq!(check(input.clone()), Ok(()), "{input}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_a_pointer() {
    let publish = |inputs: Value| json!({"workflow_name": "demo.publish", "inputs": inputs});
    assert_eq!(pointers(publish(json!({}))), ["/inputs"]);
    assert_eq!(pointers(publish(json!({"caption": 5}))), ["/inputs/caption"]);
    assert_eq!(pointers(publish(json!({"caption": "x", "handle": "No Handle"}))), ["/inputs/handle"]);
    assert_eq!(pointers(publish(json!({"caption": "x", "captoin": "x"}))), ["/inputs"]);
    assert_eq!(pointers(json!({"workflow_name": "bench.steps", "inputs": {"stepz": 1}})), ["/inputs"]);
    assert!(check(json!({"workflow_name": "bench.steps", "inputs": {"steps": 1001}})).is_err());
}

#[test]
fn exactly_one_of_name_and_document_is_given() {
    let flow = json!({"name": "a", "version": "1", "platform": "demo", "lane": "api",
        "steps": [{"id": "s", "set": {"values": {"a": 1}}}]});
    assert_eq!(check(json!({"flow": flow})), Ok(()));
    assert_eq!(check(json!({})).unwrap_err().code, "input_invalid");
    assert_eq!(check(json!({"workflow_name": "demo.dm", "flow": flow})).unwrap_err().code, "input_invalid");
    assert_eq!(check(json!({"workflow_name": "nope"})).unwrap_err().code, "flow_not_found");
    assert_eq!(check(json!({"flow": flow, "more": 1})).unwrap_err().code, "input_invalid");
}

#[test]
fn a_document_that_is_not_fit_is_refused_with_a_pointer_into_the_payload() {
    let flow = |step: Value| json!({"flow": {"name": "a", "version": "1", "platform": "demo", "lane": "api", "steps": [step]}});
    assert_eq!(pointers(flow(json!({"id": "s"}))), ["/flow/steps/0"]);
    assert_eq!(
        pointers(flow(json!({"id": "s", "http": {"method": "GET", "url": "${env.elsewhere}/x"}}))),
        ["/flow/steps/0/http/url"]
    );
}

#[test]
fn a_flow_acts_under_known_words_and_an_installed_one_brings_its_platform() {
    let flow = |platform: &str, action_type: &str| {
        json!({"name": "a.b", "version": "1", "platform": platform, "lane": "api", "steps": [{"id": "s", "effect": {
            "action_type": action_type, "account": "ada", "payload": {}, "call": {"http": {"method": "POST", "url": "http://h"}}}}]})
    };
    let inline = |platform: &str, action_type: &str| json!({"flow": flow(platform, action_type)});
    for known in ["demo", "instagram", "facebook", "tiktok", "youtube", "linkedin", "x", "skool", "sora"] {
        assert_eq!(check(inline(known, "publish")), Ok(()), "{known}");
    }
    for known in
        ["schedule", "dm_send", "comment_reply", "like", "follow", "edit", "delete", "pin", "unpin", "moderate"]
    {
        assert_eq!(check(inline("demo", known)), Ok(()), "{known}");
    }
    assert_eq!(pointers(inline("myspace", "publish")), ["/flow/platform"]);
    assert_eq!(pointers(inline("demo", "pubish")), ["/flow/steps/0/effect/action_type"]);
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.flows.push(crate::flow::Flow::of(&flow("myspace", "publish")).unwrap());
    let registry = registry(installation).unwrap();
    assert_eq!(registry.check("flow.run", &json!({"workflow_name": "a.b"}), Subject::default()), Some(Ok(())));
    assert!(registry.vocabulary().check("publish", "myspace").is_ok(), "and its effects are planned");
}

#[test]
fn bounds_without_sense_are_refused() {
    let with = |policy: Value| json!({"workflow_name": "demo.publish", "inputs": {"caption": "x"}, "policy": policy});
    assert_eq!(pointers(with(json!({"max_retries": 1000}))), ["/policy/max_retries"]);
    assert_eq!(pointers(with(json!({"max_duration_s": 0}))), ["/policy/max_duration_s"]);
}
