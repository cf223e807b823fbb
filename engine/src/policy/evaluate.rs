//! What would become of an action, or of everything that a run would do, and why. Nothing is done.
//!
//! Each action is asked about as if the ones before it had been done: what they would take of budgets and ceilings, their
//! pauses and their texts count for it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::administer::acts_for;
use super::{Decision, Misfit, Part, Policy, PolicyError, Question, Rations, Verdict};
use super::{fingerprints, judge, rations, unless_repeated};
use crate::access::{NoClient, Principal, Scope};
use crate::document;
use crate::effect::{EVERY, Lane, Standing, intent_key};
use crate::engine::Engine;
use crate::store::StoreError;
use crate::store::basis::Basis;
use crate::workflow::{Failure, Foreseen, Reached};

/// An action that somebody thinks of.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// For which client; the caller's own when left out.
    pub client_id: Option<String>,
    /// On which platform.
    pub platform: String,
    /// For which account.
    pub account_id: String,
    /// What is done: `publish`, `dm_send`, ...
    pub action_type: String,
    /// What it would carry.
    pub payload: Value,
    /// At what time; now when left out. What is rationed is looked at as it is now.
    pub at: Option<DateTime<Utc>>,
}

/// A run that somebody thinks of.
#[derive(Debug, Clone, PartialEq)]
pub struct RunProposal {
    /// For which client; the caller's own when left out.
    pub client_id: Option<String>,
    /// The command type.
    pub kind: String,
    /// The workflow's input.
    pub payload: Value,
    /// At what time; now when left out.
    pub at: Option<DateTime<Utc>>,
}

/// What would become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PolicyEvaluation")]
pub struct Evaluation {
    /// What would be said of it; of a flow, the strictest of what would be said of its actions.
    pub verdict: Verdict,
    /// What it was judged by, the widest part first; of a flow, what its strictest verdict came from.
    pub policy: Vec<Part>,
    /// The actions of a flow, in their order; left out for a single action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<ActionEvaluation>>,
    /// The steps of a flow that may do more than is listed: those that start another workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// What would become of one action of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionEvaluation {
    /// The step that would ask for it.
    pub step: String,
    /// What is done.
    pub action_type: String,
    /// On which platform.
    pub platform: String,
    /// For which account; `null` where only the run will know.
    pub account_id: Option<String>,
    /// How the platform is reached.
    pub lane: Lane,
    /// What it would carry; what is not known yet stands as it is written in the flow.
    pub payload: Value,
    /// What only the run will know, as the flow names it: `steps.look.id`.
    pub not_known: Vec<String>,
    /// Whether the run gets to it.
    pub reached: Reached,
    /// On what that depends.
    pub conditions: Vec<String>,
    /// Why the run would fail there, if that is certain.
    pub failure: Option<String>,
    /// What would be said of it, by what is known; `null` where it is not reached, or its account is not known.
    pub verdict: Option<Verdict>,
}

/// One question on its way to a verdict.
struct Asked<'a> {
    question: Question<'a>,
    /// The key of its intent, if it is known.
    intent: Option<String>,
    now: DateTime<Utc>,
}

/// What it is judged by.
struct Ground {
    policy: Policy,
    switch: Option<String>,
    standing: Standing,
}

/// What the actions before one would have taken.
#[derive(Default)]
struct Taken {
    tokens: BTreeMap<String, u64>,
    gaps: BTreeMap<String, u64>,
    /// Texts, by account.
    texts: BTreeMap<String, BTreeSet<String>>,
    intents: BTreeSet<String>,
}

impl Taken {
    /// The same question with what was taken on top.
    fn added_to(&self, mut rations: Rations) -> Rations {
        for token in &mut rations.tokens {
            token.n = token.n.saturating_add(self.tokens.get(&token.key).copied().unwrap_or_default());
        }
        rations
    }

    /// The pause that an earlier action of its kind leaves behind.
    fn pauses(&self, policy: &Policy, rations: &Rations, now: DateTime<Utc>) -> Option<Verdict> {
        let gap = rations.spacing.as_ref()?;
        let left = TimeDelta::milliseconds(i64::try_from(*self.gaps.get(&gap.key)?).ok()?);
        (left > TimeDelta::zero()).then(|| Verdict::until(policy, "spacing", now + left))
    }

