//! What can be asked to happen.

use fermata_engine::access::Scope;
use serde_json::{Value, json};

use super::harness::{Graph, NOBODY};

const SUBMIT: &str = "mutation($input: SubmitCommandInput!) {
  submitCommand(input: $input) { commandId replayed status command { id status idempotencyKey correlationId policy } }
}";

fn code(error: &Value) -> (&str, u64) {
    (error["extensions"]["code"].as_str().unwrap(), error["extensions"]["status"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_content_is_the_same_command_whichever_way_it_came() {
    let graph = Graph::new().await;
    let input = json!({"type": "test.echo", "payload": {"n": 1}, "idempotencyKey": "k", "correlationId": "c",
                       "policy": {"maxRetries": 2}, "approval": true});
    let first = graph.data(SUBMIT, json!({"input": input})).await["submitCommand"].clone();
    assert_eq!((&first["replayed"], &first["command"]["idempotencyKey"]), (&json!(false), &json!("k")));
    assert_eq!(first["command"]["policy"], json!({"max_retries": 2, "approval": true}));
    let again = graph.data(SUBMIT, json!({"input": input})).await["submitCommand"].clone();
    assert_eq!((&again["replayed"], &again["commandId"]), (&json!(true), &first["commandId"]));
    let by_rest = json!({"type": "test.echo", "payload": {"n": 1}, "idempotency_key": "k", "correlation_id": "c",
                         "policy": {"max_retries": 2}, "approval": true});
    let url = format!("http://{}/v1/commands", graph.address);
    let answer = graph.http.post(url).bearer_auth(&graph.token).json(&by_rest).send().await.unwrap();
    assert_eq!(answer.headers()["idempotent-replayed"], "true");
    assert_eq!(answer.json::<Value>().await.unwrap()["command_id"], first["commandId"]);
    let other = json!({"type": "test.echo", "payload": {"n": 2}, "idempotencyKey": "k"});
    let refused = graph.refused(SUBMIT, json!({"input": other})).await;
    assert_eq!(code(&refused), ("idempotency_mismatch", 409));
    assert_eq!(refused["extensions"]["command_id"], first["commandId"]);
    assert_eq!(graph.db.count("select count(*) from fermata.run").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_pointed_at_and_nothing_is_queued() {
    let graph = Graph::new().await;
    let deep = (0..70).fold(json!(1), |inside, _| json!({"a": inside}));
    for (input, wanted, pointer) in [
        (json!({"type": "no.such", "payload": {}}), "unknown_type", "/input/type"),
        (json!({"type": "test.tour", "payload": {}}), "validation", "/input/payload/key"),
        (json!({"type": "test.tour", "payload": {"key": 1}}), "validation", "/input/payload/key"),
        (json!({"type": "test.echo", "payload": [1]}), "validation", "/input/payload"),
        (json!({"type": "test.echo", "payload": {}, "priority": 10}), "validation", "/input/priority"),
        (json!({"type": "test.echo", "payload": {}, "priority": -1}), "validation", "/input/priority"),
        (json!({"type": "test.echo", "payload": {}, "accountId": ""}), "validation", "/input/accountId"),
        (json!({"type": "test.echo", "payload": {}, "idempotencyKey": "a b"}), "validation", "/input/idempotencyKey"),
        (json!({"type": "test.echo", "payload": {"a": "x\u{0}"}}), "validation", "/variables/input/payload/a"),
        (json!({"type": "test.echo", "payload": deep}), "validation", "/variables"),
    ] {
        let refused = graph.refused(SUBMIT, json!({"input": input})).await;
        assert_eq!(code(&refused), (wanted, 400), "{refused}");
        assert_eq!(refused["extensions"]["errors"][0]["pointer"], pointer, "{refused}");
    }
    let dry = json!({"type": "test.echo", "payload": {}, "dryRun": true});
    let checked = graph.data(SUBMIT, json!({"input": dry})).await["submitCommand"].clone();
    assert_eq!(checked, json!({"commandId": null, "replayed": false, "status": null, "command": null}));
    assert_eq!(graph.db.count("select count(*) from fermata.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_signalled_to_its_end_and_only_once() {
    let graph = Graph::new().await;
    let id = graph.submit(json!({"type": "test.echo", "payload": {}})).await;
    let signal = "mutation($id: ID!, $payload: JSON, $signalId: ID) {
        sendSignal(id: $id, name: \"go\", payload: $payload, signalId: $signalId) { signalId commandId command { id } } }";
    let variables = json!({"id": id, "payload": {"n": 1}, "signalId": "01900000-0000-7000-8000-000000000001"});
    let sent = graph.data(signal, variables.clone()).await["sendSignal"].clone();
    assert_eq!((&sent["signalId"], &sent["command"]["id"]), (&variables["signalId"], &json!(id)));
    graph.db.ended(&graph.engine, id.parse().unwrap()).await;
    let ended = graph.data("query($id: ID!) { command(id: $id) { status result } }", json!({"id": id})).await;
    assert_eq!(ended["command"], json!({"status": "SUCCEEDED", "result": {"n": 1}}));
    assert_eq!(code(&graph.refused(signal, json!({"id": id})).await), ("command_ended", 409));
    let unfit = "mutation($id: ID!) { sendSignal(id: $id, name: \"\") { signalId } }";
    assert_eq!(code(&graph.refused(unfit, json!({"id": id})).await), ("validation", 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_cancelled_once() {
    let graph = Graph::new().await;
    let later = json!({"type": "test.echo", "payload": {}, "notBefore": "2999-01-01T00:00:00Z"});
    let id = graph.submit(later).await;
    let cancel =
        "mutation($id: ID!) { cancelCommand(id: $id, reason: \"no more\") { commandId status command { status } } }";
    let done = graph.data(cancel, json!({"id": id})).await["cancelCommand"].clone();
    assert_eq!(done, json!({"commandId": id, "status": "CANCELLED", "command": {"status": "CANCELLED"}}));
    assert_eq!(code(&graph.refused(cancel, json!({"id": id})).await), ("command_ended", 409));
    assert_eq!(code(&graph.refused(cancel, json!({"id": NOBODY})).await), ("not_found", 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_decision_wins() {
    let graph = Graph::new().await;
    let id = graph.tour("a").await;
    let gate = graph.gate_of(&id).await;
    let decide = "mutation($id: ID!, $decision: Decision!) {
        decideGate(id: $id, decision: $decision, comment: \"fine\") { gate { id state actor comment } } }";
    let decided = graph.data(decide, json!({"id": gate, "decision": "APPROVE"})).await["decideGate"]["gate"].clone();
    assert_eq!(decided, json!({"id": gate, "state": "APPROVED", "actor": "test", "comment": "fine"}));
    let late = graph.refused(decide, json!({"id": gate, "decision": "REJECT"})).await;
    assert_eq!(code(&late), ("gate_decided", 409));
    let ended = graph.db.ended(&graph.engine, id.parse().unwrap()).await;
    assert_eq!(ended.result.unwrap()["approved"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_changes_only_what_its_scopes_allow() {
    let graph = Graph::new().await;
    let id = graph.tour("a").await;
    let gate = graph.gate_of(&id).await;
    let reader = graph.token("acme", &[Scope::CommandsRead]).await;
    for (mutation, scope) in [
        ("submitCommand(input: {type: \"test.echo\", payload: {}}) { commandId }", "commands:write"),
        (&format!("cancelCommand(id: \"{id}\") {{ commandId }}"), "commands:write"),
        (&format!("sendSignal(id: \"{id}\", name: \"go\") {{ signalId }}"), "commands:write"),
        (&format!("decideGate(id: \"{gate}\", decision: APPROVE) {{ gate {{ id }} }}"), "gates:decide"),
    ] {
        let refused = graph.refused_to(&reader, &format!("mutation {{ {mutation} }}"), json!({})).await;
        assert_eq!(code(&refused), ("scope_missing", 403));
        assert_eq!(refused["extensions"]["scope"], scope);
    }
    let writer = graph.token("acme", &[Scope::CommandsWrite]).await;
    let input = json!({"type": "test.echo", "payload": {}});
    let answer = graph.ask_as(&writer, SUBMIT, json!({"input": input})).await;
    let submitted = &answer["data"]["submitCommand"];
    assert!(submitted["commandId"].is_string() && submitted["status"].is_string(), "{answer}");
    assert_eq!(submitted["command"], Value::Null, "who may not read does not");
    assert_eq!(answer["errors"][0]["extensions"]["scope"], "commands:read");
    let posing = json!({"type": "test.echo", "payload": {}, "clientId": "other"});
    assert_eq!(code(&graph.refused(SUBMIT, json!({"input": posing})).await), ("client_not_allowed", 403));
    let everybody = graph.token("*", &[Scope::Admin]).await;
    let nobody = graph.refused_to(&everybody, SUBMIT, json!({"input": {"type": "test.echo", "payload": {}}})).await;
    assert_eq!(nobody["extensions"]["errors"][0]["pointer"], "/input/clientId");
}
