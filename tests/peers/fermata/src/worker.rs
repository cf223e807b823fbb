//! The worker process.

use std::time::Duration;

use clap::Args;
use fermata_engine::NodeOptions;
use fermata_engine::access::Principal;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::client::{PATIENCE, submit};
use crate::words::{now, orders, say, say_only};
use crate::work::{Input, count_to};
use crate::{Database, Trouble};

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    database: Database,
    /// Runs in memory at once
    #[arg(long, env = "CONC", default_value_t = 1_024)]
    slots: usize,
    /// The node's lease
    #[arg(long, env = "LEASE_MS", default_value_t = 10_000)]
    lease_ms: u64,
}

/// Carries runs; with `direct` orders it is its own client too.
pub(crate) async fn run(options: WorkerArgs) -> Result<(), Trouble> {
    let engine = options.database.open().await?;
    let lease = Duration::from_millis(options.lease_ms);
    engine.work(NodeOptions { slots: options.slots, lease, role: "peer".to_owned() }).await?;
    let mut orders = orders();
    say("ready", json!({"pid": std::process::id()}));
    while let Some(order) = orders.recv().await {
        if let Some(target) = order["target"].as_i64() {
            count_to(target);
            say_only("armed");
        }
        if !order["direct"].is_null() {
            say("directdone", direct(&engine, &order).await?);
        }
    }
    engine.close(Duration::from_secs(1)).await;
    Ok(())
}

/// Submits in the process that carries the runs, and waits for each result.
async fn direct(engine: &fermata_engine::Engine, order: &Value) -> Result<Value, Trouble> {
    let by = Principal::operator();
    let (queue, told) = (order["queue"].as_str().unwrap_or("w0"), order["lat"] == true);
    let (count, callers) = (order["n"].as_i64().unwrap_or(0), order["conc"].as_u64().unwrap_or(1));
    let clock = engine.clock();
    let one = async |k| {
        let input = Input::of(queue, k, if told { "lat" } else { "w" });
        let began = now();
        if told {
            say("submit", json!({"k": k, "t": began}));
        }
        let run = submit(engine, &by, input).await?;
        engine.ended(&by, run, PATIENCE).await?;
        let took = now() - began;
        if told {
            clock.wait(Duration::from_millis(5)).await;
        }
        Ok::<_, Trouble>(took)
    };
    let callers = usize::try_from(callers).unwrap_or(1);
    let times: Vec<u64> = stream::iter(0..count).map(one).buffer_unordered(callers).try_collect().await?;
    Ok(json!({"vis": if told { times } else { Vec::new() }}))
}
