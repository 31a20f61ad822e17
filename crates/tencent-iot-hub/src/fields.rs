//! The fields of a JSON request, each read once with the error that its surface has for it:
//! the device gateway and the cloud API call a missing field differently.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mqttstack_base::message::Qos;
use serde_json::{Map, Value};

use super::error::Error;

/// Whose words an absent field is refused in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// By the device gateway.
    Gateway,
    /// By the cloud API.
    Cloud,
    /// By the cloud API with GET: every value is a string.
    CloudQuery,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// An integer.
    Integer,
    /// A list of strings.
    Texts,
    /// An object.
    Object,
}

/// The fields of one request.
#[derive(Debug)]
pub(super) struct Fields {
    fields: Map<String, Value>,
    asked: Asked,
}

impl Fields {
    /// Wraps the fields.
    pub(super) fn new(fields: Map<String, Value>, asked: Asked) -> Self {
        Self { fields, asked }
    }

    /// Refuses the first field that is not listed or has another type than the list says.
    pub(super) fn conform(&self, known: &[(&str, Kind)]) -> Result<(), Error> {
        for name in self.fields.keys() {
            let kind = known.iter().find(|(known, _)| known == name);
            match kind.ok_or_else(|| Error::UnknownParameter(name.clone()))?.1 {
                Kind::Text => self.optional_text(name).map(drop),
                Kind::Integer => self.optional_number(name).map(drop),
                Kind::Texts => self
                    .get(name)
                    .map_or(Ok(()), |_| self.texts(name).map(drop)),
                Kind::Object => match self.get(name) {
                    None | Some(Value::Object(_)) => Ok(()),
                    Some(_) => Err(wrong_type(name, "an object")),
                },
            }?;
        }
        Ok(())
    }

    /// The fields of an object among these, or none.
    pub(super) fn object(&self, name: &str) -> Self {
        let inner = self.get(name).and_then(Value::as_object);
        Self::new(inner.cloned().unwrap_or_default(), self.asked)
    }

    /// All of them.
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.fields
    }

    /// A field that may be absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn missing(&self, name: &str) -> Error {
        match self.asked {
            Asked::Gateway => Error::ParamIncomplete(name.to_owned()),
            Asked::Cloud | Asked::CloudQuery => Error::MissingParameter(name.to_owned()),
        }
    }

    /// A string that may be absent.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(name, "a string")),
        }
    }

    /// A string.
    pub(super) fn text(&self, name: &str) -> Result<&str, Error> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    /// A string with at least one character.
    pub(super) fn filled(&self, name: &str) -> Result<&str, Error> {
        let text = self.text(name)?;
        if text.is_empty() {
            return Err(self.missing(name));
        }
        Ok(text)
    }

    /// An integer that may be absent.
    pub(super) fn optional_number(&self, name: &str) -> Result<Option<i64>, Error> {
        let wrong = || wrong_type(name, "an integer");
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or_else(wrong),
            Some(Value::String(text)) if self.asked == Asked::CloudQuery => {
                text.parse().map(Some).map_err(|_| wrong())
            }
            Some(_) => Err(wrong()),
        }
    }

    /// An integer.
    pub(super) fn number(&self, name: &str) -> Result<i64, Error> {
        self.optional_number(name)?
            .ok_or_else(|| self.missing(name))
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>, Error> {
        let wrong = || wrong_type(name, "a list of strings");
        self.get(name)
            .ok_or_else(|| self.missing(name))?
            .as_array()
            .ok_or_else(wrong)?
            .iter()
            .map(|item| item.as_str().ok_or_else(wrong))
            .collect()
    }

    /// `Qos`: 0 or 1.
    pub(super) fn qos(&self) -> Result<Qos, Error> {
        let number = self.number("Qos")?;
        check_qos(number)
    }

    /// `Qos` where it may be absent, which means 0.
    pub(super) fn optional_qos(&self) -> Result<Qos, Error> {
        let number = self.optional_number("Qos")?.unwrap_or(0);
        check_qos(number)
    }

    /// `Payload`, decoded where `PayloadEncoding` says so.
    pub(super) fn payload(&self) -> Result<Bytes, Error> {
        let payload = self.text("Payload")?;
        match self.optional_text("PayloadEncoding")? {
            None | Some("") => Ok(Bytes::copy_from_slice(payload.as_bytes())),
            Some("base64") => STANDARD
                .decode(payload)
                .map(Bytes::from)
                .map_err(|error| wrong_value("Payload", format!("is not base64: {error}"))),
            Some(other) => Err(wrong_value(
                "PayloadEncoding",
                format!("is {other:?}; it must be \"base64\", empty or absent"),
            )),
        }
    }
}

fn check_qos(number: i64) -> Result<Qos, Error> {
    match number {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        other => Err(wrong_value("Qos", format!("is {other}; it must be 0 or 1"))),
    }
}

fn wrong_type(name: &str, wanted: &'static str) -> Error {
    Error::Type {
        name: name.to_owned(),
        wanted,
    }
}

/// A value that is not allowed.
pub(super) fn wrong_value(name: &str, why: impl Into<String>) -> Error {
    Error::Value {
        name: name.to_owned(),
        why: why.into(),
    }
}

/// Refuses a device name outside `[a-zA-Z0-9:_-]{1,48}` (documented at `CreateDevice`).
pub(super) fn check_name(field: &str, name: &str, longest: usize) -> Result<(), Error> {
    let fine = (1..=longest).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-'));
    if fine {
        return Ok(());
    }
    Err(wrong_value(
        field,
        format!("is not 1 to {longest} letters, digits, colons, underscores and hyphens"),
    ))
}
