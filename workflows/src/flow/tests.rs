//! Laws of documents as a whole: shape, schema, findings, packs.

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::corpus::corpus;
use super::document::FlowDocument;
use super::*;

pub(super) fn with_steps(steps: Value) -> Value {
    json!({
        "name": "test.flow", "version": "1", "platform": "demo", "lane": "hybrid", "steps": steps,
        "inputs": {"type": "object", "additionalProperties": false, "properties": {"text": {"type": "string"}, "flag": {"type": "boolean"}}},
    })
}

pub(super) fn with_step(step: Value) -> Value {
    with_steps(json!([step]))
}

pub(super) fn effect(change: impl FnOnce(&mut Value)) -> Value {
    let mut effect = json!({
        "action_type": "publish", "account": "ada", "payload": {"text": "${inputs.text}"},
        "honours_keys": true,
        "look": {"http": {
            "request": {"method": "GET", "url": "${env.site}/posts", "save": {"id": "/posts/0/id"}},
            "present": [{"at": "/posts/0", "is": "present"}]}},
        "call": {"http": {"method": "POST", "url": "${env.site}/posts",
            "json": {"text": "${inputs.text}"}, "save": {"id": "/id"}}},
    });
    change(&mut effect);
    with_step(json!({"id": "post", "effect": effect}))
}

#[test]
fn the_schema_accepts_exactly_what_the_types_accept() {
    let validator = schema::compiled(&schema()).unwrap();
    for document in corpus() {
        let by_types = FlowDocument::deserialize(&document);
        let nameless = document.to_string().contains("targets.");
        if nameless {
            // Named targets are put in their places before the types see the document.
            assert!(validator.is_valid(&document), "{document}");
            continue;
        }
        assert_eq!(validator.is_valid(&document), by_types.is_ok(), "{document}: {:?}", by_types.err());
    }
}

#[test]
fn a_document_is_written_as_it_was_read() {
    for document in corpus() {
        let Ok(read) = FlowDocument::deserialize(&document) else {
            continue;
        };
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(FlowDocument::deserialize(&written).unwrap(), read, "{document}");
    }
}

#[test]
fn every_refusal_of_a_shape_has_a_pointer_and_a_remedy() {
    for document in corpus().into_iter().filter(Value::is_object) {
        if let Err(error) = parse(&document) {
            for finding in error.findings() {
                assert!(finding.pointer.is_empty() || document.pointer(&finding.pointer).is_some(), "{finding}");
                assert!(!finding.remedy.is_empty() && !finding.message.is_empty());
            }
        }
    }
}

/// The places that a linter refuses.
fn refused(document: &Value) -> Vec<String> {
    match Flow::of(document) {
        Ok(_) => Vec::new(),
        Err(error) => error.findings().into_iter().map(|finding| finding.pointer).collect(),
    }
}

/// S-010: a step is an effect or it is none; a request that could be one has to say that it is not.
#[test]
fn an_http_step_that_changes_things_must_be_an_effect() {
    let step = |safe: bool| with_step(json!({"id": "s", "http": {"method": "POST", "url": "http://h", "safe": safe}}));
    assert_eq!(refused(&step(false)), ["/steps/0/http/method"]);
    assert!(refused(&step(true)).is_empty());
}

#[test]
fn only_a_step_that_may_be_repeated_goes_unrecorded() {
    let step = |method: &str, safe: bool| {
        with_step(json!({"id": "s", "http": {"method": method, "url": "http://h", "safe": safe, "record": false}}))
    };
    assert_eq!(refused(&step("POST", false)), ["/steps/0/http/method", "/steps/0/http/record"]);
    for free in [step("POST", true), step("GET", false), step("HEAD", false)] {
        assert!(refused(&free).is_empty());
    }
    let call = effect(|it| it["call"]["http"]["record"] = json!(false));
    assert_eq!(refused(&call), ["/steps/0/effect/call/http/record"]);
    let look = effect(|it| it["look"]["http"]["request"]["record"] = json!(false));
    assert_eq!(refused(&look), ["/steps/0/effect/look/http/request/record"]);
}

/// A flow with an unrecorded login and one more step.
fn after_login(step: Value) -> Value {
    let login = json!({"id": "login", "http": {"method": "POST", "url": "http://h", "safe": true, "record": false,
        "json": {}, "save": {"token": "/token"}}});
    with_steps(json!([login, step]))
}

const TOKEN: &str = "${steps.login.token}";

