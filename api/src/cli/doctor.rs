//! `fermata doctor`: everything that could be wrong, and how to mend it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use fermata_engine::artifact::Artifacts;
use fermata_engine::store::StoreError;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::Output;
use crate::config::{Config, Role, Sources, build_config_report};
use crate::process::{Exit, READY_FILE, Trouble};

/// How long leaving the database may take.
const CLOSE_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

/// Flags of `fermata doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fermata doctor\n  DATABASE_URL=postgres://… fermata doctor --json\n\n\
Ends with 0 when nothing is wrong (remarks are allowed), otherwise with the code of the first fault.")]
pub(crate) struct DoctorArgs {}

/// What one look found.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    detail: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Remark,
    Fault,
}

impl Finding {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), remedy: None, exit: Exit::Done }
    }

    fn remark(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Remark, remedy: Some(remedy.into()), ..Self::ok(name, detail) }
    }

    fn fault(name: &'static str, exit: Exit, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Fault, exit, ..Self::remark(name, detail, remedy) }
    }
}

pub(super) async fn run(_: DoctorArgs, out: Output) -> Result<Exit, Trouble> {
    let findings = look().await;
    let first = findings.iter().find(|finding| finding.state == State::Fault).map_or(Exit::Done, |fault| fault.exit);
    let data = json!({ "ok": first == Exit::Done, "findings": findings });
    out.print(&data, || findings.iter().map(line).collect::<Vec<_>>().join("\n"));
    Ok(first)
}

fn line(finding: &Finding) -> String {
    let mark = match finding.state {
        State::Ok => "ok    ",
        State::Remark => "remark",
        State::Fault => "FAULT ",
    };
    let remedy = finding.remedy.as_ref().map(|remedy| format!("\n         try: {remedy}")).unwrap_or_default();
    format!("{mark}  {:<14} {}{remedy}", finding.name, finding.detail)
}

async fn look() -> Vec<Finding> {
    let sources = Sources::of_process([]);
    let config = match Config::load(&[Role::Tool], &sources) {
        Ok(config) => config,
        Err(report) => {
            return vec![Finding::fault("configuration", Exit::Config, report.to_string(), "mend each line above")];
        }
    };
    let mut findings = vec![Finding::ok("configuration", "every key that is set is valid")];
    let unknown = build_config_report(&[Role::Tool], &sources).unknown;
    if !unknown.is_empty() {
        let remedy = "`fermata config check` says what may have been meant";
        findings.push(Finding::remark("unknown keys", unknown.join(", "), remedy));
    }
    findings.push(database(&config).await);
    findings.extend(browsers(&config));
    findings.push(data_dir(&config.data_dir));
    if config.data_dir.join(READY_FILE).is_file() {
        findings.push(Finding::ok("ports", "`fermata dev` has them"));
    } else {
        findings.push(port("control port", config.listen_control, "LISTEN_CONTROL").await);
        findings.push(port("telemetry port", config.listen_telemetry, "LISTEN_TELEMETRY").await);
    }
    findings.extend(risks(&config));
    findings
}

