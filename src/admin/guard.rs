//! Refuses requests that a web page of another site may have sent: such a page, in a browser on this
//! machine, could otherwise reset the emulator and, by DNS rebinding, read all of it. Programs are not
//! authenticated.

use std::net::IpAddr;

use mqttstack_base::exchange::Request;
use mqttstack_base::exchange::page::{Home, host_name};
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// Settings of the admin API.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Names and addresses by which the admin API may be called, and from whose pages it and the
    /// WebSocket listeners may be, beside the loopback ones, `tls.names` and the address that the
    /// request came to; `*` stands for every one.
    pub hosts: Vec<String>,
}

/// Refuses what a foreign web page can send.
#[derive(Debug, Clone)]
pub struct Guard(Home);

impl Guard {
    /// Lets in what is at home.
    pub const fn new(home: Home) -> Self {
        Self(home)
    }

    /// Judges the request by the fields that a page cannot choose.
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        let headers = &request.head.headers;
        let text = |value| String::from_utf8_lossy(value).into_owned();
        for host in headers.all("host").map(|host| text(host)) {
            if !self.0.is_host(&host) && !is_address(&host, request.local.ip()) {
                return Err(Problem::Foreign {
                    field: "Host",
                    value: host,
                });
            }
        }
        let mut origins = headers.all("origin").map(|origin| text(origin)).peekable();
        let named = origins.peek().is_some();
        if let Some(value) = origins.find(|origin| !self.0.is_origin(origin)) {
            return Err(Problem::Foreign {
                field: "Origin",
                value,
            });
        }
        // A request without an origin: an image, a link, a script element.
        let sites = headers.all("sec-fetch-site").map(|site| text(site));
        let from_elsewhere = |site: &String| !matches!(&**site, "same-origin" | "none");
        match sites.into_iter().find(from_elsewhere) {
            Some(value) if !named => Err(Problem::Foreign {
                field: "Sec-Fetch-Site",
                value,
            }),
            _ => Ok(()),
        }
    }
}

/// Whether the host is the address that the request came to. No page has a name that is one.
fn is_address(host: &str, address: IpAddr) -> bool {
    let name = host_name(host);
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(&name);
    name.parse::<IpAddr>()
        .is_ok_and(|named| named.to_canonical() == address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttstack_base::exchange::{Head, Headers, Scheme, Version};

    fn checked(fields: &[(&str, &str)]) -> Option<&'static str> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).into(), value.to_string().into()));
        let request = Request {
            head: Head {
                method: "POST".into(),
                target: "/_mqttstack/reset".into(),
                version: Version::Http11,
                headers: Headers(fields.collect()),
                size: 0,
            },
            body: bytes::Bytes::new(),
            malformed: None,
            peer: ([10, 0, 0, 2], 1).into(),
            local: ([10, 0, 0, 1], 4580).into(),
            scheme: Scheme::Http,
            certificates: [].into(),
        };
        let guard = Guard::new(Home::new(&["mqttstack".to_owned()]));
        match guard.check(&request) {
            Ok(()) => None,
            Err(Problem::Foreign { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn programs_and_pages_at_home_are_let_in() {
        for fields in [
            &[][..],
            &[("Host", "127.0.0.1:4580")],
            &[("Host", "10.0.0.1:4580")],
            &[("Host", "mqttstack:4580")],
            &[("Host", "localhost"), ("Sec-Fetch-Site", "none")],
            &[("Host", "localhost"), ("Sec-Fetch-Site", "same-origin")],
            // A page of another port or loopback name names its origin.
            &[
                ("Origin", "http://localhost:3000"),
                ("Sec-Fetch-Site", "cross-site"),
            ],
            &[("Origin", "http://mqttstack")],
        ] {
            assert_eq!(checked(fields), None, "{fields:?}");
        }
    }

    #[test]
    fn what_a_foreign_page_can_send_is_refused_with_its_field() {
        for (field, value) in [
            ("Host", "evil.example:4580"),
            ("Host", ""),
            ("Host", "10.0.0.3:4580"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            assert_eq!(checked(&[(field, value)]), Some(field), "{value:?}");
            let twice = [("Host", "localhost"), ("Origin", "http://localhost")];
            let fields = [&twice[..], &[(field, value)]].concat();
            let expected = (field != "Sec-Fetch-Site").then_some(field);
            assert_eq!(checked(&fields), expected, "{value:?}");
        }
    }
}
