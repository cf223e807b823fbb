//! The client process: it submits, waits for results, and sends signals.

use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::run::{NewSignal, Submission, SubmitError};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::words::{now, orders, say};
use crate::work::Input;
use crate::{Database, Trouble};

/// Submissions that are on their way at once where the driver says `batch`.
const BATCH_CALLERS: usize = 256;
/// The same where it says `single`.
const SINGLE_CALLERS: usize = 32;
/// How long a result may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The pause after the node said that it is busy.
const BUSY: Duration = Duration::from_millis(2);

impl Input {
    /// The input of the `k`-th run of a queue `w0`, `w3`, `w10`, `sig` or `hang`.
    pub(crate) fn of(queue: &str, k: i64, mode: &str) -> Self {
        let steps = queue.strip_prefix('w').and_then(|steps| steps.parse().ok()).unwrap_or(0);
        Self { k, mode: mode.to_owned(), steps, pad: "x".repeat(160) }
    }
}

/// Submits one run; returns when it is durable.
pub(crate) async fn submit(engine: &Engine, by: &Principal, input: Input) -> Result<RunId, Trouble> {
    let payload = serde_json::to_value(input)?;
    loop {
        let submission = Submission {
            client_id: "bench".to_owned(),
            kind: "peer.work".to_owned(),
            payload: payload.clone(),
            ..Submission::default()
        };
        match engine.submit(by, submission).await {
            Ok(receipt) => return Ok(receipt.command_id),
            Err(SubmitError::Busy) => engine.clock().wait(BUSY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Does what the driver says until it closes our standard input.
pub(crate) async fn run(database: &Database) -> Result<(), Trouble> {
    let engine = database.open().await?;
    let by = Principal::operator();
    let mut orders = orders();
    say("ready", json!({"pid": std::process::id()}));
    while let Some(order) = orders.recv().await {
        let answer = obey(&engine, &by, &order).await?;
        say("ok", answer);
    }
    engine.close(Duration::from_secs(1)).await;
    Ok(())
}

async fn obey(engine: &Engine, by: &Principal, order: &Value) -> Result<Value, Trouble> {
    let queue = order["queue"].as_str().unwrap_or("w0");
    let (count, mode) = (order["n"].as_i64().unwrap_or(0), order["mode"].as_str().unwrap_or("w"));
    match order["op"].as_str().unwrap_or_default() {
        op @ ("batch" | "single") => {
            let callers = if op == "batch" { BATCH_CALLERS } else { SINGLE_CALLERS };
            let one = |k| submit(engine, by, Input::of(queue, k, mode));
            stream::iter(0..count).map(one).buffer_unordered(callers).try_for_each(|_| async { Ok(()) }).await?;
            Ok(json!({}))
        }
        "one" => {
            let began = now();
            let run = submit(engine, by, Input::of(queue, order["k"].as_i64().unwrap_or(0), mode)).await?;
            let accepted = now();
            if order["wait"] != true {
                return Ok(json!({"t0": began, "t1": accepted, "id": run}));
            }
            engine.ended(by, run, PATIENCE).await?;
            Ok(json!({"t0": began, "t1": accepted, "t2": now(), "id": run}))
        }
        "signal" => {
            let run: RunId = serde_json::from_value(order["id"].clone())?;
            let signal = NewSignal { id: None, name: "go".to_owned(), payload: Value::Null };
            let began = now();
            engine.signal(by, run, signal).await?;
            Ok(json!({"t0": began, "t1": now()}))
        }
        other => Err(format!("nobody knows the order `{other}`").into()),
    }
}
