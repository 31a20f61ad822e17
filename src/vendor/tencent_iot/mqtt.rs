//! IoT Hub's MQTT side: who may connect, publish and subscribe. MQTT 3.1 and 3.1.1, no will, no
//! retained messages, no QoS 2, topics of the device alone.
//!
//! Sources: MQTT access page 634/32546, limits page, the device SDKs.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rsa::pkcs1v15;
use rsa::signature::Verifier;

use super::auth::{hex, hmac_sha1, hmac_sha256};
use super::keys::PublicKey;
use super::settings::Settings;
use super::store::{Device, Product, Store};
use super::topic::{self, Wish};
use super::{MAX_PAYLOAD, platform};
use crate::broker::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish, PublishVerdict,
    SubscribeVerdict,
};
use crate::broker::message::Qos;
use crate::clock::Clock;
use crate::exchange::Surface;
use crate::quota::Quotas;
use crate::vendor::tencent_tc3::Auth;

/// The longest keep-alive in seconds (limits page).
const MAX_KEEP_ALIVE: u16 = 900;
/// Messages that a device may send per second (limits page).
const UP_PER_SECOND: u32 = 30;

/// The dialect.
#[derive(Debug)]
pub(super) struct IotHub {
    settings: Arc<Settings>,
    store: Arc<Store>,
    clock: Clock,
    quotas: Quotas,
}

/// `{ProductId}{DeviceName};{sdkappid};{connid};{expiry}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UserName<'a> {
    client_id: &'a str,
    expiry: i64,
}

impl<'a> UserName<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let (Some(client_id), Some(_app), Some(_connection), Some(expiry), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return None;
        };
        Some(Self {
            client_id,
            expiry: expiry.parse().ok()?,
        })
    }
}

fn bad(reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code: ConnectCode::BadUserNameOrPassword,
        reason: reason.into(),
    }
}

/// Verifies `{hexadecimal digest};{algorithm}` over the user name. The PSK is base64-decoded
/// here, unlike over HTTP.
fn check_password(password: &str, user_name: &str, device: &Device) -> Result<(), ConnectRefusal> {
    let (digest, algorithm) = password
        .split_once(';')
        .ok_or_else(|| bad("the password is not {digest};{algorithm}"))?;
    if algorithm == "rsa-sha256" {
        return check_rsa(digest, user_name, device.public_key.as_ref());
    }
    let psk = device.psk.as_ref().ok_or_else(|| {
        bad("the device proves itself by certificate, and the connection brought none")
    })?;
    let key = STANDARD
        .decode(psk.expose())
        .map_err(|_| bad("the device's PSK is not base64, so no password can be made of it"))?;
    let hash = |key: &[u8]| match algorithm {
        "hmacsha256" => Some(hmac_sha256(key, user_name.as_bytes()).to_vec()),
        "hmacsha1" => Some(hmac_sha1(key, user_name.as_bytes()).to_vec()),
        _ => None,
    };
    let expected = hash(&key).ok_or_else(|| {
        bad(format!(
            "the algorithm {algorithm:?} is none of hmacsha256, hmacsha1, rsa-sha256"
        ))
    })?;
    if hex(&expected).eq_ignore_ascii_case(digest) {
        return Ok(());
    }
    let text_key = hash(psk.expose().as_bytes()).unwrap_or_default();
    Err(bad(if STANDARD.encode(&expected) == digest {
        "the password's digest is base64; over MQTT it is hexadecimal"
    } else if hex(&text_key).eq_ignore_ascii_case(digest) || STANDARD.encode(&text_key) == digest {
        "the PSK was used as text, as HTTP wants it; over MQTT it is base64-decoded first"
    } else {
        "the password does not verify"
    }))
}

