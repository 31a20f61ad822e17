//! Who calls: tokens of Entra and of others, access keys, shared access signatures, certificates.

pub(super) mod auth;
pub(super) mod certificate;
pub(super) mod entra;
pub(super) mod jwt;
mod sas;
