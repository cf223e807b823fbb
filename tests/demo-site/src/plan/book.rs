//! The plans in force, how often each reference came, and what was decided for it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::Plan;
use crate::conduct::Conduct;
use crate::effect::{Kind, MAX_REFERENCE_BYTES};
use crate::problem::Problem;
use crate::recent::Recent;
use crate::site::Request;

/// How many plans may be in force at once.
const MAX_PLANS: usize = 1_000;
/// How many references all plans together count; a request of one more is told that the site is full.
const MAX_COUNTED_REFERENCES: usize = 100_000;
/// How many decisions a plan remembers; the newest win.
const MAX_LOGGED_DECISIONS: usize = 1_000;

/// What a plan decided for one request, as `GET /_plans/{prefix}/log` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Decision {
    reference: String,
    n: u64,
    kind: Kind,
    received: DateTime<Utc>,
    conduct: String,
}

/// A plan in force, as `GET /_plans` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    prefix: String,
    plan: Plan,
    /// How many references came.
    references: usize,
    /// How many requests it decided about.
    decided: u64,
}

/// A plan's decision, and which plan's it is.
#[derive(Debug)]
pub(crate) struct Met {
    /// What is to happen.
    pub(crate) conduct: Conduct,
    prefix: String,
    edition: u64,
}

#[derive(Debug)]
struct InForce {
    plan: Plan,
    edition: u64,
    counts: HashMap<String, u64>,
    log: Recent<Decision>,
}

#[derive(Debug, Default)]
struct Book {
    by_prefix: BTreeMap<String, InForce>,
    editions: u64,
}

/// The plans in force; a plan that is set again begins to count again.
#[derive(Debug, Default)]
pub(crate) struct Plans(watch::Sender<Book>);

impl Plans {
    /// Sets the plan of a prefix, in place of the one it had.
    pub(crate) fn put(&self, prefix: &str, plan: Plan) -> Result<(), Problem> {
        if prefix.is_empty() || prefix.len() > MAX_REFERENCE_BYTES {
            return Err(Problem::malformed(format!("a prefix is 1 to {MAX_REFERENCE_BYTES} bytes")));
        }
        let has_room = |book: &Book| book.by_prefix.len() < MAX_PLANS || book.by_prefix.contains_key(prefix);
        let is_set = self.0.send_if_modified(|book| has_room(book) && book.put(prefix, plan));
        if is_set { Ok(()) } else { Err(Problem::TooMany("plans")) }
    }

    /// Removes the plan of a prefix with all it counted; says whether there was one.
    pub(crate) fn remove(&self, prefix: &str) -> bool {
        self.0.send_if_modified(|book| book.by_prefix.remove(prefix).is_some())
    }

    /// Removes every plan.
    pub(crate) fn clear(&self) {
        self.0.send_modify(|book| book.by_prefix.clear());
    }

    /// Every plan, by prefix.
    pub(crate) fn list(&self) -> Vec<Listed> {
        let listed = |(prefix, in_force): (&String, &InForce)| Listed {
            prefix: prefix.clone(),
            plan: in_force.plan.clone(),
            references: in_force.counts.len(),
            decided: in_force.counts.values().sum(),
        };
        self.0.borrow().by_prefix.iter().map(listed).collect()
    }

    /// What the plan of a prefix decided, if there is one: the newest, and how many are forgotten.
    pub(crate) fn log(&self, prefix: &str) -> Option<(Vec<Decision>, u64)> {
        self.0.borrow().by_prefix.get(prefix).map(|in_force| in_force.log.page())
    }

    /// Decides about a request and counts it, if a plan concerns it.
    pub(crate) fn meet(&self, request: &Request) -> Result<Option<Met>, Problem> {
        let Some(reference) = request.name() else {
            return Ok(None);
        };
        let mut met = Ok(None);
        // Deciding and counting are one step under the lock, so that no two requests are the n-th.
        self.0.send_if_modified(|book| {
            met = book.meet(reference, request);
            false
        });
        met
    }

    /// Waits until the plan that decided this is replaced or removed.
    pub(crate) async fn end_of(&self, met: &Met) {
        let is_over = |book: &Book| book.by_prefix.get(&met.prefix).is_none_or(|now| now.edition != met.edition);
        // The sender lives as long as `self`, so the wait ends only with the plan.
        let _ = self.0.subscribe().wait_for(is_over).await;
    }
}

impl Book {
    fn put(&mut self, prefix: &str, plan: Plan) -> bool {
        self.editions += 1;
        let log = Recent::keeping(MAX_LOGGED_DECISIONS);
        let in_force = InForce { plan, edition: self.editions, counts: HashMap::new(), log };
        self.by_prefix.insert(prefix.to_owned(), in_force);
        true
    }

    fn meet(&mut self, reference: &str, request: &Request) -> Result<Option<Met>, Problem> {
        let counted: usize = self.by_prefix.values().map(|in_force| in_force.counts.len()).sum();
        let concerned = self.by_prefix.iter_mut().filter(|(prefix, _)| reference.starts_with(prefix.as_str()));
        let Some((prefix, in_force)) = concerned.max_by_key(|(prefix, _)| prefix.len()) else {
            return Ok(None);
        };
        if counted >= MAX_COUNTED_REFERENCES && !in_force.counts.contains_key(reference) {
            return Err(Problem::Full);
        }
        let n = in_force.counts.entry(reference.to_owned()).or_default();
        *n += 1;
        let conduct = in_force.plan.conduct(reference, *n);
        in_force.log.note(Decision {
            reference: reference.to_owned(),
            n: *n,
            kind: request.draft.effect.kind(),
            received: request.received,
            conduct: conduct.to_string(),
        });
        Ok(Some(Met { conduct, prefix: prefix.clone(), edition: in_force.edition }))
    }
}
