//! An emulator's rooms built by hand around TDMQ alone, and its MQTT listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Answer, Head, Headers, Request, Scheme, Version};
use mqttstack_base::message::Message;
use mqttstack_broker::dialect::Refused;
use mqttstack_pipeline as pipeline;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Entry;
use mqttstack_tencent_cloud_api as tencent_tc3;
use mqttstack_tencent_tdmq::{Settings, TencentTdmq};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::shared::{self, Rooms};

pub const BASIC: (&str, &str) = ("Authorization", "Basic dXNlcjA6c2VjcmV0MA==");

pub struct Bench {
    pub app: App,
    pub tdmq: TencentTdmq,
    refused: Arc<Mutex<Vec<Refused>>>,
}

/// A request as the HTTP loop hands it over.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let fields = headers
        .iter()
        .map(|(name, value)| (ByteString::from(*name), Bytes::from(value.to_string())));
    Request {
        head: Head {
            method: method.into(),
            target: target.into(),
            version: Version::Http11,
            headers: Headers(fields.collect()),
            size: 0,
        },
        body: Bytes::from(body.to_owned()),
        malformed: None,
        peer: ([127, 0, 0, 1], 21000).into(),
        local: ([127, 0, 0, 1], 21000).into(),
        scheme: Scheme::Http,
        certificates: [].into(),
    }
}

/// The frozen time of the recorded vectors.
fn vectors_time() -> Clock {
    Clock::frozen("2023-11-14T22:13:20Z".parse().unwrap())
}

impl Bench {
    pub async fn new(settings: Settings, clock: Clock) -> Self {
        Self::build(settings, clock, tencent_tc3::Settings::default()).await
    }

    /// The defaults, with a cloud API that checks no signatures.
    pub async fn unsigned() -> Self {
        let cloud = tencent_tc3::Settings {
            auth: mqttstack_kit::auth::AuthMode::Off,
            ..tencent_tc3::Settings::default()
        };
        Self::build(Settings::default(), vectors_time(), cloud).await
    }

    async fn build(settings: Settings, clock: Clock, cloud: tencent_tc3::Settings) -> Self {
        let app = Rooms::new(clock).open().await;
        let tdmq = TencentTdmq::new(settings, cloud).unwrap();
        app.broker.add_dialect(tdmq.dialect(&app));
        let refused = Arc::<Mutex<Vec<Refused>>>::default();
        let tell = refused.clone();
        app.broker
            .on_refused(Arc::new(move |packet| tell.lock().push(packet)));
        Self { app, tdmq, refused }
    }

    /// The defaults, at the frozen time of the recorded vectors.
    pub async fn frozen() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self::new(settings, vectors_time()).await
    }

    pub async fn run(&self, request: &Request) -> Answer {
        pipeline::run(&self.app, &self.tdmq, request).await
    }

    pub async fn post(&self, target: &str, body: &str) -> Answer {
        self.run(&request("POST", target, &[BASIC], body)).await
    }

    /// An action of the cloud API, called without a signature: its answer, or its error's code.
    /// The instance is the main one unless the fields name another.
    pub async fn try_cloud(&self, action: &str, mut fields: Value) -> Result<Value, String> {
        if fields["InstanceId"].is_null() {
            fields["InstanceId"] = json!("mqtt-test0001");
        }
        let headers = [
            ("Content-Type", "application/json"),
            ("X-TC-Action", action),
            ("X-TC-Version", "2024-05-16"),
            ("X-TC-Region", "ap-guangzhou"),
            ("X-TC-Timestamp", "1700000000"),
        ];
        let answer = self
            .run(&request("POST", "/", &headers, &fields.to_string()))
            .await;
        let mut body: Value = serde_json::from_slice(&answer.body.bytes()).unwrap();
        let response = body["Response"].take();
        match response["Error"]["Code"].as_str() {
            Some(code) => Err(code.to_owned()),
            None => Ok(response),
        }
    }

    /// The same of a call that must succeed.
    pub async fn cloud(&self, action: &str, fields: Value) -> Value {
        self.try_cloud(action, fields).await.unwrap()
    }

    pub fn mqtt(&self) -> SocketAddr {
        shared::listen(&self.app.broker)
    }

    /// The newest message, and what the journal says of the newest request.
    pub fn message(&self) -> Arc<Message> {
        self.app.journal.messages().since(0).pop().unwrap().1
    }

    /// The reason for which the newest MQTT packet was refused.
    pub fn refusal(&self) -> String {
        self.refused().reason
    }

    /// The newest MQTT packet that was refused.
    pub fn refused(&self) -> Refused {
        let refused = self.refused.lock();
        refused.last().expect("nothing was refused").clone()
    }

    pub fn entry(&self) -> Arc<Entry> {
        self.app.journal.requests().since(0).pop().unwrap().1
    }

    pub fn reasons(&self) -> Vec<String> {
        let entry = self.entry();
        entry.outcome().unwrap().draft.reasons.clone()
    }
}
