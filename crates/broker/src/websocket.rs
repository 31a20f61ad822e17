//! MQTT over WebSocket (MQTT 5.0 section 6): the handshake, and the frames of one connection as a
//! stream of bytes, for `gate.rs`. Packets may share frames and span them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use mqttstack_base::exchange::page::Home;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::connection::Broken;
use super::packet::{Frame, Violation, code as reason_code, frame};

/// What MQTT is called among the subprotocols (MQTT 5.0 section 6.0), today and in MQTT 3.1.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// How much is read at once.
const CHUNK: usize = 4096;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long what a client still sends is read after its handshake has been refused.
const LINGER: Duration = Duration::from_secs(1);
/// How much may gather in frames that are not written yet.
const GATHERED: usize = 128 * 1024;

/// Accepts a WebSocket of any path. A request that asks for none is answered in HTTP, and is an
/// error; so is one of a web page that is not at home, which `tell` is told of in words.
///
/// `longest`: the longest MQTT packet in bytes; a frame may have twice as many.
pub(super) async fn accept<S>(
    mut stream: S,
    longest: usize,
    home: &Home,
    tell: impl Fn(String),
) -> io::Result<Frames<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let most = Some(longest.saturating_mul(2));
    let config = WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .write_buffer_size(GATHERED)
        .max_message_size(most)
        .max_frame_size(most);
    #[expect(clippy::result_large_err, reason = "the library's callback")]
    let judge = |request: &Request, response| match foreign_origin(request, home) {
        Some(origin) => {
            let words = format!(
                "a web page of {origin:?} may not open a WebSocket here; admin.hosts in the \
                 configuration names hosts that are trusted beside the loopback ones"
            );
            let answer = refused(StatusCode::FORBIDDEN, &format!("{words}\n"));
            tell(words);
            Err(answer)
        }
        None => subprotocol(request, response),
    };
    let accepted = timeout(HANDSHAKE, accept_hdr_async(&mut stream, judge)).await?;
    // The library keeps nothing back: it refuses a client that sends frames before its answer.
    let Err(error) = accepted.map(drop) else {
        let inner = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        return Ok(Frames::new(inner));
    };
    if let Some(answer) = refusal(&error) {
        stream.write_all(answer.as_bytes()).await?;
    }
    // Closing a socket that holds unread bytes resets it, and the answer is lost.
    stream.shutdown().await?;
    let _ = timeout(LINGER, copy(&mut stream, &mut sink())).await;
    Err(io_error(error))
}

/// The origin that a browser names, if it is not at home. Programs name none.
fn foreign_origin(request: &Request, home: &Home) -> Option<String> {
    let origins = request.headers().get_all(header::ORIGIN).iter();
    let mut origins = origins.map(|origin| String::from_utf8_lossy(origin.as_bytes()));
    let foreign = origins.find(|origin| !home.is_origin(origin));
    foreign.map(std::borrow::Cow::into_owned)
}

fn refused(status: StatusCode, words: &str) -> ErrorResponse {
    let mut refused = ErrorResponse::new(Some(words.into()));
    *refused.status_mut() = status;
    let headers = refused.headers_mut();
    headers.insert(header::CONTENT_LENGTH, words.len().into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    refused
}

/// Chooses the subprotocol, which the client must have offered.
#[expect(clippy::result_large_err, reason = "the library's callback")]
fn subprotocol(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let chosen = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|offer| {
            SUBPROTOCOLS
                .into_iter()
                .find(|known| *known == offer.trim())
        });
    let Some(chosen) = chosen else {
        let words = "The handshake must offer the subprotocol \"mqtt\" (or \"mqttv3.1\") in \
                     Sec-WebSocket-Protocol.\n";
        return Err(refused(StatusCode::BAD_REQUEST, words));
    };
    let headers = response.headers_mut();
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(chosen),
    );
    Ok(response)
}

