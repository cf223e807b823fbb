//! Ceilings (S-009): so much and no more in a day, whatever goes wrong.

use super::*;

const WAIT: &str = "select count(distinct run_id) from fermata.event where type = 'rate.limited'
    and (data ->> 'until')::timestamptz = date_trunc('day', at at time zone 'utc') at time zone 'utc' + interval '1 day'
    and data ->> 'rule' = ";

async fn settled(stage: &Stage, runs: i64) {
    eventually("all have ended or wait", || async {
        let settled = "select count(*) from fermata.command where status = 'SUCCEEDED' or wait_reason = 'rate_limited'";
        (stage.db.count(settled).await == runs).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_is_exact_across_nodes_whatever_the_types_of_action_and_the_rest_waits_for_the_next_day() {
    let stage = Stage::new().await;
    let _other = stage.db.worker(Registry::new().with(Publish(stage.platform.clone())), LEASE).await;
    stage.put("client:acme", json!({"ceilings": {"per_account_day": 10}})).await;
    let types = ["publish", "follow", "edit", "pin"];
    join_all((0..60).map(|n| {
        let stage = &stage;
        async move { stage.act(types[n % 4], &n.to_string(), Value::Null).await }
    }))
    .await;
    settled(&stage, 60).await;
    assert_eq!(stage.platform.calls(), 10);
    let told = format!("{WAIT}'ceilings/per_account_day'");
    let told: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(told)).fetch_one(&stage.db.pool).await.unwrap();
    assert_eq!(told, 50, "each says which rule, and that it is until midnight");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ceiling_of_a_client_counts_all_of_its_accounts() {
    let stage = Stage::new().await;
    stage.put("global", json!({"ceilings": {"per_client_day": 3, "per_account_day": 2}})).await;
    let publish = async |account: &str, key: &str| {
        let input = json!({"account": account, "action": "publish", "key": key});
        let wanted = Submission { client_id: "acme".into(), ..submission("test.rationed", input) };
        stage.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    };
    for (account, key) in [("one", "1"), ("one", "2"), ("two", "3")] {
        let run = publish(account, key).await;
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
    for (account, key, rule) in [("one", "4", "ceilings/per_account_day"), ("two", "5", "ceilings/per_client_day")] {
        let run = publish(account, key).await;
        stage.waits(run, "rate_limited").await;
        let told = "select data ->> 'rule' from fermata.event where type = 'rate.limited' and run_id = $1";
        let told: String = sqlx::query_scalar(told).bind(run.0).fetch_one(&stage.db.pool).await.unwrap();
        assert_eq!(told, rule);
    }
    assert_eq!(stage.platform.calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_for_nothing_is_given_back_to_a_ceiling() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"ceilings": {"per_account_day": 1, "per_client_day": 1}})).await;
    stage.platform.complains.store(1, Ordering::SeqCst);
    let run = stage.publish("1").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED", "the refused attempt left its place to the next");
    assert_eq!(stage.db.count("select count(*) from fermata.budget where used = 1").await, 2);
    let other = stage.publish("2").await;
    stage.waits(other, "rate_limited").await;
}
