//! Crash in the middle: the worker dies right after the click, and nothing happens twice.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::tour::Tour;
use crate::process::{ReadyNode, Trouble};

/// How often the demo site's ledger is looked at: the kill must fall between click and record.
const FAST: Duration = Duration::from_millis(3);
/// How often everything else is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the kill may come too late before that is said to be the result.
const TRIES: u32 = 5;

/// A worker that was killed between the click and the record of its outcome.
struct Killed {
    id: String,
    key: String,
    worker: ReadyNode,
    at: Instant,
    epoch: i64,
}

pub(super) async fn run(tour: &mut Tour) -> Result<(), Trouble> {
    tour.heading("1. Crash in the middle: a worker dies between its click and the record of it");
    tour.site_mode(&json!({})).await?;
    let killed = strike(tour).await?;
    take_over(tour, &killed).await?;
    outcome(tour, &killed).await?;
    comes_back(tour, &killed.worker).await
}

/// Submits and kills until a kill fell between the click and the record.
async fn strike(tour: &mut Tour) -> Result<Killed, Trouble> {
    for _ in 0..TRIES {
        let key = reference()?;
        let inputs = json!({ "caption": "Published once, although the worker died.", "reference": key });
        let (id, took) = submit(tour, "demo.publish", &key, inputs).await?;
        let killed = kill_after_click(tour, id, key).await?;
        let actions = tour.list(&killed.id, "actions").await?;
        let state = actions.first().map(|action| action["state"].clone()).unwrap_or_default();
        if state != "attempted" {
            // The outcome was recorded before the kill: true, but not what is to be shown.
            tour.until("the command ends", LOOK, async || ended(tour, &killed.id).await).await?;
            continue;
        }
        tour.tick(format!("demo.publish was accepted as {} in {} (reference {})", killed.id, ms(took), killed.key));
        let (name, pid) = (&killed.worker.name, killed.worker.pid);
        tour.tick(format!("{name} drove a real browser, clicked Publish, and was killed with SIGKILL (pid {pid})"));
        let found = tour.ledger(&killed.key).await?;
        tour.check(found.len() == 1, "the post is on the demo site: the click had happened", &json!(found))?;
        tour.tick("Fermata knows only that it was attempted: the action has no outcome");
        return Ok(killed);
    }
    Err(Trouble::failed(format!("in {TRIES} tries no kill fell between the click and the record of it"))
        .remedy("run it again; a busy machine widens the gap"))
}

/// Submits a flow; answers the command and how long that took.
pub(super) async fn submit(tour: &Tour, flow: &str, key: &str, inputs: Value) -> Result<(String, Duration), Trouble> {
    let body = json!({
        "type": "flow.run",
        "idempotency_key": key,
        "payload": { "workflow_name": flow, "inputs": inputs },
    });
    let began = tour.clock.monotonic();
    let accepted = tour.api.post("/v1/commands", &body).await?;
    let id = accepted["command_id"].as_str().unwrap_or_default().to_owned();
    Ok((id, tour.since(began)))
}

/// Waits for the post to appear on the site, and kills the worker that put it there.
async fn kill_after_click(tour: &Tour, id: String, key: String) -> Result<Killed, Trouble> {
    let worker = tour.until("a worker carries the run", LOOK, async || tour.holder(&id).await).await?;
    let pid = i32::try_from(worker.pid).map(Pid::from_raw);
    let pid = pid.map_err(|error| Trouble::failed("the ready file names no process").why(error.to_string()))?;
    tour.until("the post appears on the demo site", FAST, async || {
        let found = tour.ledger(&key).await?;
        if found.is_empty() {
            return stopped(tour, &id).await;
        }
        Ok(Some(()))
    })
    .await?;
    kill(pid, Signal::SIGKILL)
        .map_err(|error| Trouble::failed(format!("{} cannot be killed", worker.name)).why(error.to_string()))?;
    let at = tour.clock.monotonic();
    let epoch = tour.command(&id).await?["epoch"].as_i64().unwrap_or_default();
    Ok(Killed { id, key, worker, at, epoch })
}

