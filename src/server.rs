//! The HTTP listeners, plain and TLS, and their clean end. A [`Listener`] is bound first, so that every
//! address is known before anything is served; a [`Server`] then serves any number of them. `http1`
//! serves one connection; `neighbours.rs` finds out which clients are still there.

mod neighbours;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::exchange::{Answer, BodyPolicy, Connection, Head, Request, Scheme};
use mqttstack_http1::{self as http1, End, Handler, House, Limits, Origin, Presence};
use mqttstack_tls::handshake::{self, Asks, Outcome, Terms};
use parking_lot::Mutex;
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How long requests in flight may go on after a stop has begun, before they are refused.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long after a stop has begun their connections are cut.
const GRACE: Duration = Duration::from_secs(1);
/// How long a client may say nothing until it is asked for a sign of life, and how often then.
const SILENCE: Duration = Duration::from_secs(15);
const ASKING: Duration = Duration::from_secs(5);

/// Settings of the HTTP listeners.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The most connections at a time, all HTTP listeners together (default 10,000); further
    /// ones wait until one of them ends.
    pub max_connections: usize,
    /// How many bytes the bodies of requests under way may take together, what of each is up to
    /// 64 KiB aside (default 256 MiB); further ones wait.
    pub body_memory: usize,
    /// How long a TLS handshake may take, in milliseconds (default 10,000).
    pub handshake_timeout_ms: u64,
    /// The bounds of one connection.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            body_memory: 256 << 20,
            handshake_timeout_ms: 10_000,
            limits: Limits::default(),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{name}: cannot listen on {address}: {source}{}", way_out(.source))]
pub struct BindError {
    /// What the listener is called: its flag or its key in the configuration.
    pub name: String,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn way_out(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; give another port, 0 for a free one, or off"
    } else {
        ""
    }
}

/// A bound address. Clients can connect already; they are served once a [`Server`] takes it.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Terms>,
}

impl Listener {
    /// Binds `address` (port 0: a free one) for plain HTTP, or for HTTPS with `tls`. `name` is
    /// what an error calls it.
    pub async fn bind(
        name: &str,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError {
            name: name.to_owned(),
            address,
            source,
        };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            address,
            tls: tls.map(Terms::from),
        })
    }

    /// Clients that `asks` names get this TLS configuration instead, which asks them for a
    /// certificate.
    #[must_use]
    pub fn asking(self, config: Arc<ServerConfig>, asks: Asks) -> Self {
        Self {
            tls: self.tls.map(|terms| terms.asking(config, asks)),
            ..self
        }
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves listeners until it is stopped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    accepting: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    slots: Arc<Semaphore>,
    house: House,
    cut: CancellationToken,
}

impl Server {
    /// A server without listeners.
    pub fn new(settings: Settings) -> Self {
        let most = settings.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            shared: Arc::new(Shared {
                slots: Arc::new(Semaphore::new(most)),
                house: House::new(settings.limits.clone(), settings.body_memory),
                cut: CancellationToken::new(),
                settings,
            }),
            accepting: Mutex::default(),
        }
    }

    /// What is cancelled when a stop has gone on for so long that what is still under way is to
    /// be refused.
    pub fn cut(&self) -> CancellationToken {
        self.shared.cut.clone()
    }

    /// Begins to serve a listener.
    pub fn serve<H: Handler>(&self, listener: Listener, handler: Arc<H>) {
        let accepting = tokio::spawn(accept(listener, handler, Arc::clone(&self.shared)));
        self.accepting.lock().push(accepting);
    }

    /// Stops: no new connections, about a second for requests in flight, then the rest is cut.
    pub async fn stop(&self) {
        self.shared.house.stop.cancel();
        let accepting = std::mem::take(&mut *self.accepting.lock());
        let ended = async {
            for accepting in accepting {
                // All of them end at the same time, so waiting one by one takes no longer.
                if let Err(error) = accepting.await {
                    tracing::error!(%error, "an accept loop failed");
                }
            }
        };
        let refuse = async {
            sleep(PATIENCE).await;
            self.shared.cut.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = refuse => {}
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.house.stop.cancel();
        self.shared.cut.cancel();
    }
}

