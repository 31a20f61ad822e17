//! Products and their devices, shared by the device gateway, the cloud API and the MQTT side:
//! a device that one of them makes is there for the others at once. Values go in and out by
//! copy; no lock outlives a function.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::keys::PublicKey;
use super::settings::{self, Encryption, RegisterType, Settings, TopicClass};
use super::shadow::Shadow;

/// A product without its devices.
#[derive(Debug, Clone)]
pub(super) struct Product {
    /// `ProductId`.
    pub(super) id: String,
    /// `ProductName`.
    pub(super) name: String,
    /// `ProductSecret`.
    pub(super) secret: Secret,
    /// How its devices prove who they are.
    pub(super) encryption: Encryption,
    /// Whether devices may register themselves.
    pub(super) register_type: RegisterType,
    /// How many devices self-registration may create.
    pub(super) register_limit: usize,
    /// False: forbidden.
    pub(super) enabled: bool,
    /// Custom topic classes.
    pub(super) topics: Vec<TopicClass>,
    /// The configuration that its devices can ask for.
    pub(super) remote_configuration: Option<Map<String, Value>>,
    /// What `CreateProduct` said and nothing here reads.
    pub(super) properties: Map<String, Value>,
}

/// One device.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// `DeviceName`.
    pub(super) name: String,
    /// The key, as the console prints it.
    pub(super) psk: Option<Secret>,
    /// The public key of its certificate.
    pub(super) public_key: Option<PublicKey>,
    /// The certificate in PEM.
    pub(super) certificate: Option<String>,
    /// False: disabled.
    pub(super) enabled: bool,
    /// When it was created.
    pub(super) created: Timestamp,
    /// Whether it came into being by registering itself.
    pub(super) registered: bool,
    /// When a connection of its was last let in.
    pub(super) last_admitted: Option<Timestamp>,
    /// When it first connected over MQTT.
    pub(super) first_online: Option<Timestamp>,
    /// When it last connected over MQTT.
    pub(super) last_online: Option<Timestamp>,
    /// When its last MQTT connection ended.
    pub(super) last_offline: Option<Timestamp>,
    /// Its shadow.
    pub(super) shadow: Shadow,
    /// The firmware version that it reported; empty before it has.
    pub(super) firmware: String,
    /// The gateway that it is bound to.
    pub(super) place: Option<Place>,
}

/// A device of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceId {
    /// `ProductId`.
    pub(super) product: String,
    /// `DeviceName`.
    pub(super) device: String,
}

impl DeviceId {
    /// By its two names.
    pub(super) fn new(product: &str, device: &str) -> Self {
        Self {
            product: product.to_owned(),
            device: device.to_owned(),
        }
    }
}

/// Where a sub-device is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its gateway.
    pub(super) gateway: DeviceId,
    /// Whether the gateway said that it is online.
    pub(super) online: bool,
}

impl Device {
    /// A new device without any key.
    pub(super) fn new(name: impl Into<String>, created: Timestamp) -> Self {
        Self {
            name: name.into(),
            psk: None,
            public_key: None,
            certificate: None,
            enabled: true,
            created,
            registered: false,
            last_admitted: None,
            first_online: None,
            last_online: None,
            last_offline: None,
            shadow: Shadow::default(),
            firmware: String::new(),
            place: None,
        }
    }
}

#[derive(Debug)]
struct Shelf {
    product: Product,
    devices: BTreeMap<String, Device>,
}

type Shelves = BTreeMap<String, Shelf>;

/// RRPC calls that wait for their device, by client id and message id.
type Waiting = HashMap<(String, u32), oneshot::Sender<Bytes>>;

/// All products and devices.
#[derive(Debug)]
pub(super) struct Store {
    shelves: RwLock<Shelves>,
    waiting: Mutex<Waiting>,
    seeds: Vec<settings::Product>,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BadSeed {
    /// A key or certificate that cannot be read.
    #[error("tencent_iot.products: device {product}/{device}: {why}")]
    Device {
        /// `ProductId`.
        product: String,
        /// `DeviceName`.
        device: String,
        /// What is wrong.
        why: String,
    },
}

impl Store {
    /// The products and devices of the settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, BadSeed> {
        Ok(Self {
            shelves: RwLock::new(seeded(&settings.products)?),
            waiting: Mutex::default(),
            seeds: settings.products.clone(),
        })
    }

