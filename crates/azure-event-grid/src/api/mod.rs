//! The HTTP surface, one file per noun: `identity` (tokens), `publish` and `retained` (MQTT over
//! HTTP), `topics` and `events` (pull delivery), `resources` and `namespaces` (the resource
//! manager). `route` says which path and method is which operation.

pub(super) mod events;
pub(super) mod identity;
mod leniency;
mod namespaces;
pub(super) mod parameters;
mod properties;
pub(super) mod publish;
pub(super) mod resources;
pub(super) mod retained;
pub(super) mod rooms;
pub(super) mod route;
pub(super) mod topics;
