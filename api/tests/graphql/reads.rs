//! What can be seen, and by whom.

use fermata_engine::access::Scope;
use serde_json::{Value, json};

use super::harness::{Graph, NOBODY};

fn nodes(connection: &Value) -> Vec<Value> {
    let edges = connection["edges"].as_array().unwrap_or_else(|| panic!("a connection, not {connection}"));
    edges.iter().map(|edge| edge["node"].clone()).collect()
}

fn ids(connection: &Value) -> Vec<String> {
    nodes(connection).iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
}

const WHOLE: &str = "query($id: ID!) { command(id: $id) {
  id clientId type workflow status waitReason accountId input priority createdAt submittedBy
  steps(first: 9) { edges { node { key kind state attemptCount output
    attempts(first: 3) { edges { node { number state failure { code message } } } } } } }
  actions(first: 3) { edges { node { id state lane effect receipt number
    intent { id repeatAllowed spec currentAction { id } actions(first: 2) { edges { node { id } } } }
    command { id }
    audit(first: 9) { edges { node { phase actor action { id } command { id } } } } } } }
  gates(first: 3) { edges { node { id kind state reason shown command { id } } } }
  events(first: 40) { edges { cursor node { id type severity subject command { id } } } }
  lifecycle(first: 9) { edges { node { status at reason } } }
  artifacts(first: 3) { edges { node { id kind contentType bytes checksum content command { id } } } }
  children(first: 3) { edges { node { id type status parent { id } } } }
} }";