#[test]
fn what_is_not_recorded_may_be_sent_in_a_request_or_typed_into_a_page() {
    let fill = json!([{"fill": {"target": {"label": "Code"}, "text": TOKEN}}]);
    let mut post = effect(|it| {
        it["call"]["http"]["headers"]["authorization"] = json!(format!("Bearer {TOKEN}"));
        it["look"]["http"]["request"]["query"] = json!({"token": TOKEN});
    })["steps"][0]
        .clone();
    for step in [
        json!({"id": "s", "http": {"method": "GET", "url": "http://h", "headers": {"x": TOKEN}, "query": {"t": TOKEN}}}),
        json!({"id": "s", "http": {"method": "POST", "url": "http://h", "safe": true, "json": {"a": [TOKEN]}}}),
        json!({"id": "s", "http": {"method": "POST", "url": "http://h", "safe": true, "form": {"a": TOKEN}}}),
        json!({"id": "s", "http": {"method": "POST", "url": "http://h", "safe": true, "body": TOKEN, "record": false}}),
        json!({"id": "s", "browser": {"do": fill, "success": {"text": "in"}}}),
        post.clone(),
    ] {
        assert!(refused(&after_login(step.clone())).is_empty(), "{step}");
    }
    post["effect"]["call"] = json!({"browser": {"click": {"role": "button"}, "confirm": {"text": "x"}}});
    post["effect"]["honours_keys"] = json!(false);
    post["effect"]["prepare"] = fill;
    assert!(refused(&after_login(post)).is_empty());
}

#[test]
fn what_is_not_recorded_is_named_nowhere_else() {
    let http = |part: &str, value: Value| {
        let mut call = json!({"method": "GET", "url": "http://h"});
        call[part] = value;
        json!({"id": "s", "http": call})
    };
    let posted = |part: &str, value: Value| effect(|it| it[part] = value)["steps"][0].clone();
    let act = |act: Value| json!({"id": "s", "browser": {"do": [act], "success": {"text": "x"}}});
    let set = |text: &str| json!({"id": "s", "set": {"values": {"a": text}}});
    let read_back = json!([{"at": "/t", "is": {"equals": TOKEN}}]);
    for (step, at) in [
        (http("url", json!(format!("http://h/{TOKEN}"))), "/http/url"),
        (http("expect", json!({"body": read_back})), "/http/expect/body/0/is/equals"),
        (posted("payload", json!({"t": TOKEN})), "/effect/payload/t"),
        (posted("dedupe", json!(TOKEN)), "/effect/dedupe"),
        (posted("account", json!(TOKEN)), "/effect/account"),
        (act(json!({"goto": TOKEN})), "/browser/do/0/goto"),
        (act(json!({"assert": {"text": TOKEN}})), "/browser/do/0/assert/text"),
        (act(json!({"fill": {"target": {"label": TOKEN}, "text": "x"}})), "/browser/do/0/fill/target/label"),
        (json!({"id": "s", "human": {"reason": "r", "shown": {"t": TOKEN}}}), "/human/shown/t"),
        (json!({"id": "s", "human": {"reason": TOKEN}}), "/human/reason"),
        (json!({"id": "s", "child": {"flow": "a", "input": {"t": TOKEN}}}), "/child/input/t"),
        (set(TOKEN), "/set/values/a"),
        (set("${steps.login.status}"), "/set/values/a"),
        (set("x ${steps.login | json}"), "/set/values/a"),
        (set("${steps.login.token | sha256}"), "/set/values/a"),
        (json!({"id": "s", "sleep": {"seconds": 1}, "when": {"value": TOKEN, "is": "present"}}), "/when/value"),
    ] {
        assert_eq!(refused(&after_login(step.clone())), [format!("/steps/1{at}")], "{step}");
    }
    let mut outputs = after_login(json!({"id": "s", "sleep": {"seconds": 1}}));
    outputs["outputs"] = json!({"token": TOKEN});
    assert_eq!(refused(&outputs), ["/outputs/token"]);
}

