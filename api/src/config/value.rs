//! From raw text to a typed value, by kind. Pure: one text in, one value or one fault out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use super::keys::{Key, Kind};
use super::{HostPattern, Role, Secret, Site};
use crate::telemetry::{LogFormat, otlp_headers};

/// A value that has the form its kind asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Integer(u32),
    Seconds(Duration),
    Flag(bool),
    Text(String),
    Words(Vec<String>),
    Address(SocketAddr),
    /// The parsed URL, and its text as it was written.
    Url(Url, String),
}

/// What is wrong with a value and how to mend it. Neither text repeats the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl Fault {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl Key {
    /// Reads a raw, non-empty value.
    pub(super) fn parse(&self, raw: &str) -> Result<Setting, Fault> {
        match self.kind {
            Kind::Url { schemes } => parse_url(raw, schemes, self.example).map(|url| Setting::Url(url, raw.to_owned())),
            Kind::Integer { min, max } => self.parse_integer(raw, min, max).map(Setting::Integer),
            Kind::Seconds { min, max } => {
                let secs = self.parse_integer(raw, min, max)?;
                Ok(Setting::Seconds(Duration::from_secs(u64::from(secs))))
            }
            Kind::Bool => parse_bool(raw)
                .map(Setting::Flag)
                .ok_or_else(|| Fault::new("is neither `true` nor `false`", "set it to true or false")),
            Kind::Choice(words) if words.contains(&raw) => Ok(Setting::Text(raw.to_owned())),
            Kind::Choice(words) => {
                Err(Fault::new("is not one of the accepted words", format!("use one of: {}", words.join(", "))))
            }
            Kind::Choices(words) => parse_choices(raw, words).map(Setting::Words),
            Kind::SocketAddress => raw.parse().map(Setting::Address).map_err(|_| {
                Fault::new(
                    "is not an IP address with a port",
                    format!("write it like {}", self.default.unwrap_or("127.0.0.1:7070")),
                )
            }),
            Kind::Path | Kind::Text => Ok(Setting::Text(raw.to_owned())),
            Kind::LogFilter if is_log_filter(raw) => Ok(Setting::Text(raw.to_owned())),
            Kind::LogFilter => Err(Fault::new(
                "is not a log filter",
                "use a level (error, warn, info, debug, trace) or directives such as info,fermata_engine=debug",
            )),
            Kind::HostPatterns => parse_hosts(raw).map(Setting::Words),
            Kind::Origins => parse_origins(raw).map(Setting::Words),
            Kind::Sites => parse_sites(raw).map(Setting::Words),
            Kind::Headers if is_headers(raw) => Ok(Setting::Text(raw.to_owned())),
            Kind::Headers => Err(Fault::new(
                "is not a list of headers",
                "list name=value with commas between; write other characters of a value as %XX",
            )),
        }
    }

    fn parse_integer(&self, raw: &str, min: u32, max: u32) -> Result<u32, Fault> {
        let unit = self.unit.map(|unit| format!(" of {unit}")).unwrap_or_default();
        let remedy = format!("set a whole number{unit} from {min} to {max}");
        let number: i64 = raw.parse().map_err(|_| Fault::new("is not a whole number", remedy.clone()))?;
        u32::try_from(number)
            .ok()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| Fault::new(format!("is outside {min} to {max}"), remedy))
    }

    /// The value as the schema sees it. What cannot be read stays a string, which the schema refuses by type.
    pub(super) fn json(&self, raw: &str) -> Value {
        match self.kind {
            Kind::Integer { .. } | Kind::Seconds { .. } => {
                raw.parse::<i64>().map_or_else(|_| Value::from(raw), Value::from)
            }
            Kind::Bool => parse_bool(raw).map_or_else(|| Value::from(raw), Value::from),
            Kind::Choices(_) | Kind::HostPatterns | Kind::Origins => words(raw).map(Value::from).collect(),
            Kind::Sites => sites_json(raw).unwrap_or_else(|| Value::from(raw)),
            Kind::Url { .. }
            | Kind::Choice(_)
            | Kind::SocketAddress
            | Kind::Path
            | Kind::LogFilter
            | Kind::Headers
            | Kind::Text => Value::from(raw),
        }
    }
}

/// Whether a text is an absolute URL that our clients accept, in the characters of RFC 3986.
pub(super) fn is_url(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    text.bytes().all(legal) && Url::parse(text).is_ok()
}

/// Whether a text is a log filter.
pub(super) fn is_log_filter(text: &str) -> bool {
    tracing_subscriber::EnvFilter::builder().parse(text).is_ok()
}

/// Whether a text is a list of headers.
pub(super) fn is_headers(text: &str) -> bool {
    otlp_headers(text).is_some_and(|headers| !headers.is_empty())
}

