//! The front door for what the engine cannot serve itself: TLS with an optional client
//! certificate. It ends TLS here and passes the plain bytes on to a listener of the engine on
//! loopback, behind a PROXY line that names the real peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error such as "too many open files".
const BACK_OFF: Duration = Duration::from_millis(100);

/// Opens a TLS port in front of the engine's listener `inner`. Returns its address and what
/// closes it, with all its connections.
pub(super) fn open(
    address: SocketAddr,
    inner: SocketAddr,
    config: Arc<ServerConfig>,
) -> io::Result<(SocketAddr, AbortHandle)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let task = tokio::spawn(accept(listener, inner, TlsAcceptor::from(config)));
    Ok((bound, task.abort_handle()))
}

async fn accept(listener: TcpListener, inner: SocketAddr, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(carry(stream, peer, inner, acceptor.clone()));
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

async fn carry(stream: TcpStream, peer: SocketAddr, inner: SocketAddr, acceptor: TlsAcceptor) {
    if let Err(error) = carry_bytes(stream, peer, inner, acceptor).await {
        tracing::debug!(%peer, %error, "an MQTT connection over TLS ended");
    }
}

async fn carry_bytes(
    stream: TcpStream,
    peer: SocketAddr,
    inner: SocketAddr,
    acceptor: TlsAcceptor,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let mut outside = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let mut inside = TcpStream::connect(inner).await?;
    inside.set_nodelay(true)?;
    inside.write_all(proxy_line(peer, local).as_bytes()).await?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
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
