//! How many requests may be under way at once (I10): beyond `MAX_IN_FLIGHT` the next is turned away.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::AppState;
use crate::error::{Kind, Problem};

/// The one route that answers however full it is: whoever asks wants to know whether to kill us.
const ALWAYS: &str = "/health";
/// When to come back. Most answers take much less.
const RETRY_AFTER_SECS: u64 = 1;

/// Lets a request in when there is room. It holds its place until its answer begins.
pub(crate) async fn enter(State(app): State<AppState>, request: Request, next: Next) -> Result<Response, Problem> {
    if request.uri().path() == ALWAYS {
        return Ok(next.run(request).await);
    }
    let Ok(_place) = Arc::clone(&app.room).try_acquire_owned() else {
        metrics::counter!("http_requests_turned_away_total").increment(1);
        let detail = format!("{} requests are under way, and no more are taken", app.options.max_in_flight);
        return Err(Problem::new(Kind::NotReady, detail).with_code("busy").retry_after(RETRY_AFTER_SECS));
    };
    Ok(next.run(request).await)
}
