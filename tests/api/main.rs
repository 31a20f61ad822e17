//! The behaviour of a running emulator and of its rooms, one module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod broker;
mod mqtt;
