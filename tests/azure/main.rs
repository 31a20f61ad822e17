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
#[path = "../sdk/install.rs"]
mod install;
mod mqtt;
mod namespaces;
mod permissions;
mod publish;
mod rates;
mod reauthentication;
mod resources;
mod retained;
mod routing;
mod sdk;
mod sessions;
mod tokens;
mod topics;
mod webhook;
#[path = "../api/wire.rs"]
#[allow(dead_code, reason = "another test program uses the rest")]
mod wire;
