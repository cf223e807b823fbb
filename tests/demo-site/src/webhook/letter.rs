//! A signed webhook as it goes over the wire, and the secret that signs it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::event::Event;

const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;
const BLOCK_BYTES: usize = 64;

/// The key that an endpoint and the site share.
#[derive(Clone)]
pub(crate) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// The secret that follows from a text. The site keeps no other secrets either.
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(format!("secret:{text}")).into())
    }

    /// As its owner is told it: `whsec_` and the key in base64.
    pub(crate) fn told(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(self.0))
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        // HMAC fills a key that is shorter than a block with zeros.
        let mut block = [0; BLOCK_BYTES];
        block[..SECRET_BYTES].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// No log shows a key.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_PREFIX)
    }
}

/// One webhook, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    /// The `webhook-id`.
    pub(crate) id: String,
    /// The `webhook-timestamp`, in seconds since 1970.
    pub(crate) timestamp: i64,
    /// The `webhook-signature`.
    pub(crate) signature: String,
    /// The body.
    pub(crate) body: Bytes,
}

impl Letter {
    /// The event, signed as of this time.
    pub(crate) fn signed(event: &Event, secret: &Secret, at: DateTime<Utc>) -> Self {
        let (id, timestamp, body) = (event.id.clone(), at.timestamp(), event.body.clone());
        let signature = secret.sign(&id, timestamp, &body);
        Self { id, timestamp, signature, body }
    }

    /// The event with the signature of somebody who does not know the secret.
    pub(crate) fn signed_by_a_stranger(event: &Event, at: DateTime<Utc>) -> Self {
        Self::signed(event, &Secret::of("stranger"), at)
    }

    /// The event with a true signature, and another body than was signed.
    pub(crate) fn tampered_with(event: &Event, secret: &Secret, at: DateTime<Utc>) -> Self {
        let text = String::from_utf8_lossy(&event.body).replace(r#""account":""#, r#""account":"not_"#);
        Self { body: text.into(), ..Self::signed(event, secret, at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reckoned with Python's `hmac`.
    #[test]
    fn a_signature_is_the_hmac_of_id_timestamp_and_body() {
        let secret = Secret([b'k'; SECRET_BYTES]);

        let signature = secret.sign("msg_1", 1_614_265_330, br#"{"test": 2432232314}"#);

        assert_eq!(signature, "v1,keC6SK7hva7tpDMHnhgXibnFVk8sNTGJjntgOgwmokc=");
        assert_eq!(secret.told(), format!("whsec_{}", STANDARD.encode([b'k'; SECRET_BYTES])));
    }
}
