//! What the broker asks: who may connect, and what a connected client may do. The texts of refusals
//! are the vendor's resource log descriptions where it has one.

use std::sync::Arc;

use async_trait::async_trait;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Qos;
use mqttstack_broker::Ending;
use mqttstack_broker::dialect::{
    Admitted, Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Packet, PacketRefusal, Peer,
    Publish, PublishVerdict, SessionEnd, SubscribeVerdict,
};
use mqttstack_pipeline::App;

use super::codes::{IMPLEMENTATION_SPECIFIC, NOT_AUTHORIZED, QUOTA_EXCEEDED, TIMED_OUT};
use super::credentials::{self, Credentials};
use super::limits as granted;
use super::sessions::{self, Session, Sessions};
use super::watch::{self, Watch};
use super::who::{Identified, Who, not_authorized};
use crate::error::Error;
use crate::events::store::Store;
use crate::identity::auth::Authenticator;
use crate::model::limits;
use crate::model::rates::Rates;
use crate::model::resources::Permission;
use crate::settings::{Auth, Settings};

/// The dialect.
struct AzureDialect {
    credentials: Credentials,
    store: Arc<Store>,
    rates: Rates,
    sessions: Arc<Sessions>,
}

/// The dialect over the rooms of an emulator, and what looks after its sessions once it is run.
pub(crate) fn open(
    authenticator: Authenticator,
    store: Arc<Store>,
    rates: Rates,
    app: &App,
) -> (Arc<dyn Dialect>, Watch) {
    let (sessions, watch) = watch::open(app, store.clone(), authenticator.settings.max_sessions);
    let dialect = AzureDialect {
        credentials: Credentials {
            authenticator,
            clock: app.clock.clone(),
            ids: app.ids.clone(),
        },
        store,
        rates,
        sessions,
    };
    (Arc::new(dialect), watch)
}

impl std::fmt::Debug for AzureDialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AzureDialect")
    }
}

impl AzureDialect {
    fn settings(&self) -> &Settings {
        &self.credentials.authenticator.settings
    }

    /// The session that a CONNECT asks for. Without authentication its client is whoever it says
    /// it is.
    async fn session(&self, connect: &Connect) -> Result<Session, ConnectRefusal> {
        let server = connect.tls.server_name.as_deref();
        let namespace = self.store.namespace(server);
        let namespace = namespace.ok_or_else(|| not_authorized("there is no namespace"))?;
        if namespace
            .resources()
            .topic_spaces_configuration
            .is_disabled()
        {
            return Err(not_authorized(format!(
                "the MQTT broker of the namespace {:?} is disabled (topicSpacesConfiguration.state)",
                namespace.name()
            )));
        }
        let identified = match self.credentials.identify(connect, &namespace).await {
            Err(_) if self.settings().auth == Auth::Off => Identified {
                who: Who::Principal {
                    object_id: connect
                        .username
                        .clone()
                        .unwrap_or_else(|| connect.client_id.clone()),
                    roles: None,
                },
                expires: None,
            },
            identified => identified?,
        };
        let Identified { who, expires } = identified;
        Ok(Session::new(namespace, who, expires))
    }

    fn grant(&self, session: &Session) -> Grant {
        let namespace = session.namespace.resources();
        Grant {
            admitted: Admitted::default(),
            surface: Some(Surface::Azure),
            tenant: Some(namespace.name.clone()),
            identity: session.who.authentication_name().to_owned(),
            max_keep_alive: Some(limits::KEEP_ALIVE),
            limits: granted::of_client(&namespace, self.settings()),
            hints: self.settings().auth.hint().into_iter().collect(),
        }
    }

    /// What forbids a will.
    fn check_will(&self, connect: &Connect, session: &Session) -> Result<(), ConnectRefusal> {
        let Some(will) = &connect.will else {
            return Ok(());
        };
        let resources = session.namespace.resources();
        let may = session
            .who
            .may(&resources, Permission::Publisher, &will.topic);
        may.map_err(|why| not_authorized(format!("the will is not permitted: {why}")))?;
        let delay = will.delay;
        if self.settings().limits && delay > limits::WILL_DELAY {
            return Err(ConnectRefusal {
                code: ConnectCode::ImplementationSpecific,
                reason: format!(
                    "the Will Delay Interval is {delay} s, the limit is {} s",
                    limits::WILL_DELAY
                ),
            });
        }
        Ok(())
    }

