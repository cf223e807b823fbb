//! `fermata migrate`.

use std::path::PathBuf;

use clap::Args;
use fermata_engine::clock::Clock;
use serde_json::json;

use super::Output;
use crate::config::{Config, Role, Sources};
use crate::process::{Backup, Exit, Trouble, raise_schema};

/// Flags of `fermata migrate`; the database is that of `DATABASE_URL`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  DATABASE_URL=postgres://… fermata migrate\n  \
DATABASE_URL=postgres://… fermata migrate --backup /backups/before.dump\n\nForward only; safe to run again, \
and on several machines at once. A schema that is there already is backed up before it is changed, into this \
folder unless --backup says otherwise; `pg_restore --no-owner -d NEW_DATABASE FILE` brings it back. The login must \
be allowed to make the roles fermata_writer and fermata_reader.")]
pub(crate) struct MigrateArgs {
    /// Where the backup goes; a new file
    #[arg(long, value_name = "FILE", conflicts_with = "no_backup")]
    backup: Option<PathBuf>,
    /// There is a backup already
    #[arg(long)]
    no_backup: bool,
}

pub(super) async fn run(args: MigrateArgs, out: Output) -> Result<Exit, Trouble> {
    let url = database_url("migrate needs to know which database")?;
    let backup = match args.backup {
        _ if args.no_backup => Backup::Made,
        Some(file) => Backup::File(file),
        None => Backup::Folder(PathBuf::new()),
    };
    let raised = raise_schema(&url, &backup, Clock::system().now()).await?;
    let file = raised.backup.as_ref().map(|file| file.display().to_string());
    out.print(&json!({ "version": raised.version, "backup": file }), || {
        let kept = file.as_ref().map(|file| format!("; before that, a backup into {file}"));
        format!("the schema has version {}{}", raised.version, kept.unwrap_or_default())
    });
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
