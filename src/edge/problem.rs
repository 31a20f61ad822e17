//! The answers to requests that belong to no vendor: RFC 9457 problem documents.

use mqttstack_base::exchange::{Answer, Connection, Malformed, reason_phrase};
use serde_json::{Value, json};

use super::table::{ADMIN, ROWS};

/// A problem with its status and what is wrong.
pub(super) fn answer(status: u16, detail: &str) -> Answer {
    document(status, detail, None)
}

/// Nobody answers this request: says who answers what.
pub(super) fn nowhere(method: &str, path: &str) -> Answer {
    let surfaces: Vec<Value> = ROWS
        .iter()
        .map(|row| json!({"vendor": row.surface, "hosts": row.hosts, "paths": row.paths}))
        .chain([json!({"admin": ADMIN})])
        .collect();
    document(
        404,
        &format!("no vendor answers {method} {path} at this host"),
        Some(("surfaces", surfaces.into())),
    )
}

/// The bytes were not a request, and no vendor was recognised in them.
pub(super) fn malformed(problem: &Malformed) -> Answer {
    let status = match problem {
        Malformed::Head(_)
        | Malformed::BlankLine
        | Malformed::ContentLength
        | Malformed::Chunk
        | Malformed::Truncated => 400,
        Malformed::HeadTimeout | Malformed::BodyTimeout => 408,
        Malformed::BodyTooLarge { .. } => 413,
        Malformed::TargetTooLong { .. } => 414,
        Malformed::HeadTooLarge { .. } | Malformed::TooManyFields { .. } => 431,
        Malformed::TransferCoding => 501,
        Malformed::Version => 505,
    };
    answer(status, &problem.to_string()).connection(Connection::Close)
}

fn document(status: u16, detail: &str, more: Option<(&str, Value)>) -> Answer {
    let mut body = json!({
        "type": "about:blank",
        "title": reason_phrase(status),
        "status": status,
        "detail": detail,
    });
    if let Some((key, value)) = more {
        body[key] = value;
    }
    Answer::new(status)
        .header("Content-Type", "application/problem+json")
        .body(body.to_string())
}