    /// Counts a CONNECT of a client that is known.
    fn check_rate(&self, connect: &Connect, session: &Session) -> Result<(), ConnectRefusal> {
        let counted = self
            .rates
            .connect(session.namespace.name(), &connect.client_id);
        counted.map_err(|refusal| ConnectRefusal {
            code: ConnectCode::ConnectionRateExceeded,
            reason: Error::from(refusal).to_string(),
        })
    }

    fn may(&self, peer: &Peer, permission: Permission, topic: &str) -> Result<(), String> {
        let session = self.sessions.find(&peer.client_id);
        let session = session.ok_or("the session is not known")?;
        session
            .who
            .may(&session.namespace.resources(), permission, topic)
    }

    /// Why a client's credentials are not good any more; its connection is about to end.
    fn expired(&self, peer: &Peer) -> Option<String> {
        let session = self.sessions.find(&peer.client_id)?;
        let reason = session.expires?.reason(self.sessions.clock.now())?;
        self.sessions
            .ending(&peer.client_id, "ClientAuthenticationError");
        Some(reason)
    }

    fn close(&self, peer: &Peer, ended: &'static str, reason: String) -> PublishVerdict {
        self.sessions.ending(&peer.client_id, ended);
        PublishVerdict::Close { reason }
    }

    /// A PUBLISH that is not taken. MQTT 5 is told; the connection of 3.x ends, and so does that
    /// of MQTT 5 where there is no acknowledgement to tell it.
    fn refuse(
        &self,
        peer: &Peer,
        publish: &Publish<'_>,
        code: u8,
        ended: &'static str,
        reason: String,
    ) -> PublishVerdict {
        if publish.will || peer.protocol_version >= 5 && publish.qos == Qos::AtLeastOnce {
            return PublishVerdict::Refuse { code, reason };
        }
        self.sessions.ending(&peer.client_id, ended);
        PublishVerdict::Disconnect { code, reason }
    }
}

#[async_trait]
impl Dialect for AzureDialect {
    fn surface(&self) -> Surface {
        Surface::Azure
    }

    fn claims(&self, connect: &Connect) -> bool {
        let server = connect.tls.server_name.as_deref().unwrap_or("");
        if server.ends_with(".eventgrid.azure.net")
            || server.ends_with("azure.localhost")
            || credentials::has_method(connect)
        {
            return true;
        }
        let namespace = self.store.namespace(Some(server));
        namespace.is_some_and(|namespace| credentials::knows(connect, &namespace.resources()))
    }

    /// An authentication method, which no other vendor has, and a certificate where certificates
    /// are what clients are known by.
    fn resembles(&self, connect: &Connect) -> bool {
        if self.settings().auth == Auth::Off {
            return false;
        }
        let server = connect.tls.server_name.as_deref();
        let namespace = self.store.namespace(server);
        let knows_by_certificate = namespace.is_some_and(|namespace| {
            let resources = namespace.resources();
            !resources.clients.is_empty() || !resources.ca_certificates.is_empty()
        });
        connect.authentication_method.is_some()
            || (knows_by_certificate && !connect.tls.certificates.is_empty())
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let session = self.session(connect).await?;
        self.check_rate(connect, &session)?;
        self.check_will(connect, &session)?;
        self.sessions.check(&connect.client_id, &session)?;
        Ok(Grant {
            admitted: Admitted::new(session.clone()),
            ..self.grant(&session)
        })
    }

