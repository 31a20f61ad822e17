//! mqttstack: a local stand-in for the cloud services that publish MQTT messages over HTTP.
//!
//! The architecture, top to bottom; imports go downward only (`tests/api/layers.rs` checks it):
//!
//! ```text
//! 4  main cli emulator reset server edge config admin     (http1 is a leaf over exchange)
//! 3  vendor/*                                       never one another
//! 2  pipeline app
//! 1  journal fault quota broker tls                 never one another
//! 0  clock ids secret exchange broker::message
//! ```
//!
//! One request is one straight walk: `http1::serve` reads it, `edge` says whose it is,
//! `pipeline::run` opens its journal entry and lets the vendor admit, perform and answer.
//! Start reading at `pipeline.rs`, then any vendor's `mod.rs`: they are all alike.

pub mod admin;
pub mod app;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod edge;
pub mod emulator;
pub mod exchange;
pub mod http1;
pub mod ids;
pub mod journal;
pub mod pipeline;
pub mod quota;
pub mod reset;
pub mod secret;
pub mod server;
pub mod tls;
pub mod vendor;

pub use config::Config;
pub use emulator::Emulator;
