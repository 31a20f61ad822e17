//! Starting and ending the program: the ready line, the ready file, refusals, signals.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::Device;
use crate::program::{FREE_PORTS, Program, refusal, run, run_to};
use crate::raw::{ask, get};

/// `FREE_PORTS` and more.
fn with(more: &[&'static str]) -> Vec<&'static str> {
    FREE_PORTS
        .iter()
        .copied()
        .chain(more.iter().copied())
        .collect()
}

fn authority(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

#[tokio::test]
async fn the_ready_line_names_listeners_that_already_listen() {
    let program = Program::start(&with(&["--aliyun-port=0", "--nanomq-port=0"])).await;
    for (listener, scheme, path) in [
        ("http", "http", ""),
        ("https", "https", ""),
        ("mqtt", "mqtt", ""),
        ("mqtts", "mqtts", ""),
        ("ws", "ws", "/mqtt"),
        ("wss", "wss", "/mqtt"),
    ] {
        let url = program.url(listener);
        let address = authority(&url);
        assert_eq!(url, format!("{scheme}://{address}{path}"));
        assert!(address.starts_with("127.0.0.1:"), "{url}");
        TcpStream::connect(address).await.unwrap();
    }
    let ports = program.ready["ports"].as_object().unwrap();
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["aliyun", "nanomq"]);
    for url in ports.values() {
        TcpStream::connect(authority(url.as_str().unwrap()))
            .await
            .unwrap();
    }
    assert_eq!(program.ready["ready"], true);
    assert_eq!(program.ready["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(program.ready["ca_cert"], Value::Null);
    assert_eq!(
        program.ready["admin"],
        format!("{}/_mqttstack", program.url("http"))
    );
    program.stop().await;
}

#[tokio::test]
async fn a_listener_that_is_off_is_null() {
    let program = Program::start(&[
        "serve",
        "--http-port=off",
        "--https-port=0",
        "--mqtt-port=off",
        "--mqtts-port=off",
        "--ws-port=off",
        "--wss-port=off",
    ])
    .await;
    for listener in ["http", "mqtt", "mqtts", "ws", "wss"] {
        assert_eq!(program.ready[listener], Value::Null);
    }
    assert_eq!(program.ready["ports"], serde_json::json!({}));
    assert_eq!(
        program.ready["admin"],
        format!("{}/_mqttstack", program.url("https"))
    );
    program.stop().await;
}

#[tokio::test]
async fn both_signals_end_it_with_exit_code_0_and_nothing_more_on_stdout() {
    for signal in [Signal::TERM, Signal::INT] {
        let program = Program::start(&FREE_PORTS).await;
        let (code, rest, log) = program.signal(signal).await;
        assert_eq!((code, &*rest), (Some(0), ""), "{log}");
    }
}

#[tokio::test]
async fn open_connections_do_not_keep_it_from_ending() {
    let program = Program::start(&FREE_PORTS).await;
    let mut open = Vec::new();
    for listener in ["http", "https", "mqtt", "mqtts", "ws", "wss"] {
        let url = program.url(listener);
        open.push(TcpStream::connect(authority(&url)).await.unwrap());
    }
    program.stop().await;
}

#[tokio::test]
async fn the_ready_file_holds_the_ready_line_until_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let flag = format!("--ready-file={}", file.display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&flag);
    let program = Program::start(&arguments).await;
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, program.ready);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    program.stop().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_ready_file_of_a_former_start_does_not_survive_a_failed_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let flag = format!("--ready-file={}", file.display());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--mqtts-port={}", taken.local_addr().unwrap().port());
    // As a killed emulator leaves it, whose id is nobody's now, or that of a program of another kind.
    for pid in ["1", "4194304", "\"x\""] {
        for failing in [&*taken, "--config=/nowhere", "--data-dir=/proc/nowhere"] {
            std::fs::write(&file, format!("{{\"ready\":true,\"pid\":{pid}}}")).unwrap();
            let name = failing.split('=').next().unwrap();
            let others = FREE_PORTS.iter().filter(|free| !free.starts_with(name));
            let mut arguments: Vec<&str> = others.copied().collect();
            arguments.extend([failing, &flag]);
            refusal(&arguments, &[]).await;
            assert!(!file.exists(), "{pid} {failing}");
        }
    }
}

#[tokio::test]
async fn a_failed_start_leaves_the_ready_file_of_a_running_emulator_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ready.json");
    let flag = format!("--ready-file={}", file.display());
    let program = Program::start(&with(&["--nanomq-port=0"])).await;
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&flag);
    let running = Program::start(&arguments).await;
    let taken = program.url("http").rsplit_once(':').unwrap().1.to_owned();
    let taken = format!("--nanomq-port={taken}");
    arguments.push(&taken);
    refusal(&arguments, &[]).await;
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written, running.ready);
    running.stop().await;
    program.stop().await;
}

