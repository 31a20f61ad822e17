//! Where the events of messages go: to a namespace topic at once, to a custom topic through
//! `delivery.rs`. Messages of MQTT clients come through the broker's outlet, in the publisher's
//! own task, so that none is missed; those over HTTP are routed by `api/publish.rs`, which
//! answers for the outcome. What an event looks like is in `routing.rs`.

use std::sync::Arc;

use mqttstack_base::exchange::Surface;
use mqttstack_base::ids::Ids;
use mqttstack_base::message::{Message, OriginKind};
use mqttstack_broker::dialect::Peer;
use mqttstack_broker::outlet::{Outlet, WaitForRoom};

use super::cloud_event::cloud_event;
use super::delivery::Deliveries;
use super::store::{NamespaceState, Store};
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

    /// Routes a message if its namespace has a routing topic; tells whether it has.
    pub(crate) fn route(
        &self,
        namespace: &NamespaceState,
        message: &Message,
        publisher: &str,
        ids: &Ids,
    ) -> Result<bool, Error> {
        let resources = namespace.resources();
        let Some(route) = resources.route() else {
            return Ok(false);
        };
        let client = access::find_client(&resources, publisher);
        let publisher = Identity {
            authentication_name: publisher,
            attributes: client.map(|client| &client.properties.attributes),
        };
        let event = cloud_event(message, &resources, publisher, ids);
        if is_address(route) {
            self.deliveries
                .push(route, resources.route_key.as_ref(), &event)
                .map_err(|why| Error::Routing(why.to_owned()))?;
            return Ok(true);
        }
        namespace
            .publish(route, vec![event], message.time)
            .map(|()| true)
            .map_err(|_| Error::Routing(format!("the routing topic '{route}' was not found")))
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

/// The way of MQTT clients' messages into the router.
pub(crate) struct RoutingOutlet {
    /// Where they go.
    pub router: Router,
    /// For the events' ids.
    pub ids: Ids,
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

    fn take(&self, message: &Arc<Message>, peer: Option<&Peer>, _tenant: Option<&str>) {
        if !matches!(message.origin.kind, OriginKind::Mqtt | OriginKind::Will) {
            return;
        }
        let Some(namespace) = self.router.namespace_of(peer) else {
            return;
        };
        let identity = peer.filter(|peer| peer.grant.surface.is_some());
        let publisher = identity
            .map(|peer| peer.grant.identity.as_str())
            .or(message.origin.client_id.as_deref())
            .unwrap_or_default();
        // The publisher is not told (mqtt-routing page).
        if let Err(error) = self.router.route(&namespace, message, publisher, &self.ids) {
            tracing::warn!(target: "mqttstack::azure", topic = message.topic, %error, "not routed");
        }
    }
}
