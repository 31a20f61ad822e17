//! The HTTP listeners, plain and TLS, and their clean end.
