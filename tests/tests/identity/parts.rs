//! What Postgres refuses of a record's parts, whoever sends it.

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::*;

/// A record of one part, as a batch applies it.
const APPLY: &str = r#"select fermata.apply_parts(now(), jsonb_build_array($1 || '{"ord": 1}'), '{1}')"#;

/// Plans an action of account `main`; answers its id.
async fn planned(stage: &Stage) -> Uuid {
    let ready = Arc::clone(&stage.platform.preparing);
    stage.publish("a").await;
    ready.acquire().await.unwrap().forget();
    sqlx::query_scalar("select id from fermata.action").fetch_one(&stage.db.pool).await.unwrap()
}

/// Why a part is refused; `None` when it is taken. Nothing of it stays.
async fn refused(pool: &PgPool, part: Value) -> Option<String> {
    let mut trial = pool.begin().await.unwrap();
    let applied = sqlx::query(APPLY).bind(part).execute(&mut *trial).await;
    applied.err().map(|error| match error {
        sqlx::Error::Database(error) if error.code().as_deref() == Some("23514") => error.message().to_owned(),
        other => panic!("{other}"),
    })
}

async fn stage() -> Stage {
    Stage::with(Platform { ready: Arc::new(Semaphore::new(0)), ..Platform::new(Says::Is("1")) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_refused_when_its_record_says_that_it_is_for_somebody_else() {
    let stage = stage().await;
    stage.connect("1").await;
    let action = planned(&stage).await;
    let attempt = |identity: Value| json!({"op": "attempt", "action_id": action, "attempt_id": action, "epoch": 1, "identity": identity});
    let pool = &stage.db.pool;
    for (known, seen, taken) in [
        (json!("1"), json!("1"), true),
        (json!("1"), Value::Null, true),
        (json!("1"), json!("2"), false),
        // It was connected after the platform was asked, or when nobody was.
        (json!("2"), json!("2"), false),
        (Value::Null, Value::Null, false),
    ] {
        let said = refused(pool, attempt(json!({"known": known, "seen": seen}))).await;
        assert_eq!(said.is_none(), taken, "{known} {seen}: {said:?}");
    }
    for wrong in ["identity = '2'", "identity_ok = false"] {
        let mut trial = pool.begin().await.unwrap();
        let verified = format!("update fermata.action set state = 'identity_verified', {wrong}");
        sqlx::query(sqlx::AssertSqlSafe(verified)).execute(&mut *trial).await.unwrap();
        sqlx::query("update fermata.action set state = 'attempted'").execute(&mut *trial).await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_would_change_nothing_is_refused_and_only_an_attempt_leads_to_attempted() {
    let stage = stage().await;
    let action = planned(&stage).await;
    let nobody = Uuid::nil();
    for part in [
        json!({"op": "attempt", "action_id": nobody, "attempt_id": nobody, "epoch": 1}),
        json!({"op": "move", "action_id": nobody, "state": "cancelled"}),
        json!({"op": "move", "action_id": action, "state": "attempted"}),
        json!({"op": "move", "action_id": action, "state": "identity_verified"}),
        json!({"op": "allow_repeat", "action_id": nobody}),
        json!({"op": "allow_repeat", "action_id": action}),
    ] {
        assert!(refused(&stage.db.pool, part.clone()).await.is_some(), "{part}");
    }
    let moved = json!({"op": "move", "action_id": action, "state": "cancelled"});
    assert_eq!(refused(&stage.db.pool, moved).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_for_an_account_that_may_do_nothing() {
    let stage = stage().await;
    let action = planned(&stage).await;
    let attempt = json!({"op": "attempt", "action_id": action, "attempt_id": action, "epoch": 1});
    sqlx::query(APPLY).bind(attempt).execute(&stage.db.pool).await.unwrap();
    let again = json!({"op": "resend", "action_id": action, "attempt_id": action, "epoch": 1});
    assert_eq!(refused(&stage.db.pool, again.clone()).await, None);
    stage.turn(AccountMode::ReadOnly).await;
    assert!(refused(&stage.db.pool, again).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_something_is_to_be_done_again_is_taken_only_of_the_newest_action_that_is_over_or_in_doubt() {
    let stage = Stage::new(Says::Is("1")).await;
    stage.platform.loses.store(1, Ordering::SeqCst);
    let run = stage.publish("a").await;
    stage.db.reaches(&stage.engine, run, &["HUMAN_REQUIRED"]).await;
    let again = || Decision { outputs: json!({"repeat": true}), ..Decision::default() };
    let pool = &stage.db.pool;
    sqlx::query("update fermata.intent set current_action = null").execute(pool).await.unwrap();
    let refused = stage.decide(run, again()).await;
    assert!(matches!(refused, Err(DecideError::NotRepeatable)), "{refused:?}");
    assert_eq!(stage.db.count("select count(*) from fermata.gate where state = 'open'").await, 1, "it may be answered");
    let newest = "update fermata.intent set current_action = (select id from fermata.action)";
    sqlx::query(newest).execute(pool).await.unwrap();
    stage.platform.loses.store(0, Ordering::SeqCst);
    stage.decide(run, again()).await.unwrap();
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    assert_eq!(stage.platform.counts()[2], 2);
}
