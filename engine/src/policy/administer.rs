//! Putting documents in force, and reading them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Misfit, PolicyDocument, PolicyScope};
use crate::access::{Denied, Principal, Scope};
use crate::document::{self, DocumentError};
use crate::engine::Engine;
use crate::read::ReadError;
use crate::store::StoreError;

/// The most sleeping runs that a change of policy wakes.
const MAX_WOKEN: i32 = 10_000;

/// A scope's document, as one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub struct PolicyView {
    /// What it is called: `global`, `platform:<platform>`, `client:<client>` or `account:<client>/<account>`.
    pub scope: String,
    /// How often it was put.
    pub version: i64,
    /// The client that it is about; `null` for every client.
    pub client_id: Option<String>,
    /// The platform that it is about; `null` for every platform.
    pub platform: Option<String>,
    /// The account that it is about; `null` for every account.
    pub account_id: Option<String>,
    /// What it says.
    pub document: PolicyDocument,
    /// Who put it.
    pub actor: String,
    /// When it was put.
    pub changed_at: DateTime<Utc>,
}

/// Why a document was not put, or nothing was evaluated.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Something in the request does not fit.
    #[error("the policy does not fit")]
    Invalid(Vec<Misfit>),
    /// Somebody else has put another version meanwhile.
    #[error("the version in force is not {known}; read it again, and put your change on top of it")]
    Moved {
        /// The version that the caller went by.
        known: i64,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PolicyError {
    pub(super) fn at(pointer: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Misfit { pointer: pointer.to_owned(), message: message.into() }])
    }
}

impl Engine {
    /// Puts a document in force. Once this has answered, no attempt follows the one before it.
    ///
    /// `known` is the version that the caller goes by, 0 for none; without it, whatever there is is replaced.
    pub async fn put_policy(
        &self,
        by: &Principal,
        scope: &PolicyScope,
        document: &PolicyDocument,
        known: Option<i64>,
    ) -> Result<PolicyView, PolicyError> {
        by.require(Scope::PoliciesWrite)?;
        acts_for(by, scope.client())?;
        let misfits = document.misfits(scope);
        if !misfits.is_empty() {
            return Err(PolicyError::Invalid(misfits));
        }
        document::check(&json!(document)).map_err(|error: DocumentError| PolicyError::at("", error.to_string()))?;
        let put = self.store().put_policy(scope, document, known, &by.name).await?;
        let put = put.ok_or(PolicyError::Moved { known: known.unwrap_or_default() })?;
        self.tell_events().await;
        // Whoever sleeps by the old one looks at the new one; who is not reached looks when its time has come.
        match self.store().wake_put_off(scope.client(), MAX_WOKEN).await {
            Ok(0) => {}
            Ok(_) => self.wake_up(),
            Err(error) => tracing::warn!(error = %error, "runs that wait by the old policy are not woken"),
        }
        Ok(put)
    }

    /// The documents in force that the principal may see.
    pub async fn policies(&self, by: &Principal) -> Result<Vec<PolicyView>, ReadError> {
        by.require_any(&[Scope::PoliciesWrite, Scope::CommandsRead])?;
        Ok(self.store().policies(&by.client_id).await?)
    }

    /// A scope's document of that version, or the one in force.
    pub async fn policy(
        &self,
        by: &Principal,
        scope: &PolicyScope,
        version: Option<i64>,
    ) -> Result<PolicyView, ReadError> {
        by.require_any(&[Scope::PoliciesWrite, Scope::CommandsRead])?;
        let found = self.store().policy(&by.client_id, scope.to_string(), version).await?;
        found.ok_or(ReadError::NotFound("policy"))
    }
}

pub(super) fn acts_for(by: &Principal, client: &str) -> Result<(), Denied> {
    if by.may_act_for(client) { Ok(()) } else { Err(Denied::Client(client.to_owned())) }
}
