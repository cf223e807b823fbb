//! A backup of a database into one file, before its schema is changed (M-042): `pg_dump`, as an
//! operator would run it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Url;
use tokio::process::Command;

use super::binaries;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No program to make it with.
    #[error(
        "pg_dump is not installed (Debian, Ubuntu: `apt-get install postgresql-client`), or name its folder in PG_BIN"
    )]
    NoProgram,
    /// The address of the database is of a form that cannot be handed on.
    #[error("the database's address cannot be read")]
    Address,
    /// The file cannot be written, or is there already.
    #[error("{} cannot be written", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program did not do it.
    #[error("pg_dump failed: {said}")]
    Failed {
        /// Its own words.
        said: String,
    },
}

/// Writes the database of `url` into a new file, readable by its owner only, in the format of
/// `pg_restore`. The file is there whole or not at all.
pub async fn back_up(url: &str, file: &Path) -> Result<(), BackupError> {
    let unwritable = |source| BackupError::File { path: file.to_owned(), source };
    let program = program().await.ok_or(BackupError::NoProgram)?;
    let environment = environment(url).ok_or(BackupError::Address)?;
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(unwritable)?;
    }
    if file.exists() {
        return Err(unwritable(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // What an earlier try left is of no use to anybody.
    drop(fs::remove_file(&partial));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(unwritable)?;
    let output = Command::new(program)
        // The policies let the owner read every row, and are in the dump themselves.
        .args(["--format=custom", "--no-password", "--enable-row-security", "--file"])
        .arg(&partial)
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let said = match output {
        Ok(output) if output.status.success() => return fs::rename(&partial, file).map_err(unwritable),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    drop(fs::remove_file(&partial));
    Err(BackupError::Failed { said })
}

/// The newest `pg_dump` of this machine: an older one refuses a newer server.
async fn program() -> Option<OsString> {
    let mut installed = binaries::find(None).await.unwrap_or_default();
    installed.sort_by_key(|one| std::cmp::Reverse(one.major));
    let beside = installed.iter().map(|one| one.program("pg_dump")).find(|path| path.exists());
    beside.map(PathBuf::into_os_string).or_else(on_path)
}

fn on_path() -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("pg_dump"));
    places.find(|program| program.exists()).map(PathBuf::into_os_string)
}

/// The address as libpq's environment: an argument could be read by every user of the machine.
fn environment(url: &str) -> Option<Vec<(&'static str, String)>> {
    let url = Url::parse(url).ok()?;
    let text = |encoded: &str| Some(percent_decoded(encoded)).filter(|text| !text.is_empty());
    let mut set: Vec<(&'static str, String)> = [
        // An address of IPv6 stands in brackets here, and without them there.
        ("PGHOST", url.host_str().and_then(|host| text(host.trim_matches(['[', ']'])))),
        ("PGPORT", url.port().map(|port| port.to_string())),
        ("PGUSER", text(url.username())),
        ("PGPASSWORD", url.password().and_then(text)),
        ("PGDATABASE", text(url.path().trim_start_matches('/'))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    for (name, value) in url.query_pairs() {
        let name = match &*name {
            "host" => "PGHOST",
            "port" => "PGPORT",
            "user" => "PGUSER",
            "password" => "PGPASSWORD",
            "dbname" => "PGDATABASE",
            "sslmode" | "ssl-mode" => "PGSSLMODE",
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => "PGSSLROOTCERT",
            "sslcert" | "ssl-cert" => "PGSSLCERT",
            "sslkey" | "ssl-key" => "PGSSLKEY",
            // The rest is about how a program works with the database, not about where it is.
            _ => continue,
        };
        set.retain(|(known, _)| *known != name);
        set.push((name, value.into_owned()));
    }
    Some(set)
}

/// Undoes the escapes of a part of an address.
fn percent_decoded(encoded: &str) -> String {
    // A query is the one part that the parser decodes for us; a plus sign there would be a space.
    let query = format!("x:?p={}", encoded.replace('+', "%2B").replace('&', "%26"));
    let decoded = Url::parse(&query).ok().and_then(|url| url.query_pairs().next().map(|(_, text)| text.into_owned()));
    decoded.unwrap_or_else(|| encoded.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(set: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_address_becomes_an_environment_with_its_escapes_undone() {
        let set = environment("postgres://us%40er:p%2Fa+ss%26@db.example:5433/fer%20mata?sslmode=require").unwrap();
        assert_eq!(of(&set, "PGUSER"), Some("us@er"));
        assert_eq!(of(&set, "PGPASSWORD"), Some("p/a+ss&"));
        assert_eq!((of(&set, "PGHOST"), of(&set, "PGPORT")), (Some("db.example"), Some("5433")));
        assert_eq!((of(&set, "PGDATABASE"), of(&set, "PGSSLMODE")), (Some("fer mata"), Some("require")));
        assert_eq!(of(&environment("postgres://a@[::1]:5433/b").unwrap(), "PGHOST"), Some("::1"));
    }

    #[test]
    fn a_socket_folder_in_the_query_wins() {
        let set = environment("postgres://fermata@localhost/fermata?host=/run/pg&application_name=x").unwrap();
        assert_eq!(of(&set, "PGHOST"), Some("/run/pg"));
        assert_eq!(set.len(), 3);
        assert_eq!(environment("no address"), None);
    }
}
