//! What a command is told in its environment: where everything listens, who it may be, whom to
//! trust. The names of the vendors' own variables are those that docs/ tells users to set and that
//! the SDKs read; a name of ours begins with `MQTTSTACK_`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mqttstack_base::exchange::Surface;
use mqttstack_base::secret::Secret;

use crate::config::Config;
use crate::emulator::Emulator;

/// The variables that make a client trust the files that they name, and nobody else. They get the
/// machine's authorities as well, so that the command reaches who it reached before.
const TRUST: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
/// The variables whose file is trusted beside the client's own.
const TRUST_MORE: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];
/// Variables of a session that the credentials told here have not.
const REMOVED: [&str; 3] = [
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "TENCENTCLOUD_TOKEN",
    "TENCENTCLOUD_SESSION_TOKEN",
];
/// Which of its credentials `DefaultAzureCredential` takes (captured: `azure-identity` 1.27.0 for
/// Python, 4.13.1 for Node.js).
const DEFAULT_CREDENTIAL: &str = "AZURE_TOKEN_CREDENTIALS";
/// Whom no proxy can reach.
const LOCAL: &str = "127.0.0.1,localhost,::1";

/// The listeners that the ready object names.
const LISTENERS: [&str; 6] = ["http", "https", "mqtt", "mqtts", "ws", "wss"];

/// What ours are called behind the name of a listener or surface.
const URL: &str = "_URL";
const ENDPOINT: &str = "_ENDPOINT";

/// Our variables that are no address.
const OURS: [&str; 19] = [
    "MQTTSTACK_READY",
    "MQTTSTACK_ADMIN_URL",
    "MQTTSTACK_CA_CERT",
    "MQTTSTACK_ALIYUN_INSTANCE_ID",
    "MQTTSTACK_ALIYUN_GROUP_ID",
    "MQTTSTACK_AZURE_NAMESPACE",
    "MQTTSTACK_AZURE_NAMESPACE_KEY",
    "MQTTSTACK_AZURE_OBJECT_ID",
    "MQTTSTACK_AZURE_CLIENT_SECRET",
    "MQTTSTACK_NANOMQ_USERNAME",
    "MQTTSTACK_NANOMQ_PASSWORD",
    "MQTTSTACK_TENCENT_IOT_PRODUCT_ID",
    "MQTTSTACK_TENCENT_IOT_PRODUCT_SECRET",
    "MQTTSTACK_TENCENT_IOT_DEVICE_NAME",
    "MQTTSTACK_TENCENT_IOT_DEVICE_PSK",
    "MQTTSTACK_TENCENT_TDMQ_INSTANCE_ID",
    "MQTTSTACK_TENCENT_TDMQ_USERNAME",
    "MQTTSTACK_TENCENT_TDMQ_PASSWORD",
    "MQTTSTACK_URL",
];

/// Whether a variable is one that commands are told, and no setting.
pub(in crate::cli) fn tells(name: &str) -> bool {
    let listener = || {
        let name = name.strip_prefix("MQTTSTACK_")?;
        let of = name
            .strip_suffix(URL)
            .or_else(|| name.strip_suffix(ENDPOINT))?;
        let surfaces = Surface::ALL.iter().map(|surface| upper(surface.as_str()));
        let mut all = LISTENERS.iter().map(|name| upper(name)).chain(surfaces);
        all.any(|known| known == of).then_some(())
    };
    OURS.contains(&name) || listener().is_some()
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// The variables, and the files that some of them name: gone when this is dropped.
pub(super) struct Environment {
    set: BTreeMap<String, String>,
    _files: Folder,
}

impl Environment {
    pub(super) fn new(config: &Config, emulator: &Emulator) -> io::Result<Self> {
        let files = Folder::make()?;
        let mut told = Told::default();
        told.addresses(emulator);
        told.aliyun(config);
        told.azure(config, emulator);
        told.nanomq(config);
        told.tencent(config);
        let file = files.write("token.jwt", b"any")?;
        told.set("AZURE_FEDERATED_TOKEN_FILE", file);
        told.trust(&files, emulator.ca_pem())?;
        told.proxies();
        Ok(Self {
            set: told.0,
            _files: files,
        })
    }

    pub(super) fn set(&self) -> &BTreeMap<String, String> {
        &self.set
    }

    #[expect(clippy::unused_self, reason = "the other half of what is set")]
    pub(super) fn removed(&self) -> impl Iterator<Item = &'static str> {
        REMOVED.into_iter()
    }
}

