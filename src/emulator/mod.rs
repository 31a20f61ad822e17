//! One emulator: starts journal, broker, vendors and listeners, and stops them cleanly. The program is
//! a thin shell over it (`cli/serve.rs`), and tests start one in process:
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
//! `rooms.rs` makes what all vendors share, `listeners.rs` opens the ports, `ready.rs` says where they
//! are.

mod listeners;
mod ready;
mod rooms;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Message;
use mqttstack_pipeline::App;
use mqttstack_pipeline::journal::{Entry, Ring};
use serde_json::Value;
use tokio::sync::watch;

use self::listeners::{Addresses, Http};
use self::ready::ReadyFile;
use crate::admin::{self, Guard, ResetPart, ResetScope, Surroundings};
use crate::bridge::Bridge;
use crate::config::{ClockStart, Config, Seed};
use crate::edge::Edge;
use crate::reset::Baseline;
use crate::server::{BindError, Server};
use crate::tls::{self, Authority};
use crate::vendors::{SettingsError, Vendors};

pub use ready::Ready;
pub(crate) use ready::forget_former;

/// How long a stop lets clients take what was published for them.
const DELIVERY: Duration = Duration::from_millis(400);

/// Why an emulator did not start. What had been opened until then is closed again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be opened.
    #[error("{0}")]
    Listen(#[from] BindError),
    /// A vendor cannot be what its settings say.
    #[error("{0}")]
    Vendor(#[from] SettingsError),
    /// The local certificate authority could not be made, read or kept.
    #[error("--data-dir: {0}")]
    Authority(tls::Error),
    /// A configured certificate or key cannot be used.
    #[error("{0}")]
    Certificates(tls::Error),
    /// The bridge cannot be what its settings say.
    #[error("{0}")]
    Bridge(String),
    /// The ready file could not be written.
    #[error("--ready-file: cannot write {}: {source}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the machine says.
        source: io::Error,
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
#[derive(Debug)]
pub struct Emulator {
    app: App,
    baseline: Baseline,
    server: Server,
    addresses: Addresses,
    ready: Ready,
    ready_file: Option<ReadyFile>,
    ca_pem: String,
    bridge: Option<Bridge>,
}

impl Emulator {
    /// An emulator with the default configuration at free ports.
    pub fn builder() -> Builder {
        Builder {
            config: Config::free_ports(),
        }
    }

    async fn start(config: Config) -> Result<Self, StartError> {
        if let Some(path) = &config.ready_file {
            forget_former(path);
        }
        let vendors = vendors(&config)?;
        config.bridge.check().map_err(StartError::Bridge)?;
        let keys = Ids::named(config.seed.number(), "tls");
        let authority = Authority::open_with(&config.tls, config.data_dir.as_deref(), &keys)
            .map_err(of_certificates)?;
        let mut addresses = Addresses::default();
        let http = Http::bind(&config, &authority, &mut addresses).await?;
        let app = rooms::build(&config).await;
        vendors.started(&app);
        let opened = listeners::open_mqtt(&config, &app.broker, &authority, &mut addresses);
        let announced = opened.and_then(|()| announce(&config, &addresses));
        let (ready, ready_file) = match announced {
            Ok(announced) => announced,
            Err(error) => {
                app.broker.stop().await;
                return Err(error);
            }
        };
        let bridge = Bridge::start(&config.bridge, &app.broker).map_err(StartError::Bridge)?;
        let baseline = Baseline::new(app.clone(), vendors.clone(), config.clock);
        let admin = admin::router(
            app.clone(),
            Surroundings {
                ca_pem: Some(authority.ca_pem().to_owned()),
                surfaces: Vendors::EMULATED.to_vec(),
                isolation: config.mqtt.isolation.as_str().to_owned(),
                ready: known(&ready),
                reset: baseline.clone().into_reset(),
            },
        );
        let server = Server::new(config.http.clone());
        let guard = Guard::new(rooms::home(&config));
        let edge = Edge::new(app.clone(), vendors, (admin, guard), server.cut());
        http.serve(&server, &edge);
        Ok(Self {
            app,
            baseline,
            server,
            addresses,
            ready,
            ready_file,
            ca_pem: authority.ca_pem().to_owned(),
            bridge,
        })
    }

    /// Where everything listens, as the program announces it.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The edge, `http://127.0.0.1:PORT`; `None` where that listener is off.
    pub fn http_url(&self) -> Option<&str> {
        self.ready.http.as_deref()
    }

    /// The edge over TLS.
    pub fn https_url(&self) -> Option<&str> {
        self.ready.https.as_deref()
    }

    /// One vendor's own port, `http://127.0.0.1:PORT`.
    pub fn vendor_url(&self, surface: Surface) -> Option<&str> {
        self.ready.ports.get(surface.as_str())?.as_str()
    }

    /// MQTT over TCP.
    pub fn mqtt_addr(&self) -> Option<SocketAddr> {
        self.addresses.mqtt
    }

    /// MQTT over TLS.
    pub fn mqtts_addr(&self) -> Option<SocketAddr> {
        self.addresses.mqtts
    }

    /// MQTT over WebSocket, path `/mqtt`.
    pub fn ws_addr(&self) -> Option<SocketAddr> {
        self.addresses.ws
    }

    /// MQTT over WebSocket over TLS, path `/mqtt`.
    pub fn wss_addr(&self) -> Option<SocketAddr> {
        self.addresses.wss
    }

    /// The certificate of the local authority in PEM, for clients of the TLS listeners.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The shared rooms.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The emulator's clock.
    pub fn clock(&self) -> &Clock {
        &self.app.clock
    }

    /// Every request that came.
    pub fn requests(&self) -> &Ring<Entry> {
        self.app.journal.requests()
    }

    /// Every message that the broker took.
    pub fn messages(&self) -> &Ring<Message> {
        self.app.journal.messages()
    }

    /// Puts everything back to the state at the start.
    pub async fn reset(&self) {
        self.baseline.restore(&ResetScope::all()).await;
    }

    /// Puts these parts back to the state at the start.
    pub async fn reset_only(&self, parts: impl IntoIterator<Item = ResetPart>) {
        self.baseline.restore(&parts.into_iter().collect()).await;
    }

    /// Stops: takes no more, lets requests in flight end for about a second and what was taken be
    /// delivered, closes the broker.
    pub async fn stop(mut self) {
        self.ready_file = None;
        self.bridge = None;
        self.app.journal.reading().stop();
        self.app.broker.take_no_more();
        self.server.stop().await;
        self.app.broker.drain(DELIVERY).await;
        self.app.broker.stop().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.app.journal.reading().stop();
        // The server stops with its own drop; the broker has to be told, which takes awaiting.
        // After `stop` there is nothing left to do and telling it again does no harm.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let broker = self.app.broker.clone();
            runtime.spawn(async move { broker.stop().await });
        }
    }
}

/// Whether an emulator could start with this configuration, as far as that can be told without
/// opening a port or writing a file.
pub fn check(config: &Config) -> Result<(), StartError> {
    vendors(config)?;
    config.bridge.check().map_err(StartError::Bridge)?;
    tls::check(&config.tls).map_err(of_certificates)
}

fn vendors(config: &Config) -> Result<Vendors, StartError> {
    Ok(Vendors::new(
        config.aliyun.clone(),
        config.azure.clone(),
        config.nanomq.clone(),
        config.tencent_iot.clone(),
        config.tencent_tdmq.clone(),
        config.tencent_cloud.clone(),
    )?)
}

fn of_certificates(error: tls::Error) -> StartError {
    match error {
        tls::Error::Configured { .. } => StartError::Certificates(error),
        other => StartError::Authority(other),
    }
}

/// The admin API is asked only once everything listens, so it knows from the beginning.
fn known(ready: &Ready) -> watch::Receiver<Option<Arc<Value>>> {
    let value = serde_json::to_value(ready).ok().map(Arc::new);
    watch::Sender::new(value).subscribe()
}

fn announce(
    config: &Config,
    addresses: &Addresses,
) -> Result<(Ready, Option<ReadyFile>), StartError> {
    let ca_cert = config
        .data_dir
        .as_deref()
        .map(|dir| dir.join(tls::CERTIFICATE_FILE));
    let ready = Ready::new(addresses, ca_cert);
    let file = match &config.ready_file {
        None => None,
        Some(path) => {
            let written = ReadyFile::write(path, &ready);
            Some(written.map_err(|source| StartError::ReadyFile {
                path: path.clone(),
                source,
            })?)
        }
    };
    Ok((ready, file))
}