#[test]
fn templates_name_only_what_is_there() {
    let set = |text: &str| {
        with_steps(json!([
            {"id": "first", "set": {"values": {"a": 1}}},
            {"id": "second", "set": {"values": {"x": text}}},
            {"id": "third", "set": {"values": {}}},
        ]))
    };
    for text in
        ["${inputs.text}", "${steps.first.a}", "${run.id}", "${run.client}", "$${nothing}", "plain", "${inputs}"]
    {
        assert!(refused(&set(text)).is_empty(), "{text}");
    }
    for text in [
        "${inputs.txt}",
        "${steps.first.b}",
        "${steps.second.x}",
        "${steps.third}",
        "${steps.none.a}",
        "${run.epoch}",
        "${env.site}",
        "${effect.key}",
        "${secret}",
        "${",
        "${targets.x | json}",
    ] {
        assert_eq!(refused(&set(text)), ["/steps/1/set/values/x"], "{text}");
    }
}

#[test]
fn what_identifies_an_effect_does_not_depend_on_the_installation() {
    assert!(refused(&effect(|_| {})).is_empty());
    assert_eq!(refused(&effect(|it| it["payload"] = json!("${env.site}"))), ["/steps/0/effect/payload"]);
    assert_eq!(refused(&effect(|it| it["dedupe"] = json!("${effect.key}"))), ["/steps/0/effect/dedupe"]);
}

#[test]
fn an_effect_cannot_promise_what_its_parts_do_not_give() {
    let click = json!({"browser": {"click": {"role": "button"}, "confirm": {"text": "x"}}});
    let keyed_click = effect(|it| it["call"] = click.clone());
    assert_eq!(refused(&keyed_click), ["/steps/0/effect/honours_keys"]);
    let unguarded = effect(|it| {
        it["honours_keys"] = json!(false);
        it["call"] = click;
        it["look"] = Value::Null;
    });
    assert_eq!(refused(&unguarded), ["/steps/0/effect"]);
    let blind = effect(|it| {
        it["look"] = Value::Null;
        it["absence"] = json!("conclusive");
    });
    assert_eq!(refused(&blind), ["/steps/0/effect/absence"]);
    let hasty = effect(|it| it["absence"] = json!("conclusive"));
    assert_eq!(refused(&hasty), ["/steps/0/effect/look/http/request"]);
    let writing_look = effect(|it| it["look"]["http"]["request"]["method"] = json!("DELETE"));
    assert_eq!(refused(&writing_look), ["/steps/0/effect/look/http/request/method"]);
    let harmless = effect(|it| it["call"]["http"]["method"] = json!("GET"));
    assert!(refused(&harmless).contains(&"/steps/0/effect/call/http/method".to_owned()));
}

#[test]
fn as_whom_a_call_is_made_is_asked_without_changing_anything_and_of_who_makes_it() {
    let me = json!({"method": "GET", "url": "${env.site}/me", "save": {"id": "/id", "handle": "/handle"}});
    let asks = |change: &dyn Fn(&mut Value)| {
        let mut me = me.clone();
        change(&mut me);
        refused(&effect(|it| it["identity"] = me))
    };
    assert!(asks(&|_| {}).is_empty());
    assert_eq!(asks(&|me| me["method"] = json!("POST")), ["/steps/0/effect/identity/method"]);
    assert_eq!(asks(&|me| me["record"] = json!(false)), ["/steps/0/effect/identity/record"]);
    assert_eq!(asks(&|me| me["save"] = json!({"handle": "/handle"})), ["/steps/0/effect/identity/save"]);
    let click = json!({"browser": {"click": {"role": "button"}, "confirm": {"text": "x"}}});
    let in_a_browser = effect(|it| {
        it["identity"] = me.clone();
        it["honours_keys"] = json!(false);
        it["call"] = click;
    });
    assert_eq!(refused(&in_a_browser), ["/steps/0/effect/identity"]);
    let mut posted = effect(|it| it["identity"] = me.clone())["steps"][0].clone();
    posted["effect"]["identity"]["headers"] = json!({"Authorization": "Bearer ${steps.login.token}"});
    assert!(refused(&after_login(posted.clone())).is_empty());
    posted["effect"]["identity"]["url"] = json!(TOKEN);
    assert_eq!(refused(&after_login(posted)), ["/steps/1/effect/identity/url"]);
}

#[test]
fn a_browser_step_says_when_it_is_done() {
    let step = |success: Value| {
        with_step(json!({"id": "s", "browser": {"do": [{"click": {"role": "button"}}], "success": success}}))
    };
    assert_eq!(refused(&step(Value::Null)), ["/steps/0/browser"]);
    assert!(refused(&step(json!({"text": "done"}))).is_empty());
}

