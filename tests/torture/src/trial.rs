//! One trial: a plan carried out on a stage, written down for the checker, and checked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fermata_checker::Figures;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::blow;
use crate::client::{AGAIN, Client};
use crate::clock;
use crate::cluster::Cluster;
use crate::dump::{self, Positions};
use crate::fault::Blow;
use crate::flow::{conduct, policy, prefix};
use crate::history::{Ask, Ended, History, Told};
use crate::plan::{Plan, Promise};
use crate::reader::Reader;
use crate::stage::Stage;
use crate::trouble::Trouble;
use crate::work::{Office, carry, id};

/// How long runs may take to get where they end or wait, once all is calm (I11).
const SETTLES_WITHIN: Duration = Duration::from_secs(45);
/// How exact the clocks of one machine are compared.
const TOLERANCE_MS: u64 = 50;
/// When the audit is dumped for the first time.
const EARLIER_MS: u64 = 700;

/// What became of a trial.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) fault: &'static str,
    /// The points at which a process fell.
    pub(crate) fell: Vec<String>,
    /// How many blows struck: processes killed or stopped, and faults of links that met something.
    pub(crate) struck: u64,
    pub(crate) seconds: f64,
    pub(crate) runs: usize,
    /// How many facts the checker looked at.
    pub(crate) facts: u64,
    pub(crate) violations: Vec<Value>,
    /// What the platform was asked for and did.
    pub(crate) figures: Figures,
    /// How often anything was asked of the platform, looks and logins included.
    pub(crate) requests: u64,
}

/// Carries out one trial.
pub(crate) async fn run(
    stage: &mut Stage,
    cluster: &mut Option<Cluster>,
    plan: &Plan,
    folder: &Path,
) -> Result<Report, Trouble> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("plan.json"), serde_json::to_string_pretty(plan)?)?;
    let client_id = plan.client();
    for promise in Promise::ALL {
        stage.set_site_plan(&prefix(&client_id, promise), &conduct(plan, promise)).await?;
    }
    blow::set_up(stage, &plan.blows).await?;
    let from = dump::positions(&stage.looks).await?;
    let (struck, requests) = (stage.struck().await?, stage.requests().await?);
    let history = Arc::new(History::new(folder)?);
    let client = Client::new(&stage.control, &stage.token, &client_id, Arc::clone(&history))?;
    if let Some(rations) = &plan.rations {
        ration(&client, &policy(rations)).await?;
    }
    let after = head(&client).await?;
    let began_at = clock::now();
    let over = Arc::new(AtomicBool::new(false));
    let office = Office::open(&client, plan, &over);
    let (tell, reached) = watch::channel(None);
    let mut readers = JoinSet::new();
    for reader in &plan.readers {
        let reader = Reader::new(stage, reader, (&client_id, &after), (folder, Arc::clone(&over)))?;
        readers.spawn(reader.read(reached.clone()));
    }
    let mut clients = start_clients(&office, plan);
    let earlier = earlier(stage.looks.clone(), folder.to_owned(), from, office.clone());
    let (fell, earlier) = tokio::join!(blow::deal(stage, cluster, &plan.blows, &office), earlier);
    let fell = fell?;
    earlier?;
    stage.up().await?;
    let calm_at = clock::now();
    let settled = settle(stage, &client_id, &mut clients).await?;
    over.store(true, Ordering::SeqCst);
    while let Some(done) = clients.join_next().await {
        done.map_err(|error| Trouble::Answer(error.to_string()))??;
    }
    if plan.seed.is_multiple_of(8) {
        tamper(stage, &history, &client_id).await?;
    }
    tell.send_replace(Some(dump::positions(&stage.looks).await?.event));
    let mut unfinished = Vec::new();
    while let Some(done) = readers.join_next().await {
        unfinished.extend(done.map_err(|error| Trouble::Answer(error.to_string()))??);
    }
    history.close()?;
    let ledger = witness(stage, &client_id, folder).await?;
    let to = dump::dump(&stage.looks, folder, &client_id, from).await?;
    let trial = json!({
        "seed": plan.seed, "trial": plan.seed, "fault": plan.fault.name(), "clients": [client_id],
        "window": {"after": from.event, "upto": to.event}, "audit_window": {"after": from.audit, "upto": to.audit},
        "began_at": began_at, "calm_at": calm_at, "ended_at": clock::now(), "tolerance_ms": TOLERANCE_MS,
        "settled": settled, "rations": plan.rations,
    });
    std::fs::write(folder.join("trial.json"), trial.to_string())?;
    let mut report = check(plan, folder, fell, office.began.elapsed())?;
    report.requests = stage.requests().await?.saturating_sub(requests);
    report.struck = struck_by_signal(&plan.blows, &report.fell) + stage.struck().await?.saturating_sub(struck);
    let log = stage.proxy.tell(&json!({"op": "log", "last": 100})).await?;
    std::fs::write(folder.join("proxy.json"), log.to_string())?;
    // What was not read cannot be judged by who was to read it.
    report.violations.extend(unfinished.into_iter().map(|via| {
        let says = format!("a reader by way of {via} did not come to the end of the stream once all was calm");
        json!({"invariant": "I11", "subject": via, "says": says})
    }));
    sweep(stage, &client, &ledger).await?;
    Ok(report)
}

