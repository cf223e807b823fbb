//! Persisted documents: what dashboards ask, known by the hash of its text.
//!
//! A document is a file in `graphql/documents/`. A client may send its id (`documentId`, or
//! `extensions.persistedQuery.sha256Hash`) instead of its text; a server may answer nothing else.

use sha2::{Digest as _, Sha256};

use crate::limit::Limit;

/// A document that is known by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persisted {
    /// The name of its file.
    pub name: &'static str,
    /// SHA-256 of its text, in hex.
    pub id: String,
    /// The text.
    pub text: &'static str,
}

macro_rules! documents {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../documents/", $name, ".graphql")))),+]
    };
}

const DOCUMENTS: &[(&str, &str)] =
    documents!["overview", "commands", "command", "gates", "decide_gate", "cancel_command", "events"];

/// Every persisted document.
pub fn persisted() -> Vec<Persisted> {
    DOCUMENTS.iter().map(|&(name, text)| Persisted { name, id: id_of(text), text }).collect()
}

/// The id of a text.
pub fn id_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// The documents that a server knows, and whether it answers others.
#[derive(Debug, Clone)]
pub struct Library {
    known: Vec<Persisted>,
    only: bool,
}

impl Library {
    /// The persisted documents; with `only`, nothing else is answered.
    pub fn new(only: bool) -> Self {
        Self { known: persisted(), only }
    }

    /// The text to execute, out of what was sent: a text, an id, or both.
    pub fn find(&self, text: Option<String>, id: Option<&str>) -> Result<String, Limit> {
        let known = |id: &str| self.known.iter().find(|document| document.id.eq_ignore_ascii_case(id));
        match (text, id) {
            (Some(text), Some(id)) if !id_of(&text).eq_ignore_ascii_case(id) => {
                Err(Limit::new("persisted_query_mismatch", "the id is not the SHA-256 of the document"))
            }
            (Some(text), _) if self.only && known(&id_of(&text)).is_none() => {
                let message = "this server answers persisted documents only; they are listed in graphql/documents";
                Err(Limit::new("persisted_query_only", message))
            }
            (Some(text), _) => Ok(text),
            (None, Some(id)) => known(id).map(|document| document.text.to_owned()).ok_or_else(|| {
                // The words that clients of automatic persisted queries look for.
                Limit::new("persisted_query_not_found", "PersistedQueryNotFound")
            }),
            (None, None) => {
                Err(Limit::new("graphql_request", "send the document as `query`, or its id as `documentId`"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_known_once() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/documents");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let mut known: Vec<_> = persisted().iter().map(|document| document.name.to_owned()).collect();
        files.sort();
        known.sort();
        assert_eq!(files, known);
    }

    #[test]
    fn a_document_is_found_by_its_id_and_by_its_text() {
        let (open, shut) = (Library::new(false), Library::new(true));
        let one = &persisted()[0];
        for library in [&open, &shut] {
            assert_eq!(library.find(None, Some(&one.id)).unwrap(), one.text);
            assert_eq!(library.find(Some(one.text.into()), None).unwrap(), one.text);
            assert_eq!(library.find(Some(one.text.into()), Some(&one.id.to_uppercase())).unwrap(), one.text);
            assert_eq!(library.find(None, Some("00")).unwrap_err().code, "persisted_query_not_found");
            assert_eq!(library.find(None, None).unwrap_err().code, "graphql_request");
            let other = library.find(Some("{ a }".into()), Some(&one.id));
            assert_eq!(other.unwrap_err().code, "persisted_query_mismatch");
        }
        assert_eq!(open.find(Some("{ a }".into()), None).unwrap(), "{ a }");
        assert_eq!(shut.find(Some("{ a }".into()), None).unwrap_err().code, "persisted_query_only");
    }
}
