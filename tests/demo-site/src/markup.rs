//! The HTML: the frame around every page and the pieces that several pages share.
//!
//! Whatever came from outside goes through [`escape`] on its way into a page, nowhere else.

use std::fmt::Write as _;

use axum::response::Html;
use chrono::{DateTime, Utc};

use crate::account::Handle;
use crate::view::{CommentView, MessageView, PostView, VideoView};

/// The network's name.
const BRAND: &str = "Pico";
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("submit.js");

/// Makes text safe between tags and inside double-quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A whole page: header with navigation and account, then `main`.
pub(crate) fn page(title: &str, account: Option<&Handle>, main: &str) -> Html<String> {
    let title = escape(title);
    let bar = account.map_or_else(String::new, signed_in_bar);
    Html(format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · {BRAND}</title>
<link rel="icon" href="data:,">
<style>
{STYLE}</style>
</head>
<body>
<header class="bar"><div>
<a class="brand" href="/">{BRAND}</a>
{bar}</div></header>
<main>
{main}
</main>
<script>
{SCRIPT}</script>
</body>
</html>
"#
    ))
}

fn signed_in_bar(account: &Handle) -> String {
    format!(
        r#"<nav aria-label="Main">
<a href="/">Home</a>
<a href="/compose">New post</a>
<a href="/messages">Messages</a>
<a href="/studio">Studio</a>
<a href="/u/{account}">Profile</a>
</nav>
<div class="account" role="group" aria-label="Account" data-handle="{account}">
<a href="/u/{account}">@{account}</a>
<form method="post" action="/logout"><button type="submit" class="quiet">Log out</button></form>
</div>
"#
    )
}

/// A banner that says what was just done.
pub(crate) fn status_banner(html: &str) -> String {
    format!(r#"<div class="banner" role="status">{html}</div>"#)
}

/// A banner that says what went wrong.
pub(crate) fn alert_banner(text: &str) -> String {
    format!(r#"<div class="banner" role="alert">{}</div>"#, escape(text))
}

/// ` data-reference="..."`, or nothing.
fn reference_attribute(reference: Option<&str>) -> String {
    reference.map_or_else(String::new, |reference| format!(r#" data-reference="{}""#, escape(reference)))
}

fn moment(at: DateTime<Utc>) -> String {
    format!(r#"<time datetime="{}">{}</time>"#, at.to_rfc3339(), at.format("%-d %b %Y, %H:%M UTC"))
}

/// "1 like", "2 likes".
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn medium(post: &PostView) -> String {
    let Some(url) = post.media_url.as_deref().map(escape) else {
        return String::new();
    };
    match post.media_type.as_deref() {
        Some(kind) if kind.starts_with("image/") => {
            format!(r#"<img src="{url}" alt="Picture posted by @{}">"#, post.author)
        }
        Some(kind) if kind.starts_with("video/") => {
            format!(r#"<video src="{url}" controls preload="metadata"></video>"#)
        }
        // A page loads nothing from elsewhere: a medium by URL is a link.
        _ => format!(r#"<p><a href="{url}" rel="noopener">Attached file</a></p>"#),
    }
}

/// A post as it stands in a list and on its own page.
pub(crate) fn article(post: &PostView) -> String {
    let PostView { id, author, .. } = post;
    format!(
        r#"<article class="card" id="post-{id}" data-post-id="{id}"{reference}>
<header><h2><a href="/u/{author}">@{author}</a></h2>{time}</header>
<p class="caption">{caption}</p>
{medium}
<footer><span>{likes}</span><span>{replies}</span><a class="permalink" href="/posts/{id}">Permalink</a></footer>
</article>
"#,
        reference = reference_attribute(post.reference.as_deref()),
        time = moment(post.created_at),
        caption = escape(&post.caption),
        medium = medium(post),
        likes = counted(post.likes, "like", "likes"),
        replies = counted(post.comments, "reply", "replies"),
    )
}

/// Posts under each other, or a word when there are none.
pub(crate) fn articles(posts: &[PostView]) -> String {
    if posts.is_empty() {
        return r#"<p class="muted">No posts yet.</p>"#.to_owned();
    }
    posts.iter().map(article).collect()
}

/// The replies to a post.
pub(crate) fn replies(comments: &[CommentView]) -> String {
    let mut html = String::new();
    for comment in comments {
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            r#"<li id="comment-{id}"{reference}><strong><a href="/u/{author}">@{author}</a></strong>
<p>{text}</p>{time}</li>
"#,
            id = comment.id,
            author = comment.author,
            reference = reference_attribute(comment.reference.as_deref()),
            text = escape(&comment.text),
            time = moment(comment.created_at),
        );
    }
    format!(r#"<ol class="thread" aria-label="Replies">{html}</ol>"#)
}

/// A thread of messages as one of its two accounts sees it.
pub(crate) fn thread(messages: &[MessageView], viewer: &Handle) -> String {
    let mut html = String::new();
    for message in messages {
        let mine = if message.from == *viewer { r#" class="mine""# } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            r#"<li id="message-{id}"{mine} data-from="{from}"{reference}><strong>@{from}</strong>
<p>{text}</p>{time}</li>
"#,
            id = message.id,
            from = message.from,
            reference = reference_attribute(message.reference.as_deref()),
            text = escape(&message.text),
            time = moment(message.created_at),
        );
    }
    format!(r#"<ol class="thread" aria-label="Messages">{html}</ol>"#)
}

/// A draft as it stands in the studio's list.
fn draft(video: &VideoView) -> String {
    let id = &video.id;
    let (state, outcome) = if video.is_ready {
        ("ready", format!(r#"<a href="/studio/drafts/{id}/video" download="draft-{id}.mp4">Download</a>"#))
    } else {
        ("generating", r#"<span aria-live="polite">Your video is being made</span>"#.to_owned())
    };
    format!(
        r#"<article class="card" id="draft-{id}" data-draft-id="{id}" data-state="{state}"{reference}>
<header><h3>Draft</h3>{time}</header>
<p class="caption">{prompt}</p>
<footer><span>{state}</span>{outcome}</footer>
</article>
"#,
        reference = reference_attribute(video.reference.as_deref()),
        time = moment(video.created_at),
        prompt = escape(&video.prompt),
    )
}

/// Drafts under each other, or a word when there are none.
pub(crate) fn drafts(videos: &[VideoView]) -> String {
    if videos.is_empty() {
        return r#"<p class="muted">No drafts yet.</p>"#.to_owned();
    }
    videos.iter().map(draft).collect()
}
