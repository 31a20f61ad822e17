//! The table of hosts and paths of every vendor: first the host decides, then the path. The 404 that
//! lists the vendors is made from it too.
//!
//! Patterns: `{name}` stands for one or more characters without the separator (`.` in a host,
//! `/` in a path), `*` at the end for anything. Vendor hosts are those of the vendors' pages
//! (documented); the `.localhost` names are ours and need no name server.

use std::net::IpAddr;

use mqttstack_base::exchange::page::host_name;
use mqttstack_base::exchange::{Head, Request, Surface};
use percent_encoding::percent_decode_str;

pub(crate) use crate::admin::PREFIX as ADMIN;

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A vendor.
    Vendor(Surface),
    /// A vendor that only the form in the body names.
    Form,
    /// The admin API.
    Admin,
    /// Nobody.
    Nowhere,
}

/// What makes a request a surface's own.
pub(super) struct Row {
    pub(super) surface: Surface,
    pub(super) hosts: &'static [&'static str],
    pub(super) paths: &'static [&'static str],
}

/// In the order in which paths are tried: Azure's topics before TDMQ's, which are all others.
pub(super) const ROWS: [Row; 5] = [
    Row {
        surface: Surface::TencentIot,
        hosts: &[
            "tencent-iot.localhost",
            "gateway.tencentdevices.com",
            "{region}.gateway.tencentdevices.com",
            "iotcloud.tencentcloudapi.com",
            "iotcloud.{region}.tencentcloudapi.com",
        ],
        paths: &["/device/*", "/register/dev"],
    },
    Row {
        surface: Surface::Azure,
        hosts: &[
            "azure.localhost",
            "{namespace}.azure.localhost",
            "{namespace}.{region}.ts.eventgrid.azure.net",
            "{namespace}.{region}.eventgrid.azure.net",
            "login.microsoftonline.com",
            "169.254.169.254",
        ],
        paths: &[
            "/topics/{topic}:publish",
            "/topics/{topic}/eventsubscriptions/*",
            "/mqtt/*",
            "/metadata/identity/*",
            "/msi/*",
            "/subscriptions/*",
            "/{tenant}/.well-known/*",
            "/{tenant}/discovery/*",
            "/{tenant}/oauth2/*",
            "/{tenant}/v2.0/*",
        ],
    },
    Row {
        surface: Surface::TencentTdmq,
        hosts: &[
            "tencent-tdmq.localhost",
            "{instance}.mqtt.tencenttdmq.com",
            "mqtt.tencentcloudapi.com",
            "mqtt.{region}.tencentcloudapi.com",
        ],
        paths: &["/topics/*", "/client-id/*", "/keep-alive"],
    },
    Row {
        surface: Surface::Nanomq,
        hosts: &["nanomq.localhost"],
        paths: &["/api/v1*", "/api/v4*"],
    },
    Row {
        surface: Surface::Aliyun,
        hosts: &[
            "aliyun.localhost",
            "onsmqtt.{region}.aliyuncs.com",
            "onsmqtt-vpc.{region}.aliyuncs.com",
        ],
        paths: &["/"],
    },
];

/// The host names of every surface, patterns among them.
pub(crate) fn hosts() -> impl Iterator<Item = &'static str> {
    ROWS.iter().flat_map(|row| row.hosts.iter().copied())
}

/// Whose request it is.
pub(super) fn destination(head: &Head) -> Destination {
    if let Some(surface) = head.host().and_then(by_host) {
        return Destination::Vendor(surface);
    }
    if head.target.is_empty() {
        // Bytes of which not even that could be read.
        return Destination::Nowhere;
    }
    let path = match head.path() {
        "" => "/",
        path => path,
    };
    if let Some(rest) = path.strip_prefix(ADMIN)
        && (rest.is_empty() || rest.starts_with('/'))
    {
        return Destination::Admin;
    }
    if path == "/" && head.headers.get("x-tc-action").is_some() {
        return Destination::Vendor(cloud_product(head));
    }
    if path == "/"
        && let Some(surface) = signed_in_parameters(head.raw_query().as_bytes())
    {
        return Destination::Vendor(surface);
    }
    if path == "/" && is_form(head) {
        return Destination::Form;
    }
    by_path(path)
        .or_else(|| {
            // NanoMQ's server decodes the path before it looks for whose it is.
            let decoded = percent_decode_str(path).decode_utf8().ok()?;
            by_path(&decoded).filter(|surface| *surface == Surface::Nanomq)
        })
        .map_or(Destination::Nowhere, Destination::Vendor)
}

