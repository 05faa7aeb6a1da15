//! JSON: documents with a version, and values of any form in little memory.

use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// Parses a JSON object with a `version`. The version is checked first, so that a file of a later
/// release is not reported as a broken one.
pub(crate) fn versioned<T: DeserializeOwned>(
    what: &str,
    format: &'static str,
    json: &str,
    version: u32,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let invalid = |reason: String| Error::format(what, format, reason);
    affordable(json).map_err(invalid)?;
    let broken = |error: serde_json::Error| invalid(error.to_string());
    let found = serde_json::from_str::<Version>(json).map_err(broken)?;
    if found.version != version {
        let reason = format!("expected version {version}, found {}", found.version);
        return Err(invalid(reason));
    }
    serde_json::from_str(json).map_err(broken)
}

/// Fails if a [`Value`] of the text might take more memory than 7 times its length and 32 MiB: a few
/// bytes a value is normal, millions of empty lists are not.
fn affordable(json: &str) -> Result<(), String> {
    let cost = |byte: u8| match byte {
        b'[' | b'{' => 64,
        b':' => 72,
        b',' => 8,
        _ => 0,
    };
    let cost: usize = json.bytes().map(cost).sum();
    match cost <= 7 * json.len() + (32 << 20) {
        true => Ok(()),
        false => Err("more lists and names than a file of its size should have".into()),
    }
}

/// Any JSON. Lists of numbers, which are most of what large files hold, take 8 bytes a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// A list of numbers, also the empty list.
    Numbers(Box<[f64]>),
    /// Any other list.
    List(Box<[Value]>),
    Object(Box<[(Box<str>, Value)]>),
}

impl Value {
    /// Parses a text that may hold anything. Several values, a line each, become a list.
    #[cfg(feature = "import")]
    pub fn parse(json: &str) -> Result<Self, String> {
        affordable(json)?;
        let values = serde_json::Deserializer::from_str(json).into_iter();
        let mut values = values
            .collect::<Result<Vec<Self>, _>>()
            .map_err(|error| error.to_string())?;
        match values.pop() {
            Some(only) if values.is_empty() => Ok(only),
            Some(last) => {
                values.push(last);
                Ok(Self::List(values.into()))
            }
            None => Err("expected a value, found none".into()),
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// The elements of a list that are not all numbers.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            Self::Numbers(numbers) if numbers.is_empty() => Some(&[]),
            _ => None,
        }
    }
}

#[cfg(feature = "import")]
impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn entries(&self) -> Option<&[(Box<str>, Self)]> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let mut entries = self.entries()?.iter();
        entries.find_map(|(name, value)| (**name == *key).then_some(value))
    }

    /// The kind of value, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            Self::Numbers(numbers) => format!("a list of {} numbers", numbers.len()),
            Self::List(list) => format!("a list of {}", list.len()),
            Self::Object(entries) => {
                let names = entries.iter().take(5).map(|(name, _)| &**name);
                let names: Vec<&str> = names.collect();
                format!("an object of {} ({} …)", entries.len(), names.join(", "))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let (mut numbers, mut list) = (Vec::new(), Vec::new());
        while let Some(element) = elements.next_element()? {
            match element {
                Value::Number(number) if list.is_empty() => numbers.push(number),
                other => {
                    list.extend(numbers.drain(..).map(Value::Number));
                    list.push(other);
                }
            }
        }
        Ok(match list.is_empty() {
            true => Value::Numbers(numbers.into()),
            false => Value::List(list.into()),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Value::Object(object.into()))
    }
}

#[cfg(test)]
mod tests;
