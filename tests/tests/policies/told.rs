//! What a policy does with an action is told, once, and every action is in the audit (G-046, G-047).

use super::*;

const DAY_S: u32 = 86_400;
/// What is told of a run: what kind of event, what it says, by which rule.
const TOLD: &str = "select type, coalesce(data ->> 'wait_reason', data ->> 'status', ''),
        coalesce(data ->> 'rule', data -> 'detail' -> 'verdict' ->> 'rule', '')
    from fermata.event where run_id = $1 and (type = 'rate.limited'
        or type = 'status.changed' and data ->> 'wait_reason' is not null
        or type = 'action.moved' and data ->> 'status' = 'blocked')
    order by 1, 2";

async fn told(stage: &Stage, run: RunId) -> Vec<(String, String, String)> {
    sqlx::query_as(TOLD).bind(run.0).fetch_all(&stage.db.pool).await.unwrap()
}

fn event(r#type: &str, says: &str, rule: &str) -> (String, String, String) {
    (r#type.to_owned(), says.to_owned(), rule.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_events_tell_once_of_what_is_rate_limited_of_what_cools_down_and_of_what_is_blocked() {
    let stage = Stage::new().await;
    let document = json!({
        "allowed_actions": {"memory": ["publish", "pin"]},
        "budgets": {"rate": [{"name": "posts", "actions": ["publish"], "max": 1, "window_s": DAY_S}]},
        "spacing": {"pin": {"min_s": DAY_S, "max_s": DAY_S}},
    });
    stage.put("client:acme", document).await;
    for (action, key) in [("publish", "1"), ("pin", "2")] {
        let run = stage.act(action, key, Value::Null).await;
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
        assert_eq!(told(&stage, run).await, [], "what is allowed is no news");
    }

    let limited = stage.act("publish", "3", Value::Null).await;
    stage.waits(limited, "rate_limited").await;
    let limit = [event("rate.limited", "", "budgets/posts"), event("status.changed", "rate_limited", "")];
    assert_eq!(told(&stage, limited).await, limit);
    let cooling = stage.act("pin", "4", Value::Null).await;
    stage.waits(cooling, "cooldown").await;
    let cooldown = [event("rate.limited", "", "spacing"), event("status.changed", "cooldown", "")];
    assert_eq!(told(&stage, cooling).await, cooldown);
    let blocked = stage.act("follow", "5", Value::Null).await;
    assert_eq!(stage.ended(blocked).await.0, "FAILED");
    assert_eq!(told(&stage, blocked).await, [event("action.moved", "blocked", "allowed_actions")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_is_in_the_audit_and_every_call_is_an_attempt_of_it() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"allowed_actions": {"memory": ["publish"]}})).await;
    stage.platform.complains.store(3, Ordering::SeqCst);
    let mut runs = stage.publish_all(20).await;
    runs.push(stage.act("follow", "blocked", Value::Null).await);
    runs.push(stage.publish("1").await);
    for run in runs {
        stage.ended(run).await;
    }

    let actions = stage.db.count("select count(*) from fermata.action").await;
    assert!(actions >= 24, "20 that are done, 3 that are refused before, 1 that is blocked: {actions}");
    let audited = "select count(distinct action_id) from fermata.audit";
    assert_eq!(stage.db.count(audited).await, actions);
    let unknown = "select count(*) from fermata.audit u where action_id is not null
        and not exists (select 1 from fermata.action a where a.id = u.action_id)";
    assert_eq!(stage.db.count(unknown).await, 0);
    let attempts = stage.db.count("select count(*) from fermata.audit where phase = 'attempted'").await;
    assert_eq!((attempts, stage.platform.calls()), (23, 20), "three calls were refused");
}
