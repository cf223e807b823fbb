//! What the video studio makes, for whom, and when.

use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::running::Running;

const FOR_EVER_MS: u64 = 4_102_444_800_000;

async fn download(site: &Running, draft: &str, cookie: &str) -> Response {
    let get = site.http.get(site.address(&format!("/studio/drafts/{draft}/video")));
    get.header("cookie", cookie).send().await.unwrap()
}

/// Submits a prompt as @ada; answers the draft's id.
async fn submitted(site: &Running, form: &str) -> String {
    let sent = site.submit("/studio", form).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let (_, page) = site.page(sent.headers()["location"].to_str().unwrap()).await;
    assert!(page.contains(r#"role="status">Your prompt is submitted"#), "{page}");
    site.ledger().await.last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_draft_that_is_not_ready_says_so_and_has_no_video() {
    let site = Running::start();
    site.mode(json!({ "render_ms": FOR_EVER_MS })).await;

    let draft = submitted(&site, "prompt=a+fox+%26+a+crow&reference=v-1").await;

    let (_, page) = site.page("/studio").await;
    assert!(page.contains(r#"data-state="generating" data-reference="v-1""#), "{page}");
    assert!(page.contains("a fox &amp; a crow") && !page.contains(">Download<"));
    assert_eq!(download(&site, &draft, &site.cookie().await).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_draft_becomes_ready_by_itself() {
    let site = Running::start();

    let draft = submitted(&site, "prompt=soon").await;

    while site.page("/studio").await.1.contains("generating") {}
    let (_, page) = site.page("/studio").await;
    assert!(page.contains(&format!(r#"href="/studio/drafts/{draft}/video" download"#)), "{page}");
}

#[tokio::test]
async fn a_ready_video_is_an_mp4_and_the_same_one_after_a_restart() {
    let mut site = Running::start();
    site.mode(json!({ "render_ms": 0 })).await;
    let draft = submitted(&site, "prompt=a+fox").await;
    let cookie = site.cookie().await;

    let first = download(&site, &draft, &cookie).await;

    assert_eq!((first.status(), &first.headers()["content-type"]), (StatusCode::OK, &"video/mp4".parse().unwrap()));
    let first = first.bytes().await.unwrap();
    assert_eq!(&first[4..8], b"ftyp");
    site.restart();
    assert_eq!(download(&site, &draft, &cookie).await.bytes().await.unwrap(), first);
}

#[tokio::test]
async fn only_its_owner_sees_a_draft_and_has_its_video() {
    let site = Running::start();
    site.mode(json!({ "render_ms": 0 })).await;
    let draft = submitted(&site, "prompt=mine+alone").await;
    let bob = format!("pico_session={}", site.token("bob").await);

    let studio = site.http.get(site.address("/studio")).header("cookie", &bob).send().await.unwrap();

    assert!(!studio.text().await.unwrap().contains("mine alone"));
    assert_eq!(download(&site, &draft, &bob).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(download(&site, &draft, "").await.status(), StatusCode::SEE_OTHER);
    assert!(!site.page("/u/ada").await.1.contains("mine alone"));
}

#[tokio::test]
async fn a_prompt_is_a_line_of_the_ledger_and_misbehaves_like_any_effect() {
    let site = Running::start();
    site.mode(json!({ "fail": "after", "times": 1, "hide_ms": FOR_EVER_MS, "only": ["video"] })).await;

    let lied = site.submit("/studio", "prompt=unseen&reference=v-1").await;

    assert_eq!(lied.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ledger = site.ledger().await;
    assert_eq!((ledger.len(), &ledger[0]["kind"], &ledger[0]["lane"]), (1, &json!("video"), &json!("html")));
    assert_eq!((&ledger[0]["key"], &ledger[0]["reference"]), (&json!("v-1"), &json!("v-1")));
    assert!(!site.page("/studio").await.1.contains("unseen"));
    let draft = ledger[0]["id"].as_str().unwrap();
    assert_eq!(download(&site, draft, &site.cookie().await).await.status(), StatusCode::NOT_FOUND);
}
