//! The schema of a database, brought up to this program; one that is there already is backed up first.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use fermata_engine::store::{migrate, open_to_backup, outdated};

use super::trouble::chain;
use super::{Exit, Trouble};
use crate::postgres::back_up;

/// Where the backup goes that is made before a schema is changed (M-042).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backup {
    /// Into this file.
    File(PathBuf),
    /// Into a new file of this folder, named by version and time.
    Folder(PathBuf),
    /// There is one already, says who asks.
    Made,
}

/// What became of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raised {
    /// The version that it has.
    pub(crate) version: i64,
    /// The backup that was made before; `None` when nothing that was there had to be changed.
    pub(crate) backup: Option<PathBuf>,
}

/// Brings the schema up to this program. Without the backup nothing is changed.
pub(crate) async fn raise_schema(url: &str, backup: &Backup, now: DateTime<Utc>) -> Result<Raised, Trouble> {
    let file = match (outdated(url).await?, backup) {
        (None, _) | (Some(_), Backup::Made) => None,
        (Some(_), Backup::File(file)) => Some(file.clone()),
        (Some(version), Backup::Folder(folder)) => Some(folder.join(name(version, now))),
    };
    if let Some(file) = &file {
        back_up_into(url, file).await?;
    }
    Ok(Raised { version: migrate(url).await?, backup: file })
}

async fn back_up_into(url: &str, file: &Path) -> Result<(), Trouble> {
    open_to_backup(url).await?;
    back_up(url, file).await.map_err(|error| {
        Trouble::new(Exit::Failed, "the schema was not changed, for there is no backup")
            .why(chain(&error))
            .remedy(
                "mend that; or name another file with --backup FILE; or, with a backup of your own, use --no-backup",
            )
            .code("backup_failed")
    })
}

/// No colons: the name should do on any file system.
fn name(version: i64, now: DateTime<Utc>) -> String {
    format!("fermata-schema-{version}-{}.dump", now.format("%Y%m%dT%H%M%SZ"))
}
