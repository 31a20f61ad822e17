//! What is refused before anybody could look at it is said in the words of the surface that its
//! head points to, by path or by host, wherever in the head the host stands; and the journal has
//! it under that surface with its reason.

use std::time::Duration;

use mqttstack::Emulator;
use mqttstack::config::Config;
use mqttstack_base::exchange::Surface;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::PATIENCE;
use crate::shared;

/// How a surface, or a part of it, refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    AliyunXml,
    TencentCloud,
    TencentLegacy,
    TdmqData,
    AzureData,
    AzureEvents,
    AzureEntra,
    AzureMetadata,
    Nanomq,
    Problem,
}

/// A place to send a request to.
struct Place {
    surface: Option<Surface>,
    words: Words,
    method: &'static str,
    path: &'static str,
    host: &'static str,
    /// Header fields that the place needs to be known by.
    fields: &'static str,
}

const fn place(
    surface: Option<Surface>,
    words: Words,
    path: &'static str,
    host: &'static str,
) -> Place {
    Place {
        surface,
        words,
        method: "POST",
        path,
        host,
        fields: "",
    }
}

const HERE: &str = "127.0.0.1:4580";
const TC3: &str = "X-TC-Action: PublishMessage\r\n";

fn places() -> Vec<Place> {
    use Surface::{Aliyun, Azure, Nanomq, TencentIot, TencentTdmq};
    let of = |surface, words, path, host| place(Some(surface), words, path, host);
    let cloud = |surface, host| Place {
        fields: TC3,
        ..of(surface, Words::TencentCloud, "/", host)
    };
    vec![
        of(Aliyun, Words::AliyunXml, "/", HERE),
        of(
            Aliyun,
            Words::AliyunXml,
            "/",
            "onsmqtt.cn-hangzhou.aliyuncs.com",
        ),
        cloud(TencentIot, HERE),
        cloud(TencentIot, "iotcloud.tencentcloudapi.com"),
        of(TencentIot, Words::TencentCloud, "/device/publish", HERE),
        of(TencentIot, Words::TencentLegacy, "/register/dev", HERE),
        cloud(TencentTdmq, "mqtt.tencentcloudapi.com"),
        of(TencentTdmq, Words::TdmqData, "/topics/home", HERE),
        of(TencentTdmq, Words::TdmqData, "/client-id/a/status", HERE),
        of(TencentTdmq, Words::TdmqData, "/x", "tencent-tdmq.localhost"),
        of(Azure, Words::AzureData, "/mqtt/messages", HERE),
        of(Azure, Words::AzureEvents, "/topics/t:publish", HERE),
        of(
            Azure,
            Words::AzureData,
            "/x",
            "ns.westus3-1.eventgrid.azure.net",
        ),
        of(Azure, Words::AzureEntra, "/tenant/oauth2/v2.0/token", HERE),
        of(
            Azure,
            Words::AzureMetadata,
            "/metadata/identity/oauth2/token",
            HERE,
        ),
        of(Nanomq, Words::Nanomq, "/api/v4/mqtt/publish", HERE),
        of(Nanomq, Words::Nanomq, "/api/v1", HERE),
        of(
            Nanomq,
            Words::Nanomq,
            "/api/v4/mqtt/publish",
            "nanomq.localhost",
        ),
        place(None, Words::Problem, "/nowhere", HERE),
    ]
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LongLine,
    LargeHead,
    ManyFields,
    NoColon,
    StrangeVersion,
    BadLength,
    TwoLengths,
    LargeBody,
    BrokenChunk,
    Coding,
    LengthAndCoding,
    CutHead,
    CutBody,
}

const FAULTS: [Fault; 13] = [
    Fault::LongLine,
    Fault::LargeHead,
    Fault::ManyFields,
    Fault::NoColon,
    Fault::StrangeVersion,
    Fault::BadLength,
    Fault::TwoLengths,
    Fault::LargeBody,
    Fault::BrokenChunk,
    Fault::Coding,
    Fault::LengthAndCoding,
    Fault::CutHead,
    Fault::CutBody,
];

