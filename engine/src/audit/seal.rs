//! The sealer: follows committed rows and chains them, per client and in order, within a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tracing::{error, warn};

use super::chain::{AuditRow, Hash, Seal, genesis, link};
use super::key::{SignedHead, SigningKey};
use crate::node::Host;
use crate::store::StoreError;
use crate::telemetry;

/// How soon after something was written it is looked at.
const SEAL_EVERY: Duration = Duration::from_millis(500);
/// How often the sealer looks although nobody has told it of anything, in turns of [`SEAL_EVERY`].
const SEAL_ANYWAY: u32 = 10;
/// The most rows sealed in one transaction.
pub(crate) const MAX_SEALED: i64 = 5_000;
/// The most heads that leave at once.
pub(crate) const MAX_EXPORTED: i64 = 500;

/// Where signed heads go, out of the database's reach.
#[async_trait]
pub trait HeadSink: Send + Sync + std::fmt::Debug {
    /// Keeps them for good. Called again with the same ones after a failure or a crash.
    async fn keep(&self, heads: &[SignedHead]) -> Result<(), String>;
}

/// How the trail is sealed.
#[derive(Debug, Clone, Default)]
pub struct Sealing {
    /// Signs the ends of chains; without it none is signed.
    pub key: Option<SigningKey>,
    /// Where signed heads go.
    pub sinks: Vec<Arc<dyn HeadSink>>,
}

/// Seals for as long as the node lives.
pub(crate) async fn seal(host: Arc<Host>) {
    let mut idle = SEAL_ANYWAY;
    loop {
        if host.wakes.was_written() || idle >= SEAL_ANYWAY {
            idle = 0;
            if let Err(error) = turn(&host).await {
                warn!(error = %error, "the audit trail cannot be sealed now, will try again");
            }
        }
        host.clock.wait(SEAL_EVERY).await;
        idle += 1;
    }
}

async fn turn(host: &Host) -> Result<(), StoreError> {
    loop {
        let (known, rows) = host.store.unsealed(MAX_SEALED).await?;
        let whole = i64::try_from(rows.len()).unwrap_or(0) < MAX_SEALED;
        let dense = rows.iter().zip(known + 1..).take_while(|(row, at)| row.position == *at).count();
        telemetry::audit_broken(dense < rows.len());
        if let Some(row) = rows.get(dense) {
            error!(
                audit.position = row.position,
                "rows of the audit trail are missing before position {}: \
                nothing is sealed from there on; run `fermata audit verify`",
                row.position
            );
        }
        if dense > 0 {
            sealed(host, known, &rows[..dense]).await?;
        }
        if whole || dense < rows.len() {
            break;
        }
    }
    export(host).await
}

async fn sealed(host: &Host, known: i64, rows: &[AuditRow]) -> Result<(), StoreError> {
    let clients = rows.iter().map(|row| row.client_id.clone()).collect();
    let mut ends = host.store.chain_ends(Some(clients)).await?;
    let seals = chained(&mut ends, rows);
    let now = host.clock.now();
    let signed = match &host.sealing.key {
        Some(key) => seals_last(&seals).map(|seal| key.sign(&seal.client_id, seal.seq, &seal.hash, now)).collect(),
        None => Vec::new(),
    };
    // Another node may have been faster: then these are its rows.
    host.store.seal(known, &seals, &signed).await.map(drop)
}

/// The links of rows that follow the ends of their clients' chains.
fn chained(ends: &mut BTreeMap<String, (i64, Hash)>, rows: &[AuditRow]) -> Vec<Seal> {
    let chain = |row: &AuditRow| {
        let end = ends.entry(row.client_id.clone()).or_insert_with(|| (0, genesis(&row.client_id)));
        *end = (end.0 + 1, link(&end.1, &row.leaf()));
        Seal { position: row.position, client_id: row.client_id.clone(), seq: end.0, hash: end.1 }
    };
    rows.iter().map(chain).collect()
}

/// The last link of each client.
fn seals_last(seals: &[Seal]) -> impl Iterator<Item = &Seal> {
    let last: BTreeMap<&str, &Seal> = seals.iter().map(|seal| (seal.client_id.as_str(), seal)).collect();
    last.into_values()
}

/// Heads that have not left yet leave; in doubt twice.
async fn export(host: &Host) -> Result<(), StoreError> {
    if host.sealing.sinks.is_empty() || host.sealing.key.is_none() {
        return Ok(());
    }
    loop {
        let heads = host.store.heads_due(MAX_EXPORTED).await?;
        if heads.is_empty() {
            return Ok(());
        }
        for sink in &host.sealing.sinks {
            if let Err(why) = sink.keep(&heads).await {
                warn!("{} signed heads of the audit trail could not leave, will try again: {why}", heads.len());
                return Ok(());
            }
        }
        host.store.heads_left(&heads).await?;
    }
}
