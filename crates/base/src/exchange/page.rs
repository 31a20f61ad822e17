//! What tells a request of a web page from one of a program, and the pages that may send one: a
//! browser on this machine reaches the loopback address for any page that it shows.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// The hosts that are at home here beside the loopback ones: as a name by which this program is
/// called, and as the origin of a page.
#[derive(Debug, Clone, Default)]
pub struct Home(Arc<[String]>);

impl Home {
    /// The loopback hosts and these names or addresses; `*` stands for every host.
    pub fn new(hosts: &[String]) -> Self {
        Self(
            hosts
                .iter()
                .map(|host| host_name(host).into_owned())
                .collect(),
        )
    }

    /// Whether this value of `Host`, with or without a port, is at home.
    pub fn is_host(&self, host: &str) -> bool {
        let name = host_name(host);
        is_loopback(&name) || self.0.iter().any(|known| known == "*" || *known == *name)
    }

    /// Whether this value of `Origin` is of a page at home. `null` is of none: any page can make
    /// a browser send it.
    pub fn is_origin(&self, origin: &str) -> bool {
        if self.0.iter().any(|known| known == "*") {
            return true;
        }
        let web = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        web.is_some_and(|host| !host.contains(['/', '@']) && self.is_host(host))
    }
}

/// `localhost` and what is below it, and the loopback addresses.
fn is_loopback(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The name in a `Host`, in lower case: without port and final dot. One SDK sends a whole URL as
/// its `Host` (`http://127.0.0.1:4580`), so a scheme and a path are taken off as well.
pub fn host_name(host: &str) -> Cow<'_, str> {
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default().trim();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_hosts_and_the_configured_ones_are_at_home() {
        let home = Home::new(&["Mqttstack".to_owned(), "10.1.2.3".to_owned()]);
        for host in [
            "127.0.0.1:4580",
            "127.1.2.3",
            "LOCALHOST.:4580",
            "azure.localhost",
            "[::1]:4580",
            "[::ffff:127.0.0.1]",
            "http://127.0.0.1:4580",
            "mqttstack:4580",
            "10.1.2.3",
        ] {
            assert!(home.is_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example:4580",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "10.1.2.4",
            "[::2]",
            "mqttstack.evil.example",
            "*",
        ] {
            assert!(!home.is_host(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_at_home_by_its_host_alone() {
        let home = Home::new(&["mqttstack".to_owned()]);
        for origin in [
            "http://localhost:3000",
            "https://127.0.0.1:4543",
            "http://[::1]:1",
            "http://mqttstack",
        ] {
            assert!(home.is_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "http://localhost@evil.example",
            "http://evil.example/localhost",
            "file://",
            "localhost",
            "chrome-extension://localhost",
        ] {
            assert!(!home.is_origin(origin), "{origin}");
            assert!(Home::new(&["*".to_owned()]).is_origin(origin));
        }
    }
}
