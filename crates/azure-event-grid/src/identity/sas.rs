//! Access keys and shared access signatures of namespace topics
//! (authenticate-with-access-keys-shared-access-signatures page). A signature is
//! `r={resource}&e={expiry}&s={signature}`: HMAC-SHA256 with an access key over all that stands
//! before `&s=`, as it was sent. Refusals name the part that is wrong, and never a key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mqttstack_base::exchange::{Head, Request};
use mqttstack_base::secret::Secret;
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::api::parameters::Parameters;
use crate::error::Error;
use crate::model::resources::Namespace;

/// The header and the query parameter that carry an access key.
const KEY: &str = "aeg-sas-key";
/// The header that carries a signature.
const TOKEN: &str = "aeg-sas-token";
/// How the vendor's SDKs write an expiry beside ISO 8601 (.NET, JavaScript, Java), in UTC.
const EXPIRIES: [&str; 2] = ["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S"];

/// What a request shows instead of a token.
#[derive(Debug)]
pub(crate) enum Proof {
    /// An access key.
    Key(String),
    /// A shared access signature.
    Signature(String),
}

impl Proof {
    /// The key or signature of a request; `scheme` and `credentials` are those of its
    /// `Authorization`, which comes first.
    pub(crate) fn of(
        request: &Request,
        scheme: &str,
        credentials: &str,
    ) -> Result<Option<Self>, Error> {
        let header = |name| request.head.headers.text(name).map(str::trim);
        if scheme.eq_ignore_ascii_case("sharedaccesskey") {
            return Ok(Some(Self::Key(credentials.to_owned())));
        }
        if scheme.eq_ignore_ascii_case("sharedaccesssignature") {
            return Ok(Some(Self::Signature(credentials.to_owned())));
        }
        if let Some(key) = header(KEY) {
            return Ok(Some(Self::Key(key.to_owned())));
        }
        if let Some(token) = header(TOKEN) {
            return Ok(Some(Self::Signature(token.to_owned())));
        }
        let query = Parameters::parse(request.head.raw_query())?;
        // Base64 has no space: a plus sign that was not encoded has become one.
        let key = query.get(KEY)?.map(|key| key.replace(' ', "+"));
        Ok(key.map(Self::Key))
    }

    /// How the journal names its holder.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "SharedAccessKey",
            Self::Signature(_) => "SharedAccessSignature",
        }
    }

    /// Whether it opens a topic of the namespace at `now`.
    pub(crate) fn check(
        &self,
        head: &Head,
        namespace: &Namespace,
        topic: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let keys = keys(namespace, topic);
        match self {
            Self::Key(given) => {
                let is_right = |key: &&Secret| -> bool {
                    let key = key.expose().as_bytes();
                    key.ct_eq(given.as_bytes()).into()
                };
                let right = keys.iter().any(is_right);
                right.then_some(()).ok_or(Error::InvalidKey)
            }
            Self::Signature(text) => Signature::parse(text)
                .and_then(|signature| signature.check(&keys, head, namespace, now))
                .map_err(Error::InvalidSignature),
        }
    }
}

/// The keys that open a topic: the namespace's two, and the topic's own once it has any.
fn keys<'a>(namespace: &'a Namespace, topic: &str) -> Vec<&'a Secret> {
    let mut topics = namespace.topics.iter();
    let own = topics.find(|one| one.name.eq_ignore_ascii_case(topic));
    let own = own.into_iter().flat_map(|topic| [&topic.key, &topic.key2]);
    [&namespace.key, &namespace.key2]
        .into_iter()
        .chain(own.flatten())
        .collect()
}

/// A signature taken apart, not verified.
#[derive(Debug)]
struct Signature<'a> {
    /// What was signed.
    signed: &'a str,
    resource: String,
    expires: Timestamp,
    code: Vec<u8>,
}

