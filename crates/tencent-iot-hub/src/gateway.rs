//! What a device can ask over HTTP: publish, register, report its log, and the older
//! registration (both registrations are in `registration.rs`). Order: method, signature fields, body, device, signature, state, the rest.
//!
//! Sources: pages 1105/41822 (publish), 634/47225 (registration), device log page, and the
//! device SDKs for the older registration.

use bytes::Bytes;
use mqttstack_base::exchange::{Answer, Surface};
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline::Walk;
use mqttstack_tencent_cloud_api as cloud_api;
use serde_json::{Map, Value};

use super::auth::{self, Algorithm, Key, Owner, Signature};
use super::error::Error;
use super::fields::{Asked, Fields, wrong_value};
use super::platform::Platform;
use super::registration::{admit_legacy, admit_registration, register};
use super::settings::auth_off;
use super::store::{Device, Product};
use super::topic::{self, Wish};
use super::{LEGACY_REGISTER, MAX_PAYLOAD, TencentIot};

/// The operations, by the path they are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// `/device/publish`
    Publish,
    /// `/device/register`
    Register,
    /// `/device/reportlog`
    ReportLog,
    /// `/register/dev`
    LegacyRegister,
}

impl Operation {
    pub(super) const ALL: [Self; 4] = [
        Self::Publish,
        Self::Register,
        Self::ReportLog,
        Self::LegacyRegister,
    ];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Publish => "/device/publish",
            Self::Register => "/device/register",
            Self::ReportLog => "/device/reportlog",
            Self::LegacyRegister => LEGACY_REGISTER,
        }
    }

    /// The name in the journal and in `[tencent_iot.quotas]`: the path without its first slash.
    pub(super) fn name(self) -> &'static str {
        &self.path()[1..]
    }
}

/// The operation at a path, behind whatever prefix a proxy adds.
pub(super) fn operation(path: &str) -> Option<Operation> {
    Operation::ALL
        .into_iter()
        .find(|operation| path.ends_with(operation.path()))
}

/// A gateway request that was understood and allowed.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) operation: Operation,
    pub(super) product: String,
    pub(super) device: String,
    pub(super) request: Asks,
}

#[derive(Debug)]
pub(super) enum Asks {
    Publish {
        topic: TopicName,
        payload: Bytes,
        qos: Qos,
    },
    Register {
        /// The device's own certificate in PEM, of a certificate authority of its maker.
        certificate: Option<String>,
    },
    ReportLog {
        lines: usize,
    },
}

impl Call {
    /// Operation, key and rate. A device may send 30 messages per second (limits page).
    pub(super) fn charge(&self) -> (&'static str, String, u32) {
        let key = format!("{}/{}", self.product, self.device);
        let rate = match self.operation {
            Operation::Publish => 30,
            Operation::Register | Operation::ReportLog | Operation::LegacyRegister => 0,
        };
        (self.operation.name(), key, rate)
    }
}

/// Authenticates, parses and authorizes.
pub(super) fn admit(
    vendor: &TencentIot,
    operation: Operation,
    walk: &mut Walk<'_>,
) -> Result<Call, Error> {
    walk.draft.asks(operation.name());
    let request = walk.request;
    if request.head.method != "POST" {
        return Err(Error::Method(request.head.method.to_string()));
    }
    if operation == Operation::LegacyRegister {
        return admit_legacy(vendor, walk);
    }
    let strict = vendor.settings.auth == AuthMode::Strict;
    walk.draft.hints.extend(auth_off(vendor.settings.auth));
    let signature = strict
        .then(|| {
            Signature::read(
                request,
                walk.receipt.now,
                vendor.settings.timestamp_window_s,
            )
        })
        .transpose()?;
    check_content_type(walk)?;
    let fields = Fields::new(body(walk)?, Asked::Gateway);
    let product = fields.filled("ProductId")?.to_owned();
    let device = fields.filled("DeviceName")?.to_owned();
    walk.draft.caller = Some(format!("{product}/{device}"));
    if operation == Operation::Register {
        return admit_registration(vendor, walk, signature.as_ref(), &fields);
    }
    let (owner, known) =
        vendor
            .store
            .device(&product, &device)
            .ok_or_else(|| Error::ProductOrDeviceNotExist {
                product: product.clone(),
                device: device.clone(),
            })?;
    if let Some(signature) = signature {
        verify_device(vendor, operation, walk, &signature, &owner, &known)?;
    }
    check_enabled(&owner, &known)?;
    let asks = if operation == Operation::Publish {
        walk.draft
            .hints
            .extend(lenient_topic(&owner, &device, &fields));
        publish_fields(vendor, &owner, &device, &fields)?
    } else {
        log_fields(&fields)?
    };
    Ok(Call {
        operation,
        product,
        device,
        request: asks,
    })
}

fn check_content_type(walk: &Walk<'_>) -> Result<(), Error> {
    let content_type = walk.request.head.headers.text("Content-Type").unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::ContentType(content_type.to_owned()))
}

