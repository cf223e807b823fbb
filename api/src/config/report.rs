//! What `fermata config check` and `GET /config/validate` say. Values are never shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// All that can be said about a configuration, in one go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConfigReport {
    /// The roles that the report is about, with commas between.
    pub service: String,
    /// Whether these roles may start. Unknown keys do not stop them.
    pub ok: bool,
    /// Keys that these roles need and nobody set.
    pub missing: Vec<String>,
    /// Keys whose value was refused.
    pub invalid: Vec<Invalid>,
    /// Keys that mean nothing to us.
    pub unknown: Vec<String>,
    /// SHA-256 over the effective settings that are not secret, in hex: equal hashes, equal settings.
    pub hash: String,
    /// For each missing and each unknown key: where it was looked for or found, and what to do.
    pub notes: Vec<Note>,
}

/// A value that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Invalid {
    /// The key.
    pub key: String,
    /// What is wrong, without the value.
    pub reason: String,
    /// Who set it: `default`, `FILE:LINE`, `environment variable NAME` or `command line`.
    pub origin: String,
    /// What to do.
    pub remedy: String,
}

/// A remark on a key that has no value to refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Note {
    /// The key.
    pub key: String,
    /// Who set it, or `not set`.
    pub origin: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for ConfigReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.missing.len() + self.invalid.len();
        match problems {
            0 => writeln!(f, "configuration of {}: ok", self.service)?,
            1 => writeln!(f, "configuration of {}: 1 problem", self.service)?,
            _ => writeln!(f, "configuration of {}: {problems} problems", self.service)?,
        }
        for note in self.notes.iter().filter(|note| self.missing.contains(&note.key)) {
            writeln!(f, "  missing  {}\n           -> {}", note.key, note.remedy)?;
        }
        for Invalid { key, reason, origin, remedy } in &self.invalid {
            writeln!(f, "  invalid  {key} {reason} ({origin})\n           -> {remedy}")?;
        }
        for note in self.notes.iter().filter(|note| self.unknown.contains(&note.key)) {
            writeln!(f, "  unknown  {} ({})\n           -> {}", note.key, note.origin, note.remedy)?;
        }
        write!(f, "  hash     {}", self.hash)
    }
}

impl std::error::Error for ConfigReport {}
