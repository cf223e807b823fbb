//! What a collector is sent: spans as OTLP has them, and the headers beside them. Pure.

use fermata_engine::trace::{Attribute, Span, SpanKind};
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status, span, status};
use percent_encoding::percent_decode_str;
use prost::Message as _;
use reqwest::Url;

/// What is appended to the endpoint (OTLP/HTTP, section "endpoint").
const PATH: &str = "/v1/traces";
/// The lowest bit of a span's flags: its trace is recorded.
const SAMPLED: u32 = 1;

/// Who tells of the spans.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    /// The name that people look for.
    pub(super) service: String,
    /// This start of this process.
    pub(super) instance: String,
    /// What the process does.
    pub(super) role: String,
}

/// The headers in `OTEL_EXPORTER_OTLP_HEADERS`: `name=value`, with commas between, the values
/// percent-encoded where they must be. `None` when something in it is no header.
pub fn otlp_headers(text: &str) -> Option<HeaderMap> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members
        .map(|member| {
            let (name, value) = member.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.trim()).ok()?, value))
        })
        .collect()
}

/// Where spans are sent below that endpoint.
pub(super) fn address(endpoint: &Url) -> Url {
    let mut address = endpoint.clone();
    address.set_path(&format!("{}{PATH}", endpoint.path().trim_end_matches('/')));
    address
}

/// One request with all of these.
pub(super) fn request(teller: &Teller, spans: Vec<Span>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = vec![
        text("service.name", &teller.service),
        text("service.version", version),
        text("service.instance.id", &teller.instance),
        text("fermata.role", &teller.role),
    ];
    let scope = InstrumentationScope { name: "fermata".to_owned(), version: version.to_owned(), ..Default::default() };
    let scope_spans =
        ScopeSpans { scope: Some(scope), spans: spans.into_iter().map(sent).collect(), ..Default::default() };
    let resource = Resource { attributes, ..Default::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// How many spans of a request the collector would not take, by its answer; an unreadable one says nothing.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}

fn sent(span: Span) -> opentelemetry_proto::tonic::trace::v1::Span {
    let kind = match span.kind {
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Consumer => span::SpanKind::Consumer,
    };
    let nanos = |at: chrono::DateTime<chrono::Utc>| {
        at.timestamp_nanos_opt().and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or_default()
    };
    opentelemetry_proto::tonic::trace::v1::Span {
        trace_id: span.context.trace_bytes().to_vec(),
        span_id: span.context.span_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        flags: if span.context.sampled() { SAMPLED } else { 0 },
        name: span.name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.began),
        end_time_unix_nano: nanos(span.ended.max(span.began)),
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        status: span.error.map(|message| Status { message, code: status::StatusCode::Error.into() }),
        ..Default::default()
    }
}

fn text(name: &str, value: &str) -> KeyValue {
    attribute(name, value.into())
}

fn attribute(name: &str, value: Attribute) -> KeyValue {
    let value = match value {
        Attribute::Text(text) => any_value::Value::StringValue(text),
        Attribute::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_a_list_and_their_values_are_decoded() {
        let headers = otlp_headers("api-key=a%20b%2C, Authorization = Basic%20eA== ,").unwrap();
        assert_eq!(headers["api-key"], "a b,");
        assert_eq!(headers["authorization"], "Basic eA==");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        for bad in ["nothing", "a b=c", "a=%0a", "=c"] {
            assert!(otlp_headers(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_path_of_traces_goes_below_the_endpoint() {
        for (endpoint, wanted) in [
            ("http://h:4318", "http://h:4318/v1/traces"),
            ("https://h/otlp/", "https://h/otlp/v1/traces"),
            ("https://h/a?b=c", "https://h/a/v1/traces?b=c"),
        ] {
            assert_eq!(address(&Url::parse(endpoint).unwrap()).as_str(), wanted);
        }
    }

    #[test]
    fn an_answer_says_how_many_were_rejected() {
        let mut answer = ExportTraceServiceResponse::default();
        assert_eq!(rejected(&answer.encode_to_vec()), 0);
        answer.partial_success.get_or_insert_default().rejected_spans = 3;
        assert_eq!(rejected(&answer.encode_to_vec()), 3);
        assert_eq!(rejected(b"<html>"), 0);
    }
}
