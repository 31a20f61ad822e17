//! What can be set about IoT Hub, `[tencent_iot]`, and the products and devices that are there
//! from the start. The cloud API's keys are in `tencent-cloud-api`.

use std::collections::BTreeMap;

use mqttstack_base::secret::Secret;
use mqttstack_kit::auth::AuthMode;
use serde::{Deserialize, Serialize};

/// The hint of everything that is let in unchecked.
pub(super) fn auth_off(auth: AuthMode) -> Option<String> {
    let off = auth == AuthMode::Off;
    off.then(|| "tencent_iot.auth is off: the credentials were not checked".to_owned())
}

/// The table `[tencent_iot]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether device signatures and passwords are checked (default `strict`).
    pub auth: AuthMode,
    /// How far `X-TC-Timestamp` may be from the emulator's time, in seconds (default 300, the
    /// cloud API's figure: the gateway's own is not documented; 0 turns the check off).
    pub timestamp_window_s: u32,
    /// Further host names that a device may have signed (default none). The `Host` header, with
    /// and without its port, and the four regional gateways are always tried.
    pub host_aliases: Vec<String>,
    /// The regions that cloud API calls may name; without one or with another they are refused
    /// (default: those of the device gateways, documented, and the further ones of the sister
    /// product's API page, assumed). An empty list takes any and none.
    pub regions: Vec<String>,
    /// Whether a custom topic of the device's own comes into being on first use (default false:
    /// the cloud knows only the topic classes that were created).
    pub auto_create: bool,
    /// Whether `PublishMessage` to a device that is offline or not subscribed fails (default
    /// false; what the cloud does is not documented).
    pub fail_undelivered: bool,
    /// How long `PublishRRPCMessage` waits for the device, in milliseconds (default 4,000: the
    /// RRPC page; the limits page says 10 seconds).
    pub rrpc_timeout_ms: u64,
    /// How many seconds must lie between two MQTT connections of one device (default 0: no
    /// matter how many). The limits page says 5, which test suites that reconnect at once cannot
    /// keep, and the device SDKs, which wait longer, never meet.
    pub connect_interval_s: u32,
    /// How many filters a SUBSCRIBE may have (default 1, limits page; 0: as many as it likes,
    /// since the vendor's Python device SDK can send several).
    pub filters_per_subscribe: usize,
    /// How many milliseconds lie between two of the messages that have waited for a device
    /// (default 500, persistent session page; 0: none).
    pub offline_replay_ms: u64,
    /// Calls per second by operation, in place of the built-in figures; 0 means no limit. Beside
    /// the names of operations: `mqtt/publish` and `mqtt/deliver`, messages of one device up and
    /// down (30 and 50, limits page).
    pub quotas: BTreeMap<String, u32>,
    /// The products (default: the well-known test ones).
    pub products: Vec<Product>,
}

/// How a product's devices prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// By a key that both sides know: `EncryptionType` "2".
    #[default]
    Psk,
    /// By an X.509 certificate: `EncryptionType` "1".
    Certificate,
}

impl Encryption {
    /// As the cloud API numbers it.
    pub const fn number(self) -> u8 {
        match self {
            Self::Certificate => 1,
            Self::Psk => 2,
        }
    }
}

/// Whether devices may register themselves, as the vendor numbers it in `RegisterType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RegisterTypeSpelling", into = "u8")]
pub enum RegisterType {
    /// 0: no.
    #[default]
    Off,
    /// 1: devices that were created before.
    PreCreated,
    /// 2: any device; it is created.
    AutoCreate,
}

/// In the file: `true`, `false`, or the vendor's number.
#[derive(Deserialize)]
#[serde(untagged)]
enum RegisterTypeSpelling {
    Switch(bool),
    Number(RegisterNumber),
}

#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct RegisterNumber(RegisterType);

impl TryFrom<u8> for RegisterNumber {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        RegisterType::from_number(i64::from(number))
            .map(Self)
            .ok_or("dynamic_registration is true, false, 0, 1 or 2")
    }
}

impl From<RegisterTypeSpelling> for RegisterType {
    fn from(spelling: RegisterTypeSpelling) -> Self {
        match spelling {
            RegisterTypeSpelling::Switch(true) => Self::AutoCreate,
            RegisterTypeSpelling::Switch(false) => Self::Off,
            RegisterTypeSpelling::Number(number) => number.0,
        }
    }
}

impl From<RegisterType> for u8 {
    fn from(kind: RegisterType) -> Self {
        match kind {
            RegisterType::Off => 0,
            RegisterType::PreCreated => 1,
            RegisterType::AutoCreate => 2,
        }
    }
}

impl RegisterType {
    /// From the vendor's number.
    pub(crate) const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::PreCreated),
            2 => Some(Self::AutoCreate),
            _ => None,
        }
    }
}

