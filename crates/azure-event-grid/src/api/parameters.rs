//! Reading what the vendor percent-encodes and base64-encodes, with errors that name the
//! parameter and the broken place.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_kit::form;

use crate::error::Error;

/// Percent-decodes a text; the error names the first broken escape.
pub(crate) fn decode(text: &str, name: &str) -> Result<String, Error> {
    form::decode(text)
        .map(Cow::into_owned)
        .map_err(|broken| invalid(name, broken.to_string()))
}

/// The decoded parameters of a query or form, in order; `+` is a space.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads `name=value&name=value`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut parameters = Vec::new();
        let decode = |text, name: &str| {
            form::decode_field(text)
                .map(Cow::into_owned)
                .map_err(|broken| invalid(name, broken.to_string()))
        };
        for (name, value) in form::fields(text) {
            let name = decode(name, "query")?;
            let value = decode(value, &name)?;
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter; given twice it is refused.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(invalid(name, "it is given more than once".to_owned()));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Decodes standard base64.
pub(crate) fn base64(text: &str, name: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|error| {
        let error = error.to_string();
        let why = error.trim_end_matches('.');
        invalid(name, format!("it is not base64: {why}"))
    })
}

/// A parameter that cannot be read.
pub(crate) fn invalid(name: &str, why: impl Into<String>) -> Error {
    Error::InvalidParameter {
        name: name.to_owned(),
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_escape_is_named() {
        let error = decode("devices%2XXXX-0000%2Fprompt", "topic").unwrap_err();
        assert_eq!(
            error.to_string(),
            "The parameter 'topic' is invalid: \"%2X\" is not a percent escape."
        );
        assert!(decode("a%2", "topic").is_err() && decode("a%ff", "topic").is_err());
        assert_eq!(decode("a%2Fb+%E5%AD%90", "topic").unwrap(), "a/b+子");
    }

    #[test]
    fn plus_is_a_space_in_a_query_and_slashes_may_stay_raw() {
        let query = Parameters::parse("topic=a/b+c%2B&x&topic2=").unwrap();
        assert_eq!(query.get("topic").unwrap(), Some("a/b c+"));
        assert_eq!(query.get("x").unwrap(), Some(""));
        assert_eq!(query.get("none").unwrap(), None);
        assert!(Parameters::parse("a=1&a=2").unwrap().get("a").is_err());
    }
}
