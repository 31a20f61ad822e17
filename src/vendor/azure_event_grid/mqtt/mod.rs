//! The MQTT side: who may connect by which credentials, and what a connected client may do. The
//! texts of refusals are the vendor's resource log descriptions where it has one. Reason codes
//! are assumed (the vendor says only that it uses the standard's), see `choices.rs`. Who a client is is found
//! out in `credentials.rs`.

mod credentials;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use self::credentials::authentication_name;
use super::access::{self, Attributes};
use super::auth::Authenticator;
use super::life_cycle;
use super::limits;
use super::resources::{Namespace, Permission};
use super::settings::{Auth, RoleAssignment};
use super::store::{NamespaceState, Store};
use super::template::Identity;
use crate::app::App;
use crate::broker::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Grant, Limits, Peer, Publish, PublishVerdict,
    SubscribeVerdict,
};
use crate::broker::message::Qos;
use crate::exchange::Surface;

/// The longest keep-alive in seconds (mqtt-support page).
const MAX_KEEP_ALIVE: u16 = 1160;
/// The Authentication Method of Entra tokens.
const ENTRA: &str = "OAUTH2-JWT";
/// The Authentication Method of other issuers' tokens.
const CUSTOM: &str = "CUSTOM-JWT";

/// The dialect.
pub(super) struct AzureDialect {
    authenticator: Authenticator,
    store: Arc<Store>,
    app: App,
    sessions: Mutex<HashMap<String, Session>>,
}

/// Who is behind a session.
#[derive(Debug, Clone)]
struct Session {
    namespace: Arc<NamespaceState>,
    who: Who,
    /// Connections that are open; two for a moment while one is taken over.
    live: u64,
    /// Connections so far: `sequenceNumber` of the life-cycle events.
    sequence: u64,
}

#[derive(Debug, Clone)]
enum Who {
    /// An Entra identity.
    Principal {
        object_id: String,
        roles: Option<Vec<RoleAssignment>>,
    },
    /// A client resource, or the subject of a custom token.
    Client {
        authentication_name: String,
        attributes: Attributes,
    },
}

impl Who {
    fn authentication_name(&self) -> &str {
        match self {
            Self::Principal { object_id, .. } => object_id,
            Self::Client {
                authentication_name,
                ..
            } => authentication_name,
        }
    }

    fn may(
        &self,
        namespace: &Namespace,
        permission: Permission,
        topic: &str,
    ) -> Result<(), String> {
        match self {
            Self::Principal { object_id, roles } => {
                access::identity_may(namespace, object_id, roles.as_deref(), permission, topic)
            }
            Self::Client {
                authentication_name,
                attributes,
            } => {
                let identity = Identity {
                    authentication_name,
                    attributes: Some(attributes),
                };
                access::client_may(namespace, identity, permission, topic)
            }
        }
    }
}

impl std::fmt::Debug for AzureDialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AzureDialect")
    }
}

impl AzureDialect {
    /// The dialect over these rooms.
    pub(super) fn new(authenticator: Authenticator, store: Arc<Store>, app: App) -> Self {
        Self {
            authenticator,
            store,
            app,
            sessions: Mutex::default(),
        }
    }

    fn auth(&self) -> Auth {
        self.authenticator.settings.auth
    }

    /// A session belongs to one authentication name, which may have only so many.
    fn admit_session(&self, connect: &Connect, session: Session) -> Result<(), String> {
        let name = session.who.authentication_name().to_owned();
        let mut sessions = self.sessions.lock();
        let known = sessions.get(&connect.client_id);
        let other = known.filter(|known| known.live > 0 && known.who.authentication_name() != name);
        if other.is_some() {
            return Err(format!(
                "the session name {:?} is in use by another authentication name",
                connect.client_id
            ));
        }
        let resources = session.namespace.resources();
        let most = resources
            .topic_spaces_configuration
            .maximum_client_sessions_per_authentication_name;
        let of_name = sessions
            .iter()
            .filter(|(id, known)| {
                **id != connect.client_id
                    && known.live > 0
                    && known.who.authentication_name() == name
            })
            .count();
        if of_name >= most as usize {
            return Err(format!(
                "QuotaExceeded: {name:?} has {of_name} sessions, maximumClientSessionsPerAuthenticationName is {most}"
            ));
        }
        let (live, sequence) = known.map_or((0, 0), |known| (known.live, known.sequence));
        let session = Session {
            live,
            sequence,
            ..session
        };
        sessions.insert(connect.client_id.clone(), session);
        Ok(())
    }

    fn session(&self, peer: &Peer) -> Option<Session> {
        self.sessions.lock().get(&peer.client_id).cloned()
    }

    fn may(&self, peer: &Peer, permission: Permission, topic: &str) -> Result<(), String> {
        let session = self.session(peer).ok_or("the session is not known")?;
        session
            .who
            .may(&session.namespace.resources(), permission, topic)
    }
}

