//! Reading a body: how it is framed, and its bytes, bounded while they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use mqttstack_base::exchange::{BodyPolicy, Head, Malformed, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::loose;
use super::wire::{Gap, Wait, Wire};

/// The longest line with a chunk's size, extensions included.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// The longest trailer section; trailers are dropped.
const MAX_TRAILERS: usize = 16 << 10;
/// A body's buffer grows by at most this beyond what has come, whatever length is announced; what
/// is longer has to find room.
pub(super) const STEP: usize = 64 << 10;
/// How long a long body may stand still while others wait for its room.
const STANDSTILL: Duration = Duration::from_secs(2);
/// How much is kept of either end of a body that is too long, where that is asked for.
const END: usize = 16 << 10;
/// How much of such a body is read at all.
const OVER: u64 = 64 << 20;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

impl Framing {
    /// Whether a body of this kind may turn out to be no longer than `max`.
    pub(super) fn fits(self, max: usize) -> bool {
        match self {
            Self::Empty | Self::Chunked => true,
            Self::Length(length) => usize::try_from(length).is_ok_and(|length| length <= max),
        }
    }

    /// Decides from the head as `loose.rs` reads it: the length is one field, and the only one.
    pub(super) fn of_loose(head: &Head) -> Result<Self, Malformed> {
        let mut lengths = head.headers.all("content-length");
        let length = match (lengths.next(), lengths.next()) {
            (None, _) => Some(0),
            (Some(length), None) => loose::length(length),
            // Fields that repeat are joined with a comma.
            (Some(_), Some(_)) => None,
        };
        match length.ok_or(Malformed::ContentLength)? {
            0 => Ok(Self::Empty),
            length => Ok(Self::Length(length)),
        }
    }

    /// Decides from the head (RFC 9112 section 6.3). What could be read in two ways is refused:
    /// that is how requests are smuggled.
    pub(super) fn of(head: &Head, policy: BodyPolicy) -> Result<Self, Malformed> {
        let problem = |what: &str| Err(Malformed::Head(what.to_owned()));
        let mut lengths = head.headers.all("content-length").peekable();
        let mut codings = head.headers.all("transfer-encoding").peekable();
        if codings.peek().is_some() {
            if lengths.peek().is_some() {
                return problem("both Content-Length and Transfer-Encoding are given");
            }
            if !policy.chunked {
                return Ok(Self::Empty);
            }
            if head.version == Version::Http10 {
                return problem("Transfer-Encoding in an HTTP/1.0 request");
            }
            let coding = codings.next().map(|value| value.trim_ascii());
            return match (coding, codings.next()) {
                (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                    Ok(Self::Chunked)
                }
                _ => Err(Malformed::TransferCoding),
            };
        }
        let mut found = None;
        for length in lengths.flat_map(|value| value.split(|&byte| byte == b',')) {
            let length = parse_length(length.trim_ascii()).ok_or(Malformed::ContentLength)?;
            if found.is_some_and(|found| found != length) {
                return Err(Malformed::ContentLength);
            }
            found = Some(length);
        }
        Ok(match found {
            None | Some(0) => Self::Empty,
            Some(length) => Self::Length(length),
        })
    }
}

/// A number too large for 64 bits counts as the largest: it is over any limit anyway.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Reads a body as the policy has it: what came, and what was wrong with it.
pub(super) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    framing: Framing,
    policy: BodyPolicy,
    timeout: Duration,
    room: &mut Room<'_>,
) -> (Bytes, Option<Malformed>) {
    let max = policy.max_body;
    match framing {
        Framing::Empty => (Bytes::new(), None),
        Framing::Length(length) => match usize::try_from(length) {
            Ok(length) if length <= max => read_length(wire, length, timeout, room).await,
            _ => {
                let ends = if policy.ends {
                    read_ends(wire, length, timeout).await
                } else {
                    Bytes::new()
                };
                (ends, Some(Malformed::BodyTooLarge { limit: max }))
            }
        },
        Framing::Chunked => {
            let mut body = Vec::new();
            let end = read_chunks(wire, &mut body, max, timeout, room).await;
            body.shrink_to_fit();
            (body.into(), end.err())
        }
    }
}

