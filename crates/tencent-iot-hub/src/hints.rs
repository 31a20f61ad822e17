//! Which known mistake leads to the device signature that was sent. The caller is told nothing
//! of it; the journal is. Each mistake is tried by itself, against every host; a signature with
//! two mistakes gets no hint.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use mqttstack_base::exchange::Request;
use mqttstack_kit::hex;
use mqttstack_tencent_cloud_api::respellings;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::auth::{Algorithm, Key, Owner, Signature, digest, fits, string_to_sign};

/// Hosts that people sign by mistake.
const WRONG_HOSTS: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "iotcloud.tencentcloudapi.com",
    "iot.gateway.tencentdevices.com",
    "gateway.tencentdevices.com",
    "",
];

/// How people spell the algorithm in the string to sign.
const SPELLINGS: [&str; 10] = [
    "hmacsha256",
    "HmacSha256",
    "HmacSHA256",
    "HMACSHA256",
    "HMAC-SHA256",
    "TC3-HMAC-SHA256",
    "hmacsha1",
    "HmacSha1",
    "HmacSHA1",
    "HMACSHA1",
];

/// The longest string to sign that a reason quotes, in characters.
const MAX_QUOTED: usize = 1_024;

/// What is said where no known mistake fits: the key's name and what the server signs, which holds
/// no secret.
pub(super) fn unknown(key: &str, string_to_sign: &str) -> String {
    let mut quoted: String = string_to_sign.chars().take(MAX_QUOTED).collect();
    if quoted.len() < string_to_sign.len() {
        quoted.push_str("..");
    }
    format!(
        "it is not the one under {key}, nor that of any known mistake: compare your string to sign \
         with the server's, {quoted:?}, then the key"
    )
}

/// The mistake in words; where none is found, what the server signed.
pub(super) fn explain(
    request: &Request,
    sent: &Signature<'_>,
    key: Key<'_>,
    owner: Owner<'_>,
    hosts: &[String],
    path: &str,
) -> String {
    mistake(request, sent, key, owner, hosts, path).unwrap_or_else(|| {
        let case = Case { sent, key };
        let host = hosts.first().map_or("", String::as_str);
        let body_hash = case.body_hash(&request.body);
        unknown(owner.name, &case.text(host, path, &body_hash))
    })
}

fn mistake(
    request: &Request,
    sent: &Signature<'_>,
    key: Key<'_>,
    owner: Owner<'_>,
    hosts: &[String],
    path: &str,
) -> Option<String> {
    let case = Case { sent, key };
    let body_hash = case.body_hash(&request.body);
    let spelled: Vec<_> = respellings(&request.body)
        .into_iter()
        .map(|(what, body)| (what, case.body_hash(&body)))
        .collect();
    for host in hosts {
        let text = case.text(host, path, &body_hash);
        let found = case
            .wrong_writing(&text)
            .or_else(|| case.wrong_text(&text))
            .or_else(|| case.wrong_algorithm(host, path, request))
            .or_else(|| case.wrong_key(&text, owner));
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
        if case.fits(&case.text(host, "/devregister", &body_hash)) {
            return Some("it fits the path /devregister, a slip of the vendor's page".to_owned());
        }
    }
    case.wrong_host(hosts, path, &body_hash)
}

struct Case<'a> {
    sent: &'a Signature<'a>,
    key: Key<'a>,
}

