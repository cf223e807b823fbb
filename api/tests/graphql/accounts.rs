//! Policies and accounts: the same things as over REST, to the same callers.

use fermata_engine::access::{Principal, Scope};
use fermata_engine::effect::{AccountMode, AccountName, AccountSettings, Fingerprint};
use fermata_engine::policy::PolicyDocument;
use serde_json::{Value, json};

use super::harness::Graph;

async fn put(graph: &Graph, scope: &str, document: Value) {
    let document: PolicyDocument = serde_json::from_value(document).unwrap();
    graph.engine.put_policy(&Principal::operator(), &scope.parse().unwrap(), &document, None).await.unwrap();
}

fn named(client: &str, account: &str) -> AccountName {
    AccountName { client: Some(client.into()), platform: "demo".into(), account: account.into() }
}

async fn turn(graph: &Graph, client: &str, account: &str, mode: AccountMode) {
    graph.engine.turn_account(&Principal::operator(), &named(client, account), mode, "a test").await.unwrap();
}

async fn over_rest(graph: &Graph, path: &str) -> Value {
    let request = graph.http.get(format!("http://{}{path}", graph.address)).bearer_auth(&graph.token);
    request.send().await.unwrap().json().await.unwrap()
}

/// A document in the schema's words as REST has it.
fn as_rest(mut node: Value, mode: bool) -> Value {
    let snake = |name: &str| {
        let part =
            |c: char| if c.is_ascii_uppercase() { format!("_{}", c.to_ascii_lowercase()) } else { c.to_string() };
        name.chars().map(part).collect::<String>()
    };
    let fields = std::mem::take(node.as_object_mut().unwrap());
    let mut shown: serde_json::Map<String, Value> = fields.into_iter().map(|(name, it)| (snake(&name), it)).collect();
    if mode {
        shown["mode"] = json!(shown["mode"].as_str().unwrap().to_ascii_lowercase());
    }
    Value::Object(shown)
}

const POLICY: &str = "scope version clientId platform accountId document actor changedAt";
const ACCOUNT: &str =
    "clientId platform accountId mode reason actor changedAt freeAt allowance connectedAt connectedBy";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_what_rest_says_of_it_in_each_of_its_versions() {
    let graph = Graph::new().await;
    for document in [json!({"autonomy": "manual"}), json!({"identity": "required"})] {
        put(&graph, "account:acme/main", document).await;
    }
    for (version, query) in [(Value::Null, ""), (json!(1), "?version=1")] {
        let asked = format!("query($v: Int) {{ policy(scope: \"account:acme/main\", version: $v) {{ {POLICY} }} }}");
        let shown = graph.data(&asked, json!({"v": version})).await["policy"].take();
        assert_eq!(as_rest(shown, false), over_rest(&graph, &format!("/v1/policies/account:acme%2Fmain{query}")).await);
    }
    let missing = graph.data("{ policy(scope: \"client:acme\") { version } }", json!({})).await;
    assert_eq!(missing["policy"], Value::Null);
    let error = graph.refused("{ policy(scope: \"everybody\") { version } }", json!({})).await;
    assert_eq!(error["extensions"]["errors"][0]["pointer"], "/scope", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_what_rest_says_of_it_with_its_fingerprint() {
    let graph = Graph::new().await;
    let ids = [("page_id".to_owned(), "9".to_owned())].into();
    let told = Fingerprint { id: "7".into(), handle: Some("ada".into()), display_name: None, ids };
    graph.engine.connect_account(&Principal::operator(), &named("acme", "main"), &told).await.unwrap();
    turn(&graph, "acme", "main", AccountMode::ReadOnly).await;
    let posts = AccountSettings {
        default_tags: vec!["news".into()],
        rate_limit_window_s: Some(60),
        ..AccountSettings::default()
    };
    graph.engine.configure_account(&Principal::operator(), &named("acme", "main"), &posts).await.unwrap();
    let asked = format!(
        "query($id: String!) {{ platformAccount(platform: \"demo\", accountId: $id) {{ {ACCOUNT}
           fingerprint {{ id handle displayName ids }}
           settings {{ credentialRef defaultCaption defaultTags privacy rateLimitWindowS }} }} }}"
    );
    let mut shown = graph.data(&asked, json!({"id": "main"})).await["platformAccount"].take();
    let fingerprint = shown["fingerprint"].take();
    assert_eq!(fingerprint, json!({"id": "7", "handle": "ada", "displayName": null, "ids": {"page_id": "9"}}));
    let settings = as_rest(shown["settings"].take(), false);
    let mut rest = over_rest(&graph, "/v1/platform-accounts/demo/main").await;
    assert_eq!((rest["fingerprint"].take(), rest["settings"].take()), (json!(told), settings.clone()));
    assert_eq!(settings, json!(posts));
    assert_eq!(as_rest(shown, true), rest);
    assert_eq!(graph.data(&asked, json!({"id": "nobody"})).await["platformAccount"], Value::Null);
}

