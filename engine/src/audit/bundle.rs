//! What proves a run's audit rows to somebody who has no database: the rows to the byte, their links, and a signed head.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::chain::{AuditRow, Hash, Seal, genesis};
use super::key::SignedHead;
use crate::access::{Principal, Scope};
use crate::engine::Engine;
use crate::id::RunId;
use crate::read::{
    ActionFilter, ActionView, ArtifactFilter, ArtifactView, CommandView, GateFilter, GateView, MAX_LIMIT, Page, Paged,
    ReadError,
};

/// What a bundle calls itself.
const BUNDLE_FORMAT: &str = "fermata-proof-bundle/1";
/// The most links of one bundle; a client with more between two signed heads has none.
const MAX_LINKS: usize = 100_000;

/// Everything that shows what a run did outside, and that its audit rows are those that were written.
///
/// `docs/audit.md` says how it is verified without Fermata; `tests/audit/verify.mjs` does it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProofBundle {
    /// `fermata-proof-bundle/1`.
    pub format: String,
    /// When it was made.
    pub exported_at: DateTime<Utc>,
    /// The command.
    pub command: CommandView,
    /// Its actions, each with its proofs.
    pub actions: Vec<ActionView>,
    /// Its gates.
    pub gates: Vec<GateView>,
    /// Its artifacts, by their checksums.
    pub artifacts: Vec<ArtifactView>,
    /// The policies that its actions were judged by.
    pub policies: Vec<PolicySnapshot>,
    /// Its audit rows.
    pub audit: Vec<ProofSegment>,
    /// Audit rows that are not under a signed head yet; ask again in a second.
    pub unsealed: u64,
}

/// The policy behind a hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySnapshot {
    /// The hash: `policy_snapshot_id` of audit events.
    pub hash: String,
    /// The documents that it was merged of.
    pub document: Value,
}

/// A part of a client's chain, from a row of the run to the first signed head behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofSegment {
    /// Whose chain.
    pub client_id: String,
    /// The link before the first entry, in hex.
    pub before: String,
    /// Every link up to the head's.
    pub entries: Vec<ProofEntry>,
    /// The signed head that the last entry leads to.
    pub head: SignedHead,
}

/// One link: a row of the run to the byte, or the hash of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofEntry {
    /// Its place in the chain.
    pub seq: i64,
    /// The row as it was sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// SHA-256 of a row that is not the run's, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf: Option<String>,
}

impl Engine {
    /// What proves a run to somebody outside.
    pub async fn proof_bundle(&self, by: &Principal, run: RunId) -> Result<ProofBundle, ReadError> {
        by.require(Scope::AuditRead)?;
        let command = self.command(by, run).await?.ok_or(ReadError::NotFound("command"))?;
        let (segments, unsealed) = self.segments(run, &command.client_id).await?;
        let mut actions = Pages::new();
        let filter = ActionFilter { run: Some(run), ..ActionFilter::default() };
        while let Some(page) = actions.next() {
            actions.took(self.actions(by, &filter, page).await?);
        }
        actions.all.reverse();
        let mut gates = Pages::new();
        let filter = GateFilter { run: Some(run), ..GateFilter::default() };
        while let Some(page) = gates.next() {
            gates.took(self.gates(by, &filter, page).await?);
        }
        let mut artifacts = Pages::new();
        let filter = ArtifactFilter { run: Some(run), ..ArtifactFilter::default() };
        while let Some(page) = artifacts.next() {
            artifacts.took(self.artifacts_of(by, &filter, page).await?);
        }
        let hashes: BTreeSet<String> =
            actions.all.iter().map(|action: &ActionView| action.policy_hash.clone()).collect();
        Ok(ProofBundle {
            format: BUNDLE_FORMAT.to_owned(),
            exported_at: self.clock().now(),
            policies: self.store().policy_snapshots(&command.client_id, hashes).await?,
            command,
            actions: actions.all,
            gates: gates.all,
            artifacts: artifacts.all,
            audit: segments,
            unsealed,
        })
    }

    async fn segments(&self, run: RunId, client: &str) -> Result<(Vec<ProofSegment>, u64), ReadError> {
        let store = self.store();
        let rows = store.audit_of_run(run).await?;
        let sealed: Vec<i64> = rows.iter().filter_map(|(_, seal)| seal.as_ref().map(|seal| seal.seq)).collect();
        let heads: BTreeMap<i64, SignedHead> =
            store.next_heads(client, &sealed).await?.into_iter().map(|head| (head.seq, head)).collect();
        let mine: BTreeSet<Uuid> = rows.iter().map(|(row, _)| row.id).collect();
        // The first of the run's rows below each head: what is between them belongs to the way there.
        let mut ways: BTreeMap<i64, i64> = BTreeMap::new();
        let mut unsealed = u64::try_from(rows.len() - sealed.len()).unwrap_or(0);
        for seq in sealed {
            match heads.range(seq..).next() {
                Some((head, _)) => drop(ways.entry(*head).or_insert(seq)),
                None => unsealed += 1,
            }
        }
        let mut segments = Vec::with_capacity(ways.len());
        let mut links = 0;
        for (to, from) in ways {
            let entries = store.chain_between(client, from - 1, to).await?;
            links += entries.len();
            if links > MAX_LINKS {
                let message = format!("the way to the next signed head has more than {MAX_LINKS} links");
                return Err(ReadError::Filter { name: "command", message });
            }
            segments.extend(heads.get(&to).map(|head| segment(client, (from, entries), head.clone(), &mine)));
        }
        Ok((segments, unsealed))
    }
}

/// `entries` begin at `from`, or with the link before it.
fn segment(
    client: &str,
    (from, entries): (i64, Vec<(AuditRow, Seal)>),
    head: SignedHead,
    mine: &BTreeSet<Uuid>,
) -> ProofSegment {
    let before: Hash =
        entries.first().filter(|(_, seal)| seal.seq < from).map_or_else(|| genesis(client), |(_, seal)| seal.hash);
    let entry = |(row, seal): &(AuditRow, Seal)| {
        let is_mine = mine.contains(&row.id);
        ProofEntry {
            seq: seal.seq,
            text: is_mine.then(|| row.text()),
            leaf: (!is_mine).then(|| hex::encode(row.leaf())),
        }
    };
    ProofSegment {
        client_id: client.to_owned(),
        before: hex::encode(before),
        entries: entries.iter().filter(|(_, seal)| seal.seq >= from).map(entry).collect(),
        head,
    }
}

/// Every page of a list.
struct Pages<T> {
    all: Vec<T>,
    next: Option<Page>,
}

impl<T> Pages<T> {
    fn new() -> Self {
        Self { all: Vec::new(), next: Page::new(Some(MAX_LIMIT), None).ok() }
    }

    fn next(&self) -> Option<Page> {
        self.next
    }

    fn took(&mut self, page: Paged<T>) {
        self.all.extend(page.items);
        self.next = page.next_cursor.and_then(|next| Page::new(Some(MAX_LIMIT), Some(&next)).ok());
    }
}