impl Case<'_> {
    fn text(&self, host: &str, path: &str, body_hash: &str) -> String {
        self.spelled(host, path, self.sent.spelling, body_hash)
    }

    fn spelled(&self, host: &str, path: &str, spelling: &str, body_hash: &str) -> String {
        let (timestamp, nonce) = (self.sent.timestamp, self.sent.nonce);
        string_to_sign(host, path, spelling, timestamp, nonce, body_hash)
    }

    fn body_hash(&self, body: &[u8]) -> String {
        match self.sent.algorithm {
            Algorithm::HmacSha1 => hex::lower(Sha1::digest(body)),
            Algorithm::HmacSha256 | Algorithm::RsaSha256 => hex::lower(Sha256::digest(body)),
        }
    }

    fn fits(&self, text: &str) -> bool {
        fits(self.sent, self.key, text)
    }

    /// Whether the signature, written in another way, fits.
    fn fits_as(&self, value: &str, text: &str) -> bool {
        let sent = Signature {
            value,
            ..*self.sent
        };
        fits(&sent, self.key, text)
    }

    /// The right signature, written wrongly.
    fn wrong_writing(&self, text: &str) -> Option<String> {
        let sent = self.sent.value;
        let found = |bytes: Option<Vec<u8>>, what: &str| {
            bytes
                .is_some_and(|bytes| self.fits_as(&STANDARD.encode(bytes), text))
                .then(|| format!("it is {what}; it must be base64 of the raw digest"))
        };
        let of_base64 = STANDARD
            .decode(sent)
            .ok()
            .and_then(|bytes| hex::bytes(&String::from_utf8(bytes).ok()?));
        let url_safe = URL_SAFE.decode(sent).or_else(|_| {
            let bare = sent.trim_end_matches('=');
            URL_SAFE_NO_PAD.decode(bare)
        });
        let percent = percent_encoding::percent_decode_str(sent).decode_utf8();
        found(hex::bytes(sent), "the hexadecimal text of the digest")
            .or_else(|| found(of_base64, "base64 of the digest's hexadecimal text"))
            .or_else(|| found(url_safe.ok(), "base64 with the alphabet of URLs"))
            .or_else(|| {
                let decoded = percent.ok().filter(|decoded| decoded != sent)?;
                found(STANDARD.decode(&*decoded).ok(), "percent-encoded")
            })
    }

    /// The right key over a wrong string to sign.
    fn wrong_text(&self, text: &str) -> Option<String> {
        let lines: Vec<&str> = text.split('\n').collect();
        let [method, host, path, query, algorithm, timestamp, nonce, hash] = lines[..] else {
            return None;
        };
        let upper = hash.to_ascii_uppercase();
        let mistakes = [
            (
                format!("{text}\n"),
                "the string to sign ends with a line feed; it must not",
            ),
            (
                lines.join("\r\n"),
                "the lines are joined by CR LF; it must be LF alone",
            ),
            (
                [
                    method, host, path, query, algorithm, timestamp, nonce, &upper,
                ]
                .join("\n"),
                "the body's hash is in upper-case digits; it must be lower",
            ),
            (
                [method, host, "", algorithm, path, timestamp, nonce, hash].join("\n"),
                "the lines are in the order of a faulty copy of the C SDK (algorithm before path)",
            ),
            (
                [method, host, path, algorithm, timestamp, nonce, hash].join("\n"),
                "the empty line of the query is missing",
            ),
            (
                ["post", host, path, query, algorithm, timestamp, nonce, hash].join("\n"),
                "the method is in lower case; it must be POST",
            ),
            (
                [method, host, path, query, algorithm, nonce, timestamp, hash].join("\n"),
                "nonce and timestamp have changed places; the timestamp comes first",
            ),
        ];
        mistakes
            .iter()
            .find(|(text, _)| self.fits(text))
            .map(|(_, mistake)| (*mistake).to_owned())
    }

    /// Another spelling or hash than the header announces.
    fn wrong_algorithm(&self, host: &str, path: &str, request: &Request) -> Option<String> {
        let announced = self.sent.spelling;
        let (sha256, sha1) = (
            hex::lower(Sha256::digest(&request.body)),
            hex::lower(Sha1::digest(&request.body)),
        );
        let body_hash = self.body_hash(&request.body);
        let spelled = SPELLINGS
            .into_iter()
            .chain(["rsa-sha256", "RSA-SHA256"])
            .find(|spelling| self.fits(&self.spelled(host, path, spelling, &body_hash)));
        if let Some(spelling) = spelled {
            return Some(format!(
                "it fits the algorithm spelled {spelling:?} in the string to sign; the header says {announced:?}"
            ));
        }
        if self.sent.algorithm != Algorithm::HmacSha1 && self.fits(&self.text(host, path, &sha1)) {
            return Some(format!(
                "the body was hashed with the other algorithm, SHA-1; {announced} takes SHA-256"
            ));
        }
        let (other, name) = match self.sent.algorithm {
            Algorithm::HmacSha256 => (Algorithm::HmacSha1, "HMAC-SHA1"),
            Algorithm::HmacSha1 => (Algorithm::HmacSha256, "HMAC-SHA256"),
            Algorithm::RsaSha256 => return None,
        };
        let sent = Signature {
            algorithm: other,
            ..*self.sent
        };
        [sha256, sha1]
            .iter()
            .any(|hash| fits(&sent, self.key, &self.text(host, path, hash)))
            .then(|| format!("the digest is of {name}; the header says {announced:?}"))
    }

    /// The right string to sign under a wrong key.
    fn wrong_key(&self, text: &str, owner: Owner<'_>) -> Option<String> {
        let Key::Text(key) = self.key else {
            return None;
        };
        let sent = self.sent.value;
        let under = |key: &[u8]| digest(self.sent.algorithm, key, text.as_bytes());
        if let Ok(decoded) = STANDARD.decode(key) {
            let digest = under(&decoded);
            if STANDARD.encode(&digest) == sent {
                return Some(
                    "the PSK was base64-decoded first, as MQTT wants it; over HTTP the key is its text"
                        .to_owned(),
                );
            }
            if hex::lower(&digest).eq_ignore_ascii_case(sent) {
                return Some(
                    "it is made as an MQTT password: decoded PSK and hexadecimal digest".to_owned(),
                );
            }
        }
        if STANDARD.encode(under(format!("{key}\n").as_bytes())) == sent {
            return Some("the key was taken with a line feed at its end".to_owned());
        }
        let fits = |key: &str| !key.is_empty() && STANDARD.encode(under(key.as_bytes())) == sent;
        if fits(owner.other_secret) {
            return Some(
                "the key is the other one: /device/register takes the product secret, the rest the device's PSK"
                    .to_owned(),
            );
        }
        let mut others = owner.others.iter();
        let (name, _) = others.find(|(_, psk)| psk.expose() != key && fits(psk.expose()))?;
        Some(format!(
            "the key is the PSK of the device {name:?} of this product"
        ))
    }

    /// The right key over another host, the last guess of all.
    fn wrong_host(&self, hosts: &[String], path: &str, body_hash: &str) -> Option<String> {
        let known = WRONG_HOSTS.into_iter().map(ToOwned::to_owned);
        let written = hosts.iter().flat_map(|host| {
            ["http://", "https://"]
                .map(|scheme| format!("{scheme}{host}"))
                .into_iter()
                .chain([":80", ":443"].map(|port| format!("{host}{port}")))
                .chain([host.to_ascii_uppercase()])
        });
        known
            .chain(written)
            .find(|host| self.fits(&self.text(host, path, body_hash)))
            .map(|host| format!("it fits the host {host:?}, which is not the one called"))
    }
}