    fn take(&mut self, policy: &Policy, asked: &Asked<'_>) {
        if asked.intent.as_ref().is_some_and(|intent| !self.intents.insert(intent.clone())) {
            return; // The same effect: it is done once.
        }
        let rations = rations(policy, asked.question, 0.0);
        for token in rations.tokens {
            *self.tokens.entry(token.key).or_default() += token.n;
        }
        if let Some(gap) = rations.spacing {
            self.gaps.insert(gap.key, gap.gap_ms);
        }
        let texts = fingerprints(policy, asked.question.payload).unwrap_or_default();
        self.texts.entry(asked.question.account.to_owned()).or_default().extend(texts);
    }
}

impl Engine {
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
        let words = self.registry().vocabulary();
        words
            .check(&proposal.action_type, &proposal.platform)
            .map_err(|unknown| PolicyError::at(&format!("/{}", unknown.field()), unknown.to_string()))?;
        document::check(&proposal.payload).map_err(|error| PolicyError::at("/payload", error.to_string()))?;
        let question = Question {
            client,
            platform: &proposal.platform,
            account: &proposal.account_id,
            action_type: &proposal.action_type,
            payload: &proposal.payload,
        };
        let ground = self.ground(client, question.platform, question.account).await?;
        let asked = Asked { question, intent: None, now: proposal.at.unwrap_or_else(|| self.clock().now()) };
        let verdict = self.verdict(&ground, &asked, &Taken::default()).await?;
        Ok(Evaluation { verdict, policy: ground.policy.parts().to_vec(), actions: None, unseen: Vec::new() })
    }

    /// What would become of everything that a run would do, and why; nothing is done.
    pub async fn evaluate_run(&self, by: &Principal, proposal: &RunProposal) -> Result<Evaluation, PolicyError> {
        by.require(Scope::CommandsRead)?;
        if proposal.payload.get("flow").is_some() {
            by.require(Scope::FlowsInline)?;
        }
        let client = by.client_for(proposal.client_id.clone(), self.default_client()).map_err(|none| match none {
            NoClient::Denied(denied) => PolicyError::Denied(denied),
            NoClient::Unnamed => PolicyError::at("/client_id", none.to_string()),
        })?;
        document::check_key("a name", &client).map_err(|error| PolicyError::at("/client_id", error.to_string()))?;
        document::check(&proposal.payload).map_err(|error| PolicyError::at("", error.to_string()))?;
        let foresight = self.registry().foresee(&proposal.kind, &proposal.payload, &client);
        let foresight = foresight.ok_or_else(|| PolicyError::at("", "such a run cannot be told in advance"))?;
        let foresight = foresight.map_err(|failure| PolicyError::Invalid(misfits(&failure)))?;
        let now = proposal.at.unwrap_or_else(|| self.clock().now());
        let mut grounds: BTreeMap<String, Ground> = BTreeMap::new();
        let (mut taken, mut worst, mut actions) = (Taken::default(), None, Vec::new());
        for foreseen in foresight.actions {
            let account = foreseen.account_id.clone().filter(|_| foreseen.reached != Reached::Never);
            let mut verdict = None;
            if let (Some(account), None) = (account, &foreseen.failure) {
                if !grounds.contains_key(&account) {
                    grounds.insert(account.clone(), self.ground(&client, &foreseen.platform, &account).await?);
                }
                if let Some(ground) = grounds.get(&account) {
                    let asked = Asked::about(&foreseen, (client.as_str(), account.as_str()), now);
                    let said = self.verdict(ground, &asked, &taken).await?;
                    if matches!(said.decision, Decision::Allow | Decision::Approve) {
                        taken.take(&ground.policy, &asked);
                    }
                    if worst.as_ref().is_none_or(|(worst, _): &(Verdict, _)| rank(worst) < rank(&said)) {
                        worst = Some((said.clone(), ground.policy.parts().to_vec()));
                    }
                    verdict = Some(said);
                }
            }
            actions.push(ActionEvaluation::of(foreseen, verdict));
        }
        let (verdict, policy) = if let Some(worst) = worst {
            worst
        } else {
            let policy = self.ground(&client, EVERY, EVERY).await?.policy;
            let reason = "none of its actions can be judged before it runs";
            (Verdict::by(&policy, Decision::Allow, "allowed", reason), policy.parts().to_vec())
        };
        Ok(Evaluation { verdict, policy, actions: Some(actions), unseen: foresight.unseen })
    }

    async fn ground(&self, client: &str, platform: &str, account: &str) -> Result<Ground, StoreError> {
        let Basis { switch, standing, policies } = self.store().basis(client, platform, account).await?;
        Ok(Ground { policy: Policy::of(policies), switch, standing })
    }

    async fn verdict(&self, ground: &Ground, asked: &Asked<'_>, taken: &Taken) -> Result<Verdict, StoreError> {
        let (Ground { policy, switch, .. }, Asked { question, intent, now }) = (ground, asked);
        if let Some(switch) = switch {
            return Ok(Verdict::stopped(policy, switch));
        }
        let done_before = intent.as_ref().is_some_and(|intent| taken.intents.contains(intent));
        let texts = taken.texts.get(question.account).filter(|_| !done_before).cloned().unwrap_or_default();
        let verdict = judge(policy, *question, *now);
        let verdict = self.registry().classifiers().foresee((policy, *question), verdict, self.clock()).await;
        let verdict =
            unless_repeated(self.store(), (policy, *question), intent.as_deref(), (verdict, *now), &texts).await?;
        match verdict.decision {
            Decision::Allow | Decision::Approve if !done_before => {
                Ok(self.stopped(ground, asked, taken).await?.unwrap_or(verdict))
            }
            _ => Ok(verdict),
        }
    }

    /// What stands against it beside its policy.
    async fn stopped(&self, ground: &Ground, asked: &Asked<'_>, taken: &Taken) -> Result<Option<Verdict>, StoreError> {
        let (Ground { policy, standing, .. }, question) = (ground, asked.question);
        if let Some(verdict) = standing.forbids(policy) {
            return Ok(Some(verdict));
        }
        let rations = taken.added_to(rations(policy, question, 0.0));
        let mut asks = json!(rations);
        asks["client_id"] = question.client.into();
        asks["platform"] = question.platform.into();
        asks["account_id"] = question.account.into();
        let found = self.store().rationed(&asks).await?;
        let found = found
            .as_ref()
            .and_then(|why| Verdict::of_refused_mode(policy, why).or_else(|| Verdict::of_wait(policy, why)));
        Ok(found.or_else(|| taken.pauses(policy, &rations, asked.now)))
    }
}

