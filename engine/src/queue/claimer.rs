//! Claims runs for free slots: a wish rides with the writer's batches, and goes at once after a hint, after a claim
//! that filled its slots, and now and then as a fallback.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::warn;

use crate::node::Host;
use crate::rigged::crash_point;
use crate::run::{Delivery, Lease};
use crate::store::queue::Want;
use crate::store::writer::{Granted, Wish};
use crate::telemetry;

/// Deliveries without progress after which a run is parked for a person.
const MAX_DELIVERIES: i32 = 5;
/// How often to look when no hint comes: a hint may have been lost with its connection.
const FALLBACK: Duration = Duration::from_secs(5);
/// The pause after a failed claim.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Claims until the node drains; then the channel closes and the worker ends.
///
/// A node has as many claimers as the writer has lanes. What they take is theirs alone (`skip locked`).
pub(crate) async fn claim_forever(
    host: Arc<Host>,
    claimer: usize,
    slots: Arc<Semaphore>,
    mut lease: watch::Receiver<Option<Lease>>,
    deliveries: mpsc::Sender<Delivery>,
) {
    let hosted: Arc<[String]> = host.registry.hosted().into();
    let mut after = String::new();
    // What waits already, one looks for; it tells the others when there is more than its seats hold.
    let mut at_once = claimer == 0;
    while !host.wakes.draining() {
        let Ok(seat) = Arc::clone(&slots).acquire_owned().await else { return };
        if lease.has_changed().is_err() {
            return;
        }
        let Some(current) = lease.borrow_and_update().clone() else {
            tokio::select! {
                changed = lease.changed() => if changed.is_err() { return },
                () = host.wakes.drained() => return,
            }
            // Hints were missed while nobody listened.
            at_once = true;
            continue;
        };
        if let Err(error) = host.give_back_strays(current.node()).await {
            warn!(error = %error, "strays cannot be looked for, will try again");
            host.doubt();
            host.clock.wait(AFTER_ERROR).await;
            continue;
        }
        let want = Want {
            node: current.node(),
            hosted: Arc::clone(&hosted),
            after: after.clone(),
            max_deliveries: MAX_DELIVERIES,
        };
        let (wish, told) = Wish::new(want, Arc::clone(&slots), seat, Arc::clone(&host.coming));
        host.writer.wish(claimer, wish, at_once);
        let (granted, hinted) = granted(&host, claimer, &mut lease, told).await;
        // A wish that was taken back may have been one that goes at once.
        at_once = hinted || granted.is_none();
        let Some(Granted { mut seats, claims, took }) = granted else { continue };
        let Some(claims) = claims else {
            // They may have been claimed: such runs would stay with this node.
            host.doubt();
            host.clock.wait(AFTER_ERROR).await;
            at_once = true;
            continue;
        };
        telemetry::claimed(claims.len(), took);
        if !claims.is_empty() {
            crash_point!("claim-after-commit");
        }
        if claims.len() >= seats.num_permits() {
            at_once = true;
            // This one may have no seat to go on with; the other has.
            host.wakes.more();
        }
        for claim in claims {
            after = claim.client.to_string();
            let Some(slot) = seats.split(1) else { break };
            let delivery = Delivery { claim, lease: current.clone(), slot };
            if deliveries.send(delivery).await.is_err() {
                return;
            }
        }
    }
}

/// Waits for what becomes of the wish; `None` once it was taken back. Also answers whether there was a hint meanwhile,
/// or nobody has looked for long.
async fn granted(
    host: &Host,
    claimer: usize,
    lease: &mut watch::Receiver<Option<Lease>>,
    mut told: oneshot::Receiver<Granted>,
) -> (Option<Granted>, bool) {
    let (mut hinted, mut ends) = (false, false);
    loop {
        tokio::select! {
            granted = &mut told => return (granted.ok(), hinted),
            () = host.wakes.hinted() => hinted = true,
            () = host.clock.wait(host.doubt_pause().unwrap_or(FALLBACK)) => hinted = true,
            changed = lease.changed(), if !ends => ends = changed.is_err(),
            () = host.wakes.drained(), if !ends => ends = true,
        }
        if host.writer.withdraw(claimer) {
            return (None, hinted);
        }
    }
}
