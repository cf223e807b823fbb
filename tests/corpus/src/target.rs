//! A target: its corpus, and a law that must hold for whatever is made of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::strategy::{BoxedStrategy, Strategy};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::mutation::{self, mutations};

/// The seed of a run that names no other.
const SEED: u64 = 7_070;
/// The most steps in which a failing input is made smaller.
const MAX_SHRINK_STEPS: u32 = 400;
/// How long one input may take. Loose: others measure on the same machine, and what hangs takes longer than this.
const MOST_TIME: Duration = Duration::from_secs(10);

/// A file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Something that reads what strangers write.
#[derive(Debug, Clone)]
pub struct Target {
    name: &'static str,
    cases: u32,
    entries: Vec<Entry>,
}

impl Target {
    /// The target of a folder in `data/`, held to its law with this many varied inputs unless the environment's
    /// `FUZZ_CASES` says otherwise.
    ///
    /// # Panics
    ///
    /// When there is no such folder, or nothing in it: a harness without a corpus would hold anything.
    pub fn new(name: &'static str, cases: u32) -> Self {
        let entries = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name));
        assert!(!entries.is_empty(), "tests/corpus/data/{name} has entries");
        Self { name, cases: number("FUZZ_CASES").unwrap_or(cases), entries }
    }

    /// The corpus, in the order of its names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Entries as they are and entries with a few things changed.
    pub fn inputs(&self) -> BoxedStrategy<Vec<u8>> {
        let corpus: Vec<Vec<u8>> = self.entries.iter().map(|entry| entry.bytes.clone()).collect();
        let count = corpus.len();
        (0..count, mutations()).prop_map(move |(entry, changes)| mutation::applied(&corpus, entry, &changes)).boxed()
    }

    /// Holds a law against every entry, and then against varied ones. A law says no by panicking.
    ///
    /// The input under judgement is in `target/fuzz/<target>/last`, so that one that ends the whole process is known.
    ///
    /// # Panics
    ///
    /// When the law does not hold: the message says for which input, and where that was written.
    pub fn holds(&self, law: impl Fn(&[u8])) {
        let last = self.kept("last");
        let judged = |input: &[u8]| {
            write(&last, input);
            let spent = timed(|| law(input));
            assert!(spent <= MOST_TIME, "an input of {} bytes took {spent:?}", input.len());
        };
        for Entry { name, bytes } in &self.entries {
            let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| judged(bytes)));
            assert!(judged.is_ok(), "the law of `{}` does not hold for tests/corpus/data/{0}/{name}", self.name);
        }
        let config = Config {
            cases: self.cases,
            failure_persistence: None,
            max_shrink_iters: MAX_SHRINK_STEPS,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, rng(number("FUZZ_SEED").map_or(SEED, u64::from)));
        let outcome = runner.run(&self.inputs(), |input| {
            judged(&input);
            Ok::<(), TestCaseError>(())
        });
        match outcome {
            Ok(()) => drop(std::fs::remove_file(&last)),
            Err(TestError::Fail(why, input)) => self.report(&why.to_string(), &input),
            Err(TestError::Abort(why)) => panic!("`{}` was given up: {why}", self.name),
        }
    }

    fn report(&self, why: &str, input: &[u8]) {
        let kept = self.kept(&format!("{:016x}", hash(input)));
        write(&kept, input);
        let shown: String = String::from_utf8_lossy(input).chars().take(400).collect();
        panic!(
            "the law of `{}` does not hold: {why}\nthe input, made small: {shown:?}\nit is in {}; mend the code, then copy \
             it to tests/corpus/data/{0}/ under a name that says what was wrong",
            self.name,
            kept.display(),
        );
    }

    /// A file of this target that is no part of the repository.
    fn kept(&self, name: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        root.join(target).join("fuzz").join(self.name).join(name)
    }
}

/// Every file of a folder.
fn read(folder: &Path) -> Vec<Entry> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries: Vec<Entry> = files
        .filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            Some(Entry { name, bytes: std::fs::read(file.path()).ok()? })
        })
        .collect();
    entries.sort_by(|one, two| one.name.cmp(&two.name));
    entries
}

/// Keeping an input helps whoever looks for a fault; where it cannot be kept, the law is judged all the same.
fn write(path: &Path, bytes: &[u8]) {
    if let Some(folder) = path.parent() {
        drop(std::fs::create_dir_all(folder));
    }
    drop(std::fs::write(path, bytes));
}

/// A number out of the environment.
fn number(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[expect(clippy::disallowed_methods, reason = "what is measured is this machine's time, not the engine's")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// FNV-1a: a name for an input, the same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn tiny() -> Target {
        let entry = |name: &str, bytes: &[u8]| Entry { name: name.to_owned(), bytes: bytes.to_vec() };
        Target { name: "tiny", cases: 300, entries: vec![entry("a", b"{\"n\": 12}"), entry("b", b"plain")] }
    }

    fn seen() -> Vec<Vec<u8>> {
        let seen = RefCell::new(Vec::new());
        tiny().holds(|input| seen.borrow_mut().push(input.to_vec()));
        seen.into_inner()
    }

    #[test]
    fn the_same_seed_gives_the_same_inputs() {
        let one = seen();
        assert_eq!(one, seen());
        assert_eq!(one[..2], [b"{\"n\": 12}".to_vec(), b"plain".to_vec()], "entries come first");
        assert!(one.iter().collect::<std::collections::BTreeSet<_>>().len() > 200, "inputs differ");
    }

    #[test]
    fn a_law_that_does_not_hold_is_told_with_the_smallest_input_that_shows_it() {
        let broken = std::panic::catch_unwind(|| tiny().holds(|input| assert!(!input.contains(&0), "a NUL")));
        let message = *broken.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("a NUL") && message.contains("tests/corpus/data/tiny/"), "{message}");
        let kept = message.split("it is in ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
        assert!(std::fs::read(kept).unwrap().contains(&0));
    }

    #[test]
    fn every_corpus_has_ten_to_forty_entries() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        for folder in std::fs::read_dir(data).unwrap().flatten() {
            let count = read(&folder.path()).len();
            assert!((10..=40).contains(&count), "{} has {count} entries", folder.path().display());
        }
    }
}