impl<'a> Asked<'a> {
    fn about(foreseen: &'a Foreseen, (client, account): (&'a str, &'a str), now: DateTime<Utc>) -> Self {
        let Foreseen { platform, action_type, known_payload: payload, dedupe, .. } = foreseen;
        // An intent is known when everything is that makes it this one.
        let known = foreseen.payload == *payload;
        let intent = dedupe.as_ref().filter(|_| known).map(|dedupe| {
            let named = (platform.as_str(), account, action_type.as_str());
            intent_key(client, named, &document::fingerprint(payload), dedupe.as_deref())
        });
        Self { question: Question { client, platform, account, action_type, payload }, intent, now }
    }
}

impl ActionEvaluation {
    fn of(foreseen: Foreseen, verdict: Option<Verdict>) -> Self {
        let Foreseen {
            step,
            action_type,
            platform,
            account_id,
            lane,
            payload,
            not_known,
            reached,
            conditions,
            failure,
            ..
        } = foreseen;
        Self {
            step,
            action_type,
            platform,
            account_id,
            lane,
            payload,
            not_known,
            reached,
            conditions,
            failure,
            verdict,
        }
    }
}

/// How strict a verdict is.
fn rank(verdict: &Verdict) -> u8 {
    match verdict.decision {
        Decision::Allow => 0,
        Decision::Approve => 1,
        Decision::Wait => 2,
        Decision::Block => 3,
    }
}

/// What a workflow says of an input that it does not take.
fn misfits(failure: &Failure) -> Vec<Misfit> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = failure.details.get("findings").and_then(Value::as_array).into_iter().flatten();
    let found: Vec<Misfit> = findings
        .map(|it| Misfit {
            pointer: text(&it["pointer"]),
            message: format!("{}; {}", text(&it["message"]), text(&it["remedy"])),
        })
        .collect();
    if found.is_empty() { vec![Misfit { pointer: String::new(), message: failure.message.clone() }] } else { found }
}
