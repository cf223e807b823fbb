//! Signing in on the pages: the cookie, who is looking, and what a page says when it cannot.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::account::Handle;
use crate::app::App;
use crate::markup;
use crate::problem::Problem;

const COOKIE: &str = "pico_session";
const COOKIE_AGE_SECS: u32 = 30 * 24 * 60 * 60;

/// The value of `Set-Cookie` that signs a browser in.
pub(crate) fn cookie(token: &str) -> String {
    format!("{COOKIE}={token}; Path=/; Max-Age={COOKIE_AGE_SECS}; HttpOnly; SameSite=Lax")
}

/// The value of `Set-Cookie` that signs a browser out.
pub(crate) fn no_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

/// The account that is signed in; without one the page is a redirect to `/login`.
pub(crate) struct Viewer(pub(crate) Handle);

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Redirect> {
        let signed_in = match token(&parts.headers) {
            Some(token) => app.site.lock().await.signed_in(token),
            None => None,
        };
        signed_in.map(Self).ok_or_else(|| to_login(&parts.method, &parts.uri))
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

fn to_login(method: &Method, uri: &Uri) -> Redirect {
    // Coming back by GET to where a form was sent to would find no page there.
    let wanted = if *method == Method::GET { uri.path_and_query().map_or("/", |path| path.as_str()) } else { "/" };
    Redirect::to(&format!("/login?next={}", percent_encoded(wanted)))
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Where to go after the login: only ever to a page of this site.
pub(crate) fn local(next: Option<String>) -> String {
    let is_local = |next: &String| {
        next.starts_with('/')
            && !next.starts_with("//")
            && !next.contains('\\')
            && next.bytes().all(|byte| byte.is_ascii_graphic())
    };
    next.filter(is_local).unwrap_or_else(|| "/".to_owned())
}

/// A [`Problem`] that is answered with a page.
pub(crate) struct PageProblem(pub(crate) Problem);

impl<P: Into<Problem>> From<P> for PageProblem {
    fn from(problem: P) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let title = match self.0.status().as_u16() {
            404 => "Page not found",
            400..500 => "That did not work",
            _ => "Something went wrong",
        };
        let main = format!(
            r#"<h1>{title}</h1>{}<p><a href="/">Back to the home page</a></p>"#,
            markup::alert_banner(&self.0.to_string())
        );
        (self.0.status(), markup::page(title, None, &main)).into_response()
    }
}

/// A URL-encoded form; one that does not parse is an error page.
#[derive(FromRequest)]
#[from_request(via(Form), rejection(PageProblem))]
pub(crate) struct Fields<T>(pub(crate) T);

/// A query string; one that does not parse is an error page.
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(PageProblem))]
pub(crate) struct PageParams<T>(pub(crate) T);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_off_the_site() {
        for next in ["//evil.example", "https://evil.example", "/\\evil", "/a\nb"] {
            assert_eq!(local(Some(next.to_owned())), "/", "{next}");
        }
        assert_eq!(local(Some("/compose?x=1".to_owned())), "/compose?x=1");
    }
}
