//! Aliyun's surface beyond single exchanges: what subscribers receive, what is remembered from
//! one request to the next, and for how long. Signed requests are the recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use jiff::SignedDuration;
use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_aliyun::{Aliyun, Settings};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{
    Answer, Head, Headers, Malformed, Request, Scheme, Surface, Version,
};
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline as pipeline;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::Entry;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::mqtt::Device;
use crate::raw;
use crate::shared::{self, Rooms};

struct Bench {
    app: App,
    aliyun: Aliyun,
    mqtt: SocketAddr,
}

async fn bench(settings: Settings) -> Bench {
    let clock = Clock::frozen("2026-11-21T22:51:00Z".parse().unwrap());
    let app = Rooms::new(clock).open().await;
    Bench {
        mqtt: shared::listen(&app.broker),
        app,
        aliyun: Aliyun::new(settings).unwrap(),
    }
}

/// Whoever calls is let in: for tests that are not about signatures.
fn open() -> Settings {
    Settings {
        auth: AuthMode::Off,
        ..Settings::default()
    }
}

fn request(method: &str, target: String, headers: Vec<(String, String)>, body: String) -> Request {
    let loopback = ([127, 0, 0, 1], 21000).into();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (ByteString::from(name), Bytes::from(value)));
    Request {
        head: Head {
            method: method.into(),
            target: target.into(),
            version: Version::Http11,
            headers: Headers(headers.collect()),
            size: 0,
        },
        body: body.into(),
        malformed: None,
        peer: loopback,
        local: loopback,
        scheme: Scheme::Http,
        certificates: [].into(),
    }
}

/// The recorded request of this name.
fn recording(file: &str, name: &str) -> Request {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/aliyun/recorded");
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let vectors = recorded["vectors"].as_array().unwrap();
    let vector = vectors.iter().find(|vector| vector["name"] == name);
    let recorded = &vector.unwrap()["request"];
    let text = |key: &str| recorded[key].as_str().unwrap().to_owned();
    request(
        &text("method"),
        format!("{}?{}", text("path"), text("raw_query")),
        serde_json::from_value(recorded["headers"].clone()).unwrap(),
        text("body"),
    )
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body.bytes()).unwrap()
}

impl Bench {
    async fn run(&self, request: &Request) -> Answer {
        pipeline::run(&self.app, &self.aliyun, request).await
    }

    /// Calls `SendMessage` without a signature.
    async fn send(&self, topic: &str, payload: &str) -> Answer {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let target = format!(
            "/?Action=SendMessage&Version=2020-04-20&Format=JSON&InstanceId=post-cn-test0001\
             &MqttTopic={}&Payload={}",
            encoded(topic),
            encoded(payload)
        );
        self.run(&request("POST", target, Vec::new(), String::new()))
            .await
    }

    fn last_entry(&self) -> Arc<Entry> {
        self.app.journal.requests().since(0).pop().unwrap().1
    }

