//! Tickets: how a browser, which can send no header with a WebSocket, says who it is (C-30).
//!
//! A ticket is bought with a token, is good for one connection within [`TICKET_LIFE`], and may
//! stand in an address: whoever reads it in a log comes too late. Only its hash is stored.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{AuthError, Principal};
use crate::engine::Engine;
use crate::id::TokenId;
use crate::store::StoreError;

/// How long a ticket waits to be used.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);
/// What every ticket begins with.
const PREFIX: &str = "ticket_";
/// Random bytes of a ticket.
const RANDOM_BYTES: usize = 24;

/// A ticket, shown once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What goes into the address: `?ticket=…`.
    pub text: String,
    /// How long it is good.
    pub life: Duration,
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// Tickets stand for tokens; the local operator has none.
    #[error("a ticket is bought with a token")]
    NoToken,
    /// The system gave no random numbers.
    #[error("no random numbers could be had")]
    Random(#[from] getrandom::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Sells a ticket to a principal.
    pub async fn ticket(&self, by: &Principal) -> Result<Ticket, TicketError> {
        let token: TokenId = by.id.parse().map_err(|_| TicketError::NoToken)?;
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let text = format!("{PREFIX}{}", hex::encode(random));
        self.store().insert_ticket(&hash(&text), token, TICKET_LIFE.as_secs_f64()).await?;
        Ok(Ticket { text, life: TICKET_LIFE })
    }

    /// Who comes with this ticket; it is used up.
    pub async fn redeem(&self, ticket: &str) -> Result<Principal, AuthError> {
        if ticket.len() != PREFIX.len() + 2 * RANDOM_BYTES || !ticket.starts_with(PREFIX) {
            return Err(AuthError::Malformed);
        }
        let token = self.store().take_ticket(&hash(ticket)).await?.ok_or(AuthError::Unknown)?;
        self.principal_of(token).await
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket.as_bytes()).into()
}
