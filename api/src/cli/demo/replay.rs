//! Replay: the stream is cut at a cursor and resumed, again and again; nothing is missing, nothing
//! comes twice.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::stream::Stream;
use super::crash::{reference, submit};
use super::tour::Tour;
use crate::process::Trouble;

/// Commands whose events are followed.
const COMMANDS: usize = 5;
/// Events between two cuts.
const PIECE: usize = 4;
/// The most events that a page holds.
const PAGE: usize = 200;

pub(super) async fn run(tour: &mut Tour) -> Result<(), Trouble> {
    tour.heading("3. Replay: the stream is cut at a cursor, and resumed");
    tour.site_mode(&json!({})).await?;
    let mut stream = Stream::open(&tour.api, json!({}), "latest").await?;
    let began = caught_up(&mut stream).await?;
    let mut open = HashSet::new();
    for _ in 0..COMMANDS {
        let key = reference()?;
        let inputs = json!({ "caption": "Followed, cut and resumed.", "reference": key });
        open.insert(submit(tour, "demo.http_publish", &key, inputs).await?.0);
    }
    let mut seen = Vec::new();
    while !open.is_empty() {
        let frame = stream.next().await?;
        if frame["op"] != "event" {
            continue;
        }
        let event = &frame["event"];
        if is_end(event) {
            open.remove(event["subject"].as_str().unwrap_or_default());
        }
        seen.push(event.clone());
        if seen.len() % PIECE == 0 {
            stream.cut();
        }
    }
    let (cuts, count) = (stream.connections - 1, seen.len());
    let line = format!("{COMMANDS} commands were followed to their end over {cuts} cuts of the stream: {count} events");
    tour.check(cuts > 0, line, &json!(cuts))?;
    let last = seen.last().and_then(|event| event["cursor"].as_str()).unwrap_or_default().to_owned();
    let again = replay(tour, &began, &last).await?;
    same(tour, &seen, &again, "replayed from the same cursor, in one piece: the same events in the same order")?;
    let paged = pages(tour, &began, &last).await?;
    same(tour, &seen, &paged, "the pages of /v1/events say the same")?;
    let ids: HashSet<&str> = seen.iter().filter_map(|event| event["id"].as_str()).collect();
    tour.check(ids.len() == seen.len(), "none is missing, and none came twice", &json!(seen))
}

/// Whether a command ended with this event.
fn is_end(event: &Value) -> bool {
    event["type"] == "status.changed"
        && matches!(event["data"]["to"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELLED"))
}

/// Reads up to the present; answers its cursor.
async fn caught_up(stream: &mut Stream) -> Result<String, Trouble> {
    loop {
        let frame = stream.next().await?;
        if frame["op"] == "caught_up" {
            return Ok(frame["cursor"].as_str().unwrap_or_default().to_owned());
        }
    }
}

/// What another subscription gets behind `began` up to and with `last`.
async fn replay(tour: &Tour, began: &str, last: &str) -> Result<Vec<Value>, Trouble> {
    let mut stream = Stream::open(&tour.api, json!({}), began).await?;
    let mut events = Vec::new();
    loop {
        let frame = stream.next().await?;
        if frame["op"] == "event" {
            let event = frame["event"].clone();
            let is_last = event["cursor"] == last;
            events.push(event);
            if is_last {
                return Ok(events);
            }
        }
    }
}

/// What the pages of the API hold behind `began` up to and with `last`.
async fn pages(tour: &Tour, began: &str, last: &str) -> Result<Vec<Value>, Trouble> {
    let (mut events, mut after) = (Vec::new(), began.to_owned());
    loop {
        let page = tour.api.get(&format!("/v1/events?limit={PAGE}&after={after}")).await?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let before = events.len();
        for event in items {
            let is_last = event["cursor"] == last;
            events.push(event);
            if is_last {
                return Ok(events);
            }
        }
        let next = page["next_cursor"].as_str().or_else(|| events.last().and_then(|event| event["cursor"].as_str()));
        match next {
            Some(next) if events.len() > before => next.clone_into(&mut after),
            _ => return Ok(events),
        }
    }
}

fn same(tour: &mut Tour, seen: &[Value], other: &[Value], line: &str) -> Result<(), Trouble> {
    let otherwise = json!({ "live": seen.len(), "again": other.len() });
    tour.check(seen == other, line, &otherwise)
}
