//! Log lines: one flat JSON object each, or a line for people; fields of the enclosing spans are lifted into it.
//!
//! The names that the documents fix are written as they fix them (`requestId`, `runId`, `latencyMs`,
//! `errorCode`), whatever case the code used. Every string passes [`redact`].

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use fermata_workflows::browser::TALKATIVE_LOG_TARGET;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use super::redact::{REDACTED, is_secret_name, redact};

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object per line, for machines.
    Json,
    /// A line for people.
    Pretty,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "pretty" => Ok(Self::Pretty),
            _ => Err(LogError::Format),
        }
    }
}

/// Who writes the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOrigin {
    /// The program: `fermata`.
    pub service: String,
    /// What this process does: `api`, `worker`, `api,worker`.
    pub role: String,
}

/// Logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The word is neither `json` nor `pretty`.
    #[error("log format is neither json nor pretty")]
    Format,
    /// The filter cannot be read.
    #[error("log filter cannot be read")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Another subscriber was there first.
    #[error("logging was already started")]
    Taken(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging to stderr for the whole process; panics become lines too. A line is one write; a failed write is dropped.
pub fn init_logs(format: LogFormat, filter: &str, origin: LogOrigin) -> Result<(), LogError> {
    let quiet = format!("{TALKATIVE_LOG_TARGET}=info").parse().map_err(LogError::Filter)?;
    let filter = EnvFilter::builder().parse(filter).map_err(LogError::Filter)?.add_directive(quiet);
    let lines = LogLines::new(format, origin, wall_time, |line: &str| {
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(LogError::Taken)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(event = "process.panicked", place, "panicked at {place}: {what}");
    }));
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a log line carries the wall time; no decision is taken from it")]
fn wall_time() -> DateTime<Utc> {
    Utc::now()
}

/// The layer that turns events into lines. Clock and output are handed in.
pub struct LogLines<W> {
    format: LogFormat,
    origin: LogOrigin,
    now: fn() -> DateTime<Utc>,
    write: W,
}

impl<W: Fn(&str)> LogLines<W> {
    /// A layer that gives each finished line, with its line feed, to `write`.
    pub fn new(format: LogFormat, origin: LogOrigin, now: fn() -> DateTime<Utc>, write: W) -> Self {
        Self { format, origin, now, write }
    }

    fn json(&self, level: Level, target: &str, fields: Map<String, Value>) -> String {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), self.timestamp().into());
        line.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
        line.insert("service".to_owned(), self.origin.service.clone().into());
        line.insert("role".to_owned(), self.origin.role.clone().into());
        line.insert("target".to_owned(), target.into());
        for (name, value) in fields {
            let name = if line.contains_key(&name) { format!("field.{name}") } else { name };
            line.insert(name, value);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        text
    }

    fn pretty(&self, level: Level, target: &str, fields: &Map<String, Value>) -> String {
        let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
        let time = self.timestamp();
        let mut text = format!("{} {level:>5} {target}: {message}", time.get(11..23).unwrap_or(&time));
        for (name, value) in fields {
            // The event's name is of use only where it says more than the target does.
            if name == "message" || (name == "event" && value.as_str() == Some(target)) {
                continue;
            }
            let _ = match value {
                Value::String(value) if !value.contains(char::is_whitespace) => {
                    write!(text, " {name}={value}")
                }
                value => write!(text, " {name}={value}"),
            };
        }
        // A message of several lines must not pass for several events.
        text = text.replace('\n', "\n    ");
        text.push('\n');
        text
    }

    fn timestamp(&self) -> String {
        (self.now)().to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl<S, W> Layer<S> for LogLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        let mut innermost = None;
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            innermost = Some(span.name());
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.0.extend(outer.0.clone());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let name = innermost.unwrap_or(metadata.target());
        fields.0.entry("event").or_insert_with(|| name.into());
        let line = match self.format {
            LogFormat::Json => self.json(*metadata.level(), metadata.target(), fields.0),
            LogFormat::Pretty => self.pretty(*metadata.level(), metadata.target(), &fields.0),
        };
        (self.write)(&line);
    }
}

