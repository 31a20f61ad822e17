//! Signed `SendMessage` requests over keep-alive connections: what `load` and `broker` share.

pub(crate) mod bare;
pub(crate) mod process;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the requests publish to.
pub(crate) const TOPIC: &str = "bench";

pub(crate) const CONNECTIONS: usize = 64;
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Per connection, the requests that it sends one after the other.
pub(crate) type Requests = Arc<Vec<Vec<Bytes>>>;

/// What a load found.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    pub(crate) accepted: u64,
    pub(crate) p99: Duration,
}

/// Sends requests over all connections until the time is over or they are used up; every answer
/// must be a success.
pub(crate) async fn load(address: SocketAddr, time: Duration, requests: Requests) -> Load {
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|index| {
            let (requests, over) = (requests.clone(), over.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 4096];
                let mut waits = Vec::new();
                for request in &requests[index] {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let begun = Instant::now();
                    stream.write_all(request).await.unwrap();
                    let count = stream.read(&mut buffer).await.unwrap();
                    waits.push(begun.elapsed());
                    assert!(
                        buffer[..count].starts_with(b"HTTP/1.1 20"),
                        "{}",
                        String::from_utf8_lossy(&buffer[..count])
                    );
                }
                waits
            })
        })
        .collect();
    let begun = Instant::now();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(time).await;
        over.store(true, Ordering::Relaxed);
    });
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let elapsed = begun.elapsed();
    timer.abort();
    waits.sort_unstable();
    Load {
        per_second: waits.len() as f64 / elapsed.as_secs_f64(),
        accepted: waits.len() as u64,
        p99: waits[waits.len() * 99 / 100],
    }
}

/// Signs so many requests for each connection; `base` keeps the nonces of two runs apart.
pub(crate) fn requests(each: usize, base: u64) -> Requests {
    let now = jiff::Timestamp::from_second(
        std::time::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs()
            .try_into()
            .unwrap(),
    )
    .unwrap()
    .to_string();
    let of = |connection: u64| {
        (0..each as u64)
            .map(|n| signed(base + connection * each as u64 + n, &now).into())
            .collect()
    };
    Arc::new((0..CONNECTIONS as u64).map(of).collect())
}

/// One signed request, `SignatureVersion` 1.0, as the vendor's page has it.
fn signed(nonce: u64, now: &str) -> Vec<u8> {
    let mut query = String::from("AccessKeyId=testid&Action=SendMessage&Format=JSON");
    query.push_str("&InstanceId=post-cn-test0001&MqttTopic=");
    query.push_str(TOPIC);
    query.push_str("&Payload=");
    query.push_str(&"x".repeat(64));
    query.push_str("&SignatureMethod=HMAC-SHA1&SignatureNonce=");
    let timestamp = utf8_percent_encode(now, UNRESERVED);
    write!(
        query,
        "{nonce:032x}&SignatureVersion=1.0&Timestamp={timestamp}&Version=2020-04-20"
    )
    .unwrap();
    let text = format!("POST&%2F&{}", utf8_percent_encode(&query, UNRESERVED));
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"testsecret&").unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let signature = utf8_percent_encode(&signature, UNRESERVED);
    format!("POST /?{query}&Signature={signature} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .into_bytes()
}
