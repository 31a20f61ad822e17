//! How one emulator behaves, by area. Everything runs in process, on free ports, without sleeps.

mod admin;
mod clock;
mod journal;
mod panel;
