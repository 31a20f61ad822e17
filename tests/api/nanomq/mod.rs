//! NanoMQ's HTTP API against the recordings of the real program, over real sockets, with real
//! MQTT clients beside it.

mod behaviour;
mod bench;
mod device;
mod emulator;
mod publish;
mod recordings;
mod wire;
