//! The audit trail: what was done, by whom, under which policy, with which proof; and that nobody has changed it since.
//!
//! Rows are written with the transition that they tell of (`effect::record`), append-only by privilege and trigger. Within a
//! second the sealer (`seal`) chains them, per client, and signs where each chain ends; signed heads leave the database
//! ([`HeadSink`]). A `Verifier` finds what differs, and a [`ProofBundle`] proves a run's rows to somebody who has no
//! database. Read [`AuditEvent`] first; `docs/audit.md` says what each of them can and cannot show.

mod bundle;
mod chain;
mod event;
mod key;
mod seal;
mod verify;

pub use bundle::{PolicySnapshot, ProofBundle, ProofEntry, ProofSegment};
pub(crate) use chain::{AuditRow, Hash, Seal};
pub(crate) use event::Particulars;
pub use event::{
    AuditEvent, AuditProof, AuditRequest, AuditResult, AuditStatus, AuditTool, AuditedAction, episode_id, schema,
};
pub use key::{HEAD_FORMAT, KeyError, SignedHead, SigningKey};
pub(crate) use seal::seal;
pub use seal::{HeadSink, Sealing};
pub use verify::{Finding, MAX_FINDINGS, Tamper, Verification};

use crate::access::{Principal, Scope};
use crate::engine::Engine;
use crate::read::ReadError;
use crate::store::StoreError;
use verify::Verifier;

/// Rows that are read at once.
const PAGE: i64 = 5_000;

impl Engine {
    /// Looks at the whole trail: every row, every link, and the heads that were signed, those of the database and `heads`,
    /// which were kept elsewhere. `trusted` are the public keys whose heads count; empty is every key.
    ///
    /// For principals of every client: a trail is whole or it is not.
    pub async fn verify_audit(
        &self,
        by: &Principal,
        mut heads: Vec<SignedHead>,
        trusted: &[String],
    ) -> Result<Verification, ReadError> {
        by.require(Scope::AuditRead)?;
        by.require_every_client()?;
        let store = self.store();
        // First, so that whatever is sealed meanwhile is not missed.
        let mut known = self.known_heads().await?;
        // What somebody else's node has signed here is no proof, and no harm either.
        known.retain(|head| trusted.is_empty() || trusted.contains(&head.public_key));
        heads.extend(known);
        let ends = store.chain_ends(None).await?;
        let extent = store.audit_extent().await?;
        let mut verifier = Verifier::new(extent.sealed_to, ends, heads, trusted);
        let mut after = i64::MIN;
        loop {
            // Links first: whatever has one has its row by then.
            let seals = store.audit_seals(after, i64::MAX, PAGE).await?;
            let rows = store.audit_rows(after, i64::MAX, PAGE).await?;
            // As far as both are known.
            let full = |n: usize| i64::try_from(n).unwrap_or(PAGE) >= PAGE;
            let row_end = rows.last().filter(|_| full(rows.len())).map_or(i64::MAX, |row| row.position);
            let seal_end = seals.last().filter(|_| full(seals.len())).map_or(i64::MAX, |seal| seal.position);
            let to = row_end.min(seal_end);
            let (mut rows, mut seals) = (rows.iter().peekable(), seals.iter().peekable());
            loop {
                let at = rows.peek().map_or(i64::MAX, |row| row.position);
                let at = at.min(seals.peek().map_or(i64::MAX, |seal| seal.position));
                if at > to || at == i64::MAX {
                    break;
                }
                verifier.meet(rows.next_if(|row| row.position == at), seals.next_if(|seal| seal.position == at));
            }
            if to == i64::MAX {
                break;
            }
            after = to;
        }
        Ok(verifier.end(extent.written, store.audit_extent().await?.written))
    }

    async fn known_heads(&self) -> Result<Vec<SignedHead>, StoreError> {
        let mut known: Vec<SignedHead> = Vec::new();
        loop {
            let after = known.last().map_or((String::new(), i64::MIN), |head| (head.client_id.clone(), head.seq));
            let page = self.store().signed_heads((&after.0, after.1), PAGE).await?;
            if page.is_empty() {
                return Ok(known);
            }
            known.extend(page);
        }
    }
}