async fn read_length<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    length: usize,
    timeout: Duration,
    room: &mut Room<'_>,
) -> (Bytes, Option<Malformed>) {
    if wire.buf.len() >= length {
        let body = Bytes::copy_from_slice(&wire.buf[..length]);
        wire.buf.advance(length);
        return (body, None);
    }
    let mut body = Vec::new();
    body.reserve_exact(length.min(wire.buf.len() + STEP));
    body.extend_from_slice(&wire.buf);
    wire.buf.clear();
    let deadline = Instant::now() + timeout;
    while body.len() < length {
        let left = length - body.len();
        if let Err(malformed) = room.take(body.len(), length, deadline).await {
            return (body.into(), Some(malformed));
        }
        if body.capacity() == body.len() {
            body.reserve_exact(left.min(body.len().max(STEP)));
        }
        let most = left.min(body.capacity() - body.len());
        let patience = room.patience(deadline);
        if let Err(gap) = wire.fill_body(&mut body, most, patience).await {
            body.shrink_to_fit();
            return (body.into(), Some(malformed(gap)));
        }
    }
    (body.into(), None)
}

/// The two ends of a body that is too long, which is read over as far as it comes.
async fn read_ends<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    length: u64,
    timeout: Duration,
) -> Bytes {
    let mut left = length.min(OVER);
    let mut ends = Vec::new();
    let deadline = Instant::now() + timeout;
    while left > 0 {
        let came = u64::try_from(wire.buf.len()).unwrap_or(u64::MAX).min(left);
        left -= came;
        let came = usize::try_from(came).unwrap_or_default();
        ends.extend_from_slice(&wire.buf[..came]);
        wire.buf.advance(came);
        if ends.len() > 4 * END {
            ends.drain(END..ends.len() - END);
        }
        if left > 0 && wire.fill(deadline, Wait::Busy).await.is_err() {
            break;
        }
    }
    ends.into()
}

async fn read_chunks<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    body: &mut Vec<u8>,
    max: usize,
    timeout: Duration,
    room: &mut Room<'_>,
) -> Result<(), Malformed> {
    let mut chunks = Chunks::default();
    let deadline = Instant::now() + timeout;
    loop {
        let (used, ended) = chunks.feed(&wire.buf, body, max)?;
        wire.buf.advance(used);
        if ended {
            return Ok(());
        }
        room.take(body.len(), max, deadline).await?;
        wire.fill(room.patience(deadline), Wait::Busy)
            .await
            .map_err(malformed)?;
    }
}

/// Room for what of bodies is longer than [`STEP`], in pieces of that size.
#[derive(Debug)]
pub(super) struct Store {
    free: Arc<Semaphore>,
    pieces: u32,
}

impl Store {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let pieces = u32::try_from(bytes / STEP).unwrap_or(most).clamp(1, most);
        Self {
            free: Arc::new(Semaphore::new(pieces as usize)),
            pieces,
        }
    }
}

/// The room that one body takes. All of it is taken at once: bodies that each had a part and
/// waited for more would wait for one another.
pub(super) struct Room<'a> {
    store: &'a Store,
    taken: Option<OwnedSemaphorePermit>,
}

impl<'a> Room<'a> {
    pub(super) const fn new(store: &'a Store) -> Self {
        Self { store, taken: None }
    }

    /// What is to be kept as long as the body is.
    pub(super) fn taken(self) -> Option<OwnedSemaphorePermit> {
        self.taken
    }

