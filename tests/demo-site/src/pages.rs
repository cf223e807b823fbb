//! The pages one reads: feed, composer, post, profile, messages, studio, login.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use crate::account::Handle;
use crate::app::App;
use crate::clock;
use crate::film;
use crate::markup::{self, escape};
use crate::media;
use crate::problem::Problem;
use crate::session::{PageParams, PageProblem, Viewer};
use crate::site::PostFilter;

/// `GET /`
pub(crate) async fn feed(State(app): State<Arc<App>>, Viewer(viewer): Viewer) -> Html<String> {
    let posts = app.site.lock().await.posts(&PostFilter::default(), clock::now());
    let main = format!("<h1>Home</h1>\n{}", markup::articles(&posts));
    markup::page("Home", Some(&viewer), &main)
}

/// `GET /compose`
pub(crate) async fn compose(Viewer(viewer): Viewer) -> Html<String> {
    let main = r#"<h1>New post</h1>
<form class="card stack" method="post" action="/compose" enctype="multipart/form-data">
<label for="media">Media</label>
<input id="media" name="media" type="file" accept="image/*,video/*">
<label for="caption">Caption</label>
<textarea id="caption" name="caption"></textarea>
<label for="reference">Reference (optional)</label>
<input id="reference" name="reference" type="text" autocomplete="off">
<button type="submit">Publish</button>
</form>"#;
    markup::page("New post", Some(&viewer), main)
}

/// What was just done on the page that follows a form.
#[derive(Deserialize)]
pub(crate) struct Done {
    published: Option<String>,
    replied: Option<String>,
    liked: Option<String>,
    sent: Option<String>,
    submitted: Option<String>,
}

/// `GET /posts/{id}`
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Viewer(viewer): Viewer,
    Path(id): Path<String>,
    PageParams(done): PageParams<Done>,
) -> Result<Html<String>, PageProblem> {
    let (site, now) = (app.site.lock().await, clock::now());
    let post = site.post(&id, now).ok_or(Problem::NotFound("post"))?;
    let link = escape(&post.permalink);
    let banner = if done.published.is_some() {
        markup::status_banner(&format!(
            r#"Your post is live: <a class="permalink" href="/posts/{}">{link}</a>"#,
            post.id
        ))
    } else if done.replied.is_some() {
        markup::status_banner("Your reply is posted")
    } else if done.liked.is_some() {
        markup::status_banner("You liked this post")
    } else {
        String::new()
    };
    let main = format!(
        r#"{banner}<h1>Post by @{author}</h1>
{article}
<form class="actions" method="post" action="/posts/{id}/likes"><button type="submit" class="quiet">Like</button></form>
<h2 class="section">Replies</h2>
{replies}
<form class="card stack" method="post" action="/posts/{id}/comments">
<label for="text">Comment</label>
<textarea id="text" name="text" required></textarea>
<button type="submit">Reply</button>
</form>"#,
        author = post.author,
        article = markup::article(&post),
        id = post.id,
        replies = markup::replies(&site.comments(&post.id, now)),
    );
    let title = format!("Post by @{}", post.author);
    Ok(markup::page(&title, Some(&viewer), &main))
}

