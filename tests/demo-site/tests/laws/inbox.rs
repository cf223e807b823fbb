//! A receiver of webhooks as it should be: it verifies, allows for little time, and knows the ids
//! it has seen. It shares no code with the site.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::running::Running;

const TOLERANCE_SECS: u64 = 300;
/// Longer than a webhook that is held, or tried a few times, is under way.
const DEADLINE: Duration = Duration::from_secs(30);

/// One request as it came, and what it was answered with.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) answer: StatusCode,
}

impl Letter {
    /// The body, for those who need not trust it.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Debug, Default)]
struct Desk {
    key: Vec<u8>,
    letters: Vec<Letter>,
    events: Vec<Letter>,
    refusals: VecDeque<StatusCode>,
}

/// A running receiver.
pub(crate) struct Inbox {
    url: String,
    desk: Arc<Mutex<Desk>>,
}

impl Inbox {
    /// A receiver at an address of its own.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let desk = Arc::new(Mutex::new(Desk::default()));
        let service = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&desk));
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, desk }
    }

    /// A receiver that a site tells of these types of @ada's events.
    pub(crate) async fn of(site: &Running, events: &[&str]) -> Self {
        let inbox = Self::open().await;
        let registered = inbox.register(site, events).await;
        inbox.desk.lock().unwrap().key = key_of(registered["secret"].as_str().unwrap());
        inbox
    }

    /// Registers this address as @ada's.
    pub(crate) async fn register(&self, site: &Running, events: &[&str]) -> Value {
        let endpoint = json!({ "url": self.url, "events": events });
        let answer = site.api("/api/webhooks", &endpoint).await.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        answer.json().await.unwrap()
    }

    /// Answers the next requests with these instead of looking at them.
    pub(crate) fn refuse(&self, refusals: &[StatusCode]) {
        self.desk.lock().unwrap().refusals = refusals.iter().copied().collect();
    }

    /// Every request so far.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.desk.lock().unwrap().letters.clone()
    }

    /// The events so far, each once.
    pub(crate) fn events(&self) -> Vec<Letter> {
        self.desk.lock().unwrap().events.clone()
    }
}

/// Waits until the site's list of deliveries is as wanted, and answers it.
pub(crate) async fn deliveries(site: &Running, is_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let wanted = async {
        loop {
            let page = site.get("/_webhooks/deliveries").await;
            let deliveries = page["deliveries"].as_array().unwrap();
            if is_wanted(deliveries) {
                return deliveries.clone();
            }
        }
    };
    tokio::time::timeout(DEADLINE, wanted).await.unwrap()
}

fn key_of(secret: &str) -> Vec<u8> {
    STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the receiver has a clock of its own")]
async fn receive(State(desk): State<Arc<Mutex<Desk>>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let mut desk = desk.lock().unwrap();
    let mut letter = Letter {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
        at: Utc::now(),
        answer: StatusCode::OK,
    };
    letter.answer = desk.refusals.pop_front().unwrap_or_else(|| verdict(&desk.key, &letter));
    let is_known = desk.events.iter().any(|event| event.id == letter.id);
    if letter.answer.is_success() && !is_known {
        desk.events.push(letter.clone());
    }
    desk.letters.push(letter.clone());
    letter.answer
}

fn verdict(key: &[u8], letter: &Letter) -> StatusCode {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{}.{}.{}", letter.id, letter.timestamp, letter.body).as_bytes());
    let signature = letter.signature.strip_prefix("v1,").map(|signature| STANDARD.decode(signature).unwrap());
    if signature.is_none_or(|signature| mac.verify_slice(&signature).is_err()) {
        return StatusCode::UNAUTHORIZED;
    }
    let sent_at: i64 = letter.timestamp.parse().unwrap();
    if sent_at.abs_diff(letter.at.timestamp()) > TOLERANCE_SECS {
        return StatusCode::BAD_REQUEST;
    }
    StatusCode::OK
}
