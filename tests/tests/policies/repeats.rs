//! Repeated text: what an account has posted, it does not post again.

use sqlx::Connection as _;

use super::*;

const DAY: u32 = 86_400;

async fn post(stage: &Stage, account: &str, key: &str, text: &str) -> RunId {
    let input = json!({"account": account, "action": "publish", "key": key, "payload": {"text": text}});
    let wanted = Submission { client_id: "acme".into(), ..submission("test.rationed", input) };
    stage.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
}

async fn stage(rule: Value) -> Stage {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"compliance": {"repeated_text": rule}})).await;
    stage
}

fn refused() -> (String, Value) {
    ("FAILED".to_owned(), json!(["policy_blocked", "compliance/repeated_text"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_an_account_has_posted_is_refused_in_whatever_case_and_spacing_and_for_no_other_account() {
    let stage = stage(json!({"window_s": DAY})).await;
    let first = post(&stage, "main", "1", "Hello  Wörld").await;
    assert_eq!(stage.ended(first).await.0, "SUCCEEDED");
    let again = post(&stage, "main", "2", " hello wo\u{308}rld\n").await;
    assert_eq!(stage.ended(again).await, refused());
    for (account, key, text) in [("other", "3", "Hello Wörld"), ("main", "4", "Hello world")] {
        let run = post(&stage, account, key, text).await;
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED", "{account} {text}");
    }
    assert_eq!(stage.platform.calls(), 3);
    let kept = "select count(*) from fermata.posted_text where octet_length(hash) = 32";
    assert_eq!(stage.db.count(kept).await, 3, "a hash of each text, and nothing else of it");
    let told = "select (select count(*) from fermata.audit where body::text like '%\"texts\"%')
        + (select count(*) from fermata.event where data::text like '%\"texts\"%')";
    assert_eq!(stage.db.count(told).await, 0, "and not even that where it could not be taken out again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intents_own_retry_and_its_like_in_another_command_are_no_repeats() {
    let stage = stage(json!({"window_s": DAY})).await;
    stage.platform.complains.store(1, Ordering::SeqCst);
    let first = post(&stage, "main", "1", "hello").await;
    assert_eq!(stage.ended(first).await.0, "SUCCEEDED", "its second attempt");
    let same = post(&stage, "main", "1", "hello").await;
    assert_eq!(stage.ended(same).await.0, "SUCCEEDED", "the same intent has the same receipt");
    assert_eq!(stage.platform.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_certainly_not_posted_may_be_posted() {
    let stage = stage(json!({"window_s": DAY})).await;
    *stage.platform.trouble.lock().unwrap() = Some(AccountTrouble::Auth);
    let failed = post(&stage, "main", "1", "hello").await;
    assert_eq!(stage.ended(failed).await.0, "FAILED");
    *stage.platform.trouble.lock().unwrap() = None;
    let next = post(&stage, "main", "2", "hello").await;
    assert_eq!(stage.ended(next).await.0, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_about_a_repeat_where_the_policy_says_so_and_it_is_none_after_its_window() {
    let stage = stage(json!({"window_s": DAY, "then": "approve"})).await;
    let first = post(&stage, "main", "1", "hello").await;
    assert_eq!(stage.ended(first).await.0, "SUCCEEDED");
    let again = post(&stage, "main", "2", "hello").await;
    stage.waits(again, "approval").await;
    let gate = sqlx::query_scalar("select id from fermata.gate where state = 'open'");
    let gate = gate.fetch_one(&stage.db.pool).await.unwrap();
    let word = Word { approve: true, comment: None, outputs: Value::Null };
    stage.engine.decide(&Principal::operator(), GateId(gate), word).await.unwrap();
    assert_eq!(stage.ended(again).await.0, "SUCCEEDED");
    let long_ago =
        "with t as (update fermata.posted_text set at = at - interval '1 day' returning 1) select count(*) from t";
    let mut owner = sqlx::postgres::PgConnection::connect(&stage.db.url).await.unwrap();
    let moved: i64 = sqlx::query_scalar(long_ago).fetch_one(&mut owner).await.unwrap();
    assert_eq!(moved, 2);
    let later = post(&stage, "main", "3", "hello").await;
    assert_eq!(stage.ended(later).await.0, "SUCCEEDED");
}
