//! Actions and the intents that they attempt.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::id::{ActionId, IntentId, RunId};
use fermata_engine::read::{ActionView, AuditFilter, AuditView, IntentView, ProofView};
use serde_json::{Value, json};

use super::{AuditEntry, Command, Failure};
use crate::asked::Asked;
use crate::load::{ActionsOfIntent, AuditOfAction, Loaders, load};
use crate::page::{Connection, weigh};
use crate::scalar::Time;
use crate::word::{ActionState, Lane};

/// One attempt at an intent: it walks the action machine once.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Action {
    /// The action: a UUID.
    pub(super) id: ID,
    /// Whose it is.
    client_id: String,
    /// The step that performs it.
    step_key: String,
    /// 1 for the first action of the intent.
    number: i32,
    /// What kind of side effect.
    action_type: String,
    /// On which platform.
    platform: String,
    /// For which account.
    account_id: String,
    /// The key that the platform is sent, where it honours keys.
    idempotency_key: String,
    /// SHA-256 of what is sent, in hex.
    payload_hash: String,
    /// The policy that it was judged under.
    policy_hash: String,
    /// The judgement.
    verdict: Value,
    /// The last sending.
    attempt_id: Option<ID>,
    /// Under which lease.
    epoch: i32,
    /// Until when the call can still take effect.
    call_deadline: Option<Time>,
    /// How often the same call was sent again.
    resends: i32,
    /// How often the platform was looked at.
    looks: i32,
    /// Whether the platform said that the call would be made as the account that was connected; null where nobody knows.
    identity_fingerprint_ok: Option<bool>,
    /// Whether it changed the outside; `null` while nobody can tell.
    effect: Option<bool>,
    /// What the platform answered, or what was found.
    receipt: Option<Value>,
    /// Why it failed.
    failure: Option<Failure>,
    /// How well the outcome is proven, 0 to 3.
    level: i32,
    /// What shows it, in the order in which it was found.
    proofs: Vec<Proof>,
    /// When it was planned.
    created_at: Time,
    /// When it last changed.
    updated_at: Time,
    #[graphql(skip)]
    action: ActionId,
    #[graphql(skip)]
    intent: IntentId,
    #[graphql(skip)]
    run: RunId,
    #[graphql(skip)]
    state: String,
    #[graphql(skip)]
    lane: String,
}

/// What shows that an action occurred or did not.
#[derive(Debug, SimpleObject)]
pub struct Proof {
    /// The proof: a UUID.
    id: ID,
    /// `request`, `answer`, `look`, `surface` or `person`.
    kind: String,
    /// Ids and pointers.
    evidence: Value,
    /// Since when.
    created_at: Time,
}

/// The business identity of a side effect, unique for ever.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct Intent {
    /// The intent: a UUID.
    pub(super) id: ID,
    /// Whose it is.
    client_id: String,
    /// The hash over everything that makes it itself, in hex.
    key: String,
    /// What is meant, and what its platform promises.
    spec: Value,
    /// Whether an operator allowed that it happens again.
    repeat_allowed: bool,
    /// When it was first meant.
    created_at: Time,
    #[graphql(skip)]
    intent: IntentId,
    #[graphql(skip)]
    current: Option<ActionId>,
}

impl From<ActionView> for Action {
    fn from(view: ActionView) -> Self {
        Self {
            id: ID(view.action_id.to_string()),
            client_id: view.client_id,
            step_key: view.step_key,
            number: view.number,
            action_type: view.action_type,
            platform: view.platform,
            account_id: view.account_id,
            idempotency_key: view.idempotency_key,
            payload_hash: view.payload_hash,
            policy_hash: view.policy_hash,
            verdict: view.verdict,
            attempt_id: view.attempt_id.map(|id| ID(id.to_string())),
            epoch: view.epoch,
            call_deadline: view.call_deadline.map(Time),
            resends: view.resends,
            looks: view.looks,
            identity_fingerprint_ok: view.identity_fingerprint_ok,
            effect: view.effect,
            receipt: view.receipt,
            failure: view.error.map(Failure::from),
            level: view.level.into(),
            proofs: view.proofs.into_iter().map(Proof::from).collect(),
            created_at: Time(view.created_at),
            updated_at: Time(view.updated_at),
            action: view.action_id,
            intent: view.intent_id,
            run: view.command_id,
            state: view.state,
            lane: view.lane,
        }
    }
}

impl From<ProofView> for Proof {
    fn from(view: ProofView) -> Self {
        Self {
            id: ID(view.proof_id.to_string()),
            kind: view.kind,
            evidence: json!(view.evidence),
            created_at: Time(view.created_at),
        }
    }
}

impl From<IntentView> for Intent {
    fn from(view: IntentView) -> Self {
        Self {
            id: ID(view.intent_id.to_string()),
            client_id: view.client_id,
            key: view.key,
            spec: view.spec,
            repeat_allowed: view.repeat_allowed,
            created_at: Time(view.created_at),
            intent: view.intent_id,
            current: view.current_action,
        }
    }
}

impl Action {
    /// An action by id; `None` when it is not there, or not to be seen.
    pub(crate) async fn by_id(context: &Context<'_>, id: ActionId) -> Result<Option<Self>> {
        Ok(context.data::<Loaders>()?.load_one(id).await?.map(Self::from))
    }
}

impl Intent {
    /// An intent by id; `None` when it is not there, or not to be seen.
    pub(crate) async fn by_id(context: &Context<'_>, id: IntentId) -> Result<Option<Self>> {
        Ok(context.data::<Loaders>()?.load_one(id).await?.map(Self::from))
    }
}

#[ComplexObject]
impl Action {
    /// Where it stands in the action machine.
    async fn state(&self) -> Result<ActionState> {
        ActionState::of(&self.state)
    }

    /// How it reaches its platform.
    async fn lane(&self) -> Result<Lane> {
        Lane::of(&self.lane)
    }

    /// The business identity that it is an attempt at.
    async fn intent(&self, context: &Context<'_>) -> Result<Option<Intent>> {
        Intent::by_id(context, self.intent).await
    }

    /// The command that it belongs to.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        Command::by_id(context, self.run).await
    }

    /// What the audit trail says of it, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn audit(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<AuditEntry>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let list = AuditOfAction { page, filter: AuditFilter::default() };
        let found = load(context, self.action, list).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, AuditView::place)))
    }
}

#[ComplexObject]
impl Intent {
    /// The newest action that attempts it.
    async fn current_action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        match self.current {
            Some(current) => Action::by_id(context, current).await,
            None => Ok(None),
        }
    }

    /// The actions that attempted it, newest first.
    #[graphql(complexity = "weigh(first, child_complexity)")]
    async fn actions(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "1 to 200; 50 when left out.")] first: Option<u32>,
        #[graphql(desc = "The end cursor of the page before.")] after: Option<String>,
    ) -> Result<Option<Connection<Action>>> {
        let page = Asked::of(context)?.page(first, after.as_deref())?;
        let found = load(context, self.intent, ActionsOfIntent { page }).await?.unwrap_or_default();
        Ok(Some(Connection::of_ids(page, &found, |action| action.action_id.0)))
    }
}
