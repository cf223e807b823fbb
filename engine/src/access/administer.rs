//! Tokens are created, listed, rotated and revoked here; nobody gives away more than they have.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::token::mint;
use super::{Denied, Principal, Scope, TokenRow};
use crate::document::{self, DocumentError};
use crate::engine::Engine;
use crate::id::TokenId;
use crate::store::StoreError;

/// How long the old token goes on after a rotation: time enough to hand out the new one.
pub const ROTATION_OVERLAP: Duration = Duration::from_hours(1);
/// The longest life of a token that has an end.
const MAX_TTL: Duration = Duration::from_hours(24 * 3660);
/// How many tokens a list shows, newest first.
const MAX_LISTED: i64 = 1000;

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// For which client; `*` for every client.
    pub client_id: String,
    /// Who or what will use it.
    pub name: String,
    /// What it is good for; at least one.
    pub scopes: Vec<Scope>,
    /// The command types that it may submit; `None` is every type.
    pub command_types: Option<Vec<String>>,
    /// How long it lives; `None` is until it is revoked.
    pub ttl: Option<Duration>,
}

/// A token that was made. Its text is shown this once.
#[derive(Clone)]
pub struct CreatedToken {
    /// Its id, for listing and revoking.
    pub id: TokenId,
    /// The text to send.
    pub token: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What may be known of a token afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Token")]
pub struct TokenView {
    /// Its id.
    pub token_id: TokenId,
    /// For which client; `*` for every client.
    pub client_id: String,
    /// Who or what uses it.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// The command types that it may submit; `null` is every type.
    pub command_types: Option<Vec<String>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Why a token was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenAdminError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Something in the request does not fit.
    #[error("{message}")]
    Invalid {
        /// RFC 6901 pointer into the request.
        pointer: &'static str,
        /// What is wrong.
        message: String,
    },
    /// No live token of that id for this principal.
    #[error("no such token, or it has ended already")]
    NotFound,
    /// The operating system gave no randomness.
    #[error("no secure random numbers on this machine")]
    Random(#[from] getrandom::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Makes a token.
    pub async fn create_token(&self, by: &Principal, new: NewToken) -> Result<CreatedToken, TokenAdminError> {
        check(&new)?;
        grant(by, &new.client_id, &new.scopes, new.command_types.as_deref())?;
        let now = self.clock().now();
        let expires_at = new.ttl.and_then(|ttl| TimeDelta::from_std(ttl).ok()).map(|ttl| now + ttl);
        let id = TokenId::new(self.clock());
        let (token, hash) = mint(id)?;
        let row = TokenRow {
            id,
            client_id: new.client_id,
            name: new.name,
            hash: hash.as_bytes().to_vec(),
            scopes: new.scopes.iter().map(ToString::to_string).collect(),
            command_types: new.command_types,
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        self.store().insert_token(&row).await?;
        Ok(CreatedToken { id, token, expires_at })
    }

    /// The tokens that this principal may see, newest first, ended ones too.
    pub async fn list_tokens(&self, by: &Principal) -> Result<Vec<TokenView>, TokenAdminError> {
        by.require(Scope::TokensAdmin)?;
        let rows = self.store().tokens(&by.client_id, MAX_LISTED).await?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// Ends a token: at once on this node, within two seconds on the others.
    pub async fn revoke_token(&self, by: &Principal, id: TokenId) -> Result<(), TokenAdminError> {
        by.require(Scope::TokensAdmin)?;
        let revoked = self.store().revoke_token(id, &by.client_id, self.clock().now()).await?;
        self.tokens().forget(id);
        if revoked { Ok(()) } else { Err(TokenAdminError::NotFound) }
    }

    /// Makes another token with the same rights and life; the old one ends after `overlap`
    /// ([`ROTATION_OVERLAP`] when absent), or at its own time when that is earlier.
    pub async fn rotate_token(
        &self,
        by: &Principal,
        id: TokenId,
        overlap: Option<Duration>,
    ) -> Result<CreatedToken, TokenAdminError> {
        by.require(Scope::TokensAdmin)?;
        let now = self.clock().now();
        let old = self.store().token(id).await?.filter(|row| by.may_act_for(&row.client_id));
        let live = |row: &TokenRow| row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > now);
        let old = old.filter(live).ok_or(TokenAdminError::NotFound)?;
        let scopes: Vec<Scope> = old.scopes.iter().filter_map(|word| word.parse().ok()).collect();
        grant(by, &old.client_id, &scopes, old.command_types.as_deref())?;
        let overlap = overlap.unwrap_or(ROTATION_OVERLAP).min(MAX_TTL);
        let until = now + TimeDelta::from_std(overlap).unwrap_or(TimeDelta::zero());
        let next = TokenId::new(self.clock());
        let (token, hash) = mint(next)?;
        let expires_at = old.expires_at.map(|end| now + (end - old.created_at));
        let row = TokenRow {
            id: next,
            hash: hash.as_bytes().to_vec(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            created_at: now,
            expires_at,
            ..old
        };
        let rotated = self.store().rotate_token(id, until, &row).await?;
        self.tokens().forget(id);
        if rotated { Ok(CreatedToken { id: next, token, expires_at }) } else { Err(TokenAdminError::NotFound) }
    }
}

fn check(new: &NewToken) -> Result<(), TokenAdminError> {
    let invalid = |pointer, message: String| Err(TokenAdminError::Invalid { pointer, message });
    let key = |pointer, what, key: &str| {
        document::check_key(what, key)
            .map_err(|error: DocumentError| TokenAdminError::Invalid { pointer, message: error.to_string() })
    };
    key("/client_id", "the client", &new.client_id)?;
    key("/name", "the name", &new.name)?;
    for kind in new.command_types.iter().flatten() {
        key("/command_types", "a command type", kind)?;
    }
    if new.scopes.is_empty() {
        return invalid("/scopes", "name at least one scope".into());
    }
    match new.ttl {
        Some(ttl) if ttl.is_zero() || ttl > MAX_TTL => {
            invalid("/ttl_secs", format!("must be 1 to {}", MAX_TTL.as_secs()))
        }
        _ => Ok(()),
    }
}

/// Nobody makes a token that may more than they do.
fn grant(by: &Principal, client: &str, scopes: &[Scope], kinds: Option<&[String]>) -> Result<(), Denied> {
    by.require(Scope::TokensAdmin)?;
    if !by.may_act_for(client) {
        return Err(Denied::Client(client.to_owned()));
    }
    scopes.iter().try_for_each(|scope| by.require(*scope))?;
    match (&by.command_types, kinds) {
        (None, _) => Ok(()),
        (Some(_), Some(kinds)) => kinds.iter().try_for_each(|kind| by.may_submit(kind)),
        (Some(allowed), None) => Err(Denied::CommandType { kind: "(every type)".to_owned(), allowed: allowed.clone() }),
    }
}

fn view(row: TokenRow) -> TokenView {
    TokenView {
        token_id: row.id,
        client_id: row.client_id,
        name: row.name,
        scopes: row.scopes,
        command_types: row.command_types,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn keeper(scopes: &[Scope]) -> Principal {
        Principal {
            client_id: "acme".into(),
            scopes: scopes.iter().copied().collect::<BTreeSet<_>>(),
            ..Principal::operator()
        }
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let keeper = keeper(&[Scope::TokensAdmin, Scope::CommandsRead]);
        assert_eq!(grant(&keeper, "acme", &[Scope::CommandsRead], None), Ok(()));
        assert_eq!(grant(&keeper, "acme", &[Scope::Admin], None), Err(Denied::Scope(Scope::Admin)));
        assert_eq!(grant(&keeper, "other", &[Scope::CommandsRead], None), Err(Denied::Client("other".into())));
        assert_eq!(grant(&keeper, "*", &[Scope::CommandsRead], None), Err(Denied::Client("*".into())));
    }

    #[test]
    fn a_list_of_command_types_is_passed_on_narrower_only() {
        let narrow = Principal { command_types: Some(vec!["a".into(), "b".into()]), ..keeper(&[Scope::Admin]) };
        assert_eq!(grant(&narrow, "acme", &[Scope::CommandsRead], Some(&["a".into()])), Ok(()));
        assert!(grant(&narrow, "acme", &[Scope::CommandsRead], Some(&["c".into()])).is_err());
        assert!(grant(&narrow, "acme", &[Scope::CommandsRead], None).is_err());
    }

    #[test]
    fn only_the_keeper_of_tokens_makes_them() {
        let writer = keeper(&[Scope::CommandsWrite]);
        assert_eq!(grant(&writer, "acme", &[Scope::CommandsWrite], None), Err(Denied::Scope(Scope::TokensAdmin)));
    }

    #[test]
    fn an_unfit_token_is_refused_with_a_pointer() {
        let fit = NewToken {
            client_id: "acme".into(),
            name: "ci".into(),
            scopes: vec![Scope::CommandsRead],
            command_types: None,
            ttl: Some(Duration::from_secs(1)),
        };
        assert!(check(&fit).is_ok());
        let unfit = [
            ("/client_id", NewToken { client_id: String::new(), ..fit.clone() }),
            ("/name", NewToken { name: "a\0b".into(), ..fit.clone() }),
            ("/scopes", NewToken { scopes: Vec::new(), ..fit.clone() }),
            ("/ttl_secs", NewToken { ttl: Some(Duration::ZERO), ..fit.clone() }),
            ("/ttl_secs", NewToken { ttl: Some(Duration::MAX), ..fit }),
        ];
        for (wanted, token) in unfit {
            let Err(TokenAdminError::Invalid { pointer, .. }) = check(&token) else { panic!("{wanted}") };
            assert_eq!(pointer, wanted);
        }
    }
}
