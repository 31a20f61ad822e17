//! Which known mistake leads to the device signature that was sent. The caller is told nothing
//! of it; the journal is. Each mistake is tried by itself, against every host.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::auth::{Algorithm, Signature, digest, hex, string_to_sign};
use crate::exchange::Request;
use crate::vendor::tencent_tc3::respellings;

/// Hosts that people sign by mistake.
const WRONG_HOSTS: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "iotcloud.tencentcloudapi.com",
    "gateway.tencentdevices.com",
    "",
];

/// The mistake in words.
pub(super) fn explain(
    request: &Request,
    sent: &Signature<'_>,
    key: &str,
    other_secret: &str,
    hosts: &[String],
    path: &str,
) -> Option<String> {
    let case = Case { sent, key };
    let body_hash = case.body_hash(&request.body);
    let spelled: Vec<_> = respellings(&request.body)
        .into_iter()
        .map(|(what, body)| (what, case.body_hash(&body)))
        .collect();
    let other_hash = case.other_body_hash(&request.body);
    for host in hosts {
        let text = case.text(host, path, &body_hash);
        let found = case
            .wrong_writing(&text)
            .or_else(|| case.wrong_text(&text))
            .or_else(|| case.wrong_key(&text, other_secret));
        if found.is_some() {
            return found;
        }
        for (what, hash) in &spelled {
            if case.fits(&case.text(host, path, hash)) {
                return Some(format!(
                    "it fits the body {what}, not the bytes that were sent"
                ));
            }
        }
        if case.fits(&case.text(host, path, &other_hash)) {
            return Some("the body was hashed with the other algorithm".to_owned());
        }
        if case.fits(&case.text(host, "/devregister", &body_hash)) {
            return Some("it fits the path /devregister, a slip of the vendor's page".to_owned());
        }
    }
    WRONG_HOSTS
        .into_iter()
        .find(|host| case.fits(&case.text(host, path, &body_hash)))
        .map(|host| format!("it fits the host {host:?}, which is not the one called"))
}

struct Case<'a> {
    sent: &'a Signature<'a>,
    key: &'a str,
}

impl Case<'_> {
    fn text(&self, host: &str, path: &str, body_hash: &str) -> String {
        string_to_sign(
            host,
            path,
            self.sent.spelling,
            self.sent.timestamp,
            self.sent.nonce,
            body_hash,
        )
    }

    fn body_hash(&self, body: &[u8]) -> String {
        match self.sent.algorithm {
            Algorithm::HmacSha1 => hex(&Sha1::digest(body)),
            Algorithm::HmacSha256 | Algorithm::RsaSha256 => hex(&Sha256::digest(body)),
        }
    }

    fn other_body_hash(&self, body: &[u8]) -> String {
        match self.sent.algorithm {
            Algorithm::HmacSha1 => hex(&Sha256::digest(body)),
            Algorithm::HmacSha256 | Algorithm::RsaSha256 => hex(&Sha1::digest(body)),
        }
    }

    fn digest(&self, key: &[u8], text: &str) -> Vec<u8> {
        digest(self.sent.algorithm, key, text.as_bytes())
    }

    fn fits(&self, text: &str) -> bool {
        STANDARD.encode(self.digest(self.key.as_bytes(), text)) == self.sent.value
    }

    /// The right digest, written wrongly.
    fn wrong_writing(&self, text: &str) -> Option<String> {
        let digits = hex(&self.digest(self.key.as_bytes(), text));
        let sent = self.sent.value;
        if digits.eq_ignore_ascii_case(sent) {
            return Some(
                "it is the hexadecimal text of the digest; it must be base64 of the raw digest"
                    .to_owned(),
            );
        }
        if STANDARD.encode(&digits) == sent {
            return Some(
                "it is base64 of the digest's hexadecimal text; it must be base64 of the raw digest"
                    .to_owned(),
            );
        }
        None
    }

    /// The right key over a wrong string to sign.
    fn wrong_text(&self, text: &str) -> Option<String> {
        let mut lines: Vec<&str> = text.split('\n').collect();
        let joined = lines.join("\n");
        let (hash, path) = (lines[7].to_owned(), lines[2]);
        if self.fits(&format!("{joined}\n")) {
            return Some("the string to sign ends with a line feed; it must not".to_owned());
        }
        if self.fits(&lines.join("\r\n")) {
            return Some("the lines are joined by CR LF; it must be LF alone".to_owned());
        }
        let upper = hash.to_ascii_uppercase();
        lines[7] = &upper;
        if self.fits(&lines.join("\n")) {
            return Some("the body's hash is in upper-case digits; it must be lower".to_owned());
        }
        lines[7] = &hash;
        lines[3] = lines[4];
        lines[4] = path;
        lines[2] = "";
        if self.fits(&lines.join("\n")) {
            return Some(
                "the lines are in the order of a faulty copy of the C SDK (algorithm before path)"
                    .to_owned(),
            );
        }
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.remove(3);
        self.fits(&lines.join("\n"))
            .then(|| "the empty line of the query is missing".to_owned())
    }

    /// The right string to sign under a wrong key.
    fn wrong_key(&self, text: &str, other_secret: &str) -> Option<String> {
        let sent = self.sent.value;
        if let Ok(decoded) = STANDARD.decode(self.key) {
            let digest = self.digest(&decoded, text);
            if STANDARD.encode(&digest) == sent {
                return Some(
                    "the PSK was base64-decoded first, as MQTT wants it; over HTTP the key is its text"
                        .to_owned(),
                );
            }
            if hex(&digest).eq_ignore_ascii_case(sent) {
                return Some(
                    "it is made as an MQTT password: decoded PSK and hexadecimal digest".to_owned(),
                );
            }
        }
        let other = STANDARD.encode(self.digest(other_secret.as_bytes(), text));
        (!other_secret.is_empty() && other == sent).then(|| {
            "the key is the other one: /device/register takes the product secret, the rest the device's PSK"
                .to_owned()
        })
    }
}