/// Writes down what the site was asked for and what it did, and forgets the trial's plans; answers what it did.
async fn witness(stage: &Stage, client_id: &str, folder: &Path) -> Result<Vec<Value>, Trouble> {
    let ledger = stage.ledger(&format!("{client_id}-")).await?;
    dump::write(&folder.join("ledger.jsonl"), &ledger)?;
    let mut calls = Vec::new();
    for promise in Promise::ALL {
        let prefix = prefix(client_id, promise);
        calls.extend(stage.calls(&prefix).await?);
        stage.forget_site_plan(&prefix).await?;
    }
    dump::write(&folder.join("calls.jsonl"), &calls)?;
    Ok(ledger)
}

fn check(plan: &Plan, folder: &Path, fell: Vec<String>, took: Duration) -> Result<Report, Trouble> {
    let trial = fermata_checker::read(folder).map_err(|error| Trouble::Answer(error.to_string()))?;
    let (verdict, figures) = (serde_json::to_value(fermata_checker::check(&trial))?, Figures::of(&trial));
    std::fs::write(folder.join("verdict.json"), serde_json::to_string_pretty(&verdict)?)?;
    let facts = verdict["checked"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
    Ok(Report {
        seed: plan.seed,
        fault: plan.fault.name(),
        fell,
        struck: 0,
        seconds: took.as_secs_f64(),
        runs: plan.runs.len(),
        facts,
        violations: verdict["violations"].as_array().cloned().unwrap_or_default(),
        figures,
        requests: 0,
    })
}

/// How many processes were killed or stopped, of their own or by the plan.
fn struck_by_signal(blows: &[Blow], fell: &[String]) -> u64 {
    let dealt = blows.iter().filter(|blow| !matches!(blow, Blow::Link { .. } | Blow::Point { .. })).count();
    u64::try_from(dealt + fell.len()).unwrap_or(u64::MAX)
}

/// The newest place in the stream, asked for until it is told.
async fn head(client: &Client) -> Result<String, Trouble> {
    let mut left = 20_u32;
    loop {
        match client.head().await {
            Ok(head) => return Ok(head),
            Err(error) if left == 0 => return Err(error),
            Err(_) => left -= 1,
        }
        clock::pause(AGAIN).await;
    }
}

/// Puts the policy in force before anything begins.
async fn ration(client: &Client, document: &Value) -> Result<(), Trouble> {
    let mut left = 20_u32;
    while client.policy(document).await?.ended != Ended::Ok {
        if left == 0 {
            return Err(Trouble::Answer("the policy was not taken".into()));
        }
        left -= 1;
        clock::pause(AGAIN).await;
    }
    Ok(())
}

fn start_clients(office: &Office, plan: &Plan) -> JoinSet<Result<(), Trouble>> {
    let mut clients = JoinSet::new();
    for (number, run) in plan.runs.iter().enumerate() {
        let (office, run) = (office.clone(), run.clone());
        clients.spawn(async move { carry(office, number, run).await.map(drop) });
    }
    if let Some(switch) = plan.switch.clone() {
        let office = office.clone();
        clients.spawn(async move {
            office.until(switch.at_ms).await;
            office.client.switch(true).await?;
            office.until(switch.at_ms + switch.for_ms).await;
            while office.client.switch(false).await?.ended != Ended::Ok && !office.is_over() {
                clock::pause(AGAIN).await;
            }
            Ok(())
        });
    }
    for (number, at_ms) in plan.abandoned_at_ms.iter().copied().enumerate() {
        let office = office.clone();
        clients.spawn(async move {
            office.until(at_ms).await;
            let command = office.client.any_command();
            if let Some(command) = command {
                let id = id(&office.client.tenant, number, 9);
                office.client.abandon(&command, id, Duration::from_micros(200 + at_ms * 7 % 9_000)).await;
            }
            Ok(())
        });
    }
    clients
}

async fn earlier(
    looks: sqlx::PgPool,
    folder: std::path::PathBuf,
    from: Positions,
    office: Office,
) -> Result<(), Trouble> {
    office.until(EARLIER_MS).await;
    if office.postgres_dies {
        return Ok(());
    }
    dump::audit_so_far(&looks, &folder, from).await
}

/// Waits until every run has ended, or waits for what only a person or nobody can give it.
async fn settle(stage: &Stage, client: &str, clients: &mut JoinSet<Result<(), Trouble>>) -> Result<bool, Trouble> {
    let began = clock::monotonic();
    while began.elapsed() < SETTLES_WITHIN {
        while let Some(done) = clients.try_join_next() {
            done.map_err(|error| Trouble::Answer(error.to_string()))??;
        }
        let (moving, asked): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where not unknown and not asks), count(*) filter (where unknown) from (
                select (exists (select 1 from fermata.gate g where g.run_id = l.id and g.state = 'open')
                        and exists (select 1 from fermata.action a where a.run_id = l.id and a.state = 'unknown')) as unknown,
                       (l.state = 2 and l.wait_reason in ('approval', 'signal')) as asks
                from fermata.live l where l.client_id = $1) runs",
        )
        .bind(client)
        .fetch_one(&stage.looks)
        .await?;
        // Who watches a run that asks for something gives it; what nobody heard of asks for ever.
        let watching = i64::try_from(clients.len()).unwrap_or(i64::MAX);
        if moving == 0 && watching <= asked {
            return Ok(true);
        }
        clock::pause(Duration::from_millis(80)).await;
    }
    Ok(false)
}

