//! The MQTT side: who may connect (`credentials.rs`, its mistakes named by `diagnosis.rs`, what
//! they are answered with in `refusal.rs`), and what a connected client may publish and subscribe
//! to (with tokens: `token.rs`). Tokens end while clients are connected; `watch.rs` tells them so.
//! Permission failures close the connection without an acknowledgement, as the vendor documents.

mod credentials;
mod diagnosis;
mod refusal;
mod token;
mod watch;

use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::Surface;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::Qos;
use mqttstack_broker::Ending;
use mqttstack_broker::dialect::{
    Admitted, Connect, ConnectRefusal, Dialect, Feature, Grant, Limits, Peer, Publish,
    PublishVerdict, Replay, SubscribeVerdict,
};
use mqttstack_kit::auth::AuthMode;
use tokio::sync::mpsc;

use self::credentials::Claimed;
use self::refusal::{Fault, Refusal};
use self::token::{Denial, UPLOAD_TOKEN};
use self::watch::Order;
use super::auth::Authenticator;
use super::client_id::ClientId;
use super::settings::{AUTH_OFF, Settings};
use super::store::custom::Access;
use super::store::session::{Event, Mode, Session};
use super::store::{Store, Unknown, instance_problem};
use super::topic::{self, Topic};

pub(super) use self::watch::{Guard, Watch, start};

/// The longest keep-alive in seconds (documented: 8 minutes).
const MAX_KEEP_ALIVE: u16 = 480;

/// Topics of the service itself that clients of its older versions publish to: taken, without
/// effect (documented: `document_detail/59914`, that such code may stay), and acknowledged as usual
/// (seen in public: ask/200886). Looked at 2026-11-27; the vendor's pages name no other.
const WITHOUT_EFFECT: [&str; 1] = ["$SYS/getOfflineMsg"];

/// MQTT 5: Implementation specific error.
const UNSUPPORTED: u8 = 0x83;

/// What the product does without (documented: MQTT 5.0 overview).
const UNAVAILABLE: &[Feature] = &[Feature::Retain, Feature::SharedSubscription];

/// The dialect.
pub(super) struct ApsaraMqtt {
    pub(super) settings: Arc<Settings>,
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

impl ApsaraMqtt {
    /// Who it is and by what right, or why not. Nothing comes into being for a client that has
    /// not proven who it is.
    fn admit(&self, connect: &Connect, claimed: &Claimed<'_>) -> Result<Mode, Refusal> {
        let client =
            ClientId::parse(&connect.client_id).map_err(|why| Fault::ClientId.because(why))?;
        let instance = claimed.instance();
        if let Some(problem) = instance_problem(instance) {
            return Err(Fault::UserName.because(problem));
        }
        // The broker refuses it too, but behind this, and a client of the same id that is
        // connected must not notice.
        let will = connect.will.as_ref();
        if connect.protocol_version >= 5 && will.is_some_and(|will| will.retain) {
            return Err(Fault::RetainedWill
                .because("the will is retained, and retained messages are not supported"));
        }
        if let Some(named) = credentials::instance_of_server_name(connect)
            && named != instance
        {
            return Err(Fault::ServerName.because(format!(
                "the user name is for instance {instance:?}, the TLS server name for {named:?}"
            )));
        }
        let mode = self.prove(connect, claimed)?;
        let now = self.clock.now();
        if self.store.use_instance(instance, now).is_err() {
            return Err(Fault::Instance.because(format!(
                "instance {instance:?} is not configured and aliyun.auto_create is off"
            )));
        }
        let black = (instance.to_owned(), connect.client_id.clone());
        if self.store.custom.black.get(&black).is_some() {
            return Err(Fault::Blacklist.because("the client id is on the instance's blacklist"));
        }
        let used = self.store.use_group(instance, client.group, now);
        used.map(|()| mode).map_err(|unknown| {
            let group = client.group;
            Fault::Group.because(match unknown {
                Unknown::DeletedGroup => format!("group {group:?} was deleted"),
                _ => format!(
                    "instance {instance:?} has no group {group:?} and aliyun.auto_create is off"
                ),
            })
        })
    }

