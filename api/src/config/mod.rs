//! One configuration for every role, checked whole before anything starts.
//!
//! Owns the keys (`keys.rs`, the only place that lists them), where their values come from (`sources.rs`),
//! and the report of everything that is wrong. Knows nothing of what a setting does.
//! Read [`Key`] and [`Config`] first. To add a key, see `keys.rs`.

mod keys;
mod report;
mod schema;
mod secret;
mod site;
mod sources;
#[cfg(test)]
mod tests;
mod value;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use keys::{GROUPS, Group, Key, Kind, key_named, keys};
pub use report::{ConfigReport, Invalid, Note};
pub use schema::{env_example, json_schema, validator};
pub use secret::Secret;
pub use site::{NotASite, Site};
pub use sources::{Origin, Sources};

pub use fermata_workflows::HostPattern;

use crate::telemetry::LogFormat;
use value::{FromSetting, Setting};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// REST, GraphQL, the event stream.
    Api,
    /// Runs commands.
    Worker,
    /// Owns browsers.
    Browser,
    /// Takes in log lines and finds them again (logging-svc).
    Logging,
    /// Speaks with Render (renderctl-svc).
    Renderctl,
    /// Mirrors what it is sent (echo-agent-svc).
    Echo,
    /// `fermata dev`, which starts the others on loopback. Requires nothing, has defaults of its own.
    Dev,
    /// A command that comes and goes, such as `fermata migrate`. Requires nothing.
    Tool,
}

impl Role {
    /// Names that `FERMATA_ROLES` and `--role` accept.
    pub const SERVED: &'static [&'static str] = &["api", "worker", "browser", "logging", "renderctl", "echo"];
    /// Every role that a process serves.
    pub const ALL: [Self; 6] = [Self::Api, Self::Worker, Self::Browser, Self::Logging, Self::Renderctl, Self::Echo];

    /// Name in configuration, logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Browser => "browser",
            Self::Logging => "logging",
            Self::Renderctl => "renderctl",
            Self::Echo => "echo",
            Self::Dev => "dev",
            Self::Tool => "tool",
        }
    }

    /// The served role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// The settings of a process, all of them valid.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
#[derive(Clone, Debug)]
pub struct Config {
    /// What this process does.
    pub roles: Vec<Role>,
    /// `FERMATA_CONFIG`.
    pub config_file: Option<PathBuf>,
    /// `FERMATA_DATA_DIR`.
    pub data_dir: PathBuf,
    /// `FERMATA_ARTIFACTS_DIR`, or `artifacts` in the data folder.
    pub artifacts_dir: PathBuf,
    /// `AUDIT_KEY_FILE`, or `audit-key.pem` in the data folder.
    pub audit_key_file: PathBuf,
    /// `AUDIT_HEADS_FILE`, or `audit-heads.ndjson` in the data folder.
    pub audit_heads_file: PathBuf,
    /// `AUDIT_HEADS_URL`.
    pub audit_heads_url: Option<Secret>,
    /// `FERMATA_DRAIN_SECS`.
    pub drain: Duration,
    /// `DATABASE_URL`; set whenever a served role is among the roles.
    pub database_url: Option<Secret>,
    /// `DATABASE_POOLER_URL`.
    pub database_pooler_url: Option<Secret>,
    /// `DB_MAX_CONNECTIONS`.
    pub db_max_connections: u32,
    /// `WRITER_CONNECTIONS`.
    pub writer_connections: u32,
    /// `NEIGHBOURS`.
    pub neighbours: bool,
    /// `ALLOW_UNSAFE_DURABILITY`.
    pub allow_unsafe_durability: bool,
    /// `LISTEN_CONTROL`.
    pub listen_control: SocketAddr,
    /// `LISTEN_TELEMETRY`.
    pub listen_telemetry: SocketAddr,
    /// `PUBLIC_BASE_URL`; when not set, links are built from the bound control address.
    pub public_base_url: Option<Url>,
    /// `MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// `REQUEST_TIMEOUT_SECS`.
    pub request_timeout: Duration,
    /// `MAX_IN_FLIGHT`.
    pub max_in_flight: usize,
    /// `RATE_LIMIT_PER_MINUTE`.
    pub rate_limit_per_minute: u32,
    /// `RATE_LIMIT_BURST`.
    pub rate_limit_burst: u32,
    /// `MAX_STREAMS`.
    pub max_streams: usize,
    /// `STREAM_HEARTBEAT_SECS`.
    pub stream_heartbeat: Duration,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// `PROBES_REQUIRE_AUTH`.
    pub probes_require_auth: bool,
    /// `GRAPHQL_PERSISTED_ONLY`.
    pub graphql_persisted_only: bool,
    /// `GRAPHIQL`.
    pub graphiql: bool,
    /// `DEFAULT_CLIENT`.
    pub default_client: Option<String>,
    /// `WORKER_SLOTS`.
    pub worker_slots: usize,
    /// `LEASE_SECS`.
    pub lease: Duration,
    /// `CALL_SKEW_SECS`.
    pub call_skew: Duration,
    /// `SITES`.
    pub sites: Vec<Site>,
    /// `CLASSIFIERS`.
    pub classifiers: Vec<Site>,
    /// `ALLOW_PRIVATE_HOSTS`.
    pub allow_private_hosts: Vec<HostPattern>,
    /// `FERMATA_WEBDRIVER_URL`; it may carry credentials.
    pub webdriver_url: Option<Secret>,
    /// `MAX_SESSIONS`.
    pub max_sessions: usize,
    /// `LISTEN_LOGGING`.
    pub listen_logging: SocketAddr,
    /// `LISTEN_RENDERCTL`.
    pub listen_renderctl: SocketAddr,
    /// `LISTEN_ECHO`.
    pub listen_echo: SocketAddr,
    /// `INTERNAL_KEY`.
    pub internal_key: Option<Secret>,
    /// `RENDER_API_BASE_URL`.
    pub render_api_base_url: Url,
    /// `RENDER_API_TOKEN`.
    pub render_api_token: Option<Secret>,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `FERMATA_LOG`.
    pub log_filter: String,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<Url>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    pub otlp_headers: Option<Secret>,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// What was found out while loading; `ok`, but it may name unknown keys.
    pub report: ConfigReport,
    environment: BTreeMap<&'static str, Secret>,
}