/// The members of a comma-separated list.
pub(super) fn words(raw: &str) -> impl Iterator<Item = &str> {
    raw.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn parse_bool(raw: &str) -> Option<bool> {
    match raw {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn parse_url(raw: &str, schemes: &[&str], example: Option<&str>) -> Result<Url, Fault> {
    let remedy = || format!("write it like {}", example.unwrap_or("https://host/path"));
    let prefixed = schemes.iter().any(|scheme| {
        raw.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).is_some_and(|rest| !rest.is_empty())
    });
    if !prefixed {
        return Err(Fault::new(format!("does not start with {}://", schemes.join(":// or ")), remedy()));
    }
    Url::parse(raw).ok().filter(|_| is_url(raw)).ok_or_else(|| Fault::new("is not a URL", remedy()))
}

fn parse_choices(raw: &str, accepted: &[&str]) -> Result<Vec<String>, Fault> {
    let remedy = || format!("list some of these, each once, with commas between: {}", accepted.join(", "));
    let found: Vec<String> = words(raw).map(str::to_owned).collect();
    if found.is_empty() {
        return Err(Fault::new("names nothing", remedy()));
    }
    if found.iter().any(|word| !accepted.contains(&word.as_str())) {
        return Err(Fault::new("holds a word that is not accepted", remedy()));
    }
    let repeated = found.iter().enumerate().any(|(at, word)| found[..at].contains(word));
    if repeated { Err(Fault::new("names something twice", remedy())) } else { Ok(found) }
}

fn parse_hosts(raw: &str) -> Result<Vec<String>, Fault> {
    let found: Vec<String> = words(raw).map(str::to_owned).collect();
    let sound = !found.is_empty() && found.iter().all(|word| word.parse::<HostPattern>().is_ok());
    if sound {
        return Ok(found);
    }
    Err(Fault::new(
        "holds something that is not a host name, *.suffix, address or network",
        "list hosts with commas between, such as localhost,*.internal.example.com,10.1.0.0/16",
    ))
}

fn parse_origins(raw: &str) -> Result<Vec<String>, Fault> {
    let found: Vec<String> = words(raw).map(str::to_owned).collect();
    if !found.is_empty() && found.iter().all(|word| is_origin(word)) {
        return Ok(found);
    }
    Err(Fault::new(
        "holds something that is not an origin",
        "list origins as browsers send them: scheme, lower-case host, and a port that is not the scheme's own, such as \
         https://board.example.com,http://127.0.0.1:5173",
    ))
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
        let in_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        !host.is_empty() && host.bytes().all(in_host) && port.is_none_or(is_port)
    })
}

fn parse_sites(raw: &str) -> Result<Vec<String>, Fault> {
    let remedy = "list NAME=URL with commas between: a lower-case name, each once, and a URL of http or https without \
                  credentials, such as demo_site=http://127.0.0.1:7079";
    let found: Vec<String> = words(raw).map(str::to_owned).collect();
    let sites: Vec<Site> = found.iter().filter_map(|word| word.parse().ok()).collect();
    if found.is_empty() || sites.len() < found.len() {
        return Err(Fault::new("holds something that is not a name and a web address", remedy));
    }
    let repeated = sites.iter().enumerate().any(|(at, site)| sites[..at].iter().any(|other| other.name == site.name));
    if repeated { Err(Fault::new("has a name twice", remedy)) } else { Ok(found) }
}

/// Sites as an object of addresses by name; `None` where a list cannot be told apart or names one twice.
fn sites_json(raw: &str) -> Option<Value> {
    let mut sites = Map::new();
    for word in words(raw) {
        let (name, address) = word.split_once('=')?;
        if sites.insert(name.trim().to_owned(), Value::from(address.trim())).is_some() {
            return None;
        }
    }
    Some(Value::Object(sites))
}

/// A type that a field of [`Config`](super::Config) may have.
pub(super) trait FromSetting: Sized {
    /// `None` when the key's kind does not fit the field: a fault of this program, found by its tests.
    fn from_setting(setting: &Setting) -> Option<Self>;
}

macro_rules! from_setting {
    ($($type:ty: $pattern:pat => $value:expr,)*) => {
        $(impl FromSetting for $type {
            fn from_setting(setting: &Setting) -> Option<Self> {
                match setting { $pattern => $value, _ => None }
            }
        })*
    };
}

from_setting! {
    u32: Setting::Integer(number) => Some(*number),
    usize: Setting::Integer(number) => usize::try_from(*number).ok(),
    Duration: Setting::Seconds(duration) => Some(*duration),
    bool: Setting::Flag(flag) => Some(*flag),
    String: Setting::Text(text) => Some(text.clone()),
    PathBuf: Setting::Text(text) => Some(Self::from(text)),
    LogFormat: Setting::Text(text) => text.parse().ok(),
    SocketAddr: Setting::Address(address) => Some(*address),
    Url: Setting::Url(url, _) => Some(url.clone()),
    Secret: Setting::Url(_, text) | Setting::Text(text) => Some(Self::new(text)),
    Vec<String>: Setting::Words(words) => Some(words.clone()),
    Vec<Role>: Setting::Words(words) => words.iter().map(|word| Role::named(word)).collect(),
    Vec<Site>: Setting::Words(words) => words.iter().map(|word| word.parse().ok()).collect(),
    Vec<HostPattern>: Setting::Words(words) => words.iter().map(|word| word.parse().ok()).collect(),
}
