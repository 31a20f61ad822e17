//! mqttstack: a local stand-in for the cloud services that publish MQTT messages over HTTP.
//!
//! A workspace, so that the compiler keeps the borders. Dependencies point one way:
//!
//! ```text
//! crates/base               time, ids, secrets, HTTP values, topics and messages
//! crates/tls                handshakes                              over base
//! crates/http1              the HTTP/1 connection loop              over base
//! crates/broker             the MQTT broker core                    over base and tls
//! crates/pipeline           the walk of a request, journal, quotas  over base and broker
//! crates/kit                what several vendors need
//! crates/tencent-cloud-api  what both Tencent vendors sign with
//! crates/<vendor>           the five vendors, which never name one another
//! this crate                server, edge, admin, emulator, cli
//! ```
//!
//! **A request** is one straight walk: `server` accepts, `mqttstack_http1::serve` reads it, `edge`
//! says whose it is, `mqttstack_pipeline::run` opens its journal entry and lets the vendor admit,
//! perform and answer. What it publishes goes to [`Broker`](mqttstack_broker::Broker). Start reading
//! at `crates/pipeline/src/walk.rs`, then any vendor's `lib.rs`: they are all alike.
//!
//! **An MQTT connection** is one task in `crates/broker/src/connection.rs`. Who may connect, publish
//! and subscribe is asked of the vendor that claims it, through
//! [`Dialect`](mqttstack_broker::dialect::Dialect). Every message, whoever sent it, goes through
//! `crates/broker/src/routing.rs`: there it gets its row in the journal.
//!
//! **Two traits** carry what differs: [`Vendor`](mqttstack_pipeline::Vendor) for HTTP and `Dialect`
//! for MQTT. The rest is concrete. Time is `clock`, ids and randomness are `ids`, and nothing is
//! global: [`App`](mqttstack_pipeline::App) holds the rooms of one emulator, and any number of them
//! run in one process.
//!
//! **Settings** stand in each room; `config` puts them together and no room knows it. `admin` shows
//! and turns what the rooms hold, below its own path of the edge.

pub mod admin;
pub mod bridge;
pub mod cli;
pub mod config;
mod edge;
pub mod emulator;
mod reset;
pub mod server;
pub mod tls;
mod vendors;

pub use config::Config;
pub use emulator::Emulator;