/// Fields of a span or an event, redacted, under the names that the log schema fixes.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "request_id" | "request.id" => "requestId",
            "run_id" | "run.id" => "runId",
            "latency_ms" => "latencyMs",
            "error_code" | "error.code" => "errorCode",
            "trace.id" => "trace_id",
            "span.id" => "span_id",
            "timestamp" => "field.timestamp",
            "level" => "field.level",
            "target" => "field.target",
            name => name,
        };
        let value = if is_secret_name(name) { REDACTED.into() } else { value };
        self.0.insert(name.to_owned(), value);
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        self.put(field, Value::from(redact(text).as_ref()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            let _ = write!(text, ": {error}");
            source = error.source();
        }
        self.put_text(field, &text);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put_text(field, &value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put_text(field, &value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::{info, info_span, warn};

    use super::*;

    fn lines(format: LogFormat, filter: &str, work: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let origin = LogOrigin { service: "fermata".to_owned(), role: "worker".to_owned() };
        let write = move |line: &str| sink.lock().unwrap().push(line.to_owned());
        let layer = LogLines::new(format, origin, || DateTime::UNIX_EPOCH, write);
        let filter: EnvFilter = filter.parse().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.with_filter(filter)), work);
        Arc::try_unwrap(lines).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_line_is_one_flat_object_with_the_fields_of_its_spans() {
        let lines = lines(LogFormat::Json, "info", || {
            let outer =
                info_span!("rest.commands.submit", request_id = "r-1", actor = "ci", run.id = tracing::field::Empty);
            let _outer = outer.enter();
            outer.record("run.id", "run-9");
            let _inner = info_span!("store.run.insert", actor = "worker", trace_id = "4bf9").entered();
            warn!(
                event = "run.failed",
                status = 503_u16,
                latency_ms = 12.5,
                error_code = "UPSTREAM",
                level = 3,
                "two\nlines"
            );
        });

        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with("}\n") && lines[0].trim_end().lines().count() == 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            line,
            json!({
                "timestamp": "1970-01-01T00:00:00.000Z", "level": "warn", "service": "fermata", "role": "worker",
                "target": module_path!(), "requestId": "r-1", "runId": "run-9", "actor": "worker", "trace_id": "4bf9",
                "event": "run.failed", "status": 503, "latencyMs": 12.5, "errorCode": "UPSTREAM",
                "field.level": 3, "message": "two\nlines",
            })
        );
    }

    #[test]
    fn an_event_without_a_name_takes_that_of_its_span() {
        let lines = lines(LogFormat::Json, "info", || {
            let _span = info_span!("worker.run.drive").entered();
            info!("go");
        });
        assert!(lines[0].contains(r#""event":"worker.run.drive""#), "{}", lines[0]);
    }

    #[test]
    fn no_canary_reaches_a_line_in_either_format() {
        const CANARY: &str = "hunter2canary99";
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let lines = lines(format, "info", || {
                let _span = info_span!("s", url = "postgres://u:hunter2canary99@h/d", api_key = CANARY).entered();
                let error = std::io::Error::other(format!("password={CANARY}"));
                let source: &dyn std::error::Error = &error;
                info!(error = source, payload = ?vec![CANARY], header = %format!("Bearer {CANARY}"), "token={CANARY}");
            });
            assert_eq!(lines.len(), 1);
            assert!(!lines[0].contains(CANARY), "{}", lines[0]);
            assert!(lines[0].matches(REDACTED).count() >= 6, "{}", lines[0]);
        }
    }

    #[test]
    fn a_line_for_people_reads_from_left_to_right() {
        let lines = lines(LogFormat::Pretty, "info,hidden=off", || {
            info!(target: "fermata::boot", run_id = "r", why = "two words", "ready");
            info!(target: "hidden", "never seen");
        });
        assert_eq!(lines, ["00:00:00.000  INFO fermata::boot: ready runId=r why=\"two words\"\n"]);
    }
}
