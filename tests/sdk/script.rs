//! A script as a child process that is told what to do and answers with what it saw, a line of
//! JSON each: `{"result": ..}`, `{"error": {"type": .., ..}}`, or an event of its own accord.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::install::Runtime;

/// Longer than anything here takes, so that a failure ends instead of hanging.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running script. It ends when it is dropped.
pub struct Script {
    name: String,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Script {
    pub async fn start(runtime: Runtime, script: &str) -> Self {
        Self::start_with(runtime, script, &[]).await
    }

    /// Starts a script with more in its environment.
    pub async fn start_with(runtime: Runtime, script: &str, environment: &[(&str, &str)]) -> Self {
        let name = script.to_owned();
        let command = tokio::task::spawn_blocking(move || runtime.command(&name))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let mut child = Command::from(command)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{script}: {error}"));
        Self {
            name: script.to_owned(),
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
        }
    }

    pub async fn tell(&mut self, command: &Value) {
        let line = format!("{command}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.unwrap_or_else(|error| panic!("{} has ended: {error}", self.name));
    }

    /// The next line.
    pub async fn hear(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .unwrap_or_else(|_| panic!("{} says nothing", self.name))
            .unwrap()
            .unwrap_or_else(|| panic!("{} has ended", self.name));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }

    /// Says what to do and returns the result or the error that came of it.
    pub async fn ask(&mut self, command: &Value) -> Result<Value, Value> {
        self.tell(command).await;
        let answer = self.hear().await;
        match (answer.get("result"), answer.get("error")) {
            (Some(result), None) => Ok(result.clone()),
            (None, Some(error)) => Err(error.clone()),
            _ => panic!("{}: {answer}", self.name),
        }
    }
}

/// Runs a script that is a whole conversation with these arguments; it must end with `ok`.
pub async fn converse(runtime: Runtime, script: &'static str, arguments: &[&str]) {
    let command = tokio::task::spawn_blocking(move || runtime.command(script))
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let child = Command::from(command)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{script}: {error}"));
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{script} never ended"))
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "ok", "{problems}");
}
