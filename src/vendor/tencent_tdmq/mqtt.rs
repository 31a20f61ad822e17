//! The MQTT side: users, tokens and client certificates at CONNECT, the authorization policies
//! for connect, pub and sub, and the event topics `$events/client_connected`,
//! `$events/client_disconnected` and `$events/session_subscribed`.
//!
//! Sources: tencentcloud.com/document/product/1294/76415 (authentication), /76424 (policies),
//! /76432 (events: the fields of `client.disconnected`; those of the other two are assumed).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::policy::{Operation, Subject, decide, denial};
use super::store::Instance;
use super::{Auth, TencentTdmq, certificate, jwt};
use crate::app::App;
use crate::broker::Broker;
use crate::broker::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish, PublishVerdict,
    SubscribeVerdict,
};
use crate::broker::message::{Origin, OriginKind, Properties, Publication, Qos, TopicName};
use crate::clock::Clock;
use crate::exchange::{Refusal, Surface};

/// PUBACK and SUBACK: Not authorized.
const NOT_AUTHORIZED: u8 = 0x87;
/// PUBACK: Topic Name invalid.
const TOPIC_NAME_INVALID: u8 = 0x90;
/// The `node` of the events.
const NODE: &str = "mqttstack";

/// TDMQ's MQTT side.
struct MqttSide {
    vendor: TencentTdmq,
    clock: Clock,
    /// Who each client id was at its last CONNECT. Kept beyond the connection, because its will
    /// and its session outlive it.
    subjects: RwLock<HashMap<String, Subject>>,
    events: mpsc::UnboundedSender<(String, Publication)>,
}

impl TencentTdmq {
    /// Its MQTT side, for [`Broker::add_dialect`]. Must be called inside a tokio runtime.
    pub fn dialect(&self, app: &App) -> Arc<dyn Dialect> {
        let (events, queue) = mpsc::unbounded_channel();
        tokio::spawn(publish_events(app.broker.clone(), queue));
        Arc::new(MqttSide {
            vendor: self.clone(),
            clock: app.clock.clone(),
            subjects: RwLock::default(),
            events,
        })
    }
}

/// Publishes events one by one, in their order, until the broker has stopped.
async fn publish_events(broker: Broker, mut queue: mpsc::UnboundedReceiver<(String, Publication)>) {
    while let Some((instance, event)) = queue.recv().await {
        match broker.publish_in(&instance, event).await {
            Err(Refusal::Unavailable(_)) => return,
            Err(refusal) => tracing::warn!(%refusal, "an event was not published"),
            Ok(_) => {}
        }
    }
}

impl MqttSide {
    fn instance(&self, connect: &Connect) -> Arc<Instance> {
        self.vendor
            .store
            .by_host(connect.tls.server_name.as_deref())
    }

    fn instance_of(&self, peer: &Peer) -> Arc<Instance> {
        let tenant = peer.grant.tenant.as_deref();
        tenant
            .and_then(|id| self.vendor.store.find(id))
            .unwrap_or_else(|| self.vendor.store.main())
    }

    fn has_byoc_certificate(&self, connect: &Connect) -> bool {
        !self.vendor.settings.ca_certificates.is_empty() && !connect.tls.certificates.is_empty()
    }

    fn authenticate(&self, instance: &Instance, connect: &Connect) -> Result<Subject, String> {
        let settings = &self.vendor.settings;
        let now = self.clock.now();
        let mut subject = Subject {
            username: connect.username.clone(),
            client_id: connect.client_id.clone(),
            ip: connect.peer.map(|peer| peer.ip()),
            certificate: None,
        };
        if settings.auth == Auth::Off {
            return Ok(subject);
        }
        if self.has_byoc_certificate(connect) {
            let chain = &connect.tls.certificates;
            let identity = certificate::verify(chain, &settings.ca_certificates, now)
                .map_err(|error| error.to_string())?;
            subject.certificate = Some(identity);
        }
        let (username, password) = (connect.username.as_deref(), connect.password.as_deref());
        match jwt::authenticate(&settings.authenticators, username, password, now) {
            Some(bearer) => {
                let bearer = bearer?;
                // A token is nobody's name; its bearer has one in it (assumed).
                if username.is_none_or(jwt::looks_like_token) {
                    subject.username = bearer.subject;
                }
                Ok(subject)
            }
            None if subject.certificate.is_some() && username.is_none() => Ok(subject),
            None => check_password(instance, username, password).map(|()| subject),
        }
    }

    fn subject(&self, peer: &Peer) -> Subject {
        let known = self.subjects.read().get(&peer.client_id).cloned();
        known.unwrap_or_else(|| Subject {
            username: Some(peer.grant.identity.clone()),
            client_id: peer.client_id.clone(),
            ip: None,
            certificate: None,
        })
    }

    fn denied(&self, peer: &Peer, operation: Operation<'_>) -> Option<String> {
        let subject = self.subject(peer);
        let instance = self.instance_of(peer);
        let decision = decide(&instance.resources.read().policies, &subject, operation);
        (!decision.is_allowed()).then(|| denial(&decision, &subject, operation))
    }

