//! What is secret stands nowhere: not in the log at its most talkative, not in the journal, not in
//! any answer of the admin API.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::program::FREE_PORTS;
use crate::raw::{ask, get};

/// Each is sent once, in a request of its own or an MQTT packet.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0LXNpZ25hdHVyZQ";

/// A request line, its fields and its body; of the secrets in them those in the last column.
const REQUESTS: [(&str, &str, &str, &str); 13] = [
    (
        "POST /?Action=SendMessage&Signature=SECRET-A1&SecurityToken=SECRET-A2",
        "",
        "",
        "SECRET-A",
    ),
    (
        "POST /",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Action=ApplyToken&Signature=SECRET-B%3D",
        "SECRET-B",
    ),
    (
        "POST /",
        "Authorization: ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host,Signature=SECRET-C\r\nx-acs-action: SendMessage\r\nx-acs-security-token: SECRET-C2\r\n",
        "",
        "SECRET-C",
    ),
    (
        "POST /",
        "X-TC-Action: CreateUser\r\nX-TC-Token: SECRET-D1\r\nContent-Type: application/json\r\n",
        r#"{"Username":"u","Password":"SECRET-D2"}"#,
        "SECRET-D",
    ),
    (
        "POST /",
        "X-TC-Action: CreateDevice\r\nContent-Type: application/json\r\n",
        r#"{"ProductId":"x","DefinedPsk":"SECRET-E"}"#,
        "SECRET-E",
    ),
    (
        "POST /topics/a",
        "Authorization: Basic SECRET-F0123\r\n",
        "x",
        "SECRET-F",
    ),
    (
        "POST /topics/t:publish?api-version=2024-06-01&aeg-sas-key=SECRET-G",
        "aeg-sas-token: r=x&s=SECRET-G2\r\n",
        "{}",
        "SECRET-G",
    ),
    (
        "POST /mqtt/messages?topic=a&api-version=x",
        "Authorization: SharedAccessSignature r=x&e=y&s=SECRET-H\r\n",
        "x",
        "SECRET-H",
    ),
    (
        "POST /t/oauth2/v2.0/token",
        "Content-Type: text/plain\r\n",
        "grant_type=client_credentials&client_secret=SECRET-I",
        "SECRET-I",
    ),
    (
        "GET /api/v4/brokers",
        "Authorization: Basic SECRET-J0123\r\n",
        "",
        "SECRET-J",
    ),
    (
        "POST /api/v4/configuration/basic",
        "Authorization: Basic YWRtaW46cHVibGlj\r\n",
        r#"{"data":{"password":"SECRET-K","url":"mqtt://u:SECRET-K2@h"}}"#,
        "SECRET-K",
    ),
    (
        "GET http://user:SECRET-L@nowhere/",
        "Referer: http://user:SECRET-L2@h/\r\n",
        "",
        "SECRET-L",
    ),
    (
        "POST /register/dev",
        "Content-Type: application/json\r\n",
        r#"{"signature":"SECRET-M","psk":12345678901}"#,
        "SECRET-M",
    ),
];

fn text(bytes: &str) -> Vec<u8> {
    let mut text = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    text.extend_from_slice(bytes.as_bytes());
    text
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut packet = vec![first];
    if length < 128 {
        packet.push(u8::try_from(length).unwrap());
    } else {
        packet.push(u8::try_from(length % 128).unwrap() | 0x80);
        packet.push(u8::try_from(length / 128).unwrap());
    }
    packet.extend_from_slice(body);
    packet
}

/// Connects with a user name and what may follow it, publishes a token where some vendor's clients
/// do, and waits for the acknowledgement or the end.
async fn mqtt(address: &str, user: &str, password: Option<&str>, topic: &str, payload: &str) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let flags = if password.is_some() { 0xc2 } else { 0x82 };
    let mut connect = [&text("MQTT")[..], &[4, flags, 0, 60]].concat();
    connect.extend(text("client"));
    connect.extend(text(user));
    connect.extend(password.map(text).unwrap_or_default());
    stream.write_all(&packet(0x10, &connect)).await.unwrap();
    let publish = [&text(topic)[..], &[0, 1], payload.as_bytes()].concat();
    stream.write_all(&packet(0x33, &publish)).await.unwrap();
    let mut answer = [0; 8];
    // Fewer bytes say that the client was refused.
    let _ = stream.read_exact(&mut answer).await;
    stream.write_all(&[0xe0, 0]).await.ok();
    stream.read_to_end(&mut Vec::new()).await.ok();
}

/// That no secret stands in a text.
fn check(place: &str, text: &str) {
    let secrets = REQUESTS.iter().map(|row| row.3);
    for secret in secrets.chain(["SECRET-", "c2VjcmV0LXNpZ25hdHVyZQ", "12345678901"]) {
        let around = text.find(secret).map(|at| {
            let start = text.floor_char_boundary(at.saturating_sub(200));
            &text[start..text.floor_char_boundary(at + 40)]
        });
        assert_eq!(around, None, "{secret} in {place}");
    }
}

/// Starts the program at its most talkative, its log in a file that takes all of it.
async fn start(config: &Path, log: &NamedTempFile) -> (Child, Value) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_mqttstack"))
        .args(FREE_PORTS)
        .arg("--log-level=trace")
        .arg(format!("--config={}", config.display()))
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(log.reopen().unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = String::new();
    let mut lines = BufReader::new(program.stdout.take().unwrap());
    lines.read_line(&mut stdout).await.unwrap();
    let ready: Value = serde_json::from_str(&stdout).unwrap();
    (program, ready)
}

#[tokio::test]
async fn no_secret_is_shown_anywhere() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(b"[tencent_cloud]\nauth = \"off\"\n")
        .unwrap();
    let log = NamedTempFile::new().unwrap();
    let (mut program, ready) = start(file.path(), &log).await;
    let url = ready["http"].as_str().unwrap();
    for (line, fields, body, _) in REQUESTS {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        ask(url, &request).await;
    }
    let address = ready["mqtt"].as_str().unwrap().replace("mqtt://", "");
    let token = r#"{"token":"SECRET-N","type":"RW"}"#;
    mqtt(
        &address,
        "user",
        Some("SECRET-O"),
        "$SYS/uploadToken",
        token,
    )
    .await;
    mqtt(&address, "user:SECRET-P", None, "a", "x").await;
    mqtt(&address, "user?x=y&token=SECRET-Q", None, "a", "x").await;
    mqtt(&address, TOKEN, Some("x"), "a", "x").await;
    mqtt(
        &address,
        "Signature|testid|post-cn-test0001",
        Some("SECRET-R"),
        "a",
        "x",
    )
    .await;
    let mut shown = String::new();
    for path in [
        "requests",
        "messages",
        "clients",
        "retained",
        "info",
        "requests?status=400",
    ] {
        let target = format!("/_mqttstack/{path}");
        shown += &ask(url, &get(&target, "127.0.0.1")).await.1;
    }
    assert!(shown.matches("\"cursor\"").count() > 15, "{shown}");
    let pid = i32::try_from(program.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    program.wait().await.unwrap();
    let stderr = std::fs::read_to_string(log.path()).unwrap();
    assert!(stderr.contains("mqttstack::request"));
    for (place, text) in [("admin", &shown), ("stderr", &stderr)] {
        check(place, text);
    }
}
