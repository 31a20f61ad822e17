//! Reading a request head: where it ends, what it says, and what can be saved of a broken one.
//! Pure functions over bytes; the reading itself is in `mod.rs`.
//!
//! A head is parsed once, when its blank line is there, and no byte of it is searched twice while it
//! grows: anything else would take quadratic time on the 196 KB request lines of Aliyun's newer SDKs,
//! and be a way to keep a thread busy with single bytes.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use mqttstack_base::exchange::{Head, Headers, Malformed, Version};

use super::Limits;

/// The most header fields of one head.
const MAX_FIELDS: usize = 256;

/// How much is kept of either end of a request line that is too long, for the journal and for
/// finding its surface.
const KEPT: usize = 16 << 10;

/// How far a head has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It ends before this offset.
    Complete(usize),
    /// More bytes are needed.
    Partial,
    /// It is already clear that it cannot be read.
    Broken(Malformed),
}

/// What an unfinished head has already been searched for.
#[derive(Debug, Default)]
pub(super) struct Scan {
    line: LineScan,
    /// The request line has been seen whole and found good.
    line_checked: bool,
    /// Everything before this offset holds no blank line.
    searched: usize,
}

/// How far an unfinished request line has been looked at.
#[derive(Debug, Default)]
struct LineScan {
    /// Everything before this offset is no line end.
    searched: usize,
    /// Everything before this offset belongs to the method.
    method: usize,
    /// Where the target begins.
    target: Option<usize>,
    /// Everything between the target's beginning and this offset belongs to it.
    measured: usize,
    /// The target has ended.
    whole: bool,
}

impl Scan {
    /// Whether nothing of the head has come yet, except perhaps blank lines.
    pub(super) fn is_fresh(&self) -> bool {
        self.line.searched == 0 && !self.line_checked
    }

    /// Looks for the end of the head in `buf`, which has only grown since the last call.
    pub(super) fn advance(&mut self, buf: &[u8], limits: &Limits) -> Progress {
        if matches!(buf, [] | [b'\r']) {
            // Perhaps the half of a blank line in front of the head.
            return Progress::Partial;
        }
        if !self.line_checked {
            let found = match self.line.end(buf) {
                Some(end) => check_line(&buf[..end], limits).map(|()| self.line_checked = true),
                None => self.line.check(buf, limits),
            };
            if let Err(problem) = found {
                return Progress::Broken(problem);
            }
        }
        if self.line_checked
            && let Some(end) = self.find_end(buf)
            && end <= limits.max_head
        {
            return Progress::Complete(end);
        }
        if buf.len() > limits.max_head {
            let limit = limits.max_head;
            return Progress::Broken(Malformed::HeadTooLarge { limit });
        }
        Progress::Partial
    }

    /// Of a head whose request line is too long: whether its end has come, or so much of its
    /// fields that they are too long as well. Takes the middle out of the line while that grows.
    pub(super) fn overrun(&mut self, buf: &mut BytesMut, limits: &Limits) -> bool {
        if self.line.end(buf).is_none() {
            if buf.len() > 4 * KEPT {
                let tail = buf.split_off(buf.len() - KEPT);
                buf.truncate(KEPT);
                buf.extend_from_slice(&tail);
                self.line.searched = buf.len();
            }
            return false;
        }
        self.find_end(buf).is_some() || buf.len() > limits.max_head.max(8 * KEPT)
    }

    /// The offset behind the blank line: LF, then LF or CRLF.
    fn find_end(&mut self, buf: &[u8]) -> Option<usize> {
        while let Some(found) = buf[self.searched..].iter().position(|&byte| byte == b'\n') {
            let next = self.searched + found + 1;
            match buf[next..] {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                // The line end is the last thing seen: look at it again when there is more.
                [] | [b'\r'] => {
                    self.searched = next - 1;
                    return None;
                }
                _ => self.searched = next,
            }
        }
        self.searched = buf.len();
        None
    }
}

impl LineScan {
    /// Where the line ends, if it does.
    fn end(&mut self, buf: &[u8]) -> Option<usize> {
        let found = buf[self.searched..].iter().position(|&byte| byte == b'\n');
        self.searched = found.map_or(buf.len(), |found| self.searched + found);
        found.map(|_| self.searched)
    }

