//! The configuration: defaults < file < environment < flags; composes each room's own Settings.
