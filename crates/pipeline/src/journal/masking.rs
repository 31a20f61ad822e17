//! Keeps secrets out of what the journal shows: values of header fields, parameters, JSON
//! members and XML elements that carry keys, tokens, passwords or signatures are cut to their
//! first four characters. The entry itself stays whole; masking happens where it is shown.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Names of parameters, JSON members and XML elements whose values are secret, compared
/// without case. One list for all vendors: a name that is secret for one is shown by none.
const SECRET_NAMES: &str = "signature|sig|security_?token|bearer_?token|token|sts_?token|\
    access_?token|refresh_?token|id_?token|client_?secret|client_?assertion|assertion|password|passwd|pwd|\
    aeg-sas-(?:key|token)|sas_?(?:key|token)|shared_?access_?(?:key|signature)|account_?key|api_?key|\
    (?:device_?)?access_?key_?secret|secret|secret_?key|device_?secret|product_?secret|psk|device_?psk|defined_?psk|\
    private_?key|device_?private_?key|client_?key";

/// A parameter: its name, and `=` as it is written plain, in a string to sign, or in one that
/// was encoded once more.
static PARAMETER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)(?:^|[^\w]|%26|%2526)(?:{SECRET_NAMES})(=|%3D|%253D)"
    ))
    .ok()
});

/// Also a member of JSON that stands in a text of JSON.
static JSON_MEMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r#"(?i)(\\?"(?:{SECRET_NAMES})\\?"\s*:\s*\\?")((?:[^"\\]|\\.)*)"#
    ))
    .ok()
});

/// A member whose value is no text.
static BARE_MEMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(&format!(
        r#"(?i)(\\?"(?:{SECRET_NAMES})\\?"\s*:\s*)([0-9.eE+-]{{5,}})"#
    ))
    .ok()
});

/// The keys of a namespace, in the answers that list them.
static NUMBERED_KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?i)("key[12]"\s*:\s*")((?:[^"\\]|\\.)*)"#).ok());

/// A JSON Web Token, wherever it stands.
static WEB_TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"()(eyJ[\w-]{4,}\.[\w-]{4,}\.[\w-]*)").ok());

/// The password of an address, and what stands before it.
static USER_INFO: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(://[^\s/?\#@:"'<>]*:)([^\s/?\#@"'<>]+)@"#).ok());

static XML_ELEMENT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"(?i)(<(?:{SECRET_NAMES})>)([^<]*)")).ok());

/// The first four characters of a secret and `...`; of a short one, nothing but `...`.
pub(crate) fn shorten(secret: &str) -> String {
    if secret.chars().count() <= 8 {
        return "...".to_owned();
    }
    let mut text: String = secret.chars().take(4).collect();
    text.push_str("...");
    text
}

/// A request target with its secret parameters cut.
pub fn target(target: &str) -> Cow<'_, str> {
    words(target)
}

/// Words about a request, which may quote what came: without secret parameters, tokens and
/// passwords in addresses.
pub fn words(text: &str) -> Cow<'_, str> {
    let text = cut_second_group(&WEB_TOKEN, parameters(text));
    user_info(text)
}

fn user_info(text: Cow<'_, str>) -> Cow<'_, str> {
    let Some(regex) = USER_INFO.as_ref() else {
        return Cow::Borrowed("...");
    };
    match regex.replace_all(&text, "${1}...@") {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => Cow::Owned(cut),
    }
}

/// The answer to a question for keys, `{"key1":..,"key2":..}`.
pub fn keys(text: &str) -> Cow<'_, str> {
    cut_second_group(&NUMBERED_KEY, Cow::Borrowed(text))
}

/// The value of a header field as text, cut where it is secret. Of an `Authorization` the
/// scheme stays, and of its named parts all but the signature.
pub fn header(name: &str, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let name = name.to_ascii_lowercase();
    if name == "authorization" || name == "proxy-authorization" {
        return authorization(&text);
    }
    let secret = ["token", "secret", "cookie", "signature", "password"]
        .iter()
        .any(|end| name.ends_with(end))
        || ["sas-key", "api-key", "auth-key", "identity-header"]
            .iter()
            .any(|end| name.ends_with(end));
    if secret {
        shorten(&text)
    } else {
        words(&text).into_owned()
    }
}

