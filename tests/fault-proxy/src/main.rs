//! A TCP proxy that injects faults at exactly chosen moments.
//!
//! It stands between programs and Postgres, or between HTTP clients and servers, and is told over
//! a local socket when to cut, hold or slow what passes. Armed with nothing it is transparent,
//! byte for byte. It knows nothing of Fermata: only the two protocols, as far as to know where a
//! request and its answer begin and end.
//!
//! Read [`talk::Talk`] for what happens to the bytes of a connection and [`book::Book`] for who
//! decides it; both are pure. [`connection`] and [`link`] hold the sockets, [`control`] the wire
//! shapes. To add a fault see [`fault`]; to add a protocol, make [`exchange`] signs of its bytes.

mod book;
mod bounds;
mod clock;
mod connection;
mod control;
mod desk;
mod exchange;
mod fault;
mod http;
mod link;
mod postgres;
mod random;
mod talk;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::desk::Desk;

/// A TCP proxy for tests that injects faults at exactly chosen moments.
#[derive(Debug, Parser)]
#[command(name = "fermata-fault-proxy", version)]
struct Args {
    /// The unix socket that it is driven by; a stale one is replaced.
    #[arg(long, value_name = "PATH")]
    control: PathBuf,
    /// Written once the control socket listens: {"control": ..., "pid": ...}.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Decides the lengths of delays that are given as [min, max].
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = listen(&args.control)?;
    if let Some(ready_file) = &args.ready_file {
        announce(ready_file, &args.control)?;
    }
    // Nobody has to read this; the ready file is the contract.
    let _ = writeln!(io::stdout(), "fermata-fault-proxy is driven by {}", args.control.display());
    let ended = tokio::select! {
        ended = control::serve(listener, Arc::new(Desk::new(args.seed))) => ended,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    // The next one would replace it all the same.
    let _ = fs::remove_file(&args.control);
    ended
}

/// Opens the control socket where a proxy that was killed may have left one.
fn listen(control: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(control) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(control).is_ok() {
                return Err(error);
            }
            fs::remove_file(control)?;
            UnixListener::bind(control)
        }
        bound => bound,
    }
}

/// Writes the ready file under another name first, so that nobody reads half of it.
fn announce(ready_file: &Path, control: &Path) -> io::Result<()> {
    let mut half = ready_file.as_os_str().to_owned();
    half.push(".part");
    let ready = json!({ "control": control, "pid": std::process::id() });
    fs::write(&half, ready.to_string())?;
    fs::rename(&half, ready_file)
}
