//! What a page costs does not grow with what is on it.

use fermata_api::graphql::GraphqlOptions;
use fermata_tests::{TestDb, eventually};
use serde_json::{Value, json};

use super::counter::Counter;
use super::harness::Graph;

/// As many commands as are on the larger page.
const COMMANDS: usize = 50;

const PAGE: &str = "query($first: Int!) {
  commands(first: $first, filter: {type: \"test.tour\"}) { edges { node {
    id
    steps(first: 2) { edges { node { key } } }
    actions(first: 1) { edges { node { id intent { id } } } }
    gates(first: 1) { edges { node { id } } }
    events(first: 1) { edges { node { id } } }
    artifacts(first: 1) { edges { node { id } } }
    children(first: 1) { edges { node { id } } }
  } } }
}";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_fifty_costs_no_statement_for_each_of_its_commands() {
    let mut db = TestDb::new().await;
    let counter = Counter::before(&db.url).await;
    db.url.clone_from(&counter.url);
    let graph = Graph::with(db, GraphqlOptions::default()).await;
    for n in 0..COMMANDS {
        graph.submit(json!({"type": "test.tour", "payload": {"key": n.to_string()}})).await;
    }
    let open = "select count(*) from fermata.gate where state = 'open'";
    let all = i64::try_from(COMMANDS).unwrap();
    eventually("every command waits", || async { (graph.db.count(open).await == all).then_some(()) }).await;
    let (one, first) = cost(&graph, &counter, 1).await;
    let (fifty, page) = cost(&graph, &counter, COMMANDS).await;
    assert_eq!((nodes(&first), nodes(&page)), (1, COMMANDS));
    for command in page["commands"]["edges"].as_array().unwrap() {
        for list in ["steps", "actions", "gates", "events", "artifacts", "children"] {
            assert!(!command["node"][list]["edges"].as_array().unwrap().is_empty(), "{list} in {command}");
        }
    }
    assert!(one > 0);
    // A loader may need a second batch on a busy machine; each command must not need one of its own.
    let more = usize::try_from(fifty.saturating_sub(one)).unwrap();
    assert!(more < COMMANDS, "{one} statements for 1 command, {fifty} for {COMMANDS}");
}

fn nodes(data: &Value) -> usize {
    data["commands"]["edges"].as_array().unwrap().len()
}

async fn cost(graph: &Graph, counter: &Counter, first: usize) -> (u64, Value) {
    let before = counter.statements();
    let data = graph.data(PAGE, json!({"first": first})).await;
    (counter.statements() - before, data)
}
