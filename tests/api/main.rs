//! What the program promises, one module per kind of behaviour.

mod http1;
mod listeners;
