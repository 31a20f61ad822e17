//! What passes between the HTTP loop and a vendor: a [`Request`] as it came off the wire,
//! an [`Answer`] as it will go onto it, the [`Receipt`] that one walk carries, and the
//! [`Refusal`]s that shared rooms can raise. Values only; the walk itself is in `pipeline.rs`.

mod malformed;
pub mod page;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use malformed::Malformed;

/// The five vendor surfaces, spelled as the journal and the admin API spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surface {
    /// Aliyun `ApsaraMQ` for MQTT.
    Aliyun,
    /// Tencent IoT Hub.
    TencentIot,
    /// Tencent TDMQ for MQTT.
    TencentTdmq,
    /// Azure Event Grid MQTT broker.
    Azure,
    /// `NanoMQ`'s HTTP API.
    Nanomq,
}

impl Surface {
    /// All surfaces, in the order in which they are listed everywhere.
    pub const ALL: [Self; 5] = [
        Self::Aliyun,
        Self::TencentIot,
        Self::TencentTdmq,
        Self::Azure,
        Self::Nanomq,
    ];

    /// The spelling used on the command line, in the journal and in the admin API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aliyun => "aliyun",
            Self::TencentIot => "tencent-iot",
            Self::TencentTdmq => "tencent-tdmq",
            Self::Azure => "azure",
            Self::Nanomq => "nanomq",
        }
    }
}

impl std::fmt::Display for Surface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the bytes came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// The HTTP version of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: the connection closes after the answer unless asked to stay.
    Http10,
    /// HTTP/1.1: the connection stays unless asked to close.
    Http11,
}

/// Header fields in the order and spelling in which they came.
#[derive(Debug, Clone, Default)]
pub struct Headers(pub Vec<(ByteString, Bytes)>);

impl Headers {
    /// The first value of `name` (compared without case), as raw bytes.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The first value of `name` as text; `None` where it is absent or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> + 'a {
        self.0
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Name and value of every field, in order, each as it came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

/// A request line and its header fields.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method as written; any token is possible.
    pub method: ByteString,
    /// The request target as written: origin form, absolute form or anything else.
    pub target: ByteString,
    /// The HTTP version.
    pub version: Version,
    /// The header fields.
    pub headers: Headers,
    /// Size of the whole head on the wire, in bytes, blank line included.
    pub size: usize,
}

impl Head {
    /// The path of the target without its query; of an absolute-form target, its path.
    pub fn path(&self) -> &str {
        self.origin_form()
            .split_once('?')
            .map_or_else(|| self.origin_form(), |(path, _)| path)
    }

    /// The raw text after the first `?`; `""` where there is none.
    pub fn raw_query(&self) -> &str {
        self.origin_form()
            .split_once('?')
            .map_or("", |(_, query)| query)
    }

    /// The target from its path on: of `http://host/path?query`, `/path?query`.
    pub fn origin_form(&self) -> &str {
        let target: &str = &self.target;
        let Some((scheme, rest)) = target.split_once("://") else {
            return target;
        };
        if scheme.contains(['/', '?']) {
            return target;
        }
        rest.find(['/', '?']).map_or("/", |start| &rest[start..])
    }

    /// The `Host` field as it came, else the authority of an absolute-form target.
    pub fn host(&self) -> Option<&str> {
        self.headers.text("host").or_else(|| {
            let (scheme, rest) = self.target.split_once("://")?;
            if scheme.contains(['/', '?']) {
                return None;
            }
            rest.split(['/', '?']).next()
        })
    }
}

/// How a surface wants a body read, decided from the head alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPolicy {
    /// The longest body in bytes; more is [`Malformed::BodyTooLarge`].
    pub max_body: usize,
    /// Whether `Transfer-Encoding: chunked` is understood; if not, such a body counts as empty
    /// and what follows is read as the next request.
    pub chunked: bool,
    /// Whether `Expect: 100-continue` is answered with `100 Continue`.
    pub expect_continue: bool,
    /// Whether the two ends of a body that is too long are read all the same, because only the
    /// body tells whose it is.
    pub ends: bool,
}

impl Default for BodyPolicy {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            chunked: true,
            expect_continue: true,
            ends: false,
        }
    }
}

