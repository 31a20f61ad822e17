//! Tencent TDMQ for MQTT, behaviour by behaviour: the data plane as MQTT subscribers see it,
//! certificates, the MQTT side with its tokens and quotas.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod bare;
mod bench;
mod certificates;
mod keep_alive;
mod messages;
#[allow(dead_code, reason = "shared with tests/api")]
#[path = "../api/mqtt.rs"]
mod mqtt;
mod mqtt_side;
mod publish;
mod quotas;
mod shapes;
#[path = "../shared/mod.rs"]
mod shared;
mod sql_filter;
mod subscriptions;
mod tokens;
