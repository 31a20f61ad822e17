//! The device shadow: a JSON document of what the device reports and what the application
//! desires. A device asks over `$shadow/operation/..` ([`Shadow::take`]), an application through
//! `UpdateDeviceShadow` ([`Shadow::desire`]). Sources: "Device Shadow Data Flow" (634/14072,
//! 1105/41835 of 2024-12-27) and "Device Shadow Details" of the IoT Hub pages. As in their samples the
//! `timestamp` of an answer or delta is in seconds, those inside its `payload` in milliseconds; logs
//! of the Java SDK of 2020 and 2021 have milliseconds in both.

use serde_json::{Map, Value, json};

/// The longest `State` of `UpdateDeviceShadow` in bytes (SDK error codes).
pub(super) const MAX_STATE: usize = 8 << 10;
/// The deepest nesting of a shadow document (limits page).
const MAX_DEPTH: usize = 5;
/// The most bytes of state that a shadow keeps, `reported` and `desired` together. The vendor
/// prints none (assumed): an update that would leave more changes nothing, a device's has no answer.
const MAX_KEPT: usize = 256 << 10;

/// The answer to an update of another version than the document's (data flow page).
const VERSION_CONFLICT: u32 = 5005;

/// The time of an answer, from the milliseconds of its payload.
const fn seconds(ms: i64) -> i64 {
    ms.div_euclid(1_000)
}

/// Whether an update is of another version than the document's. Without a version, or with 0 (both
/// documented), none is compared; what is no whole number is another one (assumed).
fn conflicts(asked: Option<&Value>, version: u64) -> bool {
    asked.is_some_and(|asked| match asked.as_u64() {
        None if asked.is_null() => false,
        Some(0) => false,
        Some(asked) => asked != version,
        None => true,
    })
}

/// One device's shadow document.
#[derive(Debug, Clone, Default)]
pub(super) struct Shadow {
    reported: Section,
    desired: Section,
    version: u64,
    timestamp: Option<i64>,
}

/// `reported` or `desired`: values, and when each was set.
#[derive(Debug, Clone, Default)]
struct Section {
    values: Map<String, Value>,
    set_at: Map<String, Value>,
}

impl Section {
    /// Merges; a null takes a name away. Tells when each name changed.
    fn merge(&mut self, changes: &Map<String, Value>, now_ms: i64) -> Map<String, Value> {
        let at = json!({ "timestamp": now_ms });
        for (name, value) in changes {
            if value.is_null() {
                self.values.shift_remove(name);
                self.set_at.shift_remove(name);
            } else {
                self.values.insert(name.clone(), value.clone());
                self.set_at.insert(name.clone(), at.clone());
            }
        }
        stamped(changes.keys(), &at)
    }

    fn bytes(&self) -> usize {
        let each = self.values.iter();
        each.map(|(name, value)| name.len() + value.to_string().len())
            .sum()
    }

    /// Takes everything away. Tells when each name changed.
    fn clear(&mut self, now_ms: i64) -> Map<String, Value> {
        let gone = std::mem::take(self);
        stamped(gone.values.keys(), &json!({ "timestamp": now_ms }))
    }
}

fn stamped<'a>(names: impl Iterator<Item = &'a String>, at: &Value) -> Map<String, Value> {
    names.map(|name| (name.clone(), at.clone())).collect()
}

/// What an application's wish did.
#[derive(Debug)]
pub(super) enum Desire {
    /// The shadow has it.
    Done(Desired),
    /// It is of another version than the document's.
    OtherVersion,
    /// The shadow would have too many bytes of state: this many.
    TooLarge(usize),
}

/// What an application is answered, and its device told.
#[derive(Debug)]
pub(super) struct Desired {
    /// The answer to the application.
    pub(super) answer: Value,
    /// The message to the device, if its state is not the desired one.
    pub(super) delta: Option<Value>,
}

impl Shadow {
    /// Does what a device published to `$shadow/operation/..` and returns the answer for
    /// `$shadow/operation/result/..`; `None` where the payload is no request.
    pub(super) fn take(&mut self, payload: &[u8], now_ms: i64) -> Option<Value> {
        let request: Value = serde_json::from_slice(payload).ok()?;
        let kind = request.get("type")?.as_str()?;
        let (result, payload) = match kind {
            "get" => (0, self.document()),
            "update" => {
                if conflicts(request.get("version"), self.version) {
                    (VERSION_CONFLICT, self.document())
                } else {
                    let state = request.get("state").unwrap_or(&Value::Null);
                    (0, self.update(state, now_ms).ok()?)
                }
            }
            _ => return None,
        };
        let mut answer = Map::new();
        answer.insert("type".to_owned(), json!(kind));
        answer.insert("result".to_owned(), json!(result));
        answer.insert("timestamp".to_owned(), json!(seconds(now_ms)));
        if let Some(token) = request.get("clientToken") {
            answer.insert("clientToken".to_owned(), token.clone());
        }
        answer.insert("payload".to_owned(), payload);
        Some(Value::Object(answer))
    }

