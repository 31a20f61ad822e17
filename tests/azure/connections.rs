//! Requests that are broken below the vendor's own rules, byte by byte over a connection: each is
//! answered in the vendor's shape, or ends, and the journal says why. Nothing hangs.

use std::time::Duration;

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

const PUBLISH: &str = "POST /mqtt/messages?topic=t&api-version=x HTTP/1.1\r\nHost: h\r\n";

/// An emulator that waits so long for a head or a body.
async fn patient(timeout_ms: u64) -> (Emulator, String) {
    let mut config = Config::free_ports();
    config.http.limits.head_timeout_ms = timeout_ms;
    config.http.limits.body_timeout_ms = timeout_ms;
    config.azure = serde_json::from_value(json!({"auth": "off"})).unwrap();
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let url = emulator.vendor_url(Surface::Azure).unwrap();
    let address = url.trim_start_matches("http://").to_owned();
    (emulator, address)
}

/// Sends these bytes, then the end if `ends`, and reads until the emulator ends it or has
/// answered once.
async fn talk(address: &str, bytes: &[u8], ends: bool) -> String {
    let talking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if ends {
            stream.shutdown().await.unwrap();
        }
        let mut received = Vec::new();
        while !is_whole(&received) {
            // A reset is an end too.
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&received).into_owned()
    };
    tokio::time::timeout(PATIENCE, talking)
        .await
        .expect("the connection hangs")
}

fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    if head.starts_with("HTTP/1.1 204") {
        return true;
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

/// What the journal says about the newest request.
fn reasons(emulator: &Emulator) -> String {
    let (_, entry) = emulator.requests().since(0).pop().unwrap();
    entry.outcome().unwrap().draft.reasons.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_no_http_is_refused_in_the_vendors_shape() {
    let (emulator, address) = patient(60_000).await;
    let request = |rest: &str| format!("{PUBLISH}{rest}").into_bytes();
    let long = "x".repeat(400_000);
    let cases: Vec<Case> = vec![
        (
            request("Content-Length: ten\r\n\r\n"),
            400,
            "BadRequest",
            "Content-Length",
        ),
        (
            request("Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            400,
            "BadRequest",
            "Content-Length",
        ),
        (
            request("Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            400,
            "BadRequest",
            "chunk",
        ),
        (request("no colon here\r\n\r\n"), 400, "BadRequest", ""),
        (
            b"POST /mqtt/messages HTTP/4.0\r\nHost: h\r\n\r\n".to_vec(),
            505,
            "HttpVersionNotSupported",
            "",
        ),
        (
            format!("POST /mqtt/messages?topic={long} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes(),
            414,
            "UriTooLong",
            "",
        ),
        (
            request(&format!("x: {long}\r\n\r\n")),
            431,
            "RequestHeaderFieldsTooLarge",
            "",
        ),
        (
            request("Content-Length: 524289\r\n\r\n"),
            413,
            "RequestEntityTooLarge",
            "524288",
        ),
        (
            [request("mqtt-response-topic: ").as_slice(), b"\xff\r\n\r\n"].concat(),
            400,
            "BadRequest",
            "not UTF-8",
        ),
        (
            b"POST /mqtt/messages?topic=\xff&api-version=x HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
            400,
            "BadRequest",
            "",
        ),
        (
            b"POST /topics/t:publish?api-version=x HTTP/1.1\r\nHost: h\r\ncontent-type: application/cloudevents+json\r\nContent-Length: 1\r\n\r\n\xff".to_vec(),
            400,
            "BadRequest",
            "not JSON",
        ),
    ];
    refused(&emulator, &address, cases).await;
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_and_a_body_that_do_not_come_to_an_end_are_not_waited_for() {
    let (emulator, address) = patient(50).await;
    let body = format!("{PUBLISH}Content-Length: 10\r\n\r\nabc").into_bytes();
    let cases = vec![
        (body, 408, "RequestTimeout", ""),
        (PUBLISH.into(), 408, "RequestTimeout", ""),
    ];
    refused(&emulator, &address, cases).await;
    emulator.stop().await;
}

/// What is sent, and what is said about it: status, code, a part of the journal's reason.
type Case = (Vec<u8>, u16, &'static str, &'static str);

/// Sends each and looks at its refusal.
async fn refused(emulator: &Emulator, address: &str, cases: Vec<Case>) {
    for (bytes, status, code, reason) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let answer = talk(address, &bytes, false).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown}\n{answer}"
        );
        assert!(
            answer.contains(&format!("x-ms-error-code: {code}\r\n")),
            "{shown}\n{answer}"
        );
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["error"]["code"], code, "{shown}");
        let said = reasons(emulator);
        assert!(!said.is_empty() && said.contains(reason), "{shown}\n{said}");
    }
    assert!(emulator.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_within_its_body_publishes_nothing_and_is_in_the_journal() {
    let (emulator, address) = patient(60_000).await;
    let bytes = format!("{PUBLISH}Content-Length: 10\r\n\r\nabc");
    talk(&address, bytes.as_bytes(), true).await;
    assert!(!reasons(&emulator).is_empty());
    assert!(emulator.messages().is_empty());
    emulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_chunks_or_after_a_continue_is_the_payload() {
    let (emulator, address) = patient(60_000).await;
    let chunked =
        format!("{PUBLISH}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let answer = talk(&address, chunked.as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!("{PUBLISH}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"vwxyz").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 204");
    let payloads: Vec<_> = emulator
        .messages()
        .since(0)
        .iter()
        .map(|(_, message)| message.payload.clone())
        .collect();
    assert_eq!(payloads, [b"abcde".as_slice(), b"vwxyz"]);
    emulator.stop().await;
}
