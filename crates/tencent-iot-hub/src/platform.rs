//! What the platform itself answers when a device publishes to one of its topics: the time, the
//! shadow, the log level, firmware and resource versions, the remote configuration, a gateway's
//! sub-devices
//! (`platform/topology.rs`), and the device's reply to an RRPC. The HTTP gateway and the MQTT
//! side both ask here.
//!
//! Sources: the IoT Hub pages on NTP, device shadow, device log, firmware upgrade, remote
//! configuration (1105/41508, 2024-12-27; that 1001 says that there is none is in the C SDK); the answers to
//! version reports, which no page prints, are those that the device SDKs read and log.

mod topology;

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use serde_json::{Map, Value, json};

use super::store::Store;

/// Topics of these families end at the platform.
const OWN_FAMILIES: [&str; 7] = [
    "$config/",
    "$sys/",
    "$shadow/",
    "$ota/",
    "$log/",
    "$gateway/",
    "$resource/",
];

/// The result of asking for a configuration that the product does not have.
const NO_CONFIGURATION: u32 = 1001;

/// The platform, as one message of one device meets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Platform<'a> {
    /// The products and devices.
    pub(super) store: &'a Store,
    /// The time of the message.
    pub(super) now: Timestamp,
    /// How far the timestamp of a sub-device's signature may be from it, in seconds; 0: at will.
    pub(super) window_s: u32,
}

impl Platform<'_> {
    /// The platform's answer to a device's message, if it has one.
    pub(super) fn answer(
        self,
        product: &str,
        device: &str,
        topic: &str,
        payload: &Bytes,
    ) -> Option<Publication> {
        let own = format!("{product}/{device}");
        if let Some(message) = topic.strip_prefix(&format!("$rrpc/txd/{own}/")) {
            let message = message.parse().ok()?;
            self.store
                .reply(&format!("{product}{device}"), message, payload.clone());
            return None;
        }
        let (family, rest) = topic.strip_suffix(&own)?.split_once('/')?;
        let down = match rest {
            "report/" if family == "$config" => format!("{family}/operation/result/{own}"),
            "operation/" => format!("{family}/operation/result/{own}"),
            "report/" => format!("{family}/update/{own}"),
            "up/service/" => format!("{family}/down/service/{own}"),
            _ => return None,
        };
        let request = || serde_json::from_slice::<Value>(payload).ok();
        let reply = match family {
            "$sys" => self.time(&request()?),
            "$shadow" => self
                .store
                .with_device(product, device, |device| {
                    device.shadow.take(payload, self.now.as_millisecond())
                })
                .flatten(),
            "$config" => self.configuration(product, &request()?),
            "$log" => self.log_level(&request()?),
            "$ota" => self.firmware_version(product, device, &request()?),
            "$resource" => resource_version(&request()?),
            "$gateway" => topology::answer(self, product, device, &request()?),
            _ => None,
        };
        message(&down, reply?.to_string().into(), Qos::AtMostOnce)
    }

    /// Time synchronisation (NTP service page 1105/41511).
    fn time(self, request: &Value) -> Option<Value> {
        let wants_time = request["type"] == "get"
            && request["resource"]
                .as_array()
                .is_some_and(|resources| resources.iter().any(|resource| resource == "time"));
        wants_time.then(|| {
            json!({
                "type": "get",
                "time": self.now.as_second(),
                "ntptime1": self.now.as_millisecond(),
                "ntptime2": self.now.as_millisecond(),
            })
        })
    }

    /// The configuration that the product has for all its devices.
    fn configuration(self, product: &str, request: &Value) -> Option<Value> {
        if request["type"] != "get" {
            return None;
        }
        let product = self.store.product(product)?;
        let (result, payload) = match product.remote_configuration {
            Some(configuration) => (0, configuration),
            None => (NO_CONFIGURATION, Map::new()),
        };
        Some(json!({"type": "reply", "result": result, "payload": payload}))
    }

    /// The log level that the device is to report from: 0, none, as in a new product.
    fn log_level(self, request: &Value) -> Option<Value> {
        (request["type"] == "get_log_level").then(|| {
            let mut answer = Map::new();
            answer.insert("type".to_owned(), json!("get_log_level"));
            if let Some(token) = request.get("clientToken") {
                answer.insert("clientToken".to_owned(), token.clone());
            }
            answer.insert("log_level".to_owned(), json!(0));
            answer.insert("result".to_owned(), json!(0));
            answer.insert("timestamp".to_owned(), json!(self.now.as_second()));
            answer.into()
        })
    }

    /// Keeps the firmware version, which `DescribeDevice` shows; progress is only taken note of.
    fn firmware_version(self, product: &str, device: &str, request: &Value) -> Option<Value> {
        if request["type"] != "report_version" {
            return None;
        }
        let version = request["report"]["version"].as_str()?;
        self.store.with_device(product, device, |device| {
            version.clone_into(&mut device.firmware);
        })?;
        Some(json!({
            "type": "report_version_rsp",
            "version": version,
            "result_code": 0,
            "result_msg": "success",
        }))
    }
}

/// The resources are echoed: the emulator has none to replace them by.
fn resource_version(request: &Value) -> Option<Value> {
    (request["method"] == "report_version").then(|| {
        let resources = &request["report"]["resource_list"];
        json!({
            "method": "report_version_rsp",
            "result_code": 0,
            "result_msg": "success",
            "resource_list": if resources.is_array() { resources.clone() } else { json!([]) },
        })
    })
}

/// Whether a topic is for the platform, which keeps what is published to it.
pub(super) fn is_for_platform(topic: &str) -> bool {
    OWN_FAMILIES.iter().any(|family| topic.starts_with(family))
}

/// A message from the platform; `None` for what is no topic name.
pub(super) fn message(topic: &str, payload: Bytes, qos: Qos) -> Option<Publication> {
    Some(Publication {
        topic: TopicName::parse(topic).ok()?,
        payload,
        qos,
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::System,
            vendor: Some(Surface::TencentIot),
            client_id: None,
            request: None,
        },
    })
}
