//! GraphQL over HTTP: ways in, media types, statuses.

use fermata_api::graphql::GraphqlOptions;
use fermata_tests::TestDb;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::harness::Graph;

const GRAPHQL: &str = "application/graphql-response+json";

async fn told(answer: Response) -> (u16, String, Value) {
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    (answer.status().as_u16(), kind, answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_the_media_type_promises() {
    let graph = Graph::new().await;
    let good = json!({"query": "{ __typename }"});
    let partly = json!({"query": "query { commands(first: 0) { edges { cursor } } }"});
    for (body, json_status, graphql_status) in [
        (good, 200, 200),
        (json!({"query": "{"}), 200, 400),
        (json!({"query": "{ nothing }"}), 200, 400),
        (json!({"query": "query($id: ID!) { command(id: $id) { id } }", "variables": {"id": 5.5}}), 200, 400),
        (json!({"query": "query($id: ID!) { command(id: $id) { id } }"}), 200, 400),
        (partly, 200, 200),
        (json!({"documentId": "00"}), 200, 400),
        (json!({}), 400, 400),
        (json!({"query": 1}), 400, 400),
        (json!([{"query": "{ __typename }"}]), 400, 400),
        (json!({"query": "{ __typename }", "variables": []}), 400, 400),
    ] {
        for (accept, media, status) in [
            ("application/json", "application/json", json_status),
            ("*/*", "application/json", json_status),
            (GRAPHQL, GRAPHQL, graphql_status),
        ] {
            let (got, kind, answer) = told(graph.post(&graph.token, &body, accept).await).await;
            assert_eq!((got, kind.as_str()), (status, media), "{body}: {answer}");
            assert!(answer.get("data").is_some() || answer["errors"].is_array());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_asks_and_changes_nothing() {
    let graph = Graph::new().await;
    let get = |parameters: &[(&'static str, &'static str)]| {
        let url = reqwest::Url::parse_with_params(&graph.url(), parameters).unwrap();
        graph.http.get(url).bearer_auth(&graph.token).header("accept", GRAPHQL).send()
    };
    let (status, _, answer) = told(
        get(&[
            ("query", "query A { __typename } query B($n: Int) { commands(first: $n) { edges { cursor } } }"),
            ("operationName", "B"),
            ("variables", "{\"n\": 1}"),
        ])
        .await
        .unwrap(),
    )
    .await;
    assert_eq!((status, answer), (200, json!({"data": {"commands": {"edges": []}}})));
    let mutation =
        "mutation M { submitCommand(input: {type: \"test.echo\", payload: {}}) { commandId } } query Q { __typename }";
    let refused = get(&[("query", mutation), ("operationName", "M")]).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"POST".parse().unwrap()));
    assert_eq!(told(get(&[("query", mutation), ("operationName", "Q")]).await.unwrap()).await.0, 200);
    assert_eq!(told(get(&[("variables", "{")]).await.unwrap()).await.0, 400);
    assert_eq!(told(get(&[]).await.unwrap()).await.0, 400);
    assert_eq!(graph.db.count("select count(*) from fermata.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_from_somebody_known_is_read() {
    let graph = Graph::new().await;
    let send = |method: Method, kind: Option<&'static str>, body: String, known: bool| {
        let mut request = graph.http.request(method, graph.url()).body(body);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        if known {
            request = request.bearer_auth(&graph.token);
        }
        request.send()
    };
    let body = json!({"query": "{ __typename }"}).to_string();
    for kind in [Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data"), None] {
        let (status, media, _) = told(send(Method::POST, kind, body.clone(), true).await.unwrap()).await;
        assert_eq!((status, media.as_str()), (415, "application/problem+json"), "{kind:?}");
    }
    let json = Some("application/json");
    assert_eq!(send(Method::POST, json, body.clone(), true).await.unwrap().status(), 200);
    assert_eq!(send(Method::POST, json, body.clone(), false).await.unwrap().status(), 401);
    assert_eq!(send(Method::PUT, json, body.clone(), true).await.unwrap().status(), 405);
    for bad in ["", "{", "nul", "\u{feff}{}"] {
        let (status, _, answer) = told(send(Method::POST, json, bad.to_owned(), true).await.unwrap()).await;
        assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (400, &json!("graphql_request")), "{bad}");
    }
    let too_large = send(Method::POST, json, "x".repeat((2 << 20) + 1), true).await.unwrap();
    assert_eq!(too_large.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_its_request() {
    let graph = Graph::new().await;
    let body = json!({"query": "{ commands(first: 0) { edges { cursor } } }"});
    let request = graph.http.post(graph.url()).bearer_auth(&graph.token).header("x-request-id", "mine-1");
    let answer: Value = request.json(&body).send().await.unwrap().json().await.unwrap();
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!((&extensions["requestId"], &extensions["status"]), (&json!("mine-1"), &json!(400)));
    assert_eq!((&extensions["code"], &extensions["type"]), (&json!("validation"), &json!("/problems/validation")));
    assert_eq!(answer["errors"][0]["path"], json!(["commands"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn graphiql_is_served_where_it_is_wanted_and_loads_nothing_from_elsewhere() {
    let graph = Graph::new().await;
    let page = |graph: &Graph, path: &str| graph.http.get(format!("http://{}{path}", graph.address)).send();
    assert_eq!(page(&graph, "/graphiql").await.unwrap().status(), 404);
    let options = GraphqlOptions { graphiql: true, ..GraphqlOptions::default() };
    let graph = Graph::with(TestDb::new().await, options).await;
    let index = page(&graph, "/graphiql").await.unwrap();
    let policy = index.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe-eval") && !policy.contains("http"), "{policy}");
    let html = index.text().await.unwrap();
    let loads = html.split(['"', '\'']).filter(|text| text.starts_with("/graphiql/"));
    let mut loaded = 0;
    for path in loads {
        assert_eq!(page(&graph, path).await.unwrap().status(), 200, "{path}");
        loaded += 1;
    }
    assert!(loaded >= 6 && !html.contains("//"), "{html}");
}