/// Accepts until the stop. Nothing else ends it: what goes wrong with one connection, or with
/// all of them for a while, is no reason never to take another.
async fn accept<H: Handler>(listener: Listener, handler: Arc<H>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut door = Door::default();
    loop {
        tokio::select! {
            () = shared.house.stop.cancelled() => break,
            (stream, peer, slot) = door.next(&listener, &shared) => {
                let tls = listener.tls.clone();
                let (handler, shared) = (Arc::clone(&handler), Arc::clone(&shared));
                connections.spawn(async move {
                    connect(stream, peer, tls, &*handler, &shared).await;
                    drop::<OwnedSemaphorePermit>(slot);
                });
            }
            Some(ended) = connections.join_next() => report(ended),
        }
    }
    drop(listener);
    let deadline = Instant::now() + GRACE;
    while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
        report(ended);
    }
    // A connection ends at its next await; one that never comes to it is left behind.
    let _ = timeout(GRACE / 4, connections.shutdown()).await;
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection failed");
    }
}

/// What a listener carries from one connection to the next.
#[derive(Debug, Default)]
struct Door {
    /// Accepted, but there are too many connections to serve it yet.
    waiting: Option<(TcpStream, SocketAddr)>,
    /// An idle connection has been asked for its place.
    asked: bool,
    /// How long to leave the listener alone, and until when; grows while accepting keeps failing.
    pause: Duration,
    paused_until: Option<Instant>,
}

impl Door {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    /// The next connection and its place among the bounded number of them. May be dropped and
    /// called again without losing a connection.
    async fn next(
        &mut self,
        listener: &Listener,
        shared: &Shared,
    ) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            if self.waiting.is_some() {
                if shared.slots.available_permits() == 0 && !self.asked {
                    self.asked = true;
                    shared.house.wanted.notify_one();
                }
                // The semaphore is never closed.
                if let Ok(slot) = Arc::clone(&shared.slots).acquire_owned().await
                    && let Some((stream, peer)) = self.waiting.take()
                {
                    self.asked = false;
                    return (stream, peer, slot);
                }
            }
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            match listener.socket.accept().await {
                Ok(accepted) => {
                    self.waiting = Some(accepted);
                    self.pause = Duration::ZERO;
                }
                Err(error) => {
                    self.failed(&error, listener.address);
                    if self.paused_until.is_some() {
                        // Perhaps no file descriptor is left: an idle connection has one.
                        shared.house.wanted.notify_one();
                    }
                }
            }
        }
    }

    /// A connection that broke before it was accepted is nothing; anything else (no file
    /// descriptor left, say) would fail again at once.
    fn failed(&mut self, error: &io::Error, address: SocketAddr) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
        ) {
            return;
        }
        self.pause = (self.pause * 2).clamp(Self::FIRST_PAUSE, Self::LONGEST_PAUSE);
        self.paused_until = Some(Instant::now() + self.pause);
        tracing::warn!(%error, %address, "cannot accept connections, trying again");
    }
}