impl Config {
    /// Reads and checks everything. With no roles given, those of `FERMATA_ROLES` are meant.
    ///
    /// The error is the whole report; the program ends with exit code 10 on it.
    pub fn load(roles: &[Role], sources: &Sources) -> Result<Self, Box<ConfigReport>> {
        let (config, report) = evaluate(roles, sources);
        config.ok_or_else(|| Box::new(report))
    }

    /// What differs from the plain defaults, for the environment of a child process. Holds secrets.
    pub fn child_environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.environment.iter().map(|(name, value)| (*name, value.expose()))
    }

    fn read(values: &Values, roles: Vec<Role>, report: ConfigReport) -> Result<Self, Unfit> {
        let data_dir: PathBuf = values.get("FERMATA_DATA_DIR")?;
        Ok(Self {
            roles,
            config_file: values.optional("FERMATA_CONFIG")?,
            artifacts_dir: values.optional("FERMATA_ARTIFACTS_DIR")?.unwrap_or_else(|| data_dir.join("artifacts")),
            audit_key_file: values.optional("AUDIT_KEY_FILE")?.unwrap_or_else(|| data_dir.join("audit-key.pem")),
            audit_heads_file: values
                .optional("AUDIT_HEADS_FILE")?
                .unwrap_or_else(|| data_dir.join("audit-heads.ndjson")),
            audit_heads_url: values.optional("AUDIT_HEADS_URL")?,
            data_dir,
            drain: values.get("FERMATA_DRAIN_SECS")?,
            database_url: values.optional("DATABASE_URL")?,
            database_pooler_url: values.optional("DATABASE_POOLER_URL")?,
            db_max_connections: values.get("DB_MAX_CONNECTIONS")?,
            writer_connections: values.get("WRITER_CONNECTIONS")?,
            neighbours: values.get("NEIGHBOURS")?,
            allow_unsafe_durability: values.get("ALLOW_UNSAFE_DURABILITY")?,
            listen_control: values.get("LISTEN_CONTROL")?,
            listen_telemetry: values.get("LISTEN_TELEMETRY")?,
            public_base_url: values.optional("PUBLIC_BASE_URL")?,
            max_body_bytes: values.get("MAX_BODY_BYTES")?,
            request_timeout: values.get("REQUEST_TIMEOUT_SECS")?,
            max_in_flight: values.get("MAX_IN_FLIGHT")?,
            rate_limit_per_minute: values.get("RATE_LIMIT_PER_MINUTE")?,
            rate_limit_burst: values.get("RATE_LIMIT_BURST")?,
            max_streams: values.get("MAX_STREAMS")?,
            stream_heartbeat: values.get("STREAM_HEARTBEAT_SECS")?,
            allowed_origins: values.optional("ALLOWED_ORIGINS")?.unwrap_or_default(),
            probes_require_auth: values.get("PROBES_REQUIRE_AUTH")?,
            graphql_persisted_only: values.get("GRAPHQL_PERSISTED_ONLY")?,
            graphiql: values.get("GRAPHIQL")?,
            default_client: values.optional("DEFAULT_CLIENT")?,
            worker_slots: values.get("WORKER_SLOTS")?,
            lease: values.get("LEASE_SECS")?,
            call_skew: values.get("CALL_SKEW_SECS")?,
            sites: values.optional("SITES")?.unwrap_or_default(),
            classifiers: values.optional("CLASSIFIERS")?.unwrap_or_default(),
            allow_private_hosts: values.optional("ALLOW_PRIVATE_HOSTS")?.unwrap_or_default(),
            webdriver_url: values.optional("FERMATA_WEBDRIVER_URL")?,
            max_sessions: values.get("MAX_SESSIONS")?,
            listen_logging: values.get("LISTEN_LOGGING")?,
            listen_renderctl: values.get("LISTEN_RENDERCTL")?,
            listen_echo: values.get("LISTEN_ECHO")?,
            internal_key: values.optional("INTERNAL_KEY")?,
            render_api_base_url: values.get("RENDER_API_BASE_URL")?,
            render_api_token: values.optional("RENDER_API_TOKEN")?,
            log_format: values.get("LOG_FORMAT")?,
            log_filter: values.get("FERMATA_LOG")?,
            otlp_endpoint: values.optional("OTEL_EXPORTER_OTLP_ENDPOINT")?,
            otlp_headers: values.optional("OTEL_EXPORTER_OTLP_HEADERS")?,
            service_name: values.get("OTEL_SERVICE_NAME")?,
            report,
            environment: values.environment.clone(),
        })
    }
}

