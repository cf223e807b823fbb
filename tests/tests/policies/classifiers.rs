//! Content is checked by a program of the installation where a policy says so: nothing is posted that it flags, or that
//! it did not look at.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use fermata_engine::clock::Clock;
use fermata_engine::policy::RunProposal;
use fermata_workflows::{Installation, registry};

use super::*;

/// A platform that counts posts, and a classifier beside it that flags what has "hate" in it.
#[derive(Clone, Default)]
struct World {
    posts: Arc<AtomicU32>,
    asked: Arc<Mutex<Vec<Value>>>,
    /// How many questions get no answer.
    silences: Arc<AtomicU32>,
}

impl World {
    async fn serve(&self) -> String {
        let (posts, world) = (Arc::clone(&self.posts), self.clone());
        let publish = move || {
            posts.fetch_add(1, Ordering::SeqCst);
            async { axum::Json(json!({"id": "1"})) }
        };
        let check = move |axum::Json(content): axum::Json<Value>| async move { world.check(content) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/posts", post(publish)).route("/check", post(check));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }

    fn check(&self, content: Value) -> (StatusCode, axum::Json<Value>) {
        let hateful = content["payload"]["text"].as_str().unwrap().contains("hate");
        self.asked.lock().unwrap().push(content);
        if self.silences.load(Ordering::SeqCst) > 0 {
            self.silences.fetch_sub(1, Ordering::SeqCst);
            return (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({"flags": []})));
        }
        let flags = if hateful { json!(["hate"]) } else { json!([]) };
        (StatusCode::OK, axum::Json(json!({ "flags": flags })))
    }
}

struct Checked {
    world: World,
    db: TestDb,
    engine: Engine,
}

fn run_of(text: &str) -> Value {
    let flow = json!({
    "name": "test.checked", "version": "1", "platform": "demo", "lane": "api",
    "inputs": {"type": "object", "additionalProperties": false, "properties": {"text": {"type": "string"}}},
    "steps": [{"id": "post", "effect": {"action_type": "publish", "account": "ada", "payload": {"text": "${inputs.text}"},
        "call": {"http": {"method": "POST", "url": "${env.site}/posts", "save": {"id": "/id"}}}}}]});
    json!({"flow": flow, "inputs": {"text": text}})
}

impl Checked {
    async fn new() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (world, db) = (World::default(), TestDb::new().await);
        let address = world.serve().await;
        let mut installation = Installation::with_packs(Clock::system()).unwrap();
        installation.classifiers.insert("brand".to_owned(), format!("{address}/check"));
        installation.sites.insert("site".to_owned(), address);
        let engine = db.worker(registry(installation).unwrap(), LEASE).await;
        let document = json!({"compliance": {"classifiers": ["brand"], "block_flags": ["hate"]}});
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let everybody = PolicyScope::Global;
        engine.put_policy(&Principal::operator(), &everybody, &document, None).await.unwrap();
        Self { world, db, engine }
    }

    async fn told(&self, text: &str) -> (Decision, String) {
        let proposal =
            RunProposal { client_id: Some("acme".into()), kind: "flow.run".into(), payload: run_of(text), at: None };
        let told = self.engine.evaluate_run(&Principal::operator(), &proposal).await.unwrap();
        (told.verdict.decision, told.verdict.rule)
    }

    async fn run(&self, text: &str) -> (String, Value) {
        let run = self.db.submit(&self.engine, "flow.run", run_of(text)).await;
        let ended = self.db.ended(&self.engine, run).await;
        (ended.status, ended.error.map(|error| error["details"]["rule"].clone()).unwrap_or_default())
    }

    fn posts(&self) -> u32 {
        self.world.posts.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_classifier_flags_is_not_posted_and_a_dry_run_says_so() {
    let checked = Checked::new().await;
    let refused = "compliance/block_flags".to_owned();
    assert_eq!(checked.told("we hate it").await, (Decision::Block, refused.clone()));
    assert_eq!(checked.run("we hate it").await, ("FAILED".to_owned(), json!(refused)));
    assert_eq!(checked.posts(), 0);
    assert_eq!(checked.run("we like it").await.0, "SUCCEEDED");
    assert_eq!(checked.posts(), 1);
    let asked = checked.world.asked.lock().unwrap()[0].clone();
    let content = json!({"client_id": "acme", "platform": "demo", "account_id": "ada", "action_type": "publish",
        "payload": {"text": "we hate it"}});
    assert_eq!(asked, content);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_posted_until_its_classifier_has_answered() {
    let checked = Checked::new().await;
    checked.world.silences.store(1, Ordering::SeqCst);
    assert_eq!(checked.told("hello").await, (Decision::Block, "compliance/classifiers".to_owned()));
    checked.world.silences.store(1, Ordering::SeqCst);
    assert_eq!(checked.run("hello").await.0, "SUCCEEDED", "it is asked again");
    assert_eq!(checked.posts(), 1);
    let unchecked =
        "select count(*) from fermata.event where type = 'step.failed' and data::text like '%content_unchecked%'";
    assert_eq!(checked.db.count(unchecked).await, 1);
}
