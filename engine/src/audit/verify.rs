//! Whether the trail is what was once written: pure, fed row by row.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::{AuditRow, Hash, Seal, genesis, link};
use super::key::SignedHead;

/// The most findings that are told one by one; further ones are counted.
pub const MAX_FINDINGS: usize = 100;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tamper {
    /// A row is not the one that was sealed.
    Edited,
    /// A row, or its link, is gone.
    Missing,
    /// A row was put where none was.
    Inserted,
    /// A link does not follow the one before it.
    Broken,
    /// A chain is shorter than a signed head says.
    Cut,
    /// A chain is another one than a signed head says.
    Rewritten,
    /// Two signed heads contradict each other.
    Forked,
    /// A head is not signed, or not by a key that is trusted.
    Unsigned,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What.
    pub kind: Tamper,
    /// Where in the trail.
    pub position: Option<i64>,
    /// In whose chain.
    pub client_id: Option<String>,
    /// Where in that chain.
    pub seq: Option<i64>,
    /// For people.
    pub message: String,
}

/// What a look at the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Nothing is wrong.
    pub ok: bool,
    /// Rows of the trail.
    pub rows: u64,
    /// Those of them that are sealed; the others are protected by privilege and trigger only.
    pub sealed: u64,
    /// Chains.
    pub clients: u64,
    /// Signed heads that were compared: without one, nobody can see that a tail was cut off.
    pub heads: u64,
    /// How many things are wrong.
    pub wrong: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// A look at the trail under way.
#[derive(Debug)]
pub(crate) struct Verifier {
    heads: HashMap<(String, i64), Vec<String>>,
    /// Ends of chains as the database notes them.
    noted: BTreeMap<String, (i64, Hash)>,
    compared: u64,
    chains: HashMap<String, (i64, Hash)>,
    /// The last position that was met.
    last: i64,
    /// The last sealed position.
    sealed_to: i64,
    rows: u64,
    sealed: u64,
    wrong: u64,
    findings: Vec<Finding>,
}

impl Verifier {
    /// `trusted` are the public keys whose heads count; empty is every key.
    pub(crate) fn new(
        sealed_to: i64,
        noted: BTreeMap<String, (i64, Hash)>,
        heads: Vec<SignedHead>,
        trusted: &[String],
    ) -> Self {
        let mut verifier = Self {
            heads: HashMap::new(),
            noted,
            compared: 0,
            chains: HashMap::new(),
            last: 0,
            sealed_to,
            rows: 0,
            sealed: 0,
            wrong: 0,
            findings: Vec::new(),
        };
        for head in heads {
            verifier.expect(head, trusted);
        }
        verifier
    }

    fn expect(&mut self, head: SignedHead, trusted: &[String]) {
        let (client, seq) = (head.client_id.clone(), head.seq);
        if !head.is_signed() || !trusted.is_empty() && !trusted.contains(&head.public_key) {
            let why = format!("the head at {seq} is not signed by a trusted key (key {})", head.key_id);
            return self.found(Tamper::Unsigned, None, Some((&client, seq)), why);
        }
        self.compared += 1;
        let known = self.heads.entry((client.clone(), seq)).or_default();
        if known.contains(&head.hash) {
            return;
        }
        known.push(head.hash);
        if known.len() > 1 {
            let why = format!("two signed heads at {seq} contradict each other");
            self.found(Tamper::Forked, None, Some((&client, seq)), why);
        }
    }

