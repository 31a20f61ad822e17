//! Asks a running emulator's `readyz`, without a runtime or a TLS stack: for `healthcheck` and
//! `wait`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use axum::http::Uri;
use serde::Deserialize;

use crate::config::{Config, Port};

const PATH: &str = "/_mqttstack/readyz";
/// For connecting, and again for the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest ready file, in bytes.
const LONGEST: u64 = 64 << 10;

#[derive(Deserialize)]
struct Announced {
    http: Option<String>,
}

/// The address that a ready file names.
pub(super) fn announced(path: &Path) -> Result<String, String> {
    let failed = |why: String| format!("--ready-file {}: {why}", path.display());
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    let announced: Announced =
        serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    announced
        .http
        .ok_or_else(|| failed("it has no http address".to_owned()))
}

/// The address of the configured HTTP listener; one at a free port is found in the ready file.
pub(super) fn configured(config: &Config) -> Result<String, String> {
    match config.http_port {
        Port::Off => Err("--http-port is off: give an address with --url".to_owned()),
        Port::Number(0) => match &config.ready_file {
            Some(path) => announced(path),
            None => Err("--http-port is 0: give an address with --url, \
                         or the emulator's --ready-file"
                .to_owned()),
        },
        Port::Number(port) => {
            let host = match config.bind {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                other => other,
            };
            Ok(format!("http://{}", SocketAddr::new(host, port)))
        }
    }
}

/// Where to ask.
pub(super) struct Target {
    authority: String,
    address: String,
    path: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = || format!("--url {url}: expected http://HOST:PORT");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong());
        }
        let authority = uri.authority().ok_or_else(wrong)?;
        let path = match uri.path() {
            "" | "/" => PATH.to_owned(),
            path => path.to_owned(),
        };
        Ok(Self {
            authority: authority.to_string(),
            address: format!(
                "{}:{}",
                authority.host(),
                authority.port_u16().unwrap_or(80)
            ),
            path,
        })
    }

    /// Whether it is ready, or why not. `within` is for connecting, and again for the answer.
    pub(super) fn ask(&self, within: Duration) -> Result<(), String> {
        match self.status(within) {
            Ok(200) => Ok(()),
            Ok(status) => Err(format!("status {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn status(&self, within: Duration) -> std::io::Result<u16> {
        let mut stream = self.connect(within)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        write!(
            stream,
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.path, self.authority
        )?;
        let mut line = String::new();
        BufReader::new(stream.take(1_024)).read_line(&mut line)?;
        line.strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split_whitespace().nth(1))
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
    }

    fn connect(&self, within: Duration) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other("the name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, within) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
