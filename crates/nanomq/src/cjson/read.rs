//! Reading JSON with cJSON's tolerance: a byte order mark and anything up to a space count as
//! white space, text after the first complete value is ignored, strings may hold any bytes,
//! at most 1000 levels. No recursion, so no body can exhaust the stack.
//! Source: cJSON 1.7.15, the recordings' body cases.

use super::{Json, until_nul};

/// How many arrays and objects may stand in one another.
const DEPTH_LIMIT: usize = 1000;
/// cJSON copies a number into 64 bytes, the last of them NUL.
const NUMBER_LIMIT: usize = 63;

/// Reads the first value of `body` up to its first NUL, as V1 does (`cJSON_Parse`).
pub(crate) fn text(body: &[u8]) -> Option<Json> {
    bytes(until_nul(body))
}

/// Reads the first value of `body`, NUL being white space, as V4 does
/// (`cJSON_ParseWithLength`).
pub(crate) fn bytes(body: &[u8]) -> Option<Json> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    Reader { body, at: 0 }.value()
}

/// An array or object that is not closed yet.
enum Open {
    Array(Vec<Json>),
    Object(Vec<(Vec<u8>, Json)>, Vec<u8>),
}

enum Step {
    Whole(Json),
    Opened(Open),
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Json> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.skip_space();
            let mut whole = match self.step(open.len())? {
                Step::Opened(container) => {
                    open.push(container);
                    continue;
                }
                Step::Whole(value) => value,
            };
            // Hand the value up until a container wants another one.
            loop {
                let Some(container) = open.last_mut() else {
                    return Some(whole);
                };
                let closed = match container {
                    Open::Array(items) => {
                        items.push(whole);
                        self.skip_space();
                        match self.next()? {
                            b',' => None,
                            b']' => Some(Json::Array(std::mem::take(items))),
                            _ => return None,
                        }
                    }
                    Open::Object(members, key) => {
                        members.push((std::mem::take(key), whole));
                        self.skip_space();
                        match self.next()? {
                            b',' => {
                                *key = self.key()?;
                                None
                            }
                            b'}' => Some(Json::Object(std::mem::take(members))),
                            _ => return None,
                        }
                    }
                };
                match closed {
                    Some(container) => {
                        open.pop();
                        whole = container;
                    }
                    None => break,
                }
            }
        }
    }

    /// A scalar, an empty container, or the beginning of a container.
    fn step(&mut self, depth: usize) -> Option<Step> {
        for (word, value) in [
            (&b"null"[..], Json::Null),
            (b"false", Json::Bool(false)),
            (b"true", Json::Bool(true)),
        ] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Some(Step::Whole(value));
            }
        }
        match self.rest().first()? {
            b'"' => self.string().map(|text| Step::Whole(Json::Text(text))),
            b'-' | b'0'..=b'9' => self
                .number()
                .map(|number| Step::Whole(Json::Number(number))),
            b'[' | b'{' if depth >= DEPTH_LIMIT => None,
            b'[' => {
                self.at += 1;
                self.skip_space();
                if self.rest().first() == Some(&b']') {
                    self.at += 1;
                    return Some(Step::Whole(Json::Array(Vec::new())));
                }
                Some(Step::Opened(Open::Array(Vec::new())))
            }
            b'{' => {
                self.at += 1;
                self.skip_space();
                if self.rest().first() == Some(&b'}') {
                    self.at += 1;
                    return Some(Step::Whole(Json::Object(Vec::new())));
                }
                let key = self.key()?;
                Some(Step::Opened(Open::Object(Vec::new(), key)))
            }
            _ => None,
        }
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        self.skip_space();
        let key = self.string()?;
        self.skip_space();
        (self.next()? == b':').then_some(key)
    }

    /// What C's `strtod` reads of the next characters that a number may hold.
    fn number(&mut self) -> Option<f64> {
        let limit = self.rest().len().min(NUMBER_LIMIT);
        let candidate = &self.rest()[..limit];
        let digits = |from: usize| {
            candidate[from..]
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        };
        let mut end = usize::from(candidate.first() == Some(&b'-'));
        let whole = digits(end);
        end += whole;
        let mut fraction = 0;
        if candidate.get(end) == Some(&b'.') {
            fraction = digits(end + 1);
            if whole + fraction > 0 {
                end += 1 + fraction;
            }
        }
        if whole + fraction == 0 {
            return None;
        }
        if matches!(candidate.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(candidate.get(end + 1), Some(b'+' | b'-')));
            if end + 1 + sign <= candidate.len() {
                let exponent = digits(end + 1 + sign);
                if exponent > 0 {
                    end += 1 + sign + exponent;
                }
            }
        }
        let number = std::str::from_utf8(&candidate[..end]).ok()?.parse().ok()?;
        self.at += end;
        Some(number)
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        if self.next()? != b'"' {
            return None;
        }
        let raw = self.raw_string()?;
        let mut out = Vec::with_capacity(raw.len());
        let mut at = 0;
        while let Some(byte) = raw.get(at) {
            at += 1;
            if *byte != b'\\' {
                out.push(*byte);
                continue;
            }
            let escape = *raw.get(at)?;
            at += 1;
            match escape {
                b'b' => out.push(0x08),
                b'f' => out.push(0x0c),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'"' | b'\\' | b'/' => out.push(escape),
                b'u' => {
                    let (character, used) = code_point(&raw[at..])?;
                    at += used;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return None,
            }
        }
        out.truncate(until_nul(&out).len());
        Some(out)
    }

    /// The bytes up to the closing quote, which is consumed.
    fn raw_string(&mut self) -> Option<&[u8]> {
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => return Some(&self.body[start..self.at - 1]),
                b'\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
    }

    fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| **byte <= b' ').count();
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn rest(&self) -> &[u8] {
        &self.body[self.at..]
    }
}

/// The character of `XXXX` or `XXXX\uXXXX` and how many bytes it took. cJSON reads bad
/// hexadecimal digits as 0.
fn code_point(rest: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = std::str::from_utf8(rest.get(at..at + 4)?).unwrap_or("");
        let hexadecimal = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        Some(if hexadecimal {
            u32::from_str_radix(digits, 16).unwrap_or(0)
        } else {
            0
        })
    };
    let first = unit(0)?;
    match first {
        0xdc00..=0xdfff => None,
        0xd800..=0xdbff => {
            if rest.get(4..6)? != b"\\u" {
                return None;
            }
            let second = unit(6)?;
            if !(0xdc00..=0xdfff).contains(&second) {
                return None;
            }
            let point = 0x1_0000 + (((first & 0x3ff) << 10) | (second & 0x3ff));
            Some((char::from_u32(point)?, 10))
        }
        _ => Some((char::from_u32(first)?, 4)),
    }
}
