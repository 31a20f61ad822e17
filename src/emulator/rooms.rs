//! Builds the shared rooms from the configuration, and leads into the journal what the broker
//! takes and what it refuses.

use std::sync::Arc;

use bytestring::ByteString;

use crate::app::App;
use crate::broker::dialect::Refused;
use crate::broker::{self, Broker};
use crate::clock::Clock;
use crate::config::Config;
use crate::exchange::page::Home;
use crate::exchange::{Head, Headers, Receipt, Surface, Version};
use crate::ids::Ids;
use crate::journal::{Draft, Journal};
use crate::pipeline::logged;
use crate::quota::Quotas;

/// The hosts at home: those of the settings, the names of the certificate among them.
pub(super) fn home(config: &Config) -> Home {
    Home::new(&[&config.admin.hosts[..], &config.tls.names].concat())
}

pub(super) async fn build(config: &Config) -> App {
    let clock = Clock::real();
    config.clock.set(&clock);
    let ids = Ids::new(config.seed.number());
    let journal = Journal::new(&config.journal);
    let sink = {
        let journal = journal.clone();
        Arc::new(move |message| journal.record(message))
    };
    let mqtt = broker::Settings {
        home: home(config),
        ..config.mqtt.clone()
    };
    let app = App {
        quotas: Quotas::new(clock.clone()),
        broker: Broker::start(mqtt, clock.clone(), ids.clone(), sink).await,
        clock,
        ids,
        journal,
    };
    app.broker.on_refused(keep_refused(&app));
    app
}

/// The broker is held by the app, so what it calls must not hold the app.
fn keep_refused(app: &App) -> Arc<dyn Fn(Refused) + Send + Sync> {
    let (clock, ids, journal) = (app.clock.clone(), app.ids.clone(), app.journal.clone());
    Arc::new(move |refused| {
        let receipt = Receipt {
            id: ids.request_id(),
            now: clock.now(),
        };
        log(&refused, &receipt);
        let head = Head {
            method: ByteString::from_static(refused.packet),
            target: refused.topic.unwrap_or_default().into(),
            version: Version::Http11,
            headers: Headers::default(),
            size: 0,
        };
        let draft = Draft {
            operation: Some(refused.packet.to_owned()),
            caller: Some(refused.identity.unwrap_or(refused.client_id)),
            reasons: vec![refused.reason],
            ..Draft::default()
        };
        journal.refused(refused.surface, &receipt, head, draft, refused.code.into());
    })
}

/// One line, as for an HTTP request.
fn log(refused: &Refused, receipt: &Receipt) {
    tracing::info!(
        target: "mqttstack::request",
        vendor = refused.surface.map(Surface::as_str),
        id = receipt.id,
        packet = refused.packet,
        client_id = refused.client_id,
        topic = refused.topic.as_deref().map(logged).as_deref(),
        code = refused.code,
        reason = refused.reason,
    );
}