#[tokio::test]
async fn a_ready_file_that_cannot_be_written_is_refused_by_flag() {
    let error = refusal(&with(&["--ready-file=/nowhere/at/all"]), &[]).await;
    assert!(
        error.contains("--ready-file: cannot write /nowhere/at/all"),
        "{error}"
    );
}

#[tokio::test]
async fn a_taken_port_is_refused_by_flag_and_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for flag in [
        "--http-port",
        "--https-port",
        "--mqtt-port",
        "--mqtts-port",
        "--ws-port",
        "--wss-port",
        "--aliyun-port",
        "--tencent-iot-port",
        "--tencent-tdmq-port",
        "--azure-port",
        "--nanomq-port",
    ] {
        let value = format!("{flag}={}", address.port());
        let mut arguments: Vec<&str> = FREE_PORTS
            .into_iter()
            .filter(|free| !free.starts_with(&format!("{flag}=")))
            .collect();
        arguments.push(&value);
        let error = refusal(&arguments, &[]).await;
        assert!(error.contains(&format!("{flag}: ")), "{error}");
        assert!(error.contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn the_authority_in_the_data_directory_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let flag = format!("--data-dir={}", folder.path().display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&flag);
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let program = Program::start(&arguments).await;
        let file = program.url("ca_cert");
        certificates.push(std::fs::read_to_string(file).unwrap());
        program.stop().await;
    }
    assert!(certificates[0].starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(certificates[0], certificates[1]);
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_refused_by_flag() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let flag = format!("--data-dir={}", file.path().display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&flag);
    let error = refusal(&arguments, &[]).await;
    assert!(error.contains("--data-dir: "), "{error}");
}

#[tokio::test]
async fn a_healthcheck_tells_a_running_emulator_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("--ready-file={}", folder.path().join("ready").display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.push(&file);
    let program = Program::start(&arguments).await;
    let url = program.url("http");
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    let configured = format!("--http-port={port}");
    let all = [
        vec!["healthcheck", "--url", &url],
        vec!["healthcheck", &configured],
        vec!["healthcheck", "--bind=0.0.0.0", &configured],
        vec!["healthcheck", "--http-port=0", &file],
    ];
    for arguments in &all {
        let output = run(arguments, &[]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*error),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    program.stop().await;
    for arguments in &all[..3] {
        let output = run(arguments, &[]).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.matches('\n').count(), 1, "{error}");
    }
    refusal(&all[3], &[]).await;
}

#[tokio::test]
async fn a_healthcheck_without_an_address_is_refused() {
    for (arguments, word) in [
        (vec!["healthcheck", "--http-port=off"], "--http-port"),
        (vec!["healthcheck", "--http-port=0"], "--http-port"),
        (vec!["healthcheck", "--url=ftp://127.0.0.1"], "--url"),
        (vec!["healthcheck", "--url=127.0.0.1:4580"], "--url"),
        (vec!["healthcheck", "--url=no url"], "--url"),
    ] {
        let error = refusal(&arguments, &[]).await;
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn log_lines_go_to_stderr_in_the_chosen_format() {
    let program = Program::start(&with(&["--log-format=json"])).await;
    ask(&program.url("http"), &get("/nowhere", "x")).await;
    let (_, rest, log) = program.signal(Signal::TERM).await;
    assert_eq!(rest, "");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["path"] == "/nowhere" && line["status"] == 404),
        "{log}"
    );
    let program = Program::start(&with(&["--log-level=off"])).await;
    ask(&program.url("http"), &get("/nowhere", "x")).await;
    assert_eq!(program.signal(Signal::TERM).await.2, "");
}

/// Asks for something that nobody has, many times over one connection.
async fn ask_often(url: &str, times: usize) {
    let request = format!(
        "GET /nowhere/{} HTTP/1.1\r\nHost: x\r\n\r\n",
        "x".repeat(1_000)
    );
    let stream = TcpStream::connect(authority(url)).await.unwrap();
    let (mut answers, mut requests) = stream.into_split();
    let asking = tokio::spawn(async move {
        for _ in 0..times {
            requests.write_all(request.as_bytes()).await.unwrap();
        }
        requests.shutdown().await.unwrap();
    });
    let mut all = String::new();
    answers.read_to_string(&mut all).await.unwrap();
    asking.await.unwrap();
    assert_eq!(all.matches("HTTP/1.1 404 ").count(), times);
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing_and_says_what_was_dropped() {
    for format in ["--log-format=text", "--log-format=json"] {
        let program = Program::start(&with(&[format])).await;
        let url = program.url("http");
        ask_often(&url, 3_000).await;
        let livez = get("/_mqttstack/livez", "127.0.0.1");
        assert_eq!(ask(&url, &livez).await.0, 200);
        // Its stderr is read only once it has ended.
        let (code, _, log) = program.signal(Signal::TERM).await;
        assert_eq!(code, Some(0));
        assert!(log.contains("/nowhere/xxx"), "{format}");
    }
}

#[tokio::test]
async fn a_reader_of_stdout_that_has_seen_enough_is_no_error() {
    for arguments in [&["help"][..], &["--version"], &["config", "--default"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run_to(writer, arguments).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*error),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_one_log_line_with_its_whole_reason_and_its_topic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.toml");
    std::fs::write(&file, "[mqtt]\ndeny_subscribe = [\"closed/#\"]\n").unwrap();
    let config = format!("--config={}", file.display());
    let mut arguments = FREE_PORTS.to_vec();
    arguments.extend(["--log-format=json", &config]);
    let program = Program::start(&arguments).await;
    let url = program.url("http");
    let wrong = "/?Action=SendMessage&Version=2020-04-20&AccessKeyId=testid&SignatureMethod=HMAC-SHA1\
                 &SignatureVersion=1.0&SignatureNonce=1&Timestamp=2000-01-01T00%3A00%3A00Z&Signature=x";
    ask(&url, &get(wrong, "127.0.0.1")).await;
    let publish = "POST /topics/a/b?qos=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                   Authorization: Basic dXNlcjA6c2VjcmV0MA==\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(ask(&url, publish).await.0, 200);
    let mqtt = authority(&program.url("mqtt")).parse().unwrap();
    let mut device = Device::v4(mqtt, "dev").await;
    device.subscribe("closed/a", 1).await;
    let requests = ask(&url, &get("/_mqttstack/requests", "127.0.0.1")).await.1;
    let requests: Value = serde_json::from_str(&requests).unwrap();
    let (_, _, log) = program.signal(Signal::TERM).await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for entry in requests["requests"].as_array().unwrap() {
        let own: Vec<&Value> = lines
            .iter()
            .filter(|line| line["id"] == entry["id"])
            .collect();
        let [line] = own[..] else {
            panic!("{entry}: {own:?}");
        };
        assert_eq!(line["reason"], entry["reason"], "{line}");
    }
    let about = |key: &str, value: &str| {
        let lines = lines.iter().filter(|line| line[key] == value);
        lines.collect::<Vec<_>>()
    };
    let [refused] = about("packet", "SUBSCRIBE")[..] else {
        panic!("{log}");
    };
    assert_eq!(refused["topic"], "closed/a");
    assert!(
        lines.iter().all(|line| line["target"] != "mqttstack::mqtt"),
        "{log}"
    );
    let [published] = about("vendor", "tencent-tdmq")[..] else {
        panic!("{log}");
    };
    assert_eq!(published["topic"], "a/b");
    assert!(published["message"].is_string());
}