#[test]
fn a_poll_looks_within_bounds_and_leaves_the_page_alone() {
    let polls = |change: Value| {
        let mut poll =
            json!({"do": [{"goto": "http://h"}], "until": {"text": "ready"}, "interval_s": 1, "timeout_s": 60});
        poll.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        refused(&with_step(json!({"id": "s", "browser": {"do": [], "poll": poll}})))
    };
    let at = |place: &str| vec![format!("/steps/0/browser/poll/{place}")];
    assert!(polls(json!({})).is_empty());
    assert!(polls(json!({"interval_s": "${inputs.text}", "timeout_s": "${inputs.text}"})).is_empty());
    assert_eq!(polls(json!({"interval_s": 0.01})), at("interval_s"));
    assert_eq!(polls(json!({"timeout_s": -1})), at("timeout_s"));
    assert_eq!(polls(json!({"do": [{"click": {"role": "button"}}]})), at("do/0"));
    assert_eq!(polls(json!({"do": [{"screenshot": "a"}]})), at("do/0"));
    let twice = json!({"do": [], "success": {"text": "x"},
        "poll": {"do": [], "until": {"text": "x"}, "interval_s": 1, "timeout_s": 1}});
    assert_eq!(refused(&with_step(json!({"id": "s", "browser": twice}))), ["/steps/0/browser/success"]);
}

#[test]
fn a_download_is_a_result_of_its_step_like_any_other() {
    let flow = |name: &str, text: &str| {
        with_steps(json!([
            {"id": "keep", "browser": {"do": [{"download": {"name": name, "target": {"role": "link"}}}]}},
            {"id": "told", "set": {"values": {"x": text}}},
        ]))
    };
    assert!(refused(&flow("film", "${steps.keep.film.path}")).is_empty());
    assert_eq!(refused(&flow("film", "${steps.keep.movie}")), ["/steps/1/set/values/x"]);
    assert_eq!(refused(&flow("A Film", "x")), ["/steps/0/browser/do/0"]);
}

#[test]
fn names_bounds_and_lanes_are_kept() {
    let change = |path: &str, value: Value| {
        let mut document = with_step(json!({"id": "s", "sleep": {"seconds": 1}}));
        *document.pointer_mut(path).unwrap() = value;
        refused(&document)
    };
    assert_eq!(change("/name", json!("Demo Publish")), ["/name"]);
    assert_eq!(change("/version", json!("")), ["/version"]);
    assert_eq!(change("/steps/0/id", json!("flow.pin")), ["/steps/0/id"]);
    assert_eq!(change("/steps/0/sleep/seconds", json!(-1)), ["/steps/0/sleep/seconds"]);
    assert_eq!(change("/inputs", json!({"type": "objekt"})), ["/inputs/type"]);
    assert!(change("/steps", json!([])).contains(&"/steps".to_owned()));
    let many: Vec<Value> =
        (0..=limits::MAX_FLOW_STEPS).map(|n| json!({"id": format!("s{n}"), "set": {"values": {}}})).collect();
    assert_eq!(change("/steps", json!(many)), ["/steps"]);
    assert_eq!(
        change("/steps", json!([{"id": "a", "set": {"values": {}}}, {"id": "a", "set": {"values": {}}}])),
        ["/steps/1/id"]
    );
    let mut stray = effect(|_| {});
    stray["lane"] = json!("browser");
    assert_eq!(refused(&stray), ["/steps/0"]);
}

#[test]
fn the_hash_is_of_the_content_and_not_of_its_writing() {
    let one = Flow::of(&with_step(json!({"id": "s", "sleep": {"seconds": 1}}))).unwrap();
    let two = Flow::read(&with_step(json!({"sleep": {"seconds": 1}, "id": "s"})).to_string()).unwrap();
    let other = Flow::of(&with_step(json!({"id": "s", "sleep": {"seconds": 2}}))).unwrap();
    assert_eq!(one.hash(), two.hash());
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn the_packs_are_fit_without_a_warning_and_every_step_has_a_phase() {
    let names: Vec<String> = crate::packs()
        .unwrap()
        .iter()
        .map(|flow| {
            assert!(flow.warnings().is_empty(), "{}: {:?}", flow.name(), flow.warnings());
            assert!(flow.document().steps.iter().all(|step| step.phase.is_some()), "{}", flow.name());
            assert!(lint_sites(flow.document(), &["demo_site"].into()).is_empty());
            flow.name().to_owned()
        })
        .collect();
    assert_eq!(names, ["demo.publish", "demo.dm", "demo.http_publish", "sora.generate_video"]);
}
