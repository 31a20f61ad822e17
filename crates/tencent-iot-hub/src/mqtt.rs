//! IoT Hub's MQTT side: who may connect, publish and subscribe. MQTT 3.1 and 3.1.1, no will, no
//! retained messages, no QoS 2, topics of the device alone. How a device proves who it is:
//! `mqtt/credentials.rs`; what it may do with which topic: `topic.rs`.
//!
//! Sources: MQTT access page 634/32546, limits page, persistent session page, the device SDKs.

mod credentials;
mod shape;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Qos;
use mqttstack_broker::Ending;
use mqttstack_broker::dialect::{
    Admitted, Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish,
    PublishVerdict, Replay, SubscribeVerdict,
};
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline::Quotas;

use self::credentials::{Others, UserName, bad, check_password};
use super::MAX_PAYLOAD;
use super::keys::PublicKey;
use super::platform::{Platform, is_for_platform};
use super::settings::{Settings, auth_off};
use super::store::{Device, DeviceId, Product, Store};
use super::topic::{self, Wish};

/// The longest keep-alive in seconds; a longer one is refused (limits page).
const MAX_KEEP_ALIVE: u16 = 900;
/// Messages that a device may send per second (limits page).
const UP_PER_SECOND: u32 = 30;
/// Messages that a device is sent per second (limits page).
const DOWN_PER_SECOND: u32 = 50;
/// What those two are called in `[tencent_iot.quotas]`.
const PUBLISH: &str = "mqtt/publish";
const DELIVER: &str = "mqtt/deliver";
pub(super) const RATES: [&str; 2] = [PUBLISH, DELIVER];
/// Messages of QoS 1 that wait for a device while it is offline, and how long (persistent session
/// page).
const OFFLINE_MESSAGES: usize = 150;
const OFFLINE_SECONDS: u64 = 24 * 60 * 60;

/// The dialect.
#[derive(Debug)]
pub(super) struct IotHub {
    settings: Arc<Settings>,
    store: Arc<Store>,
    clock: Clock,
    quotas: Quotas,
}

impl IotHub {
    pub(super) fn new(
        settings: Arc<Settings>,
        store: Arc<Store>,
        clock: Clock,
        quotas: Quotas,
    ) -> Self {
        Self {
            settings,
            store,
            clock,
            quotas,
        }
    }

    fn check_proof(
        &self,
        connect: &Connect,
        user_name: &str,
        (product, device): (&Product, &Device),
    ) -> Result<(), ConnectRefusal> {
        if self.settings.auth == AuthMode::Off {
            return Ok(());
        }
        if let Some(key) = &device.public_key
            && let Some(leaf) = connect.tls.certificates.first()
        {
            return match PublicKey::of_certificate_der(leaf) {
                Ok(shown) if shown == *key => Ok(()),
                Ok(_) => Err(bad("the client certificate is another device's")),
                Err(why) => Err(bad(why)),
            };
        }
        let password = connect.password.as_deref().ok_or_else(|| {
            bad("the CONNECT has no password, and nothing else that proves who it is")
        })?;
        let password =
            std::str::from_utf8(password).map_err(|_| bad("the password is not UTF-8"))?;
        let others = Others {
            product_secret: product.secret.expose(),
            psks: &self.store.psks(&product.id),
        };
        check_password(password, user_name, device, others)
    }

    fn nobody(&self, client_id: &str) -> ConnectRefusal {
        let products = self.store.product_ids();
        let named: Vec<&str> = products.iter().take(20).map(String::as_str).collect();
        bad(format!(
            "there is no device with the client id {client_id:?}; the products are {}",
            named.join(", ")
        ))
    }

