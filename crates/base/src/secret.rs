//! A key, token or password that never prints itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

/// A secret text. `Debug` and `Serialize` mask it; [`Secret::expose`] is the only way to it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for computing with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// What a parameter is called whose value is secret, or the end of it.
const SECRET_NAMES: [&str; 7] = [
    "password",
    "passwd",
    "pwd",
    "token",
    "secret",
    "signature",
    "key",
];

/// A name for showing: as it is, or cut where it is a token (JSON Web Signature, compact form),
/// which some vendors take in the place of a user name, or where it has parameters
/// (`name?token=..`), as other brokers' users do.
pub fn shown(name: &str) -> Cow<'_, str> {
    let token = name.starts_with("eyJ") && name.split('.').count() == 3;
    if token {
        return Cow::Owned("eyJ...".to_owned());
    }
    if !name.contains('=') {
        return Cow::Borrowed(name);
    }
    let pieces = name.split_inclusive(['?', '&', ';', ',']).map(|piece| {
        let Some((parameter, value)) = piece.split_once('=') else {
            return Cow::Borrowed(piece);
        };
        let lower = parameter.to_ascii_lowercase();
        if !SECRET_NAMES.iter().any(|end| lower.ends_with(end)) {
            return Cow::Borrowed(piece);
        }
        let end = value.find(['?', '&', ';', ',']).unwrap_or(value.len());
        Cow::Owned(format!("{parameter}=...{}", &value[end..]))
    });
    Cow::Owned(pieces.collect())
}

/// The user name of a CONNECT for showing. Without a password, what stands behind a colon may be
/// it (`user:password`).
pub fn shown_user(name: &str, has_password: bool) -> Cow<'_, str> {
    match name.split_once(':') {
        Some((user, _)) if !has_password && user != "tenant" => Cow::Owned(format!("{user}:...")),
        _ => shown(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_place_of_a_name_is_cut_and_a_name_is_not() {
        assert_eq!(shown("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"), "eyJ...");
        assert_eq!(
            shown("Signature|testid|post-cn-test0001"),
            "Signature|testid|post-cn-test0001"
        );
        assert_eq!(shown("eyJ.not-a-token"), "eyJ.not-a-token");
    }

    #[test]
    fn a_password_inside_a_user_name_is_cut() {
        for (name, kept) in [
            (
                "dev?x-authorizer=a&token=0123456789",
                "dev?x-authorizer=a&token=...",
            ),
            ("user;password=secret0;v=1", "user;password=...;v=1"),
            ("user:secret0", "user:..."),
            (
                "product;12010126;abc;1700000000",
                "product;12010126;abc;1700000000",
            ),
        ] {
            assert_eq!(shown_user(name, false), kept);
        }
        assert_eq!(shown_user("vhost:user", true), "vhost:user");
    }

    #[test]
    fn a_secret_prints_and_serializes_masked() {
        let secret = Secret::new("testsecret");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "testsecret");
    }
}