    /// Back to the products and devices of the settings.
    pub(super) fn reset(&self) {
        // The seeds were read once; they can be read again.
        if let Ok(shelves) = seeded(&self.seeds) {
            *self.shelves.write() = shelves;
        }
        self.waiting.lock().clear();
    }

    /// A product.
    pub(super) fn product(&self, id: &str) -> Option<Product> {
        self.shelves
            .read()
            .get(id)
            .map(|shelf| shelf.product.clone())
    }

    /// Whether a product has this name.
    pub(super) fn has_product_named(&self, name: &str) -> bool {
        let shelves = self.shelves.read();
        shelves.values().any(|shelf| shelf.product.name == name)
    }

    /// Adds a product.
    pub(super) fn add_product(&self, product: Product) {
        let shelf = Shelf {
            devices: BTreeMap::new(),
            product,
        };
        self.shelves.write().insert(shelf.product.id.clone(), shelf);
    }

    /// Takes a product away.
    pub(super) fn remove_product(&self, id: &str) {
        self.shelves.write().remove(id);
    }

    /// Changes a product; `None` if it is not there.
    pub(super) fn with_product<T>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Product) -> T,
    ) -> Option<T> {
        let mut shelves = self.shelves.write();
        shelves.get_mut(id).map(|shelf| change(&mut shelf.product))
    }

    /// A device and its product.
    pub(super) fn device(&self, product: &str, device: &str) -> Option<(Product, Device)> {
        let shelves = self.shelves.read();
        let shelf = shelves.get(product)?;
        let device = shelf.devices.get(device)?;
        Some((shelf.product.clone(), device.clone()))
    }

    /// The device whose client id this is: product id and device name without anything between.
    pub(super) fn device_of(&self, client_id: &str) -> Option<(Product, Device)> {
        let shelves = self.shelves.read();
        shelves.iter().find_map(|(id, shelf)| {
            let device = shelf.devices.get(client_id.strip_prefix(id.as_str())?)?;
            Some((shelf.product.clone(), device.clone()))
        })
    }

    /// Whether a text begins with a product id that is known, and something behind it.
    pub(super) fn knows_product_of(&self, client_id: &str) -> bool {
        let shelves = self.shelves.read();
        shelves.keys().any(|id| {
            let device = client_id.strip_prefix(id.as_str());
            device.is_some_and(|device| !device.is_empty())
        })
    }

    /// The devices of a product by name; empty if there is no such product.
    pub(super) fn devices(&self, product: &str) -> Vec<Device> {
        let shelves = self.shelves.read();
        shelves
            .get(product)
            .map(|shelf| shelf.devices.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The PSKs of a product's devices by name, to tell whose was taken by mistake: no more than a
    /// hundred.
    pub(super) fn psks(&self, product: &str) -> Vec<(String, Secret)> {
        let shelves = self.shelves.read();
        let devices = shelves.get(product).into_iter();
        devices
            .flat_map(|shelf| shelf.devices.values())
            .filter_map(|device| Some((device.name.clone(), device.psk.clone()?)))
            .take(100)
            .collect()
    }

    /// The ids of the products.
    pub(super) fn product_ids(&self) -> Vec<String> {
        self.shelves.read().keys().cloned().collect()
    }

    /// Adds a device; false if its name is taken or the product is gone.
    pub(super) fn add_device(&self, product: &str, device: Device) -> bool {
        let mut shelves = self.shelves.write();
        let Some(shelf) = shelves.get_mut(product) else {
            return false;
        };
        match shelf.devices.entry(device.name.clone()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(device);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Takes a device away, and frees its sub-devices; false if it is not there.
    pub(super) fn remove_device(&self, product: &str, device: &str) -> bool {
        let gateway = DeviceId::new(product, device);
        for sub in self.sub_devices(&gateway) {
            self.with_device(&sub.product, &sub.device, |device| device.place = None);
        }
        let mut shelves = self.shelves.write();
        shelves
            .get_mut(product)
            .is_some_and(|shelf| shelf.devices.remove(device).is_some())
    }

    /// Changes a device; `None` if it is not there.
    pub(super) fn with_device<T>(
        &self,
        product: &str,
        device: &str,
        change: impl FnOnce(&mut Device) -> T,
    ) -> Option<T> {
        let mut shelves = self.shelves.write();
        let shelf = shelves.get_mut(product)?;
        shelf.devices.get_mut(device).map(change)
    }

    /// Binds a sub-device to a gateway; the gateway that has it already, if one has.
    pub(super) fn bind(&self, gateway: &DeviceId, sub: &DeviceId) -> Option<DeviceId> {
        self.with_device(&sub.product, &sub.device, |device| {
            if let Some(place) = &device.place {
                return Some(place.gateway.clone());
            }
            device.place = Some(Place {
                gateway: gateway.clone(),
                online: false,
            });
            None
        })
        .flatten()
    }

    /// The sub-devices that are bound to a gateway.
    pub(super) fn sub_devices(&self, gateway: &DeviceId) -> Vec<DeviceId> {
        self.bound(gateway, |_| true)
    }

    /// Those of them that the gateway said are online.
    pub(super) fn online_sub_devices(&self, gateway: &DeviceId) -> Vec<DeviceId> {
        self.bound(gateway, |place| place.online)
    }

    fn bound(&self, gateway: &DeviceId, wanted: impl Fn(&Place) -> bool) -> Vec<DeviceId> {
        let shelves = self.shelves.read();
        let mut found = Vec::new();
        for (product, shelf) in shelves.iter() {
            for device in shelf.devices.values() {
                let place = device.place.as_ref();
                if place.is_some_and(|place| place.gateway == *gateway && wanted(place)) {
                    found.push(DeviceId::new(product, &device.name));
                }
            }
        }
        found
    }

    /// A gateway is gone: its sub-devices are offline.
    pub(super) fn lose_gateway(&self, gateway: &DeviceId) {
        for sub in self.online_sub_devices(gateway) {
            self.with_device(&sub.product, &sub.device, |device| {
                if let Some(place) = &mut device.place {
                    place.online = false;
                }
            });
        }
    }

    /// Waits for a device's answer to an RRPC.
    pub(super) fn expect_reply(&self, client_id: &str, message: u32) -> oneshot::Receiver<Bytes> {
        let (tell, told) = oneshot::channel();
        let key = (client_id.to_owned(), message);
        self.waiting.lock().insert(key, tell);
        told
    }

    /// Stops waiting for it.
    pub(super) fn forget_reply(&self, client_id: &str, message: u32) {
        self.waiting.lock().remove(&(client_id.to_owned(), message));
    }

    /// Hands a device's answer to whoever waits; false if nobody does.
    pub(super) fn reply(&self, client_id: &str, message: u32, payload: Bytes) -> bool {
        let key = (client_id.to_owned(), message);
        let waiter = self.waiting.lock().remove(&key);
        waiter.is_some_and(|waiter| waiter.send(payload).is_ok())
    }
}

fn seeded(seeds: &[settings::Product]) -> Result<Shelves, BadSeed> {
    let mut shelves = Shelves::new();
    for seed in seeds {
        let mut devices = BTreeMap::new();
        for device in &seed.devices {
            let read = seeded_device(device).map_err(|why| BadSeed::Device {
                product: seed.id.clone(),
                device: device.name.clone(),
                why,
            })?;
            devices.insert(device.name.clone(), read);
        }
        let product = Product {
            id: seed.id.clone(),
            name: seed.id.clone(),
            secret: seed.secret.clone(),
            encryption: seed.encryption,
            register_type: seed.dynamic_registration,
            register_limit: 1_000,
            enabled: seed.enabled,
            topics: seed.topics.clone(),
            remote_configuration: seed.remote_configuration.clone(),
            properties: Map::new(),
        };
        shelves.insert(seed.id.clone(), Shelf { product, devices });
    }
    Ok(shelves)
}

fn seeded_device(seed: &settings::Device) -> Result<Device, String> {
    let public_key = match (&seed.certificate, &seed.public_key) {
        (Some(pem), _) => Some(PublicKey::of_certificate(pem)?),
        (None, Some(pem)) => Some(PublicKey::of_pem(pem)?),
        (None, None) => None,
    };
    Ok(Device {
        psk: seed.psk.clone(),
        certificate: seed.certificate.clone(),
        public_key,
        enabled: seed.enabled,
        ..Device::new(seed.name.clone(), Timestamp::UNIX_EPOCH)
    })
}
