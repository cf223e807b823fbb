//! Putting documents in force, reading them, and asking what they would say.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Decision, Misfit, Part, Policy, PolicyDocument, PolicyScope, Question, Verdict, judge, rations};
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

/// An action that somebody thinks of.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// For which client; the caller's own when left out.
    #[serde(default)]
    pub client_id: Option<String>,
    /// On which platform.
    pub platform: String,
    /// For which account.
    pub account_id: String,
    /// What is done: `publish`, `dm_send`, ...
    pub action_type: String,
    /// What it would carry.
    #[serde(default)]
    pub payload: Value,
    /// At what time; now when left out. What is rationed is looked at as it is now.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PolicyEvaluation")]
pub struct Evaluation {
    /// What would be said of it.
    pub verdict: Verdict,
    /// What it was judged by, the widest part first.
    pub policy: Vec<Part>,
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
    fn at(pointer: &str, message: impl Into<String>) -> Self {
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

    /// What would become of an action, and why; nothing is done, and nothing is taken of what is rationed.
    pub async fn evaluate(&self, by: &Principal, proposal: &Proposal) -> Result<Evaluation, PolicyError> {
        by.require(Scope::CommandsRead)?;
        let client = proposal.client_id.as_deref().unwrap_or(&by.client_id);
        acts_for(by, client)?;
        for (pointer, name) in [
            ("/client_id", client),
            ("/platform", &proposal.platform),
            ("/account_id", &proposal.account_id),
            ("/action_type", &proposal.action_type),
        ] {
            document::check_key("a name", name).map_err(|error| PolicyError::at(pointer, error.to_string()))?;
        }
        document::check(&proposal.payload).map_err(|error| PolicyError::at("/payload", error.to_string()))?;
        let question = Question {
            client,
            platform: &proposal.platform,
            account: &proposal.account_id,
            action_type: &proposal.action_type,
            payload: &proposal.payload,
        };
        let policy = Policy::of(self.store().policies_of(client, question.platform, question.account).await?);
        let verdict = match self.store().kill_switch(client, question.account).await? {
            Some(switch) => Verdict::stopped(&policy, &switch),
            None => judge(&policy, question, proposal.at.unwrap_or_else(|| self.clock().now())),
        };
        let verdict = match verdict.decision {
            Decision::Allow | Decision::Approve => self.stopped(&policy, question).await?.unwrap_or(verdict),
            Decision::Wait | Decision::Block => verdict,
        };
        Ok(Evaluation { verdict, policy: policy.parts().to_vec() })
    }

    /// What stands against it beside its policy.
    async fn stopped(&self, policy: &Policy, question: Question<'_>) -> Result<Option<Verdict>, StoreError> {
        let standing = self.store().standing(question.client, question.platform, question.account).await?;
        if let Some(verdict) = standing.forbids(policy) {
            return Ok(Some(verdict));
        }
        let mut asked = json!(rations(policy, question, 0.0));
        asked["client_id"] = question.client.into();
        asked["platform"] = question.platform.into();
        asked["account_id"] = question.account.into();
        let found = self.store().rationed(&asked).await?;
        Ok(found
            .as_ref()
            .and_then(|why| Verdict::of_refused_mode(policy, why).or_else(|| Verdict::of_wait(policy, why))))
    }
}

fn acts_for(by: &Principal, client: &str) -> Result<(), Denied> {
    if by.may_act_for(client) { Ok(()) } else { Err(Denied::Client(client.to_owned())) }
}
