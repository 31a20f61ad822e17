//! `mqttstack healthcheck`: asks a running emulator's `readyz`, for container images that hold
//! nothing but this program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use axum::http::Uri;
use serde::Deserialize;

use super::{refuse, say};
use crate::config::{Config, Port};

const PATH: &str = "/_mqttstack/readyz";
/// For connecting, and again for the answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Config, url: Option<&str>) -> ExitCode {
    let url = match url.map_or_else(|| configured(config), |url| Ok(url.to_owned())) {
        Ok(url) => url,
        Err(why) => return refuse(&why),
    };
    let target = match Target::parse(&url) {
        Ok(target) => target,
        Err(why) => return refuse(&why),
    };
    let why = match target.ask() {
        Ok(200) => return ExitCode::SUCCESS,
        Ok(status) => format!("status {status}"),
        Err(error) => error.to_string(),
    };
    say(&format!("{url} is not ready: {why}"));
    ExitCode::FAILURE
}

#[derive(Deserialize)]
struct Announced {
    http: Option<String>,
}

/// The address of the configured HTTP listener; one at a free port is found in the ready file.
fn configured(config: &Config) -> Result<String, String> {
    match config.http_port {
        Port::Off => Err("--http-port is off: give an address with --url".to_owned()),
        Port::Number(0) => {
            let Some(path) = &config.ready_file else {
                return Err("--http-port is 0: give an address with --url, \
                            or the emulator's --ready-file"
                    .to_owned());
            };
            let failed = |why: String| format!("--ready-file {}: {why}", path.display());
            let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
            let announced: Announced =
                serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
            announced
                .http
                .ok_or_else(|| failed("it has no http address".to_owned()))
        }
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

struct Target {
    authority: String,
    address: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
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

    fn ask(&self) -> std::io::Result<u16> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
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

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other("the name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
