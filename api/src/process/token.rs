//! The token that `dev` leaves for its user: every scope, for every client. What names no client is for the
//! one of DEFAULT_CLIENT.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::artifact::Artifacts;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions};

use super::Trouble;

/// Whom the token acts for: everybody, as whoever turns the global kill switch must.
const CLIENT: &str = "*";

/// The token file of this data folder: the one that is there while it is good, or a new one.
pub(super) async fn token_file(data_dir: &Path, database_url: &str) -> Result<PathBuf, Trouble> {
    let path = data_dir.join("token");
    let engine = small_engine(database_url, data_dir).await?;
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let good = match engine.authenticate(kept.trim()).await {
        Ok(principal) => {
            principal.client_id == CLIENT && principal.scopes == Scope::ALL.iter().copied().collect::<BTreeSet<_>>()
        }
        Err(_) => false,
    };
    if !good {
        let new = NewToken {
            client_id: CLIENT.to_owned(),
            name: "dev".to_owned(),
            scopes: Scope::ALL.to_vec(),
            command_types: None,
            ttl: None,
        };
        let created = engine.create_token(&Principal::operator(), new).await?;
        write(&path, &created.token).map_err(|error| Trouble::file("cannot write", &path, &error))?;
    }
    engine.close(std::time::Duration::from_secs(2)).await;
    Ok(path)
}

/// An engine without workflows and with few connections: for one act, straight to the database.
pub(crate) async fn small_engine(database_url: &str, folder: &Path) -> Result<Engine, Trouble> {
    let mut options = EngineOptions::new(database_url, Artifacts::new(folder.join("artifacts")), Registry::new());
    options.max_connections = 2;
    options.writer_connections = 1;
    // What is written here is no promise to anybody; the serving roles check for themselves.
    options.allow_unsafe_durability = true;
    Ok(Engine::open(options).await?)
}

/// Writes the file whole, for its owner only.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let half = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    writeln!(file, "{token}")?;
    fs::rename(&half, path)
}
