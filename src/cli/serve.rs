//! `mqttstack serve`: starts an emulator, says on stdout that it is ready, stops it cleanly on
//! SIGINT or SIGTERM. Logs go to stderr. The emulator itself is `emulator/mod.rs`.

use std::io::Write;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Failure, log};
use crate::config::Config;
use crate::emulator::{Emulator, Ready};

/// How long open connections may take to end after a signal. With the rest of the way out, this
/// keeps the promise of two seconds.
pub(super) const STOP_WITHIN: Duration = Duration::from_millis(1_500);
/// How long after a signal the program ends whatever still hangs in it.
const END_WITHIN: Duration = Duration::from_millis(1_900);

pub(super) fn run(config: Config) -> Result<(), Failure> {
    let log = log::start(config.log_format, config.log_level);
    raise_file_limit();
    // Listened for before anything starts: whoever waits for the ready line may signal at once.
    let stop = stop_on_signals().map_err(Failure::system("signals"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::system("threads"))?;
    let result = runtime.block_on(serve(config, stop));
    runtime.shutdown_timeout(Duration::from_millis(100));
    log.finish();
    result
}

/// Takes all the open files that the system allows: many shells allow 1,024 unless asked, which
/// some hundreds of MQTT clients use up.
pub(super) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// What is cancelled by the first signal. Signals have a thread and a runtime of their own, so
/// that they are heard however busy the serving threads are; that thread also ends the program
/// where the stop takes too long, or at the second signal.
fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen()?
    };
    let stop = CancellationToken::new();
    let told = stop.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                signals.any().await;
                told.cancel();
                let _ = timeout(END_WITHIN, signals.any()).await;
            });
            std::process::exit(0);
        })?;
    Ok(stop)
}

async fn serve(config: Config, stop: CancellationToken) -> Result<(), Failure> {
    let emulator = tokio::select! {
        emulator = Emulator::builder().config(config).start() => emulator?,
        () = stop.cancelled() => return Ok(()),
    };
    announce(emulator.ready()).map_err(Failure::system("stdout"))?;
    stop.cancelled().await;
    tracing::info!("stopping");
    if timeout(STOP_WITHIN, emulator.stop()).await.is_err() {
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
