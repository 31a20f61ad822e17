//! One emulator: builds the App, opens the listeners, becomes ready, stops cleanly.