    /// Waits for the room of a body that may become so long, once so much of it is there that it
    /// needs some.
    async fn take(
        &mut self,
        there: usize,
        whole: usize,
        deadline: Instant,
    ) -> Result<(), Malformed> {
        if there < STEP || whole <= STEP || self.taken.is_some() {
            return Ok(());
        }
        let pieces = u32::try_from((whole - 1) / STEP).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.store.free);
        let taken = free.acquire_many_owned(pieces.min(self.store.pieces));
        // The semaphore is never closed.
        let Ok(Ok(taken)) = timeout_at(deadline, taken).await else {
            return Err(Malformed::BodyTimeout);
        };
        self.taken = Some(taken);
        Ok(())
    }

    /// Until when the next bytes must come: a body that stands still must not keep its room from
    /// others that wait for it.
    fn patience(&self, deadline: Instant) -> Instant {
        if self.taken.is_some() && self.store.free.available_permits() == 0 {
            deadline.min(Instant::now() + STANDSTILL)
        } else {
            deadline
        }
    }
}

fn malformed(gap: Gap) -> Malformed {
    match gap {
        Gap::Elapsed => Malformed::BodyTimeout,
        Gap::Closed | Gap::Stopped => Malformed::Truncated,
    }
}

/// Where the reading of a chunked body stands.
#[derive(Debug, Default, Clone, Copy)]
enum Chunks {
    /// Before the line with a chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk are still to come.
    Data(usize),
    /// Before the line end behind a chunk.
    End,
    /// Before the trailer section.
    Trailers,
}

impl Chunks {
    /// Takes what it can from `input`: how many bytes were used, and whether the body has ended.
    fn feed(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        max: usize,
    ) -> Result<(usize, bool), Malformed> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let (taken, next) = match *self {
                Self::Size => match chunk_size(rest)? {
                    None => return Ok((used, false)),
                    Some((line, 0)) => (line, Self::Trailers),
                    Some((line, size)) => {
                        let size = usize::try_from(size)
                            .ok()
                            .filter(|&size| size <= max - body.len())
                            .ok_or(Malformed::BodyTooLarge { limit: max })?;
                        (line, Self::Data(size))
                    }
                },
                Self::Data(left) => {
                    let take = left.min(rest.len());
                    body.extend_from_slice(&rest[..take]);
                    if take < left {
                        *self = Self::Data(left - take);
                        return Ok((input.len(), false));
                    }
                    (take, Self::End)
                }
                Self::End => match rest {
                    [b'\r', b'\n', ..] => (2, Self::Size),
                    [] | [b'\r'] => return Ok((used, false)),
                    _ => return Err(Malformed::Chunk),
                },
                Self::Trailers => {
                    return Ok(match trailers(rest)? {
                        None => (used, false),
                        Some(size) => (used + size, true),
                    });
                }
            };
            used += taken;
            *self = next;
        }
    }
}

/// The length of a chunk's size line and the size; `None` while the line is not whole.
fn chunk_size(input: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    match httparse::parse_chunk_size(input) {
        // httparse takes a line without any digit for a zero.
        Ok(_) if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) => {
            Err(Malformed::Chunk)
        }
        // httparse lets an extension hold a bare line end, where others see the end of the line.
        Ok(httparse::Status::Complete((line, size)))
            if line <= MAX_CHUNK_LINE && !input[..line - 2].contains(&b'\n') =>
        {
            Ok(Some((line, size)))
        }
        Ok(httparse::Status::Partial) if input.len() <= MAX_CHUNK_LINE => Ok(None),
        _ => Err(Malformed::Chunk),
    }
}

