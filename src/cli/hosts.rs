//! `mqttstack hosts`: lines for a hosts file that lead the vendors' host names here. The names are
//! those of the edge's table; what fills in their patterns is below, each with its standing.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use mqttstack_kit::wording;

use super::{finish, print, refuse};
use crate::config::Config;
use crate::edge;

/// Documented: the vendor's page of endpoints, November 2026. The closed `ap-southeast-2` is left out.
const ALIYUN: &[&str] = &[
    "cn-qingdao",
    "cn-beijing",
    "cn-zhangjiakou",
    "cn-huhehaote",
    "cn-wulanchabu",
    "cn-hangzhou",
    "cn-shanghai",
    "cn-shenzhen",
    "cn-guangzhou",
    "cn-chengdu",
    "cn-hongkong",
    "ap-southeast-1",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-northeast-1",
    "eu-central-1",
    "eu-west-1",
    "us-west-1",
    "us-east-1",
    "me-central-1",
    "cn-hangzhou-finance",
    "cn-shanghai-finance-1",
    "cn-shenzhen-finance-1",
    "mq-internet-access",
];
/// Documented: the page of IoT Hub's access regions, November 2026.
const TENCENT_GATEWAYS: &[&str] = &["ap-guangzhou", "us-east", "europe", "ap-bangkok"];

/// The regions that a pattern of a host name can have: those of the vendor's page, or, where no
/// page was found, those of the settings.
fn regions(pattern: &str, config: &Config) -> Vec<String> {
    let fixed = |regions: &[&str]| regions.iter().map(ToString::to_string).collect();
    if pattern.ends_with(".aliyuncs.com") {
        return fixed(ALIYUN);
    }
    if pattern.ends_with(".tencentdevices.com") {
        return fixed(TENCENT_GATEWAYS);
    }
    if pattern.starts_with("mqtt.") && !config.tencent_tdmq.regions.is_empty() {
        return config.tencent_tdmq.regions.clone();
    }
    if pattern.ends_with(".tencentcloudapi.com") {
        return config.tencent_iot.regions.clone();
    }
    // Azure numbers its hosts within a region.
    let namespaces = config.azure.namespaces.iter();
    namespaces
        .map(|one| format!("{}-1", one.location))
        .collect()
}

pub(super) fn run(config: &Config, wanted: &[String], address: Option<IpAddr>) -> ExitCode {
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if let Err(why) = check(config, wanted) {
        return refuse(&why);
    }
    let mut text = String::new();
    for pattern in edge::hosts() {
        // An address needs no line, and cannot have one.
        if pattern.parse::<IpAddr>().is_ok() {
            continue;
        }
        let names = names(pattern, config, wanted);
        if names.is_empty() {
            let _ = writeln!(text, "# {pattern}: {}", what_is_missing(pattern));
        }
        for name in names {
            let _ = writeln!(text, "{address} {name}");
        }
    }
    finish(print(&text))
}

fn what_is_missing(pattern: &str) -> &'static str {
    if pattern.contains("{instance}") {
        "add the name of your instance's access point"
    } else if pattern.contains("{region}") {
        "name a region with --region"
    } else {
        "add your names"
    }
}

/// A region that no vendor has would be left out without a word.
fn check(config: &Config, wanted: &[String]) -> Result<(), String> {
    let mut known: Vec<String> = edge::hosts()
        .filter(|pattern| pattern.contains("{region}"))
        .flat_map(|pattern| regions(pattern, config))
        .collect();
    known.sort_unstable();
    known.dedup();
    for region in wanted {
        if known.contains(region) {
            continue;
        }
        let near = wording::nearest(region, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean {near}?"));
        return Err(format!(
            "--region {region}: no vendor documents it{}; there are {}",
            near.unwrap_or_default(),
            known.join(", ")
        ));
    }
    Ok(())
}

/// The names that a pattern stands for.
fn names(pattern: &str, config: &Config, wanted: &[String]) -> Vec<String> {
    let mut names = if pattern.contains("{namespace}") {
        let namespaces = config.azure.namespaces.iter();
        // A namespace is in one region, which need not be asked for.
        return namespaces
            .map(|one| {
                pattern
                    .replace("{namespace}", &one.name)
                    .replace("{region}", &format!("{}-1", one.location))
            })
            .collect();
    } else {
        vec![pattern.to_owned()]
    };
    if pattern.contains("{region}") {
        let known = regions(pattern, config);
        names = wanted
            .iter()
            .filter(|region| known.contains(region))
            .map(|region| pattern.replace("{region}", region))
            .collect();
    }
    names.retain(|name| !name.contains('{'));
    names
}
