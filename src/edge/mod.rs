//! Whose request is it: the host table, then the path table.