/// The answer to a request that is no handshake (RFC 6455 section 4.2.2); `None` where it has
/// been given, or nobody waits for one.
fn refusal(error: &Error) -> Option<String> {
    use ProtocolError as P;
    let upgrade = match error {
        Error::Io(_) | Error::Http(_) | Error::Protocol(P::HandshakeIncomplete) => return None,
        Error::Protocol(
            P::MissingConnectionUpgradeHeader
            | P::MissingUpgradeWebSocketHeader
            | P::MissingSecWebSocketVersionHeader,
        ) => true,
        _ => false,
    };
    let words = format!("This port speaks MQTT over WebSocket: {error}.\n");
    let (status, how) = if upgrade {
        let how = "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
        ("426 Upgrade Required", how)
    } else {
        ("400 Bad Request", "Connection: close")
    };
    let length = words.len();
    Some(format!(
        "HTTP/1.1 {status}\r\n{how}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{words}"
    ))
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// The bytes in the binary frames of one connection.
pub(super) struct Frames<S> {
    inner: WebSocketStream<S>,
    unread: Bytes,
    /// Whether the client has broken a rule. Nothing that it sends behind that is looked at.
    broken: bool,
    /// How the connection must be closed then.
    farewell: Option<CloseFrame>,
}

impl<S> Frames<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn new(inner: WebSocketStream<S>) -> Self {
        Self {
            inner,
            unread: Bytes::new(),
            broken: false,
            farewell: None,
        }
    }

    fn fail(&mut self, close: CloseCode, code: u8, reason: impl Into<String>) -> io::Error {
        self.broken = true;
        self.farewell = Some(CloseFrame {
            code: close,
            reason: Utf8Bytes::default(),
        });
        io::Error::new(
            io::ErrorKind::InvalidData,
            Broken(Violation::new(code, reason)),
        )
    }

    /// What the library found wrong, as the end of the connection.
    fn broken_by(&mut self, error: Error) -> io::Result<()> {
        match error {
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ok(()),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                let reason = format!(
                    "the WebSocket message has {size} bytes, the longest allowed has {max_size}"
                );
                Err(self.fail(CloseCode::Size, reason_code::PACKET_TOO_LARGE, reason))
            }
            error @ (Error::Protocol(_) | Error::Utf8(_)) => Err(self.fail(
                CloseCode::Protocol,
                reason_code::PROTOCOL_ERROR,
                error.to_string(),
            )),
            other => Err(io_error(other)),
        }
    }

    /// Reads what a client still sends after it has broken a rule, and forgets it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; CHUNK];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(self.inner.get_mut()).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S> AsyncRead for Frames<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.broken {
            return self.poll_drain(cx);
        }
        loop {
            if self.unread.has_remaining() {
                let length = self.unread.len().min(buffer.remaining());
                buffer.put_slice(&self.unread.split_to(length));
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                // MQTT 5.0 section 6.0: the connection must be closed.
                Some(Ok(Message::Text(_))) => {
                    let reason = "MQTT is in binary WebSocket frames, this is a text frame";
                    return Poll::Ready(Err(self.fail(
                        CloseCode::Unsupported,
                        reason_code::PROTOCOL_ERROR,
                        reason,
                    )));
                }
                // The library answers a ping, and a close when it is asked for more.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(self.broken_by(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<S> AsyncWrite for Frames<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = Pin::new(&mut self.inner);
        ready!(inner.as_mut().poll_ready(cx)).map_err(io_error)?;
        // The connection writes whole packets, and each call takes one.
        let length = match frame(bytes) {
            Frame::Packet { total, .. } => total.min(bytes.len()),
            Frame::Unknown | Frame::Malformed => bytes.len(),
        };
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..length]));
        inner.start_send(message).map_err(io_error)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let farewell = self.farewell.take();
        let mut inner = Pin::new(&mut self.inner);
        if farewell.is_some() {
            let close = Message::Close(farewell);
            inner.as_mut().start_send(close).map_err(io_error)?;
        }
        inner.poll_close(cx).map_err(io_error)
    }
}
