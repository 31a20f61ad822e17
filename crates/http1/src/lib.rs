//! The HTTP/1 connection loop, ours because vendors differ in what the usual stacks decide for
//! everybody: header order, missing Host, request lines of 200 KB, broken answers on purpose.
//! `head.rs` reads a head (`loose.rs` as one vendor's server reads it), `body.rs` a body, `write.rs`
//! writes an answer, `presence.rs` looks after the client meanwhile, `wire.rs` moves the bytes under
//! time limits; [`serve`] ties them.

mod body;
mod head;
mod loose;
mod presence;
mod wire;
mod write;

use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use mqttstack_base::exchange::{
    Answer, BodyPolicy, Connection, HandshakeFailure, Head, Malformed, Request, Scheme, Version,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use body::{Framing, Room};
use head::{Progress, Scan};
pub use presence::{Presence, Unseen};
use presence::{attend, has_left};
use wire::{Gap, Wait, Wire};
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
    /// Whose a request is: decided once, from its head, and carried along.
    type Destination: Clone + Send + Sync;

    /// Whose requests on a connection are, where that is known before any has come.
    fn sole(&self) -> Option<Self::Destination> {
        None
    }

    /// Whose a request with this head is. A broken head holds what of it could be read. `before`
    /// is whose the last request on the same connection was.
    fn destination(&self, head: &Head, before: Option<&Self::Destination>) -> Self::Destination;

    /// Whether requests are read as NanoMQ's server reads them (`loose.rs`).
    fn reads_loosely(&self, _to: &Self::Destination) -> bool {
        false
    }

    /// How to read the body that belongs to this head.
    fn body_policy(&self, to: &Self::Destination, head: &Head) -> BodyPolicy;

    /// Answers one request, a malformed one too (`request.malformed`). Dropped before it has an
    /// answer if the client leaves.
    fn handle(
        &self,
        to: Self::Destination,
        request: Request,
    ) -> impl Future<Output = Answer> + Send;

    /// Is told of a TLS handshake that failed, before any request.
    fn handshake_failed(&self, _failure: &HandshakeFailure) {}
}

/// What all connections of a server share.
#[derive(Debug)]
pub struct House {
    /// The bounds of each.
    pub limits: Limits,
    /// Room for long bodies: one that finds none waits, as long as it may take to arrive.
    bodies: body::Store,
    /// Cancelled when the program stops: ends an idle connection at once, a busy one after its
    /// answer.
    pub stop: CancellationToken,
    /// Tells that a new connection wants a place: the one that has been idle longest ends.
    pub wanted: Notify,
}