pub(super) fn body(walk: &Walk<'_>) -> Result<Map<String, Value>, Error> {
    let bytes = &walk.request.body;
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Error::Json("it is another JSON value".to_owned())),
        Err(error) => {
            // What follows a quote that ends a text too early.
            let early = ["expected `,` or `}`", "expected `:`"];
            let unescaped = String::from_utf8_lossy(bytes).contains("\"Payload\"")
                && early.iter().any(|sign| error.to_string().starts_with(sign));
            let hint = if unescaped {
                "; the Python device SDK does not escape quotes in Payload"
            } else {
                ""
            };
            Err(Error::Json(format!("{error}{hint}")))
        }
    }
}

fn verify_device(
    vendor: &TencentIot,
    operation: Operation,
    walk: &Walk<'_>,
    signature: &Signature<'_>,
    product: &Product,
    device: &Device,
) -> Result<(), Error> {
    let key = match (signature.algorithm, &device.psk, &device.public_key) {
        (Algorithm::RsaSha256, _, Some(key)) => Key::Public(key),
        (Algorithm::RsaSha256, _, None) => {
            return Err(Error::Signature(Some(
                "rsa-sha256 needs a device with a certificate; this one has a PSK".to_owned(),
            )));
        }
        (_, Some(psk), _) => Key::Text(psk.expose()),
        (_, None, _) => return Err(Error::ProductNotSupportPsk),
    };
    auth::verify(
        walk.request,
        signature,
        key,
        operation.path(),
        &vendor.settings.host_aliases,
        Owner {
            name: &format!("the PSK of {}/{}", product.id, device.name),
            other_secret: product.secret.expose(),
            others: &vendor.store.psks(&product.id),
        },
    )
}

/// Refuses a forbidden product and a disabled device.
pub(super) fn check_enabled(product: &Product, device: &Device) -> Result<(), Error> {
    if !product.enabled {
        return Err(Error::ProductIsForbidden);
    }
    if !device.enabled {
        return Err(Error::DeviceIsNotEnabled);
    }
    Ok(())
}

fn lenient_topic(product: &Product, device: &str, fields: &Fields) -> Option<String> {
    let name = fields.text("TopicName").ok()?;
    topic::lenient(&product.id, device, &product.topics, name, Wish::Publish)
}

fn publish_fields(
    vendor: &TencentIot,
    product: &Product,
    device: &str,
    fields: &Fields,
) -> Result<Asks, Error> {
    let name = fields.text("TopicName")?;
    let payload = fields.payload()?;
    let qos = fields.qos()?;
    if let Some(fault) = topic::name_fault(name) {
        return Err(Error::TopicName(fault));
    }
    let topic = TopicName::parse(name).map_err(|error| Error::TopicName(error.to_string()))?;
    let own = vendor.settings.auto_create;
    let denial = topic::denial(
        &product.id,
        device,
        &product.topics,
        own,
        name,
        Wish::Publish,
    );
    if let Some(denial) = denial {
        return Err(Error::PermissionDenied(denial));
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::PayloadOverLimit {
            size: payload.len(),
            limit: MAX_PAYLOAD,
        });
    }
    Ok(Asks::Publish {
        topic,
        payload,
        qos,
    })
}

fn log_fields(fields: &Fields) -> Result<Asks, Error> {
    let lines = fields.texts("Message")?;
    let known = |line: &&str| {
        ["DBG", "INF", "ERR", "WRN"]
            .iter()
            .any(|level| line.starts_with(level))
    };
    if let Some(line) = lines.iter().find(|line| !known(line)) {
        let start: String = line.chars().take(8).collect();
        return Err(wrong_value(
            "Message",
            format!("has a line {start:?}.. that begins with none of DBG, INF, ERR, WRN"),
        ));
    }
    Ok(Asks::ReportLog { lines: lines.len() })
}

/// Does it and answers.
pub(super) async fn perform(
    vendor: &TencentIot,
    call: Call,
    walk: &mut Walk<'_>,
) -> Result<Answer, Error> {
    match call.request {
        Asks::Publish {
            topic,
            payload,
            qos,
        } => {
            let publication = Publication {
                topic,
                payload,
                qos,
                retain: false,
                properties: Properties::default(),
                origin: Origin {
                    kind: OriginKind::Http,
                    vendor: Some(Surface::TencentIot),
                    client_id: Some(format!("{}{}", call.product, call.device)),
                    request: Some(walk.receipt.id.clone()),
                },
            };
            let platform = Platform {
                store: &vendor.store,
                now: walk.receipt.now,
                window_s: vendor.settings.timestamp_window_s,
            };
            let answer = platform.answer(
                &call.product,
                &call.device,
                publication.topic.as_str(),
                &publication.payload,
            );
            let published = walk
                .app
                .broker
                .publish_in(&call.product, publication)
                .await?;
            walk.draft.published(&published.message);
            if let Some(answer) = answer {
                let published = walk.app.broker.publish_in(&call.product, answer).await?;
                walk.draft.published(&published.message);
            }
            Ok(cloud_api::success(walk.receipt, Map::new()))
        }
        Asks::ReportLog { lines } => {
            walk.draft.note(format!("{lines} log lines taken"));
            Ok(cloud_api::success(walk.receipt, Map::new()))
        }
        Asks::Register { .. } => register(vendor, &call, walk).await,
    }
}
