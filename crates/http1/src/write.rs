//! Writing an answer: its head exactly as given, the framing it lacks, its body; whole, cut or
//! piece by piece.

use std::io::{self, Write};

use bytes::Bytes;
use futures_util::StreamExt;
use mqttstack_base::exchange::{Answer, Body, BodyStream, Connection, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::presence::{Presence, attend};
use super::wire::Wire;

/// Up to this size a body is copied behind its head, so that both leave in one write.
const JOINED: usize = 64 << 10;

/// What of a request decides how its answer is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The request's version.
    pub(super) version: Version,
    /// The method is HEAD: the answer has no body.
    pub(super) head: bool,
    /// The connection may stay open as far as the request and the program go.
    pub(super) persistent: bool,
}

/// How an answer will be written.
#[derive(Debug, Clone, Copy)]
struct Shape {
    bodiless: bool,
    chunked: bool,
    /// The connection is to stay open, as far as the peer is told: of a cut answer it learns the
    /// hard way.
    keep: bool,
}

impl Shape {
    fn of(answer: &Answer, asked: Asked) -> Self {
        let streamed = matches!(answer.body, Body::Stream(_));
        let bodiless = asked.head || !may_have_body(answer.status);
        let given_coding = answer.header_value("transfer-encoding").is_some();
        let given_length = answer.header_value("content-length");
        let chunked = may_have_body(answer.status)
            && (given_coding
                || streamed && given_length.is_none() && asked.version == Version::Http11);
        // A body that does not fit its announced length must not be followed by anything.
        let framed = bodiless
            || chunked
            || match (&answer.body, given_length) {
                (Body::Full(_), None) => true,
                (Body::Full(body), Some(length)) => length.parse() == Ok(body.len()),
                (Body::Stream(_), _) => false,
            };
        let says_close = answer
            .header_value("connection")
            .is_some_and(|value| has_token(value.as_bytes(), "close"));
        Self {
            bodiless,
            chunked,
            keep: asked.persistent
                && framed
                && !says_close
                && !matches!(answer.connection, Connection::Close | Connection::Hangup),
        }
    }
}

/// Writes `answer`. `Ok(true)`: the connection may carry another request.
pub(super) async fn answer<S, P>(
    wire: &mut Wire<S>,
    presence: &P,
    answer: Answer,
    asked: Asked,
) -> io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Presence<S>,
{
    let shape = Shape::of(&answer, asked);
    let mut budget = match answer.connection {
        Connection::Truncate(length) => length,
        _ => usize::MAX,
    };
    let mut out = wire.take_out();
    head(&mut out, &answer, asked, shape);
    match answer.body {
        Body::Full(body) if !shape.bodiless => {
            full(wire, &mut out, &body, shape.chunked, &mut budget).await?;
        }
        Body::Stream(pieces) if !shape.bodiless => {
            send(wire, &out, &mut budget).await?;
            let pieces = (pieces, shape.chunked);
            stream(wire, presence, &mut out, pieces, &mut budget).await?;
        }
        _ => send(wire, &out, &mut budget).await?,
    }
    wire.put_out(out);
    Ok(shape.keep && !matches!(answer.connection, Connection::Truncate(_)))
}

/// Writes what the budget of a cut answer still allows.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    bytes: &[u8],
    budget: &mut usize,
) -> io::Result<()> {
    let length = bytes.len().min(*budget);
    *budget -= length;
    wire.write(&bytes[..length]).await
}

async fn full<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    out: &mut Vec<u8>,
    body: &Bytes,
    chunked: bool,
    budget: &mut usize,
) -> io::Result<()> {
    if chunked {
        chunk(out, body);
        out.extend_from_slice(LAST_CHUNK);
    } else if body.len() <= JOINED {
        out.extend_from_slice(body);
    } else {
        send(wire, out, budget).await?;
        return send(wire, body, budget).await;
    }
    send(wire, out, budget).await
}

