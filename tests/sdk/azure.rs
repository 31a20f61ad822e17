//! The vendor's unmodified SDKs against a started emulator, and the README's lines as a new user
//! would copy them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mqttstack::Emulator;
use mqttstack::config::Config;
use serde_json::json;

use crate::install::{self, Runtime};

/// A command that runs one of the scripts in `azure/`, or a shell that finds both runtimes.
async fn command(make: impl FnOnce() -> Command + Send + 'static) -> Command {
    tokio::task::spawn_blocking(make).await.unwrap()
}

async fn python(script: &'static str) -> Command {
    command(move || Runtime::PythonAzure.command(script)).await
}

async fn emulator() -> Emulator {
    let mut config = Config::free_ports();
    config.azure = serde_json::from_value(json!({"namespaces": [{
        "route_topic": "events",
        "topics": [{"name": "events", "subscriptions": [{"name": "s1"}]}],
    }]}))
    .unwrap();
    Emulator::builder().config(config).start().await.unwrap()
}

async fn run(mut command: Command) {
    let said = tokio::task::spawn_blocking(move || install::run(&mut command))
        .await
        .unwrap()
        .unwrap_or_else(|problem| panic!("{problem}"));
    assert!(said.trim_end().ends_with("done"), "{said}");
}

/// The certificate names `localhost` as well.
fn https(emulator: &Emulator) -> String {
    emulator
        .https_url()
        .unwrap()
        .replace("127.0.0.1", "localhost")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_get_tokens_publish_and_receive() {
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let mut script = python("azure_sdk.py").await;
    script
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(emulator.mqtt_addr().unwrap().to_string())
        .arg(folder.path());
    run(script).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_get_tokens_publish_and_receive() {
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca_pem()).unwrap();
    let mut script = command(|| Runtime::NodeAzure.command("azure_sdk.js")).await;
    script
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(folder.path())
        .env("NODE_EXTRA_CA_CERTS", ca);
    run(script).await;
    emulator.stop().await;
}

/// The shell blocks of the page on Azure, one after the other in one shell.
fn page() -> String {
    let text = include_str!("../../docs/azure-event-grid.md");
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_lines_work_as_they_stand() {
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    // The ports of this run in the place of the default ones.
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let lines = page()
        .replace("4580", &port(emulator.http_url().unwrap()))
        .replace("4543", &port(emulator.https_url().unwrap()));
    let mut script = command(|| {
        #[expect(clippy::disallowed_methods, reason = "the new user's own")]
        let path = std::env::var("PATH").unwrap();
        let python = Runtime::PythonAzure.home().join("bin");
        let mut shell = Command::new("bash");
        shell
            .env("PATH", format!("{}:{path}", python.display()))
            .env("NODE_PATH", Runtime::NodeAzure.home().join("node_modules"))
            .env("NO_PROXY", "*")
            .env("no_proxy", "*");
        shell
    })
    .await;
    script
        .args(["-euo", "pipefail", "-c", &format!("{lines}\necho done")])
        .current_dir(folder.path());
    run(script).await;
    let published = emulator.messages().since(0);
    let payloads: Vec<_> = published
        .iter()
        .map(|(_, message)| String::from_utf8_lossy(&message.payload).into_owned())
        .collect();
    assert_eq!(payloads, ["Hello", "from Python", "from Node"]);
    emulator.stop().await;
}

/// Writes what the emulator announces where a script reads it.
fn announced(emulator: &Emulator, folder: &Path) -> PathBuf {
    let file = folder.join("ready.json");
    std::fs::write(&file, serde_json::to_vec(emulator.ready()).unwrap()).unwrap();
    file
}

/// A certificate of the issuer that the independent signer's key belongs to.
fn issuer_certificate(key: &str) -> String {
    let key = rcgen::KeyPair::from_pem(key).unwrap();
    let parameters = rcgen::CertificateParams::new(["issuer.example".to_owned()]).unwrap();
    parameters.self_signed(&key).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_connects_with_tokens_and_certificates_of_every_kind() {
    let issuer = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/azure/keys/outside.pem"
    );
    let certificate = issuer_certificate(&std::fs::read_to_string(issuer).unwrap());
    let mut config = Config::free_ports();
    config.azure = serde_json::from_value(json!({"namespaces": [{
        "topic_spaces_configuration": {"clientAuthentication": {
            "alternativeAuthenticationNameSources": ["ClientCertificateEmail", "ClientCertificateDns"],
            "customJwtAuthentication": {
                "tokenIssuer": "https://issuer.example",
                "encodedIssuerCertificates": [{"kid": "1", "encodedCertificate": certificate}],
            },
        }},
    }]}))
    .unwrap();
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = python("mqtt_clients.py").await;
    command
        .arg(folder.path())
        .arg(issuer)
        .arg(announced(&emulator, folder.path()));
    run(command).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_a_publish_a_subscriber_and_a_routed_event_make_a_whole_loop() {
    let mut config = Config::free_ports();
    config.azure = serde_json::from_value(json!({"namespaces": [{
        "route_topic": "events",
        "topics": [{"name": "events", "subscriptions": [{"name": "s1"}]}],
        "topic_spaces": [{"name": "devices", "properties": {"topicTemplates": ["devices/#"]}}],
        "topic_spaces_configuration": {"routingEnrichments": {"dynamic": [
            {"key": "publisher", "value": "${client.authenticationName}"},
            {"key": "urgency", "value": "${mqtt.message.userProperties.Urgency}"},
        ]}},
    }]}))
    .unwrap();
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = python("whole_loop.py").await;
    command
        .arg(folder.path())
        .arg(announced(&emulator, folder.path()));
    run(command).await;
    emulator.stop().await;
}
