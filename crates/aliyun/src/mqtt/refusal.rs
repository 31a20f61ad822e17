//! How a CONNECT is refused: its CONNACK code and what the device's trace says of it, one row for
//! each reason. The vendor documents the words of the trace, and that wrong credentials are
//! refused; no page names the CONNACK codes, so every code here is assumed.

use mqttstack_broker::dialect::{ConnectCode, ConnectRefusal};

use crate::store::session::RESOURCE_AUTH_FAILED;

/// What is wrong with a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client id is not `GroupID@@@DeviceID`, or too long.
    ClientId,
    /// The user name is not of the form of its mode.
    UserName,
    /// The access key is not there, or may not be used.
    AccessKey,
    /// The password is not the one that the user name asks for.
    Password,
    /// A token is not good.
    Token,
    /// The user name and the TLS server name are of two instances.
    ServerName,
    /// The instance is not there.
    Instance,
    /// A token was applied for by another account's key.
    Account,
    /// The group is not there.
    Group,
    /// The will is retained.
    RetainedWill,
    /// The client id is on the blacklist.
    Blacklist,
}

impl Fault {
    /// The code, and `ActionInfo` of `QueryMqttTraceDevice` (documented: "not authorized" is about
    /// the instance, "resource auth failed" about topic or group).
    const fn row(self) -> (ConnectCode, &'static str) {
        match self {
            Self::ClientId => (ConnectCode::ClientIdentifierNotValid, "invalid param"),
            Self::UserName => (ConnectCode::BadUserNameOrPassword, "invalid param"),
            Self::AccessKey | Self::Password | Self::Token => {
                (ConnectCode::BadUserNameOrPassword, "not authorized")
            }
            Self::ServerName | Self::Instance | Self::Account => {
                (ConnectCode::NotAuthorized, "not authorized")
            }
            Self::Group => (ConnectCode::NotAuthorized, RESOURCE_AUTH_FAILED),
            Self::RetainedWill => (ConnectCode::RetainNotSupported, "invalid param"),
            Self::Blacklist => (ConnectCode::Banned, "not authorized"),
        }
    }

    /// A refusal for this, with the reason in words for the journal. Never a secret.
    pub(super) fn because(self, reason: impl Into<String>) -> Refusal {
        Refusal {
            fault: self,
            reason: reason.into(),
        }
    }
}

/// Why a CONNECT is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    fault: Fault,
    reason: String,
}

impl Refusal {
    /// What the device's trace says of it.
    pub(super) const fn words(&self) -> &'static str {
        self.fault.row().1
    }
}

impl From<Refusal> for ConnectRefusal {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.fault.row().0,
            reason: refusal.reason,
        }
    }
}
