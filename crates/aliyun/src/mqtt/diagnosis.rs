//! What went into a wrong password: each known mistake is made here too and compared with what
//! came. Says no secret.

use base64::Engine;
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD,
};
use hmac::{Hmac, KeyInit, Mac};
use mqttstack_base::secret::Secret;
use mqttstack_broker::dialect::Connect;
use mqttstack_kit::hex;
use percent_encoding::percent_decode;
use sha1::Sha1;
use sha2::Sha256;

use crate::auth::same;
use crate::client_id::ClientId;

fn mac<M: Mac + KeyInit>(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// How the right bytes were written wrongly, if they were.
fn wrongly_written(right: &[u8], password: &[u8]) -> Option<&'static str> {
    let base64 = BASE64_STANDARD.encode(right);
    let digits = hex::lower(right);
    let decoded: Vec<u8> = percent_decode(password).collect();
    let is = |text: &str| same(text.as_bytes(), password);
    let writings: [(bool, &str); 9] = [
        (
            is(&digits) || is(&digits.to_ascii_uppercase()),
            "it is in hexadecimal, it must be Base64",
        ),
        (
            is(&BASE64_STANDARD.encode(&digits)),
            "it is the Base64 of hexadecimal digits, it must be that of the bytes",
        ),
        (
            same(right, password),
            "it is the bytes themselves, it must be Base64",
        ),
        (
            is(&BASE64_STANDARD.encode(&base64)),
            "it is encoded in Base64 twice",
        ),
        (
            is(&BASE64_STANDARD_NO_PAD.encode(right)),
            "its Base64 has no = at the end",
        ),
        (
            is(&BASE64_URL_SAFE.encode(right)) || is(&BASE64_URL_SAFE_NO_PAD.encode(right)),
            "its Base64 is the one for URLs",
        ),
        (
            same(base64.as_bytes(), &decoded) || is(&base64.replace('+', " ")),
            "it is escaped as in a URL; a password is sent as it is",
        ),
        (
            is(&format!("\"{base64}\"")) || is(&format!("'{base64}'")),
            "there are quotation marks around it",
        ),
        (
            same(base64.as_bytes(), password.trim_ascii()),
            "there is white space around it",
        ),
    ];
    writings.iter().find(|(made, _)| *made).map(|(_, it)| *it)
}

/// The mistake behind a password that should be the HMAC of the client id under `secret`.
/// `others` are the secrets of other access keys, by id.
pub(super) fn mistake(
    connect: &Connect,
    secret: &Secret,
    password: &[u8],
    others: &[(String, Secret)],
) -> String {
    if password.is_empty() {
        return "it is empty".to_owned();
    }
    let key = secret.expose().as_bytes();
    let id = &*connect.client_id;
    let is = |text: &str| same(text.as_bytes(), password);
    let sha1 = |key: &[u8], text: &str| BASE64_STANDARD.encode(mac::<Hmac<Sha1>>(key, text));
    let right = mac::<Hmac<Sha1>>(key, id);
    let (group, device) = ClientId::parse(id).map_or(("", ""), |id| (id.group, id.device));
    let username = connect.username.as_deref().unwrap_or_default();
    let ampersand = [key, b"&"].concat();
    let mistakes: [(bool, &str); 6] = [
        (is(&sha1(key, group)), "it is the HMAC of the group id"),
        (is(&sha1(key, device)), "it is the HMAC of the device id"),
        (is(&sha1(key, username)), "it is the HMAC of the user name"),
        (
            is(&sha1(&ampersand, id)),
            "its key is the secret with & behind it, which only HTTP requests have",
        ),
        (
            is(&BASE64_STANDARD.encode(mac::<Hmac<Sha256>>(key, id))),
            "it is HMAC-SHA256, it must be HMAC-SHA1",
        ),
        (is(secret.expose()), "it is the secret itself"),
    ];
    let made = mistakes.iter().find(|(made, _)| *made).map(|(_, it)| *it);
    if let Some(mistake) = made.or_else(|| wrongly_written(&right, password)) {
        return mistake.to_owned();
    }
    for (other, secret) in others {
        if is(&sha1(secret.expose().as_bytes(), id)) {
            return format!("its key is the secret of access key {other:?}");
        }
    }
    format!("it is not the one under the secret that is known here, for client id {id:?}")
}
