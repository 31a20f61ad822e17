//! The actions of OnsMqtt 2020-04-20, all fifty, with what the vendor's metadata says of each.
//! What an emulated one does is in `api/`; the others are refused as not supported.

use super::error::Error;
use super::spelling;

/// Which methods an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    /// GET alone.
    Get,
    /// POST alone.
    Post,
    /// Both.
    Both,
}

/// One action as the vendor's metadata describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// Its name.
    pub name: &'static str,
    /// The methods it takes.
    pub methods: Methods,
    /// Whether it is offered over plain HTTP.
    pub plain_http: bool,
    /// Calls per second and account; 0 where the vendor names no figure.
    pub per_second: u32,
    /// Whether mqttstack emulates it.
    pub emulated: bool,
}

const fn action(name: &'static str, methods: Methods, plain_http: bool, per_second: u32) -> Action {
    Action {
        name,
        methods,
        plain_http,
        per_second,
        emulated: false,
    }
}

/// An action that mqttstack emulates.
const fn done(name: &'static str, methods: Methods, plain_http: bool, per_second: u32) -> Action {
    Action {
        emulated: true,
        ..action(name, methods, plain_http, per_second)
    }
}

use Methods::{Both, Get, Post};

/// Sources: the vendor's OpenAPI metadata (methods, schemes) and its QPS limits page.
#[rustfmt::skip]
pub(crate) static ACTIONS: [Action; 50] = [
    done("SendMessage", Post, true, 1000),
    done("ApplyToken", Post, true, 100),
    done("QueryToken", Both, true, 100),
    done("RevokeToken", Post, true, 5),
    done("CreateGroupId", Post, true, 10),
    done("DeleteGroupId", Post, true, 10),
    done("ListGroupId", Both, true, 10),
    done("QuerySessionByClientId", Both, true, 500),
    done("BatchQuerySessionByClientIds", Both, true, 100),
    done("RegisterDeviceCredential", Post, true, 500),
    done("GetDeviceCredential", Post, true, 500),
    done("RefreshDeviceCredential", Post, true, 500),
    done("UnRegisterDeviceCredential", Post, true, 500),
    done("ListDeviceCredentialClientId", Both, true, 500),
    done("CloseConnection", Post, false, 0),
    done("QueryMqttTraceMessagePublish", Both, true, 500),
    done("QueryMqttTraceMessageSubscribe", Both, true, 500),
    done("QueryMqttTraceMessageOfClient", Both, true, 500),
    done("QueryMqttTraceDevice", Both, true, 500),
    done("ListInstances", Both, false, 0),
    done("AddCustomAuthIdentity", Post, false, 0),
    done("UpdateCustomAuthIdentity", Post, false, 0),
    done("QueryCustomAuthIdentity", Get, false, 0),
    done("DeleteCustomAuthIdentity", Post, false, 0),
    done("AddCustomAuthPermission", Post, false, 0),
    done("UpdateCustomAuthPermission", Post, false, 0),
    done("QueryCustomAuthPermission", Get, false, 0),
    done("DeleteCustomAuthPermission", Post, false, 0),
    done("AddCustomAuthConnectBlack", Post, false, 0),
    done("DeleteCustomAuthConnectBlack", Post, false, 0),
    done("QueryCustomAuthConnectBlack", Get, false, 0),
    action("GetRegisterCode", Get, true, 500),
    action("RegisterCaCertificate", Both, true, 500),
    action("ActiveCaCertificate", Both, true, 500),
    action("InactivateCaCertificate", Both, true, 500),
    action("DeleteCaCertificate", Both, true, 500),
    action("GetCaCertificate", Get, true, 500),
    action("ListCaCertificate", Get, true, 500),
    action("ActiveDeviceCertificate", Both, true, 500),
    action("InactivateDeviceCertificate", Both, true, 500),
    action("DeleteDeviceCertificate", Both, true, 500),
    action("GetDeviceCertificate", Get, true, 500),
    action("ListDeviceCertificate", Get, true, 500),
    action("ListDeviceCertificateByCaSn", Get, true, 500),
    action("SetSniConfig", Both, false, 0),
    action("DisasterDowngrade", Post, false, 0),
    action("DisasterRecovery", Post, false, 0),
    action("TagResources", Both, false, 0),
    action("UntagResources", Both, false, 0),
    action("ListTagResources", Both, false, 0),
];

impl Action {
    /// The action of this name, compared exactly.
    pub(crate) fn find(name: &str) -> Result<&'static Self, Error> {
        if name.is_empty() {
            return Err(Error::Missing("Action"));
        }
        ACTIONS
            .iter()
            .find(|action| action.name == name)
            .ok_or(Error::ActionNotFound)
    }

    /// Whether the vendor lists this method for it.
    pub(crate) fn takes(&self, method: &str) -> bool {
        match self.methods {
            Get => method == "GET",
            Post => method == "POST",
            Both => matches!(method, "GET" | "POST"),
        }
    }
}

/// What is said of a name that no action has. It may come from anywhere and be of any length.
pub(super) fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    let near = spelling::nearest(name, ACTIONS.iter().map(|action| action.name));
    match near {
        Some(near) => format!("there is no action {shown:?}; did you mean {near}?"),
        None => format!(
            "there is no action {shown:?}; {} is one, for example",
            ACTIONS[0].name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_misspelled_action_is_repeated_and_the_nearest_named() {
        assert_eq!(
            unknown("SendMesage"),
            "there is no action \"SendMesage\"; did you mean SendMessage?"
        );
        assert_eq!(
            unknown("Publish"),
            "there is no action \"Publish\"; SendMessage is one, for example"
        );
        assert!(unknown(&"x".repeat(100_000)).len() < 150);
    }

    #[test]
    fn every_action_has_one_row() {
        let names: HashSet<_> = ACTIONS.iter().map(|action| action.name).collect();
        assert_eq!(names.len(), ACTIONS.len());
    }

    #[test]
    fn names_are_compared_exactly() {
        assert_eq!(Action::find("SendMessage").unwrap().per_second, 1000);
        assert_eq!(Action::find("sendmessage"), Err(Error::ActionNotFound));
        assert_eq!(Action::find(""), Err(Error::Missing("Action")));
    }
}
