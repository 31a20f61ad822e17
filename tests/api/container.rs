//! The files that run the emulator in a container, as far as they can be checked without an
//! engine: the compose file is well-formed, names files that exist, and fits the program.

use std::path::Path;

use serde_json::Value;

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|item| item.as_str().expect("a text"))
        .collect()
}

#[test]
fn the_compose_file_starts_the_emulator_with_a_sample_configuration() {
    let compose: Value = serde_saphyr::from_str(&text("docker-compose.yml")).unwrap();
    let emulator = &compose["services"]["mqttstack"];
    let mount = strings(&emulator["volumes"])[0]
        .split(':')
        .collect::<Vec<_>>();
    let [file, target, "ro"] = mount[..] else {
        panic!("{mount:?}");
    };
    assert_eq!(emulator["environment"]["MQTTSTACK_CONFIG"], target);
    mqttstack::config::Config::from_toml(&text(file)).unwrap();
    assert_eq!(
        strings(&emulator["healthcheck"]["test"]),
        ["CMD", "/mqttstack", "healthcheck"]
    );
    let defaults: toml::Table = mqttstack::config::DEFAULT_FILE.parse().unwrap();
    let mut ports: Vec<i64> = ["http", "https", "mqtt", "mqtts", "ws", "wss"]
        .iter()
        .map(|name| defaults[&format!("{name}_port")].as_integer().unwrap())
        .collect();
    let mut published: Vec<i64> = strings(&emulator["ports"])
        .iter()
        .map(|port| {
            let (outside, inside) = port
                .strip_prefix("127.0.0.1:")
                .unwrap()
                .split_once(':')
                .unwrap();
            assert_eq!(outside, inside);
            inside.parse().unwrap()
        })
        .collect();
    ports.sort_unstable();
    published.sort_unstable();
    assert_eq!(published, ports);
}

#[test]
fn the_subscriber_of_the_compose_file_waits_for_a_healthy_emulator() {
    let compose: Value = serde_saphyr::from_str(&text("docker-compose.yml")).unwrap();
    let subscriber = &compose["services"]["subscriber"];
    assert_eq!(strings(&subscriber["profiles"]), ["subscriber"]);
    assert_eq!(
        subscriber["depends_on"]["mqttstack"]["condition"],
        "service_healthy"
    );
    let command = strings(&subscriber["command"]);
    assert_eq!(command[..3], ["mosquitto_sub", "-h", "mqttstack"]);
}

#[test]
fn the_image_runs_what_the_crate_builds_as_nobody_special() {
    let dockerfile = text("Dockerfile");
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let rust = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{rust}-slim")));
    let profiles = manifest["profile"].as_table().unwrap();
    let built: Vec<_> = dockerfile
        .split("--profile ")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    // The dependencies' layer is of use only where the program is built in the same way.
    let [cooked, profile] = built[..] else {
        panic!("{built:?}");
    };
    assert_eq!(cooked, profile);
    assert!(profiles.contains_key(profile), "{profile}");
    assert!(dockerfile.contains(&format!("/src/target/{profile}/mqttstack /mqttstack\n")));
    assert!(dockerfile.contains("USER 65534:65534\n"));
    assert!(dockerfile.contains("ENV MQTTSTACK_BIND=0.0.0.0\n"));
    assert!(dockerfile.contains("CMD [\"/mqttstack\", \"healthcheck\"]"));
}
