//! mqttstack: a local stand-in for the cloud services that publish MQTT messages over HTTP.
//!
//! The architecture, top to bottom; imports go downward only (`tests/api/layers.rs` checks it):
//!
//! ```text
//! 4  main cli emulator reset server edge config admin     (http1 is a leaf over exchange)
//! 3  vendor/*                                       never one another
//! 2  pipeline app
//! 1  journal quota broker tls                       never one another
//! 0  clock ids secret exchange wording broker::message
//! ```
//!
//! **A request** is one straight walk: `server` accepts (`tls` ends the handshake), `http1::serve`
//! reads it, `edge` says whose it is, `pipeline::run` opens its journal entry and lets the vendor
//! admit, perform and answer. What it publishes goes to [`broker::Broker`]. Start reading at
//! `pipeline.rs`, then any vendor's `mod.rs`: they are all alike.
//!
//! **An MQTT connection** comes in at `broker/gate.rs`, which ends TLS and WebSocket, and passes
//! `broker/engine/door.rs` packet by packet. Who may connect, publish and subscribe is asked of the
//! vendor that claims it, through [`broker::dialect::Dialect`]; the engine itself, rmqtt, is named
//! in `broker/engine/` alone. Every message, whoever sent it, goes through
//! `broker/engine/routing.rs`: there it gets its row in the journal.
//!
//! **Two traits** carry what differs: [`pipeline::Vendor`] for HTTP and `Dialect` for MQTT. The rest
//! is concrete. Time is `clock`, ids and randomness are `ids`, and nothing is global: [`app::App`]
//! holds the rooms of one emulator, and any number of them run in one process.
//!
//! **Settings** stand in each room; `config` puts them together and no room knows it. `admin` shows
//! and turns what the rooms hold, below its own path of the edge.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod edge;
pub mod emulator;
pub mod http1;
pub mod journal;
pub mod pipeline;
pub mod quota;
pub mod reset;
pub mod server;
pub mod tls;
pub mod vendor;
mod wording;

pub use mqttstack_base::{clock, exchange, ids, secret};
pub use mqttstack_broker as broker;

pub use config::Config;
pub use emulator::Emulator;
