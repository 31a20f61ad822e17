//! mqttstack: a local stand-in for the cloud services that publish MQTT messages over HTTP.
//!
//! A workspace, so that the compiler keeps the borders. Dependencies point one way:
//!
//! ```text
//! crates/base     time, ids, secrets, HTTP values, topics and messages
//! crates/tls      handshakes                            over base
//! crates/broker   the MQTT broker core                  over base and tls
//! this crate      journal, pipeline, the five vendors, server, edge, admin, cli
//! ```
//!
//! **A request** is one straight walk: `server` accepts, `http1::serve` reads it, `edge` says whose
//! it is, `pipeline::run` opens its journal entry and lets the vendor admit, perform and answer.
//! What it publishes goes to [`broker::Broker`]. Start reading at `pipeline.rs`, then any vendor's
//! `mod.rs`: they are all alike.
//!
//! **An MQTT connection** is one task in `crates/broker/src/connection.rs`. Who may connect, publish
//! and subscribe is asked of the vendor that claims it, through [`broker::dialect::Dialect`]. Every
//! message, whoever sent it, goes through `crates/broker/src/routing.rs`: there it gets its row in
//! the journal.
//!
//! **Two traits** carry what differs: [`pipeline::Vendor`] for HTTP and `Dialect` for MQTT. The rest
//! is concrete. Time is `clock`, ids and randomness are `ids`, and nothing is global: [`app::App`]
//! holds the rooms of one emulator, and any number of them run in one process.
//!
//! **Settings** stand in each room; `config` puts them together and no room knows it. `admin` shows
//! and turns what the rooms hold, below its own path of the edge.

pub mod admin;
pub mod app;
pub mod bridge;
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
use mqttstack_tls::handshake;

pub use config::Config;
pub use emulator::Emulator;
