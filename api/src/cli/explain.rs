//! `fermata explain`.

use clap::Args;

use super::Output;
use crate::process::{Exit, Trouble};

/// Flags of `fermata explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {}

pub(super) fn run(_: &ExplainArgs, _: Output) -> Result<Exit, Trouble> {
    Err(Trouble::failed("not yet"))
}
