//! Who may do what: principals, scopes, tokens.
//!
//! Owns the decision. Knows nothing of headers: a surface turns what it was sent into a token text
//! and asks [`Engine::authenticate`](crate::engine::Engine::authenticate); from then on the
//! [`Principal`] goes along with every call and the engine checks it. Read [`Principal`] and
//! [`Scope`] first; a new scope is one variant and one line in `scope.rs`.

mod administer;
mod cache;
mod principal;
mod scope;
mod sight;
mod ticket;
mod token;

pub use administer::{CreatedToken, NewToken, ROTATION_OVERLAP, TokenAdminError, TokenView};
pub(crate) use cache::TokenCache;
pub use principal::{Denied, NoClient, Principal};
pub use scope::{Scope, UnknownScope};
pub use ticket::{TICKET_LIFE, Ticket, TicketError};
pub use token::AuthError;
pub(crate) use token::TokenRow;
