//! The command line: `serve` (the default), `exec`, `wait`, `healthcheck`, `hosts` and `config`,
//! their flags, and the
//! `MQTTSTACK_*` environment, which is read here (`arguments.rs`) and nowhere else. The values that
//! they override are in `config/mod.rs`; `serve` starts `emulator/mod.rs`.
//!
//! Exit codes: 0 a clean end, 1 `healthcheck` or `wait` found it not ready, 2 anything that keeps
//! the program from doing what it was asked to, said in one line on stderr. `exec` ends with the
//! code of its command.

mod arguments;
mod exec;
mod healthcheck;
mod hosts;
mod log;
mod probe;
mod serve;
mod wait;

use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::arguments::Unusable;
use self::wait::Patience;
use crate::config::{
    Base, ClockStart, Config, DEFAULT_FILE, LogFormat, LogLevel, Port, Seed, SourceError, Variable,
};
use crate::emulator::{self, StartError};

/// How long the last line on stderr is waited for.
const LAST_WORD: Duration = Duration::from_millis(500);

/// A local stand-in for the cloud services that publish MQTT messages over HTTP.
#[derive(Debug, Parser)]
#[command(name = "mqttstack", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the emulator (the default)
    Serve,
    /// Run a command with an emulator of its own, told in its environment, and sum up what was refused
    Exec {
        /// Print the summary as one JSON object
        #[arg(long)]
        json: bool,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Wait until an emulator is ready: exit code 0 once it is, 1 if it was not in time
    Wait {
        /// The emulator's address, http://HOST:PORT, instead of that in --ready-file or the configured one
        #[arg(long, env = "MQTTSTACK_URL")]
        url: Option<String>,
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value = "30")]
        timeout: Patience,
        /// Print the outcome as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print lines for a hosts file that lead the vendors' host names here
    Hosts {
        /// A region whose host names are wanted too; may be given more than once
        #[arg(long, value_name = "REGION")]
        region: Vec<String>,
        /// The address to lead them to [default: 127.0.0.1]
        #[arg(long, value_name = "ADDR")]
        address: Option<IpAddr>,
    },
    /// Ask a running emulator whether it is ready: exit code 0 if so, 1 if not
    Healthcheck {
        /// The emulator's address, http://HOST:PORT, instead of the configured one
        #[arg(long, env = "MQTTSTACK_URL")]
        url: Option<String>,
    },
    /// Check the effective configuration as serve does, and print it as TOML, secrets masked
    Config {
        /// Print the commented default file instead
        #[arg(long)]
        default: bool,
        /// Print nothing: exit code 0 where serve could start with it, 2 where it could not
        #[arg(long, conflicts_with = "default")]
        check: bool,
    },
}

