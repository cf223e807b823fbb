//! No secret is in the repository (O-079): a scan of every tracked file.

use std::collections::BTreeMap;
use std::process::Command;

use super::root;

/// Tracked files that are larger are no text of ours.
const MAX_BYTES: u64 = 4 << 20;
/// Bits per character above which a value is taken for random.
const RANDOM_BITS: f64 = 3.5;
/// The shortest value of `.env.example` that is asked whether it is random.
const RANDOM_LENGTH: usize = 20;

/// What may follow a prefix.
type Alphabet = fn(char) -> bool;

/// How issued keys begin, how many characters of which kind follow at least, and who issues them.
const ISSUED: [(&str, usize, Alphabet, &str); 17] = [
    ("sk-", 20, is_url_safe, "a model provider"),
    ("sk_live_", 16, is_alphanumeric, "Stripe"),
    ("rk_live_", 16, is_alphanumeric, "Stripe"),
    ("whsec_", 20, is_alphanumeric, "a webhook"),
    ("ghp_", 30, is_alphanumeric, "GitHub"),
    ("gho_", 30, is_alphanumeric, "GitHub"),
    ("ghu_", 30, is_alphanumeric, "GitHub"),
    ("ghs_", 30, is_alphanumeric, "GitHub"),
    ("ghr_", 30, is_alphanumeric, "GitHub"),
    ("github_pat_", 22, is_word, "GitHub"),
    ("glpat-", 20, is_url_safe, "GitLab"),
    ("AKIA", 16, is_capital, "AWS"),
    ("ASIA", 16, is_capital, "AWS"),
    ("AIza", 35, is_url_safe, "Google"),
    ("npm_", 36, is_alphanumeric, "npm"),
    ("hf_", 30, is_alphanumeric, "Hugging Face"),
    ("SG.", 40, is_dotted, "SendGrid"),
];

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

fn is_capital(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_url_safe(c: char) -> bool {
    is_word(c) || c == '-'
}

fn is_dotted(c: char) -> bool {
    is_url_safe(c) || c == '.'
}

/// How many characters of a kind a text begins with.
fn run(text: &str, of: Alphabet) -> usize {
    text.chars().take_while(|c| of(*c)).count()
}

/// What secret begins here, if one does.
fn secret_at(rest: &str) -> Option<&'static str> {
    let has_digit = |length: usize| rest.chars().take(length).any(|c| c.is_ascii_digit());
    for (prefix, least, alphabet, issuer) in ISSUED {
        if let Some(random) = rest.strip_prefix(prefix) {
            let length = run(random, alphabet);
            if length >= least && has_digit(prefix.len() + length) {
                return Some(issuer);
            }
        }
    }
    if let Some(kind) = rest.strip_prefix("xox") {
        let (who, random) = kind.split_at_checked(2)?;
        if matches!(who, "a-" | "b-" | "p-" | "r-" | "s-") && run(random, is_url_safe) >= 10 {
            return Some("Slack");
        }
    }
    if rest.starts_with("eyJ") {
        let parts: Vec<&str> = rest[..run(rest, is_dotted)].split('.').collect();
        if parts.len() >= 3 && parts[1].starts_with("eyJ") && parts[..3].iter().all(|part| part.len() >= 10) {
            return Some("a JSON Web Token");
        }
    }
    if let Some(ours) = rest.strip_prefix("fermata_") {
        let (id, secret) = ours.split_once('_')?;
        let is_id = id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit());
        return (is_id && run(secret, is_alphanumeric) >= 40).then_some("Fermata itself");
    }
    let key = rest.strip_prefix("-----BEGIN ")?;
    let (kind, _) = key.split_once("-----")?;
    kind.ends_with("PRIVATE KEY").then_some("a private key")
}

/// The lines of a text that hold a secret, with whose it is.
fn secrets(text: &str) -> Vec<(usize, &'static str)> {
    let of_line = |line: &str| {
        let mut before = ' ';
        line.char_indices().find_map(|(at, c)| {
            let begins = !is_word(before) || c == '-';
            before = c;
            if begins { secret_at(&line[at..]) } else { None }
        })
    };
    text.lines().enumerate().filter_map(|(n, line)| Some((n + 1, of_line(line)?))).collect()
}

/// Assignments of an example environment that hold more than an example should.
fn assigned(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    let is_filled = |(key, value): &(&str, &str)| {
        let value = value.trim().trim_matches(['"', '\'']);
        let is_secret = ["SECRET", "TOKEN", "PASSWORD", "API_KEY", "PRIVATE_KEY", "ENCRYPTION_KEY"];
        let named = is_secret.iter().any(|word| key.trim().ends_with(word));
        (named && !value.is_empty()) || (value.len() >= RANDOM_LENGTH && bits(value) > RANDOM_BITS)
    };
    pairs.filter(is_filled).map(|(key, _)| key).collect()
}