impl House {
    /// With room for so many bytes of long bodies at a time, all connections together.
    pub fn new(limits: Limits, body_bytes: usize) -> Self {
        Self {
            limits,
            bodies: body::Store::new(body_bytes),
            stop: CancellationToken::new(),
            wanted: Notify::new(),
        }
    }
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
pub async fn serve<S, P, H>(
    stream: S,
    origin: Origin,
    presence: &P,
    handler: &H,
    house: &House,
) -> End<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    P: Presence<S>,
    H: Handler,
{
    let write_timeout = Duration::from_millis(house.limits.write_timeout_ms);
    let mut wire = Wire::new(stream, write_timeout, house.stop.clone());
    let mut before = handler.sole();
    while let Some(arrival) = receive(&mut wire, handler, house, before.as_ref()).await {
        let broken = arrival.malformed.is_some() && !arrival.goes_on;
        let asked = Asked {
            version: arrival.head.version,
            head: arrival.head.method == "HEAD",
            persistent: !broken && stays(&arrival.head),
        };
        let to = arrival.to.clone();
        before = Some(to.clone());
        let (request, _room) = arrival.into_request(&origin);
        let handling = call(handler, to, request);
        let Some(answer) = attend(&mut wire, presence, handling).await else {
            return End::Closed;
        };
        let keep = match answer.connection {
            Connection::Reset => return End::Reset(wire.into_stream()),
            Connection::Stall => {
                wire.stall().await;
                return End::Closed;
            }
            Connection::Drop => false,
            Connection::Keep | Connection::Close | Connection::Hangup | Connection::Truncate(_) => {
                match deliver(&mut wire, presence, answer, asked).await {
                    Some(keep) => keep,
                    None => return End::Closed,
                }
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

/// Writes an answer; whether the connection may carry another request, `None` where it is broken.
/// What the answer hands over is given back if the client is seen not to get it.
async fn deliver<S, P>(
    wire: &mut Wire<S>,
    presence: &P,
    mut answer: Answer,
    asked: Asked,
) -> Option<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Presence<S>,
{
    let undelivered = answer.undelivered.take();
    let asked = Asked {
        persistent: asked.persistent && !wire.stopping(),
        ..asked
    };
    let written = write::answer(wire, presence, answer, asked).await;
    if let Some(undelivered) = undelivered
        && (written.is_err() || has_left(wire, presence).await)
    {
        undelivered.give_back();
        return None;
    }
    written.ok()
}

/// A request as it came, good or not.
struct Arrival<D> {
    head: Head,
    body: Bytes,
    malformed: Option<Malformed>,
    to: D,
    /// The connection can carry another request although this one is malformed.
    goes_on: bool,
    /// The room that a long body takes.
    room: Option<OwnedSemaphorePermit>,
}

impl<D> Arrival<D> {
    fn into_request(self, origin: &Origin) -> (Request, Option<OwnedSemaphorePermit>) {
        let request = Request {
            head: self.head,
            body: self.body,
            malformed: self.malformed,
            peer: origin.peer,
            local: origin.local,
            scheme: origin.scheme,
            certificates: Arc::clone(&origin.certificates),
        };
        (request, self.room)
    }
}

/// A head as it came, good or not.
struct Heading<D> {
    head: Head,
    malformed: Option<Malformed>,
    to: D,
    /// Whether it was read as `loose.rs` reads.
    loose: bool,
    /// What is behind it in the buffer is still of use.
    goes_on: bool,
}

/// Reads the next request; `None` when the connection ends before one has begun.
async fn receive<S, H>(
    wire: &mut Wire<S>,
    handler: &H,
    house: &House,
    before: Option<&H::Destination>,
) -> Option<Arrival<H::Destination>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let heading = match before {
        Some(to) if handler.reads_loosely(to) => {
            receive_loose(wire, handler, house, before, None).await?
        }
        _ => receive_head(wire, handler, house, before).await?,
    };
    let Heading {
        head,
        malformed,
        to,
        loose,
        goes_on,
    } = heading;
    if malformed.is_some() {
        if !goes_on {
            wire.buf.clear();
        }
        return Some(Arrival {
            head,
            body: Bytes::new(),
            malformed,
            to,
            goes_on,
            room: None,
        });
    }
    let policy = handler.body_policy(&to, &head);
    let framing = if loose {
        Framing::of_loose(&head)
    } else {
        Framing::of(&head, policy)
    };
    let mut room = Room::new(&house.bodies);
    let (body, malformed) = match framing {
        Ok(framing) => receive_body(wire, &head, framing, policy, house, &mut room).await,
        Err(malformed) => (Bytes::new(), Some(malformed)),
    };
    let unread = matches!(
        malformed,
        Some(Malformed::ContentLength | Malformed::BodyTooLarge { .. })
    );
    Some(Arrival {
        goes_on: loose && unread,
        head,
        body,
        malformed,
        to,
        room: room.taken(),
    })
}

async fn receive_body<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    head: &Head,
    framing: Framing,
    policy: BodyPolicy,
    house: &House,
    room: &mut Room<'_>,
) -> (Bytes, Option<Malformed>) {
    if framing == Framing::Empty {
        return (Bytes::new(), None);
    }
    let read = framing.fits(policy.max_body) || policy.ends;
    if policy.expect_continue && read && awaits_go(head, wire) {
        // A peer that cannot be written to shows as one that sends no body.
        let _ = wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    let timeout = Duration::from_millis(house.limits.body_timeout_ms);
    body::read(wire, framing, policy, timeout, room).await
}

/// Reads the next head. Once it is known whose it is, it may have to be read once more, loosely.
async fn receive_head<S, H>(
    wire: &mut Wire<S>,
    handler: &H,
    house: &House,
    before: Option<&H::Destination>,
) -> Option<Heading<H::Destination>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let strict = receive_strict(wire, house).await?;
    let to = handler.destination(&strict.head, before);
    if handler.reads_loosely(&to) {
        if strict.blank {
            return Some(Heading {
                malformed: Some(Malformed::BlankLine),
                head: head::salvage(&[]),
                to,
                loose: true,
                goes_on: true,
            });
        }
        return receive_loose(wire, handler, house, before, Some(to)).await;
    }
    wire.buf.advance(strict.size);
    Some(Heading {
        head: strict.head,
        malformed: strict.malformed,
        to,
        loose: false,
        goes_on: false,
    })
}

/// A head that is still in the buffer.
struct Strict {
    head: Head,
    malformed: Option<Malformed>,
    /// How much of the buffer is this head.
    size: usize,
    /// There was an empty line in front of it.
    blank: bool,
}

/// Reads the next head by the standard. It stays in the buffer.
async fn receive_strict<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    house: &House,
) -> Option<Strict> {
    let limits = &house.limits;
    let mut scan = Scan::default();
    let (mut begun, mut blank, mut too_long) = (None, false, None);
    let malformed = loop {
        if scan.is_fresh() {
            begun = begun.or_else(|| (!wire.buf.is_empty()).then(Instant::now));
            blank |= head::skip_blank_lines(&mut wire.buf);
        }
        if too_long.is_none() {
            match scan.advance(&wire.buf, limits) {
                Progress::Complete(end) => {
                    let bytes = Bytes::copy_from_slice(&wire.buf[..end]);
                    match head::parse(&bytes, limits) {
                        Ok(head) => {
                            return Some(Strict {
                                head,
                                malformed: None,
                                size: end,
                                blank,
                            });
                        }
                        Err(malformed) => break malformed,
                    }
                }
                Progress::Broken(malformed @ Malformed::TargetTooLong { .. }) => {
                    too_long = Some(malformed);
                }
                Progress::Broken(malformed) => break malformed,
                Progress::Partial => {}
            }
        }
        // The fields behind the line may say whose it is.
        if let Some(malformed) = &too_long
            && scan.overrun(&mut wire.buf, limits)
        {
            break malformed.clone();
        }
        match more(wire, house, begun).await {
            Ok(()) => {}
            Err(None) => return None,
            Err(Some(gap)) => break too_long.unwrap_or(gap),
        }
    };
    Some(Strict {
        head: head::salvage(&wire.buf),
        malformed: Some(malformed),
        size: 0,
        blank,
    })
}

/// Reads the next head as `loose.rs` does.
async fn receive_loose<S, H>(
    wire: &mut Wire<S>,
    handler: &H,
    house: &House,
    before: Option<&H::Destination>,
    to: Option<H::Destination>,
) -> Option<Heading<H::Destination>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Handler,
{
    let (mut searched, mut begun) = (0, None);
    let (head, malformed, goes_on) = loop {
        begun = begun.or_else(|| (!wire.buf.is_empty()).then(Instant::now));
        match loose::read(&wire.buf, &mut searched) {
            loose::Progress::Complete(head, end) => {
                wire.buf.advance(end);
                break (head, None, true);
            }
            loose::Progress::Refused(head, malformed, end) => {
                wire.buf.advance(end);
                break (head, Some(malformed), true);
            }
            loose::Progress::Broken(malformed) => {
                break (head::salvage(&wire.buf), Some(malformed), false);
            }
            loose::Progress::Partial => {}
        }
        match more(wire, house, begun).await {
            Ok(()) => {}
            Err(None) => return None,
            Err(Some(gap)) => break (head::salvage(&wire.buf), Some(gap), false),
        }
    };
    Some(Heading {
        to: to.unwrap_or_else(|| handler.destination(&head, before)),
        head,
        malformed,
        loose: true,
        goes_on,
    })
}

/// Reads more of a head; if nothing comes, what is wrong with it, or nothing where it has not
/// begun.
async fn more<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    house: &House,
    begun: Option<Instant>,
) -> Result<(), Option<Malformed>> {
    let deadline = match begun {
        Some(begun) => begun + Duration::from_millis(house.limits.head_timeout_ms),
        None => Instant::now() + Duration::from_millis(house.limits.idle_timeout_ms),
    };
    let idle = wire.buf.is_empty();
    let until = if idle {
        Wait::Idle(&house.wanted)
    } else {
        Wait::Busy
    };
    wire.fill(deadline, until).await.map_err(|gap| match gap {
        _ if idle => None,
        Gap::Elapsed => Some(Malformed::HeadTimeout),
        Gap::Closed | Gap::Stopped => Some(Malformed::Truncated),
    })
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
async fn call<H: Handler>(handler: &H, to: H::Destination, request: Request) -> Answer {
    AssertUnwindSafe(handler.handle(to, request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            tracing::error!("a handler panicked; its request is answered with 500");
            Answer::new(500).connection(Connection::Close)
        })
}
