//! Tokens: `fermata_<id>_<secret>`, of which only the SHA-256 of the secret is stored.
//!
//! The secret ends in a checksum over everything before it, so that a typo is told from a token
//! that was revoked, and costs no look into the database.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Principal, Scope};
use crate::engine::Engine;
use crate::id::TokenId;
use crate::store::StoreError;

/// What every token begins with: secret scanners look for it.
const PREFIX: &str = "fermata_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Base62 digits of 32 bytes.
const SECRET_DIGITS: usize = 43;
/// Base62 digits of the checksum's four bytes.
const CHECK_DIGITS: usize = 6;
/// Hex digits of the id.
const ID_DIGITS: usize = 32;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The text is not a whole token.
    #[error("the token is mistyped or cut short; copy it again")]
    Malformed,
    /// No such token, or its secret differs, or it was revoked.
    #[error("the token is not known, or was revoked; ask for a new one")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The SHA-256 of a secret. Compared in constant time only.
#[derive(Clone, Copy)]
pub(crate) struct SecretHash([u8; 32]);

impl SecretHash {
    /// The bytes to store.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether stored bytes are the same, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, stored: &[u8]) -> bool {
        let differing = self.0.iter().zip(stored).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differing) == 0 && stored.len() == self.0.len()
    }
}

/// A token's text, taken apart.
pub(crate) struct Presented {
    pub(crate) id: TokenId,
    pub(crate) hash: SecretHash,
}

/// A token as stored.
#[derive(Clone)]
pub(crate) struct TokenRow {
    pub(crate) id: TokenId,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) hash: Vec<u8>,
    pub(crate) scopes: Vec<String>,
    pub(crate) command_types: Option<Vec<String>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) revoked_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRow").field("id", &self.id).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl TokenRow {
    /// Who calls with this token, if it is live.
    fn judge(&self, presented: &Presented, now: DateTime<Utc>) -> Result<Principal, AuthError> {
        if !presented.hash.matches(&self.hash) {
            return Err(AuthError::Unknown);
        }
        self.principal(now)
    }

    /// Whom it stands for, if it is live.
    fn principal(&self, now: DateTime<Utc>) -> Result<Principal, AuthError> {
        if self.revoked_at.is_some() {
            return Err(AuthError::Unknown);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthError::Expired);
        }
        Ok(Principal {
            id: self.id.to_string(),
            name: self.name.clone(),
            client_id: self.client_id.clone(),
            // A scope that this program does not know (an older node) gives nothing.
            scopes: self.scopes.iter().filter_map(|word| word.parse::<Scope>().ok()).collect(),
            command_types: self.command_types.clone(),
        })
    }
}

impl Engine {
    /// Who calls with this token. A revocation takes effect within the cache's two seconds.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, AuthError> {
        let presented = parse(token).ok_or(AuthError::Malformed)?;
        let asked_at = self.clock().monotonic();
        if let Some(row) = self.tokens().get(presented.id, asked_at) {
            return row.judge(&presented, self.clock().now());
        }
        let row = self.store().token(presented.id).await?.ok_or(AuthError::Unknown)?;
        let principal = row.judge(&presented, self.clock().now())?;
        // Counted from before the question was asked: an answer in flight is not fresher than that.
        self.tokens().put(row, asked_at);
        Ok(principal)
    }
}

impl Engine {
    /// Whether a principal that was let in earlier still stands: its token is neither revoked nor
    /// expired. Known within the cache's two seconds, whatever the number of askers.
    pub async fn stands(&self, by: &Principal) -> Result<(), AuthError> {
        // The local operator has no token.
        let Ok(id) = by.id.parse::<TokenId>() else { return Ok(()) };
        self.principal_of(id).await.map(drop)
    }

    /// Who a live token stands for.
    pub(super) async fn principal_of(&self, id: TokenId) -> Result<Principal, AuthError> {
        let asked_at = self.clock().monotonic();
        if let Some(row) = self.tokens().get(id, asked_at) {
            return row.principal(self.clock().now());
        }
        let row = self.store().token(id).await?.ok_or(AuthError::Unknown)?;
        let principal = row.principal(self.clock().now())?;
        self.tokens().put(row, asked_at);
        Ok(principal)
    }
}

/// A new token's text and the hash to store.
pub(crate) fn mint(id: TokenId) -> Result<(String, SecretHash), getrandom::Error> {
    let mut random = [0; SECRET_BYTES];
    getrandom::fill(&mut random)?;
    Ok(compose(id, random))
}

fn compose(id: TokenId, random: [u8; SECRET_BYTES]) -> (String, SecretHash) {
    let mut text = format!("{PREFIX}{}_{}", id.0.simple(), base62(&random, SECRET_DIGITS));
    let check = checksum(&text);
    text.push_str(&check);
    let secret_at = PREFIX.len() + ID_DIGITS + 1;
    let hash = SecretHash(Sha256::digest(&text.as_bytes()[secret_at..]).into());
    (text, hash)
}