    fn last_reasons(&self) -> String {
        let entry = self.last_entry();
        entry.outcome().unwrap().draft.reasons.join("\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_both_protocol_versions_receive_the_payload_as_it_was_given() {
    let bench = bench(open()).await;
    let mut old = Device::v4(bench.mqtt, "old").await;
    let mut new = Device::v5(bench.mqtt, "new").await;
    old.subscribe("TopicA/#", 1).await;
    new.subscribe("TopicA/+", 0).await;
    let answer = bench.send("TopicA/子", "aGk= 你好\n\t\u{1F600}").await;
    assert_eq!(answer.status, 200);
    for (device, qos) in [(&mut old, 1), (&mut new, 0)] {
        let received = device.receive().await;
        assert_eq!(received.topic, "TopicA/子");
        assert_eq!(received.payload, "aGk= 你好\n\t\u{1F600}");
        assert_eq!((received.qos, received.retain), (qos, false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_message_id_answered_is_the_one_in_the_journal() {
    let bench = bench(open()).await;
    let answer = bench.send("TopicA", "x").await;
    let (_, message) = bench.app.journal.messages().since(0).pop().unwrap();
    assert_eq!(body(&answer)["MsgId"], message.id);
    let entry = bench.last_entry();
    assert_eq!(
        entry.outcome().unwrap().draft.messages,
        std::slice::from_ref(&message.id)
    );
    assert_eq!(message.origin.request.as_ref(), Some(&entry.id));
    assert_eq!(body(&answer)["RequestId"], entry.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p2p_message_reaches_its_client_without_a_subscription_and_nobody_else() {
    let bench = bench(open()).await;
    let mut target = Device::v4(bench.mqtt, "GID_test@@@one").await;
    let mut other = Device::v4(bench.mqtt, "GID_test@@@two").await;
    other.subscribe("TopicA/#", 1).await;
    let topic = "TopicA/p2p/GID_test@@@one";
    assert_eq!(bench.send(topic, "for one").await.status, 200);
    let received = target.receive().await;
    assert_eq!(
        (&*received.topic, &*received.payload),
        (topic, &b"for one"[..])
    );
    assert_eq!(bench.send("TopicA/all", "for all").await.status, 200);
    assert_eq!(other.receive().await.payload, "for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_kib_of_chinese_fit_into_the_url_and_one_byte_more_is_refused() {
    let bench = bench(open()).await;
    let mut device = Device::v4(bench.mqtt, "reader").await;
    device.subscribe("TopicA", 1).await;
    let full = format!("{}a", "中".repeat(21_845));
    assert_eq!(full.len(), 65_536);
    assert_eq!(bench.send("TopicA", &full).await.status, 200);
    assert_eq!(device.receive().await.payload, full);
    let answer = bench.send("TopicA", &format!("{full}b")).await;
    assert_eq!(body(&answer)["Code"], "ParameterCheckFailed");
    assert!(bench.last_reasons().contains("65537 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_is_refused_until_its_nonce_runs_out_or_all_is_reset() {
    let bench = bench(Settings::default()).await;
    let recorded = recording("v1-python-old-sdk.json", "old-py-post-json-ascii");
    assert_eq!(bench.run(&recorded).await.status, 200);
    assert_eq!(
        body(&bench.run(&recorded).await)["Code"],
        "SignatureNonceUsed"
    );
    bench.aliyun.reset();
    assert_eq!(bench.run(&recorded).await.status, 200);
    // At 900 s the nonce has just run out and the timestamp has just not.
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(900))
        .unwrap();
    assert_eq!(bench.run(&recorded).await.status, 200);
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    let answer = bench.run(&recorded).await;
    assert_eq!(body(&answer)["Code"], "InvalidTimeStamp.Expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrongly_signed_request_does_not_use_its_nonce_up() {
    let bench = bench(Settings::default()).await;
    let recorded = recording("v3-python-new-sdk.json", "new-py-v3-post-ascii");
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(2))
        .unwrap();
    let mut forged = recorded.clone();
    forged.head.target = format!("{}&More=1", forged.head.target).into();
    assert_eq!(
        body(&bench.run(&forged).await)["Code"],
        "SignatureDoesNotMatch"
    );
    assert_eq!(bench.run(&recorded).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_names_operation_and_caller_and_shows_no_secret() {
    let bench = bench(Settings::default()).await;
    bench
        .run(&recording(
            "v1-python-old-sdk.json",
            "old-py-post-json-ascii",
        ))
        .await;
    let entry = bench.last_entry();
    let draft = &entry.outcome().unwrap().draft;
    assert_eq!(draft.operation.as_deref(), Some("SendMessage"));
    assert_eq!(draft.caller.as_deref(), Some("testid"));
    assert!(!format!("{draft:?} {:?}", bench.aliyun).contains("testsecret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_refills_with_the_emulators_clock_and_zero_is_none() {
    let one = Settings {
        quotas: [("SendMessage".to_owned(), 1)].into(),
        ..open()
    };
    let bench = bench(one).await;
    assert_eq!(bench.send("TopicA", "1").await.status, 200);
    assert_eq!(
        body(&bench.send("TopicA", "2").await)["Code"],
        "SystemOverFlow"
    );
    bench
        .app
        .clock
        .advance(SignedDuration::from_secs(1))
        .unwrap();
    assert_eq!(bench.send("TopicA", "3").await.status, 200);
}

#[test]
fn settings_that_cannot_be_are_refused_with_the_name_of_their_key() {
    let refused = |settings| Aliyun::new(settings).unwrap_err().to_string();
    assert_eq!(
        refused(Settings {
            qos: 3,
            ..Settings::default()
        }),
        "aliyun.qos: it must be 0, 1 or 2"
    );
    assert!(
        refused(Settings {
            quotas: [("SendMesage".to_owned(), 1)].into(),
            ..Settings::default()
        })
        .ends_with("there is no action \"SendMesage\"; did you mean SendMessage?")
    );
}

/// A started emulator whose Aliyun port asks for no signature, and that port.
async fn wire() -> (Emulator, String) {
    let mut config = Config::free_ports();
    config.aliyun = open();
    config.http.limits.head_timeout_ms = 200;
    config.http.limits.body_timeout_ms = 200;
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let url = emulator.vendor_url(Surface::Aliyun).unwrap().to_owned();
    (emulator, url)
}

const FORM: &str =
    "Action=SendMessage&Version=2020-04-20&Format=JSON&InstanceId=i&MqttTopic=T&Payload=";

/// Asks, and checks status and code.
async fn refused(url: &str, bytes: &str, status: u16, code: &str) {
    let (seen, body) = raw::ask(url, bytes).await;
    assert_eq!(seen, status, "{body}");
    assert!(body.contains(code), "{code}: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_in_the_vendors_shape() {
    let (emulator, url) = wire().await;
    let host = "Host: 127.0.0.1\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let long = "x".repeat(300_000);
    for (bytes, status, code) in [
        (
            format!("POST /?{long} HTTP/1.1\r\n{host}\r\n"),
            414,
            "RequestUriTooLong",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}X: {long}{long}\r\n\r\n"),
            431,
            "RequestHeaderTooLarge",
        ),
        (
            format!("POST / HTTP/2.0\r\n{host}\r\n"),
            505,
            "UnsupportedHTTPVersion",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Bad Name: x\r\n\r\n"),
            400,
            "BadRequest",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"),
            400,
            "ContentLengthDoesNotMatch",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 9999999\r\n\r\n"),
            413,
            "RequestBodyTooLarge",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            400,
            "BadRequest",
        ),
        (
            format!("POST / HTTP/1.1\r\n{host}{form}Content-Length: 900\r\n\r\n{FORM}x"),
            408,
            "RequestTimeout",
        ),
        ("POST / HTTP/1.1\r\nHost".to_owned(), 408, "RequestTimeout"),
    ] {
        refused(&url, &bytes, status, code).await;
        let (_, entry) = emulator.requests().since(0).pop().unwrap();
        assert!(!entry.outcome().unwrap().draft.reasons.is_empty(), "{code}");
    }
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_chunked_post_with_all_in_its_query_is_taken() {
    let (emulator, url) = wire().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (content_type, signature_type) in [("", ""), (form, "&SignatureType=")] {
        let post = format!(
            "POST /?{FORM}q{signature_type} HTTP/1.1\r\nHost: localhost\r\n{content_type}\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        );
        let (status, body) = raw::ask(&url, &post).await;
        assert_eq!(status, 200, "{body}");
    }
    let (_, message) = emulator.messages().since(0).pop().unwrap();
    assert_eq!(message.payload, "q");
    emulator.stop().await;
}

/// The header fields of an answer, names in lower case.
fn fields(answer: &Answer) -> BTreeMap<String, String> {
    let fields = answer.headers.iter();
    fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_fields_of_the_gateways() {
    let bench = bench(open()).await;
    let mut broken = request("POST", "/".to_owned(), Vec::new(), String::new());
    broken.malformed = Some(Malformed::Truncated);
    let mut tags = BTreeSet::new();
    for answer in [
        bench.send("TopicA", "x").await,
        bench.send("TopicA/#", "x").await,
        bench.run(&broken).await,
    ] {
        let fields = fields(&answer);
        assert_eq!(fields["access-control-allow-origin"], "*");
        assert_eq!(fields["access-control-expose-headers"], "*");
        let id = fields["x-acs-request-id"].replace('-', "").to_lowercase();
        assert_eq!(fields["x-acs-trace-id"], id);
        assert_eq!(id.len(), 32);
        let length = answer.body.bytes().len().to_string();
        let tag = &fields["etag"];
        assert_eq!(tag.len(), 24);
        assert!(tag.starts_with(&length[..1]) && tag.ends_with(&length[length.len() - 1..]));
        tags.insert(tag.clone());
    }
    assert_eq!(tags.len(), 3, "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_statuses_of_a_code_are_named_and_the_setting_chooses() {
    for (status_change, status) in [(false, 500), (true, 403)] {
        let bench = bench(Settings {
            quotas: [("SendMessage".to_owned(), 1)].into(),
            status_change,
            ..open()
        })
        .await;
        assert_eq!(bench.send("TopicA", "1").await.status, 200);
        let answer = bench.send("TopicA", "2").await;
        assert_eq!(answer.status, status);
        assert_eq!(body(&answer)["Code"], "SystemOverFlow");
        let reasons = bench.last_reasons();
        for part in [
            "500 on the action's page",
            "403 by the",
            "aliyun.status_change",
        ] {
            assert!(reasons.contains(part), "{part}: {reasons}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_and_http_1_0_are_as_good_as_any() {
    let (emulator, url) = wire().await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n";
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\n{form}Transfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{FORM}\r\n3\r\nabc\r\n0\r\n\r\n",
        FORM.len()
    );
    assert_eq!(raw::ask(&url, &chunked).await.0, 200);
    let old = format!("POST /?{FORM}def HTTP/1.0\r\n\r\n");
    assert_eq!(raw::ask(&url, &old).await.0, 200);
    let payloads: Vec<_> = emulator
        .messages()
        .since(0)
        .into_iter()
        .map(|(_, m)| m.payload.clone())
        .collect();
    assert_eq!(payloads, ["abc", "def"]);
    emulator.stop().await;
}
