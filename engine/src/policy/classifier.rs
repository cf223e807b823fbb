//! Classifiers of content: what an installation asks about the content of actions beside the rules of their policies.
//!
//! A classifier says which flags content has; they are judged as the payload's own `content_flags` are, so one that nobody
//! knows is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use super::{Decision, Policy, Question, Verdict};
use crate::clock::Clock;
use crate::document;

/// How long a classifier may take.
pub const CLASSIFY_TIME: Duration = Duration::from_secs(10);
/// The most flags that one classifier may say of one content.
pub const MAX_FLAGS: usize = 64;
/// The rule by which content is refused whose classifier is not there.
const RULE: &str = "compliance/classifiers";

/// What a classifier is asked about.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Content<'a> {
    /// For which client it would be done.
    pub client_id: &'a str,
    /// On which platform.
    pub platform: &'a str,
    /// For which account.
    pub account_id: &'a str,
    /// What would be done: `publish`, `dm_send`, ...
    pub action_type: &'a str,
    /// What it would carry.
    pub payload: &'a Value,
}

/// Why a classifier gave no answer. Nothing is done without one; the step is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// Says which flags the content of an action has. It is asked again whenever the action is judged again, so the same
/// content should get the same flags.
#[async_trait]
pub trait Classifier: Send + Sync {
    /// The flags, at most [`MAX_FLAGS`], within [`CLASSIFY_TIME`].
    async fn flags(&self, content: &Content<'_>) -> Result<Vec<String>, Unanswered>;
}

/// The classifiers of an installation, by the names that policies call them by.
#[derive(Clone)]
pub struct Classifiers {
    by_name: BTreeMap<String, Arc<dyn Classifier>>,
    patience: Duration,
}

impl Default for Classifiers {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), patience: CLASSIFY_TIME }
    }
}

impl Classifiers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a classifier; the last one of a name wins.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, classifier: impl Classifier + 'static) -> Self {
        self.by_name.insert(name.into(), Arc::new(classifier));
        self
    }

    /// The verdict with what the classifiers say that its policy names; `Err` if one of them gave no answer.
    pub(crate) async fn judge(
        &self,
        (policy, question): (&Policy, Question<'_>),
        verdict: Verdict,
        clock: &Clock,
    ) -> Result<Verdict, Unanswered> {
        if !matches!(verdict.decision, Decision::Allow | Decision::Approve) {
            return Ok(verdict);
        }
        let Question { client: client_id, platform, account: account_id, action_type, payload } = question;
        let content = Content { client_id, platform, account_id, action_type, payload };
        for name in policy.classifiers() {
            let Some(classifier) = self.by_name.get(name) else {
                let reason = format!("there is no classifier {name:?} here; name one of `CLASSIFIERS`");
                return Ok(Verdict::by(policy, Decision::Block, RULE, reason));
            };
            let answer = clock.before(clock.monotonic() + self.patience, classifier.flags(&content)).await;
            let too_late = || Err(Unanswered(format!("it took more than {} ms", self.patience.as_millis())));
            let flags = answer
                .unwrap_or_else(too_late)
                .and_then(fit)
                .map_err(|why| Unanswered(format!("the classifier {name:?}: {why}")))?;
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            if let Some((rule, reason)) = policy.refuses(&flags, &[]) {
                return Ok(Verdict::by(
                    policy,
                    Decision::Block,
                    rule,
                    format!("{reason} (the classifier {name:?} says so)"),
                ));
            }
        }
        Ok(verdict)
    }

    /// The same where nothing is done: without an answer it would not go on.
    pub(crate) async fn foresee(&self, asked: (&Policy, Question<'_>), verdict: Verdict, clock: &Clock) -> Verdict {
        let said = self.judge(asked, verdict, clock).await;
        said.unwrap_or_else(|why| Verdict::by(asked.0, Decision::Block, RULE, why.to_string()))
    }
}

impl fmt::Debug for Classifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

fn fit(flags: Vec<String>) -> Result<Vec<String>, Unanswered> {
    if flags.len() > MAX_FLAGS {
        return Err(Unanswered(format!("more than {MAX_FLAGS} flags")));
    }
    match flags.iter().find_map(|flag| document::check_key("a flag", flag).err()) {
        Some(error) => Err(Unanswered(error.to_string())),
        None => Ok(flags),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Part;
    use super::*;

    /// Says what the payload tells it to say.
    struct Echo;

    #[async_trait]
    impl Classifier for Echo {
        async fn flags(&self, content: &Content<'_>) -> Result<Vec<String>, Unanswered> {
            serde_json::from_value(content.payload["says"].clone()).map_err(|error| Unanswered(error.to_string()))
        }
    }

    /// Never answers.
    struct Silent;

    #[async_trait]
    impl Classifier for Silent {
        async fn flags(&self, _: &Content<'_>) -> Result<Vec<String>, Unanswered> {
            std::future::pending().await
        }
    }

    async fn said(compliance: Value, says: Value) -> Result<(Decision, String), Unanswered> {
        let document = serde_json::from_value(json!({ "compliance": compliance })).unwrap();
        let policy = Policy::of(vec![Part { scope: "global".into(), version: 1, document }]);
        let payload = json!({ "says": says });
        let question =
            Question { client: "acme", platform: "demo", account: "ada", action_type: "publish", payload: &payload };
        let allowed = Verdict::by(&policy, Decision::Allow, "allowed", "nothing stands against it");
        let mut classifiers = Classifiers::new().with("echo", Echo).with("silent", Silent);
        classifiers.patience = Duration::from_millis(50);
        let verdict = classifiers.judge((&policy, question), allowed, &Clock::system()).await?;
        Ok((verdict.decision, verdict.rule))
    }

    #[tokio::test]
    async fn what_a_classifier_flags_is_judged_like_the_payloads_own_flags_and_an_unknown_one_is_refused() {
        let rules = json!({"classifiers": ["echo"], "block_flags": ["hate"], "allow_flags": ["satire"]});
        let decided = |decision, rule: &str| Ok((decision, rule.to_owned()));
        assert_eq!(said(rules.clone(), json!([])).await, decided(Decision::Allow, "allowed"));
        assert_eq!(said(rules.clone(), json!(["satire"])).await, decided(Decision::Allow, "allowed"));
        assert_eq!(
            said(rules.clone(), json!(["satire", "hate"])).await,
            decided(Decision::Block, "compliance/block_flags")
        );
        assert_eq!(said(rules, json!(["new"])).await, decided(Decision::Block, "compliance/allow_flags"));
        assert_eq!(said(json!({}), json!(["hate"])).await, decided(Decision::Allow, "allowed"), "nobody asks it");
    }

    #[tokio::test]
    async fn a_classifier_that_is_not_there_lets_nothing_pass_and_one_that_says_too_much_has_not_answered() {
        let missing = said(json!({"classifiers": ["gone"]}), json!([])).await.unwrap();
        assert_eq!(missing, (Decision::Block, RULE.to_owned()));
        let many: Vec<String> = (0..=MAX_FLAGS).map(|n| n.to_string()).collect();
        for says in [json!(many), json!([""]), json!("hate"), Value::Null] {
            said(json!({"classifiers": ["echo"]}), says).await.unwrap_err();
        }
    }

    #[tokio::test]
    async fn a_classifier_that_stays_silent_is_not_waited_for_without_end() {
        let why = said(json!({"classifiers": ["silent"]}), json!([])).await.unwrap_err();
        assert!(why.to_string().contains("more than 50 ms"), "{why}");
    }
}
