//! The behaviour of a running emulator and of its rooms, one module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod broker;
mod mqtt;
