//! What each problem means: `type` of a problem leads here. The pages are those of `fermata explain`.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, VARY};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{docs, wire};
use crate::error::pages::{GROUPS, Page, PageView, page_of, pages};
use crate::error::{Kind, Problem};

/// Every page.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProblemPageList {
    /// The pages.
    pub items: Vec<PageView>,
}

/// List every code that may be met: types of problems, finer words, failures of runs, exit codes.
#[utoipa::path(
    get, path = "/problems", operation_id = "listProblemPages", tag = "process",
    responses((status = 200, description = "A page for people, or this with `Accept: application/json`.",
               content((wire::ProblemPageList = "application/json"), (String = "text/html"))))
)]
pub(super) async fn list(headers: HeaderMap) -> Response {
    if wants_json(&headers) {
        return varied(Json(ProblemPageList { items: pages().map(Page::view).collect() }));
    }
    let mut body = String::from("<h1>Problems</h1>\n");
    for group in GROUPS {
        let _ = write!(body, "<h2>{}</h2>\n<table>\n", marked(group.title));
        for page in group.pages {
            let code = page.code;
            let row = format!("<tr><td><a href=\"/problems/{}\"><code>{code}</code></a></td>", slug(code));
            let _ = writeln!(body, "{row}<td>{}</td></tr>", marked(page.meaning));
        }
        body.push_str("</table>\n");
    }
    varied(docs::html(document("Problems", &body)))
}

/// What a problem means and what to do. The last part of a problem's `type` names it; finer codes
/// are found here too.
#[utoipa::path(
    get, path = "/problems/{slug}", operation_id = "readProblemPage", tag = "process",
    params(("slug" = String, Path, description = "The last part of a problem's `type`, or its `code`.")),
    responses((status = 200, description = "A page for people, or this with `Accept: application/json`.",
               content((wire::ProblemPage = "application/json"), (String = "text/html"))))
)]
pub(super) async fn read(Path(slug): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "no page explains that; /problems lists all");
    let page = page_of(&slug).ok_or_else(unknown)?;
    if wants_json(&headers) {
        return Ok(varied(Json(page.view())));
    }
    let PageView { code, title, status, meaning, r#try } = page.view();
    let heading = title.unwrap_or_else(|| code.clone());
    let mut body = format!("<p><a href=\"/problems\">All problems</a></p>\n<h1>{}</h1>\n", marked(&heading));
    let status = status.map(|status| format!(" · status {status}")).unwrap_or_default();
    let _ = writeln!(body, "<p><code>{code}</code>{status}</p>");
    let _ = writeln!(body, "<h2>What it means</h2>\n<p>{}</p>", marked(&meaning));
    let _ = writeln!(body, "<h2>What to do</h2>\n<p>{}</p>", marked(&r#try));
    Ok(varied(docs::html(document(&heading, &body))))
}

fn slug(code: &str) -> String {
    code.replace('_', "-")
}

/// Whether JSON was asked for, and not a page before it.
fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = accepted.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or("").trim());
    let first = kinds.map(str::to_ascii_lowercase).find(|kind| kind == "text/html" || kind.ends_with("json"));
    first.is_some_and(|kind| kind != "text/html")
}

fn varied(body: impl IntoResponse) -> Response {
    ([(VARY, "accept")], body).into_response()
}

/// Text as markup: what stands in backticks is code.
fn marked(text: &str) -> String {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let parts = safe.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · Fermata</title>\n<link rel=\"stylesheet\" href=\"/docs/docs.css\">\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        marked(title)
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_is_for_people_unless_json_is_asked_for_first() {
        let asked = |accept| wants_json(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert!(!wants_json(&HeaderMap::new()));
        for page in ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html, application/json"] {
            assert!(!asked(page), "{page}");
        }
        for json in ["application/json", "application/json;q=1, text/html;q=0.1", "application/problem+json"] {
            assert!(asked(json), "{json}");
        }
    }

    #[test]
    fn text_never_becomes_markup() {
        assert_eq!(marked("a < b & `c > d`"), "a &lt; b &amp; <code>c &gt; d</code>");
    }
}
