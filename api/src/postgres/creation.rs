//! Creating the cluster, once per data folder.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use super::PostgresError;
use super::binaries::Installation;
use super::error::advice_for;
use super::folder::{Cluster, remove_tree};
use super::log::last_lines;
use super::roles::SUPERUSER;
use super::server::server_command;

/// How long creating a cluster may take; 2 s on a disk, more on a slow one since all of it is synced.
const CREATE_LIMIT: Duration = Duration::from_mins(3);

/// Creates the cluster beside its place and moves it there whole, so that an interruption leaves none.
pub(super) async fn create_cluster(installation: &Installation, cluster: &Cluster) -> Result<(), PostgresError> {
    tracing::info!("creating the database cluster (PostgreSQL {}) in {}…", installation.major, cluster.dir.display());
    // Letters beyond ASCII have case where the system knows C.UTF-8; text sorts by code point either way.
    let staging = match initdb(installation, cluster, "C.UTF-8").await {
        Err(PostgresError::CreateFailed { output, .. }) if output.contains("locale") => {
            initdb(installation, cluster, "C").await?
        }
        other => other?,
    };
    let moved = fs::rename(&staging, &cluster.dir).and_then(|()| match cluster.dir.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    });
    moved.map_err(|error| PostgresError::file("create", &cluster.dir, error))
}

async fn initdb(installation: &Installation, cluster: &Cluster, ctype: &str) -> Result<PathBuf, PostgresError> {
    let program = installation.program("initdb");
    let staging = cluster.staging()?;
    let mut command = server_command(&program, &cluster.user);
    command
        .arg("--pgdata")
        .arg(&staging)
        .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C"])
        .args(["--lc-ctype", ctype, "--data-checksums", "--no-instructions"])
        .args(["--auth-local", "trust", "--auth-host", "scram-sha-256"])
        .kill_on_drop(true);
    let failure = match tokio::time::timeout(CREATE_LIMIT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => return Ok(staging),
        Ok(Ok(output)) => {
            let said = [output.stdout, output.stderr].concat();
            let output = last_lines(&String::from_utf8_lossy(&said));
            let advice = advice_for(&output);
            PostgresError::CreateFailed { output, advice }
        }
        Ok(Err(source)) => PostgresError::Program { program, user: cluster.user.name.clone(), source },
        Err(_) => PostgresError::Timeout {
            what: "creating the database cluster",
            limit_secs: CREATE_LIMIT.as_secs(),
            advice: "is the disk slow? use another folder with --data-dir",
            log: cluster.start_log.clone(),
        },
    };
    remove_tree(&staging);
    Err(failure)
}
