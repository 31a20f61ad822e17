//! `mqttstack hosts`: lines for a hosts file.

use crate::program::{refusal, run};

async fn lines(arguments: &[&str]) -> Vec<String> {
    let mut all = vec!["hosts"];
    all.extend_from_slice(arguments);
    let output = run(&all, &[]).await;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|one| one == line)
}

#[tokio::test]
async fn fixed_names_and_those_of_the_namespaces_are_there() {
    let lines = lines(&[]).await;
    for name in [
        "gateway.tencentdevices.com",
        "iotcloud.tencentcloudapi.com",
        "mqtt.tencentcloudapi.com",
        "login.microsoftonline.com",
        "aliyun.localhost",
        "nsname.westus3-1.ts.eventgrid.azure.net",
    ] {
        assert!(
            has(&lines, &format!("127.0.0.1 {name}")),
            "{name}: {lines:?}"
        );
    }
    for line in &lines {
        assert!(
            line.starts_with("# ") || !line.contains(['{', '}']),
            "{line}"
        );
        assert!(!line.contains("169.254.169.254"), "{line}");
    }
}

#[tokio::test]
async fn a_region_adds_the_names_that_have_it() {
    let lines = lines(&[
        "--region=cn-hangzhou",
        "--region=ap-guangzhou",
        "--address=10.0.0.7",
    ])
    .await;
    for name in [
        "onsmqtt.cn-hangzhou.aliyuncs.com",
        "onsmqtt-vpc.cn-hangzhou.aliyuncs.com",
        "ap-guangzhou.gateway.tencentdevices.com",
        "iotcloud.ap-guangzhou.tencentcloudapi.com",
    ] {
        assert!(
            has(&lines, &format!("10.0.0.7 {name}")),
            "{name}: {lines:?}"
        );
    }
    assert!(!has(&lines, "10.0.0.7 onsmqtt.ap-guangzhou.aliyuncs.com"));
}

#[tokio::test]
async fn a_region_that_nobody_has_is_refused_with_the_nearest() {
    let error = refusal(&["hosts", "--region=cn-hangzou"], &[]).await;
    assert!(error.contains("did you mean cn-hangzhou?"), "{error}");
}
