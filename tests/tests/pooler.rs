//! Reads behind a pooler in transaction mode (PgBouncer): connections of the server that many share,
//! one transaction at a time.

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::read::{CommandFilter, EventFilter, Page};
use fermata_engine::run::Submission;
use fermata_engine::workflow::Registry;
use fermata_tests::{Idle, Pooler, TestDb, submission};
use futures::future::join_all;
use serde_json::json;

fn of(client: &str) -> Principal {
    Principal { client_id: client.into(), ..Principal::operator() }
}

/// Reads side by side, more than the pooler has connections for.
const AT_ONCE: usize = 40;
/// Rounds of them.
const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_each_client_sees_its_own_rows_and_all_of_them() {
    let db = TestDb::new().await;
    let pooler = Pooler::before(&db.url).await;
    let mut options = db.options(Registry::new().with(Idle));
    options.pooler_url = Some(pooler.url.clone());
    let engine = Engine::open(options).await.unwrap();
    let clients = ["acme", "other", "third"];
    for (n, client) in clients.iter().enumerate() {
        for _ in 0..=n {
            let command = Submission { client_id: (*client).into(), ..submission("test.idle", json!({})) };
            engine.submit(&Principal::operator(), command).await.unwrap();
        }
    }
    for _ in 0..ROUNDS {
        join_all((0..AT_ONCE).map(|n| {
            let (n, engine) = (n % clients.len(), &engine);
            async move {
                let by = of(clients[n]);
                let seen = engine.commands(&by, &CommandFilter::default(), Page::default()).await.unwrap().items;
                assert!(seen.iter().all(|command| command.client_id == clients[n]), "{} sees another's", clients[n]);
                assert_eq!(seen.len(), n + 1, "{} misses some", clients[n]);
                let events = engine.events(&by, &EventFilter::default(), None, 200).await.unwrap();
                assert_eq!(events.items.len(), n + 1, "one event for each command of {}", clients[n]);
            }
        }))
        .await;
    }
    let all = engine.commands(&Principal::operator(), &CommandFilter::default(), Page::default()).await.unwrap();
    assert_eq!(all.items.len(), 6);
}