/// Reaches the database, checks its schema and the settings that may lose work.
async fn database(config: &Config) -> Finding {
    let Some(url) = &config.database_url else {
        return match server_binaries() {
            Some(folder) => {
                Finding::ok("database", format!("DATABASE_URL is not set; `dev` uses {}", folder.display()))
            }
            None => Finding::fault(
                "database",
                Exit::Failed,
                "DATABASE_URL is not set, and no PostgreSQL server binaries were found",
                "apt-get install postgresql, or name their folder in PG_BIN, or set DATABASE_URL",
            ),
        };
    };
    let artifacts = Artifacts::new(&config.artifacts_dir);
    let mut options = EngineOptions::new(url.expose(), artifacts, Registry::new());
    (options.max_connections, options.writer_connections) = (2, 1);
    match Engine::open(options).await {
        Ok(engine) => {
            let version = engine.server_stats().await.map(|stats| stats.version).unwrap_or_default();
            engine.close(CLOSE_LIMIT).await;
            let version = version.split(" on ").next().unwrap_or_default().to_owned();
            Finding::ok("database", format!("{version}; schema, roles and durability are as they must be"))
        }
        Err(error) => {
            let (exit, remedy) = match &error {
                StoreError::Unreachable(_) => (Exit::Unreachable, "start it, or correct DATABASE_URL"),
                StoreError::Schema(_) => (Exit::Failed, "run `fermata migrate`"),
                StoreError::Unsafe { .. } => (Exit::Config, "turn the setting on and reload the server"),
                _ => {
                    (Exit::Failed, "the login needs the roles fermata_writer and fermata_reader: run `fermata migrate`")
                }
            };
            let detail = crate::telemetry::redact(&error.to_string()).into_owned();
            Finding::fault("database", exit, detail, remedy)
        }
    }
}

fn browsers(config: &Config) -> Vec<Finding> {
    if config.webdriver_url.is_some() {
        return vec![Finding::ok("browsers", "those of FERMATA_WEBDRIVER_URL")];
    }
    let wanted = [
        ("chromium", Some("CHROMIUM"), "chromium"),
        ("chromedriver", Some("CHROMEDRIVER"), "chromium-driver"),
        ("setpriv", None, "util-linux"),
    ];
    let looked = wanted.into_iter().map(|(program, variable, package)| {
        match variable.and_then(named).or_else(|| in_path(program)) {
            Some(path) => Finding::ok(program, path.display().to_string()),
            None => Finding::fault(
                program,
                Exit::Failed,
                format!("{program} was not found; the browser role needs it"),
                format!("apt-get install {package}"),
            ),
        }
    });
    looked.collect()
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A folder with `initdb`: named, in the path, or where Debian puts it.
fn server_binaries() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    let mut folders = named.into_iter().chain(std::env::split_paths(&path)).chain(debian);
    folders.find(|folder| folder.join("initdb").is_file())
}

fn data_dir(folder: &Path) -> Finding {
    let name = "data folder";
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    if !folder.exists() {
        return Finding::ok(name, format!("{} will be made", folder.display()));
    }
    match std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)) {
        Ok(()) => Finding::ok(name, format!("{} can be written", folder.display())),
        Err(error) => {
            let detail = format!("{} cannot be written: {error}", folder.display());
            Finding::fault(name, Exit::Failed, detail, "make it writable, or name another in FERMATA_DATA_DIR")
        }
    }
}

async fn port(name: &'static str, address: SocketAddr, key: &str) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => Finding::ok(name, format!("{address} is free")),
        Err(error) => {
            let remedy = format!("stop what listens there (it may be Fermata itself), or set {key}");
            Finding::remark(name, format!("{address} cannot be used: {error}"), remedy)
        }
    }
}

/// Settings that are valid, and that one should know to have.
fn risks(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if config.allow_unsafe_durability {
        let detail = "ALLOW_UNSAFE_DURABILITY is on: an acknowledged command may be lost in a crash";
        found.push(Finding::remark("risk", detail, "unset it outside of tests"));
    }
    if !config.listen_control.ip().is_loopback() && config.public_base_url.is_none() {
        let detail = format!("the API listens on {} and has no PUBLIC_BASE_URL", config.listen_control);
        found.push(Finding::remark("risk", detail, "put TLS in front of it, and set PUBLIC_BASE_URL to its address"));
    }
    if !config.allow_private_hosts.is_empty() {
        let hosts: Vec<String> = config.allow_private_hosts.iter().map(ToString::to_string).collect();
        let detail = format!("flows may call private hosts: {}", hosts.join(", "));
        found.push(Finding::remark("risk", detail, "keep ALLOW_PRIVATE_HOSTS as narrow as you can"));
    }
    found
}
