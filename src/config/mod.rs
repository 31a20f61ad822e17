//! The configuration: the `Settings` of every part of the program, and ports, clock, seed and log.
//! Later ones win: defaults, file, environment, flags (`cli/` reads the last two). `file.rs` reads a
//! file, `value.rs` has the types of single values such as a port, `default.toml` is the commented
//! file that `mqttstack config --default` prints.

mod file;
mod value;
mod variables;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use mqttstack_aliyun as aliyun;
use mqttstack_azure_event_grid as azure_event_grid;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::TopicFilter;
use mqttstack_broker as broker;
use mqttstack_nanomq as nanomq;
use mqttstack_pipeline::journal;
use mqttstack_tencent_cloud_api as cloud_api;
use mqttstack_tencent_iot_hub as tencent_iot;
use mqttstack_tencent_tdmq as tencent_tdmq;
use serde::{Deserialize, Serialize};

use crate::{admin, bridge, server, tls};

use self::file::Layers;

pub use value::{ClockStart, LogFormat, LogLevel, NotAClockStart, NotAPort, NotASeed, Port, Seed};
pub use variables::{NotAKey, PREFIX, Variable};

/// The most that `mqtt.max_topic_levels` can be.
const MAX_TOPIC_LEVELS: usize = 1_000;

/// The commented configuration file whose values are the defaults.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// Everything that can be configured. A field is a TOML key of the same name, and where it is no
/// table also the flag of that name with hyphens and the variable `MQTTSTACK_<NAME>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address that every listener binds.
    pub bind: IpAddr,
    /// The edge: all vendors and the admin API.
    pub http_port: Port,
    /// The edge over TLS.
    pub https_port: Port,
    /// MQTT over TCP.
    pub mqtt_port: Port,
    /// MQTT over TLS.
    pub mqtts_port: Port,
    /// MQTT over WebSocket, path `/mqtt`.
    pub ws_port: Port,
    /// MQTT over WebSocket over TLS, path `/mqtt`.
    pub wss_port: Port,
    /// Aliyun's HTTP surface alone.
    pub aliyun_port: Port,
    /// Tencent IoT Hub's HTTP surface alone.
    pub tencent_iot_port: Port,
    /// Tencent TDMQ's HTTP surface alone.
    pub tencent_tdmq_port: Port,
    /// Azure's HTTP surface alone.
    pub azure_port: Port,
    /// `NanoMQ`'s HTTP surface alone.
    pub nanomq_port: Port,
    /// Where the ready object is written once everything listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<PathBuf>,
    /// Where the emulator's clock starts.
    pub clock: ClockStart,
    /// What ids, nonces and keys are made from.
    pub seed: Seed,
    /// Where the local certificate authority is kept; without it nothing is written to disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_level: LogLevel,
    /// The bounds of the HTTP listeners.
    pub http: server::Settings,
    /// By which names the admin API may be called.
    pub admin: admin::Settings,
    /// For whom the TLS listeners show a certificate.
    pub tls: tls::Settings,
    /// What the broker grants and refuses.
    pub mqtt: broker::Settings,
    /// Another broker that messages go to and come from.
    pub bridge: bridge::Settings,
    /// How much the journal keeps.
    pub journal: journal::Settings,
    /// The Aliyun surface.
    pub aliyun: aliyun::Settings,
    /// The Azure surface.
    pub azure: azure_event_grid::Settings,
    /// The `NanoMQ` surface.
    pub nanomq: nanomq::Settings,
    /// The Tencent IoT Hub surface.
    pub tencent_iot: tencent_iot::Settings,
    /// The Tencent TDMQ surface.
    pub tencent_tdmq: tencent_tdmq::Settings,
    /// The keys of Tencent's cloud APIs.
    pub tencent_cloud: cloud_api::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            http_port: Port::Number(4580),
            https_port: Port::Number(4543),
            mqtt_port: Port::Number(1883),
            mqtts_port: Port::Number(8883),
            ws_port: Port::Number(8083),
            wss_port: Port::Number(8084),
            aliyun_port: Port::Off,
            tencent_iot_port: Port::Off,
            tencent_tdmq_port: Port::Off,
            azure_port: Port::Off,
            nanomq_port: Port::Off,
            ready_file: None,
            clock: ClockStart::Real,
            seed: Seed::Random,
            data_dir: None,
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            http: server::Settings::default(),
            admin: admin::Settings::default(),
            tls: tls::Settings::default(),
            mqtt: broker::Settings::default(),
            bridge: bridge::Settings::default(),
            journal: journal::Settings::default(),
            aliyun: aliyun::Settings::default(),
            azure: azure_event_grid::Settings::default(),
            nanomq: nanomq::Settings::default(),
            tencent_iot: tencent_iot::Settings::default(),
            tencent_tdmq: tencent_tdmq::Settings::default(),
            tencent_cloud: cloud_api::Settings::default(),
        }
    }
}

