//! How much one principal may ask (M-157): a token bucket for each token, in this process.
//!
//! [`RateLimiter::admit`] is the one place to swap for a limiter that counts over all nodes; the
//! layer, the headers and the problem stay as they are.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use fermata_engine::access::Principal;
use fermata_engine::clock::Clock;
use governor::Quota;
use governor::clock::Clock as Ticks;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::app::AppState;
use crate::auth::Caller;
use crate::error::{Kind, Problem};

/// The most principals that are remembered; a further one takes the place of the one that has been
/// quiet for longest.
const MAX_PRINCIPALS: usize = 8192;
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");
/// What the limit is called, in headers and metrics.
const NAME: &str = "principal";

/// What one principal may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    per_minute: NonZeroU32,
    burst: NonZeroU32,
}

impl RateLimit {
    /// So many requests a minute, so many of them at once (0 is a whole minute's); `None` for 0 a
    /// minute, which is no limit.
    pub fn new(per_minute: u32, burst: u32) -> Option<Self> {
        let per_minute = NonZeroU32::new(per_minute)?;
        Some(Self { per_minute, burst: NonZeroU32::new(burst).unwrap_or(per_minute) })
    }

    fn quota(self) -> Quota {
        Quota::per_minute(self.per_minute).allow_burst(self.burst)
    }
}

/// Where a principal stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// How many more may come at once.
    remaining: u32,
    /// Seconds until all of the burst may come again; for a refused one, until the next may come.
    reset_secs: u64,
}

type Buckets = governor::RateLimiter<String, Remembered, EngineClock, StateInformationMiddleware>;

/// What each principal has asked lately.
#[derive(Debug)]
pub struct RateLimiter {
    limited: Option<(RateLimit, Buckets)>,
    clock: Clock,
}

impl RateLimiter {
    /// A limiter in which nobody has asked anything; without a limit it lets everything through.
    pub fn new(limit: Option<RateLimit>, clock: Clock) -> Self {
        let buckets = |limit: RateLimit| Buckets::new(limit.quota(), Remembered::default(), EngineClock(clock.clone()));
        Self { limited: limit.map(|limit| (limit, buckets(limit))), clock }
    }

    /// Counts a request of a principal: `Ok` when it may go on, `Err` when it may not. `None` where
    /// there is no limit.
    fn admit(&self, by: &Principal) -> Option<(RateLimit, Result<Standing, Standing>)> {
        let (limit, buckets) = self.limited.as_ref()?;
        let verdict = match buckets.check_key(&by.id) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = limit.burst.get().saturating_sub(remaining);
                let reset = limit.quota().replenish_interval() * used;
                Ok(Standing { remaining, reset_secs: whole_secs(reset) })
            }
            Err(until) => {
                let wait = until.wait_time_from(self.clock.monotonic());
                Err(Standing { remaining: 0, reset_secs: whole_secs(wait).max(1) })
            }
        };
        Some((*limit, verdict))
    }
}

impl RateLimiter {
    /// Counts an operation that came another way than as a request of its own; the refusal, when it
    /// may not go on.
    pub(crate) fn turns_away(&self, by: &Principal) -> Option<Problem> {
        let (limit, verdict) = self.admit(by)?;
        verdict.err().map(|standing| refusal(limit, standing))
    }
}

/// The layer: behind authentication, in front of every handler.
pub(crate) async fn limit(State(app): State<AppState>, Caller(by): Caller, request: Request, next: Next) -> Response {
    let Some((limit, verdict)) = app.rate_limiter.admit(&by) else { return next.run(request).await };
    let (mut response, standing) = match verdict {
        Ok(standing) => (next.run(request).await, standing),
        Err(standing) => (refusal(limit, standing).into_response(), standing),
    };
    tell(response.headers_mut(), limit, standing);
    response
}

fn refusal(limit: RateLimit, standing: Standing) -> Problem {
    metrics::counter!("api_rate_limited_requests_total", "limiter" => NAME).increment(1);
    let (per_minute, burst) = (limit.per_minute, limit.burst);
    let detail = format!("this token may send {per_minute} requests a minute, {burst} of them at once");
    Problem::new(Kind::RateLimited, detail).retry_after(standing.reset_secs)
}

/// The fields of the IETF's draft: a quota `q` that is whole again after `w` seconds; of it `r` is
/// left, for `t` seconds.
fn tell(headers: &mut HeaderMap, limit: RateLimit, standing: Standing) {
    let window_secs = whole_secs(limit.quota().burst_size_replenished_in());
    let Standing { remaining, reset_secs } = standing;
    for (name, value) in [
        (POLICY, format!("\"{NAME}\";q={};w={window_secs}", limit.burst)),
        (STANDING, format!("\"{NAME}\";r={remaining};t={reset_secs}")),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

/// Rounded up: who waits that long does not come too early.
fn whole_secs(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The engine's clock as the limiter reads it.
#[derive(Debug, Clone)]
struct EngineClock(Clock);

impl Ticks for EngineClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.monotonic()
    }
}

/// When each principal's bucket will be whole again; at most [`MAX_PRINCIPALS`] of them.
#[derive(Debug, Default)]
struct Remembered(Mutex<HashMap<String, Nanos>>);

impl StateStore for Remembered {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, key: &String, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // A panic cannot leave the map half-written; what it holds is still true.
        let mut whole_again = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, next) = decide(whole_again.get(key).copied())?;
        if let Some(at) = whole_again.get_mut(key) {
            *at = next;
            return Ok(answer);
        }
        if whole_again.len() >= MAX_PRINCIPALS {
            let quietest = whole_again.iter().min_by_key(|(_, at)| at.as_u64()).map(|(key, _)| key.clone());
            quietest.and_then(|key| whole_again.remove(&key));
        }
        whole_again.insert(key.clone(), next);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(id: impl Into<String>) -> Principal {
        Principal { id: id.into(), ..Principal::operator() }
    }

    fn limiter(per_minute: u32, burst: u32) -> RateLimiter {
        RateLimiter::new(RateLimit::new(per_minute, burst), Clock::system())
    }

    #[test]
    fn no_rate_is_no_limit_and_no_burst_is_a_minutes() {
        assert_eq!(RateLimit::new(0, 9), None);
        assert_eq!(RateLimit::new(60, 0), RateLimit::new(60, 60));
        assert!((0..1000).all(|_| limiter(0, 1).admit(&principal("a")).is_none()));
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_for_one_place() {
        let limiter = limiter(6, 3);
        let ask = || limiter.admit(&principal("a")).unwrap().1;
        assert_eq!(ask(), Ok(Standing { remaining: 2, reset_secs: 10 }));
        assert_eq!(ask().unwrap().remaining, 1);
        assert_eq!(ask().unwrap(), Standing { remaining: 0, reset_secs: 30 });
        assert_eq!(ask().unwrap_err(), Standing { remaining: 0, reset_secs: 10 });
    }

    #[test]
    fn the_limiter_remembers_no_more_principals_than_its_bound_and_forgets_the_quietest() {
        let limiter = limiter(1, 2);
        let ask = |n: usize| limiter.admit(&principal(n.to_string())).unwrap().1.is_ok();
        assert!(ask(0) && ask(0) && !ask(0), "nothing is left for the first");
        for n in 1..=MAX_PRINCIPALS + 100 {
            assert!(ask(n));
        }
        assert!(!ask(0), "the busiest is not forgotten for the sake of others");
        let (_, buckets) = limiter.limited.unwrap();
        assert_eq!(buckets.into_state_store().0.into_inner().unwrap().len(), MAX_PRINCIPALS);
    }
}