#[async_trait]
impl Dialect for AzureDialect {
    fn surface(&self) -> Surface {
        Surface::Azure
    }

    fn claims(&self, connect: &Connect) -> bool {
        let method = connect.authentication_method.as_deref();
        if matches!(method, Some(ENTRA | CUSTOM)) {
            return true;
        }
        let server = connect.tls.server_name.as_deref().unwrap_or("");
        if server.ends_with(".eventgrid.azure.net") || server.ends_with("azure.localhost") {
            return true;
        }
        let namespace = self.store.namespace(Some(server)).resources();
        authentication_name(connect, &namespace)
            .is_some_and(|name| access::find_client(&namespace, &name).is_some())
    }

    async fn connect(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let refuse = |reason| ConnectRefusal {
            code: ConnectCode::NotAuthorized,
            reason,
        };
        let namespace = self.store.namespace(connect.tls.server_name.as_deref());
        let name = namespace.resources().name.clone();
        let who = match self.identify(connect, &namespace).await {
            Ok(who) => who,
            Err(_) if self.auth() == Auth::Off => Who::Principal {
                object_id: connect
                    .username
                    .clone()
                    .unwrap_or_else(|| connect.client_id.clone()),
                roles: None,
            },
            Err(reason) => return Err(refuse(reason)),
        };
        let identity = who.authentication_name().to_owned();
        let session = Session {
            namespace,
            who,
            live: 0,
            sequence: 0,
        };
        self.admit_session(connect, session).map_err(refuse)?;
        Ok(Grant {
            surface: Some(Surface::Azure),
            tenant: Some(name),
            identity,
            max_keep_alive: Some(MAX_KEEP_ALIVE),
            limits: Limits::default(),
        })
    }

    fn publish(&self, peer: &Peer, publish: &Publish<'_>) -> PublishVerdict {
        if publish.qos == Qos::ExactlyOnce {
            return PublishVerdict::Close {
                reason: "QoS 2 is not supported".to_owned(),
            };
        }
        if self.authenticator.settings.limits
            && let Err((code, reason)) = limits::check_publish(publish)
        {
            return PublishVerdict::Refuse { code, reason };
        }
        match self.may(peer, Permission::Publisher, publish.topic) {
            Ok(()) => PublishVerdict::Allow,
            Err(reason) if peer.protocol_version >= 5 && publish.qos == Qos::AtLeastOnce => {
                PublishVerdict::Refuse { code: 0x87, reason }
            }
            Err(reason) => PublishVerdict::Close { reason },
        }
    }

    fn subscribe(&self, peer: &Peer, filter: &str, qos: Qos) -> SubscribeVerdict {
        let refuse = |code, reason: String| SubscribeVerdict::Refuse { code, reason };
        if filter.starts_with("$share/") {
            return refuse(0x9E, "shared subscriptions are not supported".to_owned());
        }
        if self.authenticator.settings.limits
            && let Err(why) = limits::check_topic(filter)
        {
            return refuse(
                0x8F,
                format!("the topic filter '{filter}' is invalid: {why}"),
            );
        }
        match self.may(peer, Permission::Subscriber, filter) {
            Ok(()) => SubscribeVerdict::Allow(qos.min(Qos::AtLeastOnce)),
            Err(reason) => refuse(0x87, reason),
        }
    }

    fn connected(&self, peer: &Peer) {
        let session = {
            let mut sessions = self.sessions.lock();
            let Some(session) = sessions.get_mut(&peer.client_id) else {
                return;
            };
            session.live += 1;
            session.sequence += 1;
            session.clone()
        };
        self.tell(peer, &session, None);
    }

    fn disconnected(&self, peer: &Peer, reason: &str) {
        let session = {
            let mut sessions = self.sessions.lock();
            let Some(session) = sessions.get_mut(&peer.client_id) else {
                return;
            };
            session.live = session.live.saturating_sub(1);
            // The connection that took it over has the number behind it already.
            let sequence = session.sequence.saturating_sub(session.live);
            Session {
                sequence,
                ..session.clone()
            }
        };
        self.tell(peer, &session, Some(life_cycle::reason(reason)));
    }
}

impl AzureDialect {
    /// Puts a life-cycle event where the namespace wants it.
    fn tell(&self, peer: &Peer, session: &Session, ended: Option<&'static str>) {
        let namespace = session.namespace.resources();
        let Some(topic) = namespace.life_cycle_topic.as_deref() else {
            return;
        };
        let change = life_cycle::SessionChange {
            authentication_name: session.who.authentication_name(),
            session_name: &peer.client_id,
            sequence: session.sequence,
            ended,
        };
        let now = self.app.clock.now();
        let event = change.event(&namespace, now, &self.app.ids);
        if session.namespace.publish(topic, vec![event], now).is_err() {
            tracing::warn!(target: "mqttstack::azure", topic, "the life-cycle topic was not found");
        }
    }
}