/// Takes a token apart; `None` when it is mistyped.
pub(crate) fn parse(text: &str) -> Option<Presented> {
    let whole = PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS + CHECK_DIGITS;
    if text.len() != whole || !text.is_ascii() {
        return None;
    }
    let (body, check) = text.split_at(whole - CHECK_DIGITS);
    if checksum(body) != check {
        return None;
    }
    let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(ID_DIGITS)?;
    let secret = secret.strip_prefix('_')?;
    // Anybody can make a checksum, so the text must also be one that `compose` writes.
    let is_hex = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || !secret.bytes().all(|byte| DIGITS.contains(&byte)) {
        return None;
    }
    let id = TokenId(Uuid::try_parse(id).ok()?);
    Some(Presented { id, hash: SecretHash(Sha256::digest(secret.as_bytes()).into()) })
}

fn checksum(body: &str) -> String {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    base62(&[a, b, c, d], CHECK_DIGITS)
}

/// The number that the bytes spell, in base 62 with a fixed count of digits.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            // Both parts fit: the rest is below 62, so the quotient is below 256.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = usize::try_from(rest).ok().and_then(|rest| DIGITS.get(rest)).copied().unwrap_or(b'0');
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    pub(super) fn token() -> (TokenId, String, SecretHash) {
        let id = TokenId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00ab));
        let (text, hash) = compose(id, [0xAB; SECRET_BYTES]);
        (id, text, hash)
    }

    pub(super) fn row(id: TokenId, hash: SecretHash) -> TokenRow {
        TokenRow {
            id,
            client_id: "acme".into(),
            name: "ci".into(),
            hash: hash.as_bytes().to_vec(),
            scopes: vec!["commands:read".into(), "of:the:future".into()],
            command_types: None,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_token_reads_back_and_the_text_is_not_in_its_row() {
        let (id, text, hash) = token();
        let presented = parse(&text).unwrap();
        assert_eq!(presented.id, id);
        assert!(presented.hash.matches(hash.as_bytes()));
        assert!(!format!("{:?}", row(id, hash)).contains(&text[60..]));
    }

    #[test]
    fn every_single_typo_is_recognised() {
        let (_, text, _) = token();
        for n in 0..text.len() {
            let other = if text.as_bytes()[n] == b'a' { "b" } else { "a" };
            let mut typo = text.clone();
            typo.replace_range(n..=n, other);
            assert!(parse(&typo).is_none(), "{n}");
        }
        for bad in ["", "fermata_", &text[1..], &format!("{text}0"), &"é".repeat(45)] {
            assert!(parse(bad).is_none());
        }
    }

    #[test]
    fn a_right_checksum_makes_no_token_of_other_text() {
        let (id, text, _) = token();
        let secret = &text[PREFIX.len() + ID_DIGITS + 1..][..SECRET_DIGITS];
        let with_check = |body: String| body.clone() + &checksum(&body);
        assert!(parse(&with_check(format!("{PREFIX}{}_{secret}", id.0.simple()))).is_some());
        for body in [
            format!("{PREFIX}{}_{secret}", id.0.simple().to_string().to_uppercase()),
            format!("{PREFIX}{}_{}", id.0.hyphenated(), &secret[4..]),
            format!("{PREFIX}{}_{}-", id.0.simple(), &secret[1..]),
        ] {
            assert!(parse(&with_check(body.clone())).is_none(), "{}", &body[..body.len() - secret.len()]);
        }
    }

    #[test]
    fn base_62_is_a_number_and_keeps_its_width() {
        assert_eq!(base62(&[0, 61], 3), "00z");
        assert_eq!(base62(&[0, 62], 3), "010");
        assert_eq!(base62(&[255; 32], SECRET_DIGITS).len(), SECRET_DIGITS);
        assert_ne!(base62(&[255; 32], SECRET_DIGITS), base62(&[255; 32], SECRET_DIGITS + 1)[1..].to_owned() + "0");
    }

    #[test]
    fn two_tokens_differ() {
        let id = token().0;
        assert_ne!(mint(id).unwrap().0, mint(id).unwrap().0);
    }

    #[test]
    fn a_hash_matches_only_itself() {
        let (_, _, hash) = token();
        let mut other = hash.as_bytes().to_vec();
        other[31] ^= 1;
        assert!(!hash.matches(&other) && !hash.matches(&hash.as_bytes()[..31]) && !hash.matches(&[]));
    }

    #[test]
    fn expired_and_revoked_tokens_are_refused() {
        let (id, text, hash) = token();
        let presented = parse(&text).unwrap();
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let live = row(id, hash).judge(&presented, now).unwrap();
        assert_eq!(live.scopes.len(), 1, "an unknown scope gives nothing");
        let expired = TokenRow { expires_at: Some(now), ..row(id, hash) };
        assert!(matches!(expired.judge(&presented, now), Err(AuthError::Expired)));
        let revoked = TokenRow { revoked_at: Some(now), ..row(id, hash) };
        assert!(matches!(revoked.judge(&presented, now), Err(AuthError::Unknown)));
    }
}
