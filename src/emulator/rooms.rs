//! Makes what all vendors share (clock, ids, journal, quotas, broker) from the configuration, and
//! writes into the journal what the broker accepts and refuses.

use std::sync::Arc;

use bytestring::ByteString;
use mqttstack_base::clock::Clock;
use mqttstack_base::exchange::page::Home;
use mqttstack_base::exchange::{Head, Headers, Receipt, Surface, Version};
use mqttstack_base::ids::Ids;
use mqttstack_broker::dialect::{Noted, Refused};
use mqttstack_broker::{self as broker, Broker};
use mqttstack_pipeline::App;
use mqttstack_pipeline::Quotas;
use mqttstack_pipeline::journal::{Draft, Journal, masking};
use mqttstack_pipeline::logged;

use crate::config::Config;

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
    app.broker.on_noted(keep_noted(&app));
    app
}

/// The broker is held by the app, so what it calls must not hold the app.
fn keep_refused(app: &App) -> Arc<dyn Fn(Refused) + Send + Sync> {
    let (clock, ids, journal) = (app.clock.clone(), app.ids.clone(), app.journal.clone());
    Arc::new(move |mut refused| {
        refused.reason = masking::words(&refused.reason).into_owned();
        refused.identity = refused
            .identity
            .map(|name| masking::words(&name).into_owned());
        let receipt = Receipt {
            id: ids.request_id(),
            now: clock.now(),
        };
        log(&refused, &receipt);
        let head = head(refused.packet, refused.topic.unwrap_or_default().into());
        let draft = Draft {
            operation: Some(refused.packet.to_owned()),
            known: Some(refused.packet),
            caller: Some(refused.identity.unwrap_or(refused.client_id)),
            reasons: vec![refused.reason],
            ..Draft::default()
        };
        journal.refused(refused.surface, &receipt, head, draft, refused.code.into());
    })
}

fn keep_noted(app: &App) -> Arc<dyn Fn(Noted) + Send + Sync> {
    let (clock, ids, journal) = (app.clock.clone(), app.ids.clone(), app.journal.clone());
    Arc::new(move |noted| {
        let receipt = Receipt {
            id: ids.request_id(),
            now: clock.now(),
        };
        tracing::info!(
            target: "mqttstack::request",
            vendor = noted.surface.map(Surface::as_str),
            id = receipt.id,
            packet = noted.packet,
            client_id = noted.client_id,
            topic = noted.topic.as_deref().map(logged).as_deref(),
            code = 0,
            hint = noted.hints.join("; "),
        );
        let caller = if noted.identity.is_empty() {
            noted.client_id
        } else {
            noted.identity
        };
        let draft = Draft {
            operation: Some(noted.packet.to_owned()),
            caller: Some(caller),
            hints: noted.hints,
            ..Draft::default()
        };
        let head = head(noted.packet, noted.topic.unwrap_or_default().into());
        journal.noted(noted.surface, &receipt, head, draft);
    })
}

/// A packet in the shape of a request's head.
fn head(packet: &'static str, topic: ByteString) -> Head {
    Head {
        method: ByteString::from_static(packet),
        target: topic,
        version: Version::Http11,
        headers: Headers::default(),
        size: 0,
    }
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
