//! Who calls: a user name and password, or an RS256 token, judged as NanoMQ judges them.
//! The running login is in `state.rs`. Captured, 21 token cases among them.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use mqttstack_kit::key::Key;
use mqttstack_kit::token::{Algorithm, Verifier};
use serde::{Deserialize, Serialize};

use super::cjson::until_nul;
use super::error::Problem;

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthType {
    /// User name and password in every request.
    #[default]
    Basic,
    /// A signed token in every request.
    Jwt,
}

impl AuthType {
    /// As NanoMQ's configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Jwt => "jwt",
        }
    }

    /// The type from its spelling in NanoMQ's configuration.
    pub(crate) fn from_text(text: &[u8]) -> Option<Self> {
        match text {
            b"basic" => Some(Self::Basic),
            b"jwt" => Some(Self::Jwt),
            _ => None,
        }
    }
}

/// How many seconds past its `exp` a token is still taken. Captured.
const GRACE_S: i64 = 200;

/// Where the token or password stands behind the scheme word, which has exactly one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Up to 0.8.0, as C's `sscanf("Basic %s")` finds it: behind white space of any length, up to
    /// the next. Captured.
    Scanned,
    /// 0.25.5: all that stands behind one space. A second space is a 401 (measured, November
    /// 2026); that its code is 103, and that tokens are found alike, is assumed.
    Behind,
}

fn credential<'a>(
    header: Option<&'a str>,
    scheme: &str,
    reading: Reading,
) -> Result<&'a str, Problem> {
    let rest = header.and_then(|header| header.strip_prefix(scheme));
    let found = match reading {
        Reading::Scanned => rest.and_then(|rest| rest.split_ascii_whitespace().next()),
        Reading::Behind => rest.and_then(|rest| rest.strip_prefix(' ')),
    };
    found
        .filter(|credential| !credential.is_empty())
        .ok_or(Problem::NoCredentials)
}

/// Judges a Basic header: the decoded text must be `user:password` exactly.
pub(crate) fn basic(
    header: Option<&str>,
    reading: Reading,
    username: &str,
    password: &Secret,
) -> Result<(), Problem> {
    let token = credential(header, "Basic", reading)?;
    let given = decode_base64(token.as_bytes());
    let wanted = format!("{username}:{}", password.expose());
    if until_nul(&given) == wanted.as_bytes() {
        Ok(())
    } else {
        Err(Problem::WrongCredentials)
    }
}

/// Judges a Bearer header: RS256, `iss` as wanted, `exp` not more than 200 s ago. Returns the
/// issuer. `iat`, `nbf`, `aud` and the header's `alg` are not looked at; whatever else is
/// wrong, only a time that is the one thing wrong is told.
pub(crate) fn bearer<'a>(
    header: Option<&str>,
    reading: Reading,
    key: Option<&Key>,
    verifier: &Verifier,
    issuer: &'a str,
    now: Timestamp,
) -> Result<&'a str, Problem> {
    let text = credential(header, "Bearer", reading)?;
    let key = key.ok_or(Problem::WrongCredentials)?;
    let token = verifier.read(text, now);
    let token = token.map_err(|_| Problem::WrongCredentials)?;
    let signed = verifier.is_signed_by(&token, Algorithm::RS256, key, now);
    if !signed || token.text("iss") != Some(issuer) {
        return Err(Problem::WrongCredentials);
    }
    let in_time = token
        .claims()
        .get("exp")
        .and_then(serde_json::Value::as_i64)
        .is_some_and(|exp| exp.saturating_add(GRACE_S) >= now.as_second());
    if in_time {
        Ok(issuer)
    } else {
        Err(Problem::TokenExpired)
    }
}

/// Base64 as NanoMQ decodes it: a length that is no multiple of four or a foreign character
/// gives nothing, and the first `=` ends it.
pub(crate) fn decode_base64(text: &[u8]) -> Vec<u8> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
    );
    if !text.len().is_multiple_of(4) {
        return Vec::new();
    }
    let end = text.iter().position(|byte| *byte == b'=');
    let text = &text[..end.unwrap_or(text.len())];
    // Six bits alone make no byte.
    let text = if text.len() % 4 == 1 {
        &text[..text.len() - 1]
    } else {
        text
    };
    LENIENT.decode(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, reading: Reading) -> Result<(), Problem> {
        basic(Some(header), reading, "admin", &Secret::new("public"))
    }

    /// What both readings say of it.
    fn judge(header: &str) -> Result<(), Problem> {
        let judged = read(header, Reading::Scanned);
        assert_eq!(read(header, Reading::Behind), judged, "{header}");
        judged
    }

    #[test]
    fn a_second_space_was_nothing_in_0_8_and_counts_in_0_25() {
        for (header, scanned, behind) in [
            (
                "Basic   YWRtaW46cHVibGlj",
                Ok(()),
                Problem::WrongCredentials,
            ),
            ("Basic  YWRtaW46cHVibGlj", Ok(()), Problem::WrongCredentials),
            (
                "Basic YWRtaW46cHVibGlj x",
                Ok(()),
                Problem::WrongCredentials,
            ),
            ("BasicYWRtaW46cHVibGlj", Ok(()), Problem::NoCredentials),
        ] {
            assert_eq!(read(header, Reading::Scanned), scanned, "{header}");
            assert_eq!(read(header, Reading::Behind), Err(behind), "{header}");
        }
    }

    #[test]
    fn a_basic_value_must_match_exactly() {
        assert_eq!(judge("Basic YWRtaW46cHVibGlj"), Ok(()));
        for wrong in [
            "Basic YWRtaW46cHVi",         // admin:pub
            "Basic YWRtaW46cHVibGljWA==", // admin:publicX
            "Basic YWRtaW46cHVibGljOg==", // admin:public:
            "Basic !!!!",
            "Basic YWRtaW46cHVibGlj, Basic eDp5",
        ] {
            assert_eq!(judge(wrong), Err(Problem::WrongCredentials), "{wrong}");
        }
        let long = format!("Basic {}", "QUFB".repeat(2000));
        assert_eq!(judge(&long), Err(Problem::WrongCredentials));
    }

    #[test]
    fn another_scheme_or_spelling_counts_as_no_credentials() {
        for none in [
            "",
            "Basic",
            "Basic ",
            "basic YWRtaW46cHVibGlj",
            "Bearer x",
            "Digest x",
        ] {
            assert_eq!(judge(none), Err(Problem::NoCredentials), "{none}");
        }
        assert_eq!(
            basic(None, Reading::Behind, "admin", &Secret::new("public")),
            Err(Problem::NoCredentials)
        );
    }

    #[test]
    fn base64_that_does_not_decode_gives_nothing() {
        assert_eq!(decode_base64(b"aGVsbG8="), b"hello");
        assert_eq!(decode_base64(b"aGVsbG8"), b"");
        assert_eq!(decode_base64(b"aGVs*G8="), b"");
        assert_eq!(decode_base64(b""), b"");
    }
}
