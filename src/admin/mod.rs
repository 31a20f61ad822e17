//! The admin API under `/_mqttstack`: looking at and steering one emulator.
