//! `action.run`: a single action (Q-06, G-087). What it takes is data: the installed flow that is offered as that action
//! carries it out, through the same guard, look and receipt as in any other flow.
//!
//! Read [`ActionInput`] and [`ActionRun`]. One more action of a platform is one more flow with `offers`.

use fermata_engine::workflow::{Context, Failure, Foresight, Subject, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::flow::document::Offer;
use crate::flow::{Finding, Flow, FlowInput, FlowRun, refusal};

/// What `action.run` carries. The account is the command's `account_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionInput {
    /// What is done: `publish`, `dm_send`, `comment_reply`, `like`, ...
    pub action_type: String,
    /// On which platform, where several offer it. Where the command names a platform too, it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Where people see it, where a platform offers several: `post`, `reel`, `story`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// What it is done to: a post, a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<String>,
    /// What else the action takes; the inputs of the flow that is offered as it.
    #[serde(default)]
    pub inputs: Map<String, Value>,
}

/// Carries out single actions by the flows that are offered as them.
#[derive(Debug, Clone)]
pub struct ActionRun {
    flows: FlowRun,
}

impl ActionRun {
    pub(crate) fn new(flows: FlowRun) -> Self {
        Self { flows }
    }

    /// The one flow that is offered as it.
    fn offered(&self, input: &ActionInput) -> Result<(&Flow, &Offer), Failure> {
        let all = || self.flows.flows().filter_map(|flow| Some((flow, flow.document().offers.as_ref()?)));
        let fits = |(flow, offer): &(&Flow, &Offer)| {
            offer.action_type == input.action_type
                && input.platform.as_ref().is_none_or(|wanted| *wanted == flow.document().platform)
                && input.surface.as_ref().is_none_or(|wanted| offer.surface.as_ref() == Some(wanted))
        };
        let mut found = all().filter(fits);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                let message = format!("no installed flow is offered as this `{}`", input.action_type);
                let remedy = format!("ask for one of {}", named(all()));
                Err(refusal("action_not_offered", vec![Finding::error("/action_type", message, remedy)], ""))
            }
            (Some(_), Some(_)) => {
                let message = format!("several installed flows are offered as `{}`", input.action_type);
                let remedy = format!("say which by `platform` and `surface`: {}", named(all().filter(fits)));
                Err(refusal("action_ambiguous", vec![Finding::error("/action_type", message, remedy)], ""))
            }
        }
    }

    /// The flow's input, for an account.
    fn flow_input(&self, input: &ActionInput, account: Option<&str>) -> Result<FlowInput, Failure> {
        let (flow, offer) = self.offered(input)?;
        let mut inputs = input.inputs.clone();
        let mut findings = Vec::new();
        for (given, takes, field, what) in [
            (account, &offer.account, "", "account"),
            (input.target_ref.as_deref(), &offer.target, "/target_ref", "target"),
        ] {
            let Some(given) = given else { continue };
            let Some(name) = takes else {
                let message = format!("this action takes no {what}");
                findings.push(Finding::error(field, message, format!("leave the {what} out")));
                continue;
            };
            let before = inputs.insert(name.clone(), Value::from(given));
            if before.is_some_and(|before| before != given) {
                let message = format!("the {what} is given twice, and not the same");
                let remedy = format!("leave the input `{name}` out");
                findings.push(Finding::error(format!("/inputs/{name}"), message, remedy));
            }
        }
        if !findings.is_empty() {
            return Err(refusal("input_invalid", findings, ""));
        }
        Ok(FlowInput { workflow_name: Some(flow.name().to_owned()), flow: None, inputs, policy: None })
    }
}

fn named<'a>(offers: impl Iterator<Item = (&'a Flow, &'a Offer)>) -> String {
    let words = offers.map(|(flow, offer)| {
        let surface = offer.surface.as_ref().map(|surface| format!(" ({surface})")).unwrap_or_default();
        format!("{} on {}{surface}", offer.action_type, flow.document().platform)
    });
    words.collect::<Vec<_>>().join(", ")
}

impl Workflow for ActionRun {
    type Input = ActionInput;
    type Output = Value;

    const NAME: &'static str = "action.run";
    const VERSION: &'static str = "1";
    const TITLE: &'static str = "Run a single action";
    const DESCRIPTION: &'static str = "Does one thing on one platform: the installed flow that is offered as it.";

