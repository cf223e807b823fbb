//! `sora.generate`: has a video studio make a video of a prompt, waits for it, and keeps it (Q-06).
//!
//! Owns what the command takes and its bounds. What is special about a studio's pages is data: the
//! installed flow [`SITE_PACK`] (Q-13), carried out by the interpreter of `flow.run`. Read
//! [`GenerateInput`] and [`SoraGenerate`]. To add a wish such as the length of a video: a field of
//! the input, an input of the pack, and the act that tells the studio. The studio of the demo site
//! takes no length, aspect or model, so the command refuses them.

use fermata_engine::workflow::{Context, Failure, Subject, Workflow};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::flow::limits::MAX_LOOKS;
use crate::flow::{Finding, FlowInput, FlowRun, refusal};

/// The flow that knows the studio's pages.
pub const SITE_PACK: &str = "sora.generate_video";
/// The longest prompt, in characters.
pub const MAX_PROMPT_CHARS: usize = 2_000;
/// The longest time between two looks at a draft, in seconds.
pub const MAX_INTERVAL_S: u32 = 3_600;
/// The longest time that a draft is waited for, in seconds (a day).
pub const MAX_TIMEOUT_S: u32 = 86_400;

/// What `sora.generate` carries. The account is the command's `account_id`, and where it names none,
/// the one that the site pack falls back on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateInput {
    /// What the video is to show.
    #[schemars(length(min = 1, max = MAX_PROMPT_CHARS), extend("pattern" = r"\S"))]
    pub prompt: String,
    /// How often, and for how long, the draft is looked at.
    #[serde(default)]
    pub poll: PollInput,
    /// Keeps the video as an artifact; `result.video_path` is where.
    #[serde(default = "yes")]
    pub download: bool,
}

/// How often, and for how long, a draft is looked at. There are at most 2000 looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PollInput {
    /// Seconds between two looks.
    #[schemars(range(min = 1, max = MAX_INTERVAL_S))]
    pub interval_s: u32,
    /// Seconds after which a draft that is not ready fails the command.
    #[schemars(range(min = 1, max = MAX_TIMEOUT_S))]
    pub timeout_s: u32,
}

impl Default for PollInput {
    fn default() -> Self {
        Self { interval_s: 15, timeout_s: 1_800 }
    }
}

fn yes() -> bool {
    true
}

/// Generates videos by carrying out the site pack.
#[derive(Debug, Clone)]
pub struct SoraGenerate {
    flows: FlowRun,
}

impl SoraGenerate {
    pub(crate) fn new(flows: FlowRun) -> Self {
        Self { flows }
    }
}

impl Workflow for SoraGenerate {
    type Input = GenerateInput;
    type Output = Value;

    const NAME: &'static str = "sora.generate";
    const VERSION: &'static str = "1";
    const TITLE: &'static str = "Generate a video";
    const DESCRIPTION: &'static str =
        "Submits a prompt to the video studio once, waits for the draft, keeps the video.";

    fn check(&self, input: &GenerateInput, subject: Subject<'_>) -> Result<(), Failure> {
        let findings = misfits(input);
        if !findings.is_empty() {
            return Err(refusal("input_invalid", findings, ""));
        }
        self.flows.check(&flow_input(input, None), subject)
    }

    async fn run(&self, context: Context, input: GenerateInput) -> Result<Value, Failure> {
        let flow = flow_input(&input, context.account_id());
        Box::pin(self.flows.run(context, flow)).await
    }
}

fn flow_input(input: &GenerateInput, account: Option<&str>) -> FlowInput {
    let PollInput { interval_s, timeout_s } = input.poll;
    let mut inputs = Map::new();
    inputs.insert("prompt".to_owned(), json!(input.prompt));
    inputs.insert("interval_s".to_owned(), json!(interval_s));
    inputs.insert("timeout_s".to_owned(), json!(timeout_s));
    inputs.insert("download".to_owned(), json!(input.download));
    if let Some(account) = account {
        inputs.insert("account".to_owned(), json!(account));
    }
    FlowInput { workflow_name: Some(SITE_PACK.to_owned()), flow: None, inputs, policy: None }
}

