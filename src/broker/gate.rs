//! The front door for what the engine cannot serve itself: TLS with an optional client
//! certificate. It ends TLS here and passes the plain bytes on to a listener of the engine on
//! loopback, behind a PROXY line that names the real peer.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::dialect::Visitor;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error such as "too many open files".
const BACK_OFF: Duration = Duration::from_millis(100);

/// What the TLS handshakes of the connections that are open told, by the client's address.
#[derive(Default)]
pub(super) struct Visitors(Mutex<HashMap<SocketAddr, Visitor>>);

impl Visitors {
    pub(super) fn find(&self, peer: SocketAddr) -> Option<Visitor> {
        self.0.lock().get(&peer).cloned()
    }
}

/// Keeps a visitor known for as long as its connection lives.
struct Visit<'a> {
    visitors: &'a Visitors,
    peer: SocketAddr,
}

impl<'a> Visit<'a> {
    fn begin(visitors: &'a Visitors, peer: SocketAddr, visitor: Visitor) -> Self {
        visitors.0.lock().insert(peer, visitor);
        Self { visitors, peer }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.visitors.0.lock().remove(&self.peer);
    }
}

/// What every connection through one port needs.
struct Gate {
    inner: SocketAddr,
    acceptor: TlsAcceptor,
    visitors: Arc<Visitors>,
}

/// Opens a TLS port in front of the engine's listener `inner`. Returns its address and what
/// closes it, with all its connections.
pub(super) fn open(
    address: SocketAddr,
    inner: SocketAddr,
    config: Arc<ServerConfig>,
    visitors: Arc<Visitors>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let gate = Gate {
        inner,
        acceptor: TlsAcceptor::from(config),
        visitors,
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
                            tracing::debug!(%peer, %error, "an MQTT connection over TLS ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept an MQTT connection over TLS");
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
        let mut outside = tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await??;
        let _visit = Visit::begin(&self.visitors, peer, visitor(&outside));
        let mut inside = TcpStream::connect(self.inner).await?;
        inside.set_nodelay(true)?;
        inside.write_all(proxy_line(peer, local).as_bytes()).await?;
        copy_bidirectional(&mut outside, &mut inside).await?;
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
