//! Who calls the data plane: a user by Basic authentication, or a device by its certificate.
//! Pure functions; the cloud API's signature is the crate `tencent-cloud-api`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_base::exchange::Headers;

use super::certificate::{self, Authority, Identity};
use super::error::Error;
use super::store::User;

/// Who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The user of Basic authentication.
    pub user: Option<String>,
    /// The verified certificate's subject.
    pub certificate: Option<Identity>,
}

/// What the caller brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented<'a> {
    /// The request's header fields.
    pub headers: &'a Headers,
    /// The client certificate's chain, leaf first.
    pub certificates: &'a [Bytes],
}

/// What it is checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted<'a> {
    /// The instance's users.
    pub users: &'a [User],
    /// The certificate authorities of the BYOC mode; empty: the mode is off.
    pub authorities: &'a [Authority],
    /// The emulator's time.
    pub now: Timestamp,
}

/// Authenticates. A certificate counts only where authorities are configured; an
/// `Authorization` field that came must be right even beside a good certificate.
pub(super) fn authenticate(
    presented: Presented<'_>,
    trusted: Trusted<'_>,
) -> Result<Credentials, Error> {
    let byoc = !trusted.authorities.is_empty() && !presented.certificates.is_empty();
    let certificate = byoc
        .then(|| certificate::verify(presented.certificates, trusted.authorities, trusted.now))
        .transpose()?;
    let user = match presented.headers.get("authorization") {
        Some(field) => Some(basic_user(field, trusted.users)?),
        None => None,
    };
    if user.is_none() && certificate.is_none() {
        return Err(Error::NoCredentials(missing(presented)));
    }
    Ok(Credentials { user, certificate })
}

/// Why a client certificate says nothing.
pub(super) const UNTRUSTED: &str = "the client certificate does not count because no certificate \
    authority is configured (tencent_tdmq.ca_certificates)";

fn missing(presented: Presented<'_>) -> String {
    if presented.certificates.is_empty() {
        return "there is neither an Authorization field nor a usable client certificate".into();
    }
    format!("there is no Authorization field, and {UNTRUSTED}")
}

fn basic_user(field: &[u8], users: &[User]) -> Result<String, Error> {
    let (name, password) = parse_basic(field)?;
    let user = users
        .iter()
        .find(|user| user.name == name)
        .ok_or_else(|| Error::WrongCredentials(format!("there is no user {name:?}")))?;
    if user.password.expose() == password {
        Ok(name)
    } else {
        let why = format!("the password of user {name:?} is another one");
        Err(Error::WrongCredentials(why))
    }
}

/// User and password of a Basic credential (RFC 7617).
pub(super) fn parse_basic(field: &[u8]) -> Result<(String, String), Error> {
    let bad = Error::BadCredentials;
    let text = std::str::from_utf8(field).map_err(|_| bad("it is not UTF-8"))?;
    let (scheme, encoded) = text
        .trim()
        .split_once(' ')
        .ok_or(bad("it has no scheme and credential"))?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Err(bad("tokens (JWT) are not supported over HTTP, only Basic"));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(bad("the scheme is not Basic"));
    }
    let decoded = BASE64_STANDARD
        .decode(encoded.trim())
        .map_err(|_| bad("the credential is not Base64"))?;
    let text = String::from_utf8(decoded).map_err(|_| bad("user and password are not UTF-8"))?;
    let (name, password) = text
        .split_once(':')
        .ok_or(bad("there is no colon between user and password"))?;
    Ok((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendor_pages_credential_is_user0_with_secret0() {
        let parsed = parse_basic(b"Basic dXNlcjA6c2VjcmV0MA==").unwrap();
        assert_eq!(parsed, ("user0".to_owned(), "secret0".to_owned()));
    }

    #[test]
    fn a_password_may_hold_colons_and_the_scheme_any_case() {
        // Made with Python: base64.b64encode(b"u:a:b")
        assert_eq!(parse_basic(b"bAsIc dTphOmI=").unwrap().1, "a:b");
    }

    #[test]
    fn every_broken_basic_says_what_is_broken() {
        let why = |field: &[u8]| match parse_basic(field) {
            Err(Error::BadCredentials(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(b"Basic").contains("no scheme"));
        assert!(why(b"Digest x").contains("not Basic"));
        assert!(why(b"Bearer x").contains("JWT"));
        assert!(why(b"Basic ?").contains("Base64"));
        assert!(why(b"Basic dXNlcjA=").contains("colon"));
        assert!(why(b"Basic /w==").contains("UTF-8"));
        assert!(why(b"\xff").contains("UTF-8"));
    }
}
