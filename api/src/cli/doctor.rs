//! `fermata doctor`.

use clap::Args;

use super::Output;
use crate::process::{Exit, Trouble};

/// Flags of `fermata doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

pub(super) async fn run(_: DoctorArgs, _: Output) -> Result<Exit, Trouble> {
    Err(Trouble::failed("not yet"))
}
