//! The golden paths of the safety document (section 11), by its names, on the API lane: real processes, a real Postgres, and
//! the demo platform in every way that it can misbehave. GP3 and GP4 come with the browser lane and the engagement packs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use fermata_engine::workflow::RetryPolicy;
use fermata_tests::{Dev, eventually};
use serde_json::{Value, json};
use sqlx::PgPool;

const FLOW: &str = "demo.http_publish";

fn post(handle: &str, reference: &str, promises: &Value) -> Value {
    let mut inputs = json!({
        "handle": handle, "caption": format!("golden {reference}"), "reference": reference, "honours_keys": true,
        "absence": "inconclusive", "call_timeout_s": 2, "visible_within_s": 1,
    });
    inputs.as_object_mut().unwrap().extend(promises.as_object().unwrap().clone());
    inputs
}

async fn publish(dev: &Dev, handle: &str, reference: &str) -> String {
    dev.flow(FLOW, post(handle, reference, &json!({}))).await
}

fn command(client: &str, handle: &str, reference: &str) -> Value {
    json!({
        "type": "flow.run", "client_id": client,
        "payload": {"workflow_name": FLOW, "inputs": post(handle, reference, &json!({}))},
    })
}

async fn actions(dev: &Dev, command: &str) -> Vec<Value> {
    dev.get(&format!("/v1/commands/{command}/actions")).await["items"].as_array().unwrap().clone()
}

