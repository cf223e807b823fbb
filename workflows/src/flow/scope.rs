//! What templates may name, and filling them. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::limits::MAX_FILLED_BYTES;
use super::template::{Filter, Part, Place, Template, TemplateError};

/// The values that a template may name, by the first name of its path.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    roots: Map<String, Value>,
}

/// Why a value could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// Not a template.
    #[error("`{text}` is no template: {source}")]
    Template {
        /// The beginning of the text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: TemplateError,
    },
    /// There is nothing at that path, and text needs something.
    #[error("`${{{path}}}` has no value here; give it one, or write `| default(...)`")]
    Missing {
        /// The path.
        path: String,
    },
    /// A list or an object in the middle of text.
    #[error("`${{{path}}}` is a list or an object; inside text write `| json`")]
    NotText {
        /// The path.
        path: String,
    },
    /// More than [`MAX_FILLED_BYTES`].
    #[error("filling the templates made more than {MAX_FILLED_BYTES} bytes; keep large content in artifacts")]
    TooLarge,
    /// The filled value is not what its field takes.
    #[error("after filling, {field} does not fit: {why}")]
    Shape {
        /// Which field.
        field: String,
        /// What the type says.
        why: String,
    },
}

impl Scope {
    /// A scope with one more root, or another value for it.
    pub fn with(mut self, root: &str, value: Value) -> Self {
        self.roots.insert(root.to_owned(), value);
        self
    }

    /// Stores the result of a step, to be named `steps.<id>`.
    pub fn set_step(&mut self, id: &str, result: Value) {
        let steps = self.roots.entry("steps").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(steps) = steps {
            steps.insert(id.to_owned(), result);
        }
    }

    /// Fills every text of a value. A text that is one place and nothing else becomes the value
    /// itself, with its type; a missing one becomes `null`. Keys are left alone.
    pub fn fill(&self, value: &Value) -> Result<Value, FillError> {
        Filling { scope: self, left: MAX_FILLED_BYTES }.value(value)
    }

    fn look_up(&self, place: &Place) -> Option<&Value> {
        let mut names = place.path.iter();
        let root = self.roots.get(names.next()?)?;
        names.try_fold(root, |value, name| match value {
            Value::Object(fields) => fields.get(name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

struct Filling<'s> {
    scope: &'s Scope,
    left: usize,
}

impl Filling<'_> {
    fn value(&mut self, value: &Value) -> Result<Value, FillError> {
        match value {
            Value::String(text) if Template::is_in(text) => self.text(text),
            Value::String(text) => {
                self.spend(text.len())?;
                Ok(value.clone())
            }
            Value::Array(items) => {
                Ok(Value::Array(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?))
            }
            Value::Object(fields) => {
                let filled = fields.iter().map(|(name, item)| Ok((name.clone(), self.value(item)?)));
                Ok(Value::Object(filled.collect::<Result<_, FillError>>()?))
            }
            other => Ok(other.clone()),
        }
    }

    fn text(&mut self, text: &str) -> Result<Value, FillError> {
        let template = Template::parse(text)
            .map_err(|source| FillError::Template { text: text.chars().take(80).collect(), source })?;
        if let [Part::Place(place)] = template.parts() {
            let value = self.place(place)?.into_owned();
            self.spend(fermata_engine::document::size(&value))?;
            return Ok(value);
        }
        let mut filled = String::new();
        for part in template.parts() {
            let before = filled.len();
            match part {
                Part::Text(plain) => filled.push_str(plain),
                Part::Place(place) => filled.push_str(&as_text(place, &*self.place(place)?)?),
            }
            self.spend(filled.len() - before)?;
        }
        Ok(Value::String(filled))
    }

    fn place(&self, place: &Place) -> Result<Cow<'_, Value>, FillError> {
        let mut value = self.scope.look_up(place).map_or(Cow::Owned(Value::Null), Cow::Borrowed);
        for filter in &place.filters {
            value = match filter {
                Filter::Default(default) if value.is_null() => Cow::Owned(default.clone()),
                Filter::Default(_) => value,
                Filter::Json => Cow::Owned(Value::String(value.to_string())),
                Filter::Url => Cow::Owned(Value::String(url_encoded(&as_text(place, &value)?))),
                Filter::Sha256 if value.is_null() => value,
                Filter::Sha256 => Cow::Owned(Value::String(sha256(&as_text(place, &value)?))),
                Filter::Css => Cow::Owned(Value::String(css_escaped(&as_text(place, &value)?))),
            };
        }
        Ok(value)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), FillError> {
        self.left = self.left.checked_sub(bytes).ok_or(FillError::TooLarge)?;
        Ok(())
    }
}

fn as_text<'v>(place: &Place, value: &'v Value) -> Result<Cow<'v, str>, FillError> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Ok(Cow::Owned(value.to_string())),
        Value::Null => Err(FillError::Missing { path: place.dotted() }),
        Value::Array(_) | Value::Object(_) => Err(FillError::NotText { path: place.dotted() }),
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn css_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\{:x} ", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests {
    use super::*;
    use crate::flow::template::escaped;
    use proptest::prelude::*;
    use serde_json::json;

