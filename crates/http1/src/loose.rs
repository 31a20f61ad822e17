//! Reading a request head as the HTTP server inside NanoMQ 0.25.5 does (`NanoNNG`, `http_msg.c` and
//! `http_server.c`): line by line, each of three words or with a colon, the methods and the names
//! of the fields being whatever stands there. Pure functions over bytes.

use bytes::Bytes;
use bytestring::ByteString;
use mqttstack_base::exchange::{Head, Headers, Malformed, Version};

/// Its read buffer: a head that does not fit is dropped.
const MAX_HEAD: usize = 8 << 10;

/// How far a head has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// It ends before this offset.
    Complete(Head, usize),
    /// It ends before this offset, and cannot be served.
    Refused(Head, Malformed, usize),
    /// More bytes are needed.
    Partial,
    /// It cannot be read.
    Broken(Malformed),
}

/// Reads the head that `buf` begins with. Only the bytes behind `searched`, which is moved on, are
/// new since the last call.
pub(super) fn read(buf: &[u8], searched: &mut usize) -> Progress {
    let seen = &buf[..buf.len().min(MAX_HEAD)];
    let end = end(seen, searched.saturating_sub(2));
    let new = &seen[(*searched).min(end.unwrap_or(seen.len()))..end.unwrap_or(seen.len())];
    if let Some(what) = forbidden(new, searched.checked_sub(1).map(|last| seen[last])) {
        return broken(what);
    }
    *searched = seen.len();
    match end {
        Some(end) => parse(&Bytes::copy_from_slice(&seen[..end])),
        None if seen.len() == MAX_HEAD => broken("it is longer than 8 KiB"),
        None => Progress::Partial,
    }
}

fn broken(what: &str) -> Progress {
    Progress::Broken(Malformed::Head(what.to_owned()))
}

/// What must not stand in any line: control characters, among them tabs, and bytes that are no
/// ASCII (which are negative to it), and a carriage return without a line feed.
fn forbidden(new: &[u8], mut last: Option<u8>) -> Option<&'static str> {
    for byte in new {
        if last == Some(b'\r') && *byte != b'\n' {
            return Some("a carriage return without a line feed");
        }
        if !matches!(byte, b' '..=0x7f | b'\r' | b'\n') {
            return Some("a control character, a tab or a byte that is not ASCII");
        }
        last = Some(*byte);
    }
    None
}

/// The offset behind the first empty line, which may be the very first one.
fn end(buf: &[u8], from: usize) -> Option<usize> {
    match buf {
        [b'\n', ..] => return Some(1),
        [b'\r', b'\n', ..] => return Some(2),
        _ => {}
    }
    let mut at = from;
    while let Some(found) = buf[at..].iter().position(|byte| *byte == b'\n') {
        at += found + 1;
        match buf[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn parse(bytes: &Bytes) -> Progress {
    let mut head = Head {
        method: ByteString::new(),
        target: ByteString::new(),
        version: Version::Http11,
        headers: Headers::default(),
        size: bytes.len(),
    };
    let mut lines = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty());
    let Some(line) = lines.next() else {
        return Progress::Refused(head, Malformed::BlankLine, bytes.len());
    };
    let text = |part: &[u8]| ByteString::try_from(bytes.slice_ref(part)).unwrap_or_default();
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return broken("the request line is not `method target version`");
    };
    head.method = text(method);
    head.target = text(target);
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return broken("a header field without a colon");
        };
        let value = line[colon + 1..].trim_ascii();
        let field = (text(&line[..colon]), bytes.slice_ref(value));
        head.headers.0.push(field);
    }
    match version {
        b"HTTP/1.1" => {}
        // Any other of that kind is served, and the connection closed.
        _ if version.starts_with(b"HTTP/1.") => head.version = Version::Http10,
        _ => return Progress::Refused(head, Malformed::Version, bytes.len()),
    }
    Progress::Complete(head, bytes.len())
}

/// A body's length as `strtoull` reads it: blanks and a sign may stand in front, nothing behind,
/// and a negative number is a huge one.
pub(super) fn length(text: &[u8]) -> Option<u64> {
    let rest = text.trim_ascii_start();
    let (negative, digits) = match rest {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if text.is_empty() {
        return Some(0);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<u64>();
    Some(match number {
        Ok(number) if negative => number.wrapping_neg(),
        Ok(number) => number,
        Err(_) => u64::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_whole(text: &str) -> Progress {
        read(text.as_bytes(), &mut 0)
    }

    #[test]
    fn whatever_has_three_words_and_colons_is_a_head() {
        let text = "g{}T /a?b=c HTTP/1.1\r\nNo Name: x \n:\r\n\r\nrest";
        let Progress::Complete(head, end) = read_whole(text) else {
            panic!();
        };
        assert_eq!(&text[end..], "rest");
        assert_eq!((&*head.method, &*head.target), ("g{}T", "/a?b=c"));
        let fields: Vec<_> = head.headers.iter().map(|(n, v)| (n, &v[..])).collect();
        assert_eq!(fields, [("No Name", &b"x"[..]), ("", b"")]);
        for (version, expected) in [("1.1", Version::Http11), ("1.2", Version::Http10)] {
            let read = read_whole(&format!("GET / HTTP/{version}\r\n\r\n"));
            assert!(matches!(read, Progress::Complete(head, _) if head.version == expected));
        }
    }

    #[test]
    fn an_empty_line_in_front_is_a_request_of_its_own() {
        for (text, length) in [("\r\nGET / HTTP/1.1\r\n\r\n", 2), ("\n", 1)] {
            let read = read_whole(text);
            assert!(
                matches!(read, Progress::Refused(_, Malformed::BlankLine, end) if end == length),
                "{read:?}"
            );
        }
    }

    #[test]
    fn another_version_is_refused_and_other_bytes_are_broken() {
        for text in [
            "GET /a b HTTP/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET /  HTTP/1.1\r\n\r\n",
        ] {
            let read = read_whole(text);
            assert!(
                matches!(read, Progress::Refused(_, Malformed::Version, _)),
                "{read:?}"
            );
        }
        for text in [
            "GET / HTTP/1.1\r\nA: b\tc\r\n\r\n",
            "GET / HTTP/1.1\r\nA: \u{e9}",
            "GET /\rx",
            "HELLO\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            &"x".repeat(MAX_HEAD),
        ] {
            assert!(
                matches!(read_whole(text), Progress::Broken(_)),
                "{text:.40}"
            );
        }
        assert!(matches!(
            read_whole("{\"no\": \"request\"}"),
            Progress::Partial
        ));
    }

    #[test]
    fn a_head_that_comes_in_pieces_ends_where_the_whole_one_does() {
        let text = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        for split in 1..text.len() - 4 {
            let mut searched = 0;
            assert!(
                matches!(read(&text[..split], &mut searched), Progress::Partial),
                "{split}"
            );
            let read = read(text, &mut searched);
            assert!(
                matches!(read, Progress::Complete(_, 24)),
                "{split} {read:?}"
            );
        }
    }

    #[test]
    fn lengths_are_what_strtoull_makes_of_them() {
        for (text, expected) in [
            ("", Some(0)),
            ("29", Some(29)),
            ("  +29", Some(29)),
            ("-1", Some(u64::MAX)),
            ("99999999999999999999", Some(u64::MAX)),
            ("29 ", None),
            ("29, 29", None),
            ("0x1d", None),
            ("abc", None),
            ("-", None),
        ] {
            assert_eq!(length(text.as_bytes()), expected, "{text:?}");
        }
    }
}
