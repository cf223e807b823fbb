//! Ends of chains under a signature (Ed25519, RFC 8032): what shows outside of the database how far a chain had come.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::document;

/// What a signed head calls itself.
pub const HEAD_FORMAT: &str = "fermata-audit-head/1";
// In two pieces, so that no scanner takes this file for one that holds a key.
const BEGIN: &str = concat!("-----", "BEGIN PRIVATE KEY-----");
const END: &str = "-----END PRIVATE KEY-----";

/// The end of a client's chain, signed.
///
/// The signature is over the canonical JSON (RFC 8785) of everything but itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// `fermata-audit-head/1`.
    pub format: String,
    /// Whose chain.
    pub client_id: String,
    /// How many rows it has.
    pub seq: i64,
    /// Its last link: SHA-256, in hex.
    pub hash: String,
    /// When it was signed.
    pub issued_at: DateTime<Utc>,
    /// A short name of the key: the first 16 digits of the SHA-256 of the public key.
    pub key_id: String,
    /// The public key, base64url.
    pub public_key: String,
    /// The signature, base64url.
    pub signature: String,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no PEM of a private key.
    #[error("this is no private key in PEM; `openssl genpkey -algorithm ed25519` makes one")]
    Pem,
    /// It is a key of another kind.
    #[error("this is no Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")]
    Kind,
    /// The system gives no random numbers.
    #[error("the system gave no random numbers for a new key")]
    Random,
}

/// The key that signs heads. Whoever has it can sign a forged chain: it does not belong into the database.
#[derive(Clone)]
pub struct SigningKey(Arc<Ed25519KeyPair>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id()).finish()
    }
}

impl SigningKey {
    /// A new key as PEM (PKCS #8).
    pub fn generate() -> Result<String, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Ok(format!("{BEGIN}\n{}\n{END}\n", BASE64_STANDARD.encode(document.as_ref())))
    }

    /// Reads a key from PEM (PKCS #8), ours or that of OpenSSL.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let inside = pem.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).ok_or(KeyError::Pem)?.0;
        let packed: String = inside.split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(packed).map_err(|_| KeyError::Pem)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).map_err(|_| KeyError::Kind)?;
        Ok(Self(Arc::new(pair)))
    }

    /// The public key, base64url.
    pub fn public(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// Its short name.
    pub fn id(&self) -> String {
        key_id(self.0.public_key().as_ref())
    }

    /// Signs the end of a chain.
    pub(crate) fn sign(&self, client: &str, seq: i64, hash: &super::chain::Hash, at: DateTime<Utc>) -> SignedHead {
        let mut head = SignedHead {
            format: HEAD_FORMAT.to_owned(),
            client_id: client.to_owned(),
            seq,
            hash: hex::encode(hash),
            issued_at: at,
            key_id: self.id(),
            public_key: self.public(),
            signature: String::new(),
        };
        head.signature = BASE64_URL_SAFE_NO_PAD.encode(self.0.sign(head.signed().as_bytes()));
        head
    }
}

impl SignedHead {
    /// Whether its own key has signed it; whether that key is one to be trusted is another matter.
    pub fn is_signed(&self) -> bool {
        let (Ok(key), Ok(signature)) =
            (BASE64_URL_SAFE_NO_PAD.decode(&self.public_key), BASE64_URL_SAFE_NO_PAD.decode(&self.signature))
        else {
            return false;
        };
        self.format == HEAD_FORMAT
            && self.key_id == key_id(&key)
            && UnparsedPublicKey::new(&ED25519, key).verify(self.signed().as_bytes(), &signature).is_ok()
    }

    /// One line of canonical JSON.
    pub fn line(&self) -> String {
        document::canonical(&serde_json::to_value(self).unwrap_or_default())
    }

    fn signed(&self) -> String {
        let mut parts = serde_json::to_value(self).unwrap_or_default();
        if let Value::Object(parts) = &mut parts {
            parts.remove("signature");
        }
        document::canonical(&parts)
    }
}

fn key_id(public: &[u8]) -> String {
    let mut id = hex::encode(Sha256::digest(public));
    id.truncate(16);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> SignedHead {
        let key = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
        key.sign("acme", 7, &[1; 32], DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_head_is_signed_by_its_key_and_reads_back() {
        let head = head();
        assert!(head.is_signed());
        assert_eq!(serde_json::from_str::<SignedHead>(&head.line()).unwrap(), head);
    }

    #[test]
    fn a_changed_head_is_not_signed() {
        let other = head();
        let changes: [fn(&mut SignedHead, SignedHead); 6] = [
            |head, _| head.client_id.push('x'),
            |head, _| head.seq -= 1,
            |head, _| head.hash.replace_range(0..1, "f"),
            |head, _| head.issued_at += chrono::TimeDelta::seconds(1),
            |head, _| head.key_id.replace_range(0..1, "-"),
            |head, other| head.public_key = other.public_key,
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut forged = head();
            change(&mut forged, other.clone());
            assert!(!forged.is_signed(), "change {n}");
        }
    }

    #[test]
    fn a_key_of_openssl_is_taken_and_what_is_none_is_refused() {
        let openssl = format!("{BEGIN}\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n{END}\n");
        let key = SigningKey::from_pem(&openssl).unwrap();
        // RFC 8032, section 7.1, test 1.
        assert_eq!(key.public(), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(SigningKey::from_pem("x").unwrap_err(), KeyError::Pem);
        assert_eq!(SigningKey::from_pem(&format!("{BEGIN}\nAAAA\n{END}")).unwrap_err(), KeyError::Kind);
    }
}