    fn check_form(&self, connect: &Connect, expiry: i64) -> Result<(), ConnectRefusal> {
        let refuse = |reason: String| {
            Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason,
            })
        };
        if connect.protocol_version > 4 {
            return refuse("IoT Hub speaks MQTT 3.1 and 3.1.1, not 5".to_owned());
        }
        if connect.will.is_some() {
            return refuse("IoT Hub supports no will".to_owned());
        }
        if connect.keep_alive > MAX_KEEP_ALIVE {
            return refuse(format!(
                "the keep-alive is {} s; 0 to {MAX_KEEP_ALIVE} are allowed",
                connect.keep_alive
            ));
        }
        let now = self.clock.now().as_second();
        if self.settings.auth == AuthMode::Strict && expiry < now {
            return Err(bad(format!(
                "the user name expired at {expiry}; the emulator's time is {now}"
            )));
        }
        Ok(())
    }

    /// Counts a connection of a device; refuses one too soon after the last that was let in.
    fn check_interval(&self, product: &Product, device: &Device) -> Result<(), ConnectRefusal> {
        let now = self.clock.now();
        let wanted = i64::from(self.settings.connect_interval_s);
        let early = device
            .last_admitted
            .map(|last| now.as_second().saturating_sub(last.as_second()))
            .is_some_and(|apart| (0..wanted).contains(&apart));
        if early {
            return Err(ConnectRefusal {
                code: ConnectCode::ConnectionRateExceeded,
                reason: format!("the device connected within the last {wanted} s already"),
            });
        }
        self.store.with_device(&product.id, &device.name, |device| {
            device.last_admitted = Some(now);
        });
        Ok(())
    }

    /// What the limits page says of one device; 0 in `[tencent_iot.quotas]` lifts a rate.
    fn limits(&self) -> Limits {
        let down = self.rate(DELIVER, DOWN_PER_SECOND);
        let filters = self.settings.filters_per_subscribe;
        let interval_ms = self.settings.offline_replay_ms;
        Limits {
            max_qos: Some(Qos::AtLeastOnce),
            filters_per_subscribe: Some(filters).filter(|filters| *filters > 0),
            offline_queue: Some(OFFLINE_MESSAGES),
            offline_expiry_s: Some(OFFLINE_SECONDS),
            offline_replay: (interval_ms > 0).then_some(Replay {
                batch: 1,
                interval_ms,
            }),
            deliveries_per_second: (down > 0).then_some(down),
            ..Limits::default()
        }
    }

    fn rate(&self, operation: &str, built_in: u32) -> u32 {
        self.settings
            .quotas
            .get(operation)
            .copied()
            .unwrap_or(built_in)
    }

    /// The device of an accepted client.
    fn device(&self, peer: &Peer) -> Option<(Product, Device)> {
        self.store.device_of(&peer.client_id)
    }

    /// In whose names an accepted client speaks: its own device's, and those of the sub-devices
    /// that it has online.
    fn speakers(&self, peer: &Peer) -> Vec<DeviceId> {
        let Some((product, device)) = self.device(peer) else {
            return Vec::new();
        };
        let own = DeviceId::new(&product.id, &device.name);
        let mut speakers = self.store.online_sub_devices(&own);
        speakers.insert(0, own);
        speakers
    }

    fn touch(&self, peer: &Peer, change: impl FnOnce(&mut Device, Timestamp)) {
        let now = self.clock.now();
        if let Some((product, device)) = self.device(peer) {
            self.store
                .with_device(&product.id, &device.name, |device| change(device, now));
        }
    }

    fn denial(&self, peer: &Peer, topic: &str, wish: Wish) -> Option<String> {
        let Some((product, device)) = self.device(peer) else {
            return Some("the device was deleted".to_owned());
        };
        if !device.enabled || !product.enabled {
            return Some("the device is disabled".to_owned());
        }
        let own = self.settings.auto_create;
        topic::denial(&product.id, &device.name, &product.topics, own, topic, wish)
            .filter(|_| !self.may_for_sub_device(&product, &device, topic, wish))
    }

    /// Whether the topic is allowed by `auto_create` alone, in words.
    fn lenient(&self, peer: &Peer, topic: &str, wish: Wish) -> Option<String> {
        if !self.settings.auto_create {
            return None;
        }
        let (product, device) = self.device(peer)?;
        topic::lenient(&product.id, &device.name, &product.topics, topic, wish)
    }

    /// Whether a gateway may do it in the name of a sub-device that it has online.
    fn may_for_sub_device(
        &self,
        product: &Product,
        device: &Device,
        topic: &str,
        wish: Wish,
    ) -> bool {
        let gateway = DeviceId::new(&product.id, &device.name);
        let subs = self.store.online_sub_devices(&gateway);
        subs.iter().any(|sub| {
            let known = self.store.device(&sub.product, &sub.device);
            known.is_some_and(|(product, device)| {
                device.enabled
                    && topic::denial(
                        &product.id,
                        &device.name,
                        &product.topics,
                        self.settings.auto_create,
                        topic,
                        wish,
                    )
                    .is_none()
            })
        })
    }

    fn over_rate(&self, peer: &Peer) -> bool {
        let rate = self.rate(PUBLISH, UP_PER_SECOND);
        self.quotas
            .take(PUBLISH, &peer.grant.identity, rate)
            .is_err()
    }
}

