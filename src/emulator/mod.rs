//! One emulator: its rooms, its listeners, its clean end. The program is a thin shell over it
//! (`cli/serve.rs`), and tests start one in process:
//!
//! ```no_run
//! # async fn example() -> Result<(), mqttstack::emulator::StartError> {
//! let emulator = mqttstack::Emulator::builder().start().await?;
//! println!("publish to {:?}", emulator.http_url());
//! println!("subscribe at {:?}", emulator.mqtt_addr());
//! emulator.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! `listeners.rs` opens the ports, `ready.rs` tells where they are.

mod listeners;
mod ready;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;

use self::listeners::{Addresses, Openings};
use self::ready::ReadyFile;
use crate::app::App;
use crate::broker::Broker;
use crate::broker::message::Message;
use crate::clock::Clock;
use crate::config::{ClockStart, Config, Seed};
use crate::edge::Edge;
use crate::exchange::Surface;
use crate::ids::Ids;
use crate::journal::{Entry, Journal, Ring};
use crate::quota::Quotas;
use crate::reset::{Baseline, Part};
use crate::server::Server;
use crate::vendor::Vendors;

pub use ready::Ready;

/// Why an emulator did not start. What had been opened until then is closed again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be opened.
    #[error("--{flag}: cannot listen at {address}: {error}")]
    Listen {
        /// The flag of the listener's port.
        flag: &'static str,
        /// Where it should have listened.
        address: SocketAddr,
        /// What the machine says.
        error: io::Error,
    },
    /// The local certificate authority could not be made, read or kept.
    #[error("--data-dir{}: {error}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Authority {
        /// The directory, if there is one.
        path: Option<PathBuf>,
        /// What went wrong.
        error: io::Error,
    },
    /// The ready file could not be written.
    #[error("--ready-file {}: {error}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the machine says.
        error: io::Error,
    },
}

/// What an emulator is started with. In process every listener opens at a free port.
#[derive(Debug, Clone)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Takes this configuration as it is, ports included.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts with the clock standing still at `at`.
    #[must_use]
    pub fn clock(mut self, at: Timestamp) -> Self {
        self.config.clock = ClockStart::Frozen(at);
        self
    }

    /// Makes ids and keys repeat from run to run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Seed::Fixed(seed);
        self
    }

    /// Starts; ready when this returns. Must be called inside a tokio runtime.
    pub async fn start(self) -> Result<Emulator, StartError> {
        Emulator::start(self.config).await
    }
}

/// A running emulator. It stops when it is dropped; [`Emulator::stop`] also waits for the end.
pub struct Emulator {
    app: App,
    baseline: Baseline,
    server: Server,
    addresses: Addresses,
    ready: Ready,
    ready_file: Option<ReadyFile>,
}

impl std::fmt::Debug for Emulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Emulator").field(&self.addresses).finish()
    }
}

impl Emulator {
    /// An emulator with the default configuration at free ports.
    pub fn builder() -> Builder {
        Builder {
            config: Config::free_ports(),
        }
    }
}
