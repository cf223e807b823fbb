//! Everything that one trial needs, running: a database, the demo site, the API, two workers, and a fault
//! proxy on every link between them. Trials follow each other on a stage.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};

use crate::clock;
use crate::fault::{Target, WORKERS};
use crate::program::{Program, Recipe};
use crate::proxy::Proxy;
use crate::trouble::Trouble;

/// How long a node's word is good without renewal, on a stage.
pub(crate) const LEASE_SECS: u64 = 3;
/// The margin after a call's deadline, on a stage.
pub(crate) const CALL_SKEW_SECS: u64 = 1;
/// The rig's own looks into the database.
const LOOKS: u32 = 2;
/// Every link that the proxy stands on.
const LINKS: [&str; 6] = ["db-api", "db-worker-0", "db-worker-1", "api", "api-stream", "site"];
/// The scopes of the stage's one token.
const SCOPES: &str = "admin";

/// Where the programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The release binary.
    pub(crate) fermata: PathBuf,
    /// The same with crash points and mutants.
    pub(crate) rigged: PathBuf,
    pub(crate) site: PathBuf,
    pub(crate) proxy: PathBuf,
    pub(crate) cluster: PathBuf,
}

/// A running stage.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) proxy: Proxy,
    /// The demo site; never hit by a blow: it is the witness.
    _site: Program,
    pub(crate) site_url: String,
    api: Program,
    workers: Vec<Program>,
    /// Looks at everything, past the proxy.
    pub(crate) looks: PgPool,
    database: String,
    pub(crate) token: String,
    pub(crate) control: String,
    pub(crate) telemetry: String,
    pub(crate) http: reqwest::Client,
}