    fn check(&self, input: &ActionInput, subject: Subject<'_>) -> Result<(), Failure> {
        let (flow, _) = self.offered(input)?;
        let platform = flow.document().platform.as_str();
        if let Some(named) = subject.platform.filter(|named| *named != platform) {
            let message = format!("the command is about `{named}`, and what is offered is an action of `{platform}`");
            let finding = Finding::error("/platform", message, "name the same platform in both");
            return Err(refusal("input_invalid", vec![finding], ""));
        }
        self.flows.check(&self.flow_input(input, subject.account_id)?, subject)
    }

    fn foresee(&self, input: &ActionInput, client: &str) -> Result<Option<Foresight>, Failure> {
        self.flows.foresee(&self.flow_input(input, None)?, client)
    }

    async fn run(&self, context: Context, input: ActionInput) -> Result<Value, Failure> {
        let flow = self.flow_input(&input, context.account_id())?;
        Box::pin(self.flows.run(context, flow)).await
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests {
    use fermata_engine::clock::Clock;
    use fermata_engine::workflow::Registry;
    use serde_json::json;

    use super::*;
    use crate::{Installation, registry};

    const TWO: &str = r#"{"name": "two.publish", "version": "1", "platform": "two", "lane": "api",
        "offers": {"action_type": "publish", "surface": "reel"},
        "steps": [{"id": "publish", "phase": "act", "effect": {"action_type": "publish", "account": "a", "payload": {},
            "call": {"http": {"method": "POST", "url": "https://two.example/posts"}}}}]}"#;

    fn installed() -> Registry {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut installation = Installation::with_packs(Clock::system()).unwrap();
        installation.sites.insert("demo_site".to_owned(), "http://127.0.0.1:7079".to_owned());
        installation.flows.push(Flow::read(TWO).unwrap());
        registry(installation).unwrap()
    }

    fn judged(payload: Value, subject: Subject<'_>) -> Result<(), String> {
        installed().check(ActionRun::NAME, &payload, subject).unwrap().map_err(|failure| failure.code)
    }

    #[test]
    fn an_action_is_the_one_flow_that_is_offered_as_it() {
        let about = |platform, account_id| Subject { platform, account_id };
        let nobody = about(None, None);
        let publish = |more: Value| {
            let mut payload = json!({"action_type": "publish", "inputs": {"caption": "Hello"}});
            payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            payload
        };
        for (payload, subject, expected) in [
            (publish(json!({"platform": "demo"})), nobody, None),
            (publish(json!({"surface": "post"})), about(Some("demo"), Some("ada")), None),
            (json!({"action_type": "dm_send", "target_ref": "bob", "inputs": {"text": "Hi"}}), nobody, None),
            (publish(json!({})), nobody, Some("action_ambiguous")),
            (publish(json!({"surface": "story"})), nobody, Some("action_not_offered")),
            (json!({"action_type": "like"}), nobody, Some("action_not_offered")),
            // The command is about another platform than its action.
            (publish(json!({"platform": "demo"})), about(Some("two"), None), Some("input_invalid")),
            // What the action does not take is not lost without a word.
            (publish(json!({"platform": "demo", "target_ref": "x"})), nobody, Some("input_invalid")),
            (json!({"action_type": "publish", "platform": "two"}), about(None, Some("ada")), Some("input_invalid")),
            (publish(json!({"platform": "demo", "inputs": {}})), nobody, Some("input_invalid")),
        ] {
            assert_eq!(judged(payload.clone(), subject).err().as_deref(), expected, "{payload} {subject:?}");
        }
    }

    #[test]
    fn the_account_of_the_command_is_the_one_that_is_acted_for() {
        let payload = |handle: &str| json!({"action_type": "publish", "platform": "demo", "inputs": {"caption": "Hello", "handle": handle}});
        let ada = Subject { platform: None, account_id: Some("ada") };
        assert_eq!(judged(payload("ada"), ada), Ok(()));
        assert_eq!(judged(payload("bob"), ada), Err("input_invalid".to_owned()));
    }

    #[test]
    fn a_flow_that_does_more_than_it_is_offered_as_is_refused() {
        for (from, to) in [
            (r#""surface": "reel"}"#, r#""surface": "reel", "account": "nobody"}"#),
            (r#""offers": {"action_type": "publish""#, r#""offers": {"action_type": "like""#),
            (r#""steps": ["#, r#""steps": [{"id": "more", "phase": "act", "child": {"workflow": "bench.steps"}}, "#),
        ] {
            let changed = TWO.replace(from, to);
            assert_ne!(changed, TWO);
            let refused = Flow::read(&changed).unwrap_err().findings();
            assert!(refused.iter().any(|finding| finding.pointer.starts_with("/offers/")), "{refused:?}");
        }
    }
}
