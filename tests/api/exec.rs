//! `mqttstack exec`: what a command is told, how it is left alone, and what is said afterwards.
//! The commands are `sh` and `env`, which every machine has that runs these tests.

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, run};
use crate::raw::ask;

/// Runs a shell script under `exec`: exit code, stdout, stderr.
async fn exec(flags: &[&str], script: &str) -> (Option<i32>, String, String) {
    let mut arguments = vec!["exec"];
    arguments.extend_from_slice(flags);
    arguments.extend_from_slice(&["--", "/bin/sh", "-c", script]);
    let path = std::env::var_os("PATH")
        .unwrap_or_default()
        .into_string()
        .unwrap();
    let output = run(&arguments, &[("PATH", path.as_str())]).await;
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// What a command finds in its environment.
async fn told(flags: &[&str]) -> std::collections::BTreeMap<String, String> {
    let (code, stdout, stderr) = exec(flags, "env").await;
    assert_eq!(code, Some(0), "{stderr}");
    stdout
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn a_command_is_told_where_everything_listens() {
    let told = told(&["--wss-port=off"]).await;
    let ready: Value = serde_json::from_str(&told["MQTTSTACK_READY"]).unwrap();
    for listener in ["http", "https", "mqtt", "mqtts", "ws"] {
        let name = format!("MQTTSTACK_{}", listener.to_uppercase());
        let url = &told[&format!("{name}_URL")];
        assert_eq!(ready[listener], **url);
        let endpoint = &told[&format!("{name}_ENDPOINT")];
        assert!(
            url.starts_with(&format!("{listener}://{endpoint}")),
            "{url}"
        );
        let port = endpoint.strip_prefix("127.0.0.1:").unwrap();
        assert_ne!(port, "0");
    }
    assert!(!told.contains_key("MQTTSTACK_WSS_URL"));
    for vendor in ["aliyun", "azure", "nanomq", "tencent-iot", "tencent-tdmq"] {
        let name = vendor.replace('-', "_").to_uppercase();
        assert_eq!(
            ready["ports"][vendor],
            *told[&format!("MQTTSTACK_{name}_URL")]
        );
        assert!(told.contains_key(&format!("MQTTSTACK_{name}_ENDPOINT")));
    }
    assert_eq!(told["MQTTSTACK_URL"], told["MQTTSTACK_HTTP_URL"]);
    assert_eq!(
        told["AZURE_POD_IDENTITY_AUTHORITY_HOST"],
        told["MQTTSTACK_HTTP_URL"]
    );
    assert_eq!(told["AZURE_AUTHORITY_HOST"], told["MQTTSTACK_HTTPS_URL"]);
    assert_eq!(told["AZURE_TOKEN_CREDENTIALS"], "ManagedIdentityCredential");
    assert!(told["NO_PROXY"].contains("127.0.0.1"));
}

#[tokio::test]
async fn a_command_is_told_the_credentials_in_force() {
    let seeded = told(&[]).await;
    for (name, value) in [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "testid"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "testsecret"),
        ("MQTTSTACK_ALIYUN_INSTANCE_ID", "post-cn-test0001"),
        ("AZURE_TENANT_ID", "11111111-1111-1111-1111-111111111111"),
        ("AZURE_CLIENT_ID", "22222222-2222-2222-2222-222222222222"),
        ("MQTTSTACK_AZURE_CLIENT_SECRET", "testsecret"),
        ("MQTTSTACK_AZURE_NAMESPACE_KEY", "dGVzdGtleQ=="),
        ("MQTTSTACK_NANOMQ_PASSWORD", "public"),
        (
            "TENCENTCLOUD_SECRET_ID",
            "AKIDEXAMPLE0000000000000000000000000",
        ),
        ("MQTTSTACK_TENCENT_IOT_DEVICE_NAME", "dev01"),
        ("MQTTSTACK_TENCENT_TDMQ_PASSWORD", "secret0"),
    ] {
        assert_eq!(seeded.get(name).map(String::as_str), Some(value), "{name}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[nanomq]\npassword = \"other\"\n").unwrap();
    let flag = format!("--config={}", file.path().display());
    assert_eq!(told(&[&flag]).await["MQTTSTACK_NANOMQ_PASSWORD"], "other");
}

#[tokio::test]
async fn a_command_trusts_the_authority_by_files_that_go_with_it() {
    let (code, stdout, stderr) = exec(
        &[],
        "cat \"$MQTTSTACK_CA_CERT\"; for f in \"$SSL_CERT_FILE\" \"$REQUESTS_CA_BUNDLE\" \
         \"$CURL_CA_BUNDLE\" \"$NODE_EXTRA_CA_CERTS\"; do grep -c BEGIN \"$f\"; done; \
         test -f \"$AZURE_FEDERATED_TOKEN_FILE\"; echo $MQTTSTACK_CA_CERT",
    )
    .await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("-----BEGIN CERTIFICATE-----\n"),
        "{stdout}"
    );
    let path = stdout.lines().last().unwrap();
    assert!(path.ends_with("/ca.pem"), "{path}");
    assert!(!std::path::Path::new(path).exists());
}

#[tokio::test]
async fn the_commands_exit_code_is_that_of_exec() {
    assert_eq!(exec(&[], "exit 0").await.0, Some(0));
    assert_eq!(exec(&[], "exit 7").await.0, Some(7));
    assert_eq!(exec(&[], "kill -9 $$").await.0, Some(128 + 9));
    let output = run(&["exec", "--", "/nowhere/command", "x"], &[]).await;
    assert_eq!(output.status.code(), Some(127));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot start /nowhere/command: "), "{error}");
    assert_eq!(error.matches('\n').count(), 1, "{error}");
    let error = crate::program::refusal(&["exec"], &[]).await;
    assert!(error.contains("CMD"), "{error}");
}

#[tokio::test]
async fn stdout_is_the_commands_alone() {
    let (_, stdout, stderr) = exec(&["--log-level=trace"], "echo out; echo err >&2").await;
    assert_eq!(stdout, "out\n");
    assert!(stderr.contains("err\n"), "{stderr}");
}

#[tokio::test]
async fn signals_are_passed_on_to_the_command() {
    for (signal, code) in [(Signal::TERM, 3), (Signal::INT, 4)] {
        let program = running(&[]).await;
        let (ended, rest, log) = program.signal(signal).await;
        assert_eq!(ended, Some(code), "{log}");
        assert_eq!(rest, "");
    }
}

/// A command that runs until it gets a signal, and tells on stdout what it was told.
async fn running(flags: &[&str]) -> Program {
    const SCRIPT: &str = "\
        trap 'kill $pid; exit 3' TERM; trap 'kill $pid; exit 4' INT; \
        sleep 600 >/dev/null 2>&1 & pid=$!; \
        echo \"$MQTTSTACK_READY\"; wait";
    let mut arguments = vec!["exec"];
    arguments.extend_from_slice(flags);
    arguments.extend_from_slice(&["--", "/bin/sh", "-c", SCRIPT]);
    let path = std::env::var_os("PATH")
        .unwrap_or_default()
        .into_string()
        .unwrap();
    Program::start_with(&arguments, &[("PATH", &path)]).await
}

/// The summary of three refused requests, two of them alike, of a publish that nobody receives,
/// and of a reset in between.
async fn summary_of_calls(flags: &[&str]) -> String {
    let program = running(flags).await;
    let http = program.url("http");
    let call = async |head: &str, authorization: &str| {
        let request = format!(
            "{head} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\
             Content-Length: 1\r\nConnection: close\r\n\r\nx"
        );
        ask(&http, &request).await.0
    };
    let (right, wrong) = ("Basic dXNlcjA6c2VjcmV0MA==", "Basic dXNlcjA6d3Jvbmc=");
    assert_eq!(call("POST /topics/home?qos=1", wrong).await, 401);
    assert_eq!(call("POST /topics/home?qos=1", wrong).await, 401);
    assert_eq!(call("POST /topics/nobody%2Fhere?qos=1", right).await, 200);
    let reset = "POST /_mqttstack/reset?only=requests,messages HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n";
    assert!(ask(&http, reset).await.0 < 300);
    call("POST /api/v4/mqtt/publish", wrong).await;
    let (code, _, stderr) = program.signal(Signal::TERM).await;
    assert_eq!(code, Some(3), "{stderr}");
    stderr
}

#[tokio::test]
async fn the_summary_says_what_was_refused_and_why() {
    let text = summary_of_calls(&[]).await;
    let at = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    assert!(at("2 x tencent-tdmq") < at("1 x nanomq"), "{text}");
    assert!(
        text.contains("nobody/here: nobody was subscribed"),
        "{text}"
    );
    assert!(
        !text.contains("secret0") && !text.contains("d3Jvbmc"),
        "{text}"
    );
}

#[tokio::test]
async fn the_summary_is_one_json_object_if_wished() {
    let text = summary_of_calls(&["--json"]).await;
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["refused"]["total"], 3, "{summary}");
    let first = &summary["refused"]["rows"][0];
    assert_eq!(first["count"], 2);
    assert_eq!(first["vendor"], "tencent-tdmq");
    assert_eq!(first["status"], 401);
    assert_eq!(summary["unreceived"]["rows"][0]["topic"], "nobody/here");
    let (_, _, text) = exec(&["--json"], "exit 1").await;
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["requests"], 0);
    assert_eq!(summary["refused"]["total"], 0);
}

#[tokio::test]
async fn a_mqttstack_inside_takes_what_it_is_told() {
    let this = env!("CARGO_BIN_EXE_mqttstack");
    let script =
        format!("'{this}' wait --timeout 10 && '{this}' healthcheck && '{this}' config --check");
    let (code, _, stderr) = exec(&[], &script).await;
    assert_eq!(code, Some(0), "{stderr}");
}
