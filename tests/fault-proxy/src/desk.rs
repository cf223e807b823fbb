//! The desk: all links by name, and the journal of what fired.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use thiserror::Error;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::book::{Book, Counts, Fired};
use crate::bounds::{MAX_FAULTS_PER_LINK, MAX_LINKS, MAX_LOG_LINES};
use crate::clock;
use crate::fault::{FaultSpec, Misunderstood, Protocol};
use crate::link::{self, Link, Upstream, lock};

/// Why the desk cannot do what it is asked.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("no link is called `{0}`: open it first")]
    NoLink(String),
    #[error("a link is called `{0}` already: close it first")]
    LinkExists(String),
    #[error("there are {MAX_LINKS} links: close one first")]
    TooManyLinks,
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the fault cannot be armed: {0}")]
    Fault(#[from] Misunderstood),
    #[error("a fault of id `{0}` is armed already: clear it first")]
    FaultExists(String),
    #[error("{MAX_FAULTS_PER_LINK} faults are armed on `{0}`: clear them first")]
    TooManyFaults(String),
    #[error("no fault of id `{0}` is known")]
    NoFault(String),
}

/// What fired, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: Mutex<VecDeque<Fired>>,
    fired: watch::Sender<u64>,
}

impl Journal {
    /// Writes lines down with the time, and wakes those who wait for them.
    pub(crate) fn add(&self, fired: Vec<Fired>) {
        let at_ms = clock::now_ms();
        {
            let mut lines = lock(&self.lines);
            lines.extend(fired.into_iter().map(|line| Fired { at_ms, ..line }));
            let surplus = lines.len().saturating_sub(MAX_LOG_LINES);
            lines.drain(..surplus);
        }
        self.fired.send_modify(|count| *count += 1);
    }

    pub(crate) fn last(&self, most: usize) -> Vec<Fired> {
        let lines = lock(&self.lines);
        lines.iter().skip(lines.len().saturating_sub(most)).cloned().collect()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.fired.subscribe()
    }
}

/// A link that listens.
#[derive(Debug)]
struct Open {
    link: Arc<Link>,
    protocol: Protocol,
    listening: AbortHandle,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) journal: Arc<Journal>,
    seed: u64,
    links: Mutex<BTreeMap<String, Open>>,
    /// Faults that came without an id so far.
    unnamed: Mutex<u64>,
}

impl Desk {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(crate) async fn open(
        &self,
        name: String,
        listen: SocketAddr,
        upstream: Upstream,
        protocol: Protocol,
    ) -> Result<SocketAddr, Refusal> {
        has_room_for(&lock(&self.links), &name)?;
        let bound = link::listen(listen).await;
        let (listener, address) = bound.map_err(|source| Refusal::Listen { address: listen, source })?;
        let book = Book::new(name.clone(), protocol, self.seed);
        let link = Arc::new(Link::new(book, upstream, Arc::clone(&self.journal)));
        let mut links = lock(&self.links);
        // Asked again: another may have come in the meantime.
        has_room_for(&links, &name)?;
        let listening = tokio::spawn(Arc::clone(&link).serve(listener)).abort_handle();
        links.insert(name, Open { link, protocol, listening });
        Ok(address)
    }

    pub(crate) fn close(&self, name: &str) -> Result<(), Refusal> {
        let open = lock(&self.links).remove(name).ok_or_else(|| Refusal::NoLink(name.to_owned()))?;
        open.listening.abort();
        open.link.clear(None);
        open.link.reset_all();
        Ok(())
    }

    pub(crate) fn set_upstream(&self, name: &str, upstream: Upstream) -> Result<(), Refusal> {
        self.link(name)?.0.set_upstream(upstream);
        Ok(())
    }

    /// Arms a fault; returns its id.
    pub(crate) fn arm(&self, name: &str, spec: FaultSpec, id: Option<String>) -> Result<String, Refusal> {
        let (link, protocol) = self.link(name)?;
        let fault = spec.understood(protocol)?;
        let id = id.unwrap_or_else(|| {
            let mut unnamed = lock(&self.unnamed);
            *unnamed += 1;
            format!("unnamed-{unnamed}")
        });
        if self.links().iter().any(|other| other.with_book(|book| book.is_armed(&id))) {
            return Err(Refusal::FaultExists(id));
        }
        for other in self.links() {
            other.with_book(|book| book.forget(&id));
        }
        if link.arm(&id, fault) { Ok(id) } else { Err(Refusal::TooManyFaults(name.to_owned())) }
    }

    /// How often a fault has fired, and what it did last.
    pub(crate) fn record(&self, id: &str) -> Result<(u64, Option<String>), Refusal> {
        let mut records = self.links().into_iter().filter_map(|link| link.with_book(|book| book.record(id)));
        records.next().ok_or_else(|| Refusal::NoFault(id.to_owned()))
    }

    pub(crate) fn clear(&self, name: &str, id: Option<&str>) -> Result<(), Refusal> {
        self.link(name)?.0.clear(id);
        Ok(())
    }

    pub(crate) fn counts(&self, name: &str) -> Result<(Upstream, Counts), Refusal> {
        let (link, _) = self.link(name)?;
        Ok((link.upstream(), link.with_book(|book| book.counts.clone())))
    }

    fn link(&self, name: &str) -> Result<(Arc<Link>, Protocol), Refusal> {
        let links = lock(&self.links);
        let open = links.get(name).ok_or_else(|| Refusal::NoLink(name.to_owned()))?;
        Ok((Arc::clone(&open.link), open.protocol))
    }

    fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.links).values().map(|open| Arc::clone(&open.link)).collect()
    }
}

fn has_room_for(links: &BTreeMap<String, Open>, name: &str) -> Result<(), Refusal> {
    if links.contains_key(name) {
        return Err(Refusal::LinkExists(name.to_owned()));
    }
    if links.len() >= MAX_LINKS { Err(Refusal::TooManyLinks) } else { Ok(()) }
}