impl Fault {
    /// The request's bytes. What is wrong stands in front of what tells whose it is.
    fn bytes(self, place: &Place) -> Vec<u8> {
        let Place {
            method,
            path,
            host,
            fields,
            ..
        } = place;
        let known = format!("Host: {host}\r\n{fields}");
        let line = format!("{method} {path} HTTP/1.1\r\n");
        let text = match self {
            Self::LongLine => {
                let long = "x".repeat(400_000);
                format!("{method} {path}?x={long} HTTP/1.1\r\n{known}\r\n")
            }
            Self::LargeHead => format!("{line}{known}X: {}\r\n\r\n", "x".repeat(400_000)),
            Self::ManyFields => format!("{line}{known}{}\r\n", "X: y\r\n".repeat(300)),
            Self::NoColon => format!("{line}nonsense\r\n{known}\r\n"),
            Self::StrangeVersion => format!("{method} {path} HTTP/2.0\r\n{known}\r\n"),
            Self::BadLength => format!("{line}Content-Length: many\r\n{known}\r\n"),
            Self::TwoLengths => {
                format!("{line}Content-Length: 1\r\nContent-Length: 2\r\n{known}\r\n")
            }
            Self::LargeBody => format!("{line}Content-Length: 99999999\r\n{known}\r\nx"),
            Self::BrokenChunk => {
                format!("{line}Transfer-Encoding: chunked\r\n{known}\r\nno size\r\n")
            }
            Self::Coding => format!("{line}Transfer-Encoding: gzip\r\n{known}\r\n"),
            Self::LengthAndCoding => format!(
                "{line}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n{known}\r\n0\r\n\r\n"
            ),
            Self::CutHead => format!("{line}{known}"),
            Self::CutBody => format!("{line}Content-Length: 9\r\n{known}\r\nhalf"),
        };
        text.into_bytes()
    }

    /// The status of the surfaces that say by it what is wrong.
    fn status(self, words: Words) -> u16 {
        match self {
            Self::LongLine => 414,
            Self::LargeHead | Self::ManyFields => 431,
            Self::StrangeVersion => 505,
            Self::LargeBody if words == Words::AzureEvents => 403,
            Self::LargeBody => 413,
            Self::Coding if words == Words::AliyunXml => 400,
            Self::Coding => 501,
            Self::CutHead | Self::CutBody if words == Words::TdmqData => 408,
            Self::NoColon
            | Self::BadLength
            | Self::TwoLengths
            | Self::BrokenChunk
            | Self::LengthAndCoding
            | Self::CutHead
            | Self::CutBody => 400,
        }
    }

    /// The status of NanoMQ's page; `None` where it says nothing, 0 where it finds nothing wrong.
    fn of_nanomq(self) -> Option<u16> {
        match self {
            Self::StrangeVersion => Some(505),
            Self::BadLength | Self::TwoLengths | Self::LargeBody => Some(400),
            Self::ManyFields | Self::BrokenChunk | Self::Coding | Self::LengthAndCoding => Some(0),
            Self::LongLine | Self::LargeHead | Self::NoColon | Self::CutHead | Self::CutBody => {
                None
            }
        }
    }
}

