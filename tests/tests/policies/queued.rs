//! Who waits for a call of an account to end is woken by that, and not by the clock.

use sqlx::{Connection, PgConnection};

use super::*;

/// Stops a run that was refused its place before it says so, with nothing locked but its own row.
const STOPS: &str = "
    create function fermata.stop() returns trigger language plpgsql as $$ begin
        if exists (select from fermata.queued_call q join fermata.action a on a.run_id = q.run_id
                   where q.run_id = new.id and a.state = 'cancelled') then
            perform pg_advisory_xact_lock(31);
        end if;
        return new;
    end $$;
    create trigger stop before update on fermata.live for each row execute function fermata.stop()";
const STOPPED: &str =
    "select count(*) from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and l.objid = 31 and not l.granted";
const WAIT_FOR_ROWS: &str = "select count(distinct l.pid) from pg_locks l join pg_stat_activity a on a.pid = l.pid
    where a.datname = current_database() and l.locktype in ('transactionid', 'tuple') and not l.granted";

/// The same, on a node of its own.
struct Other(Platform);

impl Workflow for Other {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.elsewhere";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        context.effect("publish", &Post { platform: self.0.clone(), input }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_while_a_run_is_put_away_for_it_wakes_that_run() {
    let stage = Stage::with(Platform { answers: Arc::new(Semaphore::new(0)), ..Platform::new() }).await;
    let elsewhere = stage.db.worker(Registry::new().with(Other(stage.platform.clone())), LEASE).await;
    stage.put("client:acme", json!({"concurrency": 1})).await;
    let first = stage.publish("1").await;
    eventually("the first call is under way", || async { (stage.platform.calls() == 1).then_some(()) }).await;

    let mut stop = PgConnection::connect(&stage.db.url).await.unwrap();
    sqlx::raw_sql(STOPS).execute(&mut stop).await.unwrap();
    sqlx::query("select pg_advisory_lock(31)").execute(&mut stop).await.unwrap();
    let input = json!({"account": "main", "action": "publish", "key": "2"});
    let wanted = Submission { client_id: "acme".into(), ..submission("test.elsewhere", input) };
    let second = elsewhere.submit(&Principal::operator(), wanted).await.unwrap().command_id;
    eventually("the second was refused its place", || async { (stage.db.count(STOPPED).await == 1).then_some(()) })
        .await;

    // The first call ends while the second run is locked by its own record.
    let mut account = stage.db.pool.begin().await.unwrap();
    sqlx::query("select from fermata.platform_account for update").execute(&mut *account).await.unwrap();
    stage.platform.answers.add_permits(Semaphore::MAX_PERMITS);
    eventually("the end of the call waits", || async { (stage.db.count(WAIT_FOR_ROWS).await == 1).then_some(()) })
        .await;
    sqlx::query("select pg_advisory_unlock(31)").execute(&mut stop).await.unwrap();
    eventually("so does the second run", || async { (stage.db.count(WAIT_FOR_ROWS).await == 2).then_some(()) }).await;
    account.rollback().await.unwrap();

    assert_eq!(stage.ended(first).await.0, "SUCCEEDED");
    assert_eq!(stage.db.ended(&elsewhere, second).await.status, "SUCCEEDED");
    assert_eq!(stage.db.count(BY_TIME).await, 0);
}
