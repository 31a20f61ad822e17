//! The behaviour of a running emulator and of its rooms, one module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod accounting;
mod admin;
mod aliyun;
mod aliyun_mqtt;
mod bench;
mod bridge;
mod broker;
mod certificates;
mod clock;
mod concurrency;
mod config;
mod conformance;
mod container;
mod depth;
mod dialect;
mod edge;
mod emulator;
mod exec;
mod figures;
mod handshakes;
mod hosts;
mod http1;
mod isolation;
mod journal;
mod leaving;
mod limits;
mod listeners;
mod lookups;
mod metrics;
mod mqtt;
mod nanomq;
mod pages;
mod panel;
mod process;
mod program;
mod raw;
mod refusals;
mod request_ids;
mod robustness;
mod searches;
mod secrets;
mod sessions;
#[path = "../shared/mod.rs"]
mod shared;
mod shutdown;
mod tencent_iot;
mod validity;
mod wait;
mod wire;
