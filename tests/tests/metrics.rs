//! Laws of the metrics: what is measured is explained, what a board or an alert asks for exists,
//! and no scrape can hurt the service or be hurt by its database.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fermata_api::app::{AppOptions, AppState, app_with};
use fermata_api::graphql::{self, GraphqlOptions};
use fermata_api::telemetry::{MEASURES, PrometheusHandle, SERVICE, Scrape, install_metrics};
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::event::{Followed, Start};
use fermata_engine::read::EventFilter;
use fermata_engine::telemetry::{self, Kind, Measure};
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::{Ledger, Post, Promises, TestDb, cluster_url, eventually};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

/// Known, but seen only when something is wrong, with a WebSocket, or with a worker next door.
const RARE: [&str; 4] =
    ["api_rate_limited_requests_total", "commands_handed_over_total", "stream_connections", "stream_closed_total"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| install_metrics().unwrap()).clone()
}

/// Everything that a process can measure, by name.
fn known() -> BTreeMap<&'static str, Measure> {
    let all = [telemetry::MEASURES, MEASURES, SERVICE].into_iter().flatten();
    let known: BTreeMap<_, _> = all.clone().map(|measure| (measure.name, *measure)).collect();
    assert_eq!(known.len(), all.count(), "a measure is listed twice");
    known
}

/// Publishes when asked to, and fails otherwise.
struct Publish(Ledger);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Input {
    key: Option<String>,
    #[serde(default)]
    promises: Promises,
}

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.publish";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let Some(key) = input.key else { return Err(Failure::new("nothing", "there is nothing to publish")) };
        context.effect("publish", &Post { ledger: self.0.clone(), key, promises: input.promises }).await
    }
}

fn registry() -> Registry {
    Registry::new().with(Publish(Ledger::default()))
}

/// The number at the end of a page's line that begins like this.
fn number(page: &str, line: &str) -> Option<f64> {
    page.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
}

