//! The platforms and kinds of action that the product knows (S-076, S-078, C-09), beside which nothing is planned.
//!
//! A kind of action is added here, and a rule of a policy can name it then; a platform comes with the installed flow that
//! acts on it.

use fermata_engine::effect::Vocabulary;

use crate::flow::Flow;

/// The platforms of the safety document, and the one that tests and demonstrations act on.
const PLATFORMS: [&str; 8] = ["instagram", "facebook", "tiktok", "youtube", "linkedin", "x", "skool", "demo"];
/// Kinds of action beside those of the contract: what `sora.generate` does.
const ACTION_TYPES: [&str; 1] = ["sora_prompt_submit"];

/// What an installation with these flows knows: an installed flow declares its platform.
pub fn vocabulary(flows: &[Flow]) -> Vocabulary {
    known().with_platforms(flows.iter().map(|flow| flow.document().platform.as_str()))
}

/// What is known in every installation.
pub(crate) fn known() -> Vocabulary {
    Vocabulary::default().with_action_types(ACTION_TYPES).with_platforms(PLATFORMS)
}