/// Whether a name ends so, compared without case.
pub(super) fn ends_with(name: &str, end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    start
        .and_then(|start| name.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

fn authorization(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once(' ') else {
        return shorten(value);
    };
    let named = rest.contains("Credential=") && rest.contains("Signature=");
    if named {
        format!("{scheme} {}", parameters(rest))
    } else {
        format!("{scheme} {}", shorten(rest.trim_start()))
    }
}

/// A body as text with its secrets cut. Bodies that are somebody's payload, neither form nor
/// JSON nor XML by their content type, are left as they are.
pub fn body<'a>(content_type: Option<&str>, text: &'a str) -> Cow<'a, str> {
    let structured = content_type.is_none_or(|value| {
        let value = value.to_ascii_lowercase();
        ["form", "json", "xml"]
            .iter()
            .any(|kind| value.contains(kind))
    });
    if !structured {
        return Cow::Borrowed(text);
    }
    let text = parameters(text);
    let text = cut_second_group(&JSON_MEMBER, text);
    let text = cut_second_group(&BARE_MEMBER, text);
    let text = cut_second_group(&XML_ELEMENT, text);
    user_info(cut_second_group(&WEB_TOKEN, text))
}

fn cut_second_group<'a>(regex: &LazyLock<Option<Regex>>, text: Cow<'a, str>) -> Cow<'a, str> {
    let Some(regex) = regex.as_ref() else {
        return Cow::Borrowed("...");
    };
    let cut = regex.replace_all(&text, |found: &Captures<'_>| {
        format!("{}{}", &found[1], shorten(&found[2]))
    });
    match cut {
        Cow::Borrowed(_) => text,
        Cow::Owned(cut) => Cow::Owned(cut),
    }
}

