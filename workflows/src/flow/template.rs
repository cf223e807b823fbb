//! Templates: text with `${path | filter}` places. Pure, and no code runs in them.
//!
//! Grammar: a template is text, `$${` (a plain `${`) and places. A place is a path of names
//! (`steps.login.token`, digits index a list) and filters: `default(JSON)`, `json`, `url`, `css`, `sha256`.
//! Filling is one pass: what is filled in is never read as a template again.

use serde_json::Value;

use super::limits::{MAX_PLACES, MAX_TEMPLATE_BYTES};

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Text as it is.
    Text(String),
    /// A place to fill.
    Place(Place),
}

/// One `${...}`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// The names of the path; at least one.
    pub(crate) path: Vec<String>,
    /// What is done to the value, in order.
    pub(crate) filters: Vec<Filter>,
}

impl Place {
    /// The path as it is written.
    pub(crate) fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// What may be done to a value on its way into the text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// Takes this where there is nothing.
    Default(Value),
    /// Writes it as JSON.
    Json,
    /// Percent-encodes it, for one part of an address.
    Url,
    /// Escapes it for a quoted string in a CSS selector.
    Css,
    /// Takes the SHA-256 of its text, in hex; nothing stays nothing.
    Sha256,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (at byte {at})")]
pub struct TemplateError {
    /// Where, in bytes from the start.
    pub at: usize,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl Template {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Parser { text, at: 0 }.template()
    }

    /// Whether the text has anything that filling would change.
    pub(crate) fn is_in(text: &str) -> bool {
        text.contains("${")
    }

    /// Whether the whole text looks like one place, so that it stands for a value of any type.
    pub(crate) fn looks_whole(text: &str) -> bool {
        text.starts_with("${") && text.ends_with('}')
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The places of the template.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Text(_) => None,
        })
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn template(mut self) -> Result<Template, TemplateError> {
        if self.text.len() > MAX_TEMPLATE_BYTES {
            return Err(self.wrong(format!("a template has at most {MAX_TEMPLATE_BYTES} bytes")));
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut places = 0;
        while let Some(found) = self.rest().find("${") {
            let before = self.take(found);
            if let Some(before) = before.strip_suffix('$') {
                plain.push_str(before);
                plain.push_str(self.take("${".len()));
                continue;
            }
            plain.push_str(before);
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            places += 1;
            if places > MAX_PLACES {
                return Err(self.wrong(format!("a template has at most {MAX_PLACES} places")));
            }
            parts.push(Part::Place(self.place()?));
        }
        plain.push_str(self.rest());
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }

    fn place(&mut self) -> Result<Place, TemplateError> {
        self.take("${".len());
        self.skip_space();
        let mut path = vec![self.name("a path such as `inputs.caption`")?];
        while self.eat('.') {
            path.push(self.name("a name after the dot")?);
        }
        let mut filters = Vec::new();
        self.skip_space();
        while self.eat('|') {
            self.skip_space();
            filters.push(self.filter()?);
            self.skip_space();
        }
        if self.eat('}') {
            return Ok(Place { path, filters });
        }
        Err(self.wrong("expected `}`, `.` or `|`; a plain `${` is written `$${`".to_owned()))
    }

    fn filter(&mut self) -> Result<Filter, TemplateError> {
        let from = self.at;
        match self.name("a filter: default(...), json, url, css or sha256")? {
            name if name == "json" => Ok(Filter::Json),
            name if name == "url" => Ok(Filter::Url),
            name if name == "css" => Ok(Filter::Css),
            name if name == "sha256" => Ok(Filter::Sha256),
            name if name == "default" => self.argument().map(Filter::Default),
            name => {
                self.at = from;
                Err(self.wrong(format!("there is no filter `{name}`; use default(...), json, url, css or sha256")))
            }
        }
    }

    fn argument(&mut self) -> Result<Value, TemplateError> {
        const FORM: &str = "write the default as JSON in brackets, such as default(\"\") or default(0)";
        if !self.eat('(') {
            return Err(self.wrong(FORM.to_owned()));
        }
        let mut stream = serde_json::Deserializer::from_str(self.rest()).into_iter::<Value>();
        let Some(Ok(value)) = stream.next() else {
            return Err(self.wrong(FORM.to_owned()));
        };
        let length = stream.byte_offset();
        self.take(length);
        self.skip_space();
        if self.eat(')') { Ok(value) } else { Err(self.wrong(FORM.to_owned())) }
    }

    fn name(&mut self, expected: &str) -> Result<String, TemplateError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let rest = self.rest();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.wrong(format!("expected {expected}; a plain `${{` is written `$${{`")));
        }
        Ok(self.take(length).to_owned())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> &'t str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, why: String) -> TemplateError {
        TemplateError { at: self.at, why }
    }
}

/// Text in which nothing would be filled: each `${` is written as `$${`.
pub(crate) fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn place(text: &str) -> Place {
        Template::parse(text).unwrap().places().next().unwrap().clone()
    }

    #[test]
    fn a_place_is_a_path_and_filters() {
        let parsed = place("at ${ steps.log-in.0.token | default(\"a) }\") | json }!");
        assert_eq!(parsed.path, ["steps", "log-in", "0", "token"]);
        assert_eq!(parsed.filters, [Filter::Default(json!("a) }")), Filter::Json]);
    }

    #[test]
    fn what_is_no_template_says_where_and_what_to_write() {
        for (text, at) in [
            ("ab${", 4),
            ("${inputs.}", 9),
            ("${a b}", 4),
            ("${a | upper}", 6),
            ("${a | default}", 13),
            ("${a | default(x)}", 14),
            ("${system()}", 8),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }

    #[test]
    fn the_number_of_places_is_bounded() {
        assert!(Template::parse(&"${a}".repeat(MAX_PLACES)).is_ok());
        assert!(Template::parse(&"${a}".repeat(MAX_PLACES + 1)).is_err());
    }
}
