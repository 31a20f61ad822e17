//! The ports: accept connections, end TLS and WebSocket, and start the task of each.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use mqttstack_base::message::Transport;
use mqttstack_tls::handshake::{self, Outcome, Terms};
use rustix::net::sockopt::set_tcp_nodelay;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Arrival};
use super::core::Core;
use super::dialect::Visitor;
use super::websocket;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What is said of a client that does not begin a handshake.
const NOT_TLS: &str = "what the client sent is not TLS: this port speaks nothing else";
/// How long accepting pauses after an error such as "too many open files".
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long connections may take to end when the broker closes.
const CLOSING: Duration = Duration::from_secs(1);

/// What every connection through one port needs.
struct Port {
    /// Not held: a stopped broker must not be kept in memory by a port.
    core: Weak<Core>,
    transport: Transport,
    /// `None` for a plain port.
    tls: Option<Terms>,
}

/// Opens a port. Returns its address and the task that accepts its connections and ends with the
/// last of them, once the broker closes.
pub(crate) fn open(
    core: &Arc<Core>,
    transport: Transport,
    address: SocketAddr,
    tls: Option<Terms>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // What is accepted from it has it too.
    set_tcp_nodelay(&listener, true)?;
    let listener = TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let port = Port {
        core: Arc::downgrade(core),
        transport,
        tls,
    };
    let task = tokio::spawn(accept(listener, Arc::new(port), core.closing.clone()));
    Ok((bound, task))
}

async fn accept(listener: TcpListener, port: Arc<Port>, closing: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                let Some(core) = port.core.upgrade() else {
                    return;
                };
                if port.tls.is_none() && port.transport == Transport::Tcp {
                    // The usual way is the shortest: its task is the connection's own future.
                    let arrival = port.arrival(remote, Visitor::default());
                    connections.spawn(connection::serve(core, stream, arrival));
                    continue;
                }
                let own = port.clone();
                connections.spawn(async move {
                    if let Err(error) = own.carry(core, stream, remote).await {
                        tracing::debug!(%remote, %error, "an MQTT connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an MQTT connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING, all).await.is_err() {
        let left = connections.len();
        tracing::debug!(left, "MQTT connections were cut off at the stop");
        connections.shutdown().await;
    }
}

impl Port {
    fn arrival(&self, remote: SocketAddr, tls: Visitor) -> Arrival {
        Arrival {
            transport: self.transport,
            remote,
            tls,
        }
    }

    async fn carry(
        &self,
        core: Arc<Core>,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> io::Result<()> {
        let Some(terms) = &self.tls else {
            return self.enter(core, stream, remote, Visitor::default()).await;
        };
        let (alert, reason) = match handshake::accept(stream, remote, terms, HANDSHAKE).await {
            Outcome::Done(stream) => {
                let tls = visitor(&stream);
                return self.enter(core, *stream, remote, tls).await;
            }
            Outcome::Left => return Ok(()),
            Outcome::Failed(failure) => (failure.alert, failure.reason),
            Outcome::Plain(_) => (0, NOT_TLS.to_owned()),
        };
        core.turned_away("TLS", alert, reason);
        Ok(())
    }

    async fn enter<S>(
        &self,
        core: Arc<Core>,
        stream: S,
        remote: SocketAddr,
        tls: Visitor,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let arrival = self.arrival(remote, tls);
        if matches!(self.transport, Transport::Ws | Transport::Wss) {
            let longest = core.settings.max_packet_size as usize;
            let tell = |reason| core.turned_away("WEBSOCKET", 0, reason);
            let home = &core.settings.home;
            let accepted = Box::pin(websocket::accept(stream, longest, home, tell)).await;
            let frames = accepted?;
            connection::serve(core, frames, arrival).await;
        } else {
            connection::serve(core, stream, arrival).await;
        }
        Ok(())
    }
}

fn visitor(stream: &TlsStream<TcpStream>) -> Visitor {
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    Visitor {
        certificates: certificates
            .iter()
            .map(|certificate| Bytes::copy_from_slice(certificate))
            .collect(),
        server_name: session.server_name().map(ToOwned::to_owned),
    }
}
