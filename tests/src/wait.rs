//! Waiting for observed facts.

use std::future::Future;
use std::time::Duration;

use fermata_engine::clock::Clock;

/// How long a fact may take on a busy machine before the test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until there is an answer; panics with `what` when [`PATIENCE`] is over.
///
/// # Panics
/// When the fact does not come true in time: that is how a test fails.
pub async fn eventually<T, F, Fut>(what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let clock = Clock::system();
    let began = clock.monotonic();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(clock.monotonic() - began <= PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        clock.wait(Duration::from_millis(10)).await;
    }
}