impl Config {
    /// The defaults, except that every listener opens at a free port: for emulators in process.
    pub fn free_ports() -> Self {
        let free = Port::Number(0);
        Self {
            http_port: free,
            https_port: free,
            mqtt_port: free,
            mqtts_port: free,
            ws_port: free,
            wss_port: free,
            aliyun_port: free,
            tencent_iot_port: free,
            tencent_tdmq_port: free,
            azure_port: free,
            nanomq_port: free,
            ..Self::default()
        }
    }

    /// The port of one vendor's own listener.
    pub const fn vendor_port(&self, surface: Surface) -> Port {
        match surface {
            Surface::Aliyun => self.aliyun_port,
            Surface::TencentIot => self.tencent_iot_port,
            Surface::TencentTdmq => self.tencent_tdmq_port,
            Surface::Azure => self.azure_port,
            Surface::Nanomq => self.nanomq_port,
        }
    }

    /// Reads a file. Keys that it does not name keep their defaults; relative paths in it start at
    /// its own directory.
    pub fn from_file(path: &Path) -> Result<Self, SourceError> {
        Self::layered(Base::Usual, Some(path), &[])
    }

    /// Reads a file, if there is one, and lays variables over it.
    pub fn layered(
        base: Base,
        file: Option<&Path>,
        variables: &[Variable],
    ) -> Result<Self, SourceError> {
        let failed = |what: String| match file {
            Some(path) => SourceError::File {
                path: path.to_owned(),
                what,
            },
            None => SourceError::Key(what),
        };
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?
            }
            None => String::new(),
        };
        let layers = Layers {
            base: base.values(),
            text: &text,
            dir: file.and_then(Path::parent),
            variables,
        };
        layers
            .read()
            .and_then(|config| config.checked().map_err(|error| error.of(variables)))
            .map_err(|error| match error.variable {
                Some(_) => SourceError::Key(error.to_string()),
                None => failed(error.to_string()),
            })
    }

    /// Reads the text of a file.
    pub fn from_toml(text: &str) -> Result<Self, KeyError> {
        Layers::of(text).read()?.checked()
    }

    fn checked(self) -> Result<Self, KeyError> {
        self.check()?;
        Ok(self)
    }

    /// What a value's type alone does not say.
    fn check(&self) -> Result<(), KeyError> {
        for (key, filters) in [
            ("mqtt.deny_subscribe", &self.mqtt.deny_subscribe),
            ("mqtt.deny_publish", &self.mqtt.deny_publish),
        ] {
            for filter in filters {
                TopicFilter::parse(filter).map_err(|error| KeyError {
                    key: key.to_owned(),
                    line: None,
                    variable: None,
                    what: format!("{filter:?} is not a topic filter: {error}"),
                })?;
            }
        }
        if !(1..=MAX_TOPIC_LEVELS).contains(&self.mqtt.max_topic_levels) {
            return Err(KeyError {
                key: "mqtt.max_topic_levels".to_owned(),
                line: None,
                variable: None,
                what: format!(
                    "expected a whole number from 1 to {MAX_TOPIC_LEVELS}, got {}",
                    self.mqtt.max_topic_levels
                ),
            });
        }
        for (key, number) in [
            ("journal.max_entries", self.journal.max_entries),
            (
                "journal.search_entry_bytes",
                self.journal.search_entry_bytes,
            ),
            ("journal.search_bytes", self.journal.search_bytes),
            ("http.max_connections", self.http.max_connections),
        ] {
            if number == 0 {
                return Err(KeyError {
                    key: key.to_owned(),
                    line: None,
                    variable: None,
                    what: "expected a whole number of 1 or more, got 0".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The configuration as a TOML file, secrets masked.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

/// What holds where neither file nor variable nor flag says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The documented defaults.
    Usual,
    /// Every listener, the vendors' own too, at a free port; and only warnings in the log.
    FreePorts,
}

impl Base {
    const fn values(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Usual => &[],
            Self::FreePorts => &[
                ("http_port", "0"),
                ("https_port", "0"),
                ("mqtt_port", "0"),
                ("mqtts_port", "0"),
                ("ws_port", "0"),
                ("wss_port", "0"),
                ("aliyun_port", "0"),
                ("tencent_iot_port", "0"),
                ("tencent_tdmq_port", "0"),
                ("azure_port", "0"),
                ("nanomq_port", "0"),
                ("log_level", "warn"),
            ],
        }
    }
}

/// A configuration that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there, or is wrong.
    #[error("--config {}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A key is wrong that stands in no file.
    #[error("{0}")]
    Key(String),
}

/// A key that does not exist, or has a value that it cannot have.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyError {
    /// The key with its tables, `mqtt.max_keep_alive`; empty where the text is no TOML.
    pub key: String,
    /// The line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// The variable that has set it, if it was one.
    pub variable: Option<String>,
}

impl KeyError {
    /// Names the variable that has set the key, if one has.
    fn of(self, variables: &[Variable]) -> Self {
        let setter = variables.iter().rfind(|variable| {
            format!("{}.", self.key).starts_with(&(variable.keys().join(".") + "."))
        });
        Self {
            variable: setter.map(|variable| variable.name().to_owned()),
            ..self
        }
    }
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(variable) = &self.variable {
            write!(f, "{variable}: ")?;
            // The name says the key already, unless the value is a table of them.
            let keys = variable.strip_prefix(PREFIX).unwrap_or_default();
            if keys.replace("__", ".").eq_ignore_ascii_case(&self.key) {
                return f.write_str(&self.what);
            }
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() && self.key != "." {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name_and_line() {
        let error = Config::from_toml("bind = \"::1\"\nhttp_prot = 1\n").unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.to_string().contains("http_prot"), "{error}");
        let error = Config::from_toml("[mqtt]\nqueue_limits = 1\n").unwrap_err();
        assert!(error.to_string().contains("mqtt.queue_limits"), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_its_key_and_line() {
        for (text, key) in [
            ("\nhttp_port = 65536", "http_port"),
            ("\nhttp_port = true", "http_port"),
            ("\nbind = \"localhost\"", "bind"),
            ("\nclock = 2026-11-21", "clock"),
            ("\nseed = -1", "seed"),
            ("\nlog_level = \"loud\"", "log_level"),
            ("[mqtt]\nmax_keep_alive = 70000", "mqtt.max_keep_alive"),
            ("[mqtt]\ndeny_publish = \"#\"", "mqtt.deny_publish"),
            ("\nhttp = 1", "http"),
        ] {
            let error = Config::from_toml(text).unwrap_err();
            assert_eq!((&*error.key, error.line), (key, Some(2)), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_what_the_key_takes() {
        for (text, words) in [
            (
                "mqtt.isolation = true",
                "mqtt.isolation: expected \"shared\" or \"tenant\", got true",
            ),
            (
                "mqtt.isolation = {}",
                "mqtt.isolation: expected \"shared\" or \"tenant\", got a table",
            ),
            (
                "aliyun.auth = 1",
                "aliyun.auth: expected \"strict\" or \"off\", got 1",
            ),
            (
                "azure.auth = \"on\"",
                "azure.auth: expected \"off\", \"lenient\" or \"strict\", got \"on\"",
            ),
            (
                "mqtt.queue_limit = \"x\"",
                "mqtt.queue_limit: expected a whole number of 0 or more, got \"x\"",
            ),
            (
                "mqtt.deny_publish = \"#\"",
                "mqtt.deny_publish: expected a list, got \"#\"",
            ),
            ("mqtt = 1", "mqtt: expected a table, got 1"),
            ("mqtt.queue_limits = 1", "did you mean \"queue_limit\"?"),
        ] {
            let error = Config::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            for rust in ["struct", "usize", "u16", "enum", "variant", "wanted"] {
                assert!(!error.contains(rust), "{error}");
            }
        }
    }

    #[test]
    fn levels_and_formats_are_read_in_any_case() {
        let config = Config::from_toml("log_level = \"DEBUG\"\nlog_format = \"Json\"").unwrap();
        assert_eq!(
            (config.log_level, config.log_format),
            (LogLevel::Debug, LogFormat::Json)
        );
        let error = Config::from_toml("log_level = \"loud\"").unwrap_err();
        assert!(
            error.what.starts_with("expected \"off\", \"error\""),
            "{error}"
        );
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.toml");
        std::fs::write(
            &path,
            "ready_file = \"r.json\"\ndata_dir = \"/abs\"\n[tls]\nclient_ca = [\"a.pem\", \"/b.pem\"]\n\
             [azure]\ntrusted_ca = \"t.pem\"\n",
        )
        .unwrap();
        let config = Config::from_file(&path).unwrap();
        assert_eq!(config.ready_file, Some(dir.path().join("r.json")));
        assert_eq!(config.data_dir, Some("/abs".into()));
        assert_eq!(
            config.tls.client_ca,
            [dir.path().join("a.pem"), "/b.pem".into()]
        );
        let trusted = dir.path().join("t.pem").to_string_lossy().into_owned();
        assert_eq!(config.azure.trusted_ca, Some(trusted));
        std::fs::write(&path, "[tencent_tdmq]\nca_certificates = [\"ca.crt\"]\n").unwrap();
        let error = Config::from_file(&path).unwrap_err().to_string();
        let wanted = dir.path().join("ca.crt").to_string_lossy().into_owned();
        assert!(error.contains(&wanted), "{error}");
    }

    #[test]
    fn a_denied_filter_that_is_none_is_refused_with_its_key() {
        let error = Config::from_toml("[mqtt]\ndeny_publish = [\"a#\"]").unwrap_err();
        assert!(
            error.to_string().contains("mqtt.deny_publish: \"a#\""),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let error = Config::from_toml("bind = \"::1\"\n=\n").unwrap_err();
        assert_eq!(error.line, Some(2), "{error}");
    }

    #[test]
    fn a_date_time_and_a_text_both_set_the_clock() {
        let frozen = ClockStart::Frozen("2026-11-21T22:51:00Z".parse().unwrap());
        for text in [
            "clock = 2026-11-21T22:51:00Z",
            "clock = \"2026-11-21T22:51:00Z\"",
        ] {
            assert_eq!(Config::from_toml(text).unwrap().clock, frozen);
        }
    }

    #[test]
    fn the_effective_configuration_reads_back_the_same() {
        let config = Config {
            seed: Seed::Fixed(u64::MAX),
            nanomq_port: Port::Number(8081),
            clock: ClockStart::Frozen("2026-11-21T22:51:00Z".parse().unwrap()),
            ready_file: Some("ready.json".into()),
            ..Config::default()
        };
        let text = config.to_toml().unwrap();
        let again = Config::from_toml(&text).unwrap();
        assert_eq!(again.to_toml().unwrap(), text);
        assert_eq!(again.seed, Seed::Fixed(u64::MAX));
    }

    #[test]
    fn the_default_file_says_the_defaults_and_leaves_no_key_out() {
        let parsed = Config::from_toml(DEFAULT_FILE).unwrap();
        let defaults = Config::default().to_toml().unwrap();
        assert_eq!(parsed.to_toml().unwrap(), defaults);
        let named: toml::Table = DEFAULT_FILE.parse().unwrap();
        let wanted: toml::Table = defaults.parse().unwrap();
        assert_same_keys("", &wanted, &named);
    }

    fn assert_same_keys(table: &str, wanted: &toml::Table, named: &toml::Table) {
        for (key, value) in wanted {
            let path = format!("{table}{key}");
            let there = named.get(key);
            assert!(there.is_some(), "src/config/default.toml lacks {path}");
            if let (Some(wanted), Some(named)) =
                (value.as_table(), there.and_then(toml::Value::as_table))
            {
                assert_same_keys(&format!("{path}."), wanted, named);
            }
        }
    }
}
