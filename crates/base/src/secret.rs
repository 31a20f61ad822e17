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

/// A name for showing: as it is, or cut where it is a token (JSON Web Signature, compact form),
/// which some vendors take in the place of a user name.
pub fn shown(name: &str) -> Cow<'_, str> {
    let token = name.starts_with("eyJ") && name.split('.').count() == 3;
    if token {
        Cow::Owned("eyJ...".to_owned())
    } else {
        Cow::Borrowed(name)
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
    fn a_secret_prints_and_serializes_masked() {
        let secret = Secret::new("testsecret");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        assert_eq!(secret.expose(), "testsecret");
    }
}
