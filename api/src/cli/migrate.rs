//! `fermata migrate`.

use clap::Args;
use serde_json::json;

use super::Output;
use crate::config::{Config, Role, Sources};
use crate::process::{Exit, Trouble};

/// Flags of `fermata migrate`: there are none, the database is that of `DATABASE_URL`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  DATABASE_URL=postgres://… fermata migrate\n\nForward only; safe to run again, \
and on several machines at once. The login must be allowed to make the roles fermata_writer and fermata_reader.")]
pub(crate) struct MigrateArgs {}

pub(super) async fn run(_: MigrateArgs, out: Output) -> Result<Exit, Trouble> {
    let url = database_url("migrate needs to know which database")?;
    let version = fermata_engine::store::migrate(&url).await?;
    out.print(&json!({ "version": version }), || format!("the schema has version {version}"));
    Ok(Exit::Done)
}

/// The database of the configuration, or the trouble of having none.
pub(super) fn database_url(what: &str) -> Result<String, Trouble> {
    configured_database()?.ok_or_else(|| {
        Trouble::new(Exit::Config, what)
            .why("DATABASE_URL is not set")
            .remedy("set it, such as DATABASE_URL=postgres://fermata@127.0.0.1:5432/fermata")
            .code("config_invalid")
    })
}

/// The database of the configuration, if it names one.
pub(super) fn configured_database() -> Result<Option<String>, Trouble> {
    let config = Config::load(&[Role::Tool], &Sources::of_process([]))?;
    Ok(config.database_url.map(|url| url.expose().to_owned()))
}