fn by_path(path: &str) -> Option<Surface> {
    ROWS.iter()
        .find(|row| row.paths.iter().any(|pattern| matches(pattern, path, '/')))
        .map(|row| row.surface)
}

/// Whose a form is: the older signature of Tencent's cloud API puts everything that tells it from a
/// call to Aliyun into the form of a POST.
pub(super) fn of_form(request: &Request) -> Surface {
    signed_in_parameters(&request.body).unwrap_or(Surface::Aliyun)
}

fn is_form(head: &Head) -> bool {
    let media = head.headers.text("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The surface that has this host name.
pub(super) fn surface_of_host(host: &str) -> Option<Surface> {
    by_host(host)
}

/// Whether requests to this server name may come with a client certificate: those to TDMQ's data
/// plane, and those to no vendor's name.
pub(crate) fn takes_certificates(server_name: Option<&str>) -> bool {
    let Some(name) = server_name else {
        return true;
    };
    match by_host(name) {
        None => true,
        Some(Surface::TencentTdmq) => !host_name(name).ends_with(".tencentcloudapi.com"),
        Some(_) => false,
    }
}

/// Whether MQTT clients over WebSocket that name this server may come with a certificate: those of
/// Azure's broker. Browsers fail on the question, and no page of theirs names it here.
pub(crate) fn takes_certificates_over_websocket(server_name: Option<&str>) -> bool {
    server_name.is_some_and(|name| {
        by_host(name) == Some(Surface::Azure)
            && host_name(name).ends_with(".ts.eventgrid.azure.net")
    })
}

/// Which of Tencent's two products parameters with a `SecretId` are for, by their `Version`.
fn signed_in_parameters(parameters: &[u8]) -> Option<Surface> {
    let mut pairs = parameters.split(|byte| *byte == b'&');
    let has = |wanted: &[u8]| pairs.clone().any(|pair| pair == wanted);
    let tdmq = has(b"Version=2024-05-16");
    pairs
        .any(|pair| pair.starts_with(b"SecretId="))
        .then_some(if tdmq {
            Surface::TencentTdmq
        } else {
            Surface::TencentIot
        })
}

fn by_host(host: &str) -> Option<Surface> {
    let name = host_name(host);
    // What most requests name, and no row does.
    if name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) {
        return None;
    }
    ROWS.iter()
        .find(|row| row.hosts.iter().any(|pattern| matches(pattern, &name, '.')))
        .map(|row| row.surface)
}

/// Which of Tencent's two products a cloud API call is for, at a host that does not say: the
/// service in the signature's scope (`Credential=ID/DATE/SERVICE/tc3_request`), else the API
/// version, which only TDMQ for MQTT numbers so.
fn cloud_product(head: &Head) -> Surface {
    let service = head
        .headers
        .text("authorization")
        .and_then(|value| value.split_once("Credential="))
        .and_then(|(_, scope)| scope.split(',').next()?.split('/').nth(2));
    let tdmq = match service {
        Some("mqtt") => true,
        Some("iotcloud") => false,
        _ => head.headers.text("x-tc-version") == Some("2024-05-16"),
    };
    if tdmq {
        Surface::TencentTdmq
    } else {
        Surface::TencentIot
    }
}

/// Whether `text` has the form of `pattern`.
fn matches(pattern: &str, text: &str, separator: char) -> bool {
    let Some(special) = pattern.find(['{', '*']) else {
        return pattern == text;
    };
    let (literal, rest) = pattern.split_at(special);
    let Some(text) = text.strip_prefix(literal) else {
        return false;
    };
    let Some((_, rest)) = rest.split_once('}') else {
        // A `*`: it is last.
        return true;
    };
    // The longest piece first: in `/topics/{topic}:publish` a topic may hold colons.
    let piece = text.find(separator).unwrap_or(text.len());
    (1..=piece)
        .rev()
        .filter(|end| text.is_char_boundary(*end))
        .any(|end| matches(rest, &text[end..], separator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttstack_base::exchange::{Headers, Version};
    use proptest::prelude::*;

    fn head(target: &str, headers: &[(&str, &str)]) -> Head {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), value.to_string().into()))
            .collect();
        Head {
            method: "GET".into(),
            target: target.into(),
            version: Version::Http11,
            headers: Headers(headers),
            size: 0,
        }
    }

    fn at(host: &str, target: &str) -> Destination {
        destination(&head(target, &[("Host", host)]))
    }

    #[test]
    fn a_vendors_host_decides_before_the_path() {
        for (host, surface) in [
            ("onsmqtt.cn-hangzhou.aliyuncs.com", Surface::Aliyun),
            ("onsmqtt-vpc.cn-hangzhou.aliyuncs.com:80", Surface::Aliyun),
            ("ALIYUN.localhost.:4580", Surface::Aliyun),
            ("http://aliyun.localhost:4580", Surface::Aliyun),
            (
                "ap-guangzhou.gateway.tencentdevices.com",
                Surface::TencentIot,
            ),
            ("iotcloud.tencentcloudapi.com", Surface::TencentIot),
            ("tencent-iot.localhost:1", Surface::TencentIot),
            ("mqtt.tencentcloudapi.com", Surface::TencentTdmq),
            (
                "mqtt-example-sh-public.mqtt.tencenttdmq.com",
                Surface::TencentTdmq,
            ),
            ("mqtt.ap-beijing.tencentcloudapi.com", Surface::TencentTdmq),
            ("ns.westus3-1.ts.eventgrid.azure.net", Surface::Azure),
            ("ns.westus3-1.eventgrid.azure.net", Surface::Azure),
            ("nsname.azure.localhost", Surface::Azure),
            ("login.microsoftonline.com", Surface::Azure),
            ("169.254.169.254", Surface::Azure),
            ("nanomq.localhost", Surface::Nanomq),
        ] {
            for target in ["/", "/api/v4/x", "/nowhere", "/_mqttstack/livez"] {
                assert_eq!(at(host, target), Destination::Vendor(surface), "{host}");
            }
        }
    }

    #[test]
    fn at_any_other_host_the_path_decides() {
        use Destination::{Admin, Nowhere, Vendor};
        for (target, destination) in [
            ("/", Vendor(Surface::Aliyun)),
            ("/?Action=SendMessage", Vendor(Surface::Aliyun)),
            ("?Action=SendMessage", Vendor(Surface::Aliyun)),
            ("http://elsewhere/?Action=x", Vendor(Surface::Aliyun)),
            ("/device/publish", Vendor(Surface::TencentIot)),
            ("/register/dev", Vendor(Surface::TencentIot)),
            ("/register/device", Nowhere),
            ("/topics/a:publish", Vendor(Surface::Azure)),
            ("/topics/a:b:publish?x=1", Vendor(Surface::Azure)),
            ("/topics/a/eventsubscriptions/s", Vendor(Surface::Azure)),
            ("/mqtt/messages?topic=a", Vendor(Surface::Azure)),
            ("/metadata/identity/oauth2/token", Vendor(Surface::Azure)),
            ("/common/discovery/instance", Vendor(Surface::Azure)),
            ("/msi/token?resource=r", Vendor(Surface::Azure)),
            (
                "/adfs/.well-known/openid-configuration",
                Vendor(Surface::Azure),
            ),
            ("/tenant/oauth2/v2.0/token", Vendor(Surface::Azure)),
            (
                "/tenant/v2.0/.well-known/openid-configuration",
                Vendor(Surface::Azure),
            ),
            ("//oauth2/token", Nowhere),
            ("/topics/a", Vendor(Surface::TencentTdmq)),
            ("/topics/a/b:publish", Vendor(Surface::TencentTdmq)),
            ("/topics/x/oauth2/y", Vendor(Surface::TencentTdmq)),
            ("/topics/a%2Fb?qos=1", Vendor(Surface::TencentTdmq)),
            ("/client-id/x/status", Vendor(Surface::TencentTdmq)),
            ("/keep-alive?client-id=x", Vendor(Surface::TencentTdmq)),
            ("/api/v1", Vendor(Surface::Nanomq)),
            ("/api/v4/mqtt/publish", Vendor(Surface::Nanomq)),
            ("/api/v2", Nowhere),
            ("/_mqttstack", Admin),
            ("/_mqttstack/requests?limit=1", Admin),
            ("/_mqttstacks", Nowhere),
            ("/favicon.ico", Nowhere),
            ("*", Nowhere),
        ] {
            for host in ["127.0.0.1:4580", "http://127.0.0.1:4580", "[::1]:80", ""] {
                assert_eq!(at(host, target), destination, "{host} {target}");
            }
        }
    }

    #[test]
    fn a_cloud_api_call_goes_to_the_product_it_is_signed_for() {
        let call = |version: &str, authorization: &str| {
            destination(&head(
                "/",
                &[
                    ("X-TC-Action", "PublishMessage"),
                    ("X-TC-Version", version),
                    ("Authorization", authorization),
                ],
            ))
        };
        let signed =
            |service| format!("TC3-HMAC-SHA256 Credential=ID/2026-11-21/{service}/tc3_request, x");
        let (hub, tdmq) = (
            Destination::Vendor(Surface::TencentIot),
            Destination::Vendor(Surface::TencentTdmq),
        );
        assert_eq!(call("2021-04-08", &signed("iotcloud")), hub);
        assert_eq!(call("2024-05-16", &signed("mqtt")), tdmq);
        assert_eq!(call("2024-05-16", ""), tdmq);
        assert_eq!(call("2018-06-14", "Basic x"), hub);
    }

    #[test]
    fn parameters_with_a_secret_id_are_tencents_in_a_query_and_in_a_form() {
        let query = |query: &str| at("localhost", &format!("/?{query}"));
        let hub = Destination::Vendor(Surface::TencentIot);
        let tdmq = Destination::Vendor(Surface::TencentTdmq);
        let aliyun = Destination::Vendor(Surface::Aliyun);
        assert_eq!(query("Action=A&Version=2021-04-08&SecretId=x"), hub);
        assert_eq!(query("SecretId=x&Version=2024-05-16"), tdmq);
        assert_eq!(query("Action=A&AccessKeyId=x"), aliyun);
        let form = |body: &'static str| {
            let content_type = (
                "Content-Type",
                "Application/X-WWW-Form-Urlencoded; charset=utf-8",
            );
            let mut head = head("/", &[("Host", "localhost"), content_type]);
            head.method = "POST".into();
            assert_eq!(destination(&head), Destination::Form);
            of_form(&Request {
                head,
                body: body.into(),
                malformed: None,
                peer: ([127, 0, 0, 1], 1).into(),
                local: ([127, 0, 0, 1], 2).into(),
                scheme: mqttstack_base::exchange::Scheme::Http,
                certificates: [].into(),
            })
        };
        let [hub, tdmq, aliyun] = [Surface::TencentIot, Surface::TencentTdmq, Surface::Aliyun];
        assert_eq!(form("Version=2021-04-08&SecretId=x"), hub);
        assert_eq!(form("Version=2024-05-16&SecretId=x"), tdmq);
        assert_eq!(form("AccessKeyId=x&Action=SecretId"), aliyun);
        let media = ("Content-Type", "application/x-www-form-urlencoded");
        let named = head("/", &[("Host", "aliyun.localhost"), media]);
        assert_eq!(destination(&named), Destination::Vendor(aliyun));
    }

    #[test]
    fn certificates_are_for_tdmqs_data_plane_and_for_names_of_nobody() {
        for (name, takes) in [
            (None, true),
            (Some("localhost"), true),
            (Some("mqtt-x-public.mqtt.tencenttdmq.com"), true),
            (Some("tencent-tdmq.localhost"), true),
            (Some("mqtt.tencentcloudapi.com"), false),
            (Some("gateway.tencentdevices.com"), false),
            (Some("iotcloud.tencentcloudapi.com"), false),
            (Some("onsmqtt.cn-hangzhou.aliyuncs.com"), false),
            (Some("ns.westus3-1.eventgrid.azure.net"), false),
            (Some("login.microsoftonline.com"), false),
            (Some("nanomq.localhost"), false),
        ] {
            assert_eq!(takes_certificates(name), takes, "{name:?}");
        }
    }

    #[test]
    fn over_websocket_certificates_are_for_azures_broker_alone() {
        for (name, takes) in [
            (None, false),
            (Some("localhost"), false),
            (Some("azure.localhost"), false),
            (Some("ns.westus3-1.eventgrid.azure.net"), false),
            (Some("ns.westus3-1.ts.eventgrid.azure.net"), true),
            (Some("NS.WestUS3-1.TS.eventgrid.azure.net"), true),
            (Some("mqtt-x-public.mqtt.tencenttdmq.com"), false),
        ] {
            assert_eq!(takes_certificates_over_websocket(name), takes, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_host_and_no_path_breaks_the_routing(host in ".*", target in ".*") {
            at(&host, &target);
        }
    }
}
