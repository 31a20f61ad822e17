//! The vendor's unmodified SDKs against a started emulator, and the README's lines as a new user
//! would copy them. What they need is installed once, pinned, into `target/azure-sdk/`.
//! `MQTTSTACK_SKIP_SDK_TESTS=1` switches them off.

use std::ffi::OsStr;
use std::fs::File;
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

/// A folder with what `pins` name, installed once however many tests and test processes ask.
fn installed(name: &str, pins: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("azure-sdk");
    std::fs::create_dir_all(&root).unwrap();
    // Others wait here; the lock ends with the file's handle.
    let lock = File::create(root.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = root.join(name);
    let mut wanted = String::new();
    for pin in pins {
        wanted += &std::fs::read_to_string(scripts().join(pin)).unwrap();
    }
    let stamp = root.join(format!("{name}.installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return folder;
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    for pin in pins {
        std::fs::copy(scripts().join(pin), folder.join(pin)).unwrap();
    }
    install(&folder);
    std::fs::write(stamp, wanted).unwrap();
    folder
}

/// The folder of the interpreter that has the Python packages.
fn python() -> PathBuf {
    let pins = "requirements.txt";
    let home = installed("python", &[pins], |folder| {
        let missing = "install Python 3 with its venv module";
        succeed(
            Command::new("python3").args(["-m", "venv"]).arg(folder),
            missing,
        );
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "-r"];
        let mut install = Command::new(folder.join("bin/python"));
        succeed(install.args(pip).arg(folder.join(pins)), missing);
    });
    home.join("bin")
}

/// The folder of the Node packages.
fn node() -> PathBuf {
    let home = installed("node", &["package.json", "package-lock.json"], |folder| {
        let install = [
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--silent",
        ];
        let missing = "install Node.js with npm";
        succeed(
            Command::new("npm").args(install).current_dir(folder),
            missing,
        );
    });
    home.join("node_modules")
}

/// A command that sees both, and calls nothing but the loopback.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env("NODE_PATH", node())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .env("no_proxy", "*");
    command
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
    let script = tokio::task::spawn_blocking(|| {
        let mut script = command(python().join("python"));
        script.arg(scripts().join("azure_sdk.py"));
        script
    });
    let mut script = script.await.unwrap();
    script
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(emulator.mqtt_addr().unwrap().to_string())
        .arg(folder.path());
    run(script).await;
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
    let script = tokio::task::spawn_blocking(|| {
        let mut script = command("node");
        script.arg(scripts().join("azure_sdk.js"));
        script
    });
    let mut script = script.await.unwrap();
    script
        .args([emulator.http_url().unwrap(), &https(&emulator)])
        .arg(folder.path())
        .env("NODE_EXTRA_CA_CERTS", ca);
    run(script).await;
    emulator.stop().await;
}

/// The shell blocks of the README's part on Azure, one after the other in one shell.
fn readme() -> String {
    let text = include_str!("../../README.md");
    let start = text.find("### Azure Event Grid\n").unwrap();
    let part = &text[start + 4..];
    let part = &part[..part
        .find("\n## ")
        .unwrap()
        .min(part.find("\n### ").unwrap_or(usize::MAX))];
    let blocks = part.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_lines_work_as_they_stand() {
    if skipped() {
        return;
    }
    let emulator = emulator().await;
    let folder = tempfile::tempdir().unwrap();
    // The ports of this run in the place of the default ones.
    let port = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let lines = readme()
        .replace("4580", &port(emulator.http_url().unwrap()))
        .replace("4543", &port(emulator.https_url().unwrap()));
    let script = tokio::task::spawn_blocking(|| {
        #[expect(clippy::disallowed_methods, reason = "the new user's own")]
        let path = std::env::var("PATH").unwrap();
        let mut script = command("bash");
        script.env("PATH", format!("{}:{path}", python().display()));
        script
    });
    let mut script = script.await.unwrap();
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