    /// Judges a line that still goes on.
    fn check(&mut self, buf: &[u8], limits: &Limits) -> Result<(), Malformed> {
        check_first(buf)?;
        if self.target.is_none() {
            let rest = &buf[self.method..];
            let token = rest.iter().take_while(|byte| is_token_byte(**byte)).count();
            self.method += token;
            match rest[token..] {
                [b' ', ..] if self.method > 0 => self.target = Some(self.method + 1),
                // The line may end here.
                [] | [b'\r'] => return Ok(()),
                _ => return not_a_token(),
            }
            self.measured = self.method + 1;
        }
        let Some(start) = self.target.filter(|_| !self.whole) else {
            return Ok(());
        };
        let end = buf[self.measured..].iter().position(|&byte| byte == b' ');
        self.whole = end.is_some();
        self.measured = end.map_or(buf.len(), |end| self.measured + end);
        let target = &buf[start..self.measured];
        let target = target.strip_suffix(b"\r").unwrap_or(target);
        if target.len() > limits.max_target {
            let limit = limits.max_target;
            return Err(Malformed::TargetTooLong { limit });
        }
        Ok(())
    }
}

/// Drops empty lines in front of a request line (RFC 9112 section 2.2); whether there was one.
pub(super) fn skip_blank_lines(buf: &mut BytesMut) -> bool {
    let mut skipped = false;
    loop {
        match buf[..] {
            [b'\n', ..] => buf.advance(1),
            [b'\r', b'\n', ..] => buf.advance(2),
            _ => return skipped,
        }
        skipped = true;
    }
}

/// Parses one whole head, blank line included. Every field is a slice of `bytes`.
pub(super) fn parse(bytes: &Bytes, limits: &Limits) -> Result<Head, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
        Ok(_) => return Err(Malformed::Head("its end is unclear".to_owned())),
        Err(error) => {
            let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(bytes);
            check_line(line, limits)?;
            return Err(from_httparse(error));
        }
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Malformed::Head("no request line".to_owned()));
    };
    if target.len() > limits.max_target {
        let limit = limits.max_target;
        return Err(Malformed::TargetTooLong { limit });
    }
    let headers = request
        .headers
        .iter()
        .map(|field| (text(bytes, field.name), bytes.slice_ref(field.value)))
        .collect();
    Ok(Head {
        method: text(bytes, method),
        target: text(bytes, target),
        version: if version == 0 {
            Version::Http10
        } else {
            Version::Http11
        },
        headers: Headers(headers),
        size: bytes.len(),
    })
}

/// What can be read of a broken or unfinished head: the request line as far as it goes and the
/// whole fields, without those that are broken.
pub(super) fn salvage(buf: &[u8]) -> Head {
    let bytes = Bytes::copy_from_slice(buf);
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    let line = lines.next().unwrap_or_default().trim_ascii_end();
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().filter(|word| is_token(word));
    let mut target = words.next();
    if method.is_none() {
        target = target.filter(|target| target.starts_with(b"/"));
    }
    let version = words.next();
    let readable = |word: Option<&[u8]>| {
        word.and_then(|word| ByteString::try_from(bytes.slice_ref(word)).ok())
            .unwrap_or_default()
    };
    let headers = lines
        .take_while(|line| !matches!(line, [b'\n'] | [b'\r', b'\n']))
        .filter_map(|line| salvage_field(&bytes, line))
        .take(MAX_FIELDS)
        .collect();
    Head {
        method: readable(method),
        target: readable(target),
        version: if version == Some(b"HTTP/1.0") {
            Version::Http10
        } else {
            Version::Http11
        },
        headers: Headers(headers),
        size: buf.len(),
    }
}

fn salvage_field(bytes: &Bytes, line: &[u8]) -> Option<(ByteString, Bytes)> {
    let line = line.strip_suffix(b"\n")?;
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let name = is_token(name).then(|| bytes.slice_ref(name))?;
    Some((ByteString::try_from(name).ok()?, bytes.slice_ref(value)))
}

/// Judges a whole request line as far as it needs no header field; a strange version is left to
/// [`parse`], which sees the fields too.
fn check_line(line: &[u8], limits: &Limits) -> Result<(), Malformed> {
    check_first(line)?;
    let problem = |what: &str| Err(Malformed::Head(what.to_owned()));
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.splitn(3, |&byte| byte == b' ');
    if !words.next().is_some_and(is_token) {
        return not_a_token();
    }
    match (words.next(), words.next()) {
        (None | Some(b""), _) => problem("the request line has no target"),
        (Some(target), _) if target.len() > limits.max_target => Err(Malformed::TargetTooLong {
            limit: limits.max_target,
        }),
        (Some(_), None) => problem("the request line has no HTTP version"),
        (Some(_), Some(version)) if version.starts_with(b"HTTP/") => Ok(()),
        (Some(_), Some(_)) => problem("the request line is not `method target version`"),
    }
}

