//! Programs that others wrote, against real listeners: curl with the vendor page's samples (only
//! host and port are ours), HTTP/1.0 and 1.1, and the vendor's Python SDK for the cloud API.

use std::process::Output;

use mqttstack_base::clock::Clock;
use mqttstack_base::message::Transport;
use rcgen::DnType;
use tokio::process::Command;

use crate::bench::{Bench, Site, anywhere, site};
use crate::certificates::TestCa;
use crate::install::{self, Runtime, skipped};
use crate::mqtt::Device;

const HELLO: &str = "{ \"message\": \"Hello, world\" }";
const BASIC: &str = "Authorization: Basic dXNlcjA6c2VjcmV0MA==";

async fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"))
}

/// What curl printed of the exchange, `--verbose` and all.
async fn curl(arguments: &[&str]) -> String {
    let output = run("curl", arguments).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn message_of(site: &Site) -> (String, String, bool, Option<String>) {
    let (_, message) = site.app.journal.messages().since(0).pop().unwrap();
    (
        message.topic.clone(),
        String::from_utf8_lossy(&message.payload).into_owned(),
        message.retain,
        message.origin.client_id.clone(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendor_pages_first_sample_publishes_over_http() {
    let site = site(Bench::frozen().await).await;
    let url = format!(
        "http://{}/topics/home?qos=1&client_id=curl-x&retained=true",
        site.http
    );
    let arguments = [
        "--verbose",
        "--request",
        "POST",
        "-H",
        BASIC,
        "--data",
        HELLO,
        &url,
    ];
    for version in ["--http1.1", "--http1.0"] {
        let seen = curl(&[&arguments[..], &[version]].concat()).await;
        assert!(
            seen.contains(" 200 OK") && seen.contains("X-Message-Id: "),
            "{seen}"
        );
        let expected = ("home".into(), HELLO.into(), true, Some("curl-x".into()));
        assert_eq!(message_of(&site), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendor_pages_second_sample_publishes_over_https() {
    let site = site(Bench::frozen().await).await;
    let url = format!(
        "https://{}/topics/home?qos=1&client_id=curl-x&retained=true&username=sample-user",
        site.https
    );
    let arguments = [
        "--verbose",
        "-k",
        "--request",
        "POST",
        "-H",
        BASIC,
        "--data",
        HELLO,
        &url,
    ];
    let seen = curl(&arguments).await;
    assert!(seen.contains(" 200 OK"), "{seen}");
    assert_eq!(message_of(&site).0, "home");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendor_pages_certificate_sample_publishes_as_its_common_name() {
    let ca = TestCa::new();
    let leaf = ca.leaf(&[(DnType::CommonName, "VIN0000001")]);
    let site = site(Bench::with(ca.settings()).await).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let server_ca = file("CA.crt", site.authority.ca_pem());
    let chain = file("client.chain.crt", &format!("{}{}", leaf.pem, ca.pem));
    let key = file("client.pkcs8.key", &leaf.key_pem);
    let url = format!("https://{}/topics/home?qos=1", site.https);
    let arguments = [
        "--verbose",
        "--request",
        "POST",
        "--cacert",
        &server_ca,
        "--cert",
        &chain,
        "--key",
        &key,
        "--data",
        HELLO,
        &url,
    ];
    let seen = curl(&arguments).await;
    assert!(seen.contains(" 200 OK"), "{seen}");
    let expected = (
        "home".into(),
        HELLO.into(),
        false,
        Some("VIN0000001".into()),
    );
    assert_eq!(message_of(&site), expected);
}

/// What `sdk.py` wrote.
async fn told(endpoint: &str, part: &'static str) -> String {
    let endpoint = endpoint.to_owned();
    let run = move || {
        let mut script = Runtime::PythonTencentTdmq.command("sdk.py");
        install::run(script.arg(endpoint).arg(part))
    };
    let told = tokio::task::spawn_blocking(run).await.unwrap();
    told.unwrap_or_else(|problem| panic!("{problem}"))
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_sdk_manages_users_policies_topics_and_messages() {
    if skipped() {
        return;
    }
    let settings = mqttstack_tencent_tdmq::Settings::default();
    let site = site(Bench::new(settings, Clock::real()).await).await;
    let at = site.app.broker.listen(Transport::Tcp, anywhere()).unwrap();
    let mut device = Device::v5(at, "dev-sdk").await;
    device.subscribe("home/cloud", 1).await;
    let endpoint = site.http.to_string();
    assert_eq!(told(&endpoint, "all").await, "all done");
    let received = device.receive().await;
    assert_eq!((received.topic.as_str(), received.qos), ("home/cloud", 1));
    assert_eq!(received.payload, "hi");
    assert_eq!(device.receive().await.topic, "mqtt/p2p/dev-sdk");
    assert_eq!(told(&endpoint, "kick").await, "kicked");
    device.ended().await;
}
