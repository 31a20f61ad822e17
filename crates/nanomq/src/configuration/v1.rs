//! V1's configuration: what request 11 shows and request 12 takes.
//! Source: the recordings of 0.8.0; its `rest_api.c` for the list of what 12 takes.

use super::super::cjson::Json;
use super::{Document, Kind, Setting, same};

/// The document of 0.8.0 as shipped, without a bridge file.
pub(crate) const SHIPPED: &str = r#"{"url":"nmq-tcp://0.0.0.0:1883","num_taskq_thread":4,
"max_taskq_thread":4,"parallel":32,"property_size":32,"msq_len":256,"qos_duration":10,
"allow_anonymous":true,"daemon":false,
"tls":{"enable":false,"url":"tls+nmq-tcp://0.0.0.0:8883","verify_peer":false,
"fail_if_no_peer_cert":false},
"websocket":{"enable":true,"url":"nmq-ws://0.0.0.0:8083/mqtt","tls_url":"nmq-wss://0.0.0.0:8084/mqtt"},
"http_server":{"enable":true,"port":8081,"username":"admin","password":"public","auth_type":"basic"},
"bridge":{"bridge_mode":false,"proto_ver":0,"clean_start":false,"keepalive":0,"parallel":1,
"forwards":[],"subscription":[]}}"#;

/// What request 11 shows, in this order. Marked with `?`: left out where it has no value;
/// with `!`: `null` then.
const SHOWN: &[&str] = &[
    "url?",
    "num_taskq_thread",
    "max_taskq_thread",
    "parallel",
    "property_size",
    "msq_len",
    "allow_anonymous",
    "daemon",
    "tls.enable",
    "tls.url?",
    "tls.key_password!",
    "tls.key!",
    "tls.cert!",
    "tls.cacert!",
    "tls.verify_peer",
    "tls.fail_if_no_peer_cert",
    "websocket.enable",
    "websocket.url?",
    "websocket.tls_url?",
    "http_server.enable",
    "http_server.port",
    "http_server.username?",
    "http_server.password?",
    "http_server.auth_type?",
    "bridge.bridge_mode",
    "bridge.address?",
    "bridge.proto_ver",
    "bridge.clientid?",
    "bridge.clean_start",
    "bridge.username?",
    "bridge.password?",
    "bridge.keepalive",
    "bridge.parallel",
    "bridge.forwards",
    "bridge.subscription",
];

/// What request 12 takes. `keypass` is kept under the name that 11 shows it by: what 0.8.0
/// itself does with it after a restart is not recorded (assumed).
const TAKEN: &[Setting] = &[
    same("url", Kind::Text),
    same("daemon", Kind::Bool),
    same("num_taskq_thread", Kind::Int),
    same("max_taskq_thread", Kind::Int),
    same("parallel", Kind::Unsigned(64)),
    same("property_size", Kind::Int),
    same("msq_len", Kind::Int),
    same("qos_duration", Kind::Int),
    same("allow_anonymous", Kind::Bool),
    same("tls.enable", Kind::Bool),
    same("tls.url", Kind::Text),
    Setting {
        from: "tls.keypass",
        to: "tls.key_password",
        kind: Kind::Text,
    },
    same("tls.key", Kind::Text),
    same("tls.cert", Kind::Text),
    same("tls.cacert", Kind::Text),
    same("tls.verify_peer", Kind::Bool),
    same("tls.fail_if_no_peer_cert", Kind::Bool),
    same("websocket.enable", Kind::Bool),
    same("websocket.url", Kind::Text),
    same("websocket.tls_url", Kind::Text),
    same("http_server.enable", Kind::Bool),
    same("http_server.port", Kind::Unsigned(16)),
    same("http_server.username", Kind::Text),
    same("http_server.password", Kind::Text),
    same("http_server.auth_type", Kind::AuthType),
    same("bridge.bridge_mode", Kind::Bool),
    same("bridge.address", Kind::Text),
    same("bridge.proto_ver", Kind::Unsigned(8)),
    same("bridge.clientid", Kind::Text),
    same("bridge.keepalive", Kind::Unsigned(16)),
    same("bridge.clean_start", Kind::Bool),
    same("bridge.username", Kind::Text),
    same("bridge.password", Kind::Text),
    same("bridge.parallel", Kind::Unsigned(64)),
];

impl Document {
    /// V1's document as shipped.
    pub(crate) fn v1() -> Self {
        Self::parse(SHIPPED)
    }

    /// The `data` of request 11. `auth_type` came with 0.7.0.
    pub(crate) fn shown_by_v1(&self, with_auth_type: bool) -> Json {
        let mut shown = Document(Json::Object(Vec::new()));
        for entry in SHOWN {
            let path = entry.trim_end_matches(['?', '!']);
            if path == "http_server.auth_type" && !with_auth_type {
                continue;
            }
            match self.get(path) {
                Some(Json::Null) | None if entry.ends_with('?') => {}
                Some(value) => shown.put(path, value.clone()),
                None => shown.put(path, Json::Null),
            }
        }
        shown.0
    }