/// What overrides the configuration file. Each flag is also a variable and a TOML key.
#[derive(Debug, Args)]
struct Flags {
    /// Configuration file (TOML)
    #[arg(long, global = true, env = "MQTTSTACK_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,
    /// Address that every listener binds [default: 127.0.0.1]
    #[arg(long, global = true, env = "MQTTSTACK_BIND", value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// All vendors and the admin API; a number, 0 (a free port) or off [default: 4580]
    #[arg(long, global = true, env = "MQTTSTACK_HTTP_PORT", value_name = "PORT")]
    http_port: Option<Port>,
    /// The same over TLS [default: 4543]
    #[arg(long, global = true, env = "MQTTSTACK_HTTPS_PORT", value_name = "PORT")]
    https_port: Option<Port>,
    /// MQTT over TCP [default: 1883]
    #[arg(long, global = true, env = "MQTTSTACK_MQTT_PORT", value_name = "PORT")]
    mqtt_port: Option<Port>,
    /// MQTT over TLS [default: 8883]
    #[arg(long, global = true, env = "MQTTSTACK_MQTTS_PORT", value_name = "PORT")]
    mqtts_port: Option<Port>,
    /// MQTT over WebSocket, path /mqtt [default: 8083]
    #[arg(long, global = true, env = "MQTTSTACK_WS_PORT", value_name = "PORT")]
    ws_port: Option<Port>,
    /// MQTT over WebSocket over TLS, path /mqtt [default: 8084]
    #[arg(long, global = true, env = "MQTTSTACK_WSS_PORT", value_name = "PORT")]
    wss_port: Option<Port>,
    /// Aliyun's HTTP surface alone [default: off]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_ALIYUN_PORT",
        value_name = "PORT"
    )]
    aliyun_port: Option<Port>,
    /// Tencent IoT Hub's HTTP surface alone [default: off]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_TENCENT_IOT_PORT",
        value_name = "PORT"
    )]
    tencent_iot_port: Option<Port>,
    /// Tencent TDMQ's HTTP surface alone [default: off]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_TENCENT_TDMQ_PORT",
        value_name = "PORT"
    )]
    tencent_tdmq_port: Option<Port>,
    /// Azure's HTTP surface alone [default: off]
    #[arg(long, global = true, env = "MQTTSTACK_AZURE_PORT", value_name = "PORT")]
    azure_port: Option<Port>,
    /// NanoMQ's HTTP surface alone [default: off]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_NANOMQ_PORT",
        value_name = "PORT"
    )]
    nanomq_port: Option<Port>,
    /// Where the ready object is written once everything listens
    #[arg(long, global = true, env = "MQTTSTACK_READY_FILE", value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Time at which the clock stands still, or real [default: real]
    #[arg(long, global = true, env = "MQTTSTACK_CLOCK", value_name = "RFC3339")]
    clock: Option<ClockStart>,
    /// Number that makes ids and keys repeat, or random [default: random]
    #[arg(long, global = true, env = "MQTTSTACK_SEED", value_name = "N")]
    seed: Option<Seed>,
    /// Where the local certificate authority is kept [default: nothing on disk]
    #[arg(long, global = true, env = "MQTTSTACK_DATA_DIR", value_name = "PATH")]
    data_dir: Option<PathBuf>,
    /// How log lines are written to stderr [default: text]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_LOG_FORMAT",
        value_name = "FORMAT",
        ignore_case = true
    )]
    log_format: Option<LogFormat>,
    /// Which log lines are written [default: info]
    #[arg(
        long,
        global = true,
        env = "MQTTSTACK_LOG_LEVEL",
        value_name = "LEVEL",
        ignore_case = true
    )]
    log_level: Option<LogLevel>,
}

impl Flags {
    /// The defaults, overridden by the file, overridden by the environment and the flags.
    fn effective(self, base: Base, variables: &[Variable]) -> Result<Config, SourceError> {
        let mut config = Config::layered(base, self.config.as_deref(), variables)?;
        override_with(&mut config.bind, self.bind);
        override_with(&mut config.http_port, self.http_port);
        override_with(&mut config.https_port, self.https_port);
        override_with(&mut config.mqtt_port, self.mqtt_port);
        override_with(&mut config.mqtts_port, self.mqtts_port);
        override_with(&mut config.ws_port, self.ws_port);
        override_with(&mut config.wss_port, self.wss_port);
        override_with(&mut config.aliyun_port, self.aliyun_port);
        override_with(&mut config.tencent_iot_port, self.tencent_iot_port);
        override_with(&mut config.tencent_tdmq_port, self.tencent_tdmq_port);
        override_with(&mut config.azure_port, self.azure_port);
        override_with(&mut config.nanomq_port, self.nanomq_port);
        override_with(&mut config.ready_file, self.ready_file.map(Some));
        override_with(&mut config.clock, self.clock);
        override_with(&mut config.seed, self.seed);
        override_with(&mut config.data_dir, self.data_dir.map(Some));
        override_with(&mut config.log_format, self.log_format);
        override_with(&mut config.log_level, self.log_level);
        Ok(config)
    }
}

