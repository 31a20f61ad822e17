//! The vendors' unmodified SDKs and real HTTP and MQTT clients against a started emulator:
//! `cargo test --features sdk-tests --test sdk`. Needs Python 3.10 or newer with `venv`, Node.js 18
//! or newer with npm, curl, and the registries of their packages at the first run.
//!
//! `install.rs` puts what they need, pinned, into `target/sdk/`; `script.rs` runs the scripts in
//! `python/`, `node/` and `azure/`, which hold what a user of the client would write and answer with what
//! it saw. What is expected stands here: `publishing.rs` and `refusals.rs` for the SDKs (listed
//! in `sdks.rs`), `http_clients.rs`, `mqtt_clients.rs` (which speaks through `peers.rs`),
//! `aliyun.rs`, `azure.rs`, `tencent_iot.rs`, `tencent_tdmq.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod aliyun;
mod azure;
mod http_clients;
mod install;
#[allow(dead_code, reason = "shared with tests/api")]
#[path = "../api/mqtt.rs"]
mod mqtt;
mod mqtt_clients;
mod peers;
mod publishing;
mod refusals;
mod script;
mod sdks;
#[path = "../shared/mod.rs"]
mod shared;
mod tencent_iot;
mod tencent_tdmq;