/// What a field shows on each of its pages of two, by one of its items' fields.
async fn walked(graph: &Graph, field: &str, name: &str) -> Vec<Vec<String>> {
    let asked = format!(
        "query($after: String) {{ list: {field}(first: 2, after: $after) {{
           edges {{ node {{ {name} }} }} pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }}"
    );
    let (mut after, mut pages) = (Value::Null, Vec::new());
    loop {
        let list = graph.data(&asked, json!({"after": after})).await["list"].take();
        assert_eq!(list["pageInfo"]["hasPreviousPage"], json!(!pages.is_empty()));
        let edges = list["edges"].as_array().unwrap();
        pages.push(edges.iter().map(|edge| edge["node"][name].as_str().unwrap().to_owned()).collect());
        if list["pageInfo"]["hasNextPage"] == json!(false) {
            return pages;
        }
        after = list["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_accounts_are_walked_to_their_end_and_those_of_others_are_not_there() {
    let graph = Graph::new().await;
    for scope in ["client:acme", "global", "platform:demo", "client:other"] {
        put(&graph, scope, json!({})).await;
    }
    assert_eq!(walked(&graph, "policies", "scope").await, [vec!["client:acme", "global"], vec!["platform:demo"]]);
    turn(&graph, "other", "x", AccountMode::Disabled).await;
    for account in ["a", "b", "c"] {
        turn(&graph, "acme", account, AccountMode::Disabled).await;
    }
    turn(&graph, "acme", "a", AccountMode::Normal).await;
    assert_eq!(walked(&graph, "platformAccounts", "accountId").await, [vec!["b", "c"], vec!["a"]], "trouble first");
    let asked = "query($filter: AccountFilter!) { platformAccounts(filter: $filter) { edges { node { accountId } } } }";
    for (filter, found) in [
        (json!({"mode": "NORMAL"}), json!(["a"])),
        (json!({"platform": "demo", "mode": "DISABLED"}), json!(["b", "c"])),
        (json!({"platform": "other"}), json!([])),
        (json!({"clientId": "other"}), json!([])),
    ] {
        let list = graph.data(asked, json!({"filter": filter})).await["platformAccounts"].take();
        let shown: Vec<_> =
            list["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["accountId"].clone()).collect();
        assert_eq!(json!(shown), found, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_policies_and_accounts_over_rest_may_not_here_and_lists_weigh_what_they_may_hold() {
    let graph = Graph::new().await;
    let (reader, nobody) =
        (graph.token("acme", &[Scope::CommandsRead]).await, graph.token("acme", &[Scope::MetricsRead]).await);
    for field in [
        "policies { edges { cursor } }",
        "policy(scope: \"global\") { version }",
        "platformAccounts { edges { cursor } }",
        "platformAccount(platform: \"demo\", accountId: \"a\") { mode }",
    ] {
        let error = graph.refused_to(&nobody, &format!("{{ {field} }}"), json!({})).await;
        assert_eq!(error["extensions"]["code"], "scope_missing", "{field}: {error}");
        let answer = graph.ask_as(&reader, &format!("{{ {field} }}"), json!({})).await;
        assert_eq!(answer.get("errors"), None, "{field}: {answer}");
    }
    let everybody = graph.token("*", &[Scope::CommandsRead]).await;
    let one = "{ platformAccount(platform: \"demo\", accountId: \"a\") { mode } }";
    assert_eq!(graph.refused_to(&everybody, one, json!({})).await["extensions"]["status"], 400);
    let heavy = "{ policies(first: 200) { edges { node { scope version actor changedAt document } } } }";
    assert_eq!(graph.refused(heavy, json!({})).await["extensions"]["code"], "graphql_too_complex");
}