fn override_with<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// Why the program could not do what it was asked to. Each is said in one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the configuration cannot be written as TOML: {0}")]
    Toml(#[from] toml::ser::Error),
    #[error("{what}: {error}")]
    System {
        what: &'static str,
        error: std::io::Error,
    },
}

impl Failure {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// The program: reads the command line, runs the subcommand, gives the exit code.
pub fn main() -> ExitCode {
    let (cli, variables) = match arguments::read(std::env::args_os(), std::env::vars_os()) {
        Ok(read) => read,
        Err(Unusable::Wrong(why)) => return refuse(&why),
        // --help and --version arrive as errors that belong on stdout.
        Err(Unusable::Help(error)) => {
            return finish(printed(error.print()));
        }
    };
    let ready_file = cli.flags.ready_file.clone();
    let base = match &cli.command {
        Some(Command::Exec { .. }) => Base::FreePorts,
        _ => Base::Usual,
    };
    let config = match cli.flags.effective(base, &variables) {
        Ok(config) => config,
        Err(error) => {
            if let (None | Some(Command::Serve), Some(path)) = (&cli.command, ready_file) {
                emulator::forget_former(&path);
            }
            return refuse(&error.to_string());
        }
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => finish(serve::run(config)),
        Command::Exec { json, command } => exec::run(config, &command, json),
        Command::Wait { url, timeout, json } => wait::run(&config, url, timeout, json),
        Command::Hosts { region, address } => hosts::run(&config, &region, address),
        Command::Healthcheck { url } => healthcheck::run(&config, url.as_deref()),
        Command::Config { default: true, .. } => finish(print(DEFAULT_FILE)),
        Command::Config { check, .. } => finish(check_config(&config, check)),
    }
}

/// Checks a configuration as the start does, and prints it unless `quiet`.
fn check_config(config: &Config, quiet: bool) -> Result<(), Failure> {
    emulator::check(config)?;
    if quiet {
        return Ok(());
    }
    print(&config.to_toml()?)
}

fn print(text: &str) -> Result<(), Failure> {
    printed(std::io::stdout().write_all(text.as_bytes()))
}

/// A reader that has seen enough (`| head`) is no failure.
fn printed(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::system("stdout")),
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => refuse(&failure.to_string()),
    }
}

fn refuse(why: &str) -> ExitCode {
    say(why);
    ExitCode::from(2)
}

/// Says why on stderr. A pipe that nobody reads does not keep the program from ending.
fn say(why: &str) {
    let line = format!("mqttstack: {why}\n");
    let (told, written) = mpsc::channel();
    let writing = thread::Builder::new().spawn(move || {
        // With stderr closed there is nobody left to tell.
        let _ = std::io::stderr().write_all(line.as_bytes());
        let _ = told.send(());
    });
    if writing.is_ok() {
        let _ = written.recv_timeout(LAST_WORD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_flag_has_a_variable_of_its_name_and_a_key_of_its_name() {
        let all = Config {
            ready_file: Some("r".into()),
            data_dir: Some("d".into()),
            ..Config::default()
        };
        let keys: toml::Table = all.to_toml().unwrap().parse().unwrap();
        let command = Cli::command();
        let flags: Vec<_> = command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .collect();
        assert_eq!(flags.len(), 19, "{flags:?}");
        for flag in flags {
            let key = flag.replace('-', "_");
            let argument = command
                .get_arguments()
                .find(|argument| argument.get_long() == Some(flag))
                .unwrap();
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert_eq!(variable, format!("MQTTSTACK_{}", key.to_uppercase()));
            assert!(flag == "config" || keys.contains_key(&key), "{flag}");
        }
        for (key, value) in keys {
            let flag = key.replace('_', "-");
            let there = command
                .get_arguments()
                .any(|argument| argument.get_long() == Some(&flag));
            assert!(there || value.is_table(), "{key} has no flag");
        }
    }
}
