//! The values and handles that every part of mqttstack shares and that know nothing of one
//! another's owners: time ([`clock`]), ids and randomness ([`ids`]), secrets ([`secret`]), what an
//! HTTP request and its answer are ([`exchange`]), and what a topic, a message and its deliveries
//! are ([`message`]).

pub mod clock;
pub mod exchange;
pub mod ids;
pub mod message;
pub mod secret;