    /// What the cloud might have refused about a client that is let in.
    fn leniencies(&self, client_id: &str, instance: &str) -> Vec<String> {
        let group = ClientId::parse(client_id).ok().map(|client| client.group);
        let created = self.store.creates(instance, None, group);
        let off = self.settings.auth == AuthMode::Off;
        created
            .into_iter()
            .chain(off.then(|| AUTH_OFF.to_owned()))
            .collect()
    }

    /// What the use of a topic name or filter brings into being, in words.
    fn creates_topic(&self, peer: &Peer, topic: &str) -> Option<String> {
        if topic.starts_with('$') {
            return None;
        }
        let instance = peer.grant.tenant.as_deref()?;
        let parent = topic.split('/').next()?;
        self.store.creates(instance, Some(parent), None)
    }

    /// A longest packet is an MQTT 5 matter: 3.1.1 cannot be told, and the payload's own limit
    /// discards the message and leaves the connection (documented: Limits).
    fn limits(&self, protocol_version: u8) -> Limits {
        let settings = &self.settings;
        let interval_ms = settings.offline_interval_ms;
        let subscriptions = settings.max_subscriptions;
        Limits {
            unavailable: UNAVAILABLE,
            max_packet_size: (protocol_version >= 5).then_some(settings.max_packet_bytes),
            filters_per_client: (subscriptions > 0).then_some(subscriptions),
            offline_expiry_s: Some(settings.offline_expiry_s),
            offline_replay: (interval_ms > 0).then_some(Replay {
                batch: settings.offline_batch,
                interval_ms,
            }),
            ..Limits::default()
        }
    }

    fn event(&self, client_id: &str, session: &Session, action: &'static str, info: &'static str) {
        self.store.sessions.record(Event {
            time: self.clock.now(),
            instance: session.instance.clone(),
            client_id: client_id.to_owned(),
            action,
            info,
            channel: session.channel.clone(),
            cursor: self.store.traces.last(),
        });
    }

    /// Whether the client may, and if not, why not.
    fn check_access(&self, peer: &Peer, access: Access, filter: &str) -> Result<(), Denial> {
        let Some(session) = self.store.sessions.get(&peer.client_id) else {
            return Err("the client's session is gone".to_owned().into());
        };
        let instance = &*session.instance;
        match &session.mode {
            Mode::Owner => {}
            Mode::Token(holder) => self.check_tokens(instance, &holder.held, access, filter)?,
            Mode::Custom(username) => {
                let custom = &self.store.custom;
                custom.permits(instance, username, &peer.client_id, access, filter)?;
            }
        }
        let now = self.clock.now();
        let parent = filter.split('/').next().unwrap_or_default();
        self.store.use_topic(instance, parent, now).map_err(|_| {
            let reason = format!(
                "parent topic {parent:?} is not configured for instance {instance:?} and \
                 aliyun.auto_create is off"
            );
            reason.into()
        })
    }
}

/// The reason for which `CloseConnection` closes a connection.
pub(super) const CLOSED_BY_CALL: &str = "CloseConnection";

/// Action and information of a trace for the end of a connection (documented, but for "closed by
/// server" of a connection that is closed by a call: assumed). What is not among the documented
/// ones is something wrong with a packet.
fn words(ending: &Ending) -> (&'static str, &'static str) {
    match ending {
        Ending::Disconnected { .. } => ("disconnect", "disconnected by client"),
        Ending::ConnectionLost => ("close", "closed by client"),
        Ending::KeepAliveTimeout => ("close", "no heart"),
        Ending::Stalled => ("close", "Socket IOException"),
        Ending::TakenOver => ("close", "clientId conflict"),
        Ending::Kicked | Ending::Stopped => ("close", "closed by server"),
        Ending::Closed { reason } if reason == CLOSED_BY_CALL => ("close", "closed by server"),
        Ending::Closed { .. } | Ending::Refused { .. } | Ending::QueueOverflow => {
            ("close", "invalid param")
        }
    }
}

#[async_trait]
impl Dialect for ApsaraMqtt {
    fn surface(&self) -> Surface {
        Surface::Aliyun
    }

