//! How large a YAML document becomes, told without making it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

/// At least so many bytes has the document as compact JSON, its aliases written out. Counting ends behind `most`; a text
/// that is no YAML weighs what comes before the mistake, and its reader will say so.
pub(super) fn of(text: &str, most: usize) -> usize {
    let mut weight = 0;
    // Whatever it says, it was said of what has been weighed.
    let _ = Scale { weight: &mut weight, most }.deserialize(serde_yaml_ng::Deserializer::from_str(text));
    weight
}

struct Scale<'w> {
    weight: &'w mut usize,
    most: usize,
}

impl Scale<'_> {
    fn put<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.weight += bytes;
        if *self.weight <= self.most { Ok(()) } else { Err(E::custom("it is too heavy")) }
    }

    fn another(&mut self) -> Scale<'_> {
        Scale { weight: self.weight, most: self.most }
    }
}

impl<'de> DeserializeSeed<'de> for Scale<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scale<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.put(1)
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.put(1)
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.put(1)
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.put(1)
    }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.put(1)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        self.put(text.len() + 2)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.put(2)?;
        while items.next_element_seed(self.another())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.put(2)?;
        while fields.next_key_seed(self.another())?.is_some() {
            fields.next_value_seed(self.another())?;
        }
        Ok(())
    }

    /// What has a tag: it is refused later, and may be large until then.
    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<(), A::Error> {
        let ((), value) = tagged.variant_seed(self.another())?;
        value.newtype_variant_seed(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_weighs_no_more_than_its_json_has_bytes() {
        for (yaml, json) in [
            ("a: 1\nb: [x, {c: null}]\n", r#"{"a":1,"b":["x",{"c":null}]}"#),
            ("a: &a xyz\nb: [*a, *a]\n", r#"{"a":"xyz","b":["xyz","xyz"]}"#),
            ("[]", "[]"),
            ("~", "null"),
        ] {
            let weight = of(yaml, 1_000);
            assert!(weight <= json.len() && weight * 2 >= json.len() / 2, "{yaml}: {weight}");
        }
        assert_eq!(of("a: !x [bcd, ef]", 1_000), 2 + 3 + 3 + 2 + 5 + 4);
    }
}
