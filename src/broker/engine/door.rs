//! One connection between a client outside and the engine's own listener on loopback: reads its
//! CONNECT (`opening.rs`), then passes the packets on, each through `exchange.rs`, which does what
//! the engine leaves out. `broker/gate.rs` accepts the connections; what the engine knows of why
//! one ends comes from `session.rs`.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rmqtt::codec::v5::DisconnectReasonCode;
use rmqtt::types::ListenerId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::dialect::{Refused, Visitor};
use super::super::message::Transport;
use super::super::visitors::Ending;
use super::Core;
use super::exchange::{Exchange, Passage};
use super::frame::{self, CONNECT_TYPE, Next};
use super::listeners::{HANDSHAKE, WRITE};
use super::opening::{Opening, Unreadable};
use crate::exchange::page::Home;

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
    /// What its connections come through.
    pub(super) transport: Transport,
}

impl Door {
    /// Whether MQTT comes in WebSocket frames here.
    pub(in crate::broker) fn frames(&self) -> bool {
        matches!(self.transport, Transport::Ws | Transport::Wss)
    }

    /// The longest packet in bytes that any client may send.
    pub(in crate::broker) fn longest_packet(&self) -> usize {
        self.core.settings.max_packet_size as usize
    }

    /// Whose web pages may open a WebSocket.
    pub(in crate::broker) fn home(&self) -> &Home {
        &self.core.settings.home
    }

    /// Tells the journal of a connection that was refused before its CONNECT.
    pub(in crate::broker) fn turned_away(&self, packet: &'static str, code: u8, reason: String) {
        self.core.refused(Refused {
            surface: None,
            packet,
            client_id: String::new(),
            identity: None,
            topic: None,
            code,
            reason,
        });
    }

    /// Carries one connection until either side ends it.
    pub(in crate::broker) async fn carry<S>(
        &self,
        outside: S,
        visitor: Visitor,
        peer: SocketAddr,
        proxy_line: &str,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let core = &self.core;
        let reception = core.visitors.receive((self.listener, peer), visitor);
        let visit = reception.visit.clone();
        let (mut reader, mut writer) = tokio::io::split(outside);
        let mut unread = BytesMut::new();
        let connect = connect(&mut reader, &mut unread, self.longest_packet());
        let opening = match timeout(HANDSHAKE, connect).await? {
            Ok(connect) => Opening::read(connect),
            Err(error) => Err(Unreadable::from(error.downcast::<Ending>()?)),
        };
        let opening = match opening {
            Ok(opening) => opening,
            Err(unreadable) => {
                self.unreadable(&unreadable);
                return leave(&mut reader, &mut writer, &unreadable.answer).await;
            }
        };
        let (opening, mut exchange) = Exchange::begin(core.clone(), visit, opening);
        let mut inside = TcpStream::connect(self.inner).await?;
        inside.set_nodelay(true)?;
        let opening = [proxy_line.as_bytes(), &opening].concat();
        inside.write_all(&opening).await?;
        // What the client sends meanwhile waits: only the answer says what it may send.
        let mut unsent = BytesMut::new();
        let Some(connack) = first(&mut inside, &mut unsent).await else {
            return leave(&mut reader, &mut writer, &[]).await;
        };
        let (connack, accepted) = exchange.connack(connack.freeze());
        if !accepted {
            return leave(&mut reader, &mut writer, &connack).await;
        }
        write(&mut writer, &connack).await?;
        let (mut from_engine, mut to_engine) = inside.into_split();
        let (notices, mut noticed) = mpsc::channel(4);
        let mut gone = false;
        let upstream = async {
            let passed = up(&mut reader, &mut to_engine, unread, &exchange, &notices);
            gone = passed.await.is_err();
            // The engine closes its side now, which is what ends the connection.
            let _ = to_engine.shutdown().await;
            pending::<()>().await;
        };
        let downstream = down(
            &mut from_engine,
            &mut writer,
            unsent,
            &exchange,
            &mut noticed,
        );
        tokio::select! {
            written = downstream => written?,
            () = upstream => {}
        }
        if gone {
            return Ok(());
        }
        let last = exchange.disconnect().unwrap_or_default();
        leave(&mut reader, &mut writer, &last).await
    }

