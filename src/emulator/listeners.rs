//! Opens every configured listener, or says which one could not be opened.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;

use super::StartError;
use crate::broker::Broker;
use crate::broker::message::Transport;
use crate::config::{Config, Port};
use crate::edge::Edge;
use crate::exchange::Surface;
use crate::http1::Limits;
use crate::server::Server;

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

/// What the listeners are opened with.
pub(super) struct Openings<'a> {
    pub(super) config: &'a Config,
    pub(super) broker: &'a Broker,
    pub(super) server: &'a Server,
    pub(super) edge: &'a Edge,
    pub(super) http_tls: Arc<ServerConfig>,
    pub(super) mqtt_tls: Arc<ServerConfig>,
}

impl Openings<'_> {
    /// Opens them all. What was opened before a failure is the caller's to stop.
    pub(super) async fn open(&self) -> Result<Addresses, StartError> {
        let config = self.config;
        let mut addresses = Addresses {
            http: self.http("http-port", config.http_port, self.edge.clone(), None).await?,
            https: self
                .http("https-port", config.https_port, self.edge.clone(), Some(&self.http_tls))
                .await?,
            mqtt: self.mqtt("mqtt-port", config.mqtt_port, Transport::Tcp).await?,
            mqtts: self.mqtt("mqtts-port", config.mqtts_port, Transport::Tls).await?,
            ws: self.mqtt("ws-port", config.ws_port, Transport::Ws).await?,
            wss: self.mqtt("wss-port", config.wss_port, Transport::Wss).await?,
            vendors: Vec::new(),
        };
        for surface in Surface::ALL {
            let port = config.vendor_port(surface);
            let own = self.edge.only(surface);
            let opened = self.http(vendor_flag(surface), port, own, None).await?;
            addresses.vendors.extend(opened.map(|address| (surface, address)));
        }
        Ok(addresses)
    }

    async fn http(
        &self,
        flag: &'static str,
        port: Port,
        handler: Edge,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Option<SocketAddr>, StartError> {
        let Some(address) = self.address(port) else {
            return Ok(None);
        };
        let opened = self.server.listen(address, handler, tls.cloned()).await;
        located(flag, address, opened)
    }

    async fn mqtt(
        &self,
        flag: &'static str,
        port: Port,
        transport: Transport,
    ) -> Result<Option<SocketAddr>, StartError> {
        let Some(address) = self.address(port) else {
            return Ok(None);
        };
        let opened = match transport {
            Transport::Tcp | Transport::Ws => self.broker.listen(transport, address),
            Transport::Tls | Transport::Wss => {
                self.broker
                    .listen_tls(transport, address, self.mqtt_tls.clone())
                    .await
            }
        };
        located(flag, address, opened)
    }

    fn address(&self, port: Port) -> Option<SocketAddr> {
        match port {
            Port::Off => None,
            Port::Number(number) => Some(SocketAddr::new(self.config.bind, number)),
        }
    }
}

fn located(
    flag: &'static str,
    address: SocketAddr,
    opened: io::Result<SocketAddr>,
) -> Result<Option<SocketAddr>, StartError> {
    opened.map(Some).map_err(|error| StartError::Listen {
        flag,
        address,
        error,
    })
}

fn vendor_flag(surface: Surface) -> &'static str {
    match surface {
        Surface::Aliyun => "aliyun-port",
        Surface::TencentIot => "tencent-iot-port",
        Surface::TencentTdmq => "tencent-tdmq-port",
        Surface::Azure => "azure-port",
        Surface::Nanomq => "nanomq-port",
    }
}