/// A run that ended or waits before its click is not the one to be shown.
async fn stopped(tour: &Tour, id: &str) -> Result<Option<()>, Trouble> {
    let command = tour.command(id).await?;
    match command["status"].as_str().unwrap_or_default() {
        "FAILED" | "CANCELLED" | "HUMAN_REQUIRED" => Err(Trouble::failed("the command stopped before its click")
            .why(format!("{}: {:#}", command["status"], command["error"]))),
        _ => Ok(None),
    }
}

/// Measures how long it takes until another lease carries the run, and until it has ended.
async fn take_over(tour: &mut Tour, killed: &Killed) -> Result<(), Trouble> {
    let taken = tour
        .until("another worker takes the run over", LOOK, async || {
            let epoch = tour.command(&killed.id).await?["epoch"].as_i64();
            Ok(epoch.filter(|epoch| *epoch > killed.epoch))
        })
        .await?;
    let after = ms(tour.since(killed.at));
    let successor = tour.holder(&killed.id).await?.map(|worker| format!(" by {} (pid {})", worker.name, worker.pid));
    let successor = successor.unwrap_or_default();
    tour.tick(format!(
        "taken over{successor} {after} after the kill, under lease epoch {taken} instead of {}",
        killed.epoch
    ));
    let command = tour.until("the command ends", LOOK, async || ended(tour, &killed.id).await).await?;
    let after = ms(tour.since(killed.at));
    tour.check(command["status"] == "SUCCEEDED", format!("succeeded {after} after the kill"), &command)
}

/// The command, once it has ended or waits for a person.
pub(super) async fn ended(tour: &Tour, id: &str) -> Result<Option<Value>, Trouble> {
    let command = tour.command(id).await?;
    let over = matches!(command["status"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELLED" | "HUMAN_REQUIRED"));
    Ok(over.then_some(command))
}

/// Everything that must be true afterwards.
async fn outcome(tour: &mut Tour, killed: &Killed) -> Result<(), Trouble> {
    let actions = tour.list(&killed.id, "actions").await?;
    let confirmed = |action: &Value| {
        let state = action["state"].as_str().unwrap_or_default();
        matches!(state, "confirmed_success" | "postcheck_complete") && action["effect"] == true
    };
    let once = actions.len() == 1 && actions.iter().all(confirmed);
    tour.check(once, "there was exactly one action, and it is confirmed", &json!(actions))?;

    // One attempt, under the lease of the killed worker; the outcome came under that of its successor.
    let events = tour.list(&killed.id, "events").await?;
    let at = |wanted: &dyn Fn(&Value) -> bool| events.iter().position(wanted);
    let lost = at(&|event| event["data"]["reason"] == "node_lost");
    let attempts = events.iter().filter(|event| event["type"] == "action.attempted").count();
    let verified = at(&|event| event["type"] == "action.verified");
    let looked =
        attempts == 1 && lost.is_some() && lost < verified && actions.iter().all(|action| action["resends"] == 0);
    tour.check(
        looked,
        "the successor looked before it acted, found the post, and did not click again",
        &json!(events),
    )?;

    let found = tour.ledger(&killed.key).await?;
    let line = format!("the demo site counts exactly 1 post for the key: {}/_ledger?key={}", tour.site(), killed.key);
    tour.check(found.len() == 1, line, &json!(found))?;

    let artifacts = tour.list(&killed.id, "artifacts").await?;
    let shots = artifacts.iter().filter(|artifact| artifact["kind"] == "screenshot").count();
    if shots > 0 {
        tour.tick(format!("{shots} screenshot(s) show it: {}/v1/commands/{}/artifacts", tour.api.base(), killed.id));
    }
    Ok(())
}

/// `dev` starts the killed worker again.
async fn comes_back(tour: &mut Tour, killed: &ReadyNode) -> Result<(), Trouble> {
    let back = tour
        .until("the killed worker is started again", LOOK, async || {
            Ok(tour.workers()?.into_iter().find(|worker| worker.name == killed.name && worker.pid != killed.pid))
        })
        .await?;
    tour.tick(format!("{} is back with pid {}", back.name, back.pid));
    Ok(())
}

/// A reference that nobody used before.
pub(super) fn reference() -> Result<String, Trouble> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|error| Trouble::failed("no random numbers").why(error.to_string()))?;
    Ok(format!("tour-{}", hex::encode(random)))
}

/// A time for people.
pub(super) fn ms(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}
