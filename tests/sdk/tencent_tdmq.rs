//! Clients that others wrote against TDMQ, on the real clock: curl with the vendor page's samples
//! (only host and port are ours), and Tencent's unmodified SDKs for Python and Node. What the SDKs
//! expect stands in their scripts.

use std::sync::Arc;

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Message;
use mqttstack_tencent_tdmq::Authority;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::process::Command;

use crate::install::{self, Runtime};
use crate::mqtt::{Device, Options};
use crate::tencent_iot::plays;

const HELLO: &str = "{ \"message\": \"Hello, world\" }";
const BASIC: &str = "Authorization: Basic dXNlcjA6c2VjcmV0MA==";

/// What curl printed of the exchange with `--verbose`.
async fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--verbose", "--noproxy", "*", "--request", "POST"])
        .args(["--data", HELLO])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("install curl: {error}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn newest(emulator: &Emulator) -> Arc<Message> {
    emulator.messages().since(0).pop().unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_pages_first_sample_publishes_over_http() {
    let emulator = Emulator::builder().start().await.unwrap();
    let base = emulator.http_url().unwrap();
    let url = format!("{base}/topics/home?qos=1&client_id=curl-x&retained=true");
    for version in ["--http1.1", "--http1.0"] {
        let seen = curl(&["-H", BASIC, &url, version]).await;
        assert!(seen.contains(" 200 OK"), "{seen}");
        assert!(seen.contains("X-Message-Id: "), "{seen}");
        let message = newest(&emulator);
        assert_eq!((&*message.topic, message.retain), ("home", true));
        assert_eq!(message.payload, HELLO);
        assert_eq!(message.origin.client_id.as_deref(), Some("curl-x"));
    }
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_pages_second_sample_publishes_over_https() {
    let emulator = Emulator::builder().start().await.unwrap();
    let base = emulator.https_url().unwrap();
    let url =
        format!("{base}/topics/home?qos=1&client_id=curl-x&retained=true&username=sample-user");
    let seen = curl(&["-k", "-H", BASIC, &url]).await;
    assert!(seen.contains(" 200 OK"), "{seen}");
    assert_eq!(newest(&emulator).topic, "home");
    emulator.stop().await;
}

/// A certificate authority, and a device's certificate with its key, in PEM.
fn certificates() -> (String, String, String) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let mut device = CertificateParams::default();
    device
        .distinguished_name
        .push(DnType::CommonName, "VIN0000001");
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let certificate = device.signed_by(&key, &issuer).unwrap().pem();
    (ca_pem, certificate, key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_pages_certificate_sample_publishes_as_its_name() {
    let (ca, certificate, key) = certificates();
    let mut config = Config::free_ports();
    config.tencent_tdmq.ca_certificates = vec![Authority::read(ca.clone()).unwrap()];
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let server_ca = file("CA.crt", emulator.ca_pem());
    let chain = file("client.chain.crt", &format!("{certificate}{ca}"));
    let key = file("client.pkcs8.key", &key);
    let url = format!("{}/topics/home?qos=1", emulator.https_url().unwrap());
    let trust = ["--cacert", &server_ca, "--cert", &chain, "--key", &key];
    let seen = curl(&[&trust[..], &[&url]].concat()).await;
    assert!(seen.contains(" 200 OK"), "{seen}");
    let message = newest(&emulator);
    assert_eq!((&*message.topic, message.retain), ("home", false));
    assert_eq!(message.origin.client_id.as_deref(), Some("VIN0000001"));
    emulator.stop().await;
}

/// What the Python script wrote.
async fn told(endpoint: &str, part: &'static str) -> String {
    let endpoint = endpoint.to_owned();
    let run = move || {
        let mut script = Runtime::PythonTencentTdmq.command("tencent_tdmq.py");
        install::run(script.arg(endpoint).arg(part))
    };
    let told = tokio::task::spawn_blocking(run).await.unwrap();
    told.unwrap_or_else(|problem| panic!("{problem}"))
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_python_sdk_manages_users_policies_topics_and_messages() {
    let emulator = Emulator::builder().start().await.unwrap();
    let login = Options::login("dev-sdk", "user0", "secret0");
    let mut device = Device::connect_v5(emulator.mqtt_addr().unwrap(), login).await;
    device.subscribe("home/cloud", 1).await;
    let url = emulator.vendor_url(Surface::TencentTdmq).unwrap();
    let endpoint = url.trim_start_matches("http://");
    assert_eq!(told(endpoint, "all").await, "all done");
    let received = device.receive().await;
    assert_eq!((received.topic.as_str(), received.qos), ("home/cloud", 1));
    assert_eq!(received.payload, "hi");
    assert_eq!(device.receive().await.topic, "mqtt/p2p/dev-sdk");
    assert_eq!(told(endpoint, "kick").await, "kicked");
    device.ended().await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tencents_node_sdk_manages_users_policies_clients_and_messages() {
    plays(Runtime::Node, "tencent_tdmq.js").await;
}
