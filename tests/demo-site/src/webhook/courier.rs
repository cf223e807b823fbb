//! The road of a webhook: who is told, what is done to it on the way, how often it is tried.
//!
//! Each webhook is a task of its own, so a receiver that is slow or gone holds up no other. A
//! forgery, a duplicate and a replay are each sent once; only the true webhook is tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore, watch};

use super::endpoint::{Endpoint, Removed};
use super::event::{Event, EventType};
use super::fate::{Fate, Forgery, Odds};
use super::letter::Letter;
use crate::account::Handle;
use crate::clock;
use crate::ledger::Line;
use crate::problem::Problem;
use crate::recent::Recent;

/// How many endpoints may be registered at once.
const MAX_ENDPOINTS: usize = 1_000;
/// How many webhooks may be on their way at once; one more is dropped, and the log says so.
const MAX_ON_THE_WAY: usize = 10_000;
/// How many deliveries the log remembers; the newest win.
const MAX_LOGGED_DELIVERIES: usize = 10_000;
/// How often a webhook is tried before it is given up.
const MAX_ATTEMPTS: u32 = 8;
/// How long a receiver may take for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long after the first attempt the second comes; each next wait is twice as long.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// The longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// One request to an endpoint, as `GET /_webhooks/deliveries` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Delivery {
    id: String,
    endpoint: String,
    #[serde(rename = "type")]
    of_type: EventType,
    reference: Option<String>,
    /// Which attempt of the true webhook it is; 0 for whatever is not one.
    attempt: u32,
    /// When its outcome was known.
    time: DateTime<Utc>,
    /// What was done to it, in words.
    conduct: String,
    /// What the receiver answered, if it did.
    status: Option<u16>,
}

/// Tells endpoints what was applied.
#[derive(Debug)]
pub(crate) struct Courier {
    client: Client,
    desk: Mutex<Desk>,
    on_the_way: Arc<Semaphore>,
    /// Changes when the site is reset, for those who wait for something to become due.
    resets: watch::Sender<()>,
}

type Log = Arc<Mutex<Recent<Delivery>>>;

#[derive(Debug)]
struct Desk {
    endpoints: Vec<Arc<Endpoint>>,
    registered: u64,
    odds: Odds,
    log: Log,
}

impl Desk {
    fn cleared(registered: u64) -> Self {
        let log = Arc::new(Mutex::new(Recent::keeping(MAX_LOGGED_DELIVERIES)));
        Self { endpoints: Vec::new(), registered, odds: Odds::default(), log }
    }
}

/// A webhook on its way to one endpoint.
struct Parcel {
    endpoint: Arc<Endpoint>,
    event: Event,
    fate: Fate,
    place: u64,
    /// The log of its time: what is still under way after a reset is not in the new one.
    log: Log,
}

