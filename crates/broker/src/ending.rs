//! Why a connection ends.

use super::packet::code;

/// Why a connection ended, for whoever is told of it. Each vendor has its own words for these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client sent DISCONNECT with this reason code: 0 is normal (every DISCONNECT of MQTT
    /// 3.x is), 4 asks for the will.
    Disconnected {
        /// The reason code.
        code: u8,
    },
    /// The client's side was closed, or broke, without a DISCONNECT.
    ConnectionLost,
    /// Nothing came from the client for one and a half times the keep-alive.
    KeepAliveTimeout,
    /// The client took nothing of what was written to it for a while.
    Stalled,
    /// Another connection of the same client id has taken the session over.
    TakenOver,
    /// The client was told to go, and its session ended: [`Broker::kick`], a reset.
    ///
    /// [`Broker::kick`]: super::Broker::kick
    Kicked,
    /// A vendor's own service closed the connection: [`Broker::close`].
    ///
    /// [`Broker::close`]: super::Broker::close
    Closed {
        /// Why, in words.
        reason: String,
    },
    /// A packet broke a rule of the standard, or of the client's vendor.
    Refused {
        /// The reason code of DISCONNECT (MQTT 5.0 section 3.14.2.1).
        code: u8,
        /// Why, in words.
        reason: String,
    },
    /// The session was to end, by its vendor's limit of what may wait for it.
    QueueOverflow,
    /// The broker has stopped.
    Stopped,
}

impl Ending {
    /// What the client is told in MQTT 5 (section 3.14.2.1); `None` if it has gone by itself.
    pub(crate) fn code(&self) -> Option<u8> {
        Some(match self {
            Self::Disconnected { .. } | Self::ConnectionLost | Self::Stalled => return None,
            Self::KeepAliveTimeout => code::KEEP_ALIVE_TIMEOUT,
            Self::TakenOver => code::SESSION_TAKEN_OVER,
            Self::Kicked => code::ADMINISTRATIVE_ACTION,
            Self::Closed { .. } => code::NOT_AUTHORIZED,
            Self::Refused { code, .. } => *code,
            Self::QueueOverflow => code::QUOTA_EXCEEDED,
            Self::Stopped => code::SHUTTING_DOWN,
        })
    }

    /// Whether the will is forgotten (MQTT 5.0 section 3.1.2.5).
    pub(crate) const fn forgets_will(&self) -> bool {
        matches!(self, Self::Disconnected { code: 0 })
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disconnected { code: 0 } => f.write_str("the client disconnected"),
            Self::Disconnected { code } => {
                write!(
                    f,
                    "the client disconnected with the reason code {code:#04x}"
                )
            }
            Self::ConnectionLost => {
                f.write_str("the client closed the connection without a DISCONNECT")
            }
            Self::KeepAliveTimeout => {
                f.write_str("nothing came from the client for 1.5 times its keep-alive")
            }
            Self::Stalled => f.write_str("the client did not read what was sent to it"),
            Self::TakenOver => {
                f.write_str("a new connection with the same client id took the session over")
            }
            Self::Kicked => f.write_str("the client was disconnected by an administrative action"),
            Self::Closed { reason } | Self::Refused { reason, .. } => f.write_str(reason),
            Self::QueueOverflow => {
                f.write_str("more messages waited for the session than its vendor allows")
            }
            Self::Stopped => f.write_str("the broker stopped"),
        }
    }
}