/// What the types of an input cannot say.
fn misfits(input: &GenerateInput) -> Vec<Finding> {
    let mut findings = Vec::new();
    let chars = input.prompt.chars().count();
    if input.prompt.trim().is_empty() || chars > MAX_PROMPT_CHARS {
        let remedy = format!("write 1 to {MAX_PROMPT_CHARS} characters, and not only spaces");
        findings.push(Finding::error("/prompt", format!("a prompt of {chars} characters cannot be submitted"), remedy));
    }
    let PollInput { interval_s, timeout_s } = input.poll;
    for (name, seconds, most) in [("interval_s", interval_s, MAX_INTERVAL_S), ("timeout_s", timeout_s, MAX_TIMEOUT_S)] {
        if !(1..=most).contains(&seconds) {
            let pointer = format!("/poll/{name}");
            findings.push(Finding::error(pointer, "this time is out of bounds", format!("write 1 to {most}")));
        }
    }
    if timeout_s > interval_s.saturating_mul(MAX_LOOKS) {
        let remedy = format!("look less often: {MAX_LOOKS} looks are the most");
        findings.push(Finding::error("/poll/interval_s", "these are too many looks", remedy));
    }
    findings
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests {
    use fermata_engine::clock::Clock;

    use super::*;
    use crate::{Installation, registry};

    fn check_with(site: &str, input: Value) -> Result<(), Failure> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut installation = Installation::with_packs(Clock::system()).unwrap();
        installation.sites.insert(site.to_owned(), "http://127.0.0.1:7079".to_owned());
        registry(installation).unwrap().check(SoraGenerate::NAME, &input, Subject::default()).unwrap()
    }

    fn check(input: Value) -> Result<(), Failure> {
        check_with("demo_site", input)
    }

    #[test]
    fn what_is_left_out_has_the_defaults_of_the_contract() {
        let input: GenerateInput = serde_json::from_value(json!({"prompt": "a fox"})).unwrap();
        assert_eq!((input.poll.interval_s, input.poll.timeout_s, input.download), (15, 1_800, true));
    }

    #[test]
    fn a_prompt_that_fits_the_contract_fits_the_site_pack() {
        for input in [
            json!({"prompt": "a fox"}),
            json!({"prompt": "ü".repeat(MAX_PROMPT_CHARS)}),
            json!({"prompt": "a\nfox", "poll": {"interval_s": 1}, "download": false}),
            json!({"prompt": "a fox", "poll": {"interval_s": MAX_INTERVAL_S, "timeout_s": MAX_TIMEOUT_S}}),
        ] {
            assert_eq!(check(input.clone()), Ok(()), "{input}");
        }
    }

    #[test]
    fn what_the_studio_could_not_do_is_refused_with_a_pointer() {
        for (input, pointer) in [
            (json!({"prompt": " "}), "/prompt"),
            (json!({"prompt": "ü".repeat(MAX_PROMPT_CHARS + 1)}), "/prompt"),
            (json!({"prompt": "x", "poll": {"interval_s": 0, "timeout_s": 1}}), "/poll/interval_s"),
            (json!({"prompt": "x", "poll": {"timeout_s": MAX_TIMEOUT_S + 1}}), "/poll/timeout_s"),
            (json!({"prompt": "x", "poll": {"interval_s": 1, "timeout_s": MAX_LOOKS + 1}}), "/poll/interval_s"),
        ] {
            let failure = check(input.clone()).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), &failure.details["pointer"]),
                ("input_invalid", &json!(pointer)),
                "{input}"
            );
        }
        for input in [json!({}), json!({"prompt": "x", "aspect": "16:9"}), json!({"prompt": "x", "poll": {"every": 1}})]
        {
            assert_eq!(check(input).unwrap_err().code, "input_invalid");
        }
    }

    #[test]
    fn an_installation_without_the_studio_refuses_it() {
        assert_eq!(check_with("elsewhere", json!({"prompt": "x"})).unwrap_err().code, "flow_invalid");
    }
}
