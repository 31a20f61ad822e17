//! Why a signature is wrong: known mistakes are made on purpose, and the one that gives the
//! signature that came is named. Runs only once a request is being refused; says key ids and
//! never secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use mqttstack_base::exchange::Request;
use mqttstack_kit::hex;
use sha1::Sha1;
use sha2::Sha256;

use super::keys::{Key, Keys};
use super::same;
use super::v1::{self, mac};
use super::v3::{self, Algorithm};
use crate::parameters::{Parameters, canonical_query, joined};

/// What is said when no known mistake fits: a wrong secret and a changed request look alike.
pub(super) fn unknown(id: &str) -> String {
    format!(
        "the signature is not the one under the secret configured for {id}, nor that of any \
         known mistake: either it was made with another secret, or what came is not what was \
         signed (a parameter, header field, method or body was changed behind the signature); \
         the string to sign in the answer is of what came: if yours differs, the request was \
         changed, if not, the secret is another"
    )
}

/// The most parameters, and bytes of them, of which each is left out in turn.
const MOST_PARAMETERS: usize = 40;
const MOST_BYTES: usize = 64 << 10;

/// The parameter that was put in behind the signature, if leaving one out makes it right.
fn added<'p>(
    pairs: &[(&'p str, &'p str)],
    is_right: impl Fn(Vec<(&'p str, &'p str)>) -> bool,
) -> Option<String> {
    let bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if pairs.len() > MOST_PARAMETERS || bytes > MOST_BYTES {
        return None;
    }
    let without = |place: usize| {
        let mut rest = pairs.to_vec();
        rest.remove(place);
        rest
    };
    (0..pairs.len())
        .find(|place| is_right(without(*place)))
        .map(|place| {
            let name = pairs[place].0;
            format!("parameter {name:?} was not signed: it was put in behind the signature")
        })
}

fn no_secret(key: &Key) -> String {
    format!("access key {} has no secret, only a public_key", key.id)
}

fn no_public_key(key: &Key) -> String {
    format!("access key {} has no public_key configured", key.id)
}

/// The mistake behind a wrong V1 signature.
pub(super) fn v1(
    proof: &v1::Proof<'_>,
    key: &Key,
    keys: &Keys,
    request: &Request,
    parameters: &Parameters<'_>,
) -> Option<String> {
    if proof.method == v1::Method::Sha256WithRsa {
        return key.verifier.is_none().then(|| no_public_key(key));
    }
    let Some(secret) = key.secret() else {
        return Some(no_secret(key));
    };
    let gives = |secret: &[u8], suffix: &[u8], text: &str| {
        mac::<Hmac<Sha1>>(secret, suffix, text).is_some_and(|mac| {
            let code = BASE64_STANDARD.encode(mac.finalize().into_bytes());
            same(code.as_bytes(), proof.signature.as_bytes())
        })
    };
    let right = v1::string_to_sign(&request.head.method, &v1::canonical_parameters(parameters));
    if gives(secret, b"", &right) {
        return Some("signed with the secret alone; the key is the secret with & behind it".into());
    }
    let whose = |other: &&Key| {
        other
            .secret()
            .is_some_and(|secret| gives(secret, b"&", &right) || gives(secret, b"", &right))
    };
    if let Some(other) = keys.others(key).into_iter().find(whose) {
        return Some(format!("signed with the secret of access key {}", other.id));
    }
    if let Some(coding) = v1_coding(proof.signature, secret, &right) {
        return Some(coding.to_owned());
    }
    let strings = v1_strings(request, parameters).into_iter();
    let mut known = strings.filter(|(_, text)| gives(secret, b"&", text));
    let known = known.next().map(|(mistake, _)| mistake.to_owned());
    known.or_else(|| {
        let pairs: Vec<_> = v1::signed(parameters).collect();
        added(&pairs, |rest| {
            let query = canonical_query(rest.into_iter());
            gives(
                secret,
                b"&",
                &v1::string_to_sign(&request.head.method, &query),
            )
        })
    })
}

/// Right string, right secret, wrong hash or wrong coding of the result.
fn v1_coding(signature: &str, secret: &[u8], right: &str) -> Option<&'static str> {
    let sha1 = mac::<Hmac<Sha1>>(secret, b"&", right)?;
    if hex::lower(sha1.finalize().into_bytes()).eq_ignore_ascii_case(signature) {
        return Some("the signature is in hexadecimal; it must be in Base64");
    }
    let sha256 = mac::<Hmac<Sha256>>(secret, b"&", right)?;
    (BASE64_STANDARD.encode(sha256.finalize().into_bytes()) == signature)
        .then_some("signed with HMAC-SHA256; SignatureVersion 1.0 is HMAC-SHA1")
}

