//! The front door of the broker, and its only one: it accepts connections, ends TLS (with an
//! optional client certificate) and WebSocket (`websocket.rs`), and passes the plain bytes on to a
//! listener of the engine on loopback, behind a PROXY line that names the real peer.
//! `engine/door.rs` is the way there, and does what the engine cannot.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::server::TlsStream;

use super::dialect::Visitor;
use super::engine::Door;
use super::websocket;
use crate::handshake::{self, Outcome, Terms};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error such as "too many open files".
const BACK_OFF: Duration = Duration::from_millis(100);

/// What every connection through one port needs.
struct Gate {
    door: Door,
    /// `None` for a plain port.
    tls: Option<Terms>,
}

/// Opens a port in front of one of the engine's listeners, a secure one with a `config`; whether
/// WebSocket is spoken there is the listener's affair.
/// Returns its address and what closes it, with all its connections.
pub(super) fn open(
    address: SocketAddr,
    door: Door,
    config: Option<Arc<ServerConfig>>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let gate = Gate {
        door,
        tls: config.map(Terms::from),
    };
    let task = tokio::spawn(accept(listener, Arc::new(gate)));
    Ok((bound, task))
}

async fn accept(listener: TcpListener, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let gate = gate.clone();
                    connections.spawn(async move {
                        if let Err(error) = gate.carry(stream, peer).await {
                            tracing::debug!(%peer, %error, "an MQTT connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept an MQTT connection");
                    tokio::time::sleep(BACK_OFF).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Gate {
    async fn carry(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let line = proxy_line(peer, local);
        let Some(terms) = &self.tls else {
            return self.enter(stream, Visitor::default(), peer, &line).await;
        };
        let reason = match handshake::accept(stream, peer, terms, HANDSHAKE).await {
            Outcome::Done(outside) => {
                let visitor = visitor(&outside);
                return self.enter(*outside, visitor, peer, &line).await;
            }
            Outcome::Left => return Ok(()),
            Outcome::Failed(failure) => {
                self.door.turned_away("TLS", failure.alert, failure.reason);
                return Ok(());
            }
            Outcome::Plain(_) => "what the client sent is not TLS: this port speaks nothing else",
        };
        self.door.turned_away("TLS", 0, reason.to_owned());
        Ok(())
    }

    async fn enter<S>(
        &self,
        outside: S,
        visitor: Visitor,
        peer: SocketAddr,
        line: &str,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.door.frames() {
            return self.door.carry(outside, visitor, peer, line).await;
        }
        let (longest, home) = (self.door.longest_packet(), self.door.home());
        let tell = |foreign| self.door.turned_away("WEBSOCKET", 0, foreign);
        let frames = websocket::accept(outside, longest, home, tell).await?;
        self.door.carry(frames, visitor, peer, line).await
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

/// The PROXY protocol's version 1 header.
fn proxy_line(peer: SocketAddr, local: SocketAddr) -> String {
    let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (peer.ip(), local.ip());
    format!(
        "PROXY {family} {from} {to} {} {}\r\n",
        peer.port(),
        local.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_line_names_peer_and_port_in_their_family() {
        let line = proxy_line(
            "127.0.0.1:5".parse().unwrap(),
            "127.0.0.2:6".parse().unwrap(),
        );
        assert_eq!(line, "PROXY TCP4 127.0.0.1 127.0.0.2 5 6\r\n");
        let line = proxy_line("[::1]:5".parse().unwrap(), "[::1]:6".parse().unwrap());
        assert_eq!(line, "PROXY TCP6 ::1 ::1 5 6\r\n");
    }
}
