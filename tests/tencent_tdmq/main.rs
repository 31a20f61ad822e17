//! Tencent TDMQ for MQTT, behaviour by behaviour: the exchanges of `fixtures/tencent-tdmq/`,
//! the data plane as MQTT subscribers see it, certificates, the MQTT side, and the vendor page's
//! curl samples and Python SDK against real listeners.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod bench;
mod certificates;
mod clients;
mod exchanges;
#[allow(dead_code, reason = "shared with tests/api")]
#[path = "../api/mqtt.rs"]
mod mqtt;
mod mqtt_side;
mod publish;
