//! The vendor's unmodified SDKs against a started emulator. What they need is installed once,
//! pinned, into `target/azure-sdk/`. `MQTTSTACK_SKIP_SDK_TESTS=1` switches them off.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mqttstack::Emulator;
use mqttstack::config::Config;
use serde_json::json;

fn skipped() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
    let skip = std::env::var("MQTTSTACK_SKIP_SDK_TESTS").is_ok_and(|value| value == "1");
    skip
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/azure/sdk")
}

fn installed(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/azure-sdk")
        .join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn succeed(command: &mut Command, missing: &str) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{missing}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs `install` unless it has succeeded with these pins before.
fn once(folder: &Path, pins: &Path, install: impl FnOnce()) {
    let wanted = std::fs::read(pins).unwrap();
    let stamp = folder.join("installed");
    if std::fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return;
    }
    install();
    std::fs::write(stamp, wanted).unwrap();
}

fn python() -> PathBuf {
    let folder = installed("python");
    let pins = scripts().join("requirements.txt");
    let interpreter = folder.join("bin/python");
    once(&folder, &pins, || {
        let missing = "install Python 3 with its venv module";
        succeed(
            Command::new("python3").args(["-m", "venv"]).arg(&folder),
            missing,
        );
        let pip = ["-m", "pip", "install", "--quiet", "-r"];
        succeed(Command::new(&interpreter).args(pip).arg(&pins), missing);
    });
    interpreter
}

fn node() -> PathBuf {
    let folder = installed("node");
    let pins = scripts().join("package.json");
    once(&folder, &pins, || {
        std::fs::copy(&pins, folder.join("package.json")).unwrap();
        let install = ["install", "--no-audit", "--no-fund", "--silent"];
        let missing = "install Node.js with npm";
        succeed(
            Command::new("npm").args(install).current_dir(&folder),
            missing,
        );
    });
    // Modules are looked up from where the script lies.
    let script = folder.join("azure_sdk.js");
    std::fs::copy(scripts().join("azure_sdk.js"), &script).unwrap();
    script
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
    let output = tokio::task::spawn_blocking(move || succeed(&mut command, "cannot run it"))
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
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
    if skipped() {
        return;
    }
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let interpreter = tokio::task::spawn_blocking(python).await.unwrap();
    let mut command = Command::new(interpreter);
    command
        .arg(scripts().join("azure_sdk.py"))
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(emulator.mqtt_addr().unwrap().to_string())
        .arg(folder.path());
    run(command).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_sdks_get_tokens_publish_and_receive() {
    if skipped() {
        return;
    }
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca_pem()).unwrap();
    let script = tokio::task::spawn_blocking(node).await.unwrap();
    let mut command = Command::new("node");
    command
        .arg(script)
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(folder.path())
        .env("NODE_EXTRA_CA_CERTS", ca);
    run(command).await;
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
    if skipped() {
        return;
    }
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
    let interpreter = tokio::task::spawn_blocking(python).await.unwrap();
    let mut command = Command::new(interpreter);
    command
        .arg(scripts().join("mqtt_clients.py"))
        .arg(folder.path())
        .arg(issuer)
        .arg(announced(&emulator, folder.path()));
    run(command).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_a_publish_a_subscriber_and_a_routed_event_make_a_whole_loop() {
    if skipped() {
        return;
    }
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
    let interpreter = tokio::task::spawn_blocking(python).await.unwrap();
    let mut command = Command::new(interpreter);
    command
        .arg(scripts().join("whole_loop.py"))
        .arg(folder.path())
        .arg(announced(&emulator, folder.path()));
    run(command).await;
    emulator.stop().await;
}