    fn event(&self, peer: &Peer, topic: &str, event: &str, more: Value) {
        let subject = self.subject(peer);
        let mut fields = serde_json::Map::new();
        fields.insert("clientid".to_owned(), peer.client_id.clone().into());
        fields.insert("username".to_owned(), subject.username.into());
        fields.insert("event".to_owned(), event.into());
        fields.insert("node".to_owned(), NODE.into());
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        // The topics are constants of this file, so they parse.
        let Ok(topic) = TopicName::parse(topic) else {
            return;
        };
        let event = Publication {
            topic,
            payload: Bytes::from(Value::Object(fields).to_string()),
            qos: Qos::AtMostOnce,
            retain: false,
            properties: Properties::default(),
            origin: Origin {
                kind: OriginKind::System,
                vendor: Some(Surface::TencentTdmq),
                client_id: None,
                request: None,
            },
        };
        let tenant = peer.grant.tenant.clone().unwrap_or_default();
        if self.events.send((tenant, event)).is_err() {
            tracing::debug!("the broker has stopped, an event goes to nobody");
        }
    }
}

fn check_password(
    instance: &Instance,
    username: Option<&str>,
    password: Option<&[u8]>,
) -> Result<(), String> {
    let name = username.ok_or("there is neither a user name nor a certificate nor a token")?;
    let resources = instance.resources.read();
    let user = resources
        .users
        .iter()
        .find(|user| user.name == name)
        .ok_or_else(|| format!("there is no user {name:?}"))?;
    match password {
        None => Err(format!("user {name:?} came without a password")),
        Some(sent) if sent == user.password.expose().as_bytes() => Ok(()),
        Some(_) => Err(format!("the password of user {name:?} is another one")),
    }
}

/// A filter without `$share/{group}/`.
fn without_share(filter: &str) -> &str {
    let rest = filter.strip_prefix("$share/");
    rest.and_then(|rest| rest.split_once('/'))
        .map_or(filter, |(_, filter)| filter)
}

#[async_trait]
impl Dialect for MqttSide {
    fn surface(&self) -> Surface {
        Surface::TencentTdmq
    }

    fn claims(&self, connect: &Connect) -> bool {
        let server_name = connect.tls.server_name.as_deref().unwrap_or_default();
        let username = connect.username.as_deref();
        server_name.ends_with(".mqtt.tencenttdmq.com")
            || self.has_byoc_certificate(connect)
            || jwt::has_token(
                &self.vendor.settings.authenticators,
                username,
                connect.password.as_deref(),
            )
            || username.is_some_and(|name| {
                let instance = self.instance(connect);
                let resources = instance.resources.read();
                resources.users.iter().any(|user| user.name == name)
            })
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let instance = self.instance(connect);
        let refused = |code, reason| ConnectRefusal { code, reason };
        let subject = self
            .authenticate(&instance, connect)
            .map_err(|reason| refused(ConnectCode::BadUserNameOrPassword, reason))?;
        let decision = decide(
            &instance.resources.read().policies,
            &subject,
            Operation::Connect,
        );
        if !decision.is_allowed() {
            let reason = denial(&decision, &subject, Operation::Connect);
            return Err(refused(ConnectCode::NotAuthorized, reason));
        }
        let common_name = subject
            .certificate
            .as_ref()
            .and_then(|identity| identity.common_name.clone());
        let identity = subject.username.clone().or(common_name);
        self.subjects
            .write()
            .insert(connect.client_id.clone(), subject);
        Ok(Grant {
            surface: Some(Surface::TencentTdmq),
            tenant: Some(instance.id.clone()),
            identity: identity.unwrap_or_default(),
            max_keep_alive: None,
            limits: Limits::default(),
        })
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if publish.topic.starts_with('$') {
            return PublishVerdict::Refuse {
                code: TOPIC_NAME_INVALID,
                reason: "topics that start with $ are the service's own".to_owned(),
            };
        }
        let operation = Operation::Publish {
            topic: publish.topic,
            qos: publish.qos,
            retain: publish.retain,
        };
        match self.denied(peer, operation) {
            None => PublishVerdict::Allow,
            Some(reason) => PublishVerdict::Refuse {
                code: NOT_AUTHORIZED,
                reason,
            },
        }
    }

    fn subscribe(&self, peer: &Peer, filter: &str, qos: Qos) -> SubscribeVerdict {
        let operation = Operation::Subscribe {
            filter: without_share(filter),
            qos,
        };
        match self.denied(peer, operation) {
            None => SubscribeVerdict::Allow(qos),
            Some(reason) => SubscribeVerdict::Refuse {
                code: NOT_AUTHORIZED,
                reason,
            },
        }
    }

    fn connected(&self, peer: &Peer) {
        let at = self.clock.now().as_millisecond();
        let more = json!({"proto_ver": peer.protocol_version, "connected_at": at});
        self.event(peer, "$events/client_connected", "client.connected", more);
    }

    fn disconnected(&self, peer: &Peer, reason: &str) {
        let at = self.clock.now().as_millisecond();
        let more = json!({"reason": reason, "disconnected_at": at});
        let event = "client.disconnected";
        self.event(peer, "$events/client_disconnected", event, more);
    }

    fn subscribed(&self, peer: &Peer, filter: &str, qos: Qos) {
        let at = self.clock.now().as_millisecond();
        let more = json!({"topic": filter, "qos": qos, "timestamp": at});
        let event = "session.subscribed";
        self.event(peer, "$events/session_subscribed", event, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_group_is_no_part_of_the_filter_that_policies_see() {
        assert_eq!(without_share("$share/g/home/+"), "home/+");
        assert_eq!(without_share("$share/g//a"), "/a");
        assert_eq!(without_share("home/$share/g"), "home/$share/g");
    }
}