    async fn reauthenticate(
        &self,
        peer: &Peer,
        connect: &Connect,
    ) -> Result<Grant, ConnectRefusal> {
        let renewed = match self.session(connect).await {
            Ok(renewed) if renewed.who.authentication_name() == peer.grant.identity => renewed,
            Ok(other) => {
                self.sessions
                    .ending(&peer.client_id, "ClientAuthenticationError");
                return Err(not_authorized(format!(
                    "the session belongs to {:?}, the new token to {:?}",
                    peer.grant.identity,
                    other.who.authentication_name()
                )));
            }
            Err(refusal) => {
                self.sessions
                    .ending(&peer.client_id, "ClientAuthenticationError");
                return Err(refusal);
            }
        };
        let grant = self.grant(&renewed);
        self.sessions.change(&peer.client_id, |session| {
            session.who = renewed.who;
            session.expires = renewed.expires;
        });
        self.sessions.news.notify_one();
        Ok(grant)
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if !publish.will
            && let Some(reason) = self.expired(peer)
        {
            return PublishVerdict::Close { reason };
        }
        if publish.qos == Qos::ExactlyOnce {
            return self.close(peer, "ClientError", "QoS 2 is not supported".to_owned());
        }
        if self.settings().limits
            && let Err((code, reason)) = granted::check_publish(publish)
        {
            return self.refuse(peer, publish, code, "ClientError", reason);
        }
        if let Err(reason) = self.may(peer, Permission::Publisher, publish.topic) {
            let ended = sessions::UNAUTHORIZED;
            return self.refuse(peer, publish, NOT_AUTHORIZED, ended, reason);
        }
        if publish.will {
            return PublishVerdict::Allow;
        }
        let namespace = peer.grant.tenant.as_deref().unwrap_or_default();
        let size = publish.payload.len();
        match self
            .rates
            .mqtt_publish(namespace, &peer.client_id, size, publish.retain)
        {
            Ok(()) => PublishVerdict::Allow,
            Err(refusal) => {
                let reason = Error::from(refusal).to_string();
                self.refuse(peer, publish, QUOTA_EXCEEDED, sessions::OVER_QUOTA, reason)
            }
        }
    }

    fn packet(&self, peer: &Peer, packet: Packet) -> Result<(), PacketRefusal> {
        let namespace = peer.grant.tenant.as_deref().unwrap_or_default();
        let counted = self.rates.subscribe(namespace, &peer.client_id);
        counted.map_err(|refusal| PacketRefusal {
            code: match packet {
                Packet::Subscribe => QUOTA_EXCEEDED,
                // An UNSUBACK has no code for a quota.
                Packet::Unsubscribe => IMPLEMENTATION_SPECIFIC,
            },
            reason: Error::from(refusal).to_string(),
        })
    }

    fn subscribe(
        &self,
        peer: &Peer,
        filter: &str,
        qos: Qos,
        _properties: &[(String, String)],
    ) -> SubscribeVerdict {
        let refuse = |code, reason: String| SubscribeVerdict::Refuse { code, reason };
        if let Some(reason) = self.expired(peer) {
            return SubscribeVerdict::Close { reason };
        }
        let (shared, filter) = match filter.strip_prefix("$share/") {
            // The group's name is the standard's business, which the broker looks after.
            Some(rest) => (true, rest.split_once('/').map_or("", |(_, filter)| filter)),
            None => (false, filter),
        };
        if shared && peer.protocol_version < 5 {
            self.sessions.ending(&peer.client_id, "ClientError");
            return SubscribeVerdict::Withhold {
                close: true,
                reason: "shared subscriptions are for MQTT 5 clients alone".to_owned(),
            };
        }
        if self.settings().limits
            && let Err(why) = limits::check_topic(filter)
        {
            return refuse(
                0x8F,
                format!("the topic filter '{filter}' is invalid: {why}"),
            );
        }
        match self.may(peer, Permission::Subscriber, filter) {
            Ok(()) => SubscribeVerdict::Allow(qos.min(Qos::AtLeastOnce)),
            Err(reason) => refuse(NOT_AUTHORIZED, reason),
        }
    }

    fn connected(&self, peer: &Peer) {
        self.sessions.connected(peer);
    }

    /// Messages of QoS 0 are not queued (mqtt-support page: QoS 1 ones are).
    fn keeps_offline(&self, _peer: &Peer, _topic: &str, qos: Qos) -> bool {
        qos != Qos::AtMostOnce
    }

    fn disconnected(&self, peer: &Peer, ending: &Ending) {
        if *ending == Ending::KeepAliveTimeout {
            let (code, said) = TIMED_OUT;
            self.sessions
                .journal_end(&peer.client_id, &peer.grant.identity, code, said);
        }
        self.sessions.disconnected(peer, ending);
    }

    fn session_ended(&self, peer: &Peer, end: SessionEnd) {
        self.sessions.ended(peer, end);
    }
}