/// Shannon's entropy of the longest run of letters and digits, in bits per character.
fn bits(value: &str) -> f64 {
    let longest = value.split(|c| !is_alphanumeric(c)).max_by_key(|part| part.len()).unwrap_or_default();
    if longest.len() < RANDOM_LENGTH {
        return 0.0;
    }
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    for c in longest.chars() {
        *counts.entry(c).or_default() += 1;
    }
    let whole: f64 = counts.values().copied().map(f64::from).sum();
    counts.values().map(|n| f64::from(*n) / whole).map(|share| -share * share.log2()).sum()
}

/// Every tracked text, by its path from the root.
fn tracked() -> Vec<(String, String)> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    assert!(output.status.success(), "git knows this folder: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let text = |name: &str| {
        let path = root().join(name);
        let size = std::fs::metadata(&path).ok()?.len();
        // A file that was removed and not yet committed, or no text.
        let bytes = if size <= MAX_BYTES { std::fs::read(&path).ok()? } else { return None };
        Some((name.to_owned(), String::from_utf8(bytes).ok()?))
    };
    names.split('\0').filter(|name| !name.is_empty()).filter_map(text).collect()
}

#[test]
fn no_tracked_file_holds_a_secret() {
    let files = tracked();
    assert!(files.len() > 100, "{} files", files.len());
    for (name, text) in files {
        // The line itself stays out of the log.
        let found = secrets(&text);
        assert!(found.is_empty(), "{name} has secrets (line, whose): {found:?}; remove and revoke them");
        if name.rsplit('/').next().is_some_and(|file| file.starts_with(".env")) {
            let found = assigned(&text);
            assert!(found.is_empty(), "{name} has values for {found:?}; leave them empty");
        }
    }
}

#[test]
fn no_environment_file_but_the_example_is_tracked() {
    let strange = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default().to_owned();
        let is_key = [".pem", ".key", ".p12", ".pfx", ".jks"].iter().any(|end| file.ends_with(end));
        is_key || file == "id_rsa" || file == "id_ed25519" || (file.starts_with(".env") && file != ".env.example")
    };
    let found: Vec<_> = tracked().into_iter().map(|(name, _)| name).filter(|name| strange(name)).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Planted where the scan looks, and put together here so that it does not find this file.
fn planted() -> Vec<String> {
    let random = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
    let capitals = "AB12CD34EF56GH78";
    vec![
        format!("sk-{random}"),
        format!("key: \"sk-proj-{random}\""),
        format!("export GH=ghp_{random}"),
        format!("github_pat_{random}"),
        format!("glpat-{random}"),
        format!("(AKIA{capitals})"),
        format!("xoxb-{random}"),
        format!("AIza{random}"),
        format!("Authorization: Bearer eyJ{random}.eyJ{random}.{random}"),
        format!("fermata_{}_{random}{}", "0123456789abcdef".repeat(2), "z".repeat(9)),
        format!("-----BEGIN {} KEY-----", "PRIVATE"),
        format!("-----BEGIN RSA {} KEY-----", "PRIVATE"),
        format!("-----BEGIN OPENSSH {} KEY-----", "PRIVATE"),
    ]
}

#[test]
fn a_planted_secret_is_found() {
    for secret in planted() {
        assert_eq!(secrets(&format!("first line\n  {secret}\n")).len(), 1, "{secret}");
        assert_eq!(secrets(&format!("let x = \"{secret}\";"))[0].0, 1, "{secret}");
    }
    for harmless in [
        "fermata_runs_in_flight_total",
        "task-shaped-words-with-many-hyphens-in-them",
        "risk-of-a1B2c3D4e5F6g7H8i9J0k1L2",
        "the prefix sk- and the prefix ghp_ alone",
        "-----BEGIN PUBLIC KEY-----",
        "eyJhbGciOi.x.sig",
    ] {
        assert_eq!(secrets(harmless), [], "{harmless}");
    }
}

#[test]
fn a_filled_secret_in_the_example_environment_is_found() {
    let filled =
        "# A_TOKEN=not asked\nA_TOKEN=x\nB=q8Zr2Lm9Xw4Tn7Vb1Kc6Hd3Jf5Gs0Pa\nC_PASSWORD=\nD=http://127.0.0.1:7070\n";
    assert_eq!(assigned(filled), ["A_TOKEN", "B"]);
    assert_eq!(assigned("PATH_OF=/var/lib/fermata/artifacts\nLONG=aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"), [""; 0]);
}
