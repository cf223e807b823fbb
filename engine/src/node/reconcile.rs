//! Reconcilers: timers, the dead, sweeping and upkeep. No input, idempotent, woken by hint and by clock.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Host;
use crate::rigged::crash_point;
use crate::store::queue::Swept;
use crate::telemetry;

/// The most runs readied by one statement.
const MAX_WOKEN: i32 = 1_000;
/// How often timers are looked at when none is known: another node may have died with its own.
const TIMER_FALLBACK: Duration = Duration::from_secs(5);
/// How often each node looks for dead ones.
const REAP_EVERY: Duration = Duration::from_millis(500);
/// How often partitions are made and old keys pruned.
const UPKEEP_EVERY: Duration = Duration::from_hours(1);
/// How often a node that has written something sweeps: between two rounds of autovacuum, which comes once a minute, a full
/// load leaves a million dead rows in `live`.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The longest pause between two sweeps while somebody's old snapshot keeps the dead rows.
const SWEEP_RARELY: Duration = Duration::from_mins(5);

/// Readies runs whose time has come: one timer per node, whatever the number of waiting runs.
pub(crate) async fn timers(host: Arc<Host>) {
    host.wakes.rescan_timers();
    loop {
        host.wakes.timer_due(&host.clock, TIMER_FALLBACK).await;
        match host.store.wake(MAX_WOKEN).await {
            Ok((woken, next)) => {
                host.wakes.set_timer(next);
                if woken > 0 {
                    crash_point!("wake-after-commit");
                    host.wakes.ready();
                }
            }
            Err(error) => {
                warn!(error = %error, "timers cannot be read, will try again");
                host.clock.wait(REAP_EVERY).await;
            }
        }
    }
}

/// Takes over the runs of nodes that are provably gone.
pub(crate) async fn reap(host: Arc<Host>, lease: Duration) {
    loop {
        host.clock.wait(REAP_EVERY).await;
        match host.store.reap(true, lease).await {
            Ok((0, _)) => {}
            Ok((nodes, runs)) => {
                crash_point!("reap-after-commit");
                info!("{nodes} node(s) are gone, {runs} run(s) move on");
                telemetry::reaped(u64::try_from(nodes).unwrap_or(0), u64::try_from(runs).unwrap_or(0));
                host.wakes.rescan_timers();
                host.wakes.ready();
            }
            Err(error) => warn!(error = %error, "dead nodes cannot be looked for, will try again"),
        }
    }
}

/// Under load: takes dead rows out of the queue, and keeps partitions of `event` ahead of its positions.
pub(crate) async fn sweep(host: Arc<Host>) {
    let (mut pause, mut next) = (SWEEP_EVERY, host.clock.monotonic());
    loop {
        host.clock.wait(SWEEP_EVERY).await;
        if !host.wakes.was_busy() {
            continue;
        }
        if let Err(error) = host.store.make_partitions().await {
            warn!(error = %error, "partitions cannot be made, the default ones take the rows");
        }
        let now = host.clock.monotonic();
        if now < next {
            continue;
        }
        match host.store.sweep().await {
            // What is left would be left again.
            Ok(Swept { kept_by: Some(holder) }) => {
                warn!("an old snapshot keeps the dead rows of the queue, and claims get slower: {holder}; end it");
                pause = (pause * 2).min(SWEEP_RARELY);
            }
            Ok(Swept { kept_by: None }) => pause = SWEEP_EVERY,
            Err(error) => warn!(error = %error, "dead rows of the queue cannot be swept, autovacuum will come"),
        }
        next = now + pause;
    }
}

/// Makes partitions ahead and prunes what has expired.
pub(crate) async fn upkeep(host: Arc<Host>) {
    loop {
        if let Err(error) = host.store.make_partitions().await {
            warn!(error = %error, "partitions cannot be made, the default ones take the rows");
        }
        if let Err(error) = host.store.prune_idempotency().await {
            warn!(error = %error, "expired idempotency keys cannot be pruned");
        }
        if let Err(error) = host.store.prune_tickets().await {
            warn!(error = %error, "unused tickets cannot be pruned");
        }
        host.clock.wait(UPKEEP_EVERY).await;
    }
}
