//! `fermata bench`: every workload of the contract (section 5) does what it says, and prints what was measured and
//! nothing that was not. How fast is not asked: no test times the machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use fermata_tests::TestDb;
use serde_json::{Value, json};

async fn bench(db: &TestDb, words: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
    command.arg("bench").arg("--json").args(words.split(' ')).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("DATABASE_URL", &db.url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of an answer beside those that every workload has, sorted.
fn names(answer: &Value) -> Vec<&str> {
    const ALWAYS: [&str; 8] =
        ["workload", "runs", "steps", "concurrency", "seconds", "wal_bytes_per_run", "cpu_ms_per_run", "setup"];
    let names: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(ALWAYS.iter().all(|name| names.contains(name)), "{answer}");
    let mut names: Vec<&str> = names.into_iter().filter(|name| !ALWAYS.contains(name)).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn each_workload_does_its_runs_and_prints_what_applies() {
    let db = TestDb::new().await;
    let rates = ["runs_per_s", "steps_per_s"].as_slice();
    let times = ["p50_ms", "p99_ms"].as_slice();
    let results = ["result_p50_ms", "result_p99_ms"].as_slice();
    let mut done = 0;
    for (workload, steps, applies) in [
        ("w0", 0, [rates.split_at(1).0].as_slice()),
        ("w3", 3, &[rates]),
        ("w10", 10, &[rates]),
        ("w3 --workers 2", 3, &[rates]),
        ("submit", 0, &[rates.split_at(1).0, times]),
        ("latency", 1, &[times, results]),
        ("signal", 1, &[times]),
        ("events", 3, &[rates, times]),
        ("events --clients 3", 3, &[rates, times]),
    ] {
        let answer = bench(&db, &format!("--workload {workload} --runs 12 --concurrency 4")).await;
        let workload = workload.split(' ').next().unwrap();
        let mut applies = applies.concat();
        applies.sort_unstable();
        assert_eq!(names(&answer), applies, "{answer}");
        assert_eq!([&answer["workload"], &answer["steps"]], [&json!(workload), &json!(steps)]);
        // The measured runs and those that warmed up; nothing is left behind.
        done += 12 + 50;
        assert_eq!(db.count("select count(*) from fermata.outcome where status = 'SUCCEEDED'").await, done);
        assert_eq!(db.count("select count(*) from fermata.live").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_sleep_wake_when_they_are_due_and_not_before() {
    let db = TestDb::new().await;
    let answer = bench(&db, "--workload timers --runs 200 --sleep-ms 12000").await;
    let counted = [
        "asleep_client_cpu_ms_per_s",
        "asleep_mib",
        "asleep_mib_more_than_empty",
        "asleep_postgres_cpu_ms_per_s",
        "p50_ms",
        "p99_ms",
        "woken_mib",
    ];
    assert_eq!(names(&answer), counted, "{answer}");
    let early = "select count(*) from fermata.step a join fermata.step b on b.run_id = a.run_id and b.key like 'step%'
        where a.key = 'sleep' and b.started_at < (a.output #>> '{}')::timestamptz";
    assert_eq!(db.count(early).await, 0);
    assert_eq!(db.count("select count(*) from fermata.outcome where status = 'SUCCEEDED'").await, 200 + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_flight_on_a_worker_that_is_killed_go_on_on_the_other() {
    let db = TestDb::new().await;
    let answer = bench(&db, "--workload recover --runs 60 --concurrency 40 --steps 6 --step-ms 500").await;
    let counted =
        ["all_ended_ms", "false_takeovers", "first_ms", "in_flight", "last_ms", "p50_ms", "p99_ms", "taken_over"];
    assert_eq!(names(&answer), counted, "{answer}");
    // 40 slots each: the one that was killed held at least 20.
    assert_eq!(answer["in_flight"], 60.0);
    assert!((20.0..=40.0).contains(&answer["taken_over"].as_f64().unwrap()), "{answer}");
    assert_eq!(answer["false_takeovers"], 0.0);
    let moved = "select count(distinct run_id) from fermata.step where epoch > 1";
    assert_eq!(answer["taken_over"], f64::from(i32::try_from(db.count(moved).await).unwrap()));
    assert_eq!(db.count("select count(*) from fermata.step where error is null").await, 60 * 6);
    assert_eq!(db.count("select count(*) from fermata.outcome where status = 'SUCCEEDED'").await, 60);
}
