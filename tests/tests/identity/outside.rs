//! The same through the program: a flow of the demo pack against the demo site, whose `/api/me` can tell of somebody else.

use fermata_tests::Dev;
use serde_json::json;

fn post(reference: &str) -> serde_json::Value {
    json!({"caption": "hello", "reference": reference})
}

/// T:wrong_account (S-007, S-032).
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_posts_as_the_account_that_was_connected_and_as_nobody_else() {
    let mut dev = Dev::start().await;
    let free = dev.flow("demo.http_publish", post("free")).await;
    let ended = dev.reaches(&free, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "an account that nobody has connected works: {ended}");
    let client = ended["client_id"].as_str().unwrap();

    let me = dev.me("ada").await;
    let path = format!("/v1/platform-accounts/demo/ada?client_id={client}");
    let (status, account) = dev.put(&path, &json!({"fingerprint": me})).await;
    assert_eq!((status, &account["fingerprint"]), (200, &me), "{account}");
    let right = dev.flow("demo.http_publish", post("right")).await;
    assert_eq!(dev.reaches(&right, &["SUCCEEDED", "FAILED"]).await["status"], "SUCCEEDED");

    dev.mode(json!({"me": {"account": "bob"}})).await;
    let wrong = dev.flow("demo.http_publish", post("wrong")).await;
    let ended = dev.reaches(&wrong, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("identity_mismatch")));
    assert_eq!([dev.applied("free").await, dev.applied("right").await, dev.applied("wrong").await], [1, 1, 0]);

    for (command, phase, ok) in [(&right, "attempted", true), (&wrong, "blocked", false)] {
        let rows = dev.get(&format!("/v1/audit?command_id={command}&phase={phase}")).await;
        assert_eq!(rows["items"][0]["identity_fingerprint_ok"], json!(ok), "{rows}");
    }
    let actions = dev.get(&format!("/v1/commands/{right}/actions")).await;
    assert_eq!(actions["items"][0]["identity_fingerprint_ok"], true, "{actions}");
    let account = dev.get(&path).await;
    assert_eq!((&account["mode"], &account["reason"]), (&json!("read_only"), &json!("identity_mismatch")));
    assert_eq!(dev.stop().await, Some(0));
}
