//! Queries, forms and percent escapes: reading and writing.
//!
//! The vendors differ in what they do about a broken escape: [`decode`] and [`decode_field`]
//! refuse it, [`decode_field_loosely`] leaves it as it came.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Why a text cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A percent sign without two hexadecimal digits: it, and up to two bytes that follow.
    #[error("{0:?} is not a percent escape")]
    Escape(String),
    /// The escapes are not UTF-8.
    #[error("its percent escapes are not UTF-8")]
    Utf8,
}

/// The fields of a query or form as they came: name and value, not decoded. A field without `=`
/// has an empty value; empty fields are passed over.
pub fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&')
        .filter(|field| !field.is_empty())
        .map(|field| field.split_once('=').unwrap_or((field, "")))
}

/// Decodes percent escapes. A `+` stays a `+`.
pub fn decode(text: &str) -> Result<Cow<'_, str>, Broken> {
    check_escapes(text)?;
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| Broken::Utf8)
}

/// Decodes a name or a value of a query or form: percent escapes, and `+` as a space.
pub fn decode_field(text: &str) -> Result<Cow<'_, str>, Broken> {
    if !text.contains('+') {
        return decode(text);
    }
    decode(&text.replace('+', " ")).map(|decoded| Cow::Owned(decoded.into_owned()))
}

/// [`decode_field`] that leaves a broken escape as it came. `None` if the bytes are not UTF-8.
pub fn decode_field_loosely(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn check_escapes(text: &str) -> Result<(), Broken> {
    let bytes = text.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let escape = &rest[at..rest.len().min(at + 3)];
        if escape.len() < 3 || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
            let shown = String::from_utf8_lossy(escape).into_owned();
            return Err(Broken::Escape(shown));
        }
        rest = &rest[at + 3..];
    }
    Ok(())
}

/// Appends `text` in UTF-8 with all but the unreserved characters of RFC 3986 as `%XX`, digits in
/// upper case; a space is `%20`.
pub fn encode_into(text: &str, out: &mut String) {
    out.extend(utf8_percent_encode(text, RESERVED));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_space_in_a_field_alone() {
        assert_eq!(decode_field("a+b%20c%2B").unwrap(), "a b c+");
        assert_eq!(decode("a+b%2Fc").unwrap(), "a+b/c");
        assert_eq!(decode_field_loosely("a+b%2F").unwrap(), "a b/");
    }

    #[test]
    fn escapes_are_bytes_of_utf_8() {
        assert_eq!(decode("%E4%BD%a0").unwrap(), "你");
        assert_eq!(decode("你").unwrap(), "你");
        assert!(matches!(decode("plain").unwrap(), Cow::Borrowed("plain")));
        for broken in ["%E4%BD", "%FF"] {
            assert_eq!(decode(broken), Err(Broken::Utf8), "{broken}");
            assert_eq!(decode_field_loosely(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_broken_escape_is_named_or_left() {
        for (text, named) in [("a%2XX", "%2X"), ("%", "%"), ("a%4", "%4"), ("%%41", "%%4")] {
            let broken = Err(Broken::Escape(named.to_owned()));
            assert_eq!(decode(text), broken, "{text}");
            assert_eq!(decode_field(text), broken, "{text}");
        }
        assert_eq!(decode_field_loosely("a%2XX%41").unwrap(), "a%2XXA");
    }

    #[test]
    fn fields_are_split_at_the_first_equals_sign() {
        let read: Vec<_> = fields("a=1&&b&=c&d=e=f").collect();
        assert_eq!(read, [("a", "1"), ("b", ""), ("", "c"), ("d", "e=f")]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(text in ".*") {
            let mut encoded = String::new();
            encode_into(&text, &mut encoded);
            proptest::prop_assert_eq!(&*decode_field(&encoded).unwrap(), &*text);
            proptest::prop_assert_eq!(decode_field_loosely(&encoded).unwrap(), text);
        }
    }
}
