//! The MQTT side: `dialect` answers the broker's questions. Who a client is is found out in
//! `credentials` and `webhook`, whose a session is in `sessions`, what a client is limited to in
//! `limits`, and what must end by itself in `watch`.

mod codes;
mod credentials;
mod dialect;
mod limits;
mod sessions;
mod watch;
mod webhook;
mod who;

pub(super) use self::dialect::open;
pub(super) use self::watch::Watch;
