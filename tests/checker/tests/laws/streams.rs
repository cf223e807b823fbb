//! I5: what readers of the event stream saw.

use fermata_checker::Invariant::I5;
use fermata_checker::Trial;
use fermata_checker::stream::{Seen, Told, cursor_at, position_of};
use proptest::prelude::*;
use serde_json::json;

use crate::after;

/// The events of the first reader, who sees everything.
fn told(trial: &mut Trial, n: usize) -> &mut Told {
    let events = trial.readers[0].seen.iter_mut().filter_map(|seen| match seen {
        Seen::Event { event, .. } => Some(event),
        _ => None,
    });
    events.into_iter().nth(n).unwrap()
}

/// Where in what the first reader saw its n-th event is.
fn place(trial: &Trial, n: usize) -> usize {
    let events = trial.readers[0].seen.iter().enumerate().filter(|(_, seen)| matches!(seen, Seen::Event { .. }));
    events.map(|(place, _)| place).nth(n).unwrap()
}

proptest! {
    #[test]
    fn a_cursor_is_read_as_it_was_written(position in 0..i64::MAX) {
        prop_assert_eq!(position_of(&cursor_at(position)), Some(position));
    }

    #[test]
    fn what_is_no_cursor_is_not_read(text in "[A-Za-z0-9_=-]{0,17}") {
        prop_assert_eq!(position_of(&text), None);
    }
}

#[test]
fn a_cursor_is_thirteen_bytes_with_its_form_first() {
    assert_eq!(position_of("AQAAAAEAAAAAAAAABQ"), Some(5));
    assert_eq!(position_of("AgAAAAEAAAAAAAAABQ"), None);
}

#[test]
fn positions_have_no_gap() {
    let gap = |trial: &mut Trial| {
        let last = trial.dump.event.last().unwrap().position;
        trial.facts.window.upto = last + 1;
    };
    assert_eq!(after(gap), [I5]);
}

#[test]
fn positions_are_given_once() {
    let twice = |trial: &mut Trial| {
        let mut again = trial.dump.event[0].clone();
        again.run_id = None;
        trial.dump.event.push(again);
    };
    assert!(after(twice).contains(&I5));
}

#[test]
fn other_tenants_rows_count_for_density_alone() {
    let foreign = |trial: &mut Trial| {
        let mut row = trial.dump.event[0].clone();
        row.position = trial.facts.window.upto + 1;
        row.client_id = "t16".into();
        row.run_id = Some("an older run".into());
        trial.dump.event.push(row);
        trial.facts.window.upto += 1;
    };
    assert_eq!(after(foreign), []);
}

#[test]
fn a_reader_misses_nothing() {
    for n in [0, 5, 20] {
        let miss = |trial: &mut Trial| {
            let place = place(trial, n);
            trial.readers[0].seen.remove(place);
        };
        assert_eq!(after(miss), [I5], "event {n}");
    }
}

#[test]
fn a_reader_that_reached_a_position_has_seen_all_before_it() {
    let cut = |trial: &mut Trial| {
        let seen = &mut trial.readers[1].seen;
        let last = seen.iter().rposition(|seen| matches!(seen, Seen::Event { .. })).unwrap();
        seen.remove(last);
    };
    assert_eq!(after(cut), [I5]);
    assert_eq!(
        after(|trial| {
            cut(trial);
            trial.readers[1].seen.retain(|seen| !matches!(seen, Seen::Reached { .. }));
        }),
        []
    );
}

#[test]
fn a_reader_sees_positions_in_order() {
    let swap = |trial: &mut Trial| {
        let (one, other) = (place(trial, 1), place(trial, 2));
        trial.readers[0].seen.swap(one, other);
    };
    assert_eq!(after(swap), [I5]);
    let twice = |trial: &mut Trial| {
        let place = place(trial, 3);
        let again = trial.readers[0].seen[place].clone();
        trial.readers[0].seen.insert(place, again);
    };
    assert_eq!(after(twice), [I5]);
}

#[test]
fn a_reader_that_resumes_earlier_sees_again_what_it_saw() {
    let earlier = |trial: &mut Trial| {
        let first: Vec<Seen> = trial.readers[0].seen[..5].to_vec();
        trial.readers[0].seen.splice(0..0, first);
    };
    assert_eq!(after(earlier), []);
}

#[test]
fn a_reader_is_told_what_is_in_the_database() {
    assert_eq!(after(|trial| told(trial, 4).data = json!({"other": 1})), [I5]);
    assert_eq!(after(|trial| told(trial, 4).r#type = "other".into()), [I5]);
    assert_eq!(after(|trial| told(trial, 4).subject = None), [I5]);
}

#[test]
fn readers_agree_on_the_id_of_a_position() {
    assert_eq!(after(|trial| told(trial, 4).id = "another".into()), [I5]);
}

#[test]
fn a_filter_lets_nothing_else_through() {
    let foreign = |trial: &mut Trial| {
        if let Some(Seen::Opened { client_id, .. }) = trial.readers[1].seen.first_mut() {
            *client_id = Some("t18".into());
        }
    };
    assert_eq!(after(foreign), [I5]);
}

#[test]
fn a_cursor_that_cannot_be_read_is_said() {
    assert_eq!(after(|trial| told(trial, 4).cursor = "nonsense".into()), [I5]);
}

#[test]
fn when_an_event_came_does_not_matter() {
    let late = |trial: &mut Trial| {
        let place = place(trial, 4);
        if let Seen::Event { at, .. } = &mut trial.readers[0].seen[place] {
            *at += chrono::TimeDelta::hours(1);
        }
    };
    assert_eq!(after(late), []);
}
