//! `mqttstack wait`: until another process is ready.

use serde_json::Value;

use crate::program::{FREE_PORTS, Program, refusal, run};

#[tokio::test]
async fn a_started_emulator_is_found_by_its_address_and_its_ready_file() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--ready-file={}", dir.path().join("ready.json").display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&flag);
    // Begun before there is a file or an emulator.
    let waiting = {
        let flag = flag.clone();
        tokio::spawn(async move { run(&["wait", &flag, "--json"], &[]).await })
    };
    let program = Program::start(&arguments).await;
    let output = waiting.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["ready"], true);
    assert_eq!(told["url"], program.url("http"));
    let url = format!("--url={}", program.url("http"));
    let output = run(&["wait", &url], &[]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
    program.stop().await;
}

#[tokio::test]
async fn what_is_not_ready_in_time_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("--ready-file={}", dir.path().join("none.json").display());
    for (place, words) in [
        (&*flag, "none.json"),
        ("--url=http://127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let output = run(&["wait", place, "--timeout=0.05", "--json"], &[]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["ready"], false);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(words) && error.contains("not ready after 0.05 s"),
            "{error}"
        );
        assert_eq!(error.matches('\n').count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_wait_that_cannot_be_is_refused() {
    for (arguments, words) in [
        (&["wait", "--timeout=-1"][..], "seconds from 0 to 86400"),
        (&["wait", "--timeout=soon"], "seconds from 0 to 86400"),
        (&["wait", "--url=https://localhost"], "http://HOST:PORT"),
        (&["wait", "--http-port=off"], "--url"),
        (&["wait", "--http-port=0"], "--ready-file"),
    ] {
        let error = refusal(arguments, &[]).await;
        assert!(error.contains(words), "{error}");
    }
}
