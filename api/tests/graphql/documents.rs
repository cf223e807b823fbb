//! Persisted documents.

use fermata_api::graphql::GraphqlOptions;
use fermata_graphql::persisted::{id_of, persisted};
use fermata_tests::TestDb;
use serde_json::{Value, json};

use super::harness::Graph;

/// Variables that a document needs.
fn variables(name: &str, command: &str, gate: &str) -> Value {
    match name {
        "command" | "cancel_command" => json!({"id": command}),
        "decide_gate" => json!({"id": gate, "decision": "APPROVE"}),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_persisted_document_executes() {
    let graph = Graph::new().await;
    let command = graph.tour("a").await;
    let gate = graph.gate_of(&command).await;
    let mut documents = persisted();
    // What ends the command comes last.
    documents.sort_by_key(|document| document.name == "cancel_command");
    documents.sort_by_key(|document| document.text.contains("mutation"));
    for document in documents {
        let ended = document.name == "cancel_command";
        let command = if ended { graph.tour("b").await } else { command.clone() };
        let body = json!({"documentId": document.id, "variables": variables(document.name, &command, &gate)});
        let answer: Value = graph.post(&graph.token, &body, "application/json").await.json().await.unwrap();
        assert_eq!(answer.get("errors"), None, "{}: {answer}", document.name);
        assert!(answer["data"].as_object().unwrap().values().all(|part| !part.is_null()), "{}", document.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_asked_for_by_its_hash() {
    let graph = Graph::new().await;
    let known = &persisted()[0];
    let apq = |hash: &str| json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
    let ask = |body: Value| {
        let graph = &graph;
        async move { graph.post(&graph.token, &body, "application/json").await.json::<Value>().await.unwrap() }
    };
    assert!(ask(json!({"extensions": apq(&known.id)})).await["data"].is_object());
    let unknown = ask(json!({"extensions": apq("00")})).await;
    assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(unknown["errors"][0]["extensions"]["code"], "persisted_query_not_found");
    let text = "{ __typename }";
    let again = ask(json!({"query": text, "extensions": apq(&id_of(text))})).await;
    assert_eq!(again["data"]["__typename"], "Query", "clients that send both are answered");
    let mismatch = ask(json!({"query": text, "extensions": apq(&known.id)})).await;
    assert_eq!(mismatch["errors"][0]["extensions"]["code"], "persisted_query_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_answer_nothing_else() {
    let options = GraphqlOptions { persisted_only: true, ..GraphqlOptions::default() };
    let graph = Graph::with(TestDb::new().await, options).await;
    for query in ["{ __typename }", "{ __schema { queryType { name } } }"] {
        assert_eq!(graph.refused(query, json!({})).await["extensions"]["code"], "persisted_query_only");
    }
    let known = persisted().remove(0);
    graph.data(known.text, json!({})).await;
    let by_id = graph.post(&graph.token, &json!({"documentId": known.id}), "application/json").await;
    assert!(by_id.json::<Value>().await.unwrap()["data"].is_object());
}
