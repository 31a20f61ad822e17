//! What the emulator promises, by behaviour.

mod layers;