impl<'a> Signature<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let missing = |part: &str| format!("the part '{part}' is missing");
        let (signed, code) = text.rsplit_once("&s=").ok_or_else(|| missing("s"))?;
        let part = |name: &str| {
            let mut parts = signed.split('&').filter_map(|part| part.split_once('='));
            let value = parts.find(|(key, _)| *key == name).map(|(_, value)| value);
            let value = value.filter(|value| !value.is_empty());
            value.ok_or_else(|| missing(name))
        };
        let decoded = |name: &str, value: &str| {
            let plain = percent_decode_str(value).decode_utf8();
            plain
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| format!("the percent escapes of the part '{name}' are not UTF-8"))
        };
        let resource = decoded("r", &part("r")?.replace('+', " "))?;
        let expires = decoded("e", &part("e")?.replace('+', " "))?;
        let expires = read_expiry(&expires).ok_or_else(|| {
            format!(
                "the expiry (the part 'e') is {expires:?}, expected is a time such as \"2026-11-21T22:51:00Z\" or \"11/21/2026 10:51:00 PM\""
            )
        })?;
        let code = STANDARD
            .decode(decoded("s", code)?)
            .map_err(|_| "the signature (the part 's') is not base64".to_owned())?;
        Ok(Self {
            signed,
            resource,
            expires,
            code,
        })
    }

    fn check(
        &self,
        keys: &[&Secret],
        head: &Head,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Result<(), String> {
        if !keys.iter().any(|key| self.is_by(key)) {
            return Err(
                "the signature (the part 's') is made by no access key over 'r' and 'e' as they were sent"
                    .to_owned(),
            );
        }
        if now >= self.expires {
            return Err(format!(
                "the expiry (the part 'e') is {}, and it is {now}",
                self.expires
            ));
        }
        self.check_resource(head, namespace)
    }

    /// Whether a key made it. A key that is not base64 is taken as it is.
    fn is_by(&self, key: &Secret) -> bool {
        let key = key.expose();
        let key = STANDARD.decode(key).unwrap_or_else(|_| key.into());
        Hmac::<Sha256>::new_from_slice(&key).is_ok_and(|mut mac| {
            mac.update(self.signed.as_bytes());
            mac.verify_slice(&self.code).is_ok()
        })
    }

    /// Whether it is for what is asked: the same host, and the path or one above it (assumed).
    fn check_resource(&self, head: &Head, namespace: &Namespace) -> Result<(), String> {
        let resource = &self.resource;
        let rest = resource.split_once("://").map_or(&**resource, |(_, r)| r);
        let rest = rest.split(['?', '#']).next().unwrap_or("");
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let asked = head.host().unwrap_or("");
        let wrong = |what: &str| {
            let path = asked_path(head);
            format!(
                "the {what} of the resource (the part 'r') is another: it is {resource:?}, expected is the address of {path:?} at {asked:?}"
            )
        };
        let host = host_name(authority);
        let own = [namespace.topic_host(), namespace.mqtt_host()];
        let is_own = own.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !is_own && !is_same_host(host, host_name(asked)) {
            return Err(wrong("host"));
        }
        let path = percent_decode_str(path.trim_matches('/')).decode_utf8_lossy();
        let asked = asked_path(head);
        let rest = asked.strip_prefix(&*path);
        let is_whole = path == head.path().trim_matches('/');
        if is_whole
            || path.is_empty()
            || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        {
            Ok(())
        } else {
            Err(wrong("path"))
        }
    }
}

/// The path that is asked for, without what is done there (`:publish`).
fn asked_path(head: &Head) -> String {
    let path = head.path().trim_matches('/');
    let path = path.rsplit_once(':').map_or(path, |(path, _)| path);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// A host without its port.
fn host_name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether two names are of one host; the machine's own has several.
fn is_same_host(one: &str, other: &str) -> bool {
    let is_here = |name: &str| {
        name.eq_ignore_ascii_case("localhost")
            || name
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    };
    one.eq_ignore_ascii_case(other) || (is_here(one) && is_here(other))
}

/// A time as the SDKs write it: ISO 8601 with or without an offset (then UTC), with `T` or a space,
/// or month, day, year and a clock of twelve hours.
fn read_expiry(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let in_utc = |time: DateTime| Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let american = |format: &&str| DateTime::strptime(format, text).ok();
    text.parse().ok().or_else(|| {
        let time = text.parse::<DateTime>().ok();
        in_utc(time.or_else(|| EXPIRIES.iter().find_map(american))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_expiry_is_read() {
        let wanted: Timestamp = "2026-01-02T15:04:05Z".parse().unwrap();
        for text in [
            "2026-01-02T15:04:05Z",
            "2026-01-02T16:04:05+01:00",
            "2026-01-02T15:04:05",
            "2026-01-02 15:04:05",
            "2026-01-02 15:04:05+00:00",
            "1/2/2026 3:04:05 PM",
            "01/02/2026 03:04:05 PM",
            "1/2/2026 15:04:05",
        ] {
            assert_eq!(read_expiry(text), Some(wanted), "{text}");
        }
        assert!(read_expiry("2026-01-02T15:04:05.123456").is_some());
        for text in ["", "soon", "1767366245", "13/40/2026 1:00:00 AM"] {
            assert_eq!(read_expiry(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_has_its_port_and_this_machine_several_names() {
        assert_eq!(host_name("localhost:4580"), "localhost");
        assert_eq!(host_name("[::1]:4580"), "[::1]");
        assert!(is_same_host("localhost", "127.0.0.1") && is_same_host("[::1]", "LOCALHOST"));
        assert!(is_same_host("A.example", "a.EXAMPLE") && !is_same_host("a", "localhost"));
    }
}
