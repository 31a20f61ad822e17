//! A program that is measured, as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running program that says on its first line where it listens.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) started_in: Duration,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let begun = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let started_in = begun.elapsed();
        let (http, mqtt) = match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(ready) if ready.is_object() => {
                let address = |key: &str, scheme: &str| {
                    ready[key]
                        .as_str()
                        .unwrap()
                        .strip_prefix(scheme)
                        .unwrap()
                        .parse()
                        .unwrap()
                };
                (address("http", "http://"), Some(address("mqtt", "mqtt://")))
            }
            _ => (line.trim().parse().unwrap(), None),
        };
        Self {
            child,
            http,
            mqtt,
            started_in,
        }
    }

    pub(crate) fn emulator() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
        for port in ["http", "https", "mqtt", "mqtts", "ws", "wss"] {
            command.args([format!("--{port}-port"), "0".into()]);
        }
        command.args(["--log-level", "warn", "--config"]);
        // The quota would refuse what is to be measured.
        let file = std::env::temp_dir().join("mqttstack-bench.toml");
        std::fs::write(&file, "[aliyun.quotas]\nSendMessage = 0\n").unwrap();
        command.arg(file).env_clear();
        Self::start(command)
    }

    /// The bare loop: this benchmark itself, called with `--bare`.
    pub(crate) fn bare() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--bare");
        Self::start(command)
    }
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}
