//! Videos from the studio (G-039), on real processes, a real Postgres and a real Chromium.

use fermata_tests::Dev;
use serde_json::{Value, json};

/// The end of a command, as GET shows it.
async fn end_of(dev: &Dev, command: &str) -> Value {
    let ended = dev.reaches(command, &["SUCCEEDED", "FAILED", "CANCELLED", "HUMAN_REQUIRED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_generation_says_where_its_video_is_and_there_is_what_the_studio_serves() {
    let mut dev = Dev::start().await;

    let prompt = json!({"prompt": "A fox in the snow\nat dawn 🦊", "poll": {"interval_s": 1}});
    let command = dev.submit("sora.generate", prompt).await;
    let result = end_of(&dev, &command).await["result"].clone();

    let path = std::path::Path::new(result["video_path"].as_str().unwrap());
    assert!(path.is_relative(), "{result}");
    let draft = result["draft_id"].as_str().unwrap();
    let (kind, served) = dev.site_file("ada", &format!("/studio/drafts/{draft}/video")).await;
    assert_eq!(kind, "video/mp4");
    assert_eq!(std::fs::read(dev.artifacts().join(path)).unwrap(), served);
    let video = result["video"]["id"].as_str().unwrap();
    assert_eq!(dev.content(&format!("/v1/artifacts/{video}/content")).await, (kind, served));
    assert_eq!(result["reference"], command.as_str());
    assert_eq!(dev.applied(&command).await, 1);
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_takes_long_is_looked_at_again_and_its_run_is_put_away_meanwhile() {
    let mut dev = Dev::start().await;
    dev.mode(json!({"render_ms": 6_000})).await;

    let wish = json!({"prompt": "A slow fox", "poll": {"interval_s": 2}, "download": false});
    let command = dev.submit("sora.generate", wish).await;
    let waits = dev.reaches(&command, &["WAITING", "SUCCEEDED", "FAILED"]).await;
    assert_eq!((&waits["status"], &waits["node"]), (&json!("WAITING"), &Value::Null), "{waits}");
    let result = end_of(&dev, &command).await["result"].clone();

    assert_eq!((&result["video_path"], result["draft_id"].is_string()), (&Value::Null, true), "{result}");
    let steps = dev.get(&format!("/v1/commands/{command}/steps")).await;
    let keys = steps["items"].as_array().unwrap().iter().filter_map(|step| step["key"].as_str());
    assert!(keys.filter(|key| key.starts_with("ready[")).count() > 1, "{steps}");
    assert_eq!(dev.applied(&command).await, 1);
    assert_eq!(dev.stop().await, Some(0));
}