/// `GET /u/{handle}`
pub(crate) async fn profile(
    State(app): State<Arc<App>>,
    Viewer(viewer): Viewer,
    Path(handle): Path<String>,
) -> Result<Html<String>, PageProblem> {
    let handle = Handle::try_from(handle).map_err(|_| Problem::NotFound("account"))?;
    let (site, now) = (app.site.lock().await, clock::now());
    if !site.has_account(&handle) {
        return Err(Problem::NotFound("account").into());
    }
    let filter = PostFilter { author: Some(handle.to_string()), reference: None };
    let message = if handle == viewer {
        String::new()
    } else {
        format!(r#"<p><a href="/messages/{handle}">Send a message</a></p>"#)
    };
    let main = format!(
        r#"<h1>{name} <span class="muted">@{handle}</span></h1>{message}
{posts}"#,
        name = escape(&handle.display_name()),
        posts = markup::articles(&site.posts(&filter, now)),
    );
    Ok(markup::page(&format!("@{handle}"), Some(&viewer), &main))
}

/// `GET /messages`
pub(crate) async fn conversations(State(app): State<Arc<App>>, Viewer(viewer): Viewer) -> Html<String> {
    let messages = app.site.lock().await.messages(&viewer, None, None, clock::now());
    let others: BTreeSet<&Handle> =
        messages.iter().map(|message| if message.from == viewer { &message.to } else { &message.from }).collect();
    let mut list = String::new();
    for other in others {
        // Writing to a string cannot fail.
        let _ = write!(list, r#"<li><a href="/messages/{other}">@{other}</a></li>"#);
    }
    if list.is_empty() {
        list.push_str(r#"<li class="muted">No messages yet.</li>"#);
    }
    let main = format!(r#"<h1>Messages</h1><ul class="thread">{list}</ul>"#);
    markup::page("Messages", Some(&viewer), &main)
}

/// `GET /messages/{handle}`
pub(crate) async fn thread(
    State(app): State<Arc<App>>,
    Viewer(viewer): Viewer,
    Path(other): Path<String>,
    PageParams(done): PageParams<Done>,
) -> Result<Html<String>, PageProblem> {
    let other = Handle::try_from(other).map_err(|_| Problem::NotFound("account"))?;
    let site = app.site.lock().await;
    let messages = site.messages(&viewer, Some(other.as_str()), None, clock::now());
    let banner = done.sent.map_or_else(String::new, |_| markup::status_banner("Your message is sent"));
    let main = format!(
        r#"{banner}<h1>Messages with <a href="/u/{other}">@{other}</a></h1>
{thread}
<form class="card stack" method="post" action="/messages/{other}">
<label for="text">Message</label>
<textarea id="text" name="text" required></textarea>
<label for="reference">Reference (optional)</label>
<input id="reference" name="reference" type="text" autocomplete="off">
<button type="submit">Send</button>
</form>"#,
        thread = markup::thread(&messages, &viewer),
    );
    let title = format!("Messages with @{other}");
    Ok(markup::page(&title, Some(&viewer), &main))
}

/// `GET /studio`
pub(crate) async fn studio(
    State(app): State<Arc<App>>,
    Viewer(viewer): Viewer,
    PageParams(done): PageParams<Done>,
) -> Html<String> {
    let videos = app.site.lock().await.videos(&viewer, clock::now());
    let banner = done.submitted.map_or_else(String::new, |_| markup::status_banner("Your prompt is submitted"));
    let main = format!(
        r#"{banner}<h1>Video studio</h1>
<form class="card stack" method="post" action="/studio">
<label for="prompt">Prompt</label>
<textarea id="prompt" name="prompt" required></textarea>
<label for="reference">Reference (optional)</label>
<input id="reference" name="reference" type="text" autocomplete="off">
<button type="submit">Generate</button>
</form>
<h2 class="section">Drafts</h2>
{drafts}"#,
        drafts = markup::drafts(&videos),
    );
    markup::page("Video studio", Some(&viewer), &main)
}

/// `GET /studio/drafts/{id}/video`
pub(crate) async fn video(
    State(app): State<Arc<App>>,
    Viewer(viewer): Viewer,
    Path(id): Path<String>,
) -> Result<Response, PageProblem> {
    let video = app.site.lock().await.video(&id, &viewer, clock::now());
    let video = video.filter(|video| video.is_ready).ok_or(Problem::NotFound("video"))?;
    let disposition = format!("attachment; filename=\"draft-{}.mp4\"", video.id);
    let headers = [(header::CONTENT_TYPE, film::CONTENT_TYPE.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, film::of_draft(&video.id)).into_response())
}

/// The query of `/login`.
#[derive(Deserialize)]
pub(crate) struct LoginParams {
    next: Option<String>,
}

/// `GET /login`
pub(crate) async fn login(PageParams(params): PageParams<LoginParams>) -> Html<String> {
    login_form(params.next.as_deref().unwrap_or("/"), "")
}

/// The login form, under a banner that may say what was wrong with the last try.
pub(crate) fn login_form(next: &str, banner: &str) -> Html<String> {
    let main = format!(
        r#"<div class="narrow">{banner}<h1>Log in to Pico</h1>
<form class="card stack" method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label for="handle">Handle</label>
<input id="handle" name="handle" type="text" required autocomplete="username" autocapitalize="none">
<label for="password">Password</label>
<input id="password" name="password" type="password" required autocomplete="current-password">
<button type="submit">Log in</button>
</form></div>"#,
        next = escape(next),
    );
    markup::page("Log in", None, &main)
}

/// `GET /media/{sha256}`
pub(crate) async fn medium(State(app): State<Arc<App>>, Path(sha256): Path<String>) -> Result<Response, PageProblem> {
    let folder = app.site.lock().await.media();
    let bytes = folder.load(&sha256).await;
    let bytes = bytes.ok_or(Problem::NotFound("medium"))?;
    Ok(([(header::CONTENT_TYPE, media::sniffed(&bytes))], bytes).into_response())
}