impl Stage {
    /// Starts everything on a new database of the cluster at `url`.
    pub(crate) async fn start(
        programs: &Programs,
        (folder, name): (&Path, &str),
        url: &str,
        (rigged, mutant): (bool, Option<&str>),
    ) -> Result<Self, Trouble> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let program = if rigged { &programs.rigged } else { &programs.fermata };
        let database = database(url, &name.replace('-', "_")).await?;
        let rule: Vec<_> = mutant.map(|name| ("RIGGED_MUTANT".to_owned(), name.to_owned())).into_iter().collect();
        let token = prepare(program, &database, &rule)?;
        let proxy = Proxy::start(&programs.proxy, &folder).await?;
        let postgres = address_of(&database);
        let site = start_site(&programs.site, &folder).await?;
        let (site, site_address) = site;
        let through = proxy.open("site", &site_address, "http").await?;
        let mut env = rule;
        env.extend([
            ("SITES".to_owned(), format!("demo_site=http://{through}")),
            ("ALLOW_PRIVATE_HOSTS".to_owned(), "127.0.0.0/8".to_owned()),
            ("LEASE_SECS".to_owned(), LEASE_SECS.to_string()),
            ("CALL_SKEW_SECS".to_owned(), CALL_SKEW_SECS.to_string()),
            ("FERMATA_ARTIFACTS_DIR".to_owned(), folder.join("artifacts").display().to_string()),
            ("WORKER_SLOTS".to_owned(), "64".to_owned()),
            ("RIGGED_LOG".to_owned(), folder.join("points.log").display().to_string()),
        ]);
        let recipe = |name: &str, role: &str, database: String, more: Vec<(String, String)>| Recipe {
            name: name.to_owned(),
            program: program.clone(),
            args: ["serve", "--role", role].map(str::to_owned).to_vec(),
            env: [env.clone(), vec![("DATABASE_URL".to_owned(), database), data_dir(&folder, name)], more].concat(),
            folder: folder.clone(),
        };
        let (control, telemetry) = (free_address()?, free_address()?);
        let listens =
            vec![("LISTEN_CONTROL".to_owned(), control.clone()), ("LISTEN_TELEMETRY".to_owned(), telemetry.clone())];
        let link = proxy.open("db-api", &postgres, "postgres").await?;
        let mut api = Program::new(recipe("api", "api", at(&database, &link), listens));
        let mut workers = Vec::new();
        for n in 0..WORKERS {
            let link = proxy.open(&format!("db-worker-{n}"), &postgres, "postgres").await?;
            workers.push(Program::new(recipe(&format!("worker-{n}"), "worker", at(&database, &link), Vec::new())));
        }
        api.start(Vec::new())?;
        for worker in &mut workers {
            worker.start(Vec::new())?;
        }
        let fronts = (proxy.open("api", &control, "http").await?, proxy.open("api-stream", &telemetry, "http").await?);
        let mut stage = Self {
            name: name.to_owned(),
            proxy,
            site_url: format!("http://{site_address}"),
            _site: site,
            api,
            workers,
            looks: looks(&database).await?,
            database,
            token,
            control: format!("http://{}", fronts.0),
            telemetry: format!("ws://{}", fronts.1),
            http: reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?,
            folder,
        };
        stage.up().await?;
        Ok(stage)
    }

    pub(crate) fn program(&mut self, target: Target) -> Option<&mut Program> {
        match target {
            Target::Api => Some(&mut self.api),
            Target::Worker(n) => self.workers.get_mut(n),
        }
    }

    /// Everything runs as it should, with no fault armed, and answers.
    pub(crate) async fn up(&mut self) -> Result<(), Trouble> {
        for link in LINKS {
            self.proxy.clear(link).await?;
        }
        for program in std::iter::once(&mut self.api).chain(&mut self.workers) {
            program.signal(nix::sys::signal::Signal::SIGCONT)?;
            if program.is_special() || !program.is_running()? {
                program.start(Vec::new())?;
            }
        }
        for program in std::iter::once(&mut self.api).chain(&mut self.workers) {
            program.ready().await?;
        }
        let http = self.http.clone();
        let url = format!("{}/ready", self.control);
        let answers = clock::until(Duration::from_secs(30), || async {
            http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        });
        if answers.await { Ok(()) } else { Err(self.api.trouble("/ready does not say so")) }
    }

    /// How often faults of links have struck since the stage began.
    pub(crate) async fn struck(&self) -> Result<u64, Trouble> {
        let mut struck = 0;
        for link in LINKS {
            let told = self.proxy.tell(&json!({"op": "stats", "name": link})).await?;
            let fired = told["stats"]["fired"].as_object();
            struck += fired.map_or(0, |kinds| kinds.values().filter_map(Value::as_u64).sum());
        }
        Ok(struck)
    }

    /// Where rigged processes say which points they reached.
    pub(crate) fn points_log(&self) -> PathBuf {
        self.folder.join("points.log")
    }

    /// Postgres answers at another address from now on.
    pub(crate) async fn move_postgres(&mut self, address: &str) -> Result<(), Trouble> {
        for link in ["db-api", "db-worker-0", "db-worker-1"] {
            self.proxy.tell(&json!({"op": "upstream", "name": link, "upstream": address})).await?;
        }
        self.database = at(&self.database, address);
        self.looks.close().await;
        self.looks = looks(&self.database).await?;
        Ok(())
    }

    /// How the demo site treats requests about references that begin with `prefix`.
    pub(crate) async fn set_site_plan(&self, prefix: &str, plan: &Value) -> Result<(), Trouble> {
        let url = format!("{}/_plans/{prefix}", self.site_url);
        self.http.put(url).json(plan).send().await?.error_for_status()?;
        Ok(())
    }

    pub(crate) async fn forget_site_plan(&self, prefix: &str) -> Result<(), Trouble> {
        let url = format!("{}/_plans/{prefix}", self.site_url);
        self.http.delete(url).send().await?.error_for_status()?;
        Ok(())
    }

    /// How often a program asked the site for anything since it started.
    pub(crate) async fn requests(&self) -> Result<u64, Trouble> {
        let url = format!("{}/_traffic", self.site_url);
        let told: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        told["requests"].as_u64().ok_or_else(|| Trouble::Answer("the site does not say how much is asked of it".into()))
    }

    /// Each request for an effect with a reference that begins with `prefix`, of a plan in force.
    pub(crate) async fn calls(&self, prefix: &str) -> Result<Vec<Value>, Trouble> {
        let url = format!("{}/_plans/{prefix}/log", self.site_url);
        let mut told: Value = self.http.get(url).send().await?.error_for_status()?.json().await?;
        match (told["decisions"].take(), told["forgotten"].as_u64()) {
            (Value::Array(calls), Some(0)) => Ok(calls),
            _ => Err(Trouble::Answer(format!("the site does not know each request for {prefix}"))),
        }
    }

    /// What the site really did about references that begin with `prefix`.
    pub(crate) async fn ledger(&self, prefix: &str) -> Result<Vec<Value>, Trouble> {
        let url = format!("{}/_ledger?prefix={prefix}", self.site_url);
        Ok(self.http.get(url).send().await?.error_for_status()?.json().await?)
    }
}