/// One product: `[[tencent_iot.products]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// `ProductId`, ten capital letters and digits.
    pub id: String,
    /// `ProductSecret`, for dynamic registration.
    #[serde(default = "no_secret")]
    pub secret: Secret,
    /// How its devices prove who they are (default `psk`).
    #[serde(default)]
    pub encryption: Encryption,
    /// Whether devices may register themselves (default false).
    #[serde(default)]
    pub dynamic_registration: RegisterType,
    /// False forbids the product (default true).
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Custom topic classes beside the default ones.
    #[serde(default)]
    pub topics: Vec<TopicClass>,
    /// The remote configuration that its devices can ask for (default none: they are told that
    /// there is none).
    #[serde(default)]
    pub remote_configuration: Option<serde_json::Map<String, serde_json::Value>>,
    /// Its devices.
    #[serde(default)]
    pub devices: Vec<Device>,
}

/// A custom topic class of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicClass {
    /// What follows `{ProductId}/{DeviceName}/`.
    pub name: String,
    /// 1 publish, 2 subscribe, 3 both.
    pub privilege: u8,
}

/// One device: `[[tencent_iot.products.devices]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// `DeviceName`.
    pub name: String,
    /// The key, as the console prints it.
    #[serde(default)]
    pub psk: Option<Secret>,
    /// The X.509 certificate in PEM.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The RSA public key in PEM, where there is no certificate.
    #[serde(default)]
    pub public_key: Option<String>,
    /// False disables the device (default true).
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn no_secret() -> Secret {
    Secret::new("")
}

const fn yes() -> bool {
    true
}

/// The public half of the throw-away key with which the recorded RSA requests are signed.
const TEST_PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEArVtdP/Tlcya5tc3yG20w
wBiIneTKDczXJivY93aMwwxu/CHrt6nY1knDW6qo8Tll7HHv9GEKGgBP51NLkCgv
C4Y6Tqmq6oI8D/Urnkqxq1XbPkfkWXUIMjtYAhab+q+sCLPw5Xs2tD1J0YQnE4kc
QcHPMrqsV/PJYjwSfViA4m8eIh9ej/h9oPS/Lih49TQesxDmKENApBjzwx0a6iPw
+ZRFA4taotMWxlxLsUypjxSw187sTHsHc2Mzlb25UN7p0bHz/jQJgt40v5eotfyq
MakNnoaMLz4wzQC1Ao7hKh/pDv4T5Ktn8CRBku2EfD9oZhYv4lMdXh3gDhbr4QIH
pwIDAQAB
-----END PUBLIC KEY-----
";

const REGIONS: [&str; 7] = [
    "ap-guangzhou",
    "na-ashburn",
    "eu-frankfurt",
    "ap-bangkok",
    "ap-beijing",
    "ap-shanghai",
    "ap-shanghai-fsi",
];

impl Default for Settings {
    fn default() -> Self {
        let device = |psk: Option<&str>| Device {
            name: "dev01".to_owned(),
            psk: psk.map(Secret::new),
            certificate: None,
            public_key: Some(TEST_PUBLIC_KEY.to_owned()),
            enabled: true,
        };
        let product = |id: &str, secret: &str, encryption, device| Product {
            id: id.to_owned(),
            secret: Secret::new(secret),
            encryption,
            dynamic_registration: RegisterType::AutoCreate,
            enabled: true,
            topics: Vec::new(),
            remote_configuration: None,
            devices: vec![device],
        };
        Self {
            auth: AuthMode::Strict,
            timestamp_window_s: 300,
            host_aliases: Vec::new(),
            regions: REGIONS.map(ToOwned::to_owned).to_vec(),
            auto_create: false,
            fail_undelivered: false,
            rrpc_timeout_ms: 4_000,
            connect_interval_s: 0,
            filters_per_subscribe: 1,
            offline_replay_ms: 500,
            quotas: BTreeMap::new(),
            products: vec![
                // Has a public key beside its PSK: the recorded RSA request names this device.
                product(
                    "ABCDE12345",
                    "PRODUCT_SECRETKEY",
                    Encryption::Psk,
                    device(Some("MDEyMzQ1Njc4OWFiY2RlZg==")),
                ),
                product(
                    "FGHIJ67890",
                    "PRODUCT_SECRETKEY",
                    Encryption::Certificate,
                    device(None),
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register_type(text: &str) -> Result<RegisterType, toml::de::Error> {
        let text = format!("id = \"P\"\ndynamic_registration = {text}");
        toml::from_str::<Product>(&text).map(|product| product.dynamic_registration)
    }

    #[test]
    fn dynamic_registration_is_a_switch_or_the_vendors_number() {
        for (text, kind) in [
            ("true", RegisterType::AutoCreate),
            ("false", RegisterType::Off),
            ("0", RegisterType::Off),
            ("1", RegisterType::PreCreated),
            ("2", RegisterType::AutoCreate),
        ] {
            assert_eq!(register_type(text).unwrap(), kind);
        }
        for text in ["3", "-1", "\"on\"", "1.5"] {
            assert!(register_type(text).is_err(), "{text}");
        }
    }

    #[test]
    fn printed_settings_hide_their_secrets() {
        let text = serde_json::to_string(&Settings::default()).unwrap();
        assert!(text.contains("ABCDE12345"));
        assert!(!text.contains("PRODUCT_SECRETKEY") && !text.contains("MDEyMzQ1"));
    }
}