/// Cuts the values of secret parameters, `name=value` at any depth of encoding. A value ends
/// where the next parameter, or the text around it, begins.
fn parameters(text: &str) -> Cow<'_, str> {
    let Some(regex) = PARAMETER.as_ref() else {
        return Cow::Borrowed("...");
    };
    let mut out = String::new();
    let mut done = 0;
    while let Some(found) = regex.captures_at(text, done) {
        let Some(equals) = found.get(1) else { break };
        let separator = match equals.as_str().len() {
            1 => "&",
            3 => "%26",
            _ => "%2526",
        };
        let value = &text[equals.end()..];
        let end = value
            .find(['&', '"', '<', ' ', ',', ';', '\n', '\r'])
            .unwrap_or(value.len());
        let end = value[..end].find(separator).unwrap_or(end);
        out.push_str(&text[done..equals.end()]);
        if end > 0 {
            out.push_str(&shorten(&value[..end]));
        }
        done = equals.end() + end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secret_parameters_of_a_target_keep_their_names_and_four_characters() {
        assert_eq!(
            target(
                "/?Action=SendMessage&Signature=FyWgn8x%2BqqA%3D&SignatureMethod=HMAC-SHA1&SecurityToken=CAIS%2Bsts%2Ftoken"
            ),
            "/?Action=SendMessage&Signature=FyWg...&SignatureMethod=HMAC-SHA1&SecurityToken=CAIS..."
        );
        assert_eq!(target("/?Password=short"), "/?Password=...");
        assert_eq!(target("/?Signature=&a=b"), "/?Signature=&a=b");
        assert_eq!(target("/topics/token"), "/topics/token");
    }

    #[test]
    fn a_string_to_sign_in_an_answer_loses_its_token() {
        let text = "<Message>server string to sign is:GET&amp;%2F&amp;AccessKeyId%3Dtestid%26SecurityToken%3DCAIS%252Bsts%252Ftoken%26SignatureNonce%3Dn</Message>";
        let masked = body(Some("text/xml"), text);
        assert!(
            masked.contains("SecurityToken%3DCAIS...%26SignatureNonce%3Dn<"),
            "{masked}"
        );
        assert!(!masked.contains("sts%252F"), "{masked}");
    }

    #[test]
    fn an_authorization_keeps_its_scheme_and_what_is_signed() {
        let cut = |value: &str| header("Authorization", value.as_bytes());
        assert_eq!(
            cut(
                "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-date,Signature=0123456789abcdef"
            ),
            "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-date,Signature=0123..."
        );
        assert_eq!(cut("Basic YWRtaW46cHVibGlj"), "Basic YWRt...");
        assert_eq!(cut("Bearer eyJhbGciOiJub25lIn0.e30."), "Bearer eyJh...");
        assert_eq!(cut("0123456789"), "0123...");
        assert_eq!(header("X-IDENTITY-HEADER", b"853b9a84-5bfa"), "853b...");
    }

    #[test]
    fn a_secret_of_json_in_a_text_of_json_is_cut() {
        let text =
            r#"{"Config":"{\"from\":\"password\",\"secret\":\"secret282698\"}","Status":"open"}"#;
        let masked = body(Some("application/json"), text);
        assert!(
            !masked.contains("282698") && masked.contains("Status"),
            "{masked}"
        );
    }

    #[test]
    fn token_and_cookie_fields_are_cut_and_the_nonce_is_not() {
        assert_eq!(
            header("X-Acs-Security-Token", b"CAIS+sts/token=="),
            "CAIS..."
        );
        assert_eq!(header("x-acs-bearer-token", b"testbearer"), "test...");
        assert_eq!(header("Cookie", b"session=0123456789"), "sess...");
        assert_eq!(header("x-acs-signature-nonce", b"0123456789"), "0123456789");
        assert_eq!(
            header("Referer", b"http://h/?Signature=0123456789"),
            "http://h/?Signature=0123..."
        );
    }

    #[test]
    fn members_and_elements_are_cut_and_payloads_are_left_alone() {
        assert_eq!(
            body(
                Some("application/json"),
                r#"{"Username":"u","Password": "0123\"456789"}"#
            ),
            r#"{"Username":"u","Password": "0123..."}"#
        );
        assert_eq!(
            body(None, "<Token>0123456789</Token>"),
            "<Token>0123...</Token>"
        );
        let payload = "token=0123456789";
        assert_eq!(body(Some("application/octet-stream"), payload), payload);
    }

    #[test]
    fn keys_in_queries_forms_and_answers_are_cut() {
        for (text, kept) in [
            (
                "/topics/t:publish?aeg-sas-key=dGVzdGtleQ==&api-version=1",
                "aeg-sas-key=dGVz...&",
            ),
            (
                "/t?aeg-sas-token=r%3Dabcdefghi&x=1",
                "aeg-sas-token=r%3D...&",
            ),
            (
                "grant_type=client_credentials&client_secret=testsecret9",
                "client_secret=test...",
            ),
            (
                "mqtt://user:secret0@127.0.0.1:1883/x",
                "mqtt://user:...@127.0.0.1:1883/x",
            ),
            (
                "Endpoint=x;SharedAccessKey=dGVzdGtleQ==;y",
                "SharedAccessKey=dGVz...;y",
            ),
        ] {
            let masked = target(text);
            assert!(masked.contains(kept), "{masked}");
        }
        let masked = body(
            Some("application/json"),
            r#"{"Password": 12345678, "token":"eyJh"}"#,
        );
        assert_eq!(masked, r#"{"Password": ..., "token":"..."}"#);
        assert_eq!(
            keys(r#"{"key1":"dGVzdGtleQ==","key2":"x","key3":"shown"}"#),
            r#"{"key1":"dGVz...","key2":"...","key3":"shown"}"#
        );
    }

    #[test]
    fn a_web_token_is_cut_wherever_it_stands() {
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let said = format!("there is no user \"{token}\"");
        assert_eq!(words(&said), "there is no user \"eyJh...\"");
        assert!(!header("X-Whatever", token.as_bytes()).contains("c2lnbm"));
        assert!(!body(None, token).contains("c2lnbm"));
    }

    proptest! {
        #[test]
        fn no_secret_parameter_survives(secret in "[A-Za-z0-9%+/]{9,64}", before in "[A-Za-z0-9=]{0,12}") {
            let text = format!("/?a={before}&SecurityToken={secret}&b=1");
            let masked = target(&text);
            prop_assert!(!masked.contains(&secret[..]));
            prop_assert!(masked.ends_with("&b=1"));
        }

        #[test]
        fn masking_never_panics(text in any::<String>(), kind in proptest::option::of(any::<String>())) {
            let _ = target(&text);
            let _ = body(kind.as_deref(), &text);
            let _ = header("authorization", text.as_bytes());
        }
    }
}
