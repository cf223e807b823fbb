//! Tokens seen a moment ago, so that a busy client does not cost a query per request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::TokenRow;
use crate::id::TokenId;

/// How long an answer is believed. With it a revocation on another node takes effect in time (5 s).
const TTL: Duration = Duration::from_secs(2);
/// How many tokens are kept; when full, the stale go first, then all.
const MAX_TOKENS: usize = 1024;

/// Known tokens by id, each for [`TTL`].
#[derive(Debug, Default)]
pub(crate) struct TokenCache {
    rows: Mutex<HashMap<TokenId, (TokenRow, Instant)>>,
}

impl TokenCache {
    /// A token asked for less than [`TTL`] ago.
    pub(crate) fn get(&self, id: TokenId, now: Instant) -> Option<TokenRow> {
        let rows = self.lock();
        let (row, asked_at) = rows.get(&id)?;
        (now.saturating_duration_since(*asked_at) < TTL).then(|| row.clone())
    }

    /// Remembers a live token.
    pub(crate) fn put(&self, row: TokenRow, asked_at: Instant) {
        let mut rows = self.lock();
        if rows.len() >= MAX_TOKENS {
            rows.retain(|_, (_, at)| asked_at.saturating_duration_since(*at) < TTL);
        }
        if rows.len() >= MAX_TOKENS {
            rows.clear();
        }
        rows.insert(row.id, (row, asked_at));
    }

    /// Forgets a token that was changed here, so that this node knows at once.
    pub(crate) fn forget(&self, id: TokenId) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenId, (TokenRow, Instant)>> {
        // A panic cannot leave the map half-written; what it holds is still true.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use chrono::DateTime;
    use uuid::Uuid;

    fn row(n: u128) -> TokenRow {
        TokenRow {
            id: TokenId(Uuid::from_u128(n)),
            client_id: "acme".into(),
            name: "ci".into(),
            hash: Vec::new(),
            scopes: Vec::new(),
            command_types: None,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn an_answer_is_believed_for_two_seconds() {
        let (cache, now) = (TokenCache::default(), Clock::system().monotonic());
        cache.put(row(1), now);
        assert!(cache.get(row(1).id, now + TTL.saturating_sub(Duration::from_millis(1))).is_some());
        assert!(cache.get(row(1).id, now + TTL).is_none());
        assert!(cache.get(row(2).id, now).is_none());
    }

    #[test]
    fn a_forgotten_token_is_asked_for_again() {
        let (cache, now) = (TokenCache::default(), Clock::system().monotonic());
        cache.put(row(1), now);
        cache.forget(row(1).id);
        assert!(cache.get(row(1).id, now).is_none());
    }

    #[test]
    fn the_cache_never_grows_beyond_its_bound() {
        let (cache, now) = (TokenCache::default(), Clock::system().monotonic());
        for n in 0..u128::try_from(3 * MAX_TOKENS).unwrap() {
            cache.put(row(n), now);
            assert!(cache.lock().len() <= MAX_TOKENS);
        }
    }
}