#[tokio::test(flavor = "multi_thread")]
async fn a_command_shows_everything_that_belongs_to_it() {
    let graph = Graph::new().await;
    let id = graph.tour("a").await;
    let data = graph.data(WHOLE, json!({"id": id})).await;
    let command = &data["command"];
    assert_eq!((&command["id"], &command["status"]), (&json!(id), &json!("HUMAN_REQUIRED")), "{command}");
    assert_eq!((&command["type"], &command["input"]), (&json!("test.tour"), &json!({"key": "a"})));

    let steps = nodes(&command["steps"]);
    let flaky = &steps[0];
    assert_eq!(
        (&flaky["key"], &flaky["state"], &flaky["attemptCount"]),
        (&json!("flaky"), &json!("SUCCEEDED"), &json!(2))
    );
    let attempts = nodes(&flaky["attempts"]);
    let told: Vec<_> = attempts.iter().map(|attempt| (&attempt["number"], &attempt["state"])).collect();
    assert_eq!(told, [(&json!(1), &json!("FAILED")), (&json!(2), &json!("SUCCEEDED"))]);
    assert_eq!(attempts[0]["failure"]["code"], "flaky");
    let kinds: Vec<_> = steps.iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"EFFECT") && kinds.contains(&"CHILD"), "{kinds:?}");

    let action = &nodes(&command["actions"])[0];
    assert_eq!((&action["state"], &action["lane"]), (&json!("POSTCHECK_COMPLETE"), &json!("API")));
    assert_eq!((&action["effect"], &action["receipt"]), (&json!(true), &json!({"id": "a"})));
    assert_eq!(action["intent"]["currentAction"]["id"], action["id"]);
    assert_eq!(ids(&action["intent"]["actions"]), [action["id"].as_str().unwrap()]);
    let phases: Vec<_> = nodes(&action["audit"]).iter().map(|row| row["phase"].clone()).collect();
    assert_eq!(phases.first().and_then(Value::as_str), Some("postcheck_complete"), "newest first");
    assert_eq!(phases.len(), 6);

    let gate = &nodes(&command["gates"])[0];
    assert_eq!(
        (&gate["kind"], &gate["state"], &gate["command"]["id"]),
        (&json!("APPROVAL"), &json!("OPEN"), &json!(id))
    );
    let artifact = &nodes(&command["artifacts"])[0];
    assert_eq!((&artifact["kind"], &artifact["bytes"]), (&json!("report"), &json!(1)));
    let child = &nodes(&command["children"])[0];
    assert_eq!(
        (&child["type"], &child["status"], &child["parent"]["id"]),
        (&json!("test.kid"), &json!("SUCCEEDED"), &json!(id))
    );
    assert_eq!(nodes(&command["lifecycle"])[0]["status"], "QUEUED");
    assert!(nodes(&command["events"]).iter().all(|event| event["subject"] == json!(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_root_field_finds_what_is_there() {
    let graph = Graph::new().await;
    let id = graph.tour("a").await;
    let lists = graph
        .data(
            "{ commands { edges { node { id } } } actions { edges { node { id } } } gates { edges { node { id } } }
               events { edges { node { id } } } artifacts { edges { node { id } } } audit { edges { node { phase } } } }",
            json!({}),
        )
        .await;
    assert_eq!(ids(&lists["commands"]).len(), 2, "the command and its child");
    assert!(!ids(&lists["events"]).is_empty() && !nodes(&lists["audit"]).is_empty());
    let (action, gate, artifact) = (&ids(&lists["actions"])[0], &ids(&lists["gates"])[0], &ids(&lists["artifacts"])[0]);
    let one = graph
        .data(
            "query($action: ID!, $gate: ID!, $artifact: ID!) {
               action(id: $action) { id intent { id } } gate(id: $gate) { id } artifact(id: $artifact) { id } }",
            json!({"action": action, "gate": gate, "artifact": artifact}),
        )
        .await;
    let intent = one["action"]["intent"]["id"].as_str().unwrap();
    for (id, name) in
        [(id.as_str(), "Command"), (action, "Action"), (intent, "Intent"), (gate, "Gate"), (artifact, "Artifact")]
    {
        let node = graph.data("query($id: ID!) { node(id: $id) { __typename id } }", json!({"id": id})).await;
        assert_eq!(node["node"], json!({"__typename": name, "id": id}));
    }
    assert_eq!(one["gate"]["id"], json!(gate));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_null_and_what_is_no_id_is_refused() {
    let graph = Graph::new().await;
    for field in ["command", "action", "gate", "artifact", "node"] {
        let query = format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}");
        assert_eq!(graph.data(&query, json!({"id": NOBODY})).await[field], Value::Null);
        let error = graph.refused(&query, json!({"id": "nope"})).await;
        assert_eq!(error["extensions"]["errors"][0]["pointer"], "/id", "{error}");
    }
    let events = "query($id: ID!) { events(filter: {commandId: $id}) { edges { cursor } } }";
    assert_eq!(graph.refused(events, json!({"id": NOBODY})).await["extensions"]["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_walked_to_its_end_without_loss_or_repetition() {
    let graph = Graph::new().await;
    let mut submitted = Vec::new();
    for n in 0..7 {
        submitted
            .push(graph.submit(json!({"type": "test.echo", "payload": {}, "accountId": format!("a{}", n % 2)})).await);
    }
    submitted.reverse();
    let query = "query($after: String) { commands(first: 3, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let (mut after, mut walked, mut pages) = (Value::Null, Vec::new(), 0);
    loop {
        let page = graph.data(query, json!({"after": after})).await["commands"].clone();
        walked.extend(ids(&page));
        pages += 1;
        let info = &page["pageInfo"];
        assert_eq!(info["hasPreviousPage"], json!(pages > 1));
        assert_eq!(info["endCursor"], page["edges"].as_array().unwrap().last().unwrap()["cursor"]);
        if info["hasNextPage"] == json!(false) {
            break;
        }
        after = info["endCursor"].clone();
    }
    assert_eq!((walked, pages), (submitted, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_hides_what_does_not_match() {
    let graph = Graph::new().await;
    let tour = graph.tour("a").await;
    let echo = graph
        .submit(json!({"type": "test.echo", "payload": {}, "correlationId": "c1", "notBefore": "2999-01-01T00:00:00Z"}))
        .await;
    let commands = "query($filter: CommandFilter!) { commands(filter: $filter) { edges { node { id } } } }";
    for (filter, wanted) in [
        (json!({"type": "test.echo"}), vec![&echo]),
        (json!({"correlationId": "c1"}), vec![&echo]),
        (json!({"statuses": ["HUMAN_REQUIRED"]}), vec![&tour]),
        (json!({"statuses": ["WAITING", "FAILED"]}), vec![&echo]),
        (json!({"accountId": "a", "type": "test.tour"}), vec![&tour]),
        (json!({"clientId": "other"}), vec![]),
        (json!({"since": "2998-01-01T00:00:00Z"}), vec![]),
    ] {
        let found = ids(&graph.data(commands, json!({"filter": filter})).await["commands"]);
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{filter}");
    }
    let children = graph.data(commands, json!({"filter": {"parentId": tour}})).await;
    assert_eq!(ids(&children["commands"]).len(), 1);
    let inside = graph
        .data(
            "query($id: ID!) { command(id: $id) {
               open: gates(states: [OPEN]) { edges { node { id } } }
               shut: gates(states: [APPROVED, REJECTED]) { edges { node { id } } }
               done: actions(filter: {states: [POSTCHECK_COMPLETE], actionType: \"publish\"}) { edges { node { id } } }
               none: actions(filter: {states: [UNKNOWN]}) { edges { node { id } } }
               warnings: events(filter: {minSeverity: WARN}) { edges { node { severity } } }
               people: events(filter: {types: [\"human.required\"]}) { edges { node { type } } } } }",
            json!({"id": tour}),
        )
        .await["command"]
        .clone();
    assert_eq!((ids(&inside["open"]).len(), ids(&inside["shut"]).len()), (1, 0));
    assert_eq!((ids(&inside["done"]).len(), ids(&inside["none"]).len()), (1, 0));
    assert!(
        nodes(&inside["warnings"]).iter().all(|event| ["WARN", "ERROR"].contains(&event["severity"].as_str().unwrap()))
    );
    assert_eq!(nodes(&inside["people"]).len(), 1);
    let audit =
        graph.data("{ audit(filter: {phases: [\"attempted\"]}) { edges { node { phase } } } }", json!({})).await;
    assert_eq!(nodes(&audit["audit"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clients_things_look_as_if_they_were_missing() {
    let graph = Graph::new().await;
    let command = graph.tour("a").await;
    let whole = graph.data(WHOLE, json!({"id": command})).await["command"].clone();
    let first = |list: &str| nodes(&whole[list])[0]["id"].as_str().unwrap().to_owned();
    let stranger = graph.token("other", &[Scope::Admin]).await;
    let ask = |query: String, variables: Value| {
        let (graph, stranger) = (&graph, &stranger);
        async move { graph.ask_as(stranger, &query, variables).await }
    };
    let theirs = [("command", command.clone()), ("action", first("actions")), ("gate", first("gates"))];
    for (field, id) in theirs.into_iter().chain([("artifact", first("artifacts")), ("node", command.clone())]) {
        let answer = ask(format!("query($id: ID!) {{ {field}(id: $id) {{ id }} }}"), json!({"id": id})).await;
        assert_eq!(answer, json!({"data": {field: null}}));
    }
    for list in ["commands", "actions", "gates", "events", "artifacts", "audit"] {
        let answer = ask(format!("{{ {list} {{ edges {{ cursor }} }} }}"), json!({})).await;
        assert_eq!(answer["data"][list]["edges"], json!([]), "{list}");
    }
    for (mutation, field, id) in [
        ("cancelCommand(id: $id) { commandId }", "cancelCommand", command.clone()),
        ("sendSignal(id: $id, name: \"go\") { signalId }", "sendSignal", command.clone()),
        ("decideGate(id: $id, decision: APPROVE) { gate { id } }", "decideGate", first("gates")),
    ] {
        for id in [id, NOBODY.to_owned()] {
            let answer = ask(format!("mutation($id: ID!) {{ {mutation} }}"), json!({"id": id})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "not_found", "{field}: {answer}");
        }
    }
    let everybody = graph.token("*", &[Scope::CommandsRead]).await;
    let seen =
        graph.ask_as(&everybody, "query($id: ID!) { command(id: $id) { clientId } }", json!({"id": command})).await;
    assert_eq!(seen["data"]["command"]["clientId"], "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_the_token_may_not_see_is_null_and_named() {
    let graph = Graph::new().await;
    let command = graph.tour("a").await;
    let reader = graph.token("acme", &[Scope::CommandsRead]).await;
    let query = "query($id: ID!) { command(id: $id) { status gates { edges { node { id } } }
        events { edges { cursor } } artifacts { edges { cursor } } audit { edges { cursor } } } }";
    let answer = graph.ask_as(&reader, query, json!({"id": command})).await;
    assert_eq!(answer["data"]["command"]["status"], "HUMAN_REQUIRED", "the rest stands");
    assert_eq!(nodes(&answer["data"]["command"]["gates"]).len(), 1);
    let mut missing: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["extensions"]["scope"].as_str().unwrap())
        .collect();
    missing.sort_unstable();
    assert_eq!(missing, ["artifacts:read", "audit:read", "events:read"]);
    for (field, scope) in [("commands", "commands:read"), ("events", "events:read"), ("audit", "audit:read")] {
        let nobody = graph.token("acme", &[Scope::MetricsRead]).await;
        let error = graph.refused_to(&nobody, &format!("{{ {field} {{ edges {{ cursor }} }} }}"), json!({})).await;
        let extensions = &error["extensions"];
        assert_eq!((&extensions["code"], &extensions["status"]), (&json!("scope_missing"), &json!(403)));
        assert_eq!(extensions["scope"], scope);
    }
}
