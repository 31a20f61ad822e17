//! Which hosts are ours: the vendor's endpoints of this product, and every name under which an
//! emulator is reached on a machine or in its network. Any other host is another product's.

use std::net::IpAddr;

/// The host of a refusal to a request that named none.
const ANONYMOUS: &str = "onsmqtt.cn-hangzhou.aliyuncs.com";

/// Suffixes that no public name has: this machine, container and cluster networks, test names.
const LOCAL_SUFFIXES: [&str; 8] = [
    ".localhost",
    ".local",
    ".internal",
    ".localdomain",
    ".lan",
    ".home.arpa",
    ".svc",
    ".test",
];

/// The `HostId` of a refusal: the `Host` field as it came, without the scheme that one SDK
/// puts there by mistake.
pub(super) fn host_id(host: Option<&str>) -> &str {
    match without_scheme(host.unwrap_or("")) {
        "" => ANONYMOUS,
        host => host,
    }
}

/// Whether a request with this `Host` field is for this product. `more` are the configured
/// names: exact, `*.suffix`, or `*`.
pub(super) fn is_ours(host: Option<&str>, more: &[String]) -> bool {
    let name = without_port(without_scheme(host.unwrap_or(""))).to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let local = !name.contains('.')
        || name.parse::<IpAddr>().is_ok()
        || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    local || is_endpoint(name) || more.iter().any(|pattern| matches(pattern, name))
}

/// `onsmqtt.<region>.aliyuncs.com` and `onsmqtt-vpc.<region>.aliyuncs.com`; the region is not
/// checked, as nothing checks it on the wire.
fn is_endpoint(name: &str) -> bool {
    name.strip_suffix(".aliyuncs.com").is_some_and(|rest| {
        let product = rest.split('.').next().unwrap_or_default();
        matches!(product, "onsmqtt" | "onsmqtt-vpc")
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => name.ends_with(&suffix.to_ascii_lowercase()),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

fn without_scheme(host: &str) -> &str {
    let host = host.trim();
    let host = host
        .strip_prefix("http://")
        .or_else(|| host.strip_prefix("https://"))
        .unwrap_or(host);
    host.split('/').next().unwrap_or_default()
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names_addresses_and_the_products_endpoints_are_ours() {
        for host in [
            "127.0.0.1:4580",
            "http://127.0.0.1:4580",
            "[::1]:4580",
            "localhost",
            "mqttstack:4580",
            "aliyun.localhost:4580",
            "host.docker.internal:4580",
            "onsmqtt.cn-hangzhou.aliyuncs.com.",
            "onsmqtt-vpc.eu-central-1.aliyuncs.com",
            "",
        ] {
            assert!(is_ours(Some(host), &[]), "{host}");
        }
        assert!(is_ours(None, &[]));
    }

    #[test]
    fn other_products_and_public_names_are_not_ours_unless_configured() {
        for host in [
            "ecs.aliyuncs.com",
            "unknown.example.com:80",
            "onsmqtt.evil.com",
        ] {
            assert!(!is_ours(Some(host), &[]), "{host}");
            assert!(is_ours(Some(host), &["*".to_owned()]), "{host}");
        }
        let more = ["*.dev.example.com".to_owned(), "mq.example.com".to_owned()];
        assert!(is_ours(Some("a.dev.example.com:1"), &more));
        assert!(is_ours(Some("MQ.example.com"), &more));
        assert!(!is_ours(Some("example.com"), &more));
    }

    #[test]
    fn the_host_id_is_the_host_as_it_came_without_a_scheme() {
        assert_eq!(host_id(Some("127.0.0.1:21000")), "127.0.0.1:21000");
        assert_eq!(host_id(Some("http://127.0.0.1:21000")), "127.0.0.1:21000");
        assert_eq!(host_id(None), "onsmqtt.cn-hangzhou.aliyuncs.com");
    }
}
