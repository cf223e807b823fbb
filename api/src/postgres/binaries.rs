//! Which server programs: searched where packages put them, asked for their version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::PostgresError;

/// The oldest major version Fermata is run on.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// How long `postgres --version` may take; it answers in milliseconds.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Where packages put server programs. One `*` stands for any one folder name.
const PLACES: [&str; 11] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib64/pgsql/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/Library/PostgreSQL/*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/run/current-system/sw/bin",
];

/// One set of server programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation {
    /// The folder with `initdb` and `postgres`.
    pub(super) bin_dir: PathBuf,
    /// The major version, such as 15.
    pub(super) major: u32,
}

impl Installation {
    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// All installations, in order of preference. A folder that is named explicitly is the only one searched.
pub(super) async fn find(named: Option<&Path>) -> Result<Vec<Installation>, PostgresError> {
    let named = named.map(Path::to_owned).or_else(|| std::env::var_os("PG_BIN").map(PathBuf::from));
    let (candidates, looked) = match named {
        Some(folder) => (vec![folder.clone()], folder.display().to_string()),
        None => (search(), format!("PATH, {}", PLACES.join(", "))),
    };
    let mut found = Vec::new();
    for bin_dir in candidates {
        if let Some(major) = major_of(&bin_dir).await
            && major >= OLDEST_MAJOR
        {
            found.push(Installation { bin_dir, major });
        }
    }
    if found.is_empty() {
        return Err(PostgresError::NotInstalled { looked });
    }
    Ok(found)
}

/// The one for a new cluster: the first, which is the one on the PATH or else the newest.
pub(super) fn preferred(installed: Vec<Installation>) -> Result<Installation, PostgresError> {
    installed.into_iter().next().ok_or_else(|| PostgresError::NotInstalled { looked: String::new() })
}

/// The one that can open a cluster of a given major version.
pub(super) fn of_major(
    installed: Vec<Installation>,
    major: u32,
    cluster_dir: &Path,
) -> Result<Installation, PostgresError> {
    let majors: Vec<String> = installed.iter().map(|one| one.major.to_string()).collect();
    installed.into_iter().find(|one| one.major == major).ok_or_else(|| PostgresError::OtherMajor {
        folder: cluster_dir.to_owned(),
        found: major,
        installed: majors.join(", "),
    })
}

/// Folders that hold both programs: those on the PATH, then the known places, the newest first.
fn search() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    for place in PLACES {
        folders.extend(expand(place));
    }
    let mut seen = Vec::new();
    for folder in folders {
        if folder.join("initdb").is_file() && folder.join("postgres").is_file() && !seen.contains(&folder) {
            seen.push(folder);
        }
    }
    seen
}

/// Replaces the one `*` of a place by the folders that are there, the highest number first.
fn expand(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once('*') else {
        return vec![PathBuf::from(place)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?;
            Some((leading_number(version).unwrap_or(0), PathBuf::from(format!("{parent}/{name}{after}"))))
        })
        .collect();
    versions.sort_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// Asks a folder's `postgres` for its major version; `None` if it cannot say.
async fn major_of(bin_dir: &Path) -> Option<u32> {
    if !bin_dir.join("initdb").is_file() {
        return None;
    }
    let mut command = Command::new(bin_dir.join("postgres"));
    command.arg("--version").current_dir("/").kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_LIMIT, command.output()).await.ok()?.ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn parse_version(line: &str) -> Option<u32> {
    leading_number(line.split_once(") ")?.1)
}

/// The number a text begins with.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(majors: &[u32]) -> Vec<Installation> {
        let one = |&major: &u32| Installation { bin_dir: PathBuf::from(format!("/pg/{major}")), major };
        majors.iter().map(one).collect()
    }

    #[test]
    fn a_version_line_gives_its_major_version() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn an_older_cluster_is_opened_by_its_own_binaries() {
        let chosen = of_major(installed(&[17, 15]), 15, Path::new("/c"));

        assert_eq!(chosen.unwrap().bin_dir, PathBuf::from("/pg/15"));
    }

    #[test]
    fn a_cluster_of_a_version_that_is_not_installed_is_refused() {
        let refused = of_major(installed(&[17, 15]), 16, Path::new("/c")).unwrap_err().to_string();

        assert!(refused.contains("PostgreSQL 16, and installed is 17, 15"), "{refused}");
        assert!(refused.contains("pg_upgrade") && refused.contains("--data-dir"), "{refused}");
    }
}
