//! Scalars of our own.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{DateTime, SecondsFormat, Utc};

/// A whole number of 64 bits: sizes and durations, which may not fit into an `Int`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Long(pub i64);

/// A whole number of 64 bits: sizes and durations, which may not fit into an `Int`.
#[Scalar]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number.as_i64().map(Self).ok_or_else(|| InputValueError::expected_type(value)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

/// A time, as RFC 3339 writes it, in UTC: the same text as on every other surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub DateTime<Utc>);

/// A time, as RFC 3339 writes it, in UTC.
#[Scalar(name = "DateTime", specified_by_url = "https://datatracker.ietf.org/doc/html/rfc3339")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => match DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(Self(time.to_utc())),
                Err(error) => Err(InputValueError::custom(format!("is no time of RFC 3339: {error}"))),
            },
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_it_does_in_json() {
        let time = DateTime::from_timestamp(1_800_000_000, 120_000_000).unwrap();
        assert_eq!(Time(time).to_value().into_json().unwrap(), serde_json::to_value(time).unwrap());
        assert_eq!(Time::parse(Time(time).to_value()).ok(), Some(Time(time)));
        assert!(Time::parse(Value::from("yesterday")).is_err());
        assert!(Time::parse(Value::from(1)).is_err());
    }
}
