//! The device shadow: a JSON document that the device reports to and the application wishes
//! into. Source: "Device Shadow Data Flow" and "Device Shadow Details" of the IoT Hub pages.

use serde_json::{Map, Value, json};

/// One device's shadow document.
#[derive(Debug, Clone, Default)]
pub(super) struct Shadow {
    reported: Map<String, Value>,
    reported_at: Map<String, Value>,
    version: u64,
    timestamp: Option<i64>,
}

impl Shadow {
    /// Does what a device published to `$shadow/operation/..` and returns the answer for
    /// `$shadow/operation/result/..`; `None` where the payload is no request.
    pub(super) fn take(&mut self, payload: &[u8], now_ms: i64) -> Option<Value> {
        let request: Value = serde_json::from_slice(payload).ok()?;
        let kind = request.get("type")?.as_str()?;
        let (result, payload) = match kind {
            "get" => (0, self.document()),
            "update" => match self.update(&request, now_ms) {
                Ok(payload) => (0, payload),
                Err(result) => (result, self.document()),
            },
            _ => return None,
        };
        let mut answer = Map::new();
        answer.insert("type".to_owned(), json!(kind));
        answer.insert("result".to_owned(), json!(result));
        answer.insert("timestamp".to_owned(), json!(now_ms));
        if let Some(token) = request.get("clientToken") {
            answer.insert("clientToken".to_owned(), token.clone());
        }
        answer.insert("payload".to_owned(), payload);
        Some(Value::Object(answer))
    }

    /// The document; the blank one has neither reported state nor time.
    fn document(&self) -> Value {
        let mut state = Map::new();
        let mut metadata = Map::new();
        if !self.reported.is_empty() {
            state.insert("reported".to_owned(), self.reported.clone().into());
            metadata.insert("reported".to_owned(), self.reported_at.clone().into());
        }
        let mut document = Map::new();
        document.insert("state".to_owned(), state.into());
        document.insert("metadata".to_owned(), metadata.into());
        document.insert("version".to_owned(), json!(self.version));
        if let Some(timestamp) = self.timestamp {
            document.insert("timestamp".to_owned(), json!(timestamp));
        }
        document.into()
    }

    /// Merges what is reported; a null takes a name away. The answer names only what changed.
    /// A version other than the document's is refused with 5005 (assumed: the device SDK's
    /// number for it).
    fn update(&mut self, request: &Value, now_ms: i64) -> Result<Value, u32> {
        let version = request.get("version").and_then(Value::as_u64);
        if version.is_some_and(|version| version != self.version) {
            return Err(5005);
        }
        let reported = request
            .pointer("/state/reported")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let mut changed_at = Map::new();
        for (name, value) in &reported {
            if value.is_null() {
                self.reported.shift_remove(name);
                self.reported_at.shift_remove(name);
            } else {
                let at = json!({ "timestamp": now_ms });
                self.reported.insert(name.clone(), value.clone());
                self.reported_at.insert(name.clone(), at.clone());
                changed_at.insert(name.clone(), at);
            }
        }
        self.version += 1;
        self.timestamp = Some(now_ms);
        Ok(json!({
            "state": { "reported": reported },
            "metadata": { "reported": changed_at },
            "version": self.version,
            "timestamp": now_ms,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(shadow: &mut Shadow, request: &str) -> Value {
        shadow.take(request.as_bytes(), 1_514_967_088_000).unwrap()
    }

    #[test]
    fn a_blank_shadow_answers_as_the_page_prints_it() {
        let answer = ask(
            &mut Shadow::default(),
            r#"{"type":"get","clientToken":"t"}"#,
        );
        assert_eq!(answer["clientToken"], "t");
        assert_eq!(answer["result"], 0);
        assert_eq!(
            answer["payload"],
            json!({"state": {}, "metadata": {}, "version": 0})
        );
    }

    #[test]
    fn what_was_reported_can_be_got_and_null_takes_it_away() {
        let mut shadow = Shadow::default();
        let update = r#"{"type":"update","state":{"reported":{"t":27,"u":1}},"version":0,"clientToken":"a"}"#;
        let answer = ask(&mut shadow, update);
        assert_eq!(answer["result"], 0);
        assert_eq!(answer["payload"]["version"], 1);
        assert_eq!(answer["payload"]["state"]["reported"]["t"], 27);
        ask(
            &mut shadow,
            r#"{"type":"update","state":{"reported":{"u":null}}}"#,
        );
        let got = ask(&mut shadow, r#"{"type":"get"}"#);
        assert_eq!(got["payload"]["state"], json!({"reported": {"t": 27}}));
        assert_eq!(got["payload"]["version"], 2);
    }

    #[test]
    fn another_version_is_refused_and_changes_nothing() {
        let mut shadow = Shadow::default();
        let update = r#"{"type":"update","state":{"reported":{"t":1}},"version":9}"#;
        assert_eq!(ask(&mut shadow, update)["result"], 5005);
        assert_eq!(
            ask(&mut shadow, r#"{"type":"get"}"#)["payload"]["version"],
            0
        );
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        let mut shadow = Shadow::default();
        for payload in [&b"{"[..], b"[]", b"{}", br#"{"type":"drop"}"#, b"\xff"] {
            assert!(shadow.take(payload, 0).is_none());
        }
    }
}
