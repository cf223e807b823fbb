//! How the children of `dev` are started: arguments for what may be seen, environment for the rest.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Trouble;
use super::child::Plan;
use crate::config::Config;

/// Names the demo site's program when it is not beside ours.
pub(super) const DEMO_SITE_BIN: &str = "FERMATA_DEMO_SITE_BIN";
const DEMO_SITE: &str = "fermata-demo-site";

/// Where the children find and leave what they share.
#[derive(Debug, Clone)]
pub(super) struct Place {
    program: PathBuf,
    /// The data folder, absolute.
    pub(super) data_dir: PathBuf,
    /// Ready files of children.
    pub(super) run_dir: PathBuf,
    /// Logs of children.
    pub(super) log_dir: PathBuf,
    environment: Vec<(String, String)>,
}

impl Place {
    /// Makes the folders, and empties what an earlier `dev` left in them.
    pub(super) fn prepare(config: &Config, drain: Duration) -> Result<Self, Trouble> {
        let unusable = |error: std::io::Error| Trouble::file("cannot use the data folder", &config.data_dir, &error);
        let program = std::env::current_exe().map_err(unusable)?;
        fs::create_dir_all(&config.data_dir).map_err(unusable)?;
        let data_dir = config.data_dir.canonicalize().map_err(unusable)?;
        let (run_dir, log_dir) = (data_dir.join("run"), data_dir.join("logs"));
        for folder in [&run_dir, &log_dir] {
            fs::create_dir_all(folder).map_err(unusable)?;
            for entry in fs::read_dir(folder).map_err(unusable)?.flatten() {
                fs::remove_file(entry.path()).map_err(unusable)?;
            }
        }
        let mut environment: Vec<_> =
            config.child_environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        environment.push(("FERMATA_DATA_DIR".into(), data_dir.to_string_lossy().into_owned()));
        environment.push(("FERMATA_DRAIN_SECS".into(), drain.as_secs().to_string()));
        Ok(Self { program, data_dir, run_dir, log_dir, environment })
    }

    /// Gives all later children one more variable.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    fn serve(&self, name: &str, role: &str, more: &[&str]) -> Plan {
        let ready_file = self.run_dir.join(format!("{name}.json"));
        let path = ready_file.to_string_lossy();
        let arguments = ["serve", "--role", role, "--node", name, "--ready-file", &path, "--under-dev"];
        Plan {
            name: name.to_owned(),
            program: self.program.clone(),
            arguments: arguments.iter().chain(more).map(|&word| word.to_owned()).collect(),
            environment: self.environment.clone(),
            log: self.log_dir.join(format!("{name}.log")),
            ready_file,
            apart: false,
        }
    }

    /// The API at these addresses.
    pub(super) fn api(&self, control: SocketAddr, telemetry: SocketAddr, site: &str) -> Plan {
        let mut plan = self.serve("api-1", "api", &["--site", &named(site)]);
        plan.environment.push(("LISTEN_CONTROL".into(), control.to_string()));
        plan.environment.push(("LISTEN_TELEMETRY".into(), telemetry.to_string()));
        plan
    }

    /// The n-th worker.
    pub(super) fn worker(&self, n: usize, site: &str) -> Plan {
        self.serve(&format!("worker-{n}"), "worker", &["--site", &named(site), "--probes", "127.0.0.1:0"])
    }

    /// The keeper of browsers at this address.
    pub(super) fn browser(&self, listen: SocketAddr) -> Plan {
        self.serve("browser-1", "browser", &["--webdriver-listen", &listen.to_string(), "--probes", "127.0.0.1:0"])
    }

    /// The demo site at this address.
    pub(super) fn demo_site(&self, listen: SocketAddr) -> Result<Plan, Trouble> {
        let (ready_file, ledger) = (self.run_dir.join("demo-site.json"), self.data_dir.join("demo-site.ledger"));
        let listen = listen.to_string();
        let (ledger, ready) = (ledger.to_string_lossy(), ready_file.to_string_lossy());
        let arguments = ["--listen", &listen, "--ledger", &ledger, "--ready-file", &ready].map(str::to_owned);
        Ok(Plan {
            name: "demo-site".to_owned(),
            program: demo_site_program(&self.program)?,
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            log: self.log_dir.join("demo-site.log"),
            ready_file: ready_file.clone(),
            apart: true,
        })
    }
}

/// The name under which flows know the demo site.
fn named(site: &str) -> String {
    format!("demo_site={site}")
}

fn demo_site_program(ours: &Path) -> Result<PathBuf, Trouble> {
    let named = std::env::var_os(DEMO_SITE_BIN).filter(|path| !path.is_empty()).map(PathBuf::from);
    let program = named.unwrap_or_else(|| ours.with_file_name(DEMO_SITE));
    if program.is_file() {
        return Ok(program);
    }
    Err(Trouble::failed("the demo site's program is not there")
        .why(format!("{} is no file", program.display()))
        .remedy(format!("build it (`make build`), or name it in {DEMO_SITE_BIN}")))
}