/// One request, read once. Where `malformed` is set, the other fields hold what could be read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Request line and header fields.
    pub head: Head,
    /// The body, whole, with any transfer coding removed.
    pub body: Bytes,
    /// What was wrong with the bytes, if anything was.
    pub malformed: Option<Malformed>,
    /// The sender's address.
    pub peer: SocketAddr,
    /// The address it was sent to.
    pub local: SocketAddr,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The client's certificate chain in DER, leaf first; empty without one.
    pub certificates: Arc<[Bytes]>,
}

/// A TLS handshake that failed.
#[derive(Debug, Clone)]
pub struct HandshakeFailure {
    /// The client's address.
    pub peer: SocketAddr,
    /// The server name that the client asked for, as far as it was read.
    pub server_name: Option<String>,
    /// The alert that the client sent; 0 if it sent none.
    pub alert: u8,
    /// What went wrong and what to do.
    pub reason: String,
}

/// What happens to the connection once an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Connection {
    /// Stay open if the request allows it.
    #[default]
    Keep,
    /// Close after the answer.
    Close,
    /// Close after the answer without a `Connection: close` that says so.
    Hangup,
    /// Write nothing at all and close.
    Drop,
    /// Write nothing and reset the connection (RST).
    Reset,
    /// Write nothing and leave the connection open until the peer gives up.
    Stall,
    /// Write only the first `n` bytes of the answer, head included, then close.
    Truncate(usize),
}

/// A stream of body pieces (server-sent events); sent chunked.
pub type BodyStream = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The body of an answer.
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// Pieces as they come; only the admin API uses it.
    Stream(BodyStream),
}

impl Body {
    /// The bytes of a full body; empty for a stream.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Full(bytes) => bytes.clone(),
            Self::Stream(_) => Bytes::new(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// One answer. Header fields go out in this order and spelling; the loop appends
/// `Content-Length` (or `Transfer-Encoding`) and `Connection` only where they are needed
/// and not given, and nothing else: no `Date`, no `Server`.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Cow<'static, str>,
    /// Header fields.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Body,
    /// What happens to the connection afterwards.
    pub connection: Connection,
    /// Gives back what the answer hands over, if the client does not get it.
    pub undelivered: Option<Undelivered>,
}

/// What is done if a client does not get its answer.
pub struct Undelivered(Box<dyn FnOnce() + Send>);

impl Undelivered {
    /// Does it.
    pub fn give_back(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Undelivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Undelivered")
    }
}

impl Answer {
    /// An answer with the standard reason phrase, no header fields and an empty body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(reason_phrase(status)),
            headers: Vec::new(),
            body: Body::Full(Bytes::new()),
            connection: Connection::Keep,
            undelivered: None,
        }
    }

    /// Adds a header field behind those already there.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Full(body.into());
        self
    }

    /// Sets what happens to the connection afterwards.
    #[must_use]
    pub fn connection(mut self, connection: Connection) -> Self {
        self.connection = connection;
        self
    }

    /// Sets what is done if the client does not get the answer.
    #[must_use]
    pub fn undelivered(mut self, give_back: impl FnOnce() + Send + 'static) -> Self {
        self.undelivered = Some(Undelivered(Box::new(give_back)));
        self
    }

    /// The first value of the header field `name`, compared without case.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The standard reason phrase (RFC 9110 section 15); empty for an unknown code.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// What one walk carries: its id and its one reading of the clock.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The request id: an upper-case UUID. Vendors may spell it otherwise on the wire.
    pub id: String,
    /// The emulator's time for the whole request.
    pub now: Timestamp,
}

/// What shared rooms can refuse. Every vendor says it in its own words (`From<Refusal>`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes of the request could not be read.
    #[error("{0}")]
    Malformed(Malformed),
    /// The caller made more calls than its quota allows.
    #[error("more than {per_second} calls of {operation} per second by {key}")]
    TooManyRequests {
        /// The vendor's name of the operation.
        operation: &'static str,
        /// Whose quota it is.
        key: String,
        /// The quota.
        per_second: u32,
    },
    /// A topic name that the broker does not take.
    #[error("the topic name is refused: {0}")]
    Topic(String),
    /// A matching subscriber's queue stayed full for the whole waiting time.
    #[error("the queue of MQTT client {client_id:?} stayed full for {waited_ms} ms")]
    Overloaded {
        /// The slow subscriber.
        client_id: String,
        /// How long the publish waited, in milliseconds.
        waited_ms: u64,
    },
    /// The broker has stopped or could not take the message.
    #[error("the broker could not take the message: {0}")]
    Unavailable(String),
    /// A fault of this program, not of the request.
    #[error("internal fault: {0}")]
    Internal(String),
}
