//! What a CONNECT is granted beyond the engine's defaults: keep-alive ceilings that cap instead
//! of refusing, the standard's one and a half times of grace for every keep-alive, and how long a
//! session may outlive its connection.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use rmqtt::codec::types::Publish as Packet;
use rmqtt::context::ServerContext;
use rmqtt::fitter::{DefaultFitter, Fitter, FitterManager};
use rmqtt::types::{ConnectInfo, Disconnect, FitterType, Id, ListenerConfig};

use super::super::visitors::Visit;
use super::{Core, admission};

struct Grants {
    ceiling: u16,
    longest_session: Option<Duration>,
    topic_alias_maximum: Option<u16>,
    max_inflight: Option<NonZeroU16>,
    visit: Option<Arc<Visit>>,
    defaults: DefaultFitter,
}

impl Fitter for Grants {
    fn keep_alive(&self, keep_alive: &mut u16) -> rmqtt::Result<u16> {
        // MQTT 5 tells the client (Server Keep Alive); 3.x has no way to, and is capped silently.
        if *keep_alive > self.ceiling || (*keep_alive == 0 && self.ceiling < u16::MAX) {
            *keep_alive = self.ceiling;
        }
        // MQTT 5.0 section 3.1.2.10: one and a half times the keep-alive; 0 means never.
        let grace = u32::from(*keep_alive) * 3 / 2 + u32::from(*keep_alive % 2);
        Ok(u16::try_from(grace).unwrap_or(u16::MAX))
    }

    fn max_mqueue_len(&self) -> usize {
        self.defaults.max_mqueue_len()
    }

    fn mqueue_rate_limit(&self) -> (NonZeroU32, Duration) {
        self.defaults.mqueue_rate_limit()
    }

    fn max_inflight(&self) -> NonZeroU16 {
        self.max_inflight
            .unwrap_or_else(|| self.defaults.max_inflight())
    }

    fn session_expiry_interval(&self, disconnect: Option<&Disconnect>) -> Duration {
        let told = self.visit.as_deref().and_then(Visit::session_expiry);
        let asked = match told.filter(|_| disconnect.is_none()) {
            Some(seconds) => Duration::from_secs(seconds.into()),
            None => self.defaults.session_expiry_interval(disconnect),
        };
        self.longest_session.map_or(asked, |most| asked.min(most))
    }

    fn message_expiry_interval(&self, publish: &Packet) -> Duration {
        self.defaults.message_expiry_interval(publish)
    }

    fn max_client_topic_aliases(&self) -> u16 {
        self.topic_alias_maximum
            .unwrap_or_else(|| self.defaults.max_client_topic_aliases())
    }

    fn max_server_topic_aliases(&self) -> u16 {
        self.defaults.max_server_topic_aliases()
    }
}

struct GrantsOfClients(Arc<Core>);

impl FitterManager for GrantsOfClients {
    fn create(&self, info: Arc<ConnectInfo>, id: Id, listener: ListenerConfig) -> FitterType {
        let peer = self.0.doors.peer(&id.client_id);
        let grant = peer.as_ref().map(|peer| &peer.grant);
        let of_dialect = grant.and_then(|grant| grant.max_keep_alive);
        let longest = grant.and_then(|grant| grant.limits.max_session_expiry);
        let in_flight = grant.and_then(|grant| grant.limits.deliveries_in_flight);
        let told = match &*info {
            ConnectInfo::V5(_, connect) => connect.receive_max.unwrap_or(NonZeroU16::MAX),
            ConnectInfo::V3(..) => NonZeroU16::MAX,
        };
        Arc::new(Grants {
            visit: admission::visit(&self.0, &id),
            topic_alias_maximum: grant.and_then(|grant| grant.limits.topic_alias_maximum),
            max_inflight: in_flight.and_then(NonZeroU16::new).map(|own| own.min(told)),
            ceiling: of_dialect.map_or(listener.max_keepalive, |own| {
                own.min(listener.max_keepalive)
            }),
            longest_session: longest.map(|seconds| Duration::from_secs(seconds.into())),
            defaults: DefaultFitter::new(info, id, listener),
        })
    }
}

pub(super) async fn install(context: &ServerContext, core: &Arc<Core>) {
    *context.extends.fitter_mgr_mut().await = Box::new(GrantsOfClients(core.clone()));
}
