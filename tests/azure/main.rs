//! Azure Event Grid as code sees it: requests walked through `pipeline::run`. Tokens that must
//! be refused were made by an independent signer (`fixtures/azure/make_tokens.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod authorization;
mod bench;
mod bounds;
mod clients;
mod connections;
mod credentials;
mod custom_topics;
mod errors;
mod features;
mod mqtt;
mod namespaces;
mod permissions;
mod publish;
mod rates;
mod reauthentication;
mod resources;
mod retained;
mod routing;
mod sessions;
#[path = "../shared/mod.rs"]
mod shared;
mod tokens;
mod topics;
mod webhook;
#[path = "../api/wire.rs"]
#[allow(dead_code, reason = "another test program uses the rest")]
mod wire;
