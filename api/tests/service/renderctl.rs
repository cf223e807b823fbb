//! What renderctl does while Render behaves: what it lists, and for whom (O-041, O-042, O-044).

use fermata_engine::access::Scope;
use fermata_tests::TestDb;
use serde_json::{Value, json};

use super::fake_render::{FakeRender, SERVICES, TOKEN};
use super::harness::{Answer, INTERNAL_KEY, Process, bearer, fresh_folder, program, settings};

/// A renderctl before a Render, and a caller with the scope.
pub(crate) struct Stage {
    pub(crate) db: TestDb,
    pub(crate) fake: FakeRender,
    pub(crate) renderctl: Process,
    token: String,
}

impl Stage {
    pub(crate) async fn new(more: &[(&str, &str)]) -> Self {
        let (db, fake) = (TestDb::new().await, FakeRender::start().await);
        let base = fake.base();
        let known = [("RENDER_API_TOKEN", TOKEN), ("RENDER_API_BASE_URL", &base)];
        let settings: Vec<_> = known.into_iter().chain(more.iter().copied()).collect();
        let renderctl = Process::start("renderctl", &db, &settings).await;
        let token = bearer(&db, &[Scope::RenderRead]).await;
        Self { db, fake, renderctl, token }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.renderctl.get(path, &[("authorization", &self.token)]).await
    }

    /// The names of the services on a page.
    async fn names(&self, path: &str) -> Vec<String> {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        named(&answer.json())
    }
}

fn named(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn services_are_listed_with_their_state_and_where_they_are() {
    let stage = Stage::new(&[]).await;
    let page = stage.get("/render/services").await.json();
    assert_eq!(named(&page), SERVICES.map(|(_, name, ..)| name));
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(
        page["items"][0],
        json!({
            "id": "srv-cu3a559u0jms73dmnu20", "name": "shop", "type": "web_service", "status": "not_suspended",
            "url": "https://shop.onrender.com",
            "dashboard_url": "https://dashboard.render.com/srv-cu3a559u0jms73dmnu20",
            "created_at": "2026-01-14T17:44:53.851159Z", "updated_at": "2026-02-14T19:51:50.059428Z",
        })
    );
    assert_eq!((&page["items"][3]["url"], &page["items"][4]["status"]), (&Value::Null, &json!("suspended")));
    assert_eq!(stage.fake.seen(), ["GET /v1/services?limit=50"]);
}

#[tokio::test]
async fn the_list_is_filtered_by_name_and_by_type() {
    let stage = Stage::new(&[]).await;
    assert_eq!(stage.names("/render/services?name=shop").await, ["shop"]);
    assert_eq!(stage.names("/render/services?name=shop,site").await, ["shop", "site"]);
    assert_eq!(stage.names("/render/services?type=web_service").await, ["shop", "old-shop"]);
    assert_eq!(stage.names("/render/services?type=web_service,cron_job&name=nightly").await, ["nightly"]);
    assert!(stage.names("/render/services?name=a%26limit%3D1").await.is_empty(), "a name is no second parameter");
}

#[tokio::test]
async fn whoever_follows_the_links_sees_each_service_once() {
    let stage = Stage::new(&[]).await;
    let (mut seen, mut path) = (Vec::new(), "/render/services?limit=2".to_owned());
    loop {
        let answer = stage.get(&path).await;
        let page = answer.json();
        seen.extend(named(&page));
        let next = answer.header("link").strip_prefix('<').and_then(|link| link.split_once('>'));
        assert_eq!(next.is_none(), page["next_cursor"].is_null());
        let Some((next, _)) = next else { break };
        next.clone_into(&mut path);
    }
    assert_eq!(seen, SERVICES.map(|(_, name, ..)| name));
    assert_eq!(stage.names("/render/services?limit=2&cursor=%2F3%2B%3D").await, ["old-shop"]);
}

#[tokio::test]
async fn a_list_that_does_not_fit_is_refused_before_render_is_asked() {
    let stage = Stage::new(&[]).await;
    for (query, pointer) in [("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=x", "/limit"), ("size=2", "/size")]
    {
        let problem = stage.get(&format!("/render/services?{query}")).await;
        assert_eq!(problem.problem(400, "validation", "validation")["errors"][0]["pointer"], pointer);
    }
    assert!(stage.fake.seen().is_empty());

    stage.get("/render/services?after=nonsense").await.problem(400, "validation", "validation");
    assert_eq!(stage.fake.seen(), ["GET /v1/services?limit=50&cursor=nonsense"]);
}

#[tokio::test]
async fn only_a_token_with_the_scope_gets_to_render() {
    let stage = Stage::new(&[]).await;
    let other = bearer(&stage.db, &[Scope::CommandsRead, Scope::CommandsWrite]).await;
    let asked = async |headers: &[(&str, &str)]| stage.renderctl.get("/render/services", headers).await;
    asked(&[]).await.problem(401, "unauthorized", "token_missing");
    let renders = format!("Bearer {TOKEN}");
    asked(&[("authorization", &renders)]).await.problem(401, "unauthorized", "token_malformed");
    for known in [("authorization", other.as_str()), ("x-internal-key", INTERNAL_KEY)] {
        let refused = asked(&[known]).await.problem(403, "forbidden", "scope_missing");
        assert_eq!(refused["scope"], "render:read");
    }
    assert!(stage.fake.seen().is_empty());
}

#[tokio::test]
async fn a_token_or_an_address_that_cannot_be_used_ends_the_start() {
    let db = TestDb::new().await;
    for (key, value) in [("RENDER_API_TOKEN", "two\nlines"), ("RENDER_API_BASE_URL", "http://user:word@127.0.0.1/v1")] {
        let folder = fresh_folder("renderctl");
        let ended = program("renderctl", &folder, &settings(&db, &[(key, value)])).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(10), "{said}");
        assert!(said.contains(key) && !said.contains(value), "{said}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