/// A mistake and what it makes of a canonical query.
type Encoding = (&'static str, fn(&str) -> String);

/// Ways in which a canonical query is encoded wrongly, in either signature version.
const ENCODINGS: [Encoding; 5] = [
    (
        "a space was signed as +; it must be signed as %20",
        |query| query.replace("%20", "+"),
    ),
    (
        "an asterisk was signed as *; it must be signed as %2A",
        |query| query.replace("%2A", "*"),
    ),
    (
        "a tilde was signed as %7E; it must be signed as ~",
        |query| query.replace('~', "%7E"),
    ),
    (
        "signed as HTML forms are encoded (+ * %7E); RFC 3986 asks for %20 %2A ~",
        |query| {
            query
                .replace("%20", "+")
                .replace("%2A", "*")
                .replace('~', "%7E")
        },
    ),
    (
        "a slash was signed as /; it must be signed as %2F",
        |query| query.replace("%2F", "/"),
    ),
];

fn wrongly_encoded(query: &str) -> impl Iterator<Item = (&'static str, String)> {
    ENCODINGS
        .iter()
        .map(move |(mistake, encode)| (*mistake, encode(query)))
}

/// Strings to sign as they come out of known mistakes.
fn v1_strings(request: &Request, parameters: &Parameters<'_>) -> Vec<(&'static str, String)> {
    let method: &str = &request.head.method;
    let query = v1::canonical_parameters(parameters);
    let with = |query: &str| v1::string_to_sign(method, query);
    let only_query = parameters
        .query()
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .filter(|(name, _)| *name != "Signature");
    let present = v1::signed(parameters).filter(|(_, value)| !value.is_empty());
    let without_token = v1::signed(parameters).filter(|(name, _)| *name != "SecurityToken");
    let mut strings = vec![
        (
            "the string to sign begins with GET, but the request is not a GET",
            v1::string_to_sign("GET", &query),
        ),
        (
            "the string to sign begins with POST, but the request is not a POST",
            v1::string_to_sign("POST", &query),
        ),
        (
            "the canonical query was not encoded a second time in the string to sign",
            format!("{method}&%2F&{query}"),
        ),
        (
            "the path was signed as /; it must be signed as %2F",
            with(&query).replacen("&%2F&", "&/&", 1),
        ),
        (
            "the parameters were not sorted by name",
            with(&joined(v1::signed(parameters))),
        ),
        (
            "parameters with an empty value were left out; they must be signed as well",
            with(&canonical_query(present)),
        ),
        (
            "the parameters of the form body were left out; they must be signed as well",
            with(&canonical_query(only_query)),
        ),
        (
            "SecurityToken was left out; it must be signed as well",
            with(&canonical_query(without_token)),
        ),
    ];
    strings.extend(wrongly_encoded(&query).map(|(mistake, query)| (mistake, with(&query))));
    strings
}

/// The mistake behind a wrong V3 signature.
pub(super) fn v3(
    proof: &v3::Proof<'_>,
    key: &Key,
    keys: &Keys,
    request: &Request,
    parameters: &Parameters<'_>,
) -> Option<String> {
    if proof.algorithm == Algorithm::RsaSha256 {
        return key.verifier.is_none().then(|| no_public_key(key));
    }
    let Some(secret) = key.secret() else {
        return Some(no_secret(key));
    };
    let gives = |secret: &[u8], text: &str| {
        let code = v3::hmac_signature(proof.algorithm, secret, text);
        same(code.as_bytes(), proof.signature.as_bytes())
    };
    let parts = proof.parts(request, parameters);
    let right = proof.string_to_sign(&parts.canonical_request());
    if gives(&[secret, b"&"].concat(), &right) {
        return Some("signed with & behind the secret; ACS3 signs with the secret alone".into());
    }
    let whose = |other: &&Key| other.secret().is_some_and(|secret| gives(secret, &right));
    if let Some(other) = keys.others(key).into_iter().find(whose) {
        return Some(format!("signed with the secret of access key {}", other.id));
    }
    let code = v3::hmac_signature(proof.algorithm, secret, &right);
    if code.eq_ignore_ascii_case(proof.signature) {
        return Some("the signature's hexadecimal digits must be in lower case".into());
    }
    let holds =
        |parts: &v3::Parts<'_>| gives(secret, &proof.string_to_sign(&parts.canonical_request()));
    let mut known = v3_parts(&parts, request).into_iter();
    let known = known.find(|(_, parts)| holds(parts));
    known.map(|(mistake, _)| mistake.to_owned()).or_else(|| {
        let pairs = parameters.query().iter();
        let pairs: Vec<_> = pairs.map(|(name, value)| (&**name, &**value)).collect();
        added(&pairs, |rest| {
            let mut parts = parts.clone();
            parts.query = canonical_query(rest.into_iter());
            holds(&parts)
        })
    })
}

/// Canonical requests as they come out of known mistakes.
fn v3_parts<'a>(right: &v3::Parts<'a>, request: &'a Request) -> Vec<(&'static str, v3::Parts<'a>)> {
    let change = |mistake, change: &dyn Fn(&mut v3::Parts<'a>)| {
        let mut parts = right.clone();
        change(&mut parts);
        (mistake, parts)
    };
    let headers = &request.head.headers;
    let claimed_hash = headers.text("x-acs-content-sha256").unwrap_or("");
    let mut mistakes = vec![
        change(
            "the canonical request says GET, but the request is not a GET",
            &|parts| parts.method = "GET",
        ),
        change(
            "the canonical request says POST, but the request is not a POST",
            &|parts| parts.method = "POST",
        ),
        change(
            "the Host was signed without its port; it is signed as it is sent",
            &|parts| parts.change_host(|host| host.rsplit_once(':').map(|(name, _)| name)),
        ),
        change(
            "the Host was signed without the http:// that was sent in it",
            &|parts| parts.change_host(|host| host.split_once("://").map(|(_, rest)| rest)),
        ),
        change(
            "the query was left out of the canonical request",
            &|parts| parts.query.clear(),
        ),
        change(
            "x-acs-content-sha256 was signed, but it is not the hash of the body that came",
            &|parts| claimed_hash.clone_into(&mut parts.payload_hash),
        ),
    ];
    mistakes.extend(
        wrongly_encoded(&right.query)
            .map(|(mistake, query)| change(mistake, &|parts| parts.query.clone_from(&query))),
    );
    // Last: where an encoding is all that is wrong, naming it says more.
    mistakes.push(change(
        "the query was signed as it was sent; it must be sorted and encoded by RFC 3986",
        &|parts| request.head.raw_query().clone_into(&mut parts.query),
    ));
    mistakes
}
