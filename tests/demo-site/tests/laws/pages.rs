//! What a person with a browser sees and does.

use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::running::Running;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and the rest of a picture";

async fn publish(site: &Running, caption: &str) -> Response {
    let media = Part::bytes(PNG).file_name("picture.png");
    let form = Form::new().part("media", media).text("caption", caption.to_owned()).text("reference", "r-1");
    let post = site.http.post(site.address("/compose")).multipart(form);
    let post = post.header("cookie", site.cookie().await);
    post.send().await.unwrap()
}

fn location(response: &Response) -> &str {
    response.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn a_page_without_a_session_leads_to_the_login() {
    let site = Running::start();

    let refused = site.http.get(site.address("/u/ada?tab=1"));
    let refused = refused.send().await.unwrap();

    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&refused), "/login?next=/u/ada%3Ftab%3D1");
}

#[tokio::test]
async fn a_published_post_with_media_is_live_on_its_page_and_the_profile() {
    let site = Running::start();

    let published = publish(&site, "A day\r\nout").await;

    assert_eq!(published.status(), StatusCode::SEE_OTHER);
    let (_, page) = site.page(location(&published)).await;
    assert!(page.contains(r#"role="status">Your post is live"#), "{page}");
    assert!(page.contains(r#"aria-label="Account" data-handle="ada""#));
    let (_, profile) = site.page("/u/ada").await;
    assert!(profile.contains("<p class=\"caption\">A day\nout</p>"));
    assert!(profile.contains(r#" data-reference="r-1">"#));
    let media = profile.split("src=\"").nth(1).unwrap();
    let media = site.http.get(media.split('"').next().unwrap());
    let media = media.send().await.unwrap();
    assert_eq!(media.headers()["content-type"], "image/png");
    assert_eq!(media.bytes().await.unwrap(), PNG);
}

#[tokio::test]
async fn the_same_form_sent_twice_applies_twice() {
    let site = Running::start();

    publish(&site, "twice").await;
    publish(&site, "twice").await;

    let named = site.get("/_ledger?key=r-1").await;
    assert_eq!((&named[0]["lane"], &named[1]["lane"]), (&json!("html"), &json!("html")));
    assert_eq!(named[0]["content_hash"], named[1]["content_hash"]);
}

#[tokio::test]
async fn both_lanes_give_the_same_content_the_same_hash() {
    let site = Running::start();

    publish(&site, "same").await;
    let post = json!({ "caption": "same", "media_base64": base64_of(PNG) });
    site.api("/api/posts", &post).await.send().await.unwrap();

    let ledger = site.ledger().await;
    assert_eq!(ledger[0]["content_hash"], ledger[1]["content_hash"]);
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn replies_likes_and_messages_come_back_to_a_page_that_shows_them() {
    let site = Running::start();
    let post = publish(&site, "talk to me").await;
    let post = location(&post).split('?').next().unwrap().to_owned();

    let replied = site.submit(&format!("{post}/comments"), "text=well+said").await;
    assert!(site.page(location(&replied)).await.1.contains("<p>well said</p>"));
    let liked = site.submit(&format!("{post}/likes"), "").await;
    assert!(site.page(location(&liked)).await.1.contains("1 like<"));
    let sent = site.submit("/messages/bob", "text=psst&reference=m-1").await;
    let (_, thread) = site.page(location(&sent)).await;
    assert!(thread.contains("<p>psst</p>") && thread.contains(r#"data-reference="m-1""#));

    let ledger = site.ledger().await;
    let kinds: Vec<&str> = ledger.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["post", "comment", "like", "message"]);
}

#[tokio::test]
async fn what_people_write_is_never_markup() {
    let site = Running::start();

    let sly = publish(&site, r#"<script>alert("x")</script>"#).await;

    let (_, page) = site.page(location(&sly)).await;
    assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"));
    assert!(!page.contains("<script>alert"));
}

#[tokio::test]
async fn a_failing_site_shows_people_a_page() {
    let site = Running::start();
    site.mode(json!({ "fail": "after", "only": ["message"] })).await;

    let failed = site.submit("/messages/bob", "text=psst").await;

    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(failed.text().await.unwrap().contains("<h1>Something went wrong</h1>"));
    assert_eq!(site.ledger().await.len(), 1);
}
