//! V4's configuration: the parts that `/configuration` shows and takes, and the values that
//! `/reload` changes while NanoMQ runs.
//! Source: the recordings of 0.25.5; `conf_api.c` for what is taken and for the parts `auth`,
//! `http_server` and `bridge`, which the recordings at hand do not show.

use super::super::cjson::Json;
use super::{Document, Kind, Setting, same};

/// The parts, in the order of the whole document.
pub(crate) const PARTS: &[&str] = &[
    "basic",
    "tls",
    "auth",
    "auth_http",
    "websocket",
    "http_server",
    "sqlite",
    "bridge",
];

/// The document of 0.25.5 as shipped, built without TLS, `SQLite` and the rule engine.
pub(crate) const SHIPPED: &str = r#"{
"basic":{"url":"nmq-tcp://0.0.0.0:1883","num_taskq_thread":4,"max_taskq_thread":4,"parallel":4,
"property_size":32,"daemon":false,"max_packet_size":1024,"client_max_packet_size":1024,
"msq_len":2048,"qos_duration":10,"keepalive_backoff":1.25,"allow_anonymous":true,"ipc_internal":true},
"tls":{"enable":false,"url":null,"key_password":null,"key":null,"cert":null,"cacert":null,
"verify_peer":false,"fail_if_no_peer_cert":false},
"auth":[],
"auth_http":{"enable":false,"timeout":5,"connect_timeout":5,"pool_size":32,"cache_ttl":0,
"auth_req":{"url":null,"method":null,"headers":{},"params":[],"tls":{"enable":false,"url":null,
"key_password":null,"key":null,"cert":null,"cacert":null,"verify_peer":false,"fail_if_no_peer_cert":false}},
"acl_req":{"url":null,"method":null,"headers":{},"params":[],"tls":{"enable":false,"url":null,
"key_password":null,"key":null,"cert":null,"cacert":null,"verify_peer":false,"fail_if_no_peer_cert":false}},
"super_req":{"url":null,"method":null,"headers":{},"params":[],"tls":{"enable":false,"url":null,
"key_password":null,"key":null,"cert":null,"cacert":null,"verify_peer":false,"fail_if_no_peer_cert":false}}},
"websocket":{"enable":true,"tls_enable":true,"url":"nmq-ws://0.0.0.0:8083/mqtt","tls_url":null},
"http_server":{"enable":true,"port":8081,"addr":"0.0.0.0","username":"admin","password":"public","auth_type":"basic"},
"sqlite":{"enable":false,"disk_cache_size":102400,"flush_mem_threshold":100,"resend_interval":0,"mounted_file_path":null},
"bridge":{"nodes":[]},
"enable_mqtt_stream":false,"bridge_mode":false}"#;

const TAKEN: &[Setting] = &[
    same("basic.url", Kind::Text),
    same("basic.daemon", Kind::Bool),
    same("basic.num_taskq_thread", Kind::Int),
    same("basic.max_taskq_thread", Kind::Int),
    same("basic.parallel", Kind::Unsigned(64)),
    same("basic.property_size", Kind::Int),
    same("basic.msq_len", Kind::Int),
    same("basic.qos_duration", Kind::Unsigned(32)),
    same("basic.allow_anonymous", Kind::Bool),
    same("basic.ipc_internal", Kind::Bool),
    same("basic.max_packet_size", Kind::Unsigned(32)),
    same("basic.client_max_packet_size", Kind::Unsigned(32)),
    same("basic.keepalive_backoff", Kind::Real),
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
    same("auth_http.enable", Kind::Bool),
    same("auth_http.timeout", Kind::Unsigned(64)),
    same("auth_http.connect_timeout", Kind::Unsigned(64)),
    same("auth_http.pool_size", Kind::Unsigned(64)),
    same("auth_http.auth_req.url", Kind::Text),
    same("auth_http.auth_req.method", Kind::Text),
    same("auth_http.acl_req.url", Kind::Text),
    same("auth_http.acl_req.method", Kind::Text),
    same("auth_http.super_req.url", Kind::Text),
    same("auth_http.super_req.method", Kind::Text),
    same("websocket.enable", Kind::Bool),
    same("websocket.url", Kind::Text),
    same("websocket.tls_url", Kind::Text),
    same("http_server.enable", Kind::Bool),
    same("http_server.port", Kind::Unsigned(16)),
    same("http_server.username", Kind::Text),
    same("http_server.password", Kind::Text),
    same("http_server.auth_type", Kind::AuthType),
    same("sqlite.enable", Kind::Bool),
    same("sqlite.mounted_file_path", Kind::Text),
    same("sqlite.disk_cache_size", Kind::Unsigned(64)),
    same("sqlite.flush_mem_threshold", Kind::Unsigned(64)),
    same("sqlite.resend_interval", Kind::Unsigned(64)),
];

const fn hot(from: &'static str, to: &'static str, kind: Kind) -> Setting {
    Setting { from, to, kind }
}

