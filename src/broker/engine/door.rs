//! One connection between a client outside and the engine's own listener on loopback: passes the
//! packets on and does what the engine leaves out, the MQTT 5 DISCONNECT that tells why a
//! connection ends, the check of topic aliases, and enhanced authentication (`exchange.rs`).
//! `broker/gate.rs` accepts the connections; what the engine knows of why one ends comes from
//! `session.rs`.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmqtt::types::ListenerId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::gate::{Ending, Key};
use super::Core;
use super::exchange::Exchange;
use super::frame::{self, CONNECT_TYPE, Next};
use super::listeners::{HANDSHAKE, WRITE};

/// How much is read at once.
const CHUNK: usize = 4096;
/// How long what a client still sends is read after its connection has ended. Closing a socket
/// that holds unread bytes resets it, and the DISCONNECT that it carries is lost.
const LINGER: Duration = Duration::from_secs(1);

/// The way to one of the engine's listeners.
pub(in crate::broker) struct Door {
    pub(super) core: Arc<Core>,
    pub(super) listener: ListenerId,
    pub(super) inner: SocketAddr,
    /// Whether the bytes are MQTT packets; WebSocket frames otherwise, which pass as they are.
    pub(super) packets: bool,
}

impl Door {
    /// What `peer` is called in `Visitors`.
    pub(in crate::broker) fn key(&self, peer: SocketAddr) -> Key {
        (self.listener, peer)
    }

    /// Carries one connection until either side ends it.
    pub(in crate::broker) async fn carry<S>(
        &self,
        outside: S,
        proxy_line: &str,
        key: Key,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(outside);
        let mut unread = BytesMut::new();
        let mut exchange = None;
        let mut opening = BytesMut::from(proxy_line.as_bytes());
        if self.packets {
            let limit = self.core.settings.max_packet_size as usize;
            let connect = timeout(HANDSHAKE, connect(&mut reader, &mut unread, limit)).await??;
            let (connect, begun) = Exchange::begin(self.core.clone(), key, connect);
            opening.extend_from_slice(&connect);
            exchange = begun;
        }
        let inside = TcpStream::connect(self.inner).await?;
        inside.set_nodelay(true)?;
        let (mut from_engine, mut to_engine) = inside.into_split();
        to_engine.write_all(&opening).await?;
        let (notices, mut noticed) = mpsc::channel(4);
        let mut gone = false;
        let upstream = async {
            let passed = up(
                &mut reader,
                &mut to_engine,
                unread,
                exchange.as_ref(),
                &notices,
            );
            gone = passed.await.is_err();
            // The engine closes its side now, which is what ends the connection.
            let _ = to_engine.shutdown().await;
            pending::<()>().await;
        };
        let downstream = down(
            &mut from_engine,
            &mut writer,
            exchange.as_ref(),
            &mut noticed,
        );
        tokio::select! {
            written = downstream => written?,
            () = upstream => {}
        }
        if gone {
            return Ok(());
        }
        if let (Some(exchange), Some(ending)) = (&exchange, self.core.visitors.ending(key)) {
            write(&mut writer, &exchange.disconnect(&ending)).await?;
        }
        writer.shutdown().await?;
        let _ = timeout(LINGER, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
        Ok(())
    }
}

/// Reads the first packet, which must be a CONNECT; what came behind it stays in `unread`.
async fn connect<R>(reader: &mut R, unread: &mut BytesMut, limit: usize) -> io::Result<BytesMut>
where
    R: AsyncRead + Unpin,
{
    loop {
        if unread.first().is_some_and(|&first| first != CONNECT_TYPE) {
            return Err(io::Error::other("the first packet is not a CONNECT"));
        }
        match frame::next(unread) {
            Next::Packet(length) if length <= unread.len() => return Ok(unread.split_to(length)),
            Next::Packet(length) if length > limit + frame::MAX_HEADER => {
                return Err(io::Error::other(
                    "the CONNECT is longer than any packet may be",
                ));
            }
            Next::Malformed => return Err(io::Error::other("the CONNECT's length is malformed")),
            Next::Packet(_) | Next::Unknown => {}
        }
        unread.reserve(CHUNK);
        if reader.read_buf(unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Passes on what the client sends. Ends with `Ok` when the connection must be ended, with an
/// error when the client is gone.
async fn up<R, W>(
    reader: &mut R,
    writer: &mut W,
    mut unread: BytesMut,
    exchange: Option<&Exchange>,
    notices: &mpsc::Sender<Bytes>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut watched = exchange;
    loop {
        while let Some(exchange) = watched {
            let length = match frame::next(&unread) {
                Next::Packet(length) if !exchange.takes(length) => return Ok(()),
                Next::Packet(length) if length <= unread.len() => length,
                Next::Packet(_) | Next::Unknown => break,
                // The engine finds the same, and ends the connection.
                Next::Malformed => {
                    watched = None;
                    break;
                }
            };
            let packet = unread.split_to(length).freeze();
            let Some(packet) = exchange.packet(packet, notices).await else {
                return Ok(());
            };
            writer.write_all(&packet).await?;
        }
        if watched.is_none() && !unread.is_empty() {
            writer.write_all(&unread).await?;
            unread.clear();
        }
        unread.reserve(CHUNK);
        if reader.read_buf(&mut unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Passes on what the engine sends, and the notices between its packets.
async fn down<R, W>(
    reader: &mut R,
    writer: &mut W,
    exchange: Option<&Exchange>,
    notices: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut unread = BytesMut::new();
    let mut first = true;
    loop {
        unread.reserve(CHUNK);
        tokio::select! {
            read = reader.read_buf(&mut unread) => {
                // The engine resets a connection that it closes while bytes are unread.
                if read.unwrap_or(0) == 0 {
                    return Ok(());
                }
            }
            Some(notice) = notices.recv() => write(writer, &notice).await?,
        }
        let Some(exchange) = exchange else {
            write(writer, &unread).await?;
            unread.clear();
            continue;
        };
        let mut whole = frame::whole(&unread);
        if first && whole > 0 {
            first = false;
            let Next::Packet(length) = frame::next(&unread) else {
                continue;
            };
            let connack = exchange.connack(unread.split_to(length));
            write(writer, &connack).await?;
            whole -= length;
        }
        if whole > 0 {
            write(writer, &unread.split_to(whole)).await?;
        }
    }
}

/// Writes to the client, who may not stand still for ever.
async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> io::Result<()> {
    timeout(WRITE, async {
        writer.write_all(bytes).await?;
        writer.flush().await
    })
    .await?
}

impl Ending {
    pub(super) fn new(code: u8, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}
