//! JSON as NanoMQ sees it, which is as the C library cJSON sees it: strings are bytes that end
//! at the first NUL, numbers are doubles, keys match without case and the first of equal keys
//! wins. [`Json`] is such a value and knows how cJSON prints it; `read.rs` reads one. Neither
//! recurses, nor does the end of a value: a body of 1000 levels costs no stack.
//! Source: cJSON 1.7.15, the recordings' `seq` cases.

pub(crate) mod read;

use std::fmt::Write;

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string: bytes without NUL, perhaps not UTF-8.
    Text(Vec<u8>),
    /// An array.
    Array(Vec<Json>),
    /// An object, its members in order, keys perhaps repeated.
    Object(Vec<(Vec<u8>, Json)>),
}

impl Json {
    /// An object of these members.
    pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Self {
        Self::Object(
            members
                .into_iter()
                .map(|(key, value)| (key.as_bytes().to_vec(), value))
                .collect(),
        )
    }

    /// The first member whose key equals `key` without regard to ASCII case.
    pub(crate) fn get(&self, key: &str) -> Option<&Json> {
        let Self::Object(members) = self else {
            return None;
        };
        members
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub(crate) fn items(&self) -> Option<&[Json]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether it is an object.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// As cJSON prints it unformatted.
    pub(crate) fn print(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut open: Vec<Rest<'_>> = self.begin(&mut out).into_iter().collect();
        while let Some(rest) = open.last_mut() {
            let Some((key, value)) = rest.next() else {
                out.push(rest.close);
                open.pop();
                continue;
            };
            if !std::mem::take(&mut rest.first) {
                out.push(b',');
            }
            if let Some(key) = key {
                print_text(key, &mut out);
                out.push(b':');
            }
            open.extend(value.begin(&mut out));
        }
        out
    }

    /// Prints all of a scalar, or how a container begins; what of it is to come.
    fn begin(&self, out: &mut Vec<u8>) -> Option<Rest<'_>> {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(print_number(*number).as_bytes()),
            Self::Text(text) => print_text(text, out),
            Self::Array(items) => {
                out.push(b'[');
                return Some(Rest::of(Parts::Items(items.iter()), b']'));
            }
            Self::Object(members) => {
                out.push(b'{');
                return Some(Rest::of(Parts::Members(members.iter()), b'}'));
            }
        }
        None
    }

    /// Moves what a container holds to others that wait for their end.
    fn give_up(&mut self, waiting: &mut Vec<Self>) {
        let deep = |value: &Self| matches!(value, Self::Array(_) | Self::Object(_));
        match self {
            Self::Array(items) => waiting.extend(items.drain(..).filter(deep)),
            Self::Object(members) => {
                let values = members.drain(..).map(|(_, value)| value);
                waiting.extend(values.filter(deep));
            }
            _ => {}
        }
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        let mut waiting = Vec::new();
        self.give_up(&mut waiting);
        while let Some(mut value) = waiting.pop() {
            value.give_up(&mut waiting);
        }
    }
}

/// What of a container is still to be printed.
struct Rest<'a> {
    parts: Parts<'a>,
    first: bool,
    close: u8,
}

enum Parts<'a> {
    Items(std::slice::Iter<'a, Json>),
    Members(std::slice::Iter<'a, (Vec<u8>, Json)>),
}

impl<'a> Rest<'a> {
    const fn of(parts: Parts<'a>, close: u8) -> Self {
        Self {
            parts,
            first: true,
            close,
        }
    }

    /// The next value, with its key if it is a member.
    fn next(&mut self) -> Option<(Option<&'a [u8]>, &'a Json)> {
        match &mut self.parts {
            Parts::Items(items) => items.next().map(|item| (None, item)),
            Parts::Members(members) => {
                let (key, value) = members.next()?;
                Some((Some(key), value))
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(until_nul(text.as_bytes()).to_vec())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u16> for Json {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Number(double(number))
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Self::from(text),
            Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(key, value)| (key.into_bytes(), value.into()))
                    .collect(),
            ),
        }
    }
}

/// The bytes in front of the first NUL: what C calls the string.
pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    text.iter()
        .position(|byte| *byte == 0)
        .map_or(text, |end| &text[..end])
}

#[expect(
    clippy::cast_precision_loss,
    reason = "cJSON keeps every number as a double"
)]
fn double(number: u64) -> f64 {
    number as f64
}

/// How C on x86-64 turns a double into an `int`: cut, and out of range (or no number) the
/// smallest `int`. Captured: `req` 2147483648 acts like a negative one.
#[expect(clippy::cast_possible_truncation, reason = "checked just before")]
pub(crate) fn to_int(number: f64) -> i32 {
    let cut = number.trunc();
    if cut >= f64::from(i32::MIN) && cut <= f64::from(i32::MAX) {
        cut as i32
    } else {
        i32::MIN
    }
}

/// How C on x86-64 turns a double into a `uint64_t`: below 2^63 by way of a signed number
/// (so -5 becomes 2^64 - 5, and what is no number 2^63), from 2^63 on less that; 2^64 and above
/// give 0. Captured for -5, 1E400, 1e19 and a missing `seq`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the machine's conversion is what is wanted"
)]
pub(crate) fn to_u64(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |value: f64| {
        let cut = value.trunc();
        if (-HALF..HALF).contains(&cut) {
            cut as i64
        } else {
            i64::MIN
        }
    };
    if number >= HALF {
        (signed(number - HALF) as u64) ^ (1 << 63)
    } else {
        signed(number) as u64
    }
}

/// A double as cJSON prints it: what fits an `int` in decimal, anything else with 15
/// significant digits, or with 17 where those do not read back as nearly the same number.
pub(crate) fn print_number(number: f64) -> String {
    if !number.is_finite() {
        return "null".to_owned();
    }
    if number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        return to_int(number).to_string();
    }
    let short = general(number, 15);
    let nearly =
        |other: f64| (number - other).abs() <= number.abs().max(other.abs()) * f64::EPSILON;
    match short.parse::<f64>() {
        Ok(read) if nearly(read) => short,
        _ => general(number, 17),
    }
}

/// C's `%.{digits}g`.
pub(crate) fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let precision = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= precision {
        let mantissa = without_trailing_zeros(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    without_trailing_zeros(&format!("{number:.decimals$}")).to_owned()
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn print_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let mut escape = String::with_capacity(6);
                // Writing to a String cannot fail.
                let _ = write!(escape, "\\u{byte:04x}");
                out.extend_from_slice(escape.as_bytes());
            }
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