async fn ended(dev: &Dev, command: &str) -> Value {
    dev.reaches(command, &["SUCCEEDED", "FAILED", "CANCELLED", "HUMAN_REQUIRED"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gp1_planning_creating_and_scheduling_cause_no_side_effect() {
    let dev = Dev::start().await;
    // Planned: asked whether it would be accepted, and what the policy would say.
    let mut planned = command("demo", "ada", "planned");
    planned["dry_run"] = json!(true);
    assert_eq!(dev.post("/v1/commands", &planned).await, (200, json!({"valid": true})));
    let ask = json!({"client_id": "demo", "platform": "demo", "account_id": "ada", "action_type": "publish"});
    let (status, said) = dev.post("/v1/policies/evaluate", &ask).await;
    assert_eq!((status, &said["verdict"]["decision"]), (200, &json!("allow")), "{said}");
    // Created, and scheduled for later.
    let mut scheduled = command("demo", "ada", "scheduled");
    scheduled["not_before"] = json!("2099-01-01T00:00:00Z");
    let (status, accepted) = dev.post("/v1/commands", &scheduled).await;
    assert_eq!(status, 202, "{accepted}");
    let scheduled = accepted["command_id"].as_str().unwrap();
    // Another one goes all the way meanwhile, so that nothing was merely slow.
    let other = publish(&dev, "ada", "now").await;
    assert_eq!(ended(&dev, &other).await["status"], "SUCCEEDED");
    assert_eq!((dev.applied("planned").await, dev.applied("scheduled").await), (0, 0));
    assert_eq!(actions(&dev, scheduled).await.len(), 0, "not even a plan");
    let (status, _) = dev.post(&format!("/v1/commands/{scheduled}/cancel"), &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(ended(&dev, scheduled).await["status"], "CANCELLED");
    assert_eq!(dev.applied("scheduled").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gp2_a_post_is_published_once_and_confirmed_by_looking_whatever_the_platform_does() {
    let dev = Dev::start().await;
    let lost = json!({"honours_keys": false, "absence": "conclusive"});
    // How the platform behaves, what it promises, how the command ends, how often the post is there, its level.
    let ways = [
        ("behaves", json!({}), json!({}), "SUCCEEDED", 1, 3),
        ("drops_the_answer", json!({"drop_answer": true, "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        (
            "drops_it_without_keys",
            json!({"drop_answer": true, "times": 1, "keys": "ignore"}),
            lost.clone(),
            "SUCCEEDED",
            1,
            3,
        ),
        ("fails_before", json!({"fail": "before", "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        ("fails_after", json!({"fail": "after", "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        ("refuses", json!({"fail": "before", "status": 422, "times": 1}), json!({}), "FAILED", 0, 1),
        ("is_busy", json!({"fail": "before", "status": 429, "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        ("holds_the_answer", json!({"hold_answer_ms": 6_000, "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        ("is_late", json!({"delay_ms": 4_000, "times": 1}), json!({}), "SUCCEEDED", 1, 3),
        ("hangs", json!({"freeze": true}), json!({}), "HUMAN_REQUIRED", 0, 1),
        ("shows_it_late", json!({"hide_ms": 1_500}), json!({}), "SUCCEEDED", 1, 3),
        ("never_shows_it", json!({"hide_ms": 600_000}), json!({}), "HUMAN_REQUIRED", 1, 1),
        (
            "never_shows_it_nor_says",
            json!({"hide_ms": 600_000, "drop_answer": true, "keys": "ignore"}),
            json!({"honours_keys": false}),
            "HUMAN_REQUIRED",
            1,
            1,
        ),
    ];
    for (reference, mode, promises, status, count, level) in ways {
        dev.mode(mode).await;
        let first = dev.flow(FLOW, post("ada", reference, &promises)).await;
        let view = ended(&dev, &first).await;
        assert_eq!(view["status"], status, "{reference}: {view}");
        assert_eq!(dev.applied(reference).await, count, "{reference}");
        let newest = actions(&dev, &first).await.into_iter().next().unwrap();
        assert_eq!(newest["level"], level, "{reference}: {newest:#}");
        dev.mode(json!({})).await;
        if status == "SUCCEEDED" {
            // The same again is the same post.
            let again = dev.flow(FLOW, post("ada", reference, &promises)).await;
            assert_eq!(ended(&dev, &again).await["result"]["id"], view["result"]["id"], "{reference}");
            assert_eq!(dev.applied(reference).await, 1, "{reference}");
        }
    }
}

/// S-040, S-042: what is transient is tried again so often, and what is not is not tried again.
#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_always_fails_is_called_so_often_and_no_more_and_one_that_refuses_once() {
    let dev = Dev::start().await;
    let flow = json!({
        "name": "test.always", "version": "1", "platform": "demo", "lane": "api",
        "inputs": {"type": "object", "additionalProperties": false, "properties": {"reference": {"type": "string"}}},
        "steps": [
            {"id": "login", "http": {"method": "POST", "url": "${env.demo_site}/api/login", "record": false, "safe": true,
                "json": {"handle": "ada", "password": "demo-password"}, "save": {"token": "/token"}}},
            {"id": "post", "effect": {
                "action_type": "publish", "account": "ada", "payload": {"reference": "${inputs.reference}"},
                "call_timeout_s": 1, "absence": "conclusive",
                "look": {"http": {"request": {"method": "GET", "url": "${env.demo_site}/api/posts",
                    "query": {"author": "ada", "reference": "${inputs.reference}"},
                    "expect": {"body": [{"at": "/posts", "is": "present"}]}, "save": {"id": "/posts/0/id"}},
                    "present": [{"at": "/posts/0/id", "is": "present"}]}},
                "call": {"http": {"method": "POST", "url": "${env.demo_site}/api/posts",
                    "headers": {"Authorization": "Bearer ${steps.login.token}"},
                    "json": {"caption": "x", "reference": "${inputs.reference}"}, "save": {"id": "/id"}}}}}],
    });
    let most = i64::from(RetryPolicy::default().max_attempts);
    for (reference, status, attempts) in [("unavailable", 503, most), ("forbidden", 403, 1), ("malformed", 400, 1)] {
        dev.mode(json!({"fail": "before", "status": status})).await;
        let run = dev.submit("flow.run", json!({"flow": flow, "inputs": {"reference": reference}})).await;
        let view = ended(&dev, &run).await;
        assert_eq!(view["status"], "FAILED", "{reference}: {view}");
        let attempted = actions(&dev, &run).await;
        let sent: i64 = attempted.iter().map(|action| 1 + action["resends"].as_i64().unwrap()).sum();
        assert_eq!((sent, dev.applied(reference).await), (attempts, 0), "{reference}: {attempted:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_action_goes_the_same_way() {
    let dev = Dev::start().await;
    let action = |reference: &str| {
        json!({
            "type": "action.run", "client_id": "demo", "platform": "demo", "account_id": "ada",
            "payload": {"action_type": "publish", "inputs": {"caption": "one action", "reference": reference}},
        })
    };
    let run = submitted(&dev, &action("single")).await;
    assert_eq!(ended(&dev, &run).await["status"], "SUCCEEDED");
    let done = actions(&dev, &run).await;
    let told: Vec<_> = done.iter().map(|action| (&action["state"], &action["account_id"], &action["effect"])).collect();
    assert_eq!(told, [(&json!("postcheck_complete"), &json!("ada"), &json!(true))]);
    let mut other = action("other");
    other["platform"] = json!("instagram");
    let (status, refused) = dev.post("/v1/commands", &other).await;
    assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!("/payload/platform")), "{refused}");
    assert_eq!((dev.applied("single").await, dev.applied("other").await), (1, 0));
}

async fn switch(dev: &Dev, path: &str, engaged: bool) {
    let (code, turned) =
        dev.put(&format!("/v1/kill-switches/{path}"), &json!({"engaged": engaged, "reason": "golden"})).await;
    assert_eq!(code, 200, "{turned}");
}

/// The command ends without having done anything, because of a kill switch.
async fn is_stopped(dev: &Dev, command: &str, reference: &str) {
    let view = dev.reaches(command, &["SUCCEEDED", "FAILED", "CANCELLED"]).await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("FAILED"), &json!("kill_switch")), "{view}");
    assert_eq!(dev.applied(reference).await, 0, "{reference}");
}

async fn submitted(dev: &Dev, body: &Value) -> String {
    let (status, accepted) = dev.post("/v1/commands", body).await;
    assert_eq!(status, 202, "{accepted}");
    accepted["command_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn gp5_a_kill_switch_of_each_width_stops_its_own_and_nobody_else() {
    let dev = Dev::start().await;
    // The switch, whom it stops, and whom it does not.
    let widths = [
        ("global", vec![("demo", "ada"), ("other", "bob")], vec![]),
        ("clients/demo", vec![("demo", "ada"), ("demo", "bob")], vec![("other", "ada")]),
        ("accounts/ada?client_id=demo", vec![("demo", "ada")], vec![("demo", "bob"), ("other", "ada")]),
    ];
    for (n, (path, stopped, free)) in widths.into_iter().enumerate() {
        switch(&dev, path, true).await;
        for (client, handle) in stopped {
            let reference = format!("stopped_{n}_{client}_{handle}");
            let run = submitted(&dev, &command(client, handle, &reference)).await;
            is_stopped(&dev, &run, &reference).await;
            assert_eq!(actions(&dev, &run).await[0]["state"], "blocked");
        }
        for (client, handle) in free {
            let reference = format!("free_{n}_{client}_{handle}");
            let run = submitted(&dev, &command(client, handle, &reference)).await;
            assert_eq!(ended(&dev, &run).await["status"], "SUCCEEDED", "{path}");
            assert_eq!(dev.applied(&reference).await, 1);
        }
        switch(&dev, path, false).await;
        let run = publish(&dev, "ada", &format!("let_go_{n}")).await;
        assert_eq!(ended(&dev, &run).await["status"], "SUCCEEDED", "after {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gp5_a_trip_blocks_at_every_stage() {
    let dev = Dev::start().await;
    // While a person is asked: their yes comes too late.
    let (status, put) = dev.put("/v1/policies/account:demo%2Fcleo", &json!({"autonomy": "manual"})).await;
    assert_eq!(status, 200, "{put}");
    let asked = publish(&dev, "cleo", "asked").await;
    dev.reaches(&asked, &["HUMAN_REQUIRED"]).await;
    switch(&dev, "global", true).await;
    let gates = dev.get("/v1/gates?state=open").await;
    let gate = gates["items"][0]["gate_id"].as_str().unwrap();
    let (status, decided) = dev.post(&format!("/v1/gates/{gate}/decisions"), &json!({"decision": "approve"})).await;
    assert_eq!(status, 200, "{decided}");
    is_stopped(&dev, &asked, "asked").await;
    switch(&dev, "global", false).await;
    // Between two attempts: there is no further one.
    dev.mode(json!({"fail": "before", "status": 429})).await;
    let retried = publish(&dev, "dora", "retried").await;
    dev.action(&retried, "postcheck_complete").await;
    switch(&dev, "global", true).await;
    is_stopped(&dev, &retried, "retried").await;
    switch(&dev, "global", false).await;
    dev.mode(json!({})).await;
    // While the call is under way: it is told, and its outcome is looked for, which writes nothing.
    dev.mode(json!({"delay_ms": 1_000, "times": 1})).await;
    let late = publish(&dev, "ada", "late").await;
    dev.action(&late, "attempted").await;
    let (status, turned) = dev.put("/v1/kill-switches/global", &json!({"engaged": true, "reason": "golden"})).await;
    assert_eq!(status, 200, "{turned}");
    let listed = turned["under_way"].as_array().unwrap().iter().any(|it| it["command_id"] == *late);
    let done = dev.get(&format!("/v1/commands/{late}")).await["status"] == "SUCCEEDED";
    assert!(listed || done, "{turned}");
    assert_eq!(ended(&dev, &late).await["status"], "SUCCEEDED");
    assert_eq!(dev.applied("late").await, 1);
}

/// A process that is stopped until this is dropped.
struct Stopped(i32);

impl Stopped {
    fn now(pid: i32) -> Self {
        Dev::signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        Dev::signal(self.0, "CONT");
    }
}

/// An attempt is committed while its process is stopped, and so before its call: a trip in between is seen by the last check.
#[tokio::test(flavor = "multi_thread")]
async fn gp5_a_trip_between_attempted_and_the_call_stops_the_call() {
    let dev = Dev::start().await;
    let pool = PgPool::connect(&dev.ready.database_url).await.unwrap();
    // What a trip holds while it is turned: whoever records an attempt waits.
    let mut turning = pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(fermata.switch_lock())").execute(&mut *turning).await.unwrap();
    let run = dev.flow(FLOW, post("ada", "between", &json!({"call_timeout_s": 60}))).await;
    attempt_waits(&pool).await;
    let worker = dev.holder(&run).await;
    let stopped = Stopped::now(worker);
    turning.commit().await.unwrap();
    dev.action(&run, "attempted").await;
    let (status, turned) = dev.put("/v1/kill-switches/global", &json!({"engaged": true, "reason": "golden"})).await;
    drop(stopped);

    assert_eq!((status, &turned["under_way"][0]["command_id"]), (200, &json!(run)), "it is told: {turned}");
    is_stopped(&dev, &run, "between").await;
    let last = &actions(&dev, &run).await[0];
    assert_eq!((&last["effect"], &last["error"]["code"]), (&json!(false), &json!("kill_switch")), "{last:#}");
    let path = "select phase from fermata.audit where run_id = $1::uuid order by position desc limit 3";
    let path: Vec<String> = sqlx::query_scalar(path).bind(&run).fetch_all(&pool).await.unwrap();
    assert_eq!(path, ["postcheck_complete", "confirmed_failed", "attempted"]);
}

/// A commit waits for the lock of the kill switches.
async fn attempt_waits(pool: &PgPool) {
    let waiting = "select exists (select from pg_locks l where not l.granted and l.locktype = 'advisory'
        and l.mode = 'ShareLock' and l.database = (select oid from pg_database where datname = current_database()))";
    eventually("an attempt waits", || async {
        sqlx::query_scalar::<_, bool>(waiting).fetch_one(pool).await.unwrap().then_some(())
    })
    .await;
}