impl Courier {
    /// A courier whom nobody has asked for anything.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // The workspace builds reqwest without a provider of its own; none is used for http://.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(ANSWER_TIMEOUT);
        Ok(Self {
            client: client.build()?,
            desk: Mutex::new(Desk::cleared(0)),
            on_the_way: Arc::new(Semaphore::new(MAX_ON_THE_WAY)),
            resets: watch::Sender::default(),
        })
    }

    /// Registers an endpoint.
    pub(crate) async fn register(
        &self,
        account: Handle,
        url: &str,
        events: BTreeSet<EventType>,
    ) -> Result<Arc<Endpoint>, Problem> {
        let mut desk = self.desk.lock().await;
        if desk.endpoints.len() >= MAX_ENDPOINTS {
            return Err(Problem::TooMany("webhook endpoints"));
        }
        let endpoint = Arc::new(Endpoint::new(account, url, events, desk.registered)?);
        desk.registered += 1;
        desk.endpoints.push(Arc::clone(&endpoint));
        Ok(endpoint)
    }

    /// The endpoints of an account, oldest first.
    pub(crate) async fn endpoints(&self, account: &Handle) -> Vec<Arc<Endpoint>> {
        let desk = self.desk.lock().await;
        desk.endpoints.iter().filter(|endpoint| endpoint.account == *account).cloned().collect()
    }

    /// Removes an endpoint of an account, with what is on its way there; says whether there was one.
    pub(crate) async fn remove(&self, account: &Handle, id: &str) -> bool {
        let mut desk = self.desk.lock().await;
        let place = desk.endpoints.iter().position(|endpoint| endpoint.account == *account && endpoint.id == id);
        place.map(|place| desk.endpoints.remove(place).remove()).is_some()
    }

    /// The odds in force.
    pub(crate) async fn odds(&self) -> Odds {
        self.desk.lock().await.odds
    }

    /// Replaces the odds for whatever becomes due from now on.
    pub(crate) async fn set_odds(&self, odds: Odds) {
        self.desk.lock().await.odds = odds;
    }

    /// What was sent lately, oldest first, and how many are forgotten.
    pub(crate) async fn deliveries(&self) -> (Vec<Delivery>, u64) {
        let log = Arc::clone(&self.desk.lock().await.log);
        log.lock().await.page()
    }

    /// Forgets every endpoint, what is on its way, what was sent, and the odds.
    pub(crate) async fn start_over(&self) {
        let mut desk = self.desk.lock().await;
        desk.endpoints.iter().for_each(|endpoint| endpoint.remove());
        // The count goes on, so that no id or secret of an endpoint comes again.
        *desk = Desk::cleared(desk.registered);
        self.resets.send_replace(());
    }

    /// Tells the account's endpoints of an applied effect, as soon as there is something to tell.
    pub(crate) async fn announce(self: &Arc<Self>, line: &Line) {
        for event in Event::all_of(line) {
            let Ok(early) = (event.due - clock::now()).to_std() else {
                self.tell(event).await;
                continue;
            };
            let (courier, mut resets) = (Arc::clone(self), self.resets.subscribe());
            tokio::spawn(async move {
                tokio::select! {
                    () = clock::pause(early) => courier.tell(event).await,
                    _ = resets.changed() => {}
                }
            });
        }
    }

    async fn tell(self: &Arc<Self>, event: Event) {
        let desk = self.desk.lock().await;
        let fate = desk.odds.fate(&event.id);
        for endpoint in desk.endpoints.iter().filter(|endpoint| endpoint.wants(&event)) {
            let (endpoint, place) = (Arc::clone(endpoint), endpoint.next_place());
            let parcel = Parcel { endpoint, event: event.clone(), fate, place, log: Arc::clone(&desk.log) };
            let Ok(room) = Arc::clone(&self.on_the_way).try_acquire_owned() else {
                note(&parcel, 0, "drop: too many are on their way", None).await;
                continue;
            };
            let courier = Arc::clone(self);
            tokio::spawn(async move {
                // A removed endpoint is nobody's loss.
                let _ = courier.carry(&parcel).await;
                drop(room);
            });
        }
    }

    /// Does to a webhook what its fate wants.
    async fn carry(&self, parcel: &Parcel) -> Result<(), Removed> {
        let Parcel { endpoint, event, fate, place, .. } = parcel;
        if fate.drop {
            note(parcel, 0, "drop", None).await;
            return Ok(());
        }
        match fate.forgery {
            None => {}
            Some(Forgery::Signature) => {
                let letter = Letter::signed_by_a_stranger(event, clock::now());
                self.send(parcel, 0, &letter, "forge: signed by a stranger").await;
            }
            Some(Forgery::Body) => {
                let letter = Letter::tampered_with(event, &endpoint.secret, clock::now());
                self.send(parcel, 0, &letter, "forge: tampered body").await;
            }
        }
        let mut conduct = Vec::new();
        if !fate.late.is_zero() {
            endpoint.wait(fate.late).await?;
            conduct.push(format!("late {} ms", fate.late.as_millis()));
        }
        if fate.reorder {
            let is_overtaken = endpoint.wait_for_a_later(*place).await?;
            conduct.push(if is_overtaken { "reorder" } else { "hold in vain" }.to_owned());
        }
        let Some(accepted) = self.deliver(parcel, conduct).await? else {
            return Ok(());
        };
        endpoint.through(*place);
        if let Some(after) = fate.replay_after {
            endpoint.wait(after).await?;
            self.send(parcel, 0, &accepted, "replay").await;
        }
        Ok(())
    }

    /// Tries until the receiver accepts; the letter it accepted, or nothing if it never did.
    async fn deliver(&self, parcel: &Parcel, mut conduct: Vec<String>) -> Result<Option<Letter>, Removed> {
        let Parcel { endpoint, event, fate, .. } = parcel;
        let mut backoff = FIRST_BACKOFF;
        for attempt in 1..=MAX_ATTEMPTS {
            endpoint.still_here()?;
            let mut signed_as_of = clock::now();
            if let Some(wrong_by) = fate.wrong_by.filter(|_| attempt == 1) {
                signed_as_of += wrong_by;
                conduct.push(format!("wrong timestamp by {} s", wrong_by.num_seconds()));
            }
            let letter = Letter::signed(event, &endpoint.secret, signed_as_of);
            let words = if conduct.is_empty() { "behave".to_owned() } else { conduct.join(", ") };
            let is_accepted = if fate.duplicate && attempt == 1 {
                let twin = self.send(parcel, 0, &letter, "duplicate");
                tokio::join!(self.send(parcel, attempt, &letter, &words), twin).0
            } else {
                self.send(parcel, attempt, &letter, &words).await
            };
            if is_accepted {
                return Ok(Some(letter));
            }
            conduct = vec!["again".to_owned()];
            if attempt < MAX_ATTEMPTS {
                endpoint.wait(backoff).await?;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
        Ok(None)
    }

    /// Sends a letter once; says whether it was accepted.
    async fn send(&self, parcel: &Parcel, attempt: u32, letter: &Letter, conduct: &str) -> bool {
        let _turn = parcel.endpoint.turn().await;
        let request = self
            .client
            .post(parcel.endpoint.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", letter.timestamp)
            .header("webhook-signature", &letter.signature)
            .body(letter.body.clone());
        let status = request.send().await.ok().map(|answer| answer.status());
        note(parcel, attempt, conduct, status).await;
        status.is_some_and(|status| status.is_success())
    }
}

async fn note(parcel: &Parcel, attempt: u32, conduct: &str, status: Option<StatusCode>) {
    let Parcel { endpoint, event, log, .. } = parcel;
    log.lock().await.note(Delivery {
        id: event.id.clone(),
        endpoint: endpoint.id.clone(),
        of_type: event.of_type,
        reference: event.reference.clone(),
        attempt,
        time: clock::now(),
        conduct: conduct.to_owned(),
        status: status.map(|status| status.as_u16()),
    });
}
