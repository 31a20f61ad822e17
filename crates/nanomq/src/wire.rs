//! The header fields of NanoMQ's answers and how it reads a request's: which come back, in
//! which order, and which of several counts. Captured.

use mqttstack_base::exchange::{Answer, Head};

use super::cjson::Json;

/// The type of the answers that V4's handlers give.
pub(crate) const JSON: &str = "application/json";

/// A JSON answer: `Content-Length`, then `Content-Type` if there is one.
pub(crate) fn json(status: u16, content_type: Option<String>, body: &Json) -> Answer {
    bytes(status, content_type, body.print())
}

/// An answer of any bytes, with the same header fields.
pub(crate) fn bytes(status: u16, content_type: Option<String>, body: Vec<u8>) -> Answer {
    let answer = Answer::new(status).header("Content-Length", body.len().to_string());
    match content_type {
        Some(content_type) => answer.header("Content-Type", content_type),
        None => answer,
    }
    .body(body)
}

/// The first value of a field: what V4 goes by.
pub(crate) fn first(head: &Head, name: &str) -> Option<String> {
    head.headers.get(name).map(|value| lossy(value))
}

/// The request's `Content-Type` as V4 echoes it, if it is not empty.
pub(crate) fn echoed_type(head: &Head) -> Option<String> {
    first(head, "content-type").filter(|value| !value.is_empty())
}

/// The request's `Content-Type` as V1 echoes it: several are joined, as all fields are.
pub(crate) fn echoed_type_v1(head: &Head) -> Option<String> {
    joined(head, "content-type").filter(|value| !value.is_empty())
}

/// Every value of a field joined with `, `: how the HTTP server of 0.8.0 hands over fields that
/// repeat.
pub(crate) fn joined(head: &Head, name: &str) -> Option<String> {
    let values: Vec<String> = head.headers.all(name).map(|value| lossy(value)).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