/// The length of the trailer section; `None` while it is not whole.
fn trailers(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((size, _))) if size <= MAX_TRAILERS => Ok(Some(size)),
        Ok(httparse::Status::Partial) if input.len() <= MAX_TRAILERS => Ok(None),
        _ => Err(Malformed::Chunk),
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::*;
    use mqttstack_base::exchange::Headers;

    fn framing(
        version: Version,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Framing, Malformed> {
        let field = |&(name, value): &(&'static str, &'static str)| {
            (
                ByteString::from_static(name),
                Bytes::from_static(value.as_bytes()),
            )
        };
        let head = Head {
            method: ByteString::from_static("POST"),
            target: ByteString::from_static("/"),
            version,
            headers: Headers(fields.iter().map(field).collect()),
            size: 0,
        };
        Framing::of(&head, BodyPolicy::default())
    }

    #[test]
    fn a_length_is_one_number() {
        let of = |values: &[&'static str]| {
            let fields: Vec<_> = values
                .iter()
                .map(|value| ("Content-Length", *value))
                .collect();
            framing(Version::Http11, &fields)
        };
        assert_eq!(of(&[]), Ok(Framing::Empty));
        assert_eq!(of(&["0"]), Ok(Framing::Empty));
        assert_eq!(of(&["7"]), Ok(Framing::Length(7)));
        assert_eq!(of(&["7", "7"]), Ok(Framing::Length(7)));
        assert_eq!(of(&["7, 07"]), Ok(Framing::Length(7)));
        assert_eq!(of(&["99999999999999999999"]), Ok(Framing::Length(u64::MAX)));
        for wrong in [
            &["7", "8"][..],
            &["7, 8"],
            &["+7"],
            &["-7"],
            &[""],
            &["7 7"],
            &["0x7"],
            &["7,"],
        ] {
            assert_eq!(of(wrong), Err(Malformed::ContentLength), "{wrong:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let chunked = ("transfer-encoding", "Chunked");
        assert_eq!(framing(Version::Http11, &[chunked]), Ok(Framing::Chunked));
        for (version, fields) in [
            (Version::Http11, &[chunked, ("content-length", "3")][..]),
            (Version::Http10, &[chunked]),
        ] {
            let framing = framing(version, fields);
            assert!(matches!(framing, Err(Malformed::Head(_))), "{fields:?}");
        }
        for fields in [
            &[chunked, chunked][..],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
        ] {
            let framing = framing(Version::Http11, fields);
            assert_eq!(framing, Err(Malformed::TransferCoding), "{fields:?}");
        }
    }

    fn decode(
        input: &[u8],
        step: usize,
        max: usize,
    ) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
        let (mut chunks, mut body, mut used) = (Chunks::default(), Vec::new(), 0);
        let mut seen = 0;
        while seen < input.len() {
            seen = (seen + step).min(input.len());
            let (taken, ended) = chunks.feed(&input[used..seen], &mut body, max)?;
            used += taken;
            if ended {
                return Ok(Some((body, used)));
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_come_out_the_same_however_they_are_split() {
        let input = b"4;ext=\"x\"\r\nWiki\r\n0B\r\npedia in \r\n\r\n0\r\nTrailer: x\r\n\r\nNEXT";
        for step in 1..=input.len() {
            let (body, used) = decode(input, step, 100).unwrap().unwrap();
            assert_eq!(body, b"Wikipedia in \r\n", "{step}");
            assert_eq!(&input[used..], b"NEXT", "{step}");
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("1;{}\r\n", "x".repeat(MAX_CHUNK_LINE));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(4000));
        for input in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            ";x\r\n",
            "1\r\nab\r\n",
            "1\r\na\n1",
            "1;a\nb\r\n",
            "11111111111111111\r\n",
            "0\r\n bad\r\n\r\n",
            &long,
            &trailers,
        ] {
            let result = decode(input.as_bytes(), 1, usize::MAX);
            assert_eq!(result, Err(Malformed::Chunk), "{input:.40}");
        }
    }

    #[test]
    fn chunks_over_the_limit_are_refused_before_their_data() {
        assert!(decode(b"3\r\nabc\r\n0\r\n\r\n", 1, 3).unwrap().is_some());
        for input in [&b"4\r\n"[..], b"2\r\nab\r\n2\r\n", b"ffffffffffffffff\r\n"] {
            assert_eq!(
                decode(input, 1, 3),
                Err(Malformed::BodyTooLarge { limit: 3 })
            );
        }
    }
}
