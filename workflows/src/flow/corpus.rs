//! Documents, good and bad, of which the schema and the types must think the same.

use serde_json::{Value, json};

use super::tests::{effect, with_step, with_steps};

/// All of them.
pub(super) fn corpus() -> Vec<Value> {
    [shapes(), steps(), requests(), acts(), effects()].concat()
}

fn shapes() -> Vec<Value> {
    vec![
        json!({}),
        json!([]),
        json!("x"),
        with_steps(json!([])),
        with_steps(json!({})),
        with_steps(json!([1])),
        with_step(json!({"id": "s", "sleep": {"seconds": 0.5}})),
        with_step(json!({"id": "s", "sleep": {"seconds": "${inputs.n}"}})),
        with_step(json!({"id": "s", "sleep": {"seconds": "soon"}})),
        with_step(json!({"id": "s", "sleep": {"seconds": "${a} s"}})),
        with_step(json!({"id": "s", "wait_signal": {"name": "go"}})),
        with_step(json!({"id": "s", "wait_signal": "go"})),
        with_step(json!({"id": "s", "human": {"reason": "r", "on_reject": "continue"}})),
        with_step(json!({"id": "s", "human": {"reason": "r", "on_reject": "shrug"}})),
        with_step(json!({"id": "s", "human": {"reason": ["r"]}})),
        with_step(json!({"id": "s", "child": {"flow": "a", "input": {}}})),
        with_step(json!({"id": "s", "child": {"flow": 1}})),
    ]
}

fn steps() -> Vec<Value> {
    let set = |extra: Value| {
        let mut step = json!({"id": "s", "set": {"values": {"a": 1}}});
        step.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        with_step(step)
    };
    vec![
        set(json!({})),
        set(json!({"phase": "act"})),
        set(json!({"phase": "play"})),
        set(json!({"unknown": 1})),
        set(json!({"sleep": {"seconds": 1}})),
        set(json!({"sleep": null})),
        set(json!({"set": null})),
        set(json!({"set": {}})),
        set(json!({"when": {"value": 1, "is": "present"}})),
        set(json!({"when": {"value": 1}})),
        set(json!({"when": {"value": 1, "is": {"one_of": 3}}})),
        set(json!({"when": {"value": 1, "is": {"a": 3}}})),
        set(json!({"retry": {"max_attempts": 3}})),
        set(json!({"retry": {"attempts": 3}})),
        set(json!({"timeout_s": "5"})),
        set(json!({"id": 1})),
        set(json!({"title": null})),
    ]
}

fn requests() -> Vec<Value> {
    let http = |extra: Value| {
        let mut call = json!({"method": "GET", "url": "http://h"});
        call.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        with_step(json!({"id": "s", "http": call}))
    };
    vec![
        http(json!({})),
        http(json!({"method": "get"})),
        http(json!({"url": 5})),
        http(json!({"url": null})),
        http(json!({"json": null})),
        http(json!({"expect": {"status": [200], "body": [{"at": "/a", "is": "absent"}]}})),
        http(json!({"expect": {"status": 200}})),
        http(json!({"expect": {"status": [-1]}})),
        http(json!({"expect": {"status": [70000]}})),
        http(json!({"save": {"a": "/a"}, "safe": true, "headers": {"x": 1}, "query": {"q": "${inputs.q}"}})),
        http(json!({"save": ["/a"]})),
        http(json!({"record": false})),
        http(json!({"record": "no"})),
    ]
}

fn acts() -> Vec<Value> {
    let act = |act: Value| with_step(json!({"id": "s", "browser": {"do": [act], "success": {"text": "x"}}}));
    let poll = |change: Value| {
        let mut poll = json!({"do": [{"goto": "http://h"}], "until": {"text": "x"}, "interval_s": 1, "timeout_s": 9});
        poll.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        with_step(json!({"id": "s", "browser": {"do": [], "poll": poll}}))
    };
    vec![
        act(json!({"goto": "http://h"})),
        act(json!({"goto": {}})),
        act(json!({"click": {"role": "button"}})),
        act(json!({"click": "${targets.nope}"})),
        act(json!({"click": "button"})),
        act(json!({"click": {}, "goto": "x"})),
        act(json!("goto")),
        act(json!({"fill": {"target": {"label": "a"}, "text": 5}})),
        act(json!({"fill": {"target": {"label": "a"}}})),
        act(json!({"upload": {"target": {"label": "a"}, "file_name": "f", "base64": "", "optional": true}})),
        act(json!({"wait": {"for": {"all": [{"text": "a"}, {"absent": {"css": "b"}}]}, "timeout_s": 3}})),
        act(json!({"wait": {"for": {}}})),
        act(json!({"read": {"name": "a", "target": {"label": "a"}, "what": {"attribute": "href"}}})),
        act(json!({"read": {"name": "a", "target": {"label": "a"}, "what": "html"}})),
        act(json!({"screenshot": "a"})),
        act(json!({"screenshot": 1})),
        act(json!({"download": {"name": "a", "target": {"role": "link"}, "timeout_s": 5}})),
        act(json!({"download": {"name": "a", "target": "link"}})),
        act(json!({"download": {"target": {"role": "link"}}})),
        act(json!({"download": "a"})),
        poll(json!({})),
        poll(json!({"interval_s": "${inputs.n}", "timeout_s": 1.5})),
        poll(json!({"interval_s": "15"})),
        poll(json!({"until": null})),
        poll(json!({"until": "${inputs.n}"})),
        poll(json!({"do": {}})),
        poll(json!({"every": 1})),
        act(json!({"assert": {"visible": {"role": "x", "within": {"css": "y"}}}})),
        act(json!({"assert": {"visible": {"within": 1}}})),
    ]
}

fn effects() -> Vec<Value> {
    vec![
        effect(|_| {}),
        effect(|it| it["absence"] = json!("conclusive")),
        effect(|it| it["absence"] = json!("maybe")),
        effect(|it| it["honours_keys"] = json!("${inputs.flag}")),
        effect(|it| it["honours_keys"] = json!("yes")),
        effect(|it| it["call_timeout_s"] = json!(1.5)),
        effect(|it| it["call"] = json!({})),
        effect(|it| it["call"] = json!({"grpc": {}})),
        effect(|it| it["look"] = json!(null)),
        effect(|it| it["look"] = json!({"http": {"present": []}})),
        effect(|it| it["payload"] = json!(null)),
        effect(|it| it["identity"] = json!({"method": "GET", "url": "http://h/me", "save": {"id": "/id"}})),
        effect(|it| it["identity"] = json!({"request": {"method": "GET", "url": "http://h/me"}})),
        effect(|it| it["identity"] = json!(null)),
        effect(
            |it| it["call"] = json!({"browser": {"click": {"role": "button"}, "confirm": {"text": "x"}, "receipt": {"a": {"target": {"css": "a"}}}}}),
        ),
        effect(|it| it["call"] = json!({"browser": {"click": {"role": "button"}}})),
        effect(|it| it["prepare"] = json!([{"goto": "x"}])),
        effect(|it| it["typo"] = json!(1)),
    ]
}