/// Sends the bytes, ends the sending, and reads all that comes.
pub async fn exchange(url: &str, bytes: &[u8], ends: bool) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may refuse before all is sent.
    let _ = stream.write_all(bytes).await;
    if ends {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Checks the first answer against what the place's surface says of the fault.
fn check(answer: &str, words: Words, fault: Fault, what: &str) {
    if words == Words::Nanomq {
        match fault.of_nanomq() {
            None => assert_eq!(answer, "", "{what}"),
            Some(0) => assert!(answer.contains("{\"code\":"), "{what}: {answer}"),
            Some(status) => {
                let line = format!("HTTP/1.1 {status} ");
                assert!(answer.starts_with(&line), "{what}: {answer}");
                assert!(answer.contains("<!DOCTYPE html>\n<html><head>"), "{what}");
            }
        }
        return;
    }
    let (head, body) = answer.split_once("\r\n\r\n").expect(what);
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    let json = || serde_json::from_str::<Value>(body).expect(what);
    let kind = |media: &str| {
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains(&format!("content-type: {media}")),
            "{what}: {head}"
        );
    };
    let own = if matches!(words, Words::TencentCloud | Words::TencentLegacy) {
        200
    } else {
        fault.status(words)
    };
    assert_eq!(status, own, "{what}: {answer}");
    match words {
        Words::AliyunXml => {
            kind("text/xml");
            assert!(body.contains("<Error><RequestId>"), "{what}: {body}");
        }
        Words::TencentCloud => {
            kind("application/json");
            let error = &json()["Response"]["Error"];
            assert!(
                error["Code"].is_string() && error["Message"].is_string(),
                "{what}: {body}"
            );
        }
        Words::TencentLegacy => {
            kind("application/json");
            assert!(
                json()["code"].is_u64() && json()["requestId"].is_string(),
                "{what}: {body}"
            );
        }
        Words::TdmqData => kind("text/plain"),
        Words::AzureData | Words::AzureEvents => {
            kind("application/json");
            assert!(json()["error"]["code"].is_string(), "{what}: {body}");
            assert!(head.contains("x-ms-error-code: "), "{what}: {head}");
        }
        Words::AzureEntra | Words::AzureMetadata => {
            kind("application/json");
            assert!(json()["error_description"].is_string(), "{what}: {body}");
        }
        Words::Problem => {
            kind("application/problem+json");
            assert_eq!(json()["status"], status, "{what}: {body}");
        }
        Words::Nanomq => {}
    }
}

fn last(emulator: &Emulator) -> (Option<Surface>, Vec<String>) {
    let (_, entry) = emulator.requests().since(0).pop().unwrap();
    let reasons = entry.outcome().expect("an outcome").draft.reasons.clone();
    (entry.surface, reasons)
}

