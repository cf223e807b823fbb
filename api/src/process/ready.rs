//! The ready file: where everything is, written once it answers (contract, section 2).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where everything is. What a process does not have is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// REST and GraphQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// The event stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<String>,
    /// The pretend social network of `dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demo_site: Option<String>,
    /// The WebDriver endpoint of the browser role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webdriver: Option<String>,
    /// The services beside the API, by role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// A file that holds a token with every scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The database; it holds a password, so the file is for its owner only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// The process that wrote this.
    pub pid: u32,
    /// The processes of the group.
    #[serde(default)]
    pub nodes: Vec<ReadyNode>,
}

/// One process of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyNode {
    /// The id that a command which it carries shows as `node`; its name when it carries none.
    pub node: String,
    /// Its name, which it keeps when it is started again.
    #[serde(default)]
    pub name: String,
    /// What it does.
    pub role: String,
    /// Its process id.
    pub pid: u32,
    /// Where it answers `/health` and `/metrics`, when that is not the control address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<String>,
}

impl Ready {
    /// Writes the file whole or not at all, readable by its owner only.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut half = path.as_os_str().to_owned();
        half.push(format!(".part-{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
        file.write_all(serde_json::to_string(self)?.as_bytes())?;
        file.write_all(b"\n")?;
        fs::rename(&half, path)
    }

    /// Reads a file; `None` when there is none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_ready_file_reads_back_and_is_for_its_owner_only() {
        let path = std::env::temp_dir().join(format!("fermata-ready-{}.json", std::process::id()));
        let node =
            ReadyNode { node: "0190".into(), name: "worker-1".into(), role: "worker".into(), pid: 7, probes: None };
        let ready = Ready { pid: 1, nodes: vec![node], ..Ready::default() };
        ready.write(&path).unwrap();
        assert_eq!(Ready::read(&path).unwrap(), Some(ready));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        assert_eq!(Ready::read(&path).unwrap(), None);
    }
}