/// Tries what nobody may do, as the program's own role (I4, I8).
async fn tamper(stage: &Stage, history: &History, client: &str) -> Result<(), Trouble> {
    let statements = [
        ("I8", "update fermata.audit set actor = 'nobody'"),
        ("I8", "delete from fermata.audit"),
        ("I8", "truncate fermata.audit"),
        ("I4", "update fermata.action set state = 'queued' where state = 'postcheck_complete'"),
    ];
    for (breaks, statement) in statements {
        if breaks == "I4" {
            let any: bool =
                sqlx::query_scalar("select exists (select 1 from fermata.action where state = 'postcheck_complete')")
                    .fetch_one(&stage.looks)
                    .await?;
            if !any {
                continue;
            }
        }
        let ask = Ask {
            who: "intruder",
            via: "sql",
            op: "tamper",
            what: json!({"statement": statement, "breaks": breaks, "client_id": client}),
            sent_at: clock::now(),
        };
        let mut attempt = stage.looks.begin().await?;
        let ended = if attempt.execute(statement).await.is_ok() { Ended::Ok } else { Ended::Fail };
        attempt.rollback().await?;
        history.note(&ask, Some(clock::now()), &Told { ended, status: None, answer: Value::Null })?;
    }
    Ok(())
}

/// Lets what still waits end, so that it does not disturb the trials that follow: nothing of it is checked.
async fn sweep(stage: &Stage, client: &Client, ledger: &[Value]) -> Result<(), Trouble> {
    let waiting: Vec<(Uuid, Uuid, Option<String>)> = sqlx::query_as(
        "select g.id, g.run_id, r.input #>> '{inputs,reference}' from fermata.gate g join fermata.run r on r.id = g.run_id
         where g.client_id = $1 and g.state = 'open'",
    )
    .bind(&client.tenant)
    .fetch_all(&stage.looks)
    .await?;
    for (gate, command, reference) in waiting {
        let there = ledger.iter().any(|line| line["reference"].as_str() == reference.as_deref());
        client.decide(&command.to_string(), &gate.to_string(), there).await?;
    }
    Ok(())
}
