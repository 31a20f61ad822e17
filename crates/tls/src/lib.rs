//! The beginning of a secure connection, for the HTTP and the MQTT listeners alike: the handshake,
//! and in words why one failed.

pub mod handshake;