/// Serves one connection from its first byte to its last.
async fn connect<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Terms>,
    handler: &H,
    shared: &Shared,
) {
    // Neither fails on a connection that is still alive.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else {
        return;
    };
    keep_alive(&stream);
    let mut origin = Origin {
        peer,
        local,
        scheme: Scheme::Http,
        certificates: Arc::default(),
    };
    let client = Client { peer, local };
    let house = &shared.house;
    let Some(terms) = tls else {
        let end = http1::serve(stream, origin, &client, handler, house).await;
        return reset(end, |stream| stream);
    };
    let limit = Duration::from_millis(shared.settings.handshake_timeout_ms);
    // One that has said nothing yet is idle.
    tokio::select! {
        readable = timeout(limit, stream.readable()) => if readable.is_err() {
            return;
        },
        () = house.wanted.notified() => return,
        () = house.stop.cancelled() => return,
    }
    let outcome = tokio::select! {
        outcome = handshake::accept(stream, peer, &terms, limit) => outcome,
        () = house.stop.cancelled() => return,
    };
    match outcome {
        Outcome::Done(stream) => {
            origin.scheme = Scheme::Https;
            origin.certificates = certificates(&stream);
            let end = http1::serve(*stream, origin, &client, handler, house).await;
            reset(end, |stream| stream.get_ref().0);
        }
        Outcome::Plain(stream) => {
            let end = http1::serve(stream, origin, &client, &PlainOnTls, house).await;
            reset(end, |stream| stream);
        }
        Outcome::Failed(failure) => handler.handshake_failed(&failure),
        Outcome::Left => {}
    }
}

/// Has the system look after a client that says nothing: one that was cut off, or has closed its
/// socket while its answer is made, shows as a broken connection then.
#[cfg(unix)]
fn keep_alive(stream: &TcpStream) {
    use rustix::net::sockopt;
    // A connection that cannot be watched so is served all the same.
    let _ = sockopt::set_socket_keepalive(stream, true);
    #[cfg(target_os = "linux")]
    {
        let _ = sockopt::set_tcp_keepidle(stream, SILENCE);
        let _ = sockopt::set_tcp_keepintvl(stream, ASKING);
    }
}

#[cfg(not(unix))]
fn keep_alive(_stream: &TcpStream) {}

/// What is known of a client beside what it sends.
struct Client {
    peer: SocketAddr,
    local: SocketAddr,
}

impl Presence<TcpStream> for Client {
    fn listens(&self) -> bool {
        neighbours::has_socket(self.peer, self.local)
    }

    async fn broken(&self, stream: &TcpStream) {
        loop {
            match stream.ready(Interest::ERROR).await {
                Ok(ready) if !ready.is_error() => {}
                _ => return,
            }
        }
    }
}

impl Presence<TlsStream<TcpStream>> for Client {
    fn listens(&self) -> bool {
        neighbours::has_socket(self.peer, self.local)
    }

    async fn broken(&self, stream: &TlsStream<TcpStream>) {
        self.broken(stream.get_ref().0).await;
    }
}

/// Closes the connection with RST, if that is how it is to end.
fn reset<S>(end: End<S>, socket: impl FnOnce(&S) -> &TcpStream) {
    if let End::Reset(stream) = end {
        // Fails only on a connection that is gone already.
        let _ = socket(&stream).set_zero_linger();
    }
}

fn certificates(stream: &TlsStream<TcpStream>) -> Arc<[Bytes]> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    chain
        .iter()
        .map(|certificate| Bytes::copy_from_slice(certificate))
        .collect()
}

/// Tells a client that speaks plain HTTP to a TLS port what it is doing.
struct PlainOnTls;

impl Handler for PlainOnTls {
    type Destination = ();

    fn destination(&self, _head: &Head, _before: Option<&()>) {}

    fn body_policy(&self, (): &(), _head: &Head) -> BodyPolicy {
        BodyPolicy::default()
    }

    async fn handle(&self, (): (), _request: Request) -> Answer {
        Answer::new(400)
            .header("Content-Type", "text/plain; charset=utf-8")
            .body(
                "This port speaks HTTPS: write https:// in the URL, or use the plain HTTP port.\n",
            )
            .connection(Connection::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accept_loop_without_file_descriptors_pauses_longer_and_longer_up_to_a_second() {
        let mut door = Door::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            door.failed(&io::Error::other("too many open files"), address);
            assert!(door.paused_until.is_some());
            pauses.push(door.pause.as_millis());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn a_connection_that_broke_before_it_was_accepted_costs_no_pause() {
        let mut door = Door::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        door.failed(&io::ErrorKind::ConnectionAborted.into(), address);
        assert!(door.paused_until.is_none());
    }
}
