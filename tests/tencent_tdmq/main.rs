//! Tencent TDMQ for MQTT, behaviour by behaviour: the exchanges of `fixtures/tencent-tdmq/`,
//! the data plane as MQTT subscribers see it, certificates, the MQTT side with its tokens and
//! quotas, and the vendor page's curl samples and SDKs against real listeners.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod bare;
mod bench;
mod certificates;
mod clients;
mod exchanges;
#[path = "../sdk/install.rs"]
mod install;
mod keep_alive;
mod messages;
#[allow(dead_code, reason = "shared with tests/api")]
#[path = "../api/mqtt.rs"]
mod mqtt;
mod mqtt_side;
mod publish;
mod quotas;
mod shapes;
mod sql_filter;
mod subscriptions;
mod tokens;
