//! One run as its clients carry it along: submitted, watched, signalled, decided, cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::client::{AGAIN, Client};
use crate::clock;
use crate::fault::Fault;
use crate::flow::{Order, clashing, order};
use crate::history::Ended;
use crate::plan::{Key, Plan, RunPlan, Work};
use crate::trouble::Trouble;

/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(220);

/// What the clients of a trial share.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) client: Client,
    pub(crate) began: Instant,
    /// The trial is over: whoever still waits stops.
    pub(crate) over: Arc<AtomicBool>,
    /// Then nobody else can look into the database meanwhile.
    pub(crate) postgres_dies: bool,
    /// Calls take long.
    pub(crate) slow: bool,
}

impl Office {
    pub(crate) fn open(client: &Client, plan: &Plan, over: &Arc<AtomicBool>) -> Self {
        Self {
            client: client.clone(),
            began: clock::monotonic(),
            over: Arc::clone(over),
            slow: plan.slow,
            postgres_dies: plan.fault == Fault::PostgresKill,
        }
    }

    pub(crate) async fn until(&self, at_ms: u64) {
        let at = self.began + Duration::from_millis(at_ms);
        clock::pause(at.saturating_duration_since(clock::monotonic())).await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

/// A number that is the same in each trial of a seed.
pub(crate) fn id(client: &str, number: usize, what: u8) -> Uuid {
    let mut bytes = [what; 16];
    for (at, byte) in client.bytes().chain(number.to_le_bytes()).enumerate() {
        if let Some(place) = bytes.get_mut(at % 16) {
            *place = place.wrapping_mul(31).wrapping_add(byte);
        }
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Carries one run along until it ends or the trial does; answers its command if there is one.
pub(crate) async fn carry(office: Office, number: usize, plan: RunPlan) -> Result<Option<String>, Trouble> {
    office.until(plan.at_ms).await;
    let order = order(&office.client.tenant, number, &plan.work, office.slow);
    let key = (plan.key != Key::None).then(|| format!("{}-{number}", office.client.tenant));
    let clash = async {
        // Whichever of the two comes first is the command of that key; nobody waits for this one.
        let other = clashing(&office.client.tenant, number);
        if plan.key == Key::Clashes { submit(&office, &other, key.as_deref(), false).await.map(drop) } else { Ok(()) }
    };
    let again = async {
        if plan.key == Key::Twice { submit(&office, &order, key.as_deref(), !plan.by_graphql).await } else { Ok(None) }
    };
    let first = submit(&office, &order, key.as_deref(), plan.by_graphql);
    let (first, second, ()) = tokio::try_join!(first, again, clash)?;
    let found = first.or(second);
    let Some(command) = found else { return Ok(None) };
    watch(&office, number, &plan, &command).await?;
    Ok(Some(command))
}

/// Submits; with a key for as long as nobody knows.
async fn submit(
    office: &Office,
    order: &Order,
    key: Option<&str>,
    by_graphql: bool,
) -> Result<Option<String>, Trouble> {
    loop {
        let told = office.client.submit(&order.command, &order.about, key, by_graphql).await?;
        match told.ended {
            Ended::Ok => return Ok(told.answer["command_id"].as_str().map(str::to_owned)),
            Ended::Fail if told.status == Some(429) => {}
            Ended::Fail => return Ok(None),
            Ended::Unknown if key.is_none() => return Ok(None),
            Ended::Unknown => {}
        }
        if office.is_over() {
            return Ok(None);
        }
        clock::pause(AGAIN).await;
    }
}

async fn watch(office: &Office, number: usize, plan: &RunPlan, command: &str) -> Result<(), Trouble> {
    let client = &office.client;
    let mut signalled = !matches!(plan.work, Work::Steps { signal: true, .. });
    let mut cancelled = plan.cancel_at_ms.is_none();
    let mut looks = number;
    while !office.is_over() {
        looks += 1;
        if !signalled {
            let told = client.signal(command, id(&client.tenant, number, 1)).await?;
            signalled = told.ended != Ended::Unknown;
        }
        let cancel_now = plan.cancel_at_ms.is_some_and(|at| office.began.elapsed() >= Duration::from_millis(at));
        if !cancelled && cancel_now {
            cancelled = client.cancel(command).await?.ended != Ended::Unknown;
        }
        let read = client.read(command, looks.is_multiple_of(3)).await?;
        let status = read.answer["status"].as_str().unwrap_or_default();
        match status {
            "SUCCEEDED" | "FAILED" | "CANCELLED" => return Ok(()),
            "HUMAN_REQUIRED" => decide(office, plan, command).await?,
            _ => {}
        }
        clock::pause(LOOK_EVERY).await;
    }
    Ok(())
}

/// A reviewer decides approvals as the plan says; whether something happened is nobody's guess.
async fn decide(office: &Office, plan: &RunPlan, command: &str) -> Result<(), Trouble> {
    let Work::Publish { approve, .. } = plan.work else { return Ok(()) };
    for gate in office.client.gates(command).await? {
        let asked: Option<&str> = gate["kind"].as_str();
        if asked == Some("approval")
            && let Some(gate) = gate_id(&gate)
        {
            office.client.decide(command, gate, approve).await?;
        }
    }
    Ok(())
}

fn gate_id(gate: &Value) -> Option<&str> {
    gate["gate_id"].as_str().or_else(|| gate["id"].as_str())
}
