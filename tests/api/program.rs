//! The program itself as a child process, for tests of what only a process has: arguments,
//! environment, signals, exit codes, stdout and stderr.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// Longer than anything here takes, so that a failure ends instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every listener that is on by default, at a free port.
pub const FREE_PORTS: [&str; 6] = [
    "--http-port=0",
    "--https-port=0",
    "--mqtt-port=0",
    "--mqtts-port=0",
    "--ws-port=0",
    "--wss-port=0",
];

fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqttstack"));
    command
        .args(arguments)
        // The environment of whoever runs the tests must not configure what they start.
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = command(arguments, environment).output();
    tokio::time::timeout(PATIENCE, output)
        .await
        .expect("the program did not end")
        .unwrap()
}

/// Runs the program to its end, its stdout led elsewhere.
pub async fn run_to(stdout: impl Into<Stdio>, arguments: &[&str]) -> Output {
    let child = command(arguments, &[]).stdout(stdout).spawn().unwrap();
    tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the program did not end")
        .unwrap()
}

/// Runs the program, which must refuse: exit code 2, and the one line on stderr that says why.
pub async fn refusal(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = run(arguments, environment).await;
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(output.stdout, b"", "{error}");
    assert_eq!(error.matches('\n').count(), 1, "{error}");
    error
}

/// A started emulator.
pub struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub ready: Value,
}

impl Program {
    /// Starts the program and waits for its ready line.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[]).await
    }

    /// The same with an environment.
    pub async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command(arguments, environment).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, stdout.read_line(&mut line))
            .await
            .expect("no ready line")
            .unwrap();
        if line.is_empty() {
            let output = child.wait_with_output().await.unwrap();
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Self {
            child,
            stdout,
            ready: serde_json::from_str(&line).unwrap(),
        }
    }

    /// Sends a signal and waits for the end: exit code, what else came on stdout, and stderr.
    pub async fn signal(mut self, signal: Signal) -> (Option<i32>, String, String) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let mut rest = String::new();
        let ended = async {
            self.stdout.read_to_string(&mut rest).await.unwrap();
            self.child.wait_with_output().await.unwrap()
        };
        let output = tokio::time::timeout(PATIENCE, ended)
            .await
            .expect("the program did not end");
        let log = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), rest, log)
    }

    pub async fn stop(self) {
        let (code, _, log) = self.signal(Signal::TERM).await;
        assert_eq!(code, Some(0), "{log}");
    }

    /// The URL that the ready line gives a listener.
    pub fn url(&self, listener: &str) -> String {
        self.ready[listener].as_str().unwrap().to_owned()
    }
}
