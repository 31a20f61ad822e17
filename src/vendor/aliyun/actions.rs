//! The actions of OnsMqtt 2020-04-20, all fifty, with what the vendor's metadata says of each.
//! What an emulated one does is in `api.rs`; the others are refused as not supported.

use super::error::Error;

/// Which methods an action takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// GET alone.
    Get,
    /// POST alone.
    Post,
    /// Both.
    Both,
}

/// One action as the vendor's metadata describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
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

use Methods::{Both, Get, Post};

/// Sources: the vendor's OpenAPI metadata (methods, schemes) and its QPS limits page.
#[rustfmt::skip]
pub static ACTIONS: [Action; 50] = [
    Action { emulated: true, ..action("SendMessage", Post, true, 1000) },
    action("ApplyToken", Post, true, 100),
    action("QueryToken", Both, true, 100),
    action("RevokeToken", Post, true, 5),
    action("CreateGroupId", Post, true, 10),
    action("DeleteGroupId", Post, true, 10),
    action("ListGroupId", Both, true, 10),
    action("QuerySessionByClientId", Both, true, 500),
    action("BatchQuerySessionByClientIds", Both, true, 100),
    action("RegisterDeviceCredential", Post, true, 500),
    action("GetDeviceCredential", Post, true, 500),
    action("RefreshDeviceCredential", Post, true, 500),
    action("UnRegisterDeviceCredential", Post, true, 500),
    action("ListDeviceCredentialClientId", Both, true, 500),
    action("CloseConnection", Post, false, 0),
    action("QueryMqttTraceMessagePublish", Both, true, 500),
    action("QueryMqttTraceMessageSubscribe", Both, true, 500),
    action("QueryMqttTraceMessageOfClient", Both, true, 500),
    action("QueryMqttTraceDevice", Both, true, 500),
    action("ListInstances", Both, false, 0),
    action("AddCustomAuthIdentity", Post, false, 0),
    action("UpdateCustomAuthIdentity", Post, false, 0),
    action("QueryCustomAuthIdentity", Get, false, 0),
    action("DeleteCustomAuthIdentity", Post, false, 0),
    action("AddCustomAuthPermission", Post, false, 0),
    action("UpdateCustomAuthPermission", Post, false, 0),
    action("QueryCustomAuthPermission", Get, false, 0),
    action("DeleteCustomAuthPermission", Post, false, 0),
    action("AddCustomAuthConnectBlack", Post, false, 0),
    action("DeleteCustomAuthConnectBlack", Post, false, 0),
    action("QueryCustomAuthConnectBlack", Get, false, 0),
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
    pub fn find(name: &str) -> Result<&'static Self, Error> {
        if name.is_empty() {
            return Err(Error::Missing("Action"));
        }
        ACTIONS
            .iter()
            .find(|action| action.name == name)
            .ok_or(Error::ActionNotFound)
    }

    /// Whether the vendor lists this method for it.
    pub fn takes(&self, method: &str) -> bool {
        match self.methods {
            Get => method == "GET",
            Post => method == "POST",
            Both => matches!(method, "GET" | "POST"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

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
