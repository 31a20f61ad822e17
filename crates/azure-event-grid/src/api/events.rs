//! `CloudEvents` as `/topics/{topic}:publish` takes them (`CloudEvents` 1.0, HTTP binding): one
//! in structured mode, many in batched mode, one in binary mode with its attributes in `ce-`
//! headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::exchange::Request;
use mqttstack_pipeline::Walk;
use serde_json::{Map, Value, json};

use super::parameters::{decode, invalid};
use super::rooms::Rooms;
use crate::error::Error;
use crate::events::cloud_event::check_types;
use crate::model::limits;

/// What the headers of binary mode begin with.
const PREFIX: &str = "ce-";

impl Rooms {
    /// Reads the events of a request, in any of the three modes of the HTTP binding.
    pub(crate) fn read_events(&self, walk: &Walk<'_>) -> Result<Vec<Value>, Error> {
        let request = walk.request;
        let kind = request.head.headers.text("content-type").unwrap_or("");
        let essence = kind
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        let size = request.body.len();
        if self.settings.limits && size > limits::EVENTS {
            return Err(Error::EventsTooLarge {
                got: size,
                limit: limits::EVENTS,
            });
        }
        let parsed = || {
            serde_json::from_slice::<Value>(&request.body)
                .map_err(|error| Error::InvalidBody(format!("it is not JSON: {error}")))
        };
        let events = match essence.as_str() {
            "application/cloudevents+json" => vec![parsed()?],
            "application/cloudevents-batch+json" => match parsed()? {
                Value::Array(events) => events,
                _ => {
                    return Err(Error::InvalidBody(
                        "a batch must be a JSON array".to_owned(),
                    ));
                }
            },
            _ if is_binary(request) => vec![binary(request, kind, &essence)?],
            _ => return Err(Error::MediaType(kind.to_owned())),
        };
        if self.settings.limits && events.len() > limits::EVENTS_PER_REQUEST {
            return Err(Error::InvalidBody(format!(
                "it has {} events, the limit is {}",
                events.len(),
                limits::EVENTS_PER_REQUEST
            )));
        }
        for (place, event) in events.iter().enumerate() {
            check_event(event)
                .map_err(|why| Error::InvalidBody(format!("the event at {place} {why}")))?;
        }
        Ok(events)
    }
}

/// Whether the attributes are in headers.
fn is_binary(request: &Request) -> bool {
    let mut names = request.head.headers.iter().map(|(name, _)| name);
    names.any(|name| {
        name.get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
    })
}

/// The event of a request in binary mode: JSON stays JSON, any other content becomes base64.
fn binary(request: &Request, kind: &str, essence: &str) -> Result<Value, Error> {
    let mut event = Map::new();
    for (name, value) in request.head.headers.iter() {
        let lower = name.to_ascii_lowercase();
        let Some(attribute) = lower.strip_prefix(PREFIX) else {
            continue;
        };
        if matches!(attribute, "data" | "data_base64" | "datacontenttype") {
            return Err(invalid(name, "it is no attribute of binary mode"));
        }
        let text = std::str::from_utf8(value).map_err(|_| invalid(name, "it is not UTF-8"))?;
        let text = decode(text.trim(), name)?;
        if event.insert(attribute.to_owned(), json!(text)).is_some() {
            return Err(invalid(name, "it is given more than once"));
        }
    }
    if !kind.is_empty() {
        event.insert("datacontenttype".to_owned(), json!(kind));
    }
    if !request.body.is_empty() {
        let (name, data) = if essence == "application/json" || essence.ends_with("+json") {
            let data = serde_json::from_slice(&request.body)
                .map_err(|error| Error::InvalidBody(format!("it is not JSON: {error}")))?;
            ("data", data)
        } else {
            ("data_base64", json!(STANDARD.encode(&request.body)))
        };
        event.insert(name.to_owned(), data);
    }
    Ok(Value::Object(event))
}

/// The attributes that every `CloudEvent` needs (`CloudEvents` 1.0).
fn check_event(event: &Value) -> Result<(), String> {
    let Value::Object(members) = event else {
        return Err("is not a JSON object".to_owned());
    };
    for name in ["id", "source", "type", "specversion"] {
        match members.get(name) {
            Some(Value::String(text)) if !text.is_empty() => {}
            _ => return Err(format!("has no attribute {name:?}")),
        }
    }
    if members.get("specversion") != Some(&json!("1.0")) {
        return Err("has a specversion other than 1.0".to_owned());
    }
    if members.contains_key("data") && members.contains_key("data_base64") {
        return Err("has both data and data_base64".to_owned());
    }
    check_types(members)?;
    let fits = |name: &str| {
        name.len() <= 20
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    match members
        .keys()
        .find(|name| *name != "data_base64" && !fits(name))
    {
        Some(name) => Err(format!(
            "has the attribute {name:?}: at most 20 lower-case letters and digits are allowed"
        )),
        None => Ok(()),
    }
}