    /// What request 12 does to the configuration file of 0.8.0: booleans are never written (a
    /// missing `break`), entries of `subscription` beyond those sent stay. Returns the paths
    /// that changed.
    pub(crate) fn write_as_v1_does(&mut self, data: &Json) -> Vec<&'static str> {
        let mut taken = self.take(data, TAKEN, |kind| kind != Kind::Bool);
        let bridge = data.get("bridge");
        if let Some(forwards) = bridge.and_then(|b| b.get("forwards")).and_then(Json::items) {
            self.put("bridge.forwards", forwards_of(forwards));
            taken.push("bridge.forwards");
        }
        let sent = bridge.and_then(|b| b.get("subscription"));
        if let Some(sent) = sent.and_then(Json::items) {
            let kept = self.get("bridge.subscription").and_then(Json::items);
            let mut rows = kept.unwrap_or_default().to_vec();
            for (index, item) in sent.iter().enumerate() {
                let row = subscription_of(item, rows.get(index));
                match (rows.get_mut(index), row) {
                    (Some(place), Some(row)) => *place = row,
                    (None, Some(row)) => rows.push(row),
                    (_, None) => {}
                }
            }
            self.put("bridge.subscription", Json::Array(rows));
            taken.push("bridge.subscription");
        }
        taken
    }

    /// What the manual promises of request 12: all that is sent and right takes effect.
    pub(crate) fn set_as_documented(&mut self, data: &Json) -> Vec<&'static str> {
        let mut taken = self.take(data, TAKEN, |_| true);
        let bridge = data.get("bridge");
        if let Some(forwards) = bridge.and_then(|b| b.get("forwards")).and_then(Json::items) {
            self.put("bridge.forwards", forwards_of(forwards));
            taken.push("bridge.forwards");
        }
        let sent = bridge.and_then(|b| b.get("subscription"));
        if let Some(sent) = sent.and_then(Json::items) {
            let rows = sent.iter().filter_map(|item| subscription_of(item, None));
            self.put("bridge.subscription", Json::Array(rows.collect()));
            taken.push("bridge.subscription");
        }
        taken
    }
}

/// The forwards as the file keeps them: one comma list, so a comma within a topic splits it.
/// NanoMQ crashes on an item that is no string; here it is passed over.
fn forwards_of(items: &[Json]) -> Json {
    let topics = items
        .iter()
        .filter_map(Json::text)
        .flat_map(|text| text.split(|byte| *byte == b','))
        .filter(|topic| !topic.is_empty());
    Json::Array(topics.map(|topic| Json::Text(topic.to_vec())).collect())
}

/// One subscription from what was sent and what stood there; none without a topic.
fn subscription_of(item: &Json, old: Option<&Json>) -> Option<Json> {
    let field = |key: &str, kind: Kind| {
        item.get(key)
            .and_then(|value| kind.take(value))
            .or_else(|| old.and_then(|old| old.get(key)).cloned())
    };
    let topic = field("topic", Kind::Text)?;
    let qos = field("qos", Kind::Unsigned(8)).unwrap_or(Json::Number(0.0));
    Some(Json::object([("topic", topic), ("qos", qos)]))
}

#[cfg(test)]
mod tests {
    use super::super::super::cjson::read;
    use super::*;

    fn json(text: &str) -> Json {
        read::text(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_without_a_value_are_left_out_but_four_of_tls_are_null() {
        let shown = String::from_utf8(Document::v1().shown_by_v1(true).print()).unwrap();
        assert!(shown.contains("\"key_password\":null,\"key\":null,\"cert\":null,\"cacert\":null"));
        assert!(!shown.contains("clientid"));
        assert!(!shown.contains("qos_duration"));
        assert!(
            !String::from_utf8(Document::v1().shown_by_v1(false).print())
                .unwrap()
                .contains("auth_type")
        );
    }

    #[test]
    fn the_file_takes_all_but_booleans_and_wrong_types() {
        let mut file = Document::v1();
        file.put(
            "bridge.subscription",
            json(r#"[{"topic":"cmd/topic1","qos":1},{"topic":"cmd/topic2","qos":2}]"#),
        );
        file.write_as_v1_does(&json(
            r#"{"num_taskq_thread":10,"msq_len":"x","allow_anonymous":false,
            "http_server":{"password":"secret2","auth_type":"none"},
            "bridge":{"keepalive":61,"forwards":["n/1","n/2"],"subscription":[{"topic":"s/1","qos":2}]}}"#,
        ));
        assert_eq!(file.get("num_taskq_thread"), Some(&Json::Number(10.0)));
        assert_eq!(file.get("msq_len"), Some(&Json::Number(256.0)));
        assert_eq!(file.get("allow_anonymous"), Some(&Json::Bool(true)));
        assert_eq!(
            file.get("http_server.auth_type"),
            Some(&Json::from("basic"))
        );
        assert_eq!(
            file.get("http_server.password"),
            Some(&Json::from("secret2"))
        );
        assert_eq!(file.get("bridge.forwards"), Some(&json(r#"["n/1","n/2"]"#)));
        assert_eq!(
            file.get("bridge.subscription"),
            Some(&json(
                r#"[{"topic":"s/1","qos":2},{"topic":"cmd/topic2","qos":2}]"#
            ))
        );
    }

    #[test]
    fn as_documented_booleans_are_taken_too_and_lists_replaced() {
        let mut document = Document::v1();
        document.put(
            "bridge.subscription",
            json(r#"[{"topic":"a","qos":1},{"topic":"b","qos":2}]"#),
        );
        document.set_as_documented(&json(
            r#"{"allow_anonymous":false,"bridge":{"subscription":[{"topic":"s"}]}}"#,
        ));
        assert_eq!(document.get("allow_anonymous"), Some(&Json::Bool(false)));
        assert_eq!(
            document.get("bridge.subscription"),
            Some(&json(r#"[{"topic":"s","qos":0}]"#))
        );
    }
}
