//! The MQTT side: users, tokens and client certificates at CONNECT, the authorization policies
//! for connect, pub and sub, the quotas of an instance. What it tells on its event topics is in
//! `events.rs`.
//!
//! Sources: tencentcloud.com/document/product/1294/76415 (authentication), /76424 (policies),
//! /76455 (point-to-point), /76376 (quotas: what is refused beyond them), /76755 (flow control);
//! cloud.tencent.com/document/product/1778/109695 (2026-02-06: rates count packets).

use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Qos;
use mqttstack_broker::Ending;
use mqttstack_broker::dialect::{
    Admitted, Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Packet, PacketRefusal,
    Peer, Publish, PublishVerdict, SubscribeVerdict,
};
use mqttstack_kit::auth::AuthMode;
use mqttstack_pipeline::App;
use mqttstack_pipeline::Quotas;

use super::api::{self, PUBLISH};
use super::auth::UNTRUSTED;
use super::events::{Event, Events};
use super::jwt::{self, Presented};
use super::policy::{Operation, Subject, decide, denial};
use super::settings::AUTH_OFF;
use super::shape::{self, Seen};
use super::sql::Where;
use super::store::Instance;
use super::subjects::Attachment;
use super::{TencentTdmq, certificate};

/// PUBACK and SUBACK: Not authorized.
const NOT_AUTHORIZED: u8 = 0x87;
/// PUBACK: Topic Name invalid.
const TOPIC_NAME_INVALID: u8 = 0x90;
/// PUBACK and SUBACK: Quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;
/// SUBACK and UNSUBACK: Implementation specific error. For an SQL filter that cannot be read, and
/// for an UNSUBSCRIBE over the rate, since UNSUBACK has no Quota exceeded (both assumed).
const IMPLEMENTATION_SPECIFIC: u8 = 0x83;

/// New connections of an instance: its name among the quotas.
pub(super) const CONNECT: &str = "Connect";
/// New connections that bring a will.
pub(super) const CONNECT_WITH_WILL: &str = "ConnectWithWill";
/// SUBSCRIBE packets, however many filters they have.
pub(super) const SUBSCRIBE: &str = "Subscribe";
/// UNSUBSCRIBE packets.
pub(super) const UNSUBSCRIBE: &str = "Unsubscribe";
/// Messages of one client, the instance's `MessageRate`.
pub(super) const MESSAGE_RATE: &str = "MessageRate";
/// Wills that may come in a second (documented).
const WILL_RATE: u32 = 100;

/// TDMQ's MQTT side.
struct MqttSide {
    vendor: TencentTdmq,
    clock: Clock,
    quotas: Quotas,
    events: Events,
}

impl TencentTdmq {
    /// Its MQTT side, for [`Broker::add_dialect`]. Must be called inside a tokio runtime.
    ///
    /// [`Broker::add_dialect`]: mqttstack_broker::Broker::add_dialect
    pub fn dialect(&self, app: &App) -> Arc<dyn Dialect> {
        app.broker.add_outlet(self.keeper(app.broker.isolation()));
        Arc::new(MqttSide {
            vendor: self.clone(),
            clock: app.clock.clone(),
            quotas: app.quotas.clone(),
            events: Events::start(app.broker.downgrade(), self.history.clone()),
        })
    }

    /// Connections, SUBSCRIBE packets and UNSUBSCRIBE packets per second: 100, or a hundredth of the clients that the instance
    /// may have (documented).
    fn documented_rate(&self) -> u32 {
        let clients = self.settings.instance.client_limit / 100;
        u32::try_from(clients).unwrap_or(u32::MAX).max(100)
    }
}

fn refused(code: ConnectCode, reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code,
        reason: reason.into(),
    }
}

impl MqttSide {
    fn instance(&self, connect: &Connect) -> Arc<Instance> {
        self.vendor
            .store
            .by_host(connect.tls.server_name.as_deref())
    }

    fn creates(&self, connect: &Connect) -> Option<String> {
        let host = connect.tls.server_name.as_deref();
        self.vendor.store.creates_by_host(host)
    }

    fn instance_of(&self, peer: &Peer) -> Arc<Instance> {
        let tenant = peer.grant.tenant.as_deref();
        tenant
            .and_then(|id| self.vendor.store.find(id))
            .unwrap_or_else(|| self.vendor.store.main())
    }

    fn take(&self, operation: &'static str, key: &str, documented: u32) -> Result<(), String> {
        let rate = self.vendor.rate(operation, documented);
        self.quotas
            .take(operation, key, rate)
            .map_err(|over| format!("{over}{}", self.quotas.hint()))
    }

