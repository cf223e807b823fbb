//! Laws of signed heads on their way to `AUDIT_HEADS_URL` (S-024; docs/audit.md): whatever the address does, each head is
//! taken by it in the end, in the order of its chain, and none counts as gone before it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod address;

use std::collections::{BTreeMap, BTreeSet};

use fermata_engine::audit::SignedHead;
use fermata_tests::{Dev, eventually};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::mpsc::UnboundedReceiver;

use address::{Answer, Posted, address};

/// What the address does before it is well.
const TROUBLE: [Answer; 6] =
    [Answer::Status(500), Answer::Close, Answer::Elsewhere, Answer::Status(404), Answer::Close, Answer::Status(503)];
const CLIENTS: [&str; 2] = ["demo", "other"];

struct Stage {
    dev: Dev,
    pool: PgPool,
    posted: UnboundedReceiver<Posted>,
    /// What was taken, by client and in the order in which it came first.
    taken: BTreeMap<String, Vec<i64>>,
    published: u32,
}

impl Stage {
    async fn new() -> Self {
        let (posted, url) = address().await;
        let dev = Dev::start_with(&[("AUDIT_HEADS_URL", &url)]).await;
        let pool = PgPool::connect(&dev.ready.database_url).await.unwrap();
        Self { dev, pool, posted, taken: BTreeMap::new(), published: 0 }
    }

    /// Does something for each client that is told in the audit trail.
    async fn publish(&mut self) {
        for client in CLIENTS {
            self.published += 1;
            let inputs = json!({"caption": "hello", "reference": format!("head {}", self.published)});
            let payload = json!({"workflow_name": "demo.http_publish", "inputs": inputs});
            let command = json!({"type": "flow.run", "client_id": client, "payload": payload});
            let (status, accepted) = self.dev.post("/v1/commands", &command).await;
            assert_eq!(status, 202, "{accepted}");
            let run = accepted["command_id"].as_str().unwrap();
            assert_eq!(self.dev.reaches(run, &["SUCCEEDED", "FAILED"]).await["status"], "SUCCEEDED");
        }
    }

    async fn next(&mut self) -> Posted {
        eventually("heads are posted", || {
            let posted = self.posted.try_recv().ok();
            async move { posted }
        })
        .await
    }

    /// Nothing counts as gone that was not taken. Then answers.
    async fn answer(&mut self, posted: Posted, answer: Answer) {
        for (client, seq) in self.heads(true).await {
            let taken = self.taken.get(&client).is_some_and(|taken| taken.contains(&seq));
            assert!(taken, "head {seq} of {client} counts as gone, and the address has {:?}", self.taken);
        }
        let body: Value = serde_json::from_slice(&posted.body).unwrap();
        let heads: Vec<SignedHead> = serde_json::from_value(body["heads"].clone()).unwrap();
        assert!(!heads.is_empty());
        for head in heads.iter().filter(|_| answer == Answer::Status(200)) {
            assert!(head.is_signed());
            let taken = self.taken.entry(head.client_id.clone()).or_default();
            // In doubt twice: an answer may be lost, and there may be more than one node.
            if !taken.contains(&head.seq) {
                taken.push(head.seq);
            }
            assert!(taken.is_sorted(), "head {} of {} comes late: {taken:?}", head.seq, head.client_id);
        }
        posted.answer.send(answer).unwrap();
    }

    /// The heads that the database has, in order; or only those that have left it.
    async fn heads(&self, gone: bool) -> BTreeSet<(String, i64)> {
        let heads = "select client_id, seq from fermata.signed_head where exported_at is not null or not $1";
        let heads: Vec<_> = sqlx::query_as(heads).bind(gone).fetch_all(&self.pool).await.unwrap();
        heads.into_iter().collect()
    }

    /// The next one, or none once every row is sealed and every head has left.
    async fn next_or_none(&mut self) -> Option<Posted> {
        let (posted, pool) = (&mut self.posted, &self.pool);
        eventually("heads are posted, or all have left", || {
            let next = posted.try_recv().ok();
            async move {
                let left = "select (select audit from fermata.position) = (select count(*) from fermata.audit_seal)
                    and not exists (select from fermata.signed_head where exported_at is null)";
                let over = next.is_none() && sqlx::query_scalar(left).fetch_one(pool).await.unwrap();
                (over || next.is_some()).then_some(next)
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_heads_arrive_in_order_whatever_the_address_does_and_none_counts_as_gone_before_it_was_taken() {
    let mut stage = Stage::new().await;
    for trouble in TROUBLE {
        stage.publish().await;
        let posted = stage.next().await;
        stage.answer(posted, trouble).await;
    }
    assert_eq!(stage.heads(true).await.len(), 0, "nothing was taken so far");
    assert!(stage.heads(false).await.len() > CLIENTS.len(), "there are several heads of a client");
    for round in 0..5 {
        stage.publish().await;
        // One more hole in the middle, where a part has left and a part has not.
        let answer = if round == 2 { Answer::Close } else { Answer::Status(200) };
        let posted = stage.next().await;
        stage.answer(posted, answer).await;
    }
    while let Some(posted) = stage.next_or_none().await {
        stage.answer(posted, Answer::Status(200)).await;
    }
    let arrived = stage.taken.iter().flat_map(|(client, seqs)| seqs.iter().map(move |seq| (client.clone(), *seq)));
    assert_eq!(arrived.collect::<BTreeSet<_>>(), stage.heads(false).await, "none is lost");
}