/// What [`Config::load`] would say, without starting anything: the body of `fermata config check --json`
/// and of `GET /config/validate`.
pub fn build_config_report(roles: &[Role], sources: &Sources) -> ConfigReport {
    evaluate(roles, sources).1
}

/// Values that have been read, and who asked for which.
#[derive(Default)]
struct Values {
    settings: BTreeMap<&'static str, Setting>,
    environment: BTreeMap<&'static str, Secret>,
    asked: RefCell<Vec<&'static str>>,
}

/// A field of [`Config`] asks for a key that has no value, or one of another kind: our own mistake.
struct Unfit(&'static str);

impl Values {
    fn optional<T: FromSetting>(&self, name: &'static str) -> Result<Option<T>, Unfit> {
        self.asked.borrow_mut().push(name);
        self.settings.get(name).map(|setting| T::from_setting(setting).ok_or(Unfit(name))).transpose()
    }

    fn get<T: FromSetting>(&self, name: &'static str) -> Result<T, Unfit> {
        self.optional(name)?.ok_or(Unfit(name))
    }
}

/// What was gathered about all keys before judgement.
#[derive(Default)]
struct Reading {
    values: Values,
    document: Map<String, Value>,
    invalid: Vec<Invalid>,
    hash: Sha256,
}

impl Reading {
    fn take(&mut self, key: &'static Key, raw: &str, origin: &Origin) {
        self.document.insert(key.name.to_owned(), key.json(raw));
        // A secret tells the hash only that it is set.
        self.hash.update(format!("{}={}\n", key.name, if key.secret { "set" } else { raw }));
        if *origin != Origin::Default || key.default != Some(raw) {
            self.values.environment.insert(key.name, Secret::new(raw));
        }
        match key.parse(raw) {
            Ok(setting) => {
                self.values.settings.insert(key.name, setting);
            }
            Err(fault) => self.invalid.push(Invalid {
                key: key.name.to_owned(),
                reason: fault.reason,
                origin: origin.to_string(),
                remedy: fault.remedy,
            }),
        }
    }

    /// Lets the published schema have the last word: it may refuse what our parsers let through, never the reverse.
    fn ask_schema(&mut self) {
        let refusals: Vec<(String, String)> = match validator() {
            Ok(validator) => validator
                .iter_errors(&Value::Object(std::mem::take(&mut self.document)))
                .filter(|error| error.kind().keyword() != "required")
                .map(|error| (error.instance_path().to_string(), error.kind().keyword().to_owned()))
                .collect(),
            Err(error) => vec![("/config.schema.json".to_owned(), error.kind().keyword().to_owned())],
        };
        for (path, keyword) in refusals {
            let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            if self.invalid.iter().any(|known| known.key == name) {
                continue;
            }
            self.invalid.push(Invalid {
                key: name.to_owned(),
                reason: format!("is refused by the schema's `{keyword}`"),
                origin: "infra/config.schema.json".to_owned(),
                remedy: key_named(name).map(|key| key.doc.to_owned()).unwrap_or_default(),
            });
        }
    }
}

const ROLES: &str = "FERMATA_ROLES";

/// The roles that `FERMATA_ROLES` names; those of its default when it names none that we know, so that
/// the report says more than that.
fn configured_roles(sources: &Sources) -> Vec<Role> {
    let key = key_named(ROLES);
    let set = key.and_then(|key| sources.resolve(key)).map(|(raw, _)| raw);
    let default = key.and_then(|key| key.default).map(str::to_owned);
    let named = |words: String| value::words(&words).filter_map(Role::named).collect::<Vec<_>>();
    let mut named = [set, default].into_iter().flatten().map(named);
    named.find(|roles| !roles.is_empty()).unwrap_or_default()
}

fn missing(key: &Key) -> Note {
    let names = key.required_for.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ");
    let example = key.example.map(|example| format!(", such as {}={example}", key.name)).unwrap_or_default();
    Note {
        key: key.name.to_owned(),
        origin: "not set".to_owned(),
        remedy: format!("set it{example} (needed by {names}): {}", key.doc),
    }
}

fn evaluate(roles: &[Role], sources: &Sources) -> (Option<Config>, ConfigReport) {
    let given = !roles.is_empty();
    let roles = if given { roles.to_vec() } else { configured_roles(sources) };
    let served: Vec<&str> = roles.iter().map(|role| role.name()).filter(|name| Role::SERVED.contains(name)).collect();
    let served = Some((served.join(","), Origin::CommandLine)).filter(|_| given && !served.is_empty());
    let mut reading = Reading { invalid: sources.faults().to_vec(), ..Reading::default() };
    let mut notes = Vec::new();
    for key in keys() {
        let default = || key.default_for(&roles).map(|value| (value.to_owned(), Origin::Default));
        let flag = served.clone().filter(|_| key.name == ROLES);
        if let Some((raw, origin)) = flag.or_else(|| sources.resolve(key)).or_else(default) {
            reading.take(key, &raw, &origin);
        } else if key.required_for.iter().any(|role| roles.contains(role)) {
            notes.push(missing(key));
        }
    }
    reading.ask_schema();
    let missing: Vec<String> = notes.iter().map(|note| note.key.clone()).collect();
    let unknown = sources.unknown();
    let mut report = ConfigReport {
        service: roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(","),
        ok: missing.is_empty() && reading.invalid.is_empty(),
        missing,
        invalid: reading.invalid,
        unknown: unknown.iter().map(|note| note.key.clone()).collect(),
        hash: hex::encode(reading.hash.finalize_reset()),
        notes: notes.into_iter().chain(unknown).collect(),
    };
    if !report.ok {
        return (None, report);
    }
    match Config::read(&reading.values, roles, report.clone()) {
        Ok(config) => (Some(config), report),
        Err(Unfit(name)) => {
            report.ok = false;
            report.invalid.push(Invalid {
                key: name.to_owned(),
                reason: "does not fit the field that reads it".to_owned(),
                origin: "api/src/config/mod.rs".to_owned(),
                remedy: "report this as a bug".to_owned(),
            });
            (None, report)
        }
    }
}
