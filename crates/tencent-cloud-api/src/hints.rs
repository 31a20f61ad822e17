//! Which known mistake leads to the signature that was sent: each is tried by itself, and the
//! journal names the one that fits. The caller's answer never carries a hint.

use std::io;

use mqttstack_kit::hex;
use serde_json::Value;
use serde_json::ser::Formatter;

use super::signed::{Signed, hmac_sha256, sha256_hex};

/// Longer bodies are not written anew: a hint must not cost more than the request.
const MAX_BODY: usize = 64 << 10;

/// The longest text that a reason quotes, in characters.
const MAX_QUOTED: usize = 1_024;
/// What the name of a parameter has in it whose value no reason quotes.
const HIDDEN: [&str; 5] = ["password", "secretkey", "token", "psk", "secret"];

/// What is said of a key that another id is configured with.
pub(super) fn of_another(id: &str) -> String {
    format!("it is the one under the SecretKey of {id}")
}

/// What is said where no known mistake fits.
pub(super) fn unknown(id: &str, signed: &Signed) -> String {
    let mut shown = signed.clone();
    shown.query = hidden(&signed.query);
    let text = signed.string_to_sign(&signed.canonical_request(false));
    format!(
        "{}; the server's canonical request is {:?}, its string to sign {:?}",
        unfit(id),
        cut(&shown.canonical_request(false)),
        cut(&text)
    )
}

/// The same of the older signature.
pub(super) fn unknown_of_v1(id: &str, string_to_sign: &str) -> String {
    let text = cut(&hidden(string_to_sign));
    format!("{}; the server's string to sign is {text:?}", unfit(id))
}

fn unfit(id: &str) -> String {
    format!(
        "it is not the one under the SecretKey configured for {id}, nor that of any known mistake: \
         compare what you sign with what the server does, then the key"
    )
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_QUOTED).collect();
    if cut.len() < text.len() {
        cut.push_str("..");
    }
    cut
}

/// Pairs of a query or form without the values that are secrets.
fn hidden(pairs: &str) -> String {
    let shown: Vec<String> = pairs
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let lower = name.to_ascii_lowercase();
            let secret = !lower.ends_with("secretid") && HIDDEN.iter().any(|it| lower.contains(it));
            if secret && !value.is_empty() {
                format!("{name}=***")
            } else {
                pair.to_owned()
            }
        })
        .collect();
    shown.join("&")
}

/// The mistake that leads from `signed` to `signature`, in words.
pub(super) fn explain(signed: &Signed, key: &str, signature: &str) -> Option<String> {
    let fits = |other: &Signed, key: &str| {
        other.signature(key, &other.canonical_request(false)) == signature
    };
    if fits(&with_case(signed), key) || signature.eq_ignore_ascii_case(&exact(signed, key)) {
        return Some("the signature is written in upper-case digits; it must be lower case".into());
    }
    for (what, body) in respellings(&signed.body) {
        let mut other = signed.clone();
        other.payload_hash = sha256_hex(&body);
        if fits(&other, key) {
            return Some(format!(
                "it fits the body {what}, not the bytes that were sent"
            ));
        }
    }
    for (name, values) in alternatives(signed) {
        for value in values {
            let mut other = signed.clone();
            for (key, old) in &mut other.headers {
                if *key == name {
                    old.clone_from(&value);
                }
            }
            if fits(&other, key) {
                return Some(format!("it fits {name}: {value:?}, which was not sent"));
            }
        }
    }
    if fits(signed, key.trim()) {
        return Some("the configured SecretKey has blanks around it".to_owned());
    }
    without_prefix(signed, key, signature)
}

fn exact(signed: &Signed, key: &str) -> String {
    signed.signature(key, &signed.canonical_request(false))
}

fn with_case(signed: &Signed) -> Signed {
    let mut other = signed.clone();
    other.payload_hash.make_ascii_uppercase();
    other
}

fn without_prefix(signed: &Signed, key: &str, signature: &str) -> Option<String> {
    let date = hmac_sha256(key.as_bytes(), signed.date.as_bytes());
    let service = hmac_sha256(&date, signed.service.as_bytes());
    let last = hmac_sha256(&service, b"tc3_request");
    let text = signed.string_to_sign(&signed.canonical_request(false));
    (hex::lower(hmac_sha256(&last, text.as_bytes())) == signature)
        .then(|| "the key was derived without the prefix \"TC3\"".to_owned())
}

/// Header values that clients sign in place of those that they send.
fn alternatives(signed: &Signed) -> Vec<(String, Vec<String>)> {
    signed
        .headers
        .iter()
        .filter_map(|(name, _)| match name.as_str() {
            "host" => {
                let real = format!("{}.tencentcloudapi.com", signed.service);
                Some((name.clone(), vec![real]))
            }
            "content-type" => Some((
                name.clone(),
                [
                    "application/json",
                    "application/json; charset=utf-8",
                    "application/json;charset=utf-8",
                    "application/json; charset=UTF-8",
                ]
                .map(ToOwned::to_owned)
                .to_vec(),
            )),
            _ => None,
        })
        .collect()
}

/// The same JSON as other writers would write it, and the usual slips of bytes, each with a
/// phrase that fits behind "the body". A client that signs one and sends another is found so.
pub fn respellings(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    if body.len() > MAX_BODY {
        return Vec::new();
    }
    let mut found = vec![("left empty", Vec::new())];
    let mut trimmed = body.trim_ascii().to_vec();
    found.push(("without the white space around it", trimmed.clone()));
    trimmed.push(b'\n');
    found.push(("with a line feed at its end", trimmed));
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        found.push(("written without white space", value.to_string().into()));
        found.push(("written as Python's json.dumps does", spaced(&value)));
        let sorted = sorted(&value);
        found.push((
            "with its names sorted and without white space",
            sorted.to_string().into(),
        ));
        found.push(("with its names sorted, as json.dumps does", spaced(&sorted)));
        // `ensure_ascii`, which is Python's default.
        found.push((
            "as json.dumps does, all but ASCII escaped",
            escaped(&spaced(&value)),
        ));
        found.push((
            "without white space, all but ASCII escaped",
            escaped(value.to_string().as_bytes()),
        ));
    }
    found.retain(|(_, bytes)| bytes != body);
    found
}

/// JSON with `\uXXXX` in place of every character outside ASCII.
fn escaped(json: &[u8]) -> Vec<u8> {
    use std::fmt::Write;
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out.into_bytes()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            Value::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (name.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// `", "` and `": "` as Python writes them by default.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

fn spaced(value: &Value) -> Vec<u8> {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    // Writing a Value to a Vec cannot fail; a failure would only lose a hint.
    let _ = value.serialize(&mut serializer);
    bytes
}