#[tokio::test]
async fn every_fault_is_refused_in_the_words_of_whoever_the_head_points_to() {
    let emulator = Emulator::builder().start().await.unwrap();
    let url = emulator.http_url().unwrap();
    for place in places() {
        for fault in FAULTS {
            let what = format!("{fault:?} {} {}", place.path, place.host);
            emulator.requests().clear();
            let answer = exchange(url, &fault.bytes(&place), true).await;
            check(&answer, place.words, fault, &what);
            let entries = emulator.requests().since(0);
            let (_, entry) = entries.first().expect(&what);
            assert_eq!(entry.surface, place.surface, "{what}");
            let outcome = entry.outcome().expect(&what);
            assert!(!outcome.draft.reasons.is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn at_a_vendors_own_port_every_fault_is_refused_in_its_words() {
    let emulator = Emulator::builder().start().await.unwrap();
    for (surface, words) in [
        (Surface::Aliyun, Words::AliyunXml),
        (Surface::TencentIot, Words::TencentCloud),
        (Surface::TencentTdmq, Words::TdmqData),
        (Surface::Azure, Words::AzureData),
        (Surface::Nanomq, Words::Nanomq),
    ] {
        let path = if surface == Surface::Nanomq {
            "/api/v1"
        } else {
            "/nowhere"
        };
        let place = place(Some(surface), words, path, "example.org");
        let url = emulator.vendor_url(surface).unwrap();
        for fault in FAULTS {
            let what = format!("{fault:?} at {surface}");
            let answer = exchange(url, &fault.bytes(&place), true).await;
            check(&answer, words, fault, &what);
            assert_eq!(last(&emulator).0, Some(surface), "{what}");
        }
    }
}

#[tokio::test]
async fn a_request_that_stalls_is_refused_in_its_surfaces_words_too() {
    let mut config = Config::free_ports();
    config.http.limits.head_timeout_ms = 50;
    config.http.limits.body_timeout_ms = 50;
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let url = emulator.http_url().unwrap();
    for place in places() {
        for fault in [Fault::CutHead, Fault::CutBody] {
            let what = format!("{fault:?} {} {}", place.path, place.host);
            let answer = exchange(url, &fault.bytes(&place), false).await;
            let status = |status| answer.starts_with(&format!("HTTP/1.1 {status} "));
            match place.words {
                Words::Nanomq => assert_eq!(answer, "", "{what}"),
                Words::TencentCloud | Words::TencentLegacy => {
                    assert!(status(200), "{what}: {answer}");
                }
                _ => assert!(status(408), "{what}: {answer}"),
            }
            let (surface, reasons) = last(&emulator);
            assert_eq!(surface, place.surface, "{what}");
            assert!(reasons[0].contains("in time"), "{what}: {reasons:?}");
        }
    }
}

/// A form of Tencent's cloud API, signed by the older signature or as if, with so long a payload.
fn form(host: &str, length: usize, secret_first: bool, expect: bool) -> String {
    let secret = "SecretId=AKIDEXAMPLE0000000000000000000000000&SignatureMethod=HmacSHA256";
    let payload = format!("Payload={}", "A".repeat(length));
    let body = if secret_first {
        format!("{secret}&Action=PublishMessage&Version=2021-04-08&{payload}")
    } else {
        format!("{payload}&Action=PublishMessage&Version=2021-04-08&{secret}")
    };
    let expect = if expect {
        "Expect: 100-continue\r\n"
    } else {
        ""
    };
    format!(
        "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n{expect}\
         Content-Length: {}\r\nHost: {host}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_form_that_is_too_long_is_refused_in_tencents_words_wherever_its_secret_stands() {
    let emulator = Emulator::builder().start().await.unwrap();
    let url = emulator.http_url().unwrap();
    for host in [HERE, "iotcloud.tencentcloudapi.com"] {
        for length in [1_200_000, 12_000_000] {
            for (secret_first, expect) in [(true, false), (false, false), (false, true)] {
                let bytes = form(host, length, secret_first, expect);
                let answer = exchange(url, bytes.as_bytes(), true).await;
                let what = format!("{host} {length} {secret_first} {expect}: {answer}");
                let answer = answer.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{what}");
                assert!(
                    answer.contains("\"Code\":\"AuthFailure.SignatureFailure\""),
                    "{what}"
                );
                assert!(answer.contains("exceeding request size limit"), "{what}");
                assert_eq!(last(&emulator).0, Some(Surface::TencentIot), "{what}");
            }
        }
    }
    // A form that is Aliyun's is refused in Aliyun's words; the names are of one length.
    let bytes = form(HERE, 1_200_000, true, false).replace("SecretId=AKIDE", "AccessKeyId=AK");
    let answer = exchange(url, bytes.as_bytes(), true).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("<Error><RequestId>"), "{answer}");
}

#[tokio::test]
async fn a_stop_refuses_what_still_waits_in_its_surfaces_words() {
    let mut config = Config::free_ports();
    config.azure.auth = serde_json::from_str("\"off\"").unwrap();
    let emulator = Emulator::builder().config(config).start().await.unwrap();
    let address = emulator
        .http_url()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let target = "/topics/t/eventsubscriptions/s:receive?api-version=2024-06-01&maxWaitTime=60";
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    shared::more(emulator.requests(), 0).await;
    let stop = tokio::time::timeout(Duration::from_secs(30), emulator.stop());
    let mut answer = String::new();
    let (stopped, read) = tokio::join!(stop, stream.read_to_string(&mut answer));
    stopped.unwrap();
    read.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("\"code\":\"ServiceUnavailable\""),
        "{answer}"
    );
    assert!(answer.contains("the emulator is stopping"), "{answer}");
}