/// The stage's database, and a token for every client in it.
fn prepare(program: &Path, database: &str, rule: &[(String, String)]) -> Result<String, Trouble> {
    let run = |args: &[&str]| -> Result<String, Trouble> {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("DATABASE_URL", database).envs(rule.iter().cloned());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let output = command.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Trouble::Answer(format!("`fermata {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr))))
    };
    run(&["migrate"])?;
    let made = run(&["token", "create", "--client", "*", "--scope", SCOPES, "--name", "rig", "--json"])?;
    let made: Value = serde_json::from_str(&made)?;
    made["token"].as_str().map(str::to_owned).ok_or_else(|| Trouble::Answer(format!("no token in {}", json!(made))))
}

async fn start_site(program: &Path, folder: &Path) -> Result<(Program, String), Trouble> {
    let mut site = Program::new(Recipe {
        name: "site".into(),
        program: program.to_owned(),
        args: vec!["--ledger".into(), folder.join("ledger.jsonl").display().to_string()],
        env: Vec::new(),
        folder: folder.to_owned(),
    });
    site.start(Vec::new())?;
    let ready = site.ready().await?;
    let url = ready["url"].as_str().unwrap_or_default();
    let address = url.strip_prefix("http://").unwrap_or_default().to_owned();
    Ok((site, address))
}

async fn database(url: &str, name: &str) -> Result<String, Trouble> {
    let mut admin = PgConnection::connect(url).await?;
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await?;
    admin.close().await?;
    let (server, _) = url.rsplit_once('/').ok_or_else(|| Trouble::Answer("the URL names no database".into()))?;
    Ok(format!("{server}/{name}"))
}

/// The rig's own connections: they see every client's rows and change nothing.
async fn looks(database: &str) -> Result<PgPool, Trouble> {
    let options: PgConnectOptions = database.parse()?;
    let pool = PgPoolOptions::new().max_connections(LOOKS).acquire_timeout(Duration::from_secs(30));
    let pool = pool.after_connect(|connection, _| {
        Box::pin(async move { connection.execute("set role fermata_writer").await.map(drop) })
    });
    Ok(pool.connect_with(options).await?)
}

fn address_of(url: &str) -> String {
    let host = url.rsplit_once('@').map_or("", |(_, rest)| rest);
    host.split_once('/').map_or(host, |(address, _)| address).to_owned()
}

/// The same database at another address.
fn at(url: &str, address: &str) -> String {
    url.replace(&address_of(url), address)
}

fn data_dir(folder: &Path, name: &str) -> (String, String) {
    ("FERMATA_DATA_DIR".to_owned(), folder.join(name).display().to_string())
}

/// Ports that nobody is given who asks for any: below where Linux takes those (32768) for connections going out. A
/// port from there can be somebody's by the time that a killed program is started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// An address that is free now, and stays the same over all starts of a program.
fn free_address() -> Result<String, Trouble> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start)).unwrap_or_default();
    for _ in PORTS {
        let step = first.wrapping_add(NEXT.fetch_add(1, Ordering::SeqCst)) % (PORTS.end - PORTS.start);
        if let Ok(free) = std::net::TcpListener::bind(("127.0.0.1", PORTS.start + step)) {
            return Ok(free.local_addr()?.to_string());
        }
    }
    Err(std::io::Error::from(std::io::ErrorKind::AddrNotAvailable).into())
}
