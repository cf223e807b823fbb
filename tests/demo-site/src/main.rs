//! A pretend social network, with a video studio beside it, that speaks true HTTP and can misbehave.
//!
//! It is the outermost fake of Fermata's tests and of the tour: an independent witness of what
//! really happened. Every applied effect is a line of an append-only ledger, synced before the
//! effect is visible or answered, whatever becomes of the answer. It knows nothing of Fermata but
//! the name of one header, whose value it writes into the ledger unread.
//!
//! Read [`site::Site`] for what the network is and [`app::App::perform`] for how it misbehaves.
//!
//! A fault of requests is a field of [`conduct::Conduct`], obeyed in `perform` and told in words by
//! its `Display`. It has two sources, of which a request meets one: [`mode::Mode`], which is the
//! same for everybody, and [`plan::Plan`], which draws by seed for the references of one prefix.
//! To add a fault, add the field, then what sets it in the mode, in the plan's chances, or in both.
//! A fault of webhooks is a field of [`webhook::fate::Odds`] and of [`webhook::fate::Fate`], obeyed
//! in [`webhook::courier`].
//!
//! To add an effect, add a variant to [`effect::Effect`], a view and a form, its type to
//! [`webhook::event::EventType`], and an API route where programs may do it too: the studio has none.

mod account;
mod api;
mod app;
mod arrival;
mod clock;
mod conduct;
mod connection;
mod control;
mod effect;
mod film;
mod forms;
mod ledger;
mod lot;
mod markup;
mod media;
mod mode;
mod pages;
mod plan;
mod problem;
mod recent;
mod router;
mod session;
mod site;
mod switchboard;
mod traffic;
mod view;
mod webhook;

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::app::App;
use crate::connection::{Cord, Doorway};
use crate::site::Site;
use crate::switchboard::Switchboard;
use crate::traffic::Traffic;
use crate::webhook::courier::Courier;

/// A pretend social network for tests: true HTTP, a durable ledger, misbehaviour on demand.
#[derive(Debug, Parser)]
#[command(name = "fermata-demo-site", version)]
struct Args {
    /// The address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The ledger file; media are kept beside it, in FILE.media.
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
    /// Written once the site listens: {"url": ..., "pid": ...}.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(args.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Arc::new(App {
        site: Mutex::new(Site::open(&args.ledger, url.clone())?),
        switchboard: Switchboard::default(),
        traffic: Traffic::default(),
        courier: Arc::new(Courier::new().map_err(io::Error::other)?),
    });
    if let Some(ready_file) = &args.ready_file {
        announce(ready_file, &url)?;
    }
    // Nobody has to read this; the ready file is the contract.
    let _ = writeln!(io::stdout(), "fermata-demo-site listens on {url}");
    let service = router::routes(app).into_make_service_with_connect_info::<Cord>();
    // No graceful shutdown: a frozen request would hold it up, and the ledger is always whole.
    tokio::select! {
        ended = axum::serve(Doorway(listener), service) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Writes the ready file under another name first, so that nobody reads half of it.
fn announce(ready_file: &Path, url: &str) -> io::Result<()> {
    let mut half = ready_file.as_os_str().to_owned();
    half.push(".part");
    let ready = json!({ "url": url, "pid": std::process::id() });
    fs::write(&half, ready.to_string())?;
    fs::rename(&half, ready_file)
}
