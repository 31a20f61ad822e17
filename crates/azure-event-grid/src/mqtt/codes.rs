//! Reason codes of refusals. They are assumed: the vendor says only that it uses the standard's.

/// The reason code of a missing permission, and of credentials that are not good any more.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
/// The reason code of too much: a rate, a size, a session's queue.
pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
/// The reason code of what has no other.
pub(super) const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
/// What the vendor's resource log says of it, and its reason code.
pub(super) const TIMED_OUT: (u8, &str) = (0x8D, "Timed out per negotiated Keep Alive");
