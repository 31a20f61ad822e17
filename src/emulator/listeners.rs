//! Binds every configured listener, or says which one could not be bound; then serves them.

use std::net::SocketAddr;
use std::sync::Arc;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Transport;
use mqttstack_broker::Broker;
use mqttstack_tls::handshake::Terms;

use super::StartError;
use crate::config::{Config, Port};
use crate::edge::{Edge, takes_certificates, takes_certificates_over_websocket};
use crate::server::{BindError, Listener, Server};
use crate::tls::Authority;

/// Where everything listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    pub(super) http: Option<SocketAddr>,
    pub(super) https: Option<SocketAddr>,
    pub(super) mqtt: Option<SocketAddr>,
    pub(super) mqtts: Option<SocketAddr>,
    pub(super) ws: Option<SocketAddr>,
    pub(super) wss: Option<SocketAddr>,
    pub(super) vendors: Vec<(Surface, SocketAddr)>,
}

/// The bound HTTP listeners, each with the surface that is alone there.
pub(super) struct Http(Vec<(Listener, Option<Surface>)>);

impl Http {
    /// Binds them all; dropped, they are closed again.
    pub(super) async fn bind(
        config: &Config,
        authority: &Authority,
        addresses: &mut Addresses,
    ) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        if let Some(address) = address(config, config.http_port) {
            let listener = Listener::bind("--http-port", address, None).await?;
            addresses.http = Some(listener.address());
            bound.push((listener, None));
        }
        if let Some(address) = address(config, config.https_port) {
            let tls = Some(authority.https());
            let mut listener = Listener::bind("--https-port", address, tls).await?;
            // No other surface takes client certificates over HTTP.
            if !config.tencent_tdmq.ca_certificates.is_empty() {
                listener = listener.asking(authority.https_asking(), takes_certificates);
            }
            addresses.https = Some(listener.address());
            bound.push((listener, None));
        }
        for surface in Surface::ALL {
            if let Some(address) = address(config, config.vendor_port(surface)) {
                let flag = format!("--{surface}-port");
                let listener = Listener::bind(&flag, address, None).await?;
                addresses.vendors.push((surface, listener.address()));
                bound.push((listener, Some(surface)));
            }
        }
        Ok(Self(bound))
    }

    /// Begins to serve them.
    pub(super) fn serve(self, server: &Server, edge: &Edge) {
        for (listener, surface) in self.0 {
            let handler = surface.map_or_else(|| edge.clone(), |surface| edge.only(surface));
            server.serve(listener, Arc::new(handler));
        }
    }
}

/// Opens the broker's listeners. What was opened before a failure is the broker's to stop.
pub(super) fn open_mqtt(
    config: &Config,
    broker: &Broker,
    authority: &Authority,
    addresses: &mut Addresses,
) -> Result<(), StartError> {
    let open = |flag, port, transport| {
        let Some(address) = address(config, port) else {
            return Ok(None);
        };
        match transport {
            Transport::Tcp | Transport::Ws => broker.listen(transport, address),
            Transport::Tls => broker.listen_tls(transport, address, authority.mqtt()),
            Transport::Wss => {
                let terms = Terms::from(authority.web_socket())
                    .asking(authority.mqtt(), takes_certificates_over_websocket);
                broker.listen_tls(transport, address, terms)
            }
        }
        .map(Some)
        .map_err(|source| {
            StartError::Listen(BindError {
                name: format!("--{flag}"),
                address,
                source,
            })
        })
    };
    addresses.mqtt = open("mqtt-port", config.mqtt_port, Transport::Tcp)?;
    addresses.mqtts = open("mqtts-port", config.mqtts_port, Transport::Tls)?;
    addresses.ws = open("ws-port", config.ws_port, Transport::Ws)?;
    addresses.wss = open("wss-port", config.wss_port, Transport::Wss)?;
    Ok(())
}

fn address(config: &Config, port: Port) -> Option<SocketAddr> {
    match port {
        Port::Off => None,
        Port::Number(number) => Some(SocketAddr::new(config.bind, number)),
    }
}
