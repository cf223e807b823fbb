//! The chain of a client's audit rows: pure.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::document;

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// A row of the trail, as it is sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuditRow {
    pub(crate) position: i64,
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) client_id: String,
    pub(crate) run_id: Option<Uuid>,
    pub(crate) action_id: Option<Uuid>,
    pub(crate) actor: String,
    pub(crate) phase: String,
    pub(crate) body: Value,
}

/// A link: where a row stands in the chain of its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) position: i64,
    pub(crate) client_id: String,
    pub(crate) seq: i64,
    pub(crate) hash: Hash,
}

impl AuditRow {
    /// What is sealed, to the byte: canonical JSON (RFC 8785). It says nothing of other clients.
    pub(crate) fn text(&self) -> String {
        document::canonical(&json!({
            "audit_event_id": self.id, "timestamp": self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "client_id": self.client_id, "command_id": self.run_id, "action_id": self.action_id, "actor": self.actor,
            "phase": self.phase, "body": self.body,
        }))
    }

    pub(crate) fn leaf(&self) -> Hash {
        leaf(&self.text())
    }
}

/// What stands for a text in the chain.
pub(crate) fn leaf(text: &str) -> Hash {
    Sha256::digest(text).into()
}

/// What a client's first link follows.
pub(crate) fn genesis(client: &str) -> Hash {
    Sha256::new().chain_update("fermata-audit/1\n").chain_update(client).finalize().into()
}

/// The link of a row after the one before it.
pub(crate) fn link(before: &Hash, leaf: &Hash) -> Hash {
    Sha256::new().chain_update(before).chain_update(leaf).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> AuditRow {
        AuditRow {
            position: 7,
            id: Uuid::from_u128(1),
            at: DateTime::from_timestamp(1_800_000_000, 120_000).unwrap(),
            client_id: "acme".into(),
            run_id: Some(Uuid::from_u128(2)),
            action_id: None,
            actor: "ada".into(),
            phase: "attempted".into(),
            body: json!({"b": 1, "a": [null]}),
        }
    }

    #[test]
    fn the_text_of_a_row_is_canonical_json_without_its_position() {
        let text = row().text();
        assert_eq!(
            text,
            r#"{"action_id":null,"actor":"ada","audit_event_id":"00000000-0000-0000-0000-000000000001","body":{"a":[null],"b":1},"client_id":"acme","command_id":"00000000-0000-0000-0000-000000000002","phase":"attempted","timestamp":"2027-01-15T08:00:00.000120Z"}"#
        );
    }

    #[test]
    fn whatever_differs_in_a_row_differs_in_its_leaf() {
        let changes: [fn(&mut AuditRow); 8] = [
            |row| row.id = Uuid::from_u128(9),
            |row| row.at += chrono::TimeDelta::microseconds(1),
            |row| row.client_id.push('x'),
            |row| row.run_id = None,
            |row| row.action_id = Some(Uuid::from_u128(2)),
            |row| row.actor.push('x'),
            |row| row.phase.push('x'),
            |row| row.body = json!({"b": 1, "a": []}),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut other = row();
            change(&mut other);
            assert_ne!(other.leaf(), row().leaf(), "change {n}");
        }
    }

    #[test]
    fn chains_of_two_clients_have_nothing_in_common() {
        let leaf = row().leaf();
        assert_ne!(link(&genesis("a"), &leaf), link(&genesis("b"), &leaf));
    }
}
