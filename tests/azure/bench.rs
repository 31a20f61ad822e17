//! An emulator's rooms with the Azure surface alone, on a frozen clock, and a way to ask it.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use mqttstack_azure_event_grid::{AzureEventGrid, Settings};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Answer, Head, Headers, Request, Scheme, Version};
use mqttstack_pipeline as pipeline;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Entry;
use serde_json::{Value, json};

use crate::shared::Rooms;

/// When every test takes place.
pub const NOW: &str = "2026-11-21T22:51:00Z";

/// The seeded principal.
pub const OBJECT_ID: &str = "33333333-3333-3333-3333-333333333333";

pub struct Bench {
    pub app: App,
    pub azure: Arc<AzureEventGrid>,
}

/// A request in words.
#[derive(Clone)]
pub struct Ask {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), "127.0.0.1:4580".to_owned())],
            body: Vec::new(),
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// A request of a recording.
    pub fn recorded(request: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            method: text(&request["method"]),
            target: text(&request["target"]),
            headers: request["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (text(&pair[0]), text(&pair[1])))
                .collect(),
            body: text(&request["body"]).into_bytes(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn request(&self) -> Request {
        let loopback = ([127, 0, 0, 1], 4580).into();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (ByteString::from(name.as_str()), Bytes::from(value.clone())));
        Request {
            head: Head {
                method: self.method.as_str().into(),
                target: self.target.as_str().into(),
                version: Version::Http11,
                headers: Headers(headers.collect()),
                size: 0,
            },
            body: self.body.clone().into(),
            malformed: None,
            peer: loopback,
            local: loopback,
            scheme: Scheme::Http,
            certificates: [].into(),
        }
    }
}

/// The key that the tests' tokens are signed with, instead of one that is made.
pub fn signing_key() -> &'static str {
    include_str!("../../fixtures/azure/keys/own.pem")
}

/// The surface with these settings over the defaults, and the tests' signing key.
pub async fn bench(mut settings: Value) -> Bench {
    settings["signing_key"] = json!(signing_key());
    without_key(settings).await
}

/// The surface with these settings over the defaults.
pub async fn without_key(settings: Value) -> Bench {
    let clock = Clock::frozen(NOW.parse().unwrap());
    let settings: Settings = serde_json::from_value(settings).unwrap();
    Bench {
        azure: Arc::new(AzureEventGrid::new(settings).unwrap()),
        app: Rooms::new(clock).open().await,
    }
}

impl Bench {
    pub async fn ask(&self, ask: Ask) -> Answer {
        pipeline::run(&self.app, &*self.azure, &ask.request()).await
    }

    /// Asks, expects this status and reads the answer's JSON.
    pub async fn json(&self, status: u16, ask: Ask) -> Value {
        let answer = self.ask(ask).await;
        let body = answer.body.bytes();
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// A token of the seeded principal.
    pub async fn token(&self) -> String {
        let ask = Ask::get("/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://eventgrid.azure.net")
            .header("Metadata", "true");
        let answer = self.json(200, ask).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// The journal's newest request.
    pub fn entry(&self) -> Arc<Entry> {
        self.app.journal.requests().since(0).pop().unwrap().1
    }

    /// What the journal says about the newest request.
    pub fn reasons(&self) -> String {
        self.entry().outcome().unwrap().draft.reasons.join("\n")
    }
}

/// The claims of a token, not verified.
pub fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// A recording of the vendor's SDKs.
pub fn recording(name: &str) -> Value {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("fixtures/azure/vectors").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The independent signer's tokens.
pub fn tokens() -> &'static Value {
    static TOKENS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| {
        serde_json::from_str(include_str!("../../fixtures/azure/tokens.json")).unwrap()
    });
    &TOKENS
}
