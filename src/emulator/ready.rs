//! The ready object: where everything listens. The program prints it as one line on stdout; the ready
//! file holds it exactly as long as the emulator is up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::listeners::Addresses;
use crate::edge::ADMIN;

/// Where everything listens, as URLs. A listener that is off is null.
#[derive(Debug, Clone, Serialize)]
pub struct Ready {
    /// Always true: there is no such object before.
    pub ready: bool,
    /// The process id.
    pub pid: u32,
    /// The version of mqttstack.
    pub version: &'static str,
    /// The edge.
    pub http: Option<String>,
    /// The edge over TLS.
    pub https: Option<String>,
    /// MQTT over TCP.
    pub mqtt: Option<String>,
    /// MQTT over TLS.
    pub mqtts: Option<String>,
    /// MQTT over WebSocket.
    pub ws: Option<String>,
    /// MQTT over WebSocket over TLS.
    pub wss: Option<String>,
    /// The admin API.
    pub admin: Option<String>,
    /// The file with the local authority's certificate, where one is kept on disk.
    pub ca_cert: Option<PathBuf>,
    /// The vendors' own ports, by surface; those that are off are left out.
    pub ports: Map<String, Value>,
}

impl Ready {
    pub(super) fn new(addresses: &Addresses, ca_cert: Option<PathBuf>) -> Self {
        let http = addresses.http.map(|address| url("http", address));
        let https = addresses.https.map(|address| url("https", address));
        let web_socket = |scheme, address| url(scheme, address) + "/mqtt";
        Self {
            ready: true,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            mqtt: addresses.mqtt.map(|address| url("mqtt", address)),
            mqtts: addresses.mqtts.map(|address| url("mqtts", address)),
            ws: addresses.ws.map(|address| web_socket("ws", address)),
            wss: addresses.wss.map(|address| web_socket("wss", address)),
            admin: http
                .as_ref()
                .or(https.as_ref())
                .map(|base| format!("{base}{ADMIN}")),
            http,
            https,
            ca_cert,
            ports: addresses
                .vendors
                .iter()
                .map(|(surface, address)| (surface.to_string(), url("http", *address).into()))
                .collect(),
        }
    }
}

/// A URL that can be connected to: where all addresses are bound, the loopback one.
fn url(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// The ready file of a running emulator; dropped, it is gone.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes the whole object or nothing: whoever sees the file can read all of it.
    pub(super) fn write(path: &Path, ready: &Ready) -> io::Result<Self> {
        let mut text = serde_json::to_vec(ready)?;
        text.push(b'\n');
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, path).inspect_err(|_| {
            // The error of the rename is the one to tell.
            let _ = std::fs::remove_file(&beside);
        })?;
        Ok(Self(path.to_owned()))
    }
}

/// Removes the ready file of a start that is over: whoever waits for this start must not find the
/// addresses of another. That of an emulator which still runs stays.
pub(crate) fn forget_former(path: &Path) {
    let running = std::fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Value>(&text).ok())
        .and_then(|ready| u32::try_from(ready["pid"].as_u64()?).ok())
        .is_some_and(runs_this_program);
    if !running {
        // Mostly there is none; one that cannot be removed cannot be written either.
        let _ = std::fs::remove_file(path);
    }
}

/// Whether another process of this program has that id. In a container the former start had the
/// id of this one.
fn runs_this_program(pid: u32) -> bool {
    let program = |id: &str| std::fs::read_link(format!("/proc/{id}/exe")).ok();
    pid != std::process::id()
        && program("self").is_some_and(|own| program(&pid.to_string()) == Some(own))
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the ready file was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttstack_base::exchange::Surface;

    #[test]
    fn urls_name_the_loopback_address_where_all_are_bound() {
        let addresses = Addresses {
            http: Some("0.0.0.0:4580".parse().unwrap()),
            https: Some("[::]:4543".parse().unwrap()),
            ws: Some("127.0.0.2:8083".parse().unwrap()),
            vendors: vec![(Surface::Nanomq, "0.0.0.0:8081".parse().unwrap())],
            ..Addresses::default()
        };
        let ready = serde_json::to_value(Ready::new(&addresses, None)).unwrap();
        assert_eq!(ready["http"], "http://127.0.0.1:4580");
        assert_eq!(ready["https"], "https://[::1]:4543");
        assert_eq!(ready["ws"], "ws://127.0.0.2:8083/mqtt");
        assert_eq!(ready["mqtt"], Value::Null);
        assert_eq!(ready["admin"], "http://127.0.0.1:4580/_mqttstack");
        assert_eq!(ready["ca_cert"], Value::Null);
        assert_eq!(
            ready["ports"],
            serde_json::json!({"nanomq": "http://127.0.0.1:8081"})
        );
    }
}
