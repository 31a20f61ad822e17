//! Events: how a message becomes one, where it goes, and what an event subscription does with it.

mod budget;
pub(super) mod cloud_event;
pub(super) mod delivery;
pub(super) mod failures;
pub(super) mod life_cycle;
pub(super) mod queue;
pub(super) mod routing;
pub(super) mod store;
pub(super) mod subscription;
pub(super) mod topics;
