//! Laws of the reading of Postgres's protocol.

use proptest::prelude::*;

use super::*;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], length.as_slice(), body].concat()
}

fn startup(code: u32, rest: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rest.len() + 8).unwrap();
    [&length.to_be_bytes(), code.to_be_bytes().as_slice(), rest].concat()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &[text.as_bytes(), b"\0"].concat())
}

fn prepare(name: &str, text: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

fn execute(name: &str) -> Vec<u8> {
    [message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()), message(b'E', b"\0\0\0\0\0")].concat()
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn done(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// A connection that has started up.
fn started() -> Postgres {
    let mut postgres = Postgres::default();
    postgres.client_sent(startup(SSL_REQUEST, b"").into());
    postgres.server_sent(Bytes::from_static(b"N"));
    postgres.client_sent(startup(196_608, b"user\0me\0\0").into());
    postgres.server_sent([message(b'R', &[0; 4]), ready(IDLE)].concat().into());
    postgres
}

fn known(signs: Vec<Asked>) -> Vec<String> {
    let texts = signs.into_iter().filter_map(|sign| match sign {
        Asked::Known(request) => Some(request.text),
        _ => None,
    });
    texts.collect()
}

fn outcome(postgres: &mut Postgres, request: Vec<u8>, answer: &[Vec<u8>]) -> Outcome {
    postgres.client_sent(request.into());
    match postgres.server_sent(answer.concat().into()).pop() {
        Some(Answered::Whole(outcome)) => outcome,
        other => panic!("the answer is not whole: {other:?}"),
    }
}

#[test]
fn an_execute_of_a_named_statement_knows_its_text() {
    let mut postgres = started();
    let prepared = known(postgres.client_sent([prepare("s1", "insert into a"), sync()].concat().into()));
    let executed = known(postgres.client_sent([execute("s1"), execute("s1"), sync()].concat().into()));
    postgres.client_sent([message(b'C', b"Ss1\0"), sync()].concat().into());
    let closed = known(postgres.client_sent([execute("s1"), sync()].concat().into()));
    assert_eq!((prepared, executed), (vec![String::new()], vec!["insert into a; insert into a".to_owned()]));
    assert_eq!(closed, ["unknown statement"]);
}

#[test]
fn only_what_did_something_and_was_committed_is_a_commit() {
    let mut postgres = started();
    let mut committed = |request: &str, answer: &[Vec<u8>]| outcome(&mut postgres, query(request), answer).committed;
    assert!(committed("insert into a", &[done("INSERT 0 1"), ready(b'I')]));
    assert!(!committed("insert into a", &[message(b'E', b"S\0"), ready(b'I')]), "it failed");
    assert!(!committed("set a = 1", &[done("SET"), ready(b'I')]), "it did nothing");
    assert!(!committed("BEGIN", &[done("BEGIN"), ready(b'T')]));
    assert!(!committed("COMMIT", &[done("COMMIT"), ready(b'I')]), "it was empty");
    assert!(!committed("BEGIN", &[done("BEGIN"), ready(b'T')]));
    assert!(!committed("insert into a", &[done("INSERT 0 1"), ready(b'T')]), "it goes on");
    assert!(committed("COMMIT", &[done("COMMIT"), ready(b'I')]));
    assert!(!committed("BEGIN", &[done("BEGIN"), ready(b'T')]));
    assert!(!committed("insert into a", &[done("INSERT 0 1"), ready(b'T')]));
    assert!(!committed("select wrong", &[message(b'E', b"S\0"), ready(b'E')]));
    assert!(!committed("COMMIT", &[done("ROLLBACK"), ready(b'I')]), "it was rolled back");
    assert!(!committed("", &[message(b'I', b""), ready(b'I')]), "there was nothing");
}

#[test]
fn a_transaction_that_only_reads_does_not_write() {
    let mut postgres = started();
    let read = outcome(&mut postgres, query("select 1 for update"), &[done("SELECT 1"), ready(b'I')]);
    assert!(read.committed && !read.wrote);
    let request = "with w as (insert into a values (1) returning *) select * from w";
    let wrote = outcome(&mut postgres, query(request), &[done("SELECT 1"), ready(b'I')]);
    assert!(wrote.committed && wrote.wrote);
    let none = outcome(&mut postgres, query("update a set b = 1"), &[done("UPDATE 0"), ready(b'I')]);
    assert!(none.committed && !none.wrote);
}

#[test]
fn a_commit_knows_the_statements_of_its_transaction() {
    let mut postgres = started();
    outcome(&mut postgres, query("BEGIN"), &[done("BEGIN"), ready(b'T')]);
    outcome(&mut postgres, query("insert into a"), &[done("INSERT 0 1"), ready(b'T')]);
    let end = outcome(&mut postgres, query("COMMIT"), &[done("COMMIT"), ready(b'I')]);
    assert_eq!(end.transaction, "BEGIN; insert into a; COMMIT");
}

#[test]
fn what_a_request_will_do_is_guessed_before_it_does() {
    let mut postgres = started();
    let mut commits = |text: &str, answer: &[Vec<u8>]| {
        let signs = postgres.client_sent(query(text).into());
        postgres.server_sent(answer.concat().into());
        signs.iter().any(|sign| matches!(sign, Asked::Known(request) if request.commits))
    };
    assert!(commits("insert into a", &[done("INSERT 0 1"), ready(b'I')]));
    assert!(!commits("listen a", &[done("LISTEN"), ready(b'I')]));
    assert!(!commits("begin", &[done("BEGIN"), ready(b'T')]));
    assert!(!commits("insert into a", &[done("INSERT 0 1"), ready(b'T')]));
    assert!(commits("commit", &[done("COMMIT"), ready(b'I')]));
    assert!(commits("begin; insert into a; commit", &[done("COMMIT"), ready(b'I')]));
}

#[test]
fn what_is_not_understood_is_only_passed_through() {
    let plain = |stream: Vec<u8>| Postgres::default().client_sent(stream.into()).contains(&Asked::Plain);
    assert!(plain(startup(80_877_102, &[0; 8])), "a cancel request");
    assert!(plain(startup(196_608, b"user\0me\0replication\0database\0\0")));
    assert!(plain(b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    let mut encrypted = Postgres::default();
    encrypted.client_sent(startup(SSL_REQUEST, b"").into());
    assert_eq!(encrypted.server_sent(Bytes::from_static(b"S"))[0], Answered::Plain);
    let mut copying = started();
    copying.client_sent([prepare("", "copy a from stdin"), execute(""), sync()].concat().into());
    assert!(copying.server_sent(message(b'G', &[0; 3]).into()).contains(&Answered::Plain));
}

/// The signs without how their bytes were split, and the bytes.
fn merged(signs: Vec<Asked>) -> (Vec<Asked>, Vec<u8>) {
    let mut bytes = Vec::new();
    let signs = signs.into_iter().filter(|sign| match sign {
        Asked::Apart(part) | Asked::Part(part) => {
            bytes.extend_from_slice(part);
            false
        }
        _ => true,
    });
    (signs.collect(), bytes)
}

fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-z ;]{0,40}";
    prop_oneof![
        text.prop_map(|text| query(&text)),
        text.prop_map(|text| [prepare("s", &text), sync()].concat()),
        Just([execute("s"), sync()].concat()),
        Just([execute("s"), message(b'H', b""), sync()].concat()),
        Just(message(b'd', b"some data")),
        Just(message(b'X', b"")),
    ]
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_exchanges(
        requests in prop::collection::vec(any_request(), 1..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let stream = requests.concat();
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let whole = merged(started().client_sent(stream.clone().into()));
        let mut postgres = started();
        let pieces = places.windows(2).map(|pair| Bytes::copy_from_slice(&stream[pair[0]..pair[1]]));
        let split = merged(pieces.flat_map(|piece| postgres.client_sent(piece)).collect());
        prop_assert_eq!(&whole.1, &stream);
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn garbage_passes_unchanged(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..9)) {
        for mut postgres in [Postgres::default(), started()] {
            let asked = chunks.iter().flat_map(|chunk| postgres.client_sent(chunk.clone().into())).collect();
            prop_assert_eq!(merged(asked).1, chunks.concat());
        }
        for mut postgres in [Postgres::default(), started()] {
            let answered = chunks.iter().flat_map(|chunk| postgres.server_sent(chunk.clone().into()));
            let bytes = answered.filter_map(|sign| match sign {
                Answered::Apart(bytes) | Answered::Part(bytes) => Some(bytes),
                _ => None,
            });
            prop_assert_eq!(bytes.collect::<Vec<_>>().concat(), chunks.concat());
        }
    }
}
