//! Where values come from, and which source wins: file < environment < command line.
//!
//! Everything is handed in, so that a test is a value. Only [`Sources::of_process`] looks at the process.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{Key, OTHER_VARIABLES, key_named, keys};
use super::report::{Invalid, Note};

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere; the key's default holds.
    Default,
    /// A line of the configuration file.
    File {
        /// The file, as it was named.
        path: String,
        /// Its line, from 1; 0 for the file as a whole.
        line: usize,
    },
    /// An environment variable of this name.
    Environment(String),
    /// A flag of the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// All that may set a key. An empty value counts as not set, in every source.
#[derive(Clone, Default)]
pub struct Sources {
    file_path: String,
    file: BTreeMap<String, (String, usize)>,
    faults: Vec<Invalid>,
    environment: BTreeMap<String, String>,
    command_line: BTreeMap<String, String>,
}

impl Sources {
    /// Sources without a file.
    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        command_line: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            environment: environment.into_iter().collect(),
            command_line: command_line.into_iter().collect(),
            ..Self::default()
        }
    }

    /// This process's environment, the flags given (keyed by configuration name), and the file that
    /// `FERMATA_CONFIG` names in either. A file that cannot be read becomes a reported problem.
    pub fn of_process(command_line: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        let sources = Self::new(environment, command_line);
        let Some((path, origin)) = key_named("FERMATA_CONFIG").and_then(|key| sources.resolve(key)) else {
            return sources;
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => sources.with_file(&path, &text),
            Err(error) => sources.with_fault(Invalid {
                key: "FERMATA_CONFIG".to_owned(),
                reason: format!("names a file that cannot be read: {}", error.kind()),
                origin: origin.to_string(),
                remedy: "name a readable file of KEY=value lines, or leave it unset".to_owned(),
            }),
        }
    }

    /// Adds the text of a configuration file: `KEY=value` lines, `#` comments, quotes around a value.
    pub fn with_file(mut self, path: &str, text: &str) -> Self {
        path.clone_into(&mut self.file_path);
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let fault = match read_line(line) {
                Ok(None) => continue,
                Ok(Some((name, value))) => match self.file.insert(name.to_owned(), (value.to_owned(), number)) {
                    None => continue,
                    Some((_, first)) => file_fault(name, format!("is set twice, first on line {first}"), "keep one"),
                },
                Err(reason) => {
                    let remedy = "write KEY=value, with quotes around a value that holds # or spaces at its ends";
                    file_fault("(line)", reason.to_owned(), remedy)
                }
            };
            let origin = Origin::File { path: self.file_path.clone(), line: number }.to_string();
            self.faults.push(Invalid { origin, ..fault });
        }
        if let Some((_, line)) = self.file.remove("FERMATA_CONFIG").filter(|(value, _)| !value.is_empty()) {
            let fault = file_fault("FERMATA_CONFIG", "is set in the file that it names".to_owned(), "remove the line");
            let origin = Origin::File { path: self.file_path.clone(), line }.to_string();
            self.faults.push(Invalid { origin, ..fault });
        }
        self
    }

    fn with_fault(mut self, fault: Invalid) -> Self {
        self.faults.push(fault);
        self
    }

    /// Problems with a source itself, not with one of its values.
    pub(super) fn faults(&self) -> &[Invalid] {
        &self.faults
    }

    /// The raw value that wins for a key, trimmed, and who set it. Within a source the key's own name
    /// wins over its aliases.
    pub(super) fn resolve(&self, key: &Key) -> Option<(String, Origin)> {
        let names = || std::iter::once(key.name).chain(key.aliases.iter().copied());
        let set = |value: &str| Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        let flag = |name| Some((set(self.command_line.get(name)?)?, Origin::CommandLine));
        let variable = |name: &str| Some((set(self.environment.get(name)?)?, Origin::Environment(name.to_owned())));
        let line = |name| {
            let (value, line) = self.file.get(name)?;
            Some((set(value)?, Origin::File { path: self.file_path.clone(), line: *line }))
        };
        let found = names().find_map(flag).or_else(|| names().find_map(variable));
        found.or_else(|| names().find_map(line))
    }

    /// Names that mean nothing to us: every stranger in the file and the flags, and in the environment
    /// those with our prefix and those one slip away from a key of ours.
    pub(super) fn unknown(&self) -> Vec<Note> {
        let is_stranger = |name: &&String| key_named(name).is_none();
        let lines = self.file.iter().map(|(name, (_, line))| (name, *line)).filter(|(name, _)| is_stranger(name));
        let from_file = lines.map(|(name, line)| (name, Origin::File { path: self.file_path.clone(), line }));
        let from_flags = self.command_line.keys().filter(is_stranger).map(|name| (name, Origin::CommandLine));
        let from_environment = self
            .environment
            .keys()
            .filter(is_stranger)
            .filter(|name| !OTHER_VARIABLES.contains(&name.as_str()))
            .filter(|name| name.starts_with("FERMATA_") || nearest(name).is_some_and(|(_, slips)| slips == 1))
            .map(|name| (name, Origin::Environment(name.clone())));
        from_file
            .chain(from_environment)
            .chain(from_flags)
            .map(|(name, origin)| Note { key: name.clone(), origin: origin.to_string(), remedy: meant(name) })
            .collect()
    }
}

fn file_fault(key: &str, reason: String, remedy: &str) -> Invalid {
    Invalid { key: key.to_owned(), reason, origin: String::new(), remedy: remedy.to_owned() }
}

/// One line of the file: nothing, a pair, or what is wrong with it.
fn read_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("has no `=`")?;
    let name = name.trim();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err("has no name before its `=`");
    }
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inside, after) = rest.split_once(quote).ok_or("has an open quote")?;
            let after = after.trim();
            let sound = after.is_empty() || after.starts_with('#');
            return if sound { Ok(Some((name, inside))) } else { Err("goes on after its closing quote") };
        }
    }
    let end = if value.starts_with('#') { 0 } else { value.find(" #").unwrap_or(value.len()) };
    Ok(Some((name, value[..end].trim_end())))
}

fn meant(name: &str) -> String {
    match nearest(name) {
        Some((near, slips)) if slips <= 3 => format!("did you mean {near}?"),
        _ => "remove it, or see .env.example for the keys that exist".to_owned(),
    }
}

/// The key or variable nearest to a name and how many slips lie between. Short names are too near to everything.
fn nearest(name: &str) -> Option<(&'static str, usize)> {
    const SHORTEST: usize = 8;
    let names = keys().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()));
    let long = names.chain(OTHER_VARIABLES.iter().copied()).filter(|known| known.len() >= SHORTEST);
    long.map(|known| (known, slips(known, name))).min_by_key(|(_, slips)| *slips)
}

/// Levenshtein distance.
fn slips(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