fn check_first(line: &[u8]) -> Result<(), Malformed> {
    if line.first() == Some(&0x16) {
        let what = "these are the first bytes of TLS, but this port speaks plain HTTP";
        return Err(Malformed::Head(what.to_owned()));
    }
    Ok(())
}

fn not_a_token() -> Result<(), Malformed> {
    Err(Malformed::Head("the method is not a token".to_owned()))
}

fn from_httparse(error: httparse::Error) -> Malformed {
    let what = match error {
        httparse::Error::Version => return Malformed::Version,
        httparse::Error::HeaderName => "a header field name holds a byte that is not allowed",
        httparse::Error::HeaderValue => "a header field value holds a byte that is not allowed",
        httparse::Error::NewLine => "a carriage return without a line feed",
        httparse::Error::TooManyHeaders => {
            return Malformed::TooManyFields { limit: MAX_FIELDS };
        }
        httparse::Error::Token | httparse::Error::Status => {
            "the request line holds a byte that is not allowed"
        }
    };
    Malformed::Head(what.to_owned())
}

/// RFC 9110 section 5.6.2.
fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A part of `bytes` that httparse has already read as text.
fn text(bytes: &Bytes, part: &str) -> ByteString {
    ByteString::try_from(bytes.slice_ref(part.as_bytes())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Head, Malformed> {
        parse(&Bytes::copy_from_slice(head.as_bytes()), &Limits::default())
    }

    fn scan(buf: &[u8], limits: &Limits) -> Progress {
        Scan::default().advance(buf, limits)
    }

    #[test]
    fn fields_keep_their_order_and_spelling_and_share_one_allocation() {
        let bytes =
            Bytes::from_static(b"FOO /a?b=c HTTP/1.1\r\nb-B: 1\r\nA:  \xff2 \nb-B:\r\n\r\n");
        let head = parse(&bytes, &Limits::default()).unwrap();
        assert_eq!(&*head.method, "FOO");
        assert_eq!(&*head.target, "/a?b=c");
        assert_eq!(head.size, bytes.len());
        let fields: Vec<_> = head.headers.iter().map(|(n, v)| (n, &v[..])).collect();
        assert_eq!(
            fields,
            [("b-B", &b"1"[..]), ("A", &b"\xff2"[..]), ("b-B", &b""[..])]
        );
        let range = bytes.as_ptr_range();
        assert!(range.contains(&head.headers.0[0].1.as_ptr()));
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_split() {
        for whole in [
            "GET / HTTP/1.1\r\na: b\r\n\r\nrest",
            "GET / HTTP/1.1\na: b\n\nrest",
        ] {
            let end = whole.find("rest").unwrap();
            for split in 1..end {
                let mut scan = Scan::default();
                let limits = Limits::default();
                let first = scan.advance(&whole.as_bytes()[..split], &limits);
                assert_eq!(first, Progress::Partial, "{split}");
                let second = scan.advance(whole.as_bytes(), &limits);
                assert_eq!(second, Progress::Complete(end), "{split}");
            }
        }
    }

    #[test]
    fn every_wrong_head_is_named() {
        let head = |what: &str| Malformed::Head(what.to_owned());
        let not_allowed = "a header field name holds a byte that is not allowed";
        for (text, expected) in [
            ("GET / HTTP/2.0\r\n\r\n", Malformed::Version),
            ("GET / HTTP/0.9\r\n\r\n", Malformed::Version),
            ("GET / HTTP/3\r\n\r\n", Malformed::Version),
            (
                "GET /\r\n\r\n",
                head("the request line has no HTTP version"),
            ),
            ("GET\r\n\r\n", head("the request line has no target")),
            (
                "GET /a b HTTP/1.1\r\n\r\n",
                head("the request line is not `method target version`"),
            ),
            ("G(T / HTTP/1.1\r\n\r\n", head("the method is not a token")),
            (" / HTTP/1.1\r\n\r\n", head("the method is not a token")),
            (
                "GET / HTTP/1.1\r\na: b\r\n folded\r\n\r\n",
                head(not_allowed),
            ),
            ("GET / HTTP/1.1\r\na : b\r\n\r\n", head(not_allowed)),
            ("GET / HTTP/1.1\r\n: b\r\n\r\n", head(not_allowed)),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn there_may_be_256_fields_and_no_more() {
        let with = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(&with(256)).unwrap().headers.0.len(), 256);
        assert_eq!(
            read(&with(257)).unwrap_err(),
            Malformed::TooManyFields { limit: 256 }
        );
    }

    #[test]
    fn what_can_never_become_a_head_is_refused_before_its_end() {
        let limits = Limits::default();
        for start in [&b"\x16\x03\x01"[..], b"GET /\r\n", b"{\"a\"", b"hello\r\n"] {
            assert!(matches!(
                scan(start, &limits),
                Progress::Broken(Malformed::Head(_))
            ));
        }
        assert_eq!(scan(b"GET / HTTP/9.9\r\n", &limits), Progress::Partial);
    }

    #[test]
    fn a_line_that_comes_byte_by_byte_is_judged_as_the_whole_one() {
        let limits = Limits {
            max_target: 5,
            max_head: 60,
            ..Limits::default()
        };
        for line in [
            "GET /1234 HTTP/1.1\r\n",
            "GET /12345 HTTP/1.1\r\n",
            "GET /1234\r\r HTTP/1.1\n",
            "GET\r\n",
            "GET\r /\n",
            " / HTTP/1.1\r\n",
            "G(T / HTTP/1.1\n",
            "\x16\x03\n",
            "GET  / HTTP/1.1\n",
        ] {
            let whole = scan(line.as_bytes(), &limits);
            let mut scan = Scan::default();
            let mut last = Progress::Partial;
            for end in 1..=line.len() {
                last = scan.advance(&line.as_bytes()[..end], &limits);
                if last != Progress::Partial {
                    break;
                }
            }
            assert_eq!(last, whole, "{line:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_keeps_both_its_ends_and_the_fields_behind_it() {
        let limits = Limits::default();
        let mut scan = Scan::default();
        let mut buf = BytesMut::from(&b"GET /?first=1&x="[..]);
        assert_eq!(scan.advance(&buf, &limits), Progress::Partial);
        for _ in 0..100 {
            buf.extend_from_slice(&[b'y'; 10_000]);
            assert!(!scan.overrun(&mut buf, &limits));
            assert!(buf.len() <= 5 * KEPT);
        }
        buf.extend_from_slice(b"&SecretId=z HTTP/1.1\r\nHost: h\r\n");
        assert!(!scan.overrun(&mut buf, &limits));
        buf.extend_from_slice(b"\r\n");
        assert!(scan.overrun(&mut buf, &limits));
        let head = salvage(&buf);
        assert!(head.target.starts_with("/?first=1&x=y"));
        assert!(head.target.ends_with("y&SecretId=z"));
        assert_eq!(head.host(), Some("h"));
    }

    #[test]
    fn a_target_is_measured_exactly() {
        let limits = Limits {
            max_target: 5,
            ..Limits::default()
        };
        assert_eq!(scan(b"GET /1234", &limits), Progress::Partial);
        let too_long = Malformed::TargetTooLong { limit: 5 };
        for start in [&b"GET /12345"[..], b"GET /12345 HTTP/1.1\r\n"] {
            assert_eq!(scan(start, &limits), Progress::Broken(too_long.clone()));
        }
        let whole = |text: &'static str| parse(&Bytes::from_static(text.as_bytes()), &limits);
        assert!(whole("GET /1234 HTTP/1.1\r\n\r\n").is_ok());
        assert_eq!(whole("GET /12345 HTTP/1.1\r\n\r\n").unwrap_err(), too_long);
    }

    #[test]
    fn a_broken_head_still_shows_its_line_and_its_good_fields() {
        let head = salvage(b"POST /x HTTP/1.0\r\nHost: h\r\nbad\r\nlater: 1\r\n");
        assert_eq!((&*head.method, &*head.target), ("POST", "/x"));
        assert_eq!(head.version, Version::Http10);
        assert_eq!(head.headers.0.len(), 2);
        assert_eq!(head.headers.text("host"), Some("h"));
        assert_eq!(head.headers.text("later"), Some("1"));
        let nothing = salvage(b"\x16\x03\x01\xff \xff");
        assert_eq!((&*nothing.method, &*nothing.target), ("", ""));
    }
}
