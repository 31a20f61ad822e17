//! Where a setting comes from: defaults, file, environment, flags; and how a wrong one is told.

use std::io::Write;

use tempfile::NamedTempFile;

use crate::program::{refusal, run};

fn file(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let flag = format!("--config={}", file.path().display());
    (file, flag)
}

async fn effective(arguments: &[&str], environment: &[(&str, &str)]) -> toml::Table {
    let mut all = vec!["config"];
    all.extend_from_slice(arguments);
    let output = run(&all, environment).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

#[tokio::test]
async fn flags_override_the_environment_which_overrides_the_file() {
    let (_kept, flag) = file("http_port = 1\nmqtt_port = 1\nws_port = 1\nseed = 1\n");
    let table = effective(
        &[&flag, "--http-port=3", "--clock=2026-11-21T22:51:00Z"],
        &[
            ("MQTTSTACK_HTTP_PORT", "2"),
            ("MQTTSTACK_MQTT_PORT", "off"),
            ("MQTTSTACK_CLOCK", "real"),
        ],
    )
    .await;
    assert_eq!(table["http_port"].as_integer(), Some(3));
    assert_eq!(table["mqtt_port"].as_str(), Some("off"));
    assert_eq!(table["ws_port"].as_integer(), Some(1));
    assert_eq!(table["wss_port"].as_integer(), Some(8084));
    assert_eq!(table["seed"].as_integer(), Some(1));
    assert_eq!(table["clock"].as_str(), Some("2026-11-21T22:51:00Z"));
}

#[tokio::test]
async fn the_file_can_be_named_by_the_environment() {
    let (kept, _) = file("seed = 7\n");
    let path = kept.path().to_str().unwrap();
    let table = effective(&[], &[("MQTTSTACK_CONFIG", path)]).await;
    assert_eq!(table["seed"].as_integer(), Some(7));
}

#[tokio::test]
async fn flags_mean_the_same_before_and_behind_the_subcommand() {
    for arguments in [
        ["--seed=7", "config", "--http-port=off"],
        ["config", "--http-port=off", "--seed=7"],
    ] {
        let output = run(&arguments, &[("MQTTSTACK_SEED", "5")]).await;
        let table: toml::Table = String::from_utf8(output.stdout).unwrap().parse().unwrap();
        assert_eq!(table["seed"].as_integer(), Some(7));
        assert_eq!(table["http_port"].as_str(), Some("off"));
    }
}

#[tokio::test]
async fn the_default_file_changes_nothing() {
    let output = run(&["config", "--default"], &[]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("# mqttstack"), "{text}");
    let (_kept, flag) = file(&text);
    assert_eq!(effective(&[&flag], &[]).await, effective(&[], &[]).await);
}

#[tokio::test]
async fn a_wrong_setting_is_refused_by_name_wherever_it_stands() {
    let (_kept, unknown) = file("[mqtt]\nopen_client = false\n");
    let error = refusal(&[&unknown], &[]).await;
    assert!(error.contains("line 2: mqtt.open_client: "), "{error}");

    let (_kept, bad) = file("mqtt_port = 70000\n");
    let error = refusal(&["serve", &bad], &[]).await;
    assert!(error.contains("line 1: mqtt_port: "), "{error}");

    let error = refusal(&[], &[("MQTTSTACK_MQTT_PORT", "seventy")]).await;
    assert!(error.contains("--mqtt-port"), "{error}");

    let error = refusal(&["--log-level=loud"], &[]).await;
    assert!(error.contains("--log-level"), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_refused_by_flag_and_path() {
    let error = refusal(&["--config=/nowhere.toml"], &[]).await;
    assert!(error.contains("--config /nowhere.toml: "), "{error}");
    let error = refusal(&["config"], &[("MQTTSTACK_CONFIG", "/")]).await;
    assert!(error.contains("--config /: "), "{error}");
}

#[test]
fn the_sample_configuration_is_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/mqttstack.sample.toml");
    mqttstack::config::Config::from_file(path.as_ref()).unwrap();
}

#[tokio::test]
async fn a_configuration_is_checked_as_the_start_checks_it() {
    for (text, key) in [
        (
            "[aliyun.quotas]\nSendMesage = 1\n",
            "aliyun.quotas.SendMesage",
        ),
        (
            "[azure.quotas]\nHttpPublsh = 1\n",
            "azure.quotas.HttpPublsh",
        ),
        (
            "[tencent_iot.quotas]\n\"device/publsh\" = 1\n",
            "tencent_iot.quotas.device/publsh",
        ),
        ("[tencent_tdmq.quotas]\nPulish = 1\n", "tencent_tdmq.quotas"),
        (
            "[[tencent_tdmq.policies]]\nactions = \"Z\"\n",
            "tencent_tdmq.policies",
        ),
        (
            "[[azure.namespaces]]\nname = \"n\"\n[[azure.namespaces.topic_spaces]]\nname = \"a\"\npropertis = {}\n",
            "propertis",
        ),
        (
            "[[azure.namespaces]]\nname = \"n\"\n[[azure.namespaces.topic_spaces]]\nname = \"a\"\nproperties = {topicTemplate = []}\n",
            "topicTemplates",
        ),
        (
            "[nanomq.configuration_v1]\nurll = \"x\"\n",
            "did you mean \"url\"?",
        ),
        ("[aliyun]\nqos = 3\n", "aliyun.qos"),
        ("[tls]\ncertificate = \"nowhere.pem\"\n", "tls.key"),
        ("[journal]\nmax_entries = 0\n", "journal.max_entries"),
    ] {
        let (_kept, flag) = file(text);
        for arguments in [
            &["serve", &flag, "--http-port=off"][..],
            &["config", &flag],
            &["config", "--check", &flag],
        ] {
            let error = refusal(arguments, &[]).await;
            assert!(error.contains(key), "{arguments:?}: {error}");
        }
    }
    let (_kept, flag) = file("[aliyun.quotas]\nSendMessage = 1\n");
    let output = run(&["config", "--check", &flag], &[]).await;
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
}

#[tokio::test]
async fn an_unknown_variable_ends_the_program_and_an_empty_one_does_not() {
    let error = refusal(&["config"], &[("MQTTSTACK_HTTP_PROT", "1")]).await;
    assert!(
        error.contains("did you mean MQTTSTACK_HTTP_PORT?"),
        "{error}"
    );
    let empty = [("MQTTSTACK_CONFIG", ""), ("MQTTSTACK_HTTP_PORT", "")];
    assert_eq!(
        effective(&[], &empty).await["http_port"].as_integer(),
        Some(4580)
    );
    let error = refusal(&[], &[("MQTTSTACK_HTTP_PORT", "abc")]).await;
    assert!(error.contains("MQTTSTACK_HTTP_PORT: "), "{error}");
}

#[tokio::test]
async fn words_of_the_log_are_read_in_any_case() {
    let table = effective(&["--log-level=WARN"], &[("MQTTSTACK_LOG_FORMAT", "JSON")]).await;
    assert_eq!(table["log_level"].as_str(), Some("warn"));
    assert_eq!(table["log_format"].as_str(), Some("json"));
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_ways_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for listener in ["http", "mqtt"] {
        let mut arguments: Vec<String> = crate::program::FREE_PORTS
            .iter()
            .filter(|flag| !flag.starts_with(&format!("--{listener}-port")))
            .map(ToString::to_string)
            .collect();
        arguments.push(format!("--{listener}-port={port}"));
        arguments.push("--log-level=off".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = refusal(&arguments, &[]).await;
        assert!(error.contains("0 for a free one, or off"), "{error}");
    }
}

#[tokio::test]
async fn any_key_can_be_set_by_a_variable() {
    let (_kept, flag) = file("seed = 1\n[aliyun]\nauto_create = true\nqos = 2\n");
    let table = effective(
        &[&flag, "--mqtt-port=5"],
        &[
            ("MQTTSTACK__ALIYUN__AUTO_CREATE", "false"),
            ("MQTTSTACK__ALIYUN__QUOTAS__SendMessage", "5"),
            ("MQTTSTACK__AZURE__AUTH", "lenient"),
            ("MQTTSTACK__NANOMQ__USERNAME", "1234"),
            ("MQTTSTACK__MQTT__DENY_PUBLISH", "[\"a/#\"]"),
            ("MQTTSTACK__TENCENT_TDMQ__INSTANCE", "{ id = \"i\" }"),
            ("MQTTSTACK__SEED", "7"),
            ("MQTTSTACK__MQTT_PORT", "6"),
            ("MQTTSTACK__WS_PORT", "off"),
            ("MQTTSTACK__BIND", "::1"),
            ("MQTTSTACK__JOURNAL__MAX_ENTRIES", ""),
        ],
    )
    .await;
    assert_eq!(table["aliyun"]["auto_create"].as_bool(), Some(false));
    assert_eq!(table["aliyun"]["qos"].as_integer(), Some(2));
    assert_eq!(
        table["aliyun"]["quotas"]["SendMessage"].as_integer(),
        Some(5)
    );
    assert_eq!(table["azure"]["auth"].as_str(), Some("lenient"));
    assert_eq!(table["nanomq"]["username"].as_str(), Some("1234"));
    assert_eq!(table["mqtt"]["deny_publish"][0].as_str(), Some("a/#"));
    assert_eq!(table["tencent_tdmq"]["instance"]["id"].as_str(), Some("i"));
    assert_eq!(table["seed"].as_integer(), Some(7));
    assert_eq!(table["mqtt_port"].as_integer(), Some(5));
    assert_eq!(table["ws_port"].as_str(), Some("off"));
    assert_eq!(table["bind"].as_str(), Some("::1"));
    assert_eq!(table["journal"]["max_entries"].as_integer(), Some(10_000));
}

#[tokio::test]
async fn a_wrong_key_in_a_variable_is_told_by_the_variable() {
    let (_kept, flag) = file("[aliyun]\naccess_keys = []\n");
    for ((name, value), words) in [
        (
            ("MQTTSTACK__ALIYUN__AUTO_CRATE", "false"),
            "did you mean MQTTSTACK__ALIYUN__AUTO_CREATE?",
        ),
        (
            ("MQTTSTACK__ALIYN__AUTO_CREATE", "false"),
            "did you mean \"aliyun\"?",
        ),
        (
            ("MQTTSTACK__ALIYUN__AUTO_CREATE", "yes"),
            "expected true or false, got \"yes\"",
        ),
        (
            ("MQTTSTACK__HTTP_PORT", "true"),
            "expected a port number up to 65535",
        ),
        (
            ("MQTTSTACK__AZURE__AUTH", "on"),
            "expected \"off\", \"lenient\" or \"strict\", got \"on\"",
        ),
        (
            ("MQTTSTACK__MQTT__DENY_PUBLISH", "[1"),
            "expected a TOML value",
        ),
        (
            ("MQTTSTACK__MQTT__DENY_PUBLISH", "[\"a#\"]"),
            "\"a#\" is not a topic filter",
        ),
        (
            ("MQTTSTACK__ALIYUN", "{ auto_create = 5 }"),
            "aliyun.auto_create: expected true or false, got 5",
        ),
        (
            ("MQTTSTACK__ALIYUN__ACCESS_KEYS__0__ID", "x"),
            "sets a list as a whole",
        ),
        (
            ("MQTTSTACK__ALIYUN____AUTO", "x"),
            "expected MQTTSTACK__KEY",
        ),
        (("MQTTSTACK__", "x"), "expected MQTTSTACK__KEY"),
    ] {
        let error = refusal(&["config", &flag], &[(name, value)]).await;
        assert!(
            error.starts_with(&format!("mqttstack: {name}: ")) && error.contains(words),
            "{error}"
        );
    }
    let error = refusal(&[], &[("MQTTSTACK_ALIYUN_AUTO_CREATE", "false")]).await;
    assert!(error.contains("MQTTSTACK__ALIYUN__AUTO_CREATE"), "{error}");
}
