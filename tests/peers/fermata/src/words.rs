//! The JSON lines between the driver and a peer.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Orders that may wait; the driver sends one at a time.
const ORDERS: usize = 64;

/// Microseconds of CLOCK_MONOTONIC: they compare between the processes of one machine.
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Says something, with the time.
pub(crate) fn say(event: &str, mut what: Value) {
    what["ev"] = event.into();
    if what.get("t").is_none() {
        what["t"] = now().into();
    }
    // A driver that has gone away needs no answer.
    drop(writeln!(std::io::stdout().lock(), "{what}"));
}

/// Says something that has no details.
pub(crate) fn say_only(event: &str) {
    say(event, json!({}));
}

/// What the driver asks for, until it closes our standard input.
pub(crate) fn orders() -> mpsc::Receiver<Value> {
    let (tell, told) = mpsc::channel(ORDERS);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if let Ok(order) = serde_json::from_str(&line)
                && tell.blocking_send(order).is_err()
            {
                return;
            }
        }
    });
    told
}
