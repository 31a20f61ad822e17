//! Ends what must end while nobody sends anything: connections whose token, certificate or
//! decision has expired, whose client was disabled or deleted. [`Watch::run`] holds the broker, so nothing that the broker holds may hold it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_broker::Broker;
use mqttstack_pipeline::App;

use super::codes::NOT_AUTHORIZED;
use super::sessions::{Session, Sessions, UNAUTHORIZED};
use super::who::Who;
use crate::events::store::Store;
use crate::model::access;
use crate::model::resources::Permission;

/// What looks after the sessions.
pub(crate) struct Watch {
    sessions: Arc<Sessions>,
    broker: Broker,
    /// The namespaces, whose changes can end a session.
    store: Arc<Store>,
}

/// The sessions of an emulator, and what looks after them once it is run.
pub(crate) fn open(app: &App, store: Arc<Store>, most: usize) -> (Arc<Sessions>, Watch) {
    let sessions = Arc::new(Sessions::new(app, most));
    let watch = Watch {
        sessions: sessions.clone(),
        broker: app.broker.clone(),
        store,
    };
    (sessions, watch)
}

impl Watch {
    /// Looks after the sessions until it is dropped: whenever a client connects, resources change,
    /// the first credentials run out, or the clock is moved.
    pub(crate) async fn run(self) {
        loop {
            let changed = self.store.changed().notified();
            tokio::pin!(changed);
            // Registered before looking, so that nothing slips in between.
            changed.as_mut().enable();
            self.end_expired().await;
            self.end_unauthorized().await;
            let next = self.sessions.next_expiry().unwrap_or(Timestamp::MAX);
            tokio::select! {
                () = self.sessions.news.notified() => {}
                () = changed => {}
                () = self.sessions.clock.reached_or_moved(next) => {}
            }
        }
    }

    /// Closes the connections whose credentials are not good any more.
    async fn end_expired(&self) {
        let now = self.sessions.clock.now();
        let ended = self.sessions.each(|name, session| {
            let why = session.in_use().then(|| session.invalid(now)).flatten()?;
            Some((name.to_owned(), session.who.clone(), why))
        });
        for (name, who, why) in ended {
            self.sessions.ending(&name, "ClientAuthenticationError");
            self.sessions
                .journal_end(&name, who.authentication_name(), NOT_AUTHORIZED, &why);
            self.broker.close(&name, &why).await;
        }
    }

    /// Ends the sessions with a subscription that the namespace's resources, changed meanwhile, do
    /// not permit any more (METRICS: sessions are dropped for an `AuthorizationError`).
    async fn end_unauthorized(&self) {
        let changed = self.sessions.each(|name, session| {
            let resources = session.unchecked()?;
            Some((name.to_owned(), (session.clone(), resources)))
        });
        if changed.is_empty() {
            return;
        }
        let mut changed: HashMap<_, _> = changed.into_iter().collect();
        for subscription in self.broker.subscriptions().await {
            let name = &subscription.client_id;
            let refused = changed.get(name).and_then(|(session, resources)| {
                let filter = &subscription.topic_filter;
                let may = session.who.may(resources, Permission::Subscriber, filter);
                may.err()
            });
            if let Some(why) = refused
                && let Some((session, _)) = changed.remove(name)
            {
                self.end_session(name, &session, &why).await;
            }
        }
        for (name, (_, resources)) in changed {
            self.sessions
                .change(&name, |session| session.checked = resources);
        }
    }

    /// Ends a session without permission: first its connection, and once that is gone the rest.
    async fn end_session(&self, name: &str, session: &Session, why: &str) {
        if !session.is_unauthorized() {
            let identity = session.who.authentication_name();
            self.sessions
                .journal_end(name, identity, NOT_AUTHORIZED, why);
        }
        if session.offline() {
            self.broker.kick(name).await;
        } else {
            self.sessions.ending(name, UNAUTHORIZED);
            self.broker.close(name, why).await;
        }
    }
}

impl Session {
    /// Why its client may not stay.
    fn invalid(&self, now: Timestamp) -> Option<String> {
        if let Some(why) = self.expires.as_ref().and_then(|expiry| expiry.reason(now)) {
            return Some(why);
        }
        if self.namespace.is_removed() {
            let name = self.namespace.name();
            return Some(format!("the namespace {name:?} was deleted"));
        }
        let Who::Client {
            authentication_name,
            registered: true,
            ..
        } = &self.who
        else {
            return None;
        };
        match access::find_client(&self.namespace.resources(), authentication_name) {
            None => Some("Client could not be found: it was deleted".to_owned()),
            Some(client) if client.properties.is_disabled() => {
                Some(format!("the client {authentication_name:?} was disabled"))
            }
            Some(_) => None,
        }
    }
}
