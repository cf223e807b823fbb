//! A request with every template filled. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fermata_engine::trace::TraceContext;
use http::{HeaderName, HeaderValue, Method as HttpMethod};
use reqwest::Url;

use super::lane::HttpError;
use crate::flow::document::{HttpCall, Method};
use crate::flow::late::{Late, Text};
use crate::flow::limits::{HTTP_TIMEOUT, MAX_TIMEOUT_S};
use crate::flow::scope::{FillError, Scope};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request that is ready to be sent. It may hold secrets in every part but its host.
#[derive(Clone)]
pub(crate) struct Request {
    pub(super) method: HttpMethod,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) timeout: Duration,
}

impl Request {
    /// Fills a request: its address from `scope`, its parts from `opened`, which is the same with
    /// the values of unrecorded steps.
    pub(crate) fn filled(call: &HttpCall, scope: &Scope, opened: &Scope) -> Result<Self, HttpError> {
        let Text(address) = call.url.fill(scope, "url")?;
        let mut url = Url::parse(&address).map_err(|error| HttpError::Address { why: error.to_string() })?;
        let query = pairs(&call.query, opened)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = Vec::new();
        for (name, value) in pairs(&call.headers, opened)? {
            let wrong = || HttpError::Header { name: name.clone() };
            let parsed = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.push((parsed, value));
        }
        let (body, content_type) = body(call, opened)?;
        let has_type = headers.iter().any(|(name, _)| *name == http::header::CONTENT_TYPE);
        if let (Some(content_type), false) = (content_type, has_type) {
            headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        }
        let timeout = match call.timeout_s {
            Some(time) => time.within(MAX_TIMEOUT_S, "timeout_s")?,
            None => HTTP_TIMEOUT,
        };
        Ok(Self { method: method(call.method), url, headers, body, timeout })
    }

    /// A question that is posted as JSON, with the answer within `timeout`.
    pub(crate) fn question(url: Url, body: Vec<u8>, timeout: Duration) -> Self {
        let headers = vec![(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Self { method: HttpMethod::POST, url, headers, body: Some(body), timeout }
    }

    /// The same with another bound on its time.
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// The same with the key of its effect (the IETF's Idempotency-Key header draft; S-022, S-038), unless the flow wrote
    /// that header itself.
    pub(crate) fn keyed(self, key: &str) -> Self {
        let written = self.headers.iter().any(|(name, _)| name.as_str() == IDEMPOTENCY_KEY);
        if written { self } else { self.with_header(IDEMPOTENCY_KEY, key) }
    }

    /// The same with where it comes from: the lease (`Fermata-Fence`) and the place in the trace.
    pub(crate) fn sent_by(self, fence: &str, trace: TraceContext) -> Self {
        self.with_header("fermata-fence", fence).with_header("traceparent", &trace.to_string())
    }

    /// The same with a header of our own, in place of one that the flow named the same.
    fn with_header(mut self, name: &'static str, value: &str) -> Self {
        // What we put into headers (keys, fences, dates) is visible ASCII.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.retain(|(other, _)| other.as_str() != name);
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.host_str().unwrap_or_default())
    }
}

fn pairs(texts: &BTreeMap<String, Late<Text>>, scope: &Scope) -> Result<Vec<(String, String)>, FillError> {
    let mut filled = Vec::new();
    for (name, text) in texts {
        if let Some(Text(text)) = text.fill_optional(scope, name)? {
            filled.push((name.clone(), text));
        }
    }
    Ok(filled)
}

type Body = (Option<Vec<u8>>, Option<&'static str>);

fn body(call: &HttpCall, scope: &Scope) -> Result<Body, FillError> {
    if let Some(json) = &call.json {
        return Ok((Some(scope.fill(json)?.to_string().into_bytes()), Some("application/json")));
    }
    if let Some(form) = &call.form {
        let mut encoded = reqwest::Url::parse("form:")
            .map_err(|error| FillError::Shape { field: "form".to_owned(), why: error.to_string() })?;
        encoded.query_pairs_mut().extend_pairs(pairs(form, scope)?);
        let text = encoded.query().unwrap_or_default().to_owned();
        return Ok((Some(text.into_bytes()), Some("application/x-www-form-urlencoded")));
    }
    match &call.body {
        Some(text) => Ok((Some(text.fill(scope, "body")?.0.into_bytes()), Some("text/plain; charset=utf-8"))),
        None => Ok((None, None)),
    }
}

fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Head => HttpMethod::HEAD,
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Patch => HttpMethod::PATCH,
        Method::Delete => HttpMethod::DELETE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn filled(call: Value) -> Result<Request, HttpError> {
        let scope = Scope::default().with("inputs", json!({"q": "a&b c", "n": 1, "crlf": "x\r\ny: z"}));
        Request::filled(&serde_json::from_value(call).unwrap(), &scope, &scope)
    }

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        let request = filled(json!({"method": "GET", "url": "http://h/p?x=1",
            "query": {"q": "${inputs.q}", "n": "${inputs.n}", "none": "${inputs.none}"}}))
        .unwrap();
        assert_eq!(request.url.as_str(), "http://h/p?x=1&n=1&q=a%26b+c");
    }

    #[test]
    fn a_json_body_keeps_its_types() {
        let request = filled(
            json!({"method": "POST", "url": "http://h", "json": {"n": "${inputs.n}", "none": "${inputs.none}"}}),
        )
        .unwrap();
        assert_eq!(request.body.unwrap(), br#"{"n":1,"none":null}"#);
    }

    #[test]
    fn a_form_is_encoded() {
        let request = filled(json!({"method": "POST", "url": "http://h", "form": {"q": "${inputs.q}"}})).unwrap();
        assert_eq!(request.body.unwrap(), b"q=a%26b+c");
    }

    #[test]
    fn a_call_carries_the_key_of_its_effect_unless_the_flow_wrote_one_itself() {
        let sent = |headers: Value| {
            let request =
                filled(json!({"method": "POST", "url": "http://h", "headers": headers})).unwrap().keyed("ours");
            let keys = request.headers.into_iter().filter(|(name, _)| name == IDEMPOTENCY_KEY);
            keys.map(|(_, value)| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(sent(json!({})), ["ours"]);
        assert_eq!(sent(json!({"Idempotency-Key": "theirs"})), ["theirs"]);
    }

    #[test]
    fn no_value_can_add_a_header_of_its_own() {
        let refused = filled(json!({"method": "GET", "url": "http://h", "headers": {"x": "${inputs.crlf}"}}));
        assert!(matches!(refused, Err(HttpError::Header { .. })));
    }
}
