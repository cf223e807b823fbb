//! The laws of the ledger.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin; its value plays no part")]
fn start() -> Instant {
    Instant::now()
}

fn fence(run: &str, epoch: i32) -> Fence {
    Fence { run: run.to_owned(), epoch }
}

fn session(id: &str, fence: Fence, last_use: Instant) -> Session {
    Session { id: id.to_owned(), fence, last_use, browser_pid: None, turn: Arc::default() }
}

fn with_session(id: &str, owner: Fence, now: Instant) -> Ledger {
    let mut ledger = Ledger::new(2);
    ledger.admit(&owner, now).unwrap();
    ledger.reserve().unwrap();
    ledger.opened(session(id, owner, now)).unwrap();
    ledger
}

#[test]
fn a_fence_is_a_run_and_an_epoch() {
    assert_eq!(Fence::parse("a:b:7"), Some(fence("a:b", 7)));
    for wrong in ["", "run", "run:", ":1", "run:x", "ru n:1"] {
        assert_eq!(Fence::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_newer_epoch_takes_the_sessions_of_the_older_one() {
    let now = start();
    let mut ledger = with_session("s", fence("r", 1), now);

    let taken = ledger.admit(&fence("r", 2), now).unwrap();

    assert_eq!(taken.len(), 1);
    let late = ledger.use_session("s", &fence("r", 1), now);
    assert_eq!(late.unwrap_err(), Refusal::Fenced { newest: 2 });
}

#[test]
fn an_older_epoch_is_refused_whatever_it_asks() {
    let now = start();
    let mut ledger = Ledger::new(1);
    ledger.admit(&fence("r", 5), now).unwrap();
    assert_eq!(ledger.admit(&fence("r", 4), now).unwrap_err(), Refusal::Fenced { newest: 5 });
}

#[test]
fn a_session_opened_too_late_is_refused() {
    let now = start();
    let mut ledger = Ledger::new(2);
    ledger.admit(&fence("r", 1), now).unwrap();
    ledger.reserve().unwrap();
    ledger.admit(&fence("r", 2), now).unwrap();

    let opened = ledger.opened(session("s", fence("r", 1), now));

    assert_eq!(opened, Err(Refusal::Fenced { newest: 2 }));
    assert!(ledger.reserve().is_ok(), "its place is free again");
}

#[test]
fn a_session_obeys_only_its_own_run() {
    let now = start();
    let mut ledger = with_session("s", fence("r", 1), now);
    ledger.admit(&fence("other", 9), now).unwrap();
    let stranger = ledger.use_session("s", &fence("other", 9), now);
    assert_eq!(stranger.unwrap_err(), Refusal::NotOwner);
}

#[test]
fn sessions_being_opened_count_towards_the_limit() {
    let mut ledger = Ledger::new(1);
    ledger.reserve().unwrap();
    assert_eq!(ledger.reserve(), Err(Refusal::Full));
    ledger.release();
    assert_eq!(ledger.reserve(), Ok(()));
}

#[test]
fn only_what_nobody_uses_is_idle() {
    let now = start();
    let mut ledger = with_session("s", fence("r", 1), now);
    let turn = Arc::clone(&ledger.sessions["s"].turn);
    let busy = turn.try_lock().unwrap();
    assert!(ledger.take_idle(now + SECOND, SECOND).is_empty());
    drop(busy);
    assert_eq!(ledger.take_idle(now + SECOND, SECOND).len(), 1);
}

#[test]
fn the_table_of_fences_is_bounded_and_keeps_runs_with_a_session() {
    let now = start();
    let mut ledger = with_session("s", fence("driven", 3), now);
    for run in 0..FENCES_MAX * 2 {
        ledger.admit(&fence(&format!("r{run}"), 1), now + SECOND).unwrap();
        assert!(ledger.fences.len() <= FENCES_MAX);
    }
    assert!(ledger.admit(&fence("driven", 2), now).is_err());
}
