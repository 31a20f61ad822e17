//! What the program promises, one module per kind of behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "a test that cannot go on fails, and nothing here is a library"
)]

mod broker;
mod dialect;
mod http1;
mod listeners;
mod mqtt;
