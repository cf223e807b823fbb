//! Policies.

use async_graphql::SimpleObject;
use fermata_engine::policy::PolicyView;
use serde_json::{Value, json};

use crate::scalar::{Long, Time};

/// What may be done, as one scope says it: one of its versions.
#[derive(Debug, SimpleObject)]
pub struct Policy {
    /// What it is called: `global`, `platform:<platform>`, `client:<client>` or `account:<client>/<account>`.
    scope: String,
    /// How often it was put.
    version: Long,
    /// The client that it is about; `null` for every client.
    client_id: Option<String>,
    /// The platform that it is about; `null` for every platform.
    platform: Option<String>,
    /// The account that it is about; `null` for every account.
    account_id: Option<String>,
    /// What it says, as REST has it.
    document: Value,
    /// Who put it.
    actor: String,
    /// When it was put.
    changed_at: Time,
}

impl From<PolicyView> for Policy {
    fn from(view: PolicyView) -> Self {
        Self {
            scope: view.scope,
            version: Long(view.version),
            client_id: view.client_id,
            platform: view.platform,
            account_id: view.account_id,
            document: json!(view.document),
            actor: view.actor,
            changed_at: Time(view.changed_at),
        }
    }
}