/// What `/reload` shows and takes, in the order in which it is shown.
const RELOADED: &[Setting] = &[
    hot("property_size", "basic.property_size", Kind::Int),
    hot(
        "max_packet_size",
        "basic.max_packet_size",
        Kind::Unsigned(32),
    ),
    hot(
        "client_max_packet_size",
        "basic.client_max_packet_size",
        Kind::Unsigned(32),
    ),
    hot("msq_len", "basic.msq_len", Kind::Int),
    hot("qos_duration", "basic.qos_duration", Kind::Unsigned(32)),
    hot("keepalive_backoff", "basic.keepalive_backoff", Kind::Real),
    hot("allow_anonymous", "basic.allow_anonymous", Kind::Bool),
    same("enable_mqtt_stream", Kind::Bool),
    same("bridge_mode", Kind::Bool),
];

impl Document {
    /// V4's document as shipped.
    pub(crate) fn v4() -> Self {
        Self::parse(SHIPPED)
    }

    /// One part as `/configuration/{part}` shows it, or all; `None` for an unknown part.
    pub(crate) fn part(&self, part: Option<&str>) -> Option<Json> {
        let one = |name: &'static str| (name, self.get(name).cloned().unwrap_or(Json::Null));
        match part {
            None => Some(Json::object(PARTS.iter().map(|name| one(name)))),
            Some(part) => {
                let name = PARTS.iter().find(|name| **name == part)?;
                Some(Json::object([one(name)]))
            }
        }
    }

    /// Takes what `POST /configuration[/{part}]` sent as `data`. Returns the paths that changed.
    pub(crate) fn set_part(&mut self, part: Option<&str>, data: &Json) -> Vec<&'static str> {
        let prefix = part.map(|part| format!("{part}."));
        let settings: Vec<Setting> = TAKEN
            .iter()
            .filter(|setting| match &prefix {
                Some(prefix) => setting.from.starts_with(prefix),
                // Without a part the real program asks for an array here and so takes none.
                None => !setting.from.starts_with("auth_http."),
            })
            .copied()
            .collect();
        let mut taken = self.take(data, &settings, |_| true);
        if part.is_none_or(|part| part == "auth")
            && let Some(sent) = data.get("auth").and_then(Json::items)
        {
            self.put("auth", users_after(self.get("auth"), sent));
            taken.push("auth");
        }
        taken
    }

    /// What `GET /reload` shows.
    pub(crate) fn reloadable(&self) -> Json {
        Json::object(RELOADED.iter().map(|setting| {
            let value = self.get(setting.to).cloned();
            (setting.from, value.unwrap_or(Json::Null))
        }))
    }

    /// Takes what `POST /reload` sent as `data`. Returns the paths that changed.
    pub(crate) fn reload(&mut self, data: &Json) -> Vec<&'static str> {
        self.take(data, RELOADED, |_| true)
    }
}

/// The users after those sent have replaced the ones in the same places.
fn users_after(old: Option<&Json>, sent: &[Json]) -> Json {
    let mut users = old.and_then(Json::items).unwrap_or_default().to_vec();
    for (index, item) in sent.iter().enumerate() {
        let text = |key: &str| item.get(key).and_then(|value| Kind::Text.take(value));
        let (Some(login), Some(password)) = (text("login"), text("password")) else {
            continue;
        };
        let user = Json::object([("login", login), ("password", password)]);
        match users.get_mut(index) {
            Some(place) => *place = user,
            None => users.push(user),
        }
    }
    Json::Array(users)
}

#[cfg(test)]
mod tests {
    use super::super::super::cjson::read;
    use super::*;

    #[test]
    fn reload_and_configuration_show_the_same_values() {
        let mut document = Document::v4();
        document.reload(
            &read::text(br#"{"property_size":33.9,"msq_len":"x","keepalive_backoff":1.5}"#)
                .unwrap(),
        );
        assert_eq!(
            document.get("basic.property_size"),
            Some(&Json::Number(33.0))
        );
        assert_eq!(document.get("basic.msq_len"), Some(&Json::Number(2048.0)));
        document.set_part(
            Some("basic"),
            &read::text(br#"{"basic":{"property_size":34},"tls":{"enable":true}}"#).unwrap(),
        );
        assert_eq!(
            document.reloadable().get("property_size"),
            Some(&Json::Number(34.0))
        );
        assert_eq!(document.get("tls.enable"), Some(&Json::Bool(false)));
    }

    #[test]
    fn an_unknown_part_is_none() {
        assert!(Document::v4().part(Some("webhook")).is_none());
        assert!(Document::v4().part(Some("bridge_mode")).is_none());
    }

    #[test]
    fn users_are_replaced_by_place() {
        let mut document = Document::v4();
        let data = read::text(br#"{"auth":[{"login":"a","password":"b"},{"login":"x"}]}"#).unwrap();
        document.set_part(None, &data);
        assert_eq!(
            document
                .get("auth")
                .and_then(Json::items)
                .map(<[Json]>::len),
            Some(1)
        );
    }
}
