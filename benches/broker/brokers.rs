//! The brokers that are measured: each one a process of its own, on a loopback port of its own,
//! with a configuration that holds nothing back and keeps nothing on disk.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::send_message::process::{Process, resident};

/// For a broker to accept its first client.
const PATIENCE: Duration = Duration::from_secs(10);
/// Kernel ticks per second, in which /proc counts processor time.
const TICKS: u64 = 100;

/// A broker that can be started.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// None for the emulator.
    other: Option<(&'static Other, PathBuf)>,
}

/// Somebody else's broker.
struct Other {
    name: &'static str,
    /// The argument with which it tells its version.
    version: &'static str,
    /// The arguments before the path of the configuration.
    arguments: &'static [&'static str],
    config: fn(u16) -> String,
}

const OTHERS: [Other; 2] = [
    Other {
        name: "mosquitto",
        version: "-h",
        arguments: &["-c"],
        config: mosquitto,
    },
    Other {
        name: "nanomq",
        version: "--version",
        arguments: &["start", "--conf"],
        config: nanomq,
    },
];

impl Kind {
    /// The emulator, and which of the others is there.
    pub(crate) fn installed() -> Vec<Self> {
        let emulator = Self {
            name: "mqttstack",
            version: env!("CARGO_PKG_VERSION").into(),
            other: None,
        };
        let others = OTHERS.iter().filter_map(|other| {
            let program = find(other.name)?;
            Some(Self {
                name: other.name,
                version: version(&program, other.version),
                other: Some((other, program)),
            })
        });
        std::iter::once(emulator).chain(others).collect()
    }

    pub(crate) fn start(&self) -> io::Result<Broker> {
        match &self.other {
            None => Ok(Broker::emulator()),
            Some((other, program)) => Broker::other(other, program),
        }
    }
}

/// In PATH or where Debian puts servers, which is not in every user's PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// The first word with a dot and a digit that the program says about itself.
fn version(program: &Path, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let output = output.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&output.unwrap_or_default()).into_owned();
    text.split_whitespace()
        .find(|word| word.contains('.') && word.contains(|letter: char| letter.is_ascii_digit()))
        .unwrap_or("of unknown version")
        .into()
}

/// As fast as it gets: no limit of queues and deliveries under way (the load tool's windows are the
/// limit), no delay of small packets, no log, nothing on disk.
fn mosquitto(port: u16) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n\
         max_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n"
    )
}

fn nanomq(port: u16) -> String {
    format!(
        "listeners.tcp {{ bind = \"127.0.0.1:{port}\" }}\n\
         mqtt {{ max_mqueue_len = 65535, max_packet_size = 1MB, property_size = 32 }}\n\
         log {{ to = [console], level = error }}\n\
         auth {{ allow_anonymous = true, no_match = allow, deny_action = ignore }}\n"
    )
}

/// A broker that accepts clients. It ends when this is dropped.
pub(crate) struct Broker {
    pub(crate) mqtt: SocketAddr,
    pub(crate) started_in: Duration,
    process: Running,
}

enum Running {
    Emulator(Process),
    /// Its configuration is deleted with it.
    Other(
        Child,
        #[expect(dead_code, reason = "kept for its drop")] tempfile::TempDir,
    ),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Other(child, _) = self {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Broker {
    fn emulator() -> Self {
        let process = Process::emulator();
        Self {
            mqtt: process.mqtt.unwrap(),
            started_in: process.started_in,
            process: Running::Emulator(process),
        }
    }

    fn other(other: &Other, program: &Path) -> io::Result<Self> {
        let begun = Instant::now();
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("broker.conf");
        let mqtt = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        std::fs::write(&file, (other.config)(mqtt.port()))?;
        let child = Command::new(program)
            .args(other.arguments)
            .arg(file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut running = Running::Other(child, folder);
        while !accepts(mqtt) {
            if let Running::Other(child, _) = &mut running
                && let Some(status) = child.try_wait()?
            {
                return Err(io::Error::other(format!("ended at its start, {status}")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("accepted no client"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Self {
            mqtt,
            started_in: begun.elapsed(),
            process: running,
        })
    }

    fn pid(&self) -> u32 {
        match &self.process {
            Running::Emulator(process) => process.child.id(),
            Running::Other(child, _) => child.id(),
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident(self.pid())
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        folder.map_or(0, Iterator::count)
    }

    /// Processor time so far: the broker's and the load tool's.
    pub(crate) fn processor_time(&self) -> [Duration; 2] {
        [self.pid(), std::process::id()].map(processor_time)
    }
}

/// Whether a CONNECT gets its CONNACK.
fn accepts(address: SocketAddr) -> bool {
    let answer = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05ready")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        io::Result::Ok(answer[0] == 0x20)
    };
    answer().unwrap_or(false)
}

/// In user and kernel mode, of all threads.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the last parenthesis may hold blanks; user and system time follow as
    // numbers 12 and 13.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}