    /// What is refused before anybody asks who it is.
    fn check_connect(&self, instance: &Instance, connect: &Connect) -> Result<(), ConnectRefusal> {
        if let Some(method) = &connect.authentication_method {
            let reason = format!("AUTH is not supported, nor is authentication method {method:?}");
            return Err(refused(ConnectCode::BadAuthenticationMethod, reason));
        }
        let (length, limit) = (
            connect.client_id.len(),
            self.vendor.settings.max_client_id_bytes,
        );
        if length > limit {
            let reason = format!("the client id has {length} bytes, the limit is {limit}");
            return Err(refused(ConnectCode::ClientIdentifierNotValid, reason));
        }
        let mut taken = self.take(CONNECT, &instance.id, self.vendor.documented_rate());
        if connect.will.is_some() {
            taken = taken.and_then(|()| self.take(CONNECT_WITH_WILL, &instance.id, WILL_RATE));
        }
        taken.map_err(|over| refused(ConnectCode::ConnectionRateExceeded, over))?;
        let limit = self.vendor.settings.instance.client_limit;
        if limit > 0
            && self
                .vendor
                .subjects
                .others(&instance.id, &connect.client_id)
                >= limit
        {
            let reason = format!("the instance has its limit of {limit} clients");
            return Err(refused(ConnectCode::QuotaExceeded, reason));
        }
        Ok(())
    }

    async fn authenticate(
        &self,
        instance: &Instance,
        connect: &Connect,
    ) -> Result<Subject, String> {
        let settings = &self.vendor.settings;
        let now = self.clock.now();
        let mut subject = Subject {
            username: connect.username.clone(),
            client_id: connect.client_id.clone(),
            ip: connect.peer.map(|peer| peer.ip()),
            ..Subject::default()
        };
        if settings.auth == AuthMode::Off {
            return Ok(subject);
        }
        if shape::has_byoc_certificate(settings, connect) {
            let chain = &connect.tls.certificates;
            let identity = certificate::verify(chain, &settings.ca_certificates, now)
                .map_err(|error| error.to_string())?;
            subject.certificate = Some(identity);
        }
        let presented = presented(connect);
        let authenticators = instance.resources.read().authenticators.clone();
        let issuers = &self.vendor.issuers;
        match jwt::authenticate(&authenticators, presented, issuers, now).await {
            Some(bearer) => {
                let bearer = bearer?;
                // A token is nobody's name; its bearer has one in it (assumed).
                if presented.username.is_none_or(jwt::looks_like_token) {
                    subject.username = bearer.subject;
                }
                subject.access_list = bearer.access_list;
                Ok(subject)
            }
            None if subject.certificate.is_some() && presented.username.is_none() => Ok(subject),
            None if presented.username.is_none() && !connect.tls.certificates.is_empty() => {
                Err(format!("there is no user name, and {UNTRUSTED}"))
            }
            None if presented.username.is_some_and(jwt::looks_like_token) => Err(
                "the user name is a token, and no open authenticator reads one there".to_owned(),
            ),
            None => check_password(instance, presented).map(|()| subject),
        }
    }

    fn subject(&self, peer: &Peer) -> Arc<Subject> {
        let known = self.vendor.subjects.find(&peer.client_id);
        known.unwrap_or_else(|| {
            Arc::new(Subject {
                username: Some(peer.grant.identity.clone()),
                client_id: peer.client_id.clone(),
                ..Subject::default()
            })
        })
    }

    fn denied(&self, peer: &Peer, instance: &Instance, operation: Operation<'_>) -> Option<String> {
        let subject = self.subject(peer);
        let decision = decide(&instance.resources.read().policies, &subject, operation);
        (!decision.is_allowed()).then(|| denial(&decision, &subject, operation))
    }

    /// A PUBLISH that nobody could send, whatever the policies say.
    fn check_publish(&self, publish: &Publish<'_>) -> Result<(), PublishVerdict> {
        let refuse = |code, reason| PublishVerdict::Refuse { code, reason };
        let settings = &self.vendor.settings;
        api::check_topic_name(publish.topic, settings.max_topic_bytes)
            .map_err(|error| refuse(TOPIC_NAME_INVALID, error.to_string()))?;
        api::check_payload(publish.payload.len(), settings.max_payload_bytes)
            .map_err(|error| refuse(QUOTA_EXCEEDED, error.to_string()))
    }

    fn tell(&self, peer: &Peer, event: Event<'_>) {
        let instance = peer.grant.tenant.as_deref().unwrap_or_default();
        let subject = self.subject(peer);
        let attachment = self.vendor.subjects.attachment(&peer.client_id);
        let at = self.clock.now();
        self.events.tell(instance, &subject, attachment, event, at);
    }
}

fn presented(connect: &Connect) -> Presented<'_> {
    Presented {
        username: connect.username.as_deref(),
        password: connect.password.as_deref(),
    }
}

/// What becomes of a PUBLISH over a quota. QoS 0 is dropped in silence (documented). Of the others
/// the page was cut off (assumed): MQTT 5 is told; MQTT 3.x, which cannot be, waits in vain for
/// an acknowledgement and sends the message again once it has reconnected.
fn over_quota(protocol_version: u8, qos: Qos, reason: String) -> PublishVerdict {
    if qos == Qos::AtMostOnce || protocol_version >= 5 {
        PublishVerdict::Refuse {
            code: QUOTA_EXCEEDED,
            reason,
        }
    } else {
        PublishVerdict::Withhold { reason }
    }
}