#[async_trait]
impl Dialect for IotHub {
    fn surface(&self) -> Surface {
        Surface::TencentIot
    }

    fn claims(&self, connect: &Connect) -> bool {
        shape::is_own(connect, &self.store)
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let text = connect.username.as_deref().unwrap_or("");
        let user_name = UserName::parse(text).ok_or_else(|| {
            bad("the user name is not {ProductId}{DeviceName};{sdkappid};{connid};{expiry}")
        })?;
        if user_name.client_id != connect.client_id {
            return Err(bad(format!(
                "the client id {:?} is not the user name's {:?}",
                connect.client_id, user_name.client_id
            )));
        }
        let (product, device) = self
            .store
            .device_of(&connect.client_id)
            .ok_or_else(|| self.nobody(&connect.client_id))?;
        self.check_form(connect, user_name.expiry)?;
        self.check_proof(connect, text, (&product, &device))?;
        if !product.enabled || !device.enabled {
            return Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: "the device or its product is disabled".to_owned(),
            });
        }
        self.check_interval(&product, &device)?;
        Ok(Grant {
            admitted: Admitted::default(),
            surface: Some(Surface::TencentIot),
            identity: format!("{}/{}", product.id, device.name),
            tenant: Some(product.id),
            max_keep_alive: Some(MAX_KEEP_ALIVE),
            limits: self.limits(),
            hints: auth_off(self.settings.auth).into_iter().collect(),
        })
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        let close = |reason: String| PublishVerdict::Close { reason };
        if publish.payload.len() > MAX_PAYLOAD {
            return close(format!(
                "the payload has {} bytes; {MAX_PAYLOAD} are allowed",
                publish.payload.len()
            ));
        }
        if let Some(fault) = topic::name_fault(publish.topic) {
            return close(format!("the topic name is not valid: {fault}"));
        }
        if let Some(reason) = self.denial(peer, publish.topic, Wish::Publish) {
            // Not documented; the device SDK tells of a NACK, which 3.1.1 has none of but silence.
            return PublishVerdict::Withhold { reason };
        }
        if self.over_rate(peer) {
            return PublishVerdict::Withhold {
                reason: format!(
                    "more than {} messages in one second{}",
                    self.rate(PUBLISH, UP_PER_SECOND),
                    self.quotas.hint()
                ),
            };
        }
        let platform = Platform {
            store: &self.store,
            now: self.clock.now(),
            window_s: self.settings.timestamp_window_s,
        };
        let speakers = self.speakers(peer);
        let answer = speakers.iter().find_map(|speaker| {
            let (product, device) = (&speaker.product, &speaker.device);
            platform.answer(product, device, publish.topic, publish.payload)
        });
        if is_for_platform(publish.topic) {
            return PublishVerdict::Consume(answer.into_iter().collect());
        }
        if publish.retain {
            return PublishVerdict::AllowUnretained;
        }
        PublishVerdict::Allow
    }

    fn subscribe(
        &self,
        peer: &Peer,
        filter: &str,
        qos: Qos,
        _properties: &[(String, String)],
    ) -> SubscribeVerdict {
        match self.denial(peer, filter, Wish::Subscribe) {
            Some(reason) => SubscribeVerdict::Refuse { code: 0x80, reason },
            None => SubscribeVerdict::Allow(qos.min(Qos::AtLeastOnce)),
        }
    }

    fn publish_hint(&self, peer: &Peer, topic: &str) -> Option<String> {
        self.lenient(peer, topic, Wish::Publish)
    }

    fn subscribe_hint(&self, peer: &Peer, filter: &str) -> Option<String> {
        self.lenient(peer, filter, Wish::Subscribe)
    }

    /// QoS 1 alone is kept (persistent session page), and no broadcast, which reaches the devices
    /// that are online (broadcast page 1105/41832).
    fn keeps_offline(&self, _peer: &Peer, topic: &str, qos: Qos) -> bool {
        qos == Qos::AtLeastOnce && !topic.starts_with("$broadcast/")
    }

    fn connected(&self, peer: &Peer) {
        self.touch(peer, |device, now| {
            device.first_online.get_or_insert(now);
            device.last_online = Some(now);
        });
    }

    fn disconnected(&self, peer: &Peer, ending: &Ending) {
        if *ending == Ending::TakenOver {
            return;
        }
        self.touch(peer, |device, now| device.last_offline = Some(now));
        if let Some((product, device)) = self.device(peer) {
            self.store
                .lose_gateway(&DeviceId::new(&product.id, &device.name));
        }
    }
}
