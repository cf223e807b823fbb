//! Every bound of a request, and who may ask about the schema.

use std::fmt::Write as _;

use fermata_engine::access::Scope;
use fermata_graphql::limit::{
    MAX_ALIASES, MAX_COMPLEXITY, MAX_DEPTH, MAX_DIRECTIVES, MAX_DOCUMENT_BYTES, MAX_FIELDS, MAX_NESTING,
    MAX_ROOT_FIELDS, MAX_VARIABLES_BYTES,
};
use serde_json::json;

use super::harness::Graph;

async fn code(graph: &Graph, query: &str) -> String {
    let error = graph.refused(query, json!({})).await;
    assert_eq!(error["extensions"]["status"], 400, "{error}");
    assert_eq!(error.get("path"), None, "nothing was executed");
    error["extensions"]["code"].as_str().unwrap().to_owned()
}

/// `{ commands { edges { node { parent { parent { … id } } } } } }`, so many levels deep.
fn deep(levels: usize) -> String {
    let parents = levels - 4;
    format!(
        "{{ commands(first: 1) {{ edges {{ node {{ {}id{} }} }} }} }}",
        "parent { ".repeat(parents),
        " }".repeat(parents)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_may_be_so_deep_and_no_deeper() {
    let graph = Graph::new().await;
    graph.data(&deep(MAX_DEPTH), json!({})).await;
    assert_eq!(code(&graph, &deep(MAX_DEPTH + 1)).await, "graphql_too_deep");
    let nested = format!("{{ commands(filter: {{type: {} }}) }}", "[".repeat(MAX_NESTING));
    assert_eq!(code(&graph, &nested).await, "graphql_too_deep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_weighs_its_children_as_often_as_it_may_have_them() {
    let graph = Graph::new().await;
    // One for the list, and as many fields as fit below it.
    let fits = (MAX_COMPLEXITY - 1) / 100;
    let query = |fields: usize| {
        let aliased: String = (0..fields).fold(String::new(), |mut all, n| {
            write!(all, "f{n}: type ").unwrap();
            all
        });
        format!("{{ commands(first: 100) {{ edges {{ node {{ {aliased} }} }} }} }}")
    };
    graph.data(&query(fits), json!({})).await;
    assert_eq!(code(&graph, &query(fits + 1)).await, "graphql_too_complex");
    let by_variable = "query($first: Int!) { commands(first: $first) { edges { node {
        steps(first: $first) { edges { node { key } } } } } } }";
    graph.data(by_variable, json!({"first": 20})).await;
    let heavy = graph.refused(by_variable, json!({"first": 200})).await;
    assert_eq!(heavy["extensions"]["code"], "graphql_too_complex");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_have_so_many_of_everything_and_no_more() {
    let graph = Graph::new().await;
    let fields = |one: &str, n: usize| format!("{{ {} }}", one.repeat(n));
    graph.data(&fields("__typename ", MAX_ROOT_FIELDS), json!({})).await;
    assert_eq!(code(&graph, &fields("__typename ", MAX_ROOT_FIELDS + 1)).await, "graphql_too_many_root_fields");
    let inside = |one: &str, n: usize| format!("{{ commands {{ edges {{ node {} }} }} }}", fields(one, n));
    assert_eq!(code(&graph, &inside("a: id ", MAX_ALIASES + 1)).await, "graphql_too_many_aliases");
    assert_eq!(code(&graph, &inside("id @skip(if: true) ", MAX_DIRECTIVES + 1)).await, "graphql_too_many_directives");
    assert_eq!(code(&graph, "{ __typename @a @a @a @a @a }").await, "graphql_too_many_directives");
    assert_eq!(code(&graph, &inside("id ", MAX_FIELDS)).await, "graphql_too_many_fields");
    let long = format!("{{ __typename }}{}", " ".repeat(MAX_DOCUMENT_BYTES));
    assert_eq!(code(&graph, &long).await, "graphql_document_too_large");
    let large = "x".repeat(MAX_VARIABLES_BYTES);
    let refused = graph.refused("{ __typename }", json!({"large": large})).await;
    assert_eq!(refused["extensions"]["code"], "graphql_variables_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_means_a_huge_one_is_refused_at_once() {
    let graph = Graph::new().await;
    let mut bomb = "{ commands(first: 1) { edges { node { ...F0 } } } } ".to_owned();
    for n in 0..100 {
        write!(bomb, "fragment F{n} on Command {{ ...F{m} ...F{m} }} ", m = n + 1).unwrap();
    }
    bomb.push_str("fragment F100 on Command { id }");
    assert_eq!(code(&graph, &bomb).await, "graphql_too_many_fields");
    let circle = "{ commands { edges { node { ...A } } } } fragment A on Command { ...B ...B } fragment B on Command { ...A ...A }";
    assert_eq!(code(&graph, circle).await, "graphql_validation");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_parse_or_fit_the_schema_is_a_bad_request() {
    let graph = Graph::new().await;
    for (query, wanted) in [
        ("", "graphql_syntax"),
        ("{", "graphql_syntax"),
        ("{ commands(first: ) }", "graphql_syntax"),
        ("nonsense", "graphql_syntax"),
        ("\u{feff}{ __typename", "graphql_syntax"),
        ("{ commands(after: \"\\u0000\") { edges { cursor } } }", "nul"),
        ("{ nothing }", "graphql_validation"),
        ("{ commands }", "graphql_validation"),
        ("{ commands { edges { node { id { x } } } } }", "graphql_validation"),
        ("{ commands(first: \"ten\") { edges { cursor } } }", "graphql_validation"),
        ("{ commands(filter: {statuses: [SHELVED]}) { edges { cursor } } }", "graphql_validation"),
        ("query($id: ID!) { command(id: $id) { id } }", "validation"),
        ("query A { __typename } query B { __typename }", "graphql_validation"),
        ("{ ...F }", "graphql_validation"),
        ("subscription { events { id } }", "graphql_validation"),
    ] {
        assert_eq!(code(&graph, query).await, wanted, "{query}");
    }
    for (variables, query) in [
        (json!({"first": "ten"}), "query($first: Int) { commands(first: $first) { edges { cursor } } }"),
        (json!({"first": 1.5}), "query($first: Int) { commands(first: $first) { edges { cursor } } }"),
        (
            json!({"filter": {"color": "red"}}),
            "query($filter: CommandFilter!) { commands(filter: $filter) { edges { cursor } } }",
        ),
        (
            json!({"filter": {"since": "yesterday"}}),
            "query($filter: CommandFilter!) { commands(filter: $filter) { edges { cursor } } }",
        ),
        (
            json!({"filter": {"accountId": "a\u{0}"}}),
            "query($filter: CommandFilter!) { commands(filter: $filter) { edges { cursor } } }",
        ),
        (json!({"id": null}), "query($id: ID!) { command(id: $id) { id } }"),
    ] {
        let refused = graph.refused(query, variables.clone()).await;
        assert_eq!(refused["extensions"]["status"], 400, "{variables}: {refused}");
    }
    for (argument, pointer) in [("first: 0", "/first"), ("first: 201", "/first"), ("after: \"x\"", "/after")] {
        let refused = graph.refused(&format!("{{ commands({argument}) {{ edges {{ cursor }} }} }}"), json!({})).await;
        assert_eq!(refused["extensions"]["errors"][0]["pointer"], pointer);
    }
    let cursor = graph.refused("{ events(after: \"x\") { edges { cursor } } }", json!({})).await;
    assert_eq!(cursor["extensions"]["code"], "cursor_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_asks_about_the_schema() {
    let graph = Graph::new().await;
    let whole = include_str!("introspection.graphql");
    let reader = graph.token("acme", &[Scope::CommandsRead]).await;
    for query in [
        whole,
        "{ __type(name: \"Command\") { name } }",
        "{ ...F } fragment F on Query { __schema { queryType { name } } }",
    ] {
        let refused = graph.refused_to(&reader, query, json!({})).await;
        let extensions = &refused["extensions"];
        assert_eq!(
            (&extensions["code"], &extensions["scope"]),
            (&json!("scope_missing"), &json!("graphql:introspect"))
        );
    }
    let name = graph.ask_as(&reader, "{ __typename }", json!({})).await;
    assert_eq!(name["data"]["__typename"], "Query");
    let curious = graph.token("acme", &[Scope::GraphqlIntrospect]).await;
    let schema = graph.ask_as(&curious, whole, json!({})).await;
    let types = schema["data"]["__schema"]["types"].as_array().unwrap_or_else(|| panic!("{schema}"));
    let ours = |name: &str| !name.starts_with("__") && !["ID", "String", "Int", "Float", "Boolean"].contains(&name);
    for kind in types.iter().filter(|kind| ours(kind["name"].as_str().unwrap())) {
        let root = ["Query", "Mutation", "Subscription"].contains(&kind["name"].as_str().unwrap());
        assert!(root || kind["description"].is_string(), "{} has a description", kind["name"]);
        for members in ["fields", "inputFields", "enumValues"] {
            for member in kind[members].as_array().into_iter().flatten() {
                assert!(member["description"].is_string(), "{}.{} has a description", kind["name"], member["name"]);
                for argument in member["args"].as_array().into_iter().flatten() {
                    assert!(
                        argument["description"].is_string(),
                        "{}.{}({})",
                        kind["name"],
                        member["name"],
                        argument["name"]
                    );
                }
            }
        }
    }
    assert!(types.iter().any(|kind| kind["name"] == "AuditEntryConnection"));
}