#[derive(Default)]
struct Told(BTreeMap<String, String>);

impl Told {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn secret(&mut self, name: &str, value: Option<&Secret>) {
        if let Some(value) = value.map(Secret::expose).filter(|text| !text.is_empty()) {
            self.set(name, value);
        }
    }

    /// A listener's URL, and what stands in it between scheme and path.
    fn address(&mut self, listener: &str, url: &str) {
        let name = format!("MQTTSTACK_{}", upper(listener));
        if let Some(authority) = url.split('/').nth(2) {
            self.set(&(name.clone() + ENDPOINT), authority);
        }
        self.set(&(name + URL), url);
    }

    fn addresses(&mut self, emulator: &Emulator) {
        let ready = emulator.ready();
        if let Ok(text) = serde_json::to_string(ready) {
            self.set("MQTTSTACK_READY", text);
        }
        let urls = [
            &ready.http,
            &ready.https,
            &ready.mqtt,
            &ready.mqtts,
            &ready.ws,
            &ready.wss,
        ];
        for (listener, url) in LISTENERS.into_iter().zip(urls) {
            if let Some(url) = url {
                self.address(listener, url);
            }
        }
        for surface in Surface::ALL {
            if let Some(url) = emulator.vendor_url(surface) {
                self.address(surface.as_str(), url);
            }
        }
        if let Some(url) = &ready.admin {
            self.set("MQTTSTACK_ADMIN_URL", url);
        }
        if let Some(url) = &ready.http {
            self.set("MQTTSTACK_URL", url);
        }
    }

    fn aliyun(&mut self, config: &Config) {
        let keys = &config.aliyun.access_keys;
        let key = keys
            .iter()
            .find(|key| key.secret.is_some() && key.security_token.is_none());
        if let Some(key) = key {
            self.set("ALIBABA_CLOUD_ACCESS_KEY_ID", &key.id);
            self.secret("ALIBABA_CLOUD_ACCESS_KEY_SECRET", key.secret.as_ref());
        }
        if let Some(instance) = config.aliyun.instances.first() {
            self.set("MQTTSTACK_ALIYUN_INSTANCE_ID", &instance.id);
            if let Some(group) = instance.groups.first() {
                self.set("MQTTSTACK_ALIYUN_GROUP_ID", group);
            }
        }
    }

    fn azure(&mut self, config: &Config, emulator: &Emulator) {
        let azure = &config.azure;
        self.set("AZURE_TENANT_ID", &azure.tenant);
        if let Some(principal) = azure.principals.first() {
            self.set("AZURE_CLIENT_ID", &principal.client_id);
            self.secret("AZURE_CLIENT_SECRET", principal.secret.as_ref());
            self.secret("MQTTSTACK_AZURE_CLIENT_SECRET", principal.secret.as_ref());
            self.set("MQTTSTACK_AZURE_OBJECT_ID", &principal.object_id);
        }
        if let Some(namespace) = azure.namespaces.first() {
            self.set("MQTTSTACK_AZURE_NAMESPACE", &namespace.name);
            self.secret("MQTTSTACK_AZURE_NAMESPACE_KEY", Some(&namespace.key));
        }
        if let Some(url) = emulator.http_url() {
            self.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", url);
            // With the secret above, `DefaultAzureCredential` would take that before the managed
            // identity, and ask login.microsoftonline.com whether it may.
            if std::env::var_os(DEFAULT_CREDENTIAL).is_none() {
                self.set(DEFAULT_CREDENTIAL, "ManagedIdentityCredential");
            }
        }
        if let Some(url) = emulator.https_url() {
            self.set("AZURE_AUTHORITY_HOST", url);
        }
    }

