//! Where the events of messages go: to a namespace topic at once, to a custom topic through
//! `delivery.rs`. Every message comes through the broker's outlet, in the publisher's own task, so
//! that none is missed. What an event looks like is in `cloud_event.rs`.

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Message, OriginKind, Publication};
use mqttstack_broker::dialect::Peer;
use mqttstack_broker::outlet::{Outlet, WaitForRoom};

use super::cloud_event::cloud_event;
use super::delivery::Deliveries;
use super::failures::{Failures, Source};
use super::store::{NamespaceState, Store};
use super::topics::Unusable;
use crate::error::Error;
use crate::model::access;
use crate::model::attribute::Identity;
use crate::model::resources::Namespace;

/// Sends messages where their namespaces want them.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    /// The namespaces.
    pub store: Arc<Store>,
    /// Events for custom topics.
    pub deliveries: Arc<Deliveries>,
}

impl Router {
    /// Waits while the custom topic that a namespace routes to is behind, at most a while.
    pub(crate) async fn room(&self, namespace: &Namespace) {
        if let Some(url) = namespace.route().filter(|route| is_address(route)) {
            self.deliveries.room(url).await;
        }
    }

    /// Whether a namespace routes messages. Refuses where one of this size could not be routed now,
    /// so that who can be told is told before anybody has the message.
    pub(crate) fn check(
        &self,
        namespace: &NamespaceState,
        publication: &Publication,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let resources = namespace.resources();
        let Some(route) = resources.route() else {
            return Ok(false);
        };
        let size = size_of(publication);
        let checked = if is_address(route) {
            let checked = self.deliveries.check(route, size);
            checked.map_err(str::to_owned)
        } else {
            let checked = namespace.topics().check(route, size, now);
            checked.map_err(|why| not_routed(route, why))
        };
        checked.map(|()| true).map_err(Error::Routing)
    }

    /// Routes a message if its namespace has a routing topic.
    fn route(
        &self,
        namespace: &NamespaceState,
        message: &Message,
        publisher: &str,
        failures: &Failures,
    ) -> Result<(), String> {
        let resources = namespace.resources();
        let Some(route) = resources.route() else {
            return Ok(());
        };
        let client = access::find_client(&resources, publisher);
        let publisher = Identity {
            authentication_name: publisher,
            attributes: client.map(|client| &client.properties.attributes),
        };
        let event = cloud_event(message, &resources, publisher, &failures.ids);
        if is_address(route) {
            let key = resources.route_key.as_ref();
            let pushed = self
                .deliveries
                .push(route, key, &event, message.into(), failures);
            return pushed.map_err(str::to_owned);
        }
        let published = namespace.topics().publish(route, &[event], message.time);
        published.map_err(|why| not_routed(route, why))
    }

    /// The namespace that a message is routed for; `None` if it is none of Azure's business.
    fn namespace_for(
        &self,
        message: &Message,
        peer: Option<&Peer>,
        tenant: Option<&str>,
    ) -> Option<Arc<NamespaceState>> {
        let origin = &message.origin;
        match origin.kind {
            OriginKind::Mqtt | OriginKind::Will => self.namespace_of(peer),
            OriginKind::Http if origin.vendor == Some(Surface::Azure) => self.store.find(tenant?),
            _ => None,
        }
    }

    /// The namespace that a client's messages belong to; `None` if they are none of Azure's
    /// business. Open clients belong to the namespace that their tenant names, else to the first.
    fn namespace_of(&self, peer: Option<&Peer>) -> Option<Arc<NamespaceState>> {
        let grant = peer.map(|peer| &*peer.grant);
        let tenant = grant.and_then(|grant| grant.tenant.as_deref());
        match grant.and_then(|grant| grant.surface) {
            Some(Surface::Azure) => self.store.find(tenant?),
            Some(_) => None,
            None => match tenant.and_then(|tenant| tenant.split_once('/')) {
                Some((vendor, name)) if vendor == Surface::Azure.as_str() => self.store.find(name),
                Some(_) => None,
                None => self.store.namespace(None),
            },
        }
    }
}

/// Whether a routing topic is a custom topic's address.
fn is_address(route: &str) -> bool {
    route.starts_with("http://") || route.starts_with("https://")
}

/// Why a namespace topic does not get a message.
fn not_routed(route: &str, why: Unusable) -> String {
    match why {
        Unusable::NoTopic => format!("the routing topic '{route}' was not found"),
        other => format!("the routing topic '{route}' takes no more: {other}"),
    }
}

/// About how many bytes the event of a message will have: its payload in base64 or with its quotes
/// escaped, and its attributes.
fn size_of(publication: &Publication) -> usize {
    let properties = &publication.properties.user_properties;
    let properties = properties
        .iter()
        .map(|(name, value)| name.len() + value.len());
    1_024
        + publication.topic.as_str().len()
        + 2 * publication.payload.len()
        + properties.sum::<usize>()
}

/// The way of every message, over MQTT or HTTP, into the router: the broker's outlet, which sees it in
/// the task of whoever publishes it.
pub(crate) struct RoutingOutlet {
    /// Where they go.
    pub router: Router,
    /// Where those that go nowhere are told.
    pub failures: Failures,
}

impl Outlet for RoutingOutlet {
    fn room(&self, peer: &Peer) -> Option<WaitForRoom> {
        // An open client is none of Azure's: it must not suffer for a topic of theirs.
        if peer.grant.surface != Some(Surface::Azure) {
            return None;
        }
        let resources = self.router.namespace_of(Some(peer))?.resources();
        let url = resources
            .route()
            .filter(|route| is_address(route))?
            .to_owned();
        if self.router.deliveries.has_room(&url) {
            return None;
        }
        let deliveries = self.router.deliveries.clone();
        Some(Box::pin(async move { deliveries.room(&url).await }))
    }

    fn take(&self, message: &Arc<Message>, peer: Option<&Peer>, tenant: Option<&str>) {
        let Some(namespace) = self.router.namespace_for(message, peer, tenant) else {
            return;
        };
        let identity = peer.filter(|peer| peer.grant.surface.is_some());
        let publisher = identity
            .map(|peer| peer.grant.identity.as_str())
            .or(message.origin.client_id.as_deref())
            .unwrap_or_default();
        let routed = self
            .router
            .route(&namespace, message, publisher, &self.failures);
        // The publisher is not told (mqtt-routing page).
        if let Err(why) = routed {
            self.failures.tell(&Source::from(&**message), &why);
        }
    }
}