    fn scope() -> Scope {
        Scope::default()
            .with("inputs", json!({"n": 7, "yes": true, "text": "a \"b\"", "list": [{"id": "x"}], "trap": "${run.id}"}))
            .with("run", json!({"id": "r1"}))
    }

    fn filled(template: Value) -> Result<Value, FillError> {
        scope().fill(&template)
    }

    #[test]
    fn a_whole_text_keeps_the_type_and_a_part_becomes_text() {
        assert_eq!(filled(json!("${inputs.n}")), Ok(json!(7)));
        assert_eq!(filled(json!("${ inputs.list }")), Ok(json!([{"id": "x"}])));
        assert_eq!(filled(json!("n=${inputs.n}, ${inputs.yes}")), Ok(json!("n=7, true")));
        assert_eq!(filled(json!("${inputs.list.0.id}")), Ok(json!("x")));
    }

    #[test]
    fn what_is_missing_is_null_as_a_whole_and_an_error_in_text() {
        assert_eq!(filled(json!("${inputs.none}")), Ok(Value::Null));
        assert_eq!(filled(json!("x${inputs.none}")), Err(FillError::Missing { path: "inputs.none".into() }));
        assert_eq!(filled(json!("x${inputs.none | default(\"-\")}")), Ok(json!("x-")));
        assert_eq!(filled(json!("${inputs.none | default({\"a\": [1]})}")), Ok(json!({"a": [1]})));
    }

    #[test]
    fn filters_make_a_value_safe_where_it_goes() {
        assert_eq!(filled(json!("?q=${inputs.text | url}")), Ok(json!("?q=a%20%22b%22")));
        assert_eq!(filled(json!("[x=\"${inputs.text | css}\"]")), Ok(json!("[x=\"a \\\"b\\\"\"]")));
        assert_eq!(filled(json!("${inputs.list | json}")), Ok(json!("[{\"id\":\"x\"}]")));
        assert!(matches!(filled(json!("-${inputs.list}")), Err(FillError::NotText { .. })));
    }

    #[test]
    fn what_is_filled_in_is_never_read_as_a_template() {
        assert_eq!(filled(json!("${inputs.trap}")), Ok(json!("${run.id}")));
        assert_eq!(filled(json!("<${inputs.trap}>")), Ok(json!("<${run.id}>")));
    }

    #[test]
    fn the_output_is_bounded_however_often_a_value_is_named() {
        let scope = Scope::default().with("inputs", json!({"big": "x".repeat(1 << 20)}));
        let few = json!(["${inputs.big}"]);
        let many = json!(["${inputs.big}", "${inputs.big}-", "${inputs.big}"]);
        assert!(scope.fill(&few).is_ok());
        assert_eq!(scope.fill(&many), Err(FillError::TooLarge));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_a_template_panic(text in "[${}|.a-z()\"'\\\\ é\u{0}]{0,40}|.{0,40}") {
            let _ = filled(Value::String(text));
        }

        #[test]
        fn text_that_is_escaped_fills_to_itself(text in "[${}a.é]{0,40}") {
            prop_assert_eq!(filled(Value::String(escaped(&text))), Ok(Value::String(text)));
        }

        #[test]
        fn a_whole_place_gives_any_value_back_as_it_is(value in any_json()) {
            let scope = Scope::default().with("inputs", json!({ "v": value.clone() }));
            prop_assert_eq!(scope.fill(&json!({"a": ["${inputs.v}"]})), Ok(json!({ "a": [value] })));
        }

        #[test]
        fn a_value_without_places_is_left_alone(value in any_json()) {
            let has_place = value.to_string().contains("${");
            prop_assume!(!has_place);
            prop_assert_eq!(filled(value.clone()), Ok(value));
        }

        #[test]
        fn css_escaping_leaves_no_quote_bare(text in ".{0,40}") {
            let escaped = css_escaped(&text);
            let mut chars = escaped.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c != '"' && c != '\'' && c != '\n');
                if c == '\\' { chars.next(); }
            }
        }
    }
}