    /// Tells the journal of a CONNECT that no dialect sees.
    fn unreadable(&self, unreadable: &Unreadable) {
        self.turned_away("CONNECT", unreadable.code, unreadable.reason.clone());
    }
}

/// Says the last words and closes.
async fn leave<R, W>(reader: &mut R, writer: &mut W, words: &[u8]) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if !words.is_empty() {
        write(writer, words).await?;
    }
    writer.shutdown().await?;
    let _ = timeout(LINGER, tokio::io::copy(reader, &mut tokio::io::sink())).await;
    Ok(())
}

/// The engine's first packet; what came behind it stays in `unread`. `None` if it closes instead.
async fn first<R>(reader: &mut R, unread: &mut BytesMut) -> Option<BytesMut>
where
    R: AsyncRead + Unpin,
{
    loop {
        if let Next::Packet(length) = frame::next(unread)
            && length <= unread.len()
        {
            return Some(unread.split_to(length));
        }
        unread.reserve(CHUNK);
        if reader.read_buf(unread).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// Reads the first packet, which must be a CONNECT; what came behind it stays in `unread`. The
/// error of a client that sends something else is an [`Ending`].
async fn connect<R>(reader: &mut R, unread: &mut BytesMut, limit: usize) -> io::Result<BytesMut>
where
    R: AsyncRead + Unpin,
{
    let refuse = |code: DisconnectReasonCode, reason| {
        Err(io::Error::other(Ending::new(code.into(), reason)))
    };
    loop {
        if unread.first().is_some_and(|&first| first != CONNECT_TYPE) {
            let code = DisconnectReasonCode::ProtocolError;
            return refuse(code, "the first packet is not a CONNECT");
        }
        match frame::next(unread) {
            Next::Packet(length) if length <= unread.len() => return Ok(unread.split_to(length)),
            Next::Packet(length) if length > limit + frame::MAX_HEADER => {
                let code = DisconnectReasonCode::PacketTooLarge;
                return refuse(code, "the CONNECT is longer than any packet may be");
            }
            Next::Malformed => {
                let code = DisconnectReasonCode::MalformedPacket;
                return refuse(code, "the CONNECT's length is malformed");
            }
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
    exchange: &Exchange,
    notices: &mpsc::Sender<Bytes>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        // How many bytes at the head of `unread` the engine gets as they are.
        let mut passed = 0;
        let over = loop {
            let rest = &unread[passed..];
            let length = match frame::next(rest) {
                Next::Packet(length) if !exchange.takes(rest[0], length) => break true,
                Next::Packet(length) if length <= rest.len() => length,
                Next::Packet(_) | Next::Unknown => break false,
                // The engine finds the same, and ends the connection.
                Next::Malformed => {
                    passed = unread.len();
                    break false;
                }
            };
            match exchange.packet(&rest[..length]).await {
                Passage::On => passed += length,
                Passage::Changed(changed) => {
                    writer.write_all(&unread.split_to(passed)).await?;
                    passed = 0;
                    unread.advance(length);
                    writer.write_all(&changed).await?;
                }
                Passage::Answered(answer) => {
                    writer.write_all(&unread.split_to(passed)).await?;
                    passed = 0;
                    unread.advance(length);
                    writer.write_all(exchange.sign_of_life()).await?;
                    // A client that is not written to any more is about to end.
                    let _ = notices.send(answer).await;
                }
                Passage::Ended => break true,
            }
        };
        writer.write_all(&unread.split_to(passed)).await?;
        if over {
            return Ok(());
        }
        unread.reserve(CHUNK);
        match reader.read_buf(&mut unread).await {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) => {
                exchange.broken(error.downcast::<Ending>()?);
                return Ok(());
            }
        }
    }
}

/// Passes on what the engine sends, and the notices between its packets.
async fn down<R, W>(
    reader: &mut R,
    writer: &mut W,
    mut unread: BytesMut,
    exchange: &Exchange,
    notices: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let whole = frame::whole(&unread);
        if whole > 0 {
            write(writer, &exchange.outward(unread.split_to(whole))).await?;
        }
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