/// A process with its REST and GraphQL surfaces, behind a socket.
async fn served(engine: &Engine) -> String {
    let mut state = AppState::new(engine.clone(), AppOptions::default());
    let scrape = Arc::new(Scrape::new(recorder(), engine.clone()));
    state.metrics = Arc::new(move || {
        let scrape = Arc::clone(&scrape);
        Box::pin(async move { scrape.page().await })
    });
    let router = app_with(state, graphql::mounts(GraphqlOptions::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// A page on which everything has happened: a success, a failure, a doubt, requests, a follower, a
/// renewed lease.
async fn eventful() -> String {
    drop(rustls::crypto::ring::default_provider().install_default());
    recorder();
    let db = TestDb::new().await;
    let engine = db.worker(registry(), Duration::from_secs(3)).await;
    let by = Principal::operator();
    let mut follower = engine.follow(&by, EventFilter::default(), Start::Latest).await.unwrap();
    // Only the first call of a ledger is lost, so the doubt comes first.
    let odd = json!({"key": "b", "promises": Promises { loses_call: true, ..Promises::default() }});
    let odd = db.submit(&engine, "test.publish", odd).await;
    db.reaches(&engine, odd, &["HUMAN_REQUIRED"]).await;
    let good = db.submit(&engine, "test.publish", json!({"key": "a"})).await;
    let bad = db.submit(&engine, "test.publish", json!({"key": null})).await;
    assert_eq!(db.ended(&engine, good).await.status, "SUCCEEDED");
    assert_eq!(db.ended(&engine, bad).await.status, "FAILED");
    while !matches!(follower.next().await.unwrap(), Followed::Event(_)) {}
    let new = NewToken {
        client_id: "c".into(),
        name: "t".into(),
        scopes: vec![Scope::Admin],
        command_types: None,
        ttl: None,
    };
    let token = engine.create_token(&by, new).await.unwrap().token;
    let (base, http) = (served(&engine).await, reqwest::Client::new());
    let query = json!({"query": "{ __typename }"});
    let asked = http.post(format!("{base}/graphql")).bearer_auth(token).json(&query).send().await.unwrap();
    assert_eq!(asked.status(), 200);
    eventually("the page shows a renewed lease and the doubt", || async {
        let page = http.get(format!("{base}/metrics")).send().await.ok()?.text().await.ok()?;
        (number(&page, "lease_margin_seconds ").is_some() && number(&page, "actions_unknown ") == Some(1.0))
            .then_some(page)
    })
    .await
}

/// Names of families on a page, each with its kind and the labels that its lines have.
fn families(page: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        }
    }
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let suffixes = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let family = suffixes.filter(|base| found.contains_key(*base)).unwrap_or(name);
        let (_, labels) = found.get_mut(family).unwrap_or_else(|| panic!("{line} has no TYPE"));
        let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
        let label = |pair: &str| pair.split_once("=\"").map(|(label, _)| label.trim_start_matches(',').to_owned());
        labels.extend(inside.split_inclusive("\",").filter_map(label).filter(|label| label != "le"));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_exported_with_its_help_its_kind_and_no_other_labels_than_declared() {
    let (page, known) = (eventful().await, known());
    let families = families(&page);
    for (name, (kind, labels)) in &families {
        let help = page.lines().find_map(|line| line.strip_prefix(&format!("# HELP {name} ")));
        assert!(help.is_some_and(|help| help.ends_with('.') && help.len() > 4), "{name} has no HELP: {help:?}");
        if name.starts_with("process_") {
            continue;
        }
        let measure = known.get(name.as_str()).unwrap_or_else(|| panic!("{name} is listed nowhere"));
        assert_eq!(*kind, format!("{:?}", measure.kind).to_lowercase(), "{name}");
        let declared: BTreeSet<_> = measure.labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(*labels, declared, "labels of {name}");
    }
    let missing: Vec<_> = known.keys().filter(|name| !families.contains_key(**name)).collect();
    assert!(missing.iter().all(|name| RARE.contains(name)), "never exported: {missing:?}");
    assert!(!page.contains("quantile="), "all histograms are true ones");
    assert_eq!(number(&page, "gates_open{kind=\"takeover\"}"), Some(1.0));
    assert_eq!(number(&page, "nodes_alive"), Some(1.0));
    // S-087: the good effect and the doubtful one.
    for (name, count) in [("attempts", 2.0), ("success", 1.0), ("unknown", 1.0), ("latency_ms_count", 2.0)] {
        assert_eq!(number(&page, &format!("side_effect_{name}{{lane=\"api\"}}")), Some(count), "side_effect_{name}");
    }
    assert_eq!(number(&page, "fermata_database_up"), Some(1.0));
    if let Some(promtool) = promtool() {
        let path = std::env::temp_dir().join(format!("fermata-page-{}", std::process::id()));
        std::fs::write(&path, &page).unwrap();
        let page = std::fs::File::open(&path).unwrap();
        let checked = Command::new(promtool).args(["check", "metrics"]).stdin(page).output().unwrap();
        std::fs::remove_file(&path).unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        // Its advice on names is not followed where a document fixes them (C-25); errors would be.
        assert!(!said.contains("error while linting"), "{said}");
    }
}

#[test]
fn what_the_code_measures_is_listed_under_the_same_kind() {
    let (known, mut folders, mut seen) = (known(), vec![root().join("engine/src"), root().join("api/src")], 0);
    folders.extend([root().join("graphql/src"), root().join("workflows/src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
                let call = format!("metrics::{}!(\"", format!("{kind:?}").to_lowercase());
                for found in text.split(&call).skip(1) {
                    let name = found.split('"').next().unwrap();
                    assert_eq!(known.get(name).map(|measure| measure.kind), Some(kind), "{name} in {}", path.display());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 20, "the search finds what there is");
}

/// The names of metrics in an expression: what is left without strings, matchers, ranges, groupings
/// and functions.
fn names(expression: &str) -> BTreeSet<String> {
    let (mut plain, mut depth, mut quoted) = (String::new(), 0_usize, false);
    for c in expression.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    for grouping in ["by", "without", "on", "ignoring", "group_left", "group_right"] {
        for opening in [format!(" {grouping} ("), format!(" {grouping}(")] {
            while let Some(start) = plain.find(&opening) {
                let end = start + plain[start..].find(')').unwrap();
                plain.replace_range(start..=end, " ");
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut rest = plain.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let number = rest[..start].ends_with(|c: char| c.is_ascii_digit() || c == '.');
        let word = rest[start..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        rest = &rest[start + word.len()..];
        let operator = ["and", "or", "unless", "bool", "offset"].contains(&word);
        if !number && !operator && !rest.trim_start().starts_with('(') {
            found.insert(word.to_owned());
        }
    }
    found
}

#[test]
fn names_are_found_in_expressions() {
    for (expression, wanted) in [
        ("sum by (le, a) (rate(x_bucket{b=\"y_total\", c=~\"z\"}[5m])) > 0.5", vec!["x_bucket"]),
        ("topk(10, max by (a)(b_c)) - d{} / on(e) f or vector(0) unless 1e3 * g", vec!["b_c", "d", "f", "g"]),
        ("deriv(max(h)[5m:15s])", vec!["h"]),
    ] {
        assert_eq!(names(expression), wanted.into_iter().map(str::to_owned).collect(), "{expression}");
    }
}

/// Every expression of the boards, by board and panel.
fn of_boards() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for board in ["operator", "engineer"] {
        let document: Value = serde_json::from_str(&read(&format!("dashboards/grafana/{board}.json"))).unwrap();
        for panel in document["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(title.ends_with('?'), "a panel answers a question: {title}");
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} is explained");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title} shows something");
            found.extend(targets.iter().map(|it| (format!("{board}: {title}"), it["expr"].as_str().unwrap().into())));
        }
    }
    found
}

/// Every expression of the alerts, by alert.
fn of_rules() -> Vec<(String, String)> {
    let text = read("dashboards/prometheus/rules.yml");
    let rule = |rule: &str| {
        let (name, rest) = rule.split_once('\n').unwrap();
        for part in ["summary: \"", "description: \"", "runbook: \"", "severity: "] {
            assert!(rest.contains(part), "{name} has no {part}");
        }
        let (_, expression) = rest.split_once("expr: ").unwrap();
        let end = ["for:", "labels:"].iter().filter_map(|next| expression.find(next)).min().unwrap();
        (name.trim().to_owned(), expression[..end].trim_start_matches('|').to_owned())
    };
    text.split("- alert: ").skip(1).map(rule).collect()
}

#[test]
fn boards_and_alerts_ask_only_for_what_is_exported() {
    let known = known();
    let (boards, rules) = (of_boards(), of_rules());
    assert!(boards.len() > 20 && rules.len() > 8);
    for (place, expression) in boards.into_iter().chain(rules) {
        let names = names(&expression);
        assert!(!names.is_empty(), "{place}: {expression}");
        for name in names {
            let parts = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let exported = match (known.get(name.as_str()), parts.and_then(|base| known.get(base))) {
                (Some(measure), _) => measure.kind != Kind::Histogram,
                (None, Some(measure)) => measure.kind == Kind::Histogram,
                (None, None) => name == "up" || name == "process_resident_memory_bytes",
            };
            assert!(exported, "{place} asks for {name}, which is not exported");
        }
    }
}

/// Prometheus' own checker, where it is installed.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("promtool")).find(|path| path.is_file());
    if found.is_none() {
        eprintln!("promtool is not installed: what Prometheus says of rules and page is not asked");
    }
    found
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    let rules = read("dashboards/prometheus/rules_test.yml");
    for (alert, _) in of_rules() {
        assert!(rules.contains(&alert), "{alert} has no test");
    }
    let Some(promtool) = promtool() else { return };
    let folder = root().join("dashboards/prometheus");
    for arguments in [["test", "rules", "rules_test.yml"], ["check", "config", "prometheus.yml"]] {
        let done = Command::new(&promtool).args(arguments).current_dir(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        assert!(done.status.success(), "{said}");
    }
}

async fn queued(db: &TestDb, client: &str, runs: i32) {
    sqlx::query(
        "insert into fermata.live (id, client_id, workflow, state, priority, ready_at)
         select gen_random_uuid(), $1, 'w@1', 0, 0, now() - interval '1 minute' from generate_series(1, $2)",
    )
    .bind(client)
    .bind(runs)
    .execute(&db.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_clients_there_are_the_longest_queues_are_named_and_the_rest_is_summed() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    for n in 1..=80 {
        queued(&db, &format!("client \"{n}\""), n).await;
    }
    queued(&db, "other", 1).await;
    let page = Scrape::new(recorder(), engine).page().await;
    let depths: Vec<_> = page.lines().filter(|line| line.starts_with("queue_depth{")).collect();
    assert_eq!(depths.len(), 51, "{depths:?}");
    assert_eq!(number(&page, r#"queue_depth{queue="w@1",client="client \"80\""}"#), Some(80.0));
    assert_eq!(
        number(&page, r#"queue_depth{queue="other",client="other"}"#),
        Some(f64::from((1..=30).sum::<i32>() + 1))
    );
    let sum = f64::from((1..=80).sum::<i32>() + 1);
    assert_eq!((number(&page, r#"runs{state="ready"}"#), number(&page, "runs_active")), (Some(sum), Some(sum)));
    assert!(number(&page, r#"queue_oldest_ready_seconds{queue="other",client="other"}"#).unwrap() >= 60.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_at_once_look_once_and_an_answer_is_shown_again_for_two_seconds() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let scrape = Scrape::new(recorder(), engine.clone());
    let began = engine.clock().monotonic();
    let looked = |page: &str| number(page, "service_read_seconds ").unwrap();
    let first = looked(&scrape.page().await);
    let pages = futures::future::join_all((0..32).map(|_| scrape.page())).await;
    let same = pages.iter().all(|page| looked(page).to_bits() == first.to_bits());
    // A machine that stood still in between proves nothing.
    assert!(same || engine.clock().monotonic() - began > Duration::from_secs(2));
    eventually("the database is looked at again", || async {
        (looked(&scrape.page().await).to_bits() != first.to_bits()).then_some(())
    })
    .await;
    assert!(engine.clock().monotonic() - began >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_or_stuck_is_told_of_and_does_not_break_the_scrape() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let page = || async { Scrape::new(recorder(), engine.clone()).page().await };
    let told = |page: &str| (number(page, "fermata_database_up "), number(page, "service_metrics_up "));
    assert_eq!(told(&page().await), (Some(1.0), Some(1.0)));

    let mut holder = db.pool.begin().await.unwrap();
    sqlx::query("lock table fermata.live in access exclusive mode").execute(&mut *holder).await.unwrap();
    let began = engine.clock().monotonic();
    let stuck = page().await;
    assert!(engine.clock().monotonic() - began < Duration::from_secs(5), "a scrape is bounded");
    assert_eq!(number(&stuck, "service_metrics_up "), Some(0.0));
    assert!(!stuck.contains("queue_depth"), "old numbers do not pass for today's");
    holder.rollback().await.unwrap();
    assert_eq!(told(&page().await), (Some(1.0), Some(1.0)));

    let (_, name) = db.url.rsplit_once('/').unwrap();
    let mut admin = sqlx::PgConnection::connect(&cluster_url().await).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections false"))).await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
    )
    .bind(name)
    .execute(&mut admin)
    .await
    .unwrap();
    let away = page().await;
    assert_eq!(told(&away), (Some(0.0), Some(0.0)));
    assert!(number(&away, "process_resident_memory_bytes ").is_some() && away.contains("runs_claimed_total"));
    admin.execute(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true"))).await.unwrap();
    assert_eq!(told(&page().await), (Some(1.0), Some(1.0)));
}
