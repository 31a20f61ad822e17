//! One NanoMQ on a real socket over a broker, and what a client sees of its answers.

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack::server::{self, Listener, Server};
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::{Answer, BodyPolicy, Head, Request};
use mqttstack_base::message::Counters;
use mqttstack_http1::Handler;
use mqttstack_nanomq::{Nanomq, Settings};
use mqttstack_pipeline::App;
use mqttstack_pipeline::{self as pipeline, Vendor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mqtt::PATIENCE;
use crate::shared::{self, Rooms, anywhere};

pub struct Surface {
    pub app: App,
    pub nanomq: Nanomq,
}

impl Handler for Surface {
    type Destination = ();

    fn sole(&self) -> Option<()> {
        Some(())
    }

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn reads_loosely(&self, (): &()) -> bool {
        true
    }

    fn body_policy(&self, (): &(), head: &Head) -> BodyPolicy {
        self.nanomq.body_policy(head)
    }

    async fn handle(&self, (): (), request: Request) -> Answer {
        pipeline::run(&self.app, &self.nanomq, &request).await
    }
}

pub struct Bench {
    pub surface: Arc<Surface>,
    pub http: SocketAddr,
    pub mqtt: SocketAddr,
    _server: Server,
}

/// What came back: the status line, the header lines in order, the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub status_line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

impl Bench {
    pub async fn new(settings: Settings) -> Self {
        Self::at(settings, Clock::real()).await
    }

    pub async fn at(settings: Settings, clock: Clock) -> Self {
        let app = Rooms::new(clock).open().await;
        let mqtt = shared::listen(&app.broker);
        let nanomq = Nanomq::new(settings).unwrap();
        nanomq.started(app.clock.now());
        let surface = Arc::new(Surface { app, nanomq });
        let listener = Listener::bind("nanomq", anywhere(), None).await.unwrap();
        let http = listener.address();
        let server = Server::new(server::Settings::default());
        server.serve(listener, Arc::clone(&surface));
        Self {
            surface,
            http,
            mqtt,
            _server: server,
        }
    }

    /// Sends these bytes on a connection of their own and reads one answer; `None` where the
    /// connection ends without one.
    pub async fn raw(&self, bytes: &[u8]) -> Option<Seen> {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let head_method = bytes.starts_with(b"HEAD ");
        read_answer(&mut stream, head_method).await
    }

    /// Sends these bytes and reads until the other side closes.
    pub async fn raw_to_end(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        let end = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
        // A reset behind the answer is an end too.
        let _ = end.expect("an end in time");
        all
    }

    /// A request of `admin`, typed as JSON, and its answer.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> Seen {
        self.raw(request(method, path, body).as_bytes())
            .await
            .expect("an answer")
    }

    /// A V1 request and the text of its answer.
    pub async fn v1(&self, body: &str) -> String {
        self.ask("POST", "/api/v1", body).await.text()
    }

    pub fn counters(&self) -> Counters {
        self.surface.app.broker.counters()
    }

    /// Waits until the broker's totals are as wanted.
    pub async fn until(&self, wanted: impl Fn(Counters) -> bool) {
        shared::until(&self.surface.app.broker, async || {
            wanted(self.counters()).then_some(())
        })
        .await;
    }

    /// The journal's words on the last request.
    pub fn last_reasons(&self) -> String {
        let (_, entry) = self.surface.app.journal.requests().since(0).pop().unwrap();
        let outcome = entry.outcome().expect("a closed entry");
        outcome.draft.reasons.join("; ")
    }
}

/// A request of `admin`, typed as JSON.
pub fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:8081\r\n\
         Authorization: Basic YWRtaW46cHVibGlj\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer off a connection; `None` where it ends first.
pub async fn read_answer(stream: &mut TcpStream, bodiless: bool) -> Option<Seen> {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return None,
                Err(error) => panic!("a head cut short: {error}"),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "Content-Length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let bodiless = bodiless || status_line.contains(" 204 ");
        let mut body = vec![0; if bodiless { 0 } else { length }];
        stream.read_exact(&mut body).await.unwrap();
        Some(Seen {
            status_line,
            headers,
            body,
        })
    };
    timeout(PATIENCE, read).await.expect("an answer in time")
}