    /// The next position that has a row, a link, or both.
    pub(crate) fn meet(&mut self, row: Option<&AuditRow>, seal: Option<&Seal>) {
        let Some(at) = row.map(|row| row.position).or(seal.map(|seal| seal.position)) else { return };
        if at < 1 {
            let client = row.map(|row| (row.client_id.as_str(), 0));
            self.found(Tamper::Inserted, Some(at), client, "a row before the first one".to_owned());
            return;
        }
        if at > self.last + 1 {
            let (first, end) = (self.last + 1, at - 1);
            self.found(Tamper::Missing, Some(first), None, format!("nothing stands at {first} to {end}"));
        }
        self.last = at;
        self.rows += u64::from(row.is_some());
        match (row, seal) {
            (Some(row), Some(seal)) => self.sealed(row, seal),
            (None, Some(seal)) => {
                let here = Some((seal.client_id.as_str(), seal.seq));
                self.found(Tamper::Missing, Some(at), here, "the row is gone, its link is there".to_owned());
                self.follow(seal);
            }
            (Some(row), None) if at <= self.sealed_to => {
                let client = Some((row.client_id.as_str(), 0));
                let why = "a row without a link among sealed ones".to_owned();
                self.found(Tamper::Inserted, Some(at), client, why);
            }
            _ => {}
        }
    }

    fn sealed(&mut self, row: &AuditRow, seal: &Seal) {
        self.sealed += 1;
        let here = Some((seal.client_id.as_str(), seal.seq));
        let (seq, before) = self.chains.get(&seal.client_id).copied().unwrap_or((0, genesis(&seal.client_id)));
        if seal.seq != seq + 1 {
            let why = format!("link {} follows link {seq}", seal.seq);
            self.found(Tamper::Broken, Some(row.position), here, why);
        } else if row.client_id != seal.client_id || link(&before, &row.leaf()) != seal.hash {
            self.found(Tamper::Edited, Some(row.position), here, "the row is not the one that was sealed".to_owned());
        }
        self.follow(seal);
    }

    /// Goes on from the link as it stands, so that one change is told once.
    fn follow(&mut self, seal: &Seal) {
        if let Some(expected) = self.heads.remove(&(seal.client_id.clone(), seal.seq))
            && expected.iter().any(|hash| *hash != hex::encode(seal.hash))
        {
            let why = format!("link {} is not the one that was signed", seal.seq);
            self.found(Tamper::Rewritten, Some(seal.position), Some((&seal.client_id, seal.seq)), why);
        }
        if self.noted.get(&seal.client_id) == Some(&(seal.seq, seal.hash)) {
            self.noted.remove(&seal.client_id);
        }
        self.chains.insert(seal.client_id.clone(), (seal.seq, seal.hash));
    }

    /// `before` and `after` are how many rows had been given a position when the look began and when it ended.
    pub(crate) fn end(mut self, before: i64, after: i64) -> Verification {
        if self.last < before {
            let why = format!("{before} rows were written, the last one stands at {}", self.last);
            self.found(Tamper::Missing, Some(self.last + 1), None, why);
        }
        if self.last > after {
            let why = format!("{after} rows were written, and one stands at {}", self.last);
            self.found(Tamper::Inserted, Some(self.last), None, why);
        }
        for (client, (seq, _)) in std::mem::take(&mut self.noted) {
            let why = format!("the chain does not have link {seq} as its end is noted");
            self.found(Tamper::Broken, None, Some((&client, seq)), why);
        }
        let mut left: Vec<_> = std::mem::take(&mut self.heads).into_keys().collect();
        left.sort();
        for (client, seq) in left {
            let has = self.chains.get(&client).map_or(0, |end| end.0);
            let why = format!("a head was signed at link {seq}, which is not there: the chain has {has} links");
            self.found(Tamper::Cut, None, Some((&client, seq)), why);
        }
        Verification {
            ok: self.wrong == 0,
            rows: self.rows,
            sealed: self.sealed,
            clients: u64::try_from(self.chains.len()).unwrap_or(u64::MAX),
            heads: self.compared,
            wrong: self.wrong,
            findings: self.findings,
        }
    }

    fn found(&mut self, kind: Tamper, position: Option<i64>, chain: Option<(&str, i64)>, message: String) {
        self.wrong += 1;
        if self.findings.len() < MAX_FINDINGS {
            let client_id = chain.map(|(client, _)| client.to_owned());
            let seq = chain.map(|(_, seq)| seq).filter(|seq| *seq > 0);
            self.findings.push(Finding { kind, position, client_id, seq, message });
        }
    }
}