    fn nanomq(&mut self, config: &Config) {
        self.set("MQTTSTACK_NANOMQ_USERNAME", &config.nanomq.username);
        self.secret("MQTTSTACK_NANOMQ_PASSWORD", Some(&config.nanomq.password));
    }

    fn tencent(&mut self, config: &Config) {
        let keys = &config.tencent_cloud.secrets;
        if let Some(key) = keys.iter().find(|key| key.token.is_none()) {
            self.set("TENCENTCLOUD_SECRET_ID", &key.id);
            self.secret("TENCENTCLOUD_SECRET_KEY", Some(&key.key));
        }
        if let Some(product) = config.tencent_iot.products.first() {
            self.set("MQTTSTACK_TENCENT_IOT_PRODUCT_ID", &product.id);
            self.secret(
                "MQTTSTACK_TENCENT_IOT_PRODUCT_SECRET",
                Some(&product.secret),
            );
            if let Some(device) = product.devices.first() {
                self.set("MQTTSTACK_TENCENT_IOT_DEVICE_NAME", &device.name);
                self.secret("MQTTSTACK_TENCENT_IOT_DEVICE_PSK", device.psk.as_ref());
            }
        }
        let tdmq = &config.tencent_tdmq;
        self.set("MQTTSTACK_TENCENT_TDMQ_INSTANCE_ID", &tdmq.instance.id);
        if let Some(user) = tdmq.users.first() {
            self.set("MQTTSTACK_TENCENT_TDMQ_USERNAME", &user.name);
            self.secret("MQTTSTACK_TENCENT_TDMQ_PASSWORD", Some(&user.password));
        }
    }

    fn trust(&mut self, files: &Folder, own: &str) -> io::Result<()> {
        let own = if own.ends_with('\n') {
            own.to_owned()
        } else {
            format!("{own}\n")
        };
        self.set("MQTTSTACK_CA_CERT", files.write("ca.pem", own.as_bytes())?);
        let machine = machine_authorities();
        for name in TRUST {
            let before = before(name).unwrap_or_else(|| machine.clone());
            let text = [own.as_bytes(), &before].concat();
            self.set(name, files.write(&format!("{name}.pem"), &text)?);
        }
        for name in TRUST_MORE {
            let text = [own.as_bytes(), &before(name).unwrap_or_default()].concat();
            self.set(name, files.write(&format!("{name}.pem"), &text)?);
        }
        Ok(())
    }

    /// A proxy elsewhere would look for 127.0.0.1 at itself.
    #[expect(
        clippy::disallowed_methods,
        reason = "what the command inherits is extended"
    )]
    fn proxies(&mut self) {
        for name in ["NO_PROXY", "no_proxy"] {
            let before = std::env::var(name).unwrap_or_default();
            let value = match &*before {
                "" => LOCAL.to_owned(),
                "*" => before,
                before => format!("{before},{LOCAL}"),
            };
            self.set(name, value);
        }
    }
}

/// What the file holds that such a variable names already.
fn before(name: &str) -> Option<Vec<u8>> {
    let path = std::env::var_os(name).filter(|path| !path.is_empty())?;
    std::fs::read(path).ok()
}

/// The authorities that the machine trusts, in PEM. Those that cannot be read are left out.
fn machine_authorities() -> Vec<u8> {
    let mut text = String::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(&certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

/// A new folder for temporary files; gone when this is dropped.
struct Folder(tempfile::TempDir);

impl Folder {
    fn make() -> io::Result<Self> {
        tempfile::Builder::new()
            .prefix("mqttstack-")
            .tempdir()
            .map(Self)
    }

    /// Writes a file and says where it is.
    fn write(&self, name: &str, text: &[u8]) -> io::Result<String> {
        let path: PathBuf = Path::new(self.0.path()).join(name);
        std::fs::File::create(&path)?.write_all(text)?;
        Ok(path.to_string_lossy().into_owned())
    }
}