fn check_rsa(digest: &str, user_name: &str, key: Option<&PublicKey>) -> Result<(), ConnectRefusal> {
    let key = key.ok_or_else(|| bad("rsa-sha256 needs a device with a certificate"))?;
    let verified = unhex(digest)
        .and_then(|bytes| pkcs1v15::Signature::try_from(bytes.as_slice()).ok())
        .is_some_and(|signature| {
            pkcs1v15::VerifyingKey::<rsa::sha2::Sha256>::new(key.rsa.clone())
                .verify(user_name.as_bytes(), &signature)
                .is_ok()
        });
    if verified {
        return Ok(());
    }
    Err(bad("the rsa-sha256 password does not verify"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()
        })
        .collect()
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
        device: &Device,
    ) -> Result<(), ConnectRefusal> {
        if self.settings.auth == Auth::Off {
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
        let password = connect.password.as_deref().unwrap_or_default();
        let password =
            std::str::from_utf8(password).map_err(|_| bad("the password is not UTF-8"))?;
        check_password(password, user_name, device)
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
        let now = self.clock.now().as_second();
        if self.settings.auth == Auth::Strict && expiry < now {
            return Err(bad(format!(
                "the user name expired at {expiry}; the emulator's time is {now}"
            )));
        }
        Ok(())
    }

    /// The device of an accepted client.
    fn device(&self, peer: &Peer) -> Option<(Product, Device)> {
        self.store.device_of(&peer.client_id)
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
    }

    fn over_rate(&self, peer: &Peer) -> bool {
        let operation = "mqtt/publish";
        let rate = self.settings.quotas.get(operation);
        let rate = rate.copied().unwrap_or(UP_PER_SECOND);
        self.quotas
            .take(operation, &peer.grant.identity, rate)
            .is_err()
    }
}

#[async_trait]
impl Dialect for IotHub {
    fn surface(&self) -> Surface {
        Surface::TencentIot
    }

    fn claims(&self, connect: &Connect) -> bool {
        let server = connect.tls.server_name.as_deref().unwrap_or("");
        server.ends_with(".tencentdevices.com")
            || connect.username.as_deref().is_some_and(|user_name| {
                UserName::parse(user_name).is_some()
                    || (user_name.contains(';') && self.store.knows_product_of(user_name))
            })
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
            .ok_or_else(|| bad("there is no device with this client id"))?;
        self.check_form(connect, user_name.expiry)?;
        self.check_proof(connect, text, &device)?;
        if !product.enabled || !device.enabled {
            return Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: "the device or its product is disabled".to_owned(),
            });
        }
        Ok(Grant {
            surface: Some(Surface::TencentIot),
            identity: format!("{}/{}", product.id, device.name),
            tenant: Some(product.id),
            max_keep_alive: Some(MAX_KEEP_ALIVE),
            limits: Limits::default(),
        })
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        let close = |reason: String| PublishVerdict::Close { reason };
        if publish.qos == Qos::ExactlyOnce {
            return close("IoT Hub supports no QoS 2".to_owned());
        }
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
            return PublishVerdict::Refuse { code: 0x87, reason };
        }
        if self.over_rate(peer) {
            return PublishVerdict::Refuse {
                code: 0x97,
                reason: format!("more than {UP_PER_SECOND} messages in one second"),
            };
        }
        let answer = self.device(peer).and_then(|(product, device)| {
            platform::answer(
                &self.store,
                &product.id,
                &device.name,
                publish.topic,
                publish.payload,
                self.clock.now(),
            )
        });
        if platform::is_for_platform(publish.topic) {
            return PublishVerdict::Consume(answer.into_iter().collect());
        }
        if publish.retain {
            return PublishVerdict::AllowUnretained;
        }
        PublishVerdict::Allow
    }

    fn subscribe(&self, peer: &Peer, filter: &str, qos: Qos) -> SubscribeVerdict {
        match self.denial(peer, filter, Wish::Subscribe) {
            Some(reason) => SubscribeVerdict::Refuse { code: 0x80, reason },
            None => SubscribeVerdict::Allow(qos.min(Qos::AtLeastOnce)),
        }
    }

    fn connected(&self, peer: &Peer) {
        self.touch(peer, |device, now| {
            device.first_online.get_or_insert(now);
            device.last_online = Some(now);
        });
    }

    fn disconnected(&self, peer: &Peer, _reason: &str) {
        self.touch(peer, |device, now| device.last_offline = Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_expiry_is_a_number() {
        for (text, expiry) in [
            ("Pd;12010126;X1Y2Z;1700003600", 1_700_003_600),
            ("Pd;21010406;a1B2c;1700000000000", 1_700_000_000_000),
            ("Pd;12010126;a1B2c;2147483647", 2_147_483_647),
            ("Pd;21010406;a;9223372036854775807", i64::MAX),
        ] {
            let parsed = UserName::parse(text).unwrap();
            assert_eq!((parsed.client_id, parsed.expiry), ("Pd", expiry));
        }
        for text in ["", "Pd", "Pd;1;2", "Pd;1;2;soon", "Pd;1;2;3;4", "Pd;1;2;"] {
            assert_eq!(UserName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hexadecimal_text_is_read_in_either_case_and_nothing_else_is() {
        assert_eq!(unhex("00fFA0"), Some(vec![0, 255, 160]));
        for text in ["0", "0g", "+1", "é0"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