    fn claims(&self, connect: &Connect) -> bool {
        self.claims_connect(connect)
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let claimed = self.read_claim(connect)?;
        let mut session = Session {
            instance: claimed.instance().to_owned(),
            mode: Mode::Owner,
            channel: self.ids.upper_hex::<16>().to_ascii_lowercase(),
            ending: None,
        };
        let client_id = &connect.client_id;
        let hints = self.leniencies(client_id, claimed.instance());
        session.mode = self.admit(connect, &claimed).inspect_err(|refusal| {
            self.event(client_id, &session, "close", refusal.words());
        })?;
        let grant = Grant {
            surface: Some(Surface::Aliyun),
            tenant: Some(session.instance.clone()),
            identity: claimed.identity().to_owned(),
            max_keep_alive: Some(MAX_KEEP_ALIVE),
            limits: self.limits(connect.protocol_version),
            hints,
            admitted: Admitted::new(session),
        };
        Ok(grant)
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if publish.will {
            return PublishVerdict::Refuse {
                code: UNSUPPORTED,
                reason: "ApsaraMQ for MQTT does not support will messages".to_owned(),
            };
        }
        if publish.topic == UPLOAD_TOKEN {
            return self.upload(peer, publish.payload);
        }
        if WITHOUT_EFFECT.contains(&publish.topic) {
            return PublishVerdict::Consume(Vec::new());
        }
        let topic = match Topic::parse(publish.topic, &self.settings) {
            Ok(topic) => topic,
            Err(reason) => return PublishVerdict::Close { reason },
        };
        let limit = self.settings.max_payload_bytes;
        if let Err(denial) = self.check_access(peer, Access::Publish, publish.topic) {
            return self.deny_publish(peer, denial);
        }
        if publish.payload.len() > limit {
            let bytes = publish.payload.len();
            return PublishVerdict::Discard {
                reason: format!(
                    "the payload has {bytes} bytes, {limit} are allowed: the message is discarded"
                ),
            };
        }
        match topic.target() {
            Some(client_id) => PublishVerdict::DeliverTo(client_id.to_owned()),
            // Retained messages are not supported (documented); that the flag is ignored instead
            // of refused is assumed.
            None if publish.retain => PublishVerdict::AllowUnretained,
            None => PublishVerdict::Allow,
        }
    }

    fn subscribe(
        &self,
        peer: &Peer,
        filter: &str,
        qos: Qos,
        _properties: &[(String, String)],
    ) -> SubscribeVerdict {
        if let Err(reason) = topic::parent_of_filter(filter, &self.settings) {
            return SubscribeVerdict::Withhold {
                close: true,
                reason,
            };
        }
        match self.check_access(peer, Access::Subscribe, filter) {
            Ok(()) => SubscribeVerdict::Allow(qos),
            Err(denial) => self.deny_subscribe(peer, denial),
        }
    }

    fn publish_hint(&self, peer: &Peer, topic: &str) -> Option<String> {
        self.creates_topic(peer, topic)
    }

    fn subscribe_hint(&self, peer: &Peer, filter: &str) -> Option<String> {
        self.creates_topic(peer, filter)
    }

    /// Offline messages are those of QoS 1 only (documented).
    fn keeps_offline(&self, _peer: &Peer, _topic: &str, qos: Qos) -> bool {
        qos == Qos::AtLeastOnce
    }

    fn connected(&self, peer: &Peer) {
        if let Some(session) = peer.grant.admitted.get::<Session>() {
            self.store.sessions.open(&peer.client_id, session.clone());
            self.event(&peer.client_id, session, "connect", "accepted");
        }
    }

    fn disconnected(&self, peer: &Peer, ending: &Ending) {
        if let Some(session) = self.store.sessions.end(&peer.client_id) {
            let (action, info) = match session.ending {
                Some(info) => ("close", info),
                None => words(ending),
            };
            self.event(&peer.client_id, &session, action, info);
        }
    }
}
