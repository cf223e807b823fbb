//! Laws of what is held and what passes, in step with messages that a socket could split anywhere.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fault::FaultSpec;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

/// A statement that is prepared, executed and synced in one go.
fn insert(n: u8) -> Vec<u8> {
    let text = format!("\0insert into t values ({n})\0\0\0");
    let parts = [message(b'P', text.as_bytes()), message(b'B', &[0; 8]), message(b'E', &[0; 5]), message(b'S', b"")];
    parts.concat()
}

fn inserted() -> Vec<u8> {
    [message(b'2', b""), message(b'C', b"INSERT 0 1\0"), message(b'Z', b"I")].concat()
}

struct Pair {
    talk: Talk,
    book: Book,
}

impl Pair {
    /// A connection of Postgres that has started up.
    fn started(faults: &[Value]) -> Self {
        let mut book = Book::new("link".to_owned(), Protocol::Postgres, 0);
        for (n, fault) in faults.iter().enumerate() {
            let fault: FaultSpec = serde_json::from_value(fault.clone()).unwrap();
            assert!(book.arm(format!("f{n}"), fault.understood(Protocol::Postgres).unwrap()));
        }
        let mut pair = Self { talk: Talk::new(1, Protocol::Postgres), book };
        pair.client(&[0, 0, 0, 8, 0, 3, 0, 0]);
        pair.server(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
        pair
    }

    fn client(&mut self, bytes: &[u8]) -> Vec<Step> {
        self.talk.client_sent(Bytes::copy_from_slice(bytes), &mut self.book)
    }

    fn server(&mut self, bytes: &[u8]) -> Vec<Step> {
        self.talk.server_sent(Bytes::copy_from_slice(bytes), &mut self.book)
    }
}

/// The bytes that are passed on, and whether both sides are then reset.
fn passed(steps: &[Step]) -> (Vec<u8>, bool) {
    let bytes = steps.iter().filter_map(|step| match step {
        Step::Write(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    (bytes.flatten().collect(), steps.last() == Some(&Step::Cut))
}

#[test]
fn with_nothing_armed_not_a_byte_is_held() {
    let mut pair = Pair::started(&[]);
    for byte in insert(1) {
        assert_eq!(passed(&pair.client(&[byte])), (vec![byte], false));
    }
    for byte in inserted() {
        assert_eq!(passed(&pair.server(&[byte])), (vec![byte], false));
    }
    assert_eq!(pair.book.counts.commits, 1);
}

#[test]
fn answers_in_flight_belong_to_their_exchanges_in_order() {
    let mut pair = Pair::started(&[json!({ "kind": "cut_answer", "match": "(2)" })]);
    let all = [insert(1), insert(2), insert(3)].concat();
    assert_eq!(passed(&pair.client(&all)), (all, false));
    assert_eq!(passed(&pair.server(&[inserted(), inserted(), inserted()].concat())), (inserted(), true));
}

#[test]
fn an_answer_that_the_client_flushes_for_is_not_held() {
    let mut pair = Pair::started(&[json!({ "kind": "cut_answer" }), json!({ "kind": "cut_request", "after": 1 })]);
    let prepare = [message(b'P', b"s\0insert into t\0\0\0"), message(b'H', b"")].concat();
    assert_eq!(passed(&pair.client(&prepare)), (prepare, false));
    assert_eq!(passed(&pair.server(&message(b'1', b""))), (message(b'1', b""), false));
}

#[test]
fn a_notification_before_a_held_request_is_no_part_of_its_answer() {
    let mut pair = Pair::started(&[json!({ "kind": "cut_request" }), json!({ "kind": "cut_answer" })]);
    let all = insert(1);
    assert_eq!(passed(&pair.client(&all[..9])), (Vec::new(), false));
    let notification = message(b'A', b"\0\0\0\0a\0b\0");
    assert_eq!(passed(&pair.server(&notification)), (notification, false));
    assert_eq!(passed(&pair.client(&all[9..])), (Vec::new(), true));
}

#[test]
fn a_fault_that_is_armed_in_the_middle_of_an_answer_comes_too_late_for_it() {
    let mut pair = Pair::started(&[]);
    pair.client(&insert(1));
    pair.server(&inserted()[..3]);
    let fault: FaultSpec = serde_json::from_value(json!({ "kind": "cut_answer" })).unwrap();
    pair.book.arm("f".to_owned(), fault.understood(Protocol::Postgres).unwrap());
    assert_eq!(passed(&pair.server(&inserted()[3..])), (inserted()[3..].to_vec(), false));
    pair.client(&insert(2));
    assert_eq!(passed(&pair.server(&inserted())), (Vec::new(), true));
}

#[test]
fn what_is_held_is_given_out_when_the_faults_are_cleared() {
    let mut pair = Pair::started(&[json!({ "kind": "cut_request" }), json!({ "kind": "cut_answer" })]);
    let all = insert(1);
    pair.client(&all[..9]);
    pair.book.disarm(None);
    assert_eq!(passed(&pair.talk.release(Toward::Server)), (all[..9].to_vec(), false));
    assert_eq!(passed(&pair.client(&all[9..])), (all[9..].to_vec(), false));
}

#[test]
fn what_is_held_passes_when_the_talk_turns_plain() {
    let mut pair = Pair::started(&[json!({ "kind": "cut_answer" })]);
    pair.client(&insert(1));
    assert_eq!(passed(&pair.server(&inserted()[..8])), (Vec::new(), false));
    assert_eq!(passed(&pair.client(b"\xff\xff")), (b"\xff\xff".to_vec(), false));
    assert!(pair.talk.has_turned());
    assert_eq!(passed(&pair.talk.release(Toward::Client)), (inserted()[..8].to_vec(), false));
}

proptest! {
    #[test]
    fn holding_loses_and_reorders_nothing(
        count in 1_u8..6,
        cuts in prop::collection::vec(1_usize..40, 1..30),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let never = ["cut_answer", "cut_request", "half_answer"];
        let faults = never.map(|kind| json!({ "kind": kind, "within": "never" }));
        let mut pair = Pair::started(&faults);
        let asked = [(0..count).flat_map(insert).collect(), garbage.clone()].concat();
        let answered = [inserted().repeat(usize::from(count)), garbage].concat();
        let mut out = (Vec::new(), Vec::new());
        let (mut left, mut right) = (asked.as_slice(), answered.as_slice());
        for cut in cuts.iter().cycle() {
            if left.is_empty() && right.is_empty() {
                break;
            }
            let (chunk, rest) = left.split_at((*cut).min(left.len()));
            left = rest;
            out.0.extend(passed(&pair.client(chunk)).0);
            if left.is_empty() {
                let (chunk, rest) = right.split_at((*cut).min(right.len()));
                right = rest;
                out.1.extend(passed(&pair.server(chunk)).0);
            }
        }
        out.0.extend(passed(&pair.talk.release(Toward::Server)).0);
        out.1.extend(passed(&pair.talk.release(Toward::Client)).0);
        prop_assert_eq!(out, (asked, answered));
    }
}
