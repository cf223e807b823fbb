//! Every problem's type leads to a page.

use axum::body::Body;
use axum::http::Request;
use fermata_api::error::Kind;

use super::harness::{Answer, Rest};

async fn page(rest: &Rest, path: &str, accept: &str) -> Answer {
    rest.send(Request::get(path).header("accept", accept).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_type_of_every_problem_leads_to_a_page_for_people_and_for_programs() {
    let rest = Rest::new().await;
    for kind in Kind::ALL {
        let path = format!("/problems/{}", kind.slug());
        let shown = page(&rest, &path, "text/html,*/*;q=0.8").await;
        let text = String::from_utf8(shown.bytes.to_vec()).unwrap();
        assert_eq!((shown.status.as_u16(), shown.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert!(text.contains(kind.title()) && text.contains("What to do"), "{text}");
        assert!(shown.header("content-security-policy").contains("default-src 'none'"));
        let read = page(&rest, &path, "application/json").await.json();
        assert_eq!(
            (read["title"].as_str(), read["status"].as_u64()),
            (Some(kind.title()), Some(u64::from(kind.status().as_u16())))
        );
        assert!(read["meaning"].is_string() && read["try"].is_string(), "{read}");
    }
}

#[tokio::test]
async fn a_type_is_followed_as_it_was_sent_without_a_token() {
    let rest = Rest::new().await;
    let refused = rest.get("/v1/commands/none").await.problem(404, "not_found");
    let path = refused["type"].as_str().unwrap().strip_prefix("https://fermata.example").unwrap().to_owned();
    assert_eq!(page(&rest, &path, "*/*").await.status, 200);
    let finer = page(&rest, "/problems/scope_missing", "application/json").await.json();
    assert_eq!((finer["code"].as_str(), finer.get("status")), (Some("scope_missing"), None));
    for unknown in ["/problems/nothing", "/problems/..%2f", "/problems/%FF"] {
        assert!(page(&rest, unknown, "*/*").await.status.is_client_error(), "{unknown}");
    }
    page(&rest, "/problems/nothing", "*/*").await.problem(404, "not_found");
}

#[tokio::test]
async fn the_list_leads_to_every_page() {
    let rest = Rest::new().await;
    let list = page(&rest, "/problems", "*/*").await;
    let text = String::from_utf8(list.bytes.to_vec()).unwrap();
    let links: Vec<_> = text.split("href=\"/problems/").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    let items = page(&rest, "/problems", "application/json").await.json()["items"].as_array().unwrap().len();
    assert!(links.len() == items && items > 60, "{} links, {items} items", links.len());
    for link in links {
        assert_eq!(page(&rest, &format!("/problems/{link}"), "*/*").await.status, 200, "{link}");
    }
}
