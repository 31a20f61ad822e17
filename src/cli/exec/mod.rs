//! `mqttstack exec -- CMD`: an emulator of its own for one command, at free ports. What the command
//! is told is `environment.rs`, what is said once it has ended `summary.rs`.
//!
//! The command has stdin, stdout and stderr to itself: the emulator writes nothing to stdout, and
//! to stderr only warnings and the summary.

mod environment;
mod summary;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::environment::Environment;
use self::summary::{Summary, Watch};
use super::serve::{STOP_WITHIN, raise_file_limit};
use super::{Failure, log, refuse, say};
use crate::config::Config;
use crate::emulator::Emulator;

pub(super) use self::environment::tells;

/// The exit code where the command cannot be started, as shells have it.
const NOT_STARTED: u8 = 127;
/// What shells add to the number of the signal that has ended a command.
const KILLED: i32 = 128;

/// The signals that are passed on, and whether a terminal sends them to the command itself.
const PASSED_ON: [(Signal, bool); 6] = [
    (Signal::TERM, false),
    (Signal::USR1, false),
    (Signal::USR2, false),
    (Signal::INT, true),
    (Signal::QUIT, true),
    (Signal::HUP, true),
];

/// How it went.
enum Ended {
    /// The command could not be started.
    NotStarted(io::Error),
    /// It has ended.
    With(ExitStatus, Summary),
}

pub(super) fn run(config: Config, command: &[OsString], json: bool) -> ExitCode {
    let log = log::start(config.log_format, config.log_level);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&Failure::system("threads")(error).to_string()),
    };
    let ended = runtime.block_on(supervise(config, command));
    runtime.shutdown_timeout(Duration::from_millis(100));
    log.finish();
    match ended {
        Err(failure) => refuse(&failure.to_string()),
        Ok(Ended::NotStarted(error)) => {
            let name = command.first().map(OsString::as_os_str).unwrap_or_default();
            say(&format!("exec: cannot start {}: {error}", name.display()));
            ExitCode::from(NOT_STARTED)
        }
        Ok(Ended::With(status, summary)) => {
            let text = if json { summary.json() } else { summary.text() };
            // With stderr closed there is nobody left to tell.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(code(status))
        }
    }
}

/// The exit code of a command as shells tell it.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| KILLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

async fn supervise(config: Config, command: &[OsString]) -> Result<Ended, Failure> {
    // Listened for before anything starts; what comes meanwhile is passed on later.
    let mut signals = listen().map_err(Failure::system("signals"))?;
    let emulator = Emulator::builder().config(config.clone()).start().await?;
    let watch = Watch::start(&emulator.app().journal);
    let environment = Environment::new(&config, &emulator)
        .map_err(Failure::system("exec: a file in the temporary folder"))?;
    let mut child = match start(command, &environment) {
        Ok(child) => child,
        Err(error) => return Ok(Ended::NotStarted(error)),
    };
    // The command keeps the limit that it would have without us.
    raise_file_limit();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(Failure::system("exec: the command"))?,
            Some(signal) = signals.recv() => pass_on(&child, signal),
        }
    };
    if timeout(STOP_WITHIN, emulator.stop()).await.is_err() {
        tracing::warn!("some connections did not end in time and were cut");
    }
    Ok(Ended::With(status, watch.end().await))
}

fn start(command: &[OsString], environment: &Environment) -> io::Result<Child> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(environment.set());
    for name in environment.removed() {
        command.env_remove(name);
    }
    command.spawn()
}

/// Every signal that is to be passed on, as it comes.
fn listen() -> io::Result<mpsc::Receiver<(Signal, bool)>> {
    let (tell, signals) = mpsc::channel(PASSED_ON.len());
    for (signal, of_terminals) in PASSED_ON {
        let mut heard = unix::signal(SignalKind::from_raw(signal.as_raw()))?;
        let tell = tell.clone();
        tokio::spawn(async move {
            while heard.recv().await.is_some() {
                if tell.send((signal, of_terminals)).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(signals)
}

/// A terminal sends its signals to every process in the foreground, so the command has them already.
fn pass_on(child: &Child, (signal, of_terminals): (Signal, bool)) {
    if of_terminals && tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp()) {
        return;
    }
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(id) = id.and_then(Pid::from_raw)
        && let Err(error) = kill_process(id, signal)
    {
        tracing::warn!(%error, ?signal, "the command did not get a signal");
    }
}
