//! Wait for a person: a direct message stops at its gate, and goes out once when somebody says yes.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use serde_json::json;

use super::crash::{ended, ms, reference, submit};
use super::tour::Tour;
use crate::process::{Trouble, say};

/// How often facts are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often the gate is looked at while a person thinks.
const GATE_LOOK: Duration = Duration::from_millis(500);
/// How long a person may think before the tour goes on without the answer.
const THINKING: Duration = Duration::from_mins(10);

pub(super) async fn run(tour: &mut Tour, alone: bool) -> Result<(), Trouble> {
    tour.heading("2. Wait for a person: a direct message stops at its gate");
    tour.site_mode(&json!({})).await?;
    let key = reference()?;
    let inputs = json!({ "to": "grace", "text": "Sent once, after a person said yes.", "reference": key });
    let (id, took) = submit(tour, "demo.dm", &key, inputs).await?;
    tour.tick(format!("demo.dm was accepted as {id} in {} (reference {key})", ms(took)));
    let waiting = tour
        .until("the message stops at its gate", LOOK, async || {
            let command = tour.command(&id).await?;
            Ok((command["status"] == "HUMAN_REQUIRED").then_some(command))
        })
        .await?;
    let gate = open_gate(tour, &id).await?;
    tour.check(waiting["node"].is_null(), "it waits for a person, and holds no worker meanwhile", &waiting)?;
    let sent = tour.ledger(&key).await?;
    tour.check(sent.is_empty(), "nothing was sent", &json!(sent))?;
    let asked = tour.clock.monotonic();
    let approved = if alone { decide(tour, &gate, true).await? } else { ask(tour, &gate).await? };
    let command = tour
        .until("the command ends", LOOK, async || {
            // Until a worker has taken it up again, it still shows what it waited for.
            Ok(ended(tour, &id).await?.filter(|command| command["wait_reason"] != "approval"))
        })
        .await?;
    let found = tour.ledger(&key).await?;
    if !approved {
        let held = command["status"] == "FAILED" && found.is_empty();
        return tour.check(held, "the answer was no: the command ended, and nothing was sent", &command);
    }
    let took = ms(tour.since(asked));
    let line = if alone { format!("approved; succeeded {took} later") } else { "approved; succeeded".to_owned() };
    tour.check(command["status"] == "SUCCEEDED", line, &command)?;
    let line = format!("the demo site counts exactly 1 message for the key: {}/_ledger?key={key}", tour.site());
    tour.check(found.len() == 1, line, &json!(found))?;
    let actions = tour.list(&id, "actions").await?;
    let verified = actions.len() == 1 && actions.iter().all(|action| action["effect"] == true);
    tour.check(verified, "it was looked for in the thread, and found", &json!(actions))
}

async fn open_gate(tour: &Tour, id: &str) -> Result<String, Trouble> {
    let gates = tour.list(id, "gates").await?;
    let open = gates.iter().find(|gate| gate["state"] == "open");
    let open = open.and_then(|gate| gate["gate_id"].as_str());
    open.map(str::to_owned).ok_or_else(|| Trouble::failed("no gate is open").why(json!(gates).to_string()))
}

async fn decide(tour: &Tour, gate: &str, approve: bool) -> Result<bool, Trouble> {
    let decision = if approve { "approve" } else { "reject" };
    let body = json!({ "decision": decision, "comment": "the tour" });
    tour.api.post(&format!("/v1/gates/{gate}/decisions"), &body).await?;
    Ok(approve)
}

/// Asks whoever reads the tour, here or in another terminal.
async fn ask(tour: &Tour, gate: &str) -> Result<bool, Trouble> {
    say(format_args!(
        "\n  It waits for you, for as long as it takes: stop `dev` and start it again, it still waits.\n  \
         Press Enter to approve, or type n; or, in another terminal:\n\n    \
         fermata gates approve {gate}\n"
    ));
    let typed = typed();
    let began = tour.clock.monotonic();
    let decided = async {
        loop {
            // `dev` may be stopped and started meanwhile: that is part of the tour.
            if let Ok(found) = tour.api.get(&format!("/v1/gates/{gate}")).await
                && found["state"] != "open"
            {
                return Ok(found["state"] == "approved");
            }
            if tour.since(began) > THINKING {
                return Err(Trouble::failed(format!("nobody decided within {} min", THINKING.as_secs() / 60))
                    .remedy(format!("the gate stays open: fermata gates approve {gate}")));
            }
            tour.clock.wait(GATE_LOOK).await;
        }
    };
    tokio::select! {
        decided = decided => decided,
        approve = typed => decide(tour, gate, approve).await,
    }
}

/// What is typed at the terminal: Enter is yes. Never ready without a terminal.
async fn typed() -> bool {
    if !std::io::stdin().is_terminal() {
        return std::future::pending().await;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: a read from the terminal cannot be taken back.
    std::thread::spawn(move || {
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
            // Somebody may have decided elsewhere meanwhile.
            tell.send(!line.trim().eq_ignore_ascii_case("n")).ok();
        }
    });
    match told.await {
        Ok(approve) => approve,
        Err(_) => std::future::pending().await,
    }
}
