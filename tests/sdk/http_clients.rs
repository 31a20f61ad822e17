//! Plain HTTP clients: curl, requests, httpx and Node's fetch. Each keeps its connection, uploads
//! in chunks, asks by HEAD, and trusts the local authority over HTTPS.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_kit::auth::AuthMode;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::install::Runtime;
use crate::script::Script;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// The tests' own client.
fn client() -> reqwest::Client {
    // Whoever comes second finds the same provider there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// `POST` to an admin route, which must succeed.
pub async fn admin_post(emulator: &Emulator, path: &str, body: &str) {
    let url = format!("{}/_mqttstack{path}", emulator.http_url().unwrap());
    let answer = client()
        .post(url)
        .header("Content-Type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{path}");
}

/// Passes connections on and counts them.
struct Doorkeeper {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Doorkeeper {
    async fn before(url: &str) -> Self {
        let inside: SocketAddr = url.split("//").nth(1).unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut outer, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut inner = TcpStream::connect(inside).await.unwrap();
                    // Either side may end as it likes.
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self {
            address,
            connections,
        }
    }
}

struct Bench {
    emulator: Emulator,
    authority: NamedTempFile,
}

impl Bench {
    /// An emulator that takes unsigned calls, and its authority in a file.
    async fn start() -> Self {
        let mut config = Config::free_ports();
        config.aliyun.auth = AuthMode::Off;
        let emulator = Emulator::builder().config(config).start().await.unwrap();
        let mut authority = NamedTempFile::new().unwrap();
        // As a user gets it: from the admin API.
        let url = format!("{}/_mqttstack/ca.pem", emulator.http_url().unwrap());
        let pem = client()
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(pem, emulator.ca_pem());
        authority.write_all(pem.as_bytes()).unwrap();
        Self {
            emulator,
            authority,
        }
    }

    fn ca(&self) -> &str {
        self.authority.path().to_str().unwrap()
    }
}

fn form(payload: &str) -> String {
    format!(
        "Action=SendMessage&Version=2020-04-20&Format=JSON&InstanceId=post-cn-test0001\
         &MqttTopic=demo%2Fa&Payload={payload}"
    )
}

/// The four things, done with a client that a script holds.
async fn speaks(bench: &Bench, mut script: Script, library: &str) {
    let ask = |method: &str, url: String, more: Value| {
        let mut command = json!({
            "library": library, "ca": bench.ca(), "method": method, "url": url,
        });
        for (key, value) in more.as_object().unwrap() {
            command[key] = value.clone();
        }
        command
    };
    let headers = json!({FORM.0: FORM.1});
    for base in [bench.emulator.http_url(), bench.emulator.https_url()] {
        let door = Doorkeeper::before(base.unwrap()).await;
        let scheme = base.unwrap().split("//").next().unwrap();
        let base = format!("{scheme}//{}", door.address);
        // A body of known length, one in chunks, and one that is refused.
        for (payload, chunked) in [("sized", false), ("in+chunks", true)] {
            let more = json!({"headers": headers, "body": form(payload), "chunked": chunked});
            let answer = script.ask(&ask("POST", format!("{base}/"), more)).await;
            let answer = answer.unwrap();
            assert_eq!(answer["status"], 200, "{answer}");
            let (_, message) = bench.emulator.messages().since(0).pop().unwrap();
            assert_eq!(message.payload, payload.replace('+', " "));
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            assert_eq!(body["MsgId"], message.id);
            let (_, entry) = bench.emulator.requests().since(0).pop().unwrap();
            let coding = entry.head.headers.text("Transfer-Encoding");
            assert_eq!(coding, chunked.then_some("chunked"));
        }
        let more = json!({"headers": headers, "body": "Action=SendMessage&Format=JSON"});
        let answer = script.ask(&ask("POST", format!("{base}/"), more)).await;
        let answer = answer.unwrap();
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(answer["body"].as_str().unwrap().contains("MissingVersion"));
        let health = format!("{base}/_mqttstack/health");
        let got = script.ask(&ask("GET", health.clone(), json!({}))).await;
        let got = got.unwrap();
        assert_eq!(got["status"], 200, "{got}");
        let head = script.ask(&ask("HEAD", health, json!({}))).await.unwrap();
        assert_eq!((&head["status"], &head["body"]), (&json!(200), &json!("")));
        // All of it over one connection.
        assert_eq!(door.connections.load(Ordering::SeqCst), 1, "{base}");
    }
}

#[tokio::test]
async fn requests_speaks_with_the_emulator() {
    let script = Script::start(Runtime::Python, "http_clients.py").await;
    speaks(&Bench::start().await, script, "requests").await;
}

#[tokio::test]
async fn httpx_speaks_with_the_emulator() {
    let script = Script::start(Runtime::Python, "http_clients.py").await;
    speaks(&Bench::start().await, script, "httpx").await;
}

#[tokio::test]
async fn nodes_fetch_speaks_with_the_emulator() {
    let bench = Bench::start().await;
    let trust = [("NODE_EXTRA_CA_CERTS", bench.ca())];
    let script = Script::start_with(Runtime::Node, "fetch.js", &trust).await;
    speaks(&bench, script, "fetch").await;
}

/// Runs curl, which must succeed.
async fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*"])
        .args(arguments)
        .output()
        .await
        .unwrap_or_else(|error| panic!("install curl: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn curl_speaks_with_the_emulator() {
    let bench = Bench::start().await;
    for base in [bench.emulator.http_url(), bench.emulator.https_url()] {
        let base = base.unwrap();
        let trust = ["--cacert", bench.ca()];
        let send = |more: &[&str]| {
            let arguments: Vec<String> = trust.iter().chain(more).map(|a| (*a).into()).collect();
            async move {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                curl(&arguments).await
            }
        };
        let root = format!("{base}/");
        let said = send(&["--data", &form("sized"), &root]).await;
        assert!(said.contains("MsgId"), "{said}");
        let chunked = ["--header", "Transfer-Encoding: chunked"];
        let said = send(&[&chunked[..], &["--data", &form("chunks"), &root]].concat()).await;
        assert!(said.contains("MsgId"), "{said}");
        // Waits for 100 Continue before it sends the body.
        let expect = ["--header", "Expect: 100-continue", "--include"];
        let said = send(&[&expect[..], &["--data", &form("expected"), &root]].concat()).await;
        assert!(said.starts_with("HTTP/1.1 100 Continue\r\n"), "{said}");
        assert!(said.contains("MsgId"), "{said}");
        // The second and third transfer need no new connection.
        let health = format!("{base}/_mqttstack/health");
        let count = ["--write-out", "%{http_code} %{num_connects}\n", "--output"];
        let nowhere = "/dev/null";
        let urls = [nowhere, &health, "--output", nowhere, &health];
        let said = send(&[&count[..], &urls].concat()).await;
        assert_eq!(said, "200 1\n200 0\n");
        let said = send(&["--head", &health]).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "{said}");
        let said = send(&["--http1.0", &health]).await;
        assert!(said.starts_with('{'), "{said}");
    }
    let payloads: Vec<_> = bench
        .emulator
        .messages()
        .since(0)
        .into_iter()
        .map(|(_, message)| message.payload.clone())
        .collect();
    let each = ["sized", "chunks", "expected"];
    assert_eq!(payloads, [each, each].concat());
}

#[tokio::test]
async fn curl_is_answered_for_an_unknown_method_and_as_a_proxys_client() {
    let bench = Bench::start().await;
    let base = bench.emulator.http_url().unwrap();
    let status = ["--write-out", "%{http_code}", "--output", "/dev/null"];
    let root = format!("{base}/");
    let said = curl(&[&status[..], &["--request", "FOO", &root]].concat()).await;
    assert_eq!(said, "400");
    let vendor = "http://onsmqtt.cn-hangzhou.aliyuncs.com/";
    let data = form("proxied");
    let proxied = ["--proxy", base, "--noproxy", "", "--data", &data, vendor];
    let said = curl(&proxied).await;
    assert!(said.contains("MsgId"), "{said}");
}

#[tokio::test]
async fn curl_sees_the_refusal_of_a_body_that_is_too_large() {
    let bench = Bench::start().await;
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&vec![b'x'; 8 << 20]).unwrap();
    let data = format!("@{}", file.path().display());
    let url = format!("{}/", bench.emulator.http_url().unwrap());
    for expect in ["Expect: 100-continue", "Expect:"] {
        let said = curl(&["--header", expect, "--data-binary", &data, &url]).await;
        assert!(said.contains("RequestBodyTooLarge"), "{said}");
    }
}

#[tokio::test]
async fn curl_trusts_the_authority_file_for_a_vendors_host_name() {
    let bench = Bench::start().await;
    let url = bench.emulator.https_url().unwrap();
    let port = url.rsplit(':').next().unwrap();
    let host = "onsmqtt.cn-hangzhou.aliyuncs.com";
    let resolve = format!("{host}:{port}:127.0.0.1");
    let url = format!("https://{host}:{port}/");
    let trust = ["--cacert", bench.ca(), "--resolve", &resolve];
    let said = curl(&[&trust[..], &["--data", &form("named"), &url]].concat()).await;
    assert!(said.contains("MsgId"), "{said}");
}
