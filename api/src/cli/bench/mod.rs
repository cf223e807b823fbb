//! `fermata bench`.

use clap::Args;

use super::Output;
use crate::process::{Exit, Trouble};

/// Flags of `fermata bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {}

pub(super) async fn run(_: BenchArgs, _: Output) -> Result<Exit, Trouble> {
    Err(Trouble::failed("not yet"))
}
