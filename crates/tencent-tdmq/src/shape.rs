//! Which CONNECT is TDMQ's, by the shape of what it brings and not by whether that is right. The
//! dialects of other vendors are asked before; what no row here fits is an open client's.

use mqttstack_broker::dialect::Connect;

use super::jwt::{self, Presented};
use super::settings::{Settings, UnknownUsers};
use super::store::Resources;

/// A CONNECT, and what it is looked at with.
pub(super) struct Seen<'a> {
    pub connect: &'a Connect,
    pub settings: &'a Settings,
    /// Those of the instance that it is for.
    pub resources: &'a Resources,
}

type Row = fn(&Seen<'_>) -> bool;

/// The first three are documented: the access point, the certificates of the BYOC mode, users and
/// tokens (pages 1778/109711 and 1294/76415, seen on 2026-04-01). That a user nobody made and a
/// token that nobody reads are TDMQ's too is assumed.
const ROWS: [Row; 6] = [
    to_an_access_point,
    with_a_byoc_certificate,
    of_a_user,
    with_a_token_for_an_authenticator,
    with_a_token_in_the_user_name,
    in_the_shape_of_a_user,
];

/// Whether it is TDMQ's.
pub(super) fn is_own(seen: &Seen<'_>) -> bool {
    ROWS.iter().any(|fits| fits(seen))
}

/// Whether a client certificate is there that counts.
pub(super) fn has_byoc_certificate(settings: &Settings, connect: &Connect) -> bool {
    !settings.ca_certificates.is_empty() && !connect.tls.certificates.is_empty()
}

fn to_an_access_point(seen: &Seen<'_>) -> bool {
    let server_name = seen.connect.tls.server_name.as_deref();
    server_name.is_some_and(|name| name.ends_with(".mqtt.tencenttdmq.com"))
}

fn with_a_byoc_certificate(seen: &Seen<'_>) -> bool {
    has_byoc_certificate(seen.settings, seen.connect)
}

fn of_a_user(seen: &Seen<'_>) -> bool {
    let name = seen.connect.username.as_deref();
    name.is_some_and(|name| seen.resources.users.iter().any(|user| user.name == name))
}

fn with_a_token_for_an_authenticator(seen: &Seen<'_>) -> bool {
    let presented = Presented {
        username: seen.connect.username.as_deref(),
        password: seen.connect.password.as_deref(),
    };
    jwt::has_token(&seen.resources.authenticators, presented)
}

fn with_a_token_in_the_user_name(seen: &Seen<'_>) -> bool {
    let name = seen.connect.username.as_deref();
    claims_unknown(seen) && name.is_some_and(jwt::looks_like_token)
}

/// A name as `CreateUser` takes it, and a password.
fn in_the_shape_of_a_user(seen: &Seen<'_>) -> bool {
    let plain = |name: &str| {
        (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    claims_unknown(seen)
        && seen.connect.password.is_some()
        && seen.connect.username.as_deref().is_some_and(plain)
}

fn claims_unknown(seen: &Seen<'_>) -> bool {
    seen.settings.unknown_users == UnknownUsers::Refuse
}
