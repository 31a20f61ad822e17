//! The local certificate authority, its leaves, and rustls configurations.
