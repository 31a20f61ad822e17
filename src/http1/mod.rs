//! The HTTP/1 connection loop, ours because vendors differ in what the usual stacks decide for
//! everybody: header order, missing Host, request lines of 200 KB, broken answers on purpose.
//! `head.rs` reads a head, `body.rs` a body, `write.rs` writes an answer, `wire.rs` moves the
//! bytes under time limits; [`serve`] ties them.

mod body;
mod head;
mod wire;
mod write;

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::{Answer, BodyPolicy, Connection, Head, Malformed, Request, Scheme, Version};
use body::Framing;
use head::{Progress, Scan};
use wire::{Gap, Wire};
use write::{Asked, has_token};

/// Bounds of one connection. All of them are in force at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest request target in bytes (default 256 KiB).
    pub max_target: usize,
    /// The longest head in bytes, request line included (default 320 KiB).
    pub max_head: usize,
    /// How long a head may take from its first byte, in milliseconds (default 10,000).
    pub head_timeout_ms: u64,
    /// How long a body may take, in milliseconds (default 30,000).
    pub body_timeout_ms: u64,
    /// How long a connection may wait for its next request, in milliseconds (default 60,000).
    pub idle_timeout_ms: u64,
    /// How long writing an answer may stand still, in milliseconds (default 30,000).
    pub write_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_target: 256 << 10,
            max_head: 320 << 10,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
        }
    }
}

/// What the loop asks of whoever answers.
pub trait Handler: Send + Sync + 'static {
    /// How to read the body that belongs to this head.
    fn body_policy(&self, head: &Head) -> BodyPolicy;

    /// Answers one request, a malformed one too (`request.malformed`).
    fn handle(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The sender's address.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The client's certificate chain in DER, leaf first.
    pub certificates: Arc<[Bytes]>,
}

/// How a connection ended.
#[must_use]
#[derive(Debug)]
pub enum End<S> {
    /// It is closed.
    Closed,
    /// It is to be reset: whoever owns the socket sets its linger time to zero and drops it.
    Reset(S),
}

/// Serves one connection until either side ends it.
///
/// A cancelled `shutdown` ends an idle connection at once, and a busy one after its answer.
pub async fn serve<S, H>(
    stream: S,
    origin: Origin,
    handler: &H,
    limits: &Limits,
    shutdown: CancellationToken,
) -> End<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    H: Handler,
{
    let write_timeout = Duration::from_millis(limits.write_timeout_ms);
    let mut wire = Wire::new(stream, write_timeout, shutdown);
    while let Some(arrival) = receive(&mut wire, handler, limits).await {
        let broken = arrival.malformed.is_some();
        let asked = Asked {
            version: arrival.head.version,
            head: arrival.head.method == "HEAD",
            persistent: !broken && stays(&arrival.head),
        };
        let answer = call(handler, arrival.into_request(&origin)).await;
        let keep = match answer.connection {
            Connection::Reset => return End::Reset(wire.into_stream()),
            Connection::Stall => {
                wire.stall().await;
                return End::Closed;
            }
            Connection::Drop => false,
            Connection::Keep | Connection::Close | Connection::Hangup | Connection::Truncate(_) => {
                let persistent = asked.persistent && !wire.stopping();
                let asked = Asked {
                    persistent,
                    ..asked
                };
                let Ok(keep) = write::answer(&mut wire, answer, asked).await else {
                    return End::Closed;
                };
                keep
            }
        };
        if !keep {
            let unread = broken || !wire.buf.is_empty();
            wire.close(unread).await;
            return End::Closed;
        }
    }
    wire.close(false).await;
    End::Closed
}

/// A request as it came, good or not.
struct Arrival {
    head: Head,
    body: Bytes,
    malformed: Option<Malformed>,
}

impl Arrival {
    fn into_request(self, origin: &Origin) -> Request {
        Request {
            head: self.head,
            body: self.body,
            malformed: self.malformed,
            peer: origin.peer,
            local: origin.local,
            scheme: origin.scheme,
            certificates: Arc::clone(&origin.certificates),
        }
    }
}

/// Reads the next request; `None` when the connection ends before one has begun.
async fn receive<S, H>(wire: &mut Wire<S>, handler: &H, limits: &Limits) -> Option<Arrival>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let head = match receive_head(wire, limits).await? {
        Ok(head) => head,
        Err(malformed) => {
            let head = head::salvage(&wire.buf);
            wire.buf.clear();
            return Some(Arrival {
                head,
                body: Bytes::new(),
                malformed: Some(malformed),
            });
        }
    };
    let policy = handler.body_policy(&head);
    let (body, malformed) = match Framing::of(&head, policy) {
        Ok(Framing::Empty) => (Bytes::new(), None),
        Ok(framing) => {
            if policy.expect_continue && framing.fits(policy.max_body) && awaits_go(&head, wire) {
                // A peer that cannot be written to shows as one that sends no body.
                let _ = wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            }
            let timeout = Duration::from_millis(limits.body_timeout_ms);
            body::read(wire, framing, policy.max_body, timeout).await
        }
        Err(malformed) => (Bytes::new(), Some(malformed)),
    };
    Some(Arrival {
        head,
        body,
        malformed,
    })
}

/// Reads the next head. What is left of a broken one stays in the buffer.
async fn receive_head<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    limits: &Limits,
) -> Option<Result<Head, Malformed>> {
    let mut scan = Scan::default();
    let mut begun = None;
    loop {
        if scan.is_fresh() {
            begun = begun.or_else(|| (!wire.buf.is_empty()).then(Instant::now));
            head::skip_blank_lines(&mut wire.buf);
        }
        match scan.advance(&wire.buf, limits) {
            Progress::Complete(end) => {
                let bytes = Bytes::copy_from_slice(&wire.buf[..end]);
                let parsed = head::parse(&bytes, limits);
                if parsed.is_ok() {
                    wire.buf.advance(end);
                }
                return Some(parsed);
            }
            Progress::Broken(malformed) => return Some(Err(malformed)),
            Progress::Partial => {}
        }
        let deadline = match begun {
            Some(begun) => begun + Duration::from_millis(limits.head_timeout_ms),
            None => Instant::now() + Duration::from_millis(limits.idle_timeout_ms),
        };
        let idle = wire.buf.is_empty();
        match wire.fill(deadline, idle).await {
            Ok(()) => {}
            Err(_) if idle => return None,
            Err(Gap::Elapsed) => return Some(Err(Malformed::HeadTimeout)),
            Err(Gap::Closed | Gap::Stopped) => return Some(Err(Malformed::Truncated)),
        }
    }
}

/// Whether the client waits for leave to send its body.
fn awaits_go<S>(head: &Head, wire: &Wire<S>) -> bool {
    head.version == Version::Http11
        && wire.buf.is_empty()
        && head
            .headers
            .all("expect")
            .any(|value| has_token(value, "100-continue"))
}

/// Whether the request lets the connection stay open.
fn stays(head: &Head) -> bool {
    let says = |token| {
        head.headers
            .all("connection")
            .any(|value| has_token(value, token))
    };
    match head.version {
        Version::Http11 => !says("close"),
        Version::Http10 => says("keep-alive") && !says("close"),
    }
}

/// A handler that panics costs its client an answer, not this loop.
async fn call<H: Handler>(handler: &H, request: Request) -> Answer {
    AssertUnwindSafe(handler.handle(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!("a handler panicked; its request is answered with 500");
            Answer::new(500).connection(Connection::Close)
        })
}
