//! Workflows as the API tells of them (G-002).

use serde_json::Value;

use super::commands::front;
use super::validator;

const PHASES: [&str; 5] = ["extract", "decide", "act", "verify", "persist"];

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_every_installed_flow_has_one_of_the_five_phases() {
    let (_, api) = front().await;
    let list = api.get("/v1/workflows").await;
    let flows = list["items"].as_array().unwrap().iter().filter(|it| it["kind"] == "flow");
    let mut names = Vec::new();
    for flow in flows {
        let whole = api.get(flow["links"]["self"].as_str().unwrap()).await;
        let steps = whole["steps"].as_array().unwrap();
        assert!(!steps.is_empty(), "{flow}");
        for step in steps {
            assert!(PHASES.iter().any(|phase| step["phase"] == *phase), "{}: {step}", flow["name"]);
            assert!(step["id"].is_string() && step["kind"].is_string(), "{}: {step}", flow["name"]);
        }
        names.push(flow["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["demo.dm", "demo.http_publish", "demo.publish", "sora.generate_video"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_workflow_says_what_it_takes_and_what_starts_it() {
    let (_, api) = front().await;
    let list = api.get("/v1/workflows").await;
    for workflow in list["items"].as_array().unwrap() {
        let inputs = api.get(workflow["links"]["inputs"].as_str().unwrap()).await;
        let whole = api.get(workflow["links"]["self"].as_str().unwrap()).await;
        assert_eq!(whole["inputs"], inputs, "{workflow}");
        assert!(!validator(&inputs).is_valid(&Value::from(1)), "{workflow}");
        let kind = workflow["command_type"].as_str().unwrap();
        assert!(api.get(&format!("/v1/schemas/command/{kind}")).await.is_object());
        for word in ["name", "version", "title", "description"] {
            assert!(workflow[word].is_string(), "{word} of {workflow}");
        }
    }
    let publish = api.get("/v1/workflows/demo.http_publish/inputs").await;
    assert!(validator(&publish).is_valid(&serde_json::json!({"caption": "Hello"})));
    assert!(!validator(&publish).is_valid(&serde_json::json!({"caption": ""})));
}