/// Sends pieces as they come, until there are no more, the client leaves or the program stops.
async fn stream<S, P>(
    wire: &mut Wire<S>,
    presence: &P,
    out: &mut Vec<u8>,
    (mut pieces, chunked): (BodyStream, bool),
    budget: &mut usize,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Presence<S>,
{
    let stop = wire.stop();
    while *budget > 0 && !wire.stopping() {
        let next = async {
            tokio::select! {
                piece = pieces.next() => piece,
                () = stop.cancelled() => None,
            }
        };
        let Some(piece) = attend(wire, presence, next).await else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        match piece {
            None => break,
            // An empty chunk would end the body.
            Some(piece) if piece.is_empty() => {}
            Some(piece) if chunked => {
                out.clear();
                chunk(out, &piece);
                send(wire, out, budget).await?;
            }
            Some(piece) => send(wire, &piece, budget).await?,
        }
    }
    if chunked {
        send(wire, LAST_CHUNK, budget).await?;
    }
    Ok(())
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

fn head(out: &mut Vec<u8>, answer: &Answer, asked: Asked, shape: Shape) {
    if answer.status == 200 && answer.reason == "OK" {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let _ = write!(out, "HTTP/1.1 {:03} ", answer.status);
        text(out, &answer.reason);
        out.extend_from_slice(b"\r\n");
    }
    for (name, value) in &answer.headers {
        text(out, name);
        out.extend_from_slice(b": ");
        text(out, value);
        out.extend_from_slice(b"\r\n");
    }
    let given = |name: &str| answer.header_value(name).is_some();
    if shape.chunked {
        if !given("transfer-encoding") {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
    } else if let Body::Full(body) = &answer.body
        && may_have_body(answer.status)
        && !given("content-length")
    {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    if !given("connection") && answer.connection != Connection::Hangup {
        if !shape.keep {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if asked.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes a piece of a head. A line end inside would begin a field or an answer that nobody
/// meant, so it becomes a space.
fn text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n' | 0) {
            *byte = b' ';
        }
    }
}

/// RFC 9110 section 6.4.1.
fn may_have_body(status: u16) -> bool {
    !(status < 200 || status == 204 || status == 304)
}

/// Whether a comma-separated field value holds `token`, compared without case.
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Asked = Asked {
        version: Version::Http11,
        head: false,
        persistent: true,
    };

    fn written(answer: &Answer, asked: Asked) -> String {
        let mut out = Vec::new();
        head(&mut out, answer, asked, Shape::of(answer, asked));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_go_out_as_given_and_only_the_missing_framing_is_added() {
        let plain = Answer::new(200)
            .header("x-B", "1")
            .header("A", "2")
            .body("hi");
        assert_eq!(
            written(&plain, GET),
            "HTTP/1.1 200 OK\r\nx-B: 1\r\nA: 2\r\nContent-Length: 2\r\n\r\n"
        );
        let own = Answer::new(401)
            .header("content-length", "2")
            .header("Content-Type", "x")
            .body("hi")
            .connection(Connection::Close);
        assert_eq!(
            written(&own, GET),
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nContent-Type: x\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn answers_without_a_body_get_no_length() {
        for status in [100, 204, 304] {
            let text = written(&Answer::new(status).body("ignored"), GET);
            assert!(!text.contains("Content-Length"), "{text}");
        }
        assert_eq!(
            written(&Answer::new(299), GET),
            "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn an_old_client_that_asked_to_stay_is_told_so() {
        let old = Asked {
            version: Version::Http10,
            ..GET
        };
        assert!(written(&Answer::new(200), old).ends_with("Connection: keep-alive\r\n\r\n"));
        let leaving = Asked {
            persistent: false,
            ..old
        };
        assert!(written(&Answer::new(200), leaving).ends_with("Connection: close\r\n\r\n"));
        let own = Answer::new(200).header("connection", "Close");
        assert!(!Shape::of(&own, GET).keep);
        assert!(!written(&own, GET).contains("Connection: close"));
    }

    #[test]
    fn a_hangup_closes_without_saying_so() {
        let answer = Answer::new(400).connection(Connection::Hangup);
        let text = written(&answer, GET);
        assert_eq!(
            text,
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        );
        assert!(!Shape::of(&answer, GET).keep);
    }

    #[test]
    fn a_line_end_in_a_value_cannot_begin_another_field() {
        let text = written(&Answer::new(200).header("A", "x\r\nB: y"), GET);
        assert!(text.contains("A: x  B: y\r\n"), "{text}");
    }

    #[test]
    fn nothing_follows_a_body_that_does_not_fit_its_announced_length() {
        let short = Answer::new(200).header("Content-Length", "9").body("hi");
        assert!(!Shape::of(&short, GET).keep);
        let asked = Asked { head: true, ..GET };
        assert!(Shape::of(&short, asked).keep);
    }
}
