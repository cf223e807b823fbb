//! Where an account wants its events: the registered addresses and their secrets.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Url;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::event::{Event, EventType};
use super::letter::Secret;
use crate::account::{Handle, short_hash};
use crate::clock;
use crate::problem::Problem;

const MAX_URL_BYTES: usize = 2048;
/// How many requests to one endpoint are in flight at once.
const MAX_IN_FLIGHT: usize = 32;
/// How long a webhook that is to be overtaken waits for another to do so.
const HOLD_LIMIT: Duration = Duration::from_secs(3);

/// One registered address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its id.
    pub(crate) id: String,
    /// Whose events it gets.
    pub(crate) account: Handle,
    /// Where they are sent.
    pub(crate) url: Url,
    /// Which types it gets.
    pub(crate) events: BTreeSet<EventType>,
    /// When it was registered.
    pub(crate) created_at: DateTime<Utc>,
    /// What signs them.
    pub(crate) secret: Secret,
    progress: watch::Sender<Progress>,
    in_flight: Semaphore,
}

/// The endpoint was removed; what had not gone stays.
#[derive(Debug)]
pub(crate) struct Removed;

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    is_removed: bool,
    /// How many webhooks have set out for here; each one's place is the number before it.
    set_out: u64,
    /// The last place of those that were accepted.
    latest_through: Option<u64>,
}

/// An endpoint as its account sees it, without the secret.
#[derive(Debug, Serialize)]
pub(crate) struct EndpointView {
    id: String,
    url: String,
    events: BTreeSet<EventType>,
    created_at: DateTime<Utc>,
}

impl Endpoint {
    /// The n-th endpoint of the site, once its address is checked.
    pub(crate) fn new(account: Handle, url: &str, events: BTreeSet<EventType>, n: u64) -> Result<Self, Problem> {
        let url = checked_url(url)?;
        let id = format!("ep_{}", short_hash(&format!("endpoint:{account}:{n}")));
        let secret = Secret::of(&id);
        let (progress, in_flight) = (watch::Sender::default(), Semaphore::new(MAX_IN_FLIGHT));
        Ok(Self { id, account, url, events, created_at: clock::now(), secret, progress, in_flight })
    }

    /// As its account sees it.
    pub(crate) fn view(&self) -> EndpointView {
        let (id, url) = (self.id.clone(), self.url.to_string());
        EndpointView { id, url, events: self.events.clone(), created_at: self.created_at }
    }

    /// Whether it is told of this event.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.account == event.account && self.events.contains(&event.of_type)
    }

    /// The place of the next webhook in the order of events.
    pub(crate) fn next_place(&self) -> u64 {
        let mut place = 0;
        self.progress.send_if_modified(|progress| {
            place = progress.set_out;
            progress.set_out += 1;
            false
        });
        place
    }

    /// Waits for room for one more request; there is room again when the permit is dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes the semaphore, so there always is a permit.
        self.in_flight.acquire().await.ok()
    }

    /// The webhook of this place was accepted.
    pub(crate) fn through(&self, place: u64) {
        self.progress.send_modify(|progress| progress.latest_through = progress.latest_through.max(Some(place)));
    }

    /// Ends every wait; nothing more is sent here.
    pub(crate) fn remove(&self) {
        self.progress.send_modify(|progress| progress.is_removed = true);
    }

    /// Whether it is still registered.
    pub(crate) fn still_here(&self) -> Result<(), Removed> {
        if self.progress.borrow().is_removed { Err(Removed) } else { Ok(()) }
    }

    /// Waits for this long.
    pub(crate) async fn wait(&self, length: Duration) -> Result<(), Removed> {
        self.wait_for(length, |progress| progress.is_removed).await;
        self.still_here()
    }

    /// Waits until a webhook of a later place was accepted, though not for ever; says whether one was.
    pub(crate) async fn wait_for_a_later(&self, place: u64) -> Result<bool, Removed> {
        let is_later = |progress: &Progress| progress.latest_through > Some(place);
        self.wait_for(HOLD_LIMIT, |progress| progress.is_removed || is_later(progress)).await;
        self.still_here()?;
        Ok(is_later(&self.progress.borrow()))
    }

    async fn wait_for(&self, at_most: Duration, is_over: impl FnMut(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        tokio::select! {
            () = clock::pause(at_most) => {}
            // The sender lives as long as `self`.
            _ = progress.wait_for(is_over) => {}
        }
    }
}

/// Only addresses of this machine: a fake has no business elsewhere.
fn checked_url(text: &str) -> Result<Url, Problem> {
    let url = Url::parse(text).ok().filter(|url| text.len() <= MAX_URL_BYTES && url.scheme() == "http");
    let is_local = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    url.filter(|url| url.host_str().is_some_and(is_local)).ok_or_else(|| {
        Problem::malformed("`url` is an http:// address of this machine, such as http://127.0.0.1:8000/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_elsewhere_is_refused() {
        for local in ["http://127.0.0.1:8000/hook", "http://localhost/", "http://[::1]:9/x?y=z"] {
            assert!(checked_url(local).is_ok(), "{local}");
        }
        for other in ["https://127.0.0.1/", "http://example.com/", "http://127.0.0.1.example.com/", "127.0.0.1", ""] {
            assert!(checked_url(other).is_err(), "{other}");
        }
    }
}
