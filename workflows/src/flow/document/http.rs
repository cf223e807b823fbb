//! Requests, what is expected of their answers, and conditions on values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{is_false, is_true, yes};
use crate::flow::late::{Late, Seconds, Text};

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the head of an answer.
    Head,
    /// Usually changes something.
    Post,
    /// Changes something.
    Put,
    /// Changes something.
    Patch,
    /// Changes something.
    Delete,
}

impl Method {
    /// Whether the method by itself says that nothing is changed.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// One request. A header or parameter whose template stands for nothing is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCall {
    /// The method.
    pub method: Method,
    /// The address; its host must be on the installation's list.
    pub url: Late<Text>,
    /// Parameters that are encoded and appended to the address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Late<Text>>,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Late<Text>>,
    /// A JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// A URL-encoded form as body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<BTreeMap<String, Late<Text>>>,
    /// A text as body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Late<Text>>,
    /// What the answer must be; by default any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<HttpExpect>,
    /// What is kept of the answer: a name and a JSON Pointer into the body. What is not there is
    /// kept as `null`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub save: BTreeMap<String, String>,
    /// The author's word that a method other than GET and HEAD changes nothing that counts, such
    /// as a login. Everything else belongs into an effect.
    #[serde(default, skip_serializing_if = "is_false")]
    pub safe: bool,
    /// `false` for a step whose answer is secret, such as a login: what it saves is used and never
    /// stored, so the request is made again when the run is taken up again and needs it. Only an
    /// http step may say so, and only one that is free to be repeated.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub record: bool,
    /// How long the request may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<Seconds>,
}

/// What an answer must be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpExpect {
    /// The statuses; any 2xx when empty.
    pub status: Vec<u16>,
    /// What must hold of the body.
    pub body: Vec<Assertion>,
}

/// What must hold of a place in a JSON document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// A JSON Pointer (RFC 6901), such as `/posts/0/id`.
    pub at: String,
    /// What must hold there.
    pub is: Is,
}

/// What must hold of a value. A value that is missing is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// Anything but `null`.
    Present,
    /// `null`.
    Absent,
    /// Equal to this.
    Equals(Value),
    /// Not equal to this.
    NotEquals(Value),
    /// One of these.
    OneOf(Vec<Value>),
    /// A text with this inside, or a list with this in it.
    Contains(Value),
}

impl Is {
    /// Whether it holds.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Present => !value.is_null(),
            Self::Absent => value.is_null(),
            Self::Equals(wanted) => value == wanted,
            Self::NotEquals(unwanted) => value != unwanted,
            Self::OneOf(wanted) => wanted.contains(value),
            Self::Contains(part) => match (value, part) {
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
                (Value::Array(items), part) => items.contains(part),
                _ => false,
            },
        }
    }
}

/// A precondition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A value with templates.
    pub value: Value,
    /// What must hold of it.
    pub is: Is,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_are_words_or_maps_with_one_key() {
        let read = |value: Value| serde_json::from_value::<Is>(value);
        assert!(read(json!("present")).unwrap().holds(&json!(0)));
        assert!(read(json!("absent")).unwrap().holds(&Value::Null));
        assert!(read(json!({"equals": {"a": 1}})).unwrap().holds(&json!({"a": 1})));
        assert!(read(json!({"one_of": [1, "x"]})).unwrap().holds(&json!("x")));
        assert!(read(json!({"contains": "li"})).unwrap().holds(&json!("alive")));
        assert!(read(json!({"contains": 3})).unwrap().holds(&json!([1, 3])));
        assert!(!read(json!({"not_equals": 1})).unwrap().holds(&json!(1)));
        assert!(read(json!({"is": 1})).is_err());
    }
}
