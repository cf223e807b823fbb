//! From an HTTP request to a GraphQL request, as GraphQL over HTTP says.
//!
//! What is no such request is refused before anything looks at the document. Only a form that a
//! browser asks permission for first is read (`application/json`), so no other site's page can
//! send one; and no cookie is ever looked at.

use async_graphql::Variables;
use axum::body::to_bytes;
use axum::extract::{Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};
use fermata_graphql::limit::Limit;
use fermata_graphql::persisted::Library;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Kind, Problem};

/// Why a request was not read.
pub(super) enum Refused {
    /// Not in a form that is read here.
    Problem(Problem),
    /// Not a GraphQL request.
    Limit(Limit),
}

/// The parameters of a GraphQL request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sent {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Value,
}

/// The same, in the query of a URL.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InUrl {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl Sent {
    /// Reads a GET or a POST.
    pub(super) async fn read(request: Request, most: usize) -> Result<Self, Refused> {
        if request.method() != Method::POST {
            let Query(sent) = Query::<InUrl>::try_from_uri(request.uri())
                .map_err(|error| Refused::Limit(unfit(format!("the URL's query cannot be read: {error}"))))?;
            return Self::of_url(sent).map_err(Refused::Limit);
        }
        check_form(request.headers()).map_err(Refused::Problem)?;
        let body = to_bytes(request.into_body(), most).await.map_err(|_| {
            let detail = format!("the body broke off, or has more than {most} bytes");
            Refused::Problem(Problem::new(Kind::TooLarge, detail))
        })?;
        let body = serde_json::from_slice(&body);
        let body = body.map_err(|error| Refused::Limit(unfit(format!("the body is not JSON: {error}"))))?;
        Self::of_json(body).map_err(Refused::Limit)
    }

    fn of_url(sent: InUrl) -> Result<Self, Limit> {
        let json = |name: &str, text: Option<String>| match text {
            None => Ok(Value::Null),
            Some(text) => serde_json::from_str(&text).map_err(|error| unfit(format!("`{name}` is not JSON: {error}"))),
        };
        let mut body = Map::new();
        body.insert("variables".to_owned(), json("variables", sent.variables)?);
        body.insert("extensions".to_owned(), json("extensions", sent.extensions)?);
        for (name, text) in
            [("query", sent.query), ("documentId", sent.document_id), ("operationName", sent.operation_name)]
        {
            body.insert(name.to_owned(), text.into());
        }
        Self::of_json(Value::Object(body))
    }

    /// Reads the parameters; members that GraphQL over HTTP does not name are left to others.
    pub(super) fn of_json(body: Value) -> Result<Self, Limit> {
        let mut body = match body {
            Value::Object(body) => body,
            Value::Array(_) => {
                return Err(Limit::new("graphql_batch", "batches are not read; send one operation per request"));
            }
            _ => return Err(unfit("the body must be an object")),
        };
        let mut text = |name: &str| match body.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(unfit(format!("`{name}` must be a string"))),
        };
        let (query, document_id) = (text("query")?, text("documentId")?);
        let operation_name = text("operationName")?.filter(|name| !name.is_empty());
        let mut object = |name: &str| match body.remove(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(unfit(format!("`{name}` must be an object"))),
        };
        let (variables, extensions) = (Value::Object(object("variables")?), object("extensions")?);
        let document_id = match (document_id, extensions.get("persistedQuery")) {
            (Some(id), _) => Some(id),
            (None, Some(persisted)) => Some(hash(persisted)?),
            (None, None) => None,
        };
        Ok(Self { query, document_id, operation_name, variables })
    }

    /// The request to execute, with its document looked up where only its id was sent.
    pub(super) fn request(self, library: &Library) -> Result<async_graphql::Request, Limit> {
        let text = library.find(self.query, self.document_id.as_deref())?;
        let mut request = async_graphql::Request::new(text).variables(Variables::from_json(self.variables));
        request.operation_name = self.operation_name;
        Ok(request)
    }
}

/// The hash of `extensions.persistedQuery`.
fn hash(persisted: &Value) -> Result<String, Limit> {
    let version = persisted.get("version").and_then(Value::as_u64);
    match persisted.get("sha256Hash").and_then(Value::as_str) {
        Some(hash) if version == Some(1) => Ok(hash.to_owned()),
        _ => Err(unfit("`extensions.persistedQuery` must be {version: 1, sha256Hash}")),
    }
}

fn unfit(message: impl Into<String>) -> Limit {
    Limit::new("graphql_request", message)
}

/// Only JSON in UTF-8, said to be so.
fn check_form(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json");
    let is_utf8 = parts
        .filter_map(|part| part.strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"));
    if is_json && is_utf8 && !headers.contains_key(axum::http::header::CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Problem::new(Kind::MediaType, "send `Content-Type: application/json`, in UTF-8 and as it is"))
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use super::*;

    fn sent(body: Value) -> Result<Sent, &'static str> {
        Sent::of_json(body).map_err(|limit| limit.code)
    }

    #[test]
    fn what_is_left_out_or_null_is_the_same() {
        let plain = sent(json!({"query": "{ a }"})).unwrap();
        assert_eq!(plain.variables, json!({}));
        let nulls = json!({"query": "{ a }", "operationName": null, "variables": null, "extensions": null, "id": 1});
        assert_eq!(sent(nulls).unwrap(), plain);
        assert_eq!(sent(json!({"query": "{ a }", "operationName": ""})).unwrap(), plain);
    }

    #[test]
    fn what_is_no_graphql_request_is_refused() {
        for bad in [
            json!(1),
            json!({"query": 1}),
            json!({"query": "{ a }", "variables": []}),
            json!({"query": "{ a }", "operationName": {}}),
            json!({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "x"}}}),
        ] {
            assert_eq!(sent(bad.clone()), Err("graphql_request"), "{bad}");
        }
        assert_eq!(sent(json!([{"query": "{ a }"}])), Err("graphql_batch"));
    }

    #[test]
    fn an_id_comes_either_way() {
        let apq = json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "abc"}}});
        assert_eq!(sent(apq).unwrap().document_id.as_deref(), Some("abc"));
        assert_eq!(sent(json!({"documentId": "abc"})).unwrap().document_id.as_deref(), Some("abc"));
    }

    #[tokio::test]
    async fn the_query_of_a_url_says_the_same_as_a_body() {
        let url = "/graphql?query=%7Ba%7D&operationName=N&variables=%7B%22n%22%3A1%7D";
        let got = Sent::read(Request::get(url).body(Body::empty()).unwrap(), 10).await.ok().unwrap();
        let wanted = sent(json!({"query": "{a}", "operationName": "N", "variables": {"n": 1}})).unwrap();
        assert_eq!(got, wanted);
        let bad = Sent::read(Request::get("/graphql?variables=%7B").body(Body::empty()).unwrap(), 10).await;
        assert!(matches!(bad, Err(Refused::Limit(_))));
    }

    #[test]
    fn only_a_form_that_another_sites_page_cannot_send_is_read() {
        let check = |kind: &str| {
            let kind = axum::http::HeaderValue::from_str(kind).unwrap();
            check_form(&HeaderMap::from_iter([(CONTENT_TYPE, kind)])).map_err(|problem| problem.kind())
        };
        assert_eq!(check("application/json"), Ok(()));
        assert_eq!(check("Application/JSON; charset=UTF-8"), Ok(()));
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/json; charset=latin1",
        ] {
            assert_eq!(check(bad), Err(Kind::MediaType), "{bad}");
        }
        assert!(check_form(&HeaderMap::new()).is_err());
    }
}
