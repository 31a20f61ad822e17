//! `mqttstack serve`: starts an emulator, says on stdout that it is ready, stops it cleanly on
//! SIGINT or SIGTERM. Logs go to stderr. The emulator itself is `emulator.rs`.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;
use crate::config::{Config, LogFormat, LogLevel};
use crate::emulator::{Emulator, Ready};

/// How long open connections may take to end after a signal. With the rest of the way out, this
/// keeps the promise of two seconds.
const STOP_WITHIN: Duration = Duration::from_millis(1_500);

pub(super) fn run(config: Config) -> Result<(), Failure> {
    start_log(config.log_format, config.log_level);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::system("threads"))?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Takes all the open files that the system allows: many shells allow 1,024 unless asked, which
/// some hundreds of MQTT clients use up.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    // Listened for before anything starts: whoever waits for the ready line may signal at once.
    let mut signals = Signals::listen().map_err(Failure::system("signals"))?;
    let emulator = tokio::select! {
        emulator = Emulator::builder().config(config).start() => emulator?,
        () = signals.any() => return Ok(()),
    };
    announce(emulator.ready()).map_err(Failure::system("stdout"))?;
    signals.any().await;
    tracing::info!("stopping");
    if tokio::time::timeout(STOP_WITHIN, emulator.stop())
        .await
        .is_err()
    {
        tracing::warn!("some connections did not end in time and were cut");
    }
    Ok(())
}

fn announce(ready: &Ready) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(ready)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Below debug, only warnings of the libraries are shown beside the emulator's own lines.
fn start_log(format: LogFormat, level: LogLevel) {
    let (own, libraries) = match level {
        LogLevel::Off => (LevelFilter::OFF, LevelFilter::OFF),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    let filter = Targets::new()
        .with_default(libraries)
        .with_target("mqttstack", own)
        // Every line of the engine names a client by its user name too, which may hold a password,
        // and its steps show whole packets. What matters of it the emulator says itself.
        .with_target("rmqtt", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(lines.with_ansi(ansi)).init();
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(windows)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        let interrupt = tokio::signal::windows::ctrl_c()?;
        Ok(Self { interrupt })
    }

    async fn any(&mut self) {
        self.interrupt.recv().await;
    }
}
