//! Claims runs for free slots, woken by hints and by freed slots, with a slow poll as fallback.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tracing::warn;

use crate::node::Host;
use crate::rigged::crash_point;
use crate::run::{Delivery, Lease};
use crate::store::queue::Want;
use crate::telemetry;

/// The most runs claimed in one statement.
const MAX_CLAIM: usize = 256;
/// Deliveries without progress after which a run is parked for a person.
const MAX_DELIVERIES: i32 = 5;
/// How often to look when no hint comes: a hint may have been lost with its connection.
const FALLBACK: Duration = Duration::from_secs(5);
/// The pause after a failed claim.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Claims until the node drains; then the channel closes and the worker ends.
pub(crate) async fn claim_forever(
    host: Arc<Host>,
    slots: Arc<Semaphore>,
    mut lease: watch::Receiver<Option<Lease>>,
    deliveries: mpsc::Sender<Delivery>,
) {
    let hosted = host.registry.hosted();
    let mut after = String::new();
    while !host.wakes.draining() {
        let hint = host.wakes.hinted();
        let Ok(one) = Arc::clone(&slots).acquire_owned().await else { return };
        let Some(current) = lease.borrow_and_update().clone() else {
            tokio::select! {
                changed = lease.changed() => if changed.is_err() { return },
                () = host.wakes.drained() => return,
            }
            continue;
        };
        let mut permits = one;
        let more = slots.available_permits().min(MAX_CLAIM - 1);
        if let Ok(rest) = Arc::clone(&slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            permits.merge(rest);
        }
        let wanted = permits.num_permits();
        let want = Want {
            node: current.node(),
            slots: wanted,
            hosted: &hosted,
            after: &after,
            max_deliveries: MAX_DELIVERIES,
        };
        let asked = host.clock.monotonic();
        let claimed = async {
            host.give_back_strays(current.node()).await?;
            host.store.claim(&want).await
        };
        let claims = match claimed.await {
            Ok(claims) => claims,
            Err(error) => {
                warn!(error = %error, "runs cannot be claimed, will try again");
                // They may have been, and the answer was lost: such runs would stay with this node.
                host.doubt();
                host.clock.wait(AFTER_ERROR).await;
                continue;
            }
        };
        telemetry::claimed(claims.len(), host.clock.monotonic() - asked);
        if !claims.is_empty() {
            crash_point!("claim-after-commit");
            host.wakes.moved();
        }
        let full = claims.len() >= wanted;
        for claim in claims {
            after = claim.client.to_string();
            host.comes(claim.run);
            let Some(slot) = permits.split(1) else { break };
            let delivery = Delivery { claim, lease: current.clone(), slot };
            if deliveries.send(delivery).await.is_err() {
                return;
            }
        }
        drop(permits);
        if !full {
            tokio::select! {
                () = hint => {}
                () = host.clock.wait(FALLBACK) => {}
                () = host.wakes.drained() => return,
            }
        }
    }
}
