//! The node's lease: registration, renewal, the lock that dies with the process, and hints.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::{Host, NodeOptions};
use crate::clock::Pace;
use crate::id::NodeId;
use crate::rigged::{crash_point, mutant};
use crate::run::Lease;
use crate::store::StoreError;
use crate::store::node::NodeRow;
use crate::store::stream::{Hint, Hints, News};
use crate::telemetry;
use crate::workflow::session::Exit;

/// The time between two looks for mail.
const MAIL_EVERY: Duration = Duration::from_millis(5);
/// How many looks for mail go without that time between them.
const MAIL_AT_ONCE: u32 = 8;
/// The pause before a lost registration is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// A registration: the hints' connection holds the session lock for as long as it is connected.
pub(crate) struct Registration {
    hints: Hints,
    lease: Lease,
}

impl Registration {
    /// The lease that it began with.
    pub(crate) fn lease(&self) -> Lease {
        self.lease.clone()
    }
}

/// Registers this process as a fresh node.
pub(crate) async fn register(host: &Host, options: &NodeOptions) -> Result<Registration, StoreError> {
    host.store.set_clock(&host.clock).await?;
    let row = NodeRow {
        id: NodeId::new(&host.clock),
        role: options.role.clone(),
        pid: i32::try_from(std::process::id()).unwrap_or_default(),
        lease: options.lease,
    };
    let asked = host.clock.monotonic();
    let hints = host.store.listen(&row).await?;
    // Whoever follows events tells us now, and not only when it repeats it.
    host.store.hint(Hint { origin: host.wakes.origin, news: News::Hello }).await?;
    info!(node = %row.id, "node {} is registered", row.id);
    Ok(Registration { hints, lease: Lease::new(row.id, asked, options.lease) })
}

/// Keeps the node registered; a node that was taken for dead gives up its runs and comes back
/// under a new id, which is told; whoever listens to `tell` knows the first one.
pub(crate) async fn keep(
    host: Arc<Host>,
    options: NodeOptions,
    first: Registration,
    tell: watch::Sender<Option<Lease>>,
) {
    let mut registration = first;
    loop {
        let lease = registration.lease.clone();
        tokio::select! {
            () = renew(&host, &lease, options.lease) => {}
            () = hear(&host, &mut registration.hints) => {}
            () = pass_mail(&host, &lease) => {}
        }
        lease.lose();
        tell.send_replace(None);
        telemetry::lease_lost();
        warn!(node = %lease.node(), "node {} has lost its lease, its runs move on", lease.node());
        if !mutant!("no-fencing") {
            for session in host.sessions() {
                session.lose();
            }
        }
        // Whoever it was taken from may not even know yet; leaving early moves its runs now.
        if let Err(error) = host.store.expire(lease.node()).await {
            warn!(error = %error, "node {} could not sign off", lease.node());
        }
        registration = loop {
            host.clock.wait(AGAIN).await;
            match register(&host, &options).await {
                Ok(registration) => break registration,
                Err(error) => warn!(error = %error, "the node cannot register, will try again"),
            }
        };
        tell.send_replace(Some(registration.lease.clone()));
    }
}

/// Renews by thirds; returns when the lease is lost.
async fn renew(host: &Host, lease: &Lease, length: Duration) {
    loop {
        host.clock.wait(length / 3).await;
        let asked = host.clock.monotonic();
        if !lease.holds(asked) {
            return;
        }
        crash_point!("lease-before-renewal");
        match tokio::time::timeout(length / 3, host.store.renew(lease.node(), length)).await {
            Ok(Ok(true)) => {
                let now = host.clock.monotonic();
                telemetry::lease_margin(lease.ends(now).saturating_duration_since(now));
                lease.renewed(asked, length);
            }
            Ok(Ok(false)) => return,
            Ok(Err(error)) => warn!(error = %error, "the lease could not be renewed, will try again"),
            Err(_) => warn!("the database did not renew the lease in time, will try again"),
        }
    }
}

/// Passes hints of other nodes on; returns when the connection, and with it the lock, is gone.
async fn hear(host: &Host, hints: &mut Hints) {
    loop {
        match hints.next().await {
            Ok(Some(hint)) => host.wakes.heard(hint, &host.clock),
            Ok(None) => return,
            Err(error) => {
                warn!(error = %error, "the listener's connection broke");
                return;
            }
        }
    }
}

/// Tells runs in memory that something was delivered to them.
async fn pass_mail(host: &Host, lease: &Lease) {
    let mut pace = Pace::new(MAIL_EVERY, MAIL_AT_ONCE);
    loop {
        host.wakes.mail().await;
        // A run that is only being claimed is told by its claim, or by its first record.
        if host.sessions().is_empty() {
            continue;
        }
        pace.done(host.clock.monotonic());
        match host.store.inboxes(lease.node()).await {
            Ok(rows) => {
                for (run, inbox, cancel) in rows {
                    if let Some(session) = host.session(crate::id::RunId(run)) {
                        session.arrived(inbox, cancel);
                    }
                }
            }
            Err(error) => warn!(error = %error, "mail cannot be read, the next record will tell"),
        }
        pace.rest(&host.clock).await;
    }
}

impl crate::workflow::session::Session {
    /// The lease is gone: whatever the code does next, nothing of it is written.
    pub(crate) fn lose(&self) {
        self.leave_now(Exit::Lost);
    }
}