fn check_password(instance: &Instance, presented: Presented<'_>) -> Result<(), String> {
    let name = presented
        .username
        .ok_or("there is neither a user name nor a certificate nor a token")?;
    let resources = instance.resources.read();
    let user = resources
        .users
        .iter()
        .find(|user| user.name == name)
        .ok_or_else(|| {
            format!(
                "there is no user {name:?} (tencent_tdmq.unknown_users = \"open\" lets such \
                 clients in without asking)"
            )
        })?;
    match presented.password {
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
        shape::is_own(&Seen {
            connect,
            settings: &self.vendor.settings,
            resources: &self.instance(connect).resources.read(),
        })
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let created = self.creates(connect).into_iter();
        let instance = self.instance(connect);
        self.check_connect(&instance, connect)?;
        let subject = self
            .authenticate(&instance, connect)
            .await
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
        let subjects = &self.vendor.subjects;
        subjects.allowed(&instance.id, subject, Attachment::of(connect));
        let filters = self.vendor.settings.instance.filters_per_client;
        let off = self.vendor.settings.auth == AuthMode::Off;
        Ok(Grant {
            admitted: Admitted::default(),
            surface: Some(Surface::TencentTdmq),
            hints: created.chain(off.then(|| AUTH_OFF.to_owned())).collect(),
            tenant: Some(instance.id.clone()),
            identity: identity.unwrap_or_default(),
            max_keep_alive: None,
            limits: Limits {
                filters_per_client: (filters > 0).then_some(filters),
                will_delay_ignored: true,
                ..Limits::default()
            },
        })
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if let Err(verdict) = self.check_publish(publish) {
            return verdict;
        }
        let instance = self.instance_of(peer);
        // A will is nobody's rate: whoever left it cannot slow down.
        if !publish.will {
            let taken = self
                .take(PUBLISH, &instance.id, 0)
                .and_then(|()| self.take(MESSAGE_RATE, &peer.client_id, 0));
            if let Err(over) = taken {
                return over_quota(peer.protocol_version, publish.qos, over);
            }
        }
        let operation = Operation::Publish {
            topic: publish.topic,
            qos: publish.qos,
            retain: publish.retain,
        };
        if let Some(reason) = self.denied(peer, &instance, operation) {
            return PublishVerdict::Refuse {
                code: NOT_AUTHORIZED,
                reason,
            };
        }
        instance.note_topic(
            publish.topic,
            self.clock.now().as_second(),
            self.vendor.settings.instance.topic_limit,
        );
        match api::point_to_point(publish.topic) {
            Some(client_id) => PublishVerdict::DeliverTo(client_id.to_owned()),
            None => PublishVerdict::Allow,
        }
    }

    fn packet(&self, peer: &Peer, packet: Packet) -> Result<(), PacketRefusal> {
        let (operation, code) = match packet {
            Packet::Subscribe => (SUBSCRIBE, QUOTA_EXCEEDED),
            Packet::Unsubscribe => (UNSUBSCRIBE, IMPLEMENTATION_SPECIFIC),
        };
        let instance = self.instance_of(peer);
        self.take(operation, &instance.id, self.vendor.documented_rate())
            .map_err(|reason| PacketRefusal { code, reason })
    }

    fn subscribe(
        &self,
        peer: &Peer,
        filter: &str,
        qos: Qos,
        properties: &[(String, String)],
    ) -> SubscribeVerdict {
        let instance = self.instance_of(peer);
        let refuse = |code, reason| SubscribeVerdict::Refuse { code, reason };
        let operation = Operation::Subscribe {
            filter: without_share(filter),
            qos,
        };
        if let Some(reason) = self.denied(peer, &instance, operation) {
            return refuse(NOT_AUTHORIZED, reason);
        }
        match Where::of(properties) {
            None => SubscribeVerdict::Allow(qos),
            Some(Ok(clause)) => SubscribeVerdict::AllowWhere(qos, Arc::new(clause)),
            Some(Err(problem)) => refuse(
                IMPLEMENTATION_SPECIFIC,
                format!("the SQL filter in the user property $where is not understood: {problem}"),
            ),
        }
    }

    fn connected(&self, peer: &Peer) {
        self.vendor.subjects.connected(&peer.client_id);
        let protocol_version = peer.protocol_version;
        self.tell(peer, Event::ClientConnected { protocol_version });
    }

    fn disconnected(&self, peer: &Peer, ending: &Ending) {
        if *ending == Ending::TakenOver {
            return;
        }
        let subjects = &self.vendor.subjects;
        subjects.disconnected(&peer.client_id, self.clock.now());
        self.tell(peer, Event::ClientDisconnected { ending });
    }

    fn subscribed(&self, peer: &Peer, filter: &str, qos: Qos) {
        self.tell(peer, Event::SessionSubscribed { filter, qos });
    }

    fn unsubscribed(&self, peer: &Peer, filter: &str) {
        self.tell(peer, Event::SessionUnsubscribed { filter });
    }
}

#[cfg(test)]
mod tests;