    /// Merges an application's `{"desired": ..}`.
    pub(super) fn desire(&mut self, state: &Value, version: u64, now_ms: i64) -> Desire {
        if version != self.version {
            return Desire::OtherVersion;
        }
        let payload = match self.update(state, now_ms) {
            Ok(payload) => payload,
            Err(bytes) => return Desire::TooLarge(bytes),
        };
        let answer = json!({
            "type": "update",
            "result": 0,
            "timestamp": seconds(now_ms),
            "payload": payload,
        });
        let (state, metadata) = self.delta();
        let delta = (!state.is_empty()).then(|| {
            json!({
                "type": "delta",
                "timestamp": seconds(now_ms),
                "payload": {
                    "state": state,
                    "metadata": metadata,
                    "version": self.version,
                    "timestamp": now_ms,
                },
            })
        });
        Desire::Done(Desired { answer, delta })
    }

    /// The document as `DescribeDeviceShadow` answers it.
    pub(super) fn described(&self, now_ms: i64) -> Value {
        let timestamp = seconds(now_ms);
        json!({ "type": "get", "result": 0, "timestamp": timestamp, "payload": self.document() })
    }

    /// What is desired and not reported so, and since when.
    fn delta(&self) -> (Map<String, Value>, Map<String, Value>) {
        let differs =
            |name: &String| self.desired.values.get(name) != self.reported.values.get(name);
        let only = |section: &Map<String, Value>| {
            section
                .iter()
                .filter(|(name, _)| differs(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        (only(&self.desired.values), only(&self.desired.set_at))
    }

    /// The document; the blank one has neither state nor time.
    fn document(&self) -> Value {
        let mut state = Map::new();
        let mut metadata = Map::new();
        let mut add = |name: &str, values: Map<String, Value>, set_at: Map<String, Value>| {
            if !values.is_empty() {
                state.insert(name.to_owned(), values.into());
                metadata.insert(name.to_owned(), set_at.into());
            }
        };
        for (name, section) in [("reported", &self.reported), ("desired", &self.desired)] {
            add(name, section.values.clone(), section.set_at.clone());
        }
        let (values, set_at) = self.delta();
        add("delta", values, set_at);
        let mut document = Map::new();
        document.insert("state".to_owned(), state.into());
        document.insert("metadata".to_owned(), metadata.into());
        document.insert("version".to_owned(), json!(self.version));
        if let Some(timestamp) = self.timestamp {
            document.insert("timestamp".to_owned(), json!(timestamp));
        }
        document.into()
    }

    /// Merges `{"reported": .., "desired": ..}`; a section that is null is emptied. The answer
    /// names only what changed. Fails, with the bytes, where the state would become too large.
    fn update(&mut self, state: &Value, now_ms: i64) -> Result<Value, usize> {
        let mut changed = Map::new();
        let mut changed_at = Map::new();
        let (mut reported, mut desired) = (self.reported.clone(), self.desired.clone());
        for (name, section) in [("reported", &mut reported), ("desired", &mut desired)] {
            let at = match state.get(name) {
                Some(Value::Object(changes)) => section.merge(changes, now_ms),
                Some(Value::Null) => section.clear(now_ms),
                _ => continue,
            };
            changed.insert(name.to_owned(), state[name].clone());
            changed_at.insert(name.to_owned(), at.into());
        }
        let bytes = reported.bytes() + desired.bytes();
        if bytes > MAX_KEPT {
            return Err(bytes);
        }
        (self.reported, self.desired) = (reported, desired);
        self.version += 1;
        self.timestamp = Some(now_ms);
        Ok(json!({
            "state": changed,
            "metadata": changed_at,
            "version": self.version,
            "timestamp": now_ms,
        }))
    }
}

/// What is wrong with the `State` of `UpdateDeviceShadow`; `None` if nothing is. It has
/// `desired`, an object or null, and nothing else; arrays have no empty values (details page).
pub(super) fn state_fault(state: &Value) -> Option<&'static str> {
    let Some(fields) = state.as_object() else {
        return Some("is not an object");
    };
    if fields.keys().any(|name| name != "desired") {
        return Some("has something beside \"desired\"");
    }
    match fields.get("desired") {
        Some(Value::Null) => None,
        Some(desired @ Value::Object(_)) if depth(desired) > MAX_DEPTH => {
            Some("is nested more than 5 levels deep")
        }
        Some(desired @ Value::Object(_)) => {
            has_empty_element(desired).then_some("has an array with a null in it")
        }
        _ => Some("has no object \"desired\""),
    }
}

fn depth(value: &Value) -> usize {
    let inner = |values: &mut dyn Iterator<Item = &Value>| values.map(depth).max().unwrap_or(0);
    match value {
        Value::Object(fields) => 1 + inner(&mut fields.values()),
        Value::Array(items) => 1 + inner(&mut items.iter()),
        _ => 0,
    }
}

fn has_empty_element(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(has_empty_element),
        Value::Array(items) => items
            .iter()
            .any(|item| item.is_null() || has_empty_element(item)),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
