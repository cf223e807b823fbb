//! Fields that are known only once their templates are filled.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::scope::{FillError, Scope};
use super::template::Template;

/// A `T` whose texts may hold templates, or one template in its place (which keeps its type).
///
/// What can be checked without filling is checked when the document is read.
pub struct Late<T> {
    value: Value,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Late<T> {
    /// The `T` with every template filled.
    pub fn fill(&self, scope: &Scope, field: &str) -> Result<T, FillError> {
        shaped(scope.fill(&self.value)?, field)
    }

    /// The same, or `None` where the template stands for nothing.
    pub fn fill_optional(&self, scope: &Scope, field: &str) -> Result<Option<T>, FillError> {
        match scope.fill(&self.value)? {
            Value::Null => Ok(None),
            value => shaped(value, field).map(Some),
        }
    }
}

impl<T> Late<T> {
    /// The value as written.
    pub fn written(&self) -> &Value {
        &self.value
    }
}

fn shaped<T: DeserializeOwned>(value: Value, field: &str) -> Result<T, FillError> {
    T::deserialize(value).map_err(|error| FillError::Shape { field: field.to_owned(), why: error.to_string() })
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Late<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.as_str().is_some_and(Template::looks_whole) {
            T::deserialize(&value).map_err(D::Error::custom)?;
        }
        Ok(Self { value, of: PhantomData })
    }
}

impl<T> Serialize for Late<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Late<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Late_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let known = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [known, { "type": "string", "pattern": r"^\$\{[\s\S]*\}$" }] })
    }
}

impl<T> Clone for Late<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), of: PhantomData }
    }
}

impl<T> PartialEq for Late<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> fmt::Debug for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Text, or a number or boolean that is meant as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(Self(value.to_string())),
            _ => Err(D::Error::custom("expected text, a number or a boolean")),
        }
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A length of time in seconds; fractions are allowed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    /// As a duration, when it is a number between nothing and `most` seconds.
    pub fn within(self, most: f64, field: &str) -> Result<Duration, FillError> {
        let wrong = || FillError::Shape {
            field: field.to_owned(),
            why: format!("{} is not between 0 and {most} seconds", self.0),
        };
        if !(0.0..=most).contains(&self.0) {
            return Err(wrong());
        }
        Duration::try_from_secs_f64(self.0).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        Scope::default().with("inputs", json!({"yes": true, "n": 3}))
    }

    #[test]
    fn a_template_in_place_of_a_value_keeps_its_type() {
        let late: Late<bool> = serde_json::from_value(json!("${inputs.yes}")).unwrap();
        assert_eq!(late.fill(&scope(), "x"), Ok(true));
        let late: Late<bool> = serde_json::from_value(json!("${inputs.n}")).unwrap();
        assert!(matches!(late.fill(&scope(), "x"), Err(FillError::Shape { .. })));
    }

    #[test]
    fn what_can_be_checked_early_is() {
        assert!(serde_json::from_value::<Late<bool>>(json!("yes")).is_err());
        assert!(serde_json::from_value::<Late<bool>>(json!("no ${inputs.yes}")).is_err());
        assert!(serde_json::from_value::<Late<Text>>(json!("no ${inputs.yes}")).is_ok());
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(Seconds(1.5).within(2.0, "x"), Ok(Duration::from_millis(1_500)));
        for nonsense in [-1.0, 2.1, f64::NAN, f64::INFINITY] {
            assert!(Seconds(nonsense).within(2.0, "x").is_err(), "{nonsense}");
        }
    }
}
