//! Access lists in a token: the second authorizer of the chain, asked where no policy of the
//! database matches.
//!
//! The page on authorization (cloud.tencent.com/document/product/1778/109715) says that a claim
//! can hold an access list and tells the fields of a statement; the claim's name is nowhere. So
//! the claim is `acl` unless configured otherwise, a list of statements with the page's field
//! names: `effect`, `actions`, `topics`, `clientId`, `username`, `qos`, `retain`, `ip` (assumed).

use serde::Deserialize;
use serde_json::Value;

use super::policy::{Action, Effect, Policy, is_address};

/// The claim that holds the list, where none is configured.
pub(super) const DEFAULT_CLAIM: &str = "acl";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    actions: Vec<Action>,
    #[serde(default)]
    topics: Vec<String>,
    client_id: Option<String>,
    username: Option<String>,
    #[serde(default)]
    qos: Vec<u8>,
    retain: Option<bool>,
    ip: Option<String>,
}

/// The statements of a claim, in their order. A statement that cannot be read is an error: to
/// pass over a condition would grant what was not meant.
pub(super) fn access_list(claim: &Value, name: &str) -> Result<Vec<Policy>, String> {
    if claim.is_null() {
        return Ok(Vec::new());
    }
    let statements: Vec<Statement> = Vec::deserialize(claim)
        .map_err(|error| format!("its {name} is no list of statements: {error}"))?;
    statements
        .into_iter()
        .enumerate()
        .map(|(index, statement)| policy(statement, format!("{name}[{index}]")))
        .collect()
}

fn policy(statement: Statement, name: String) -> Result<Policy, String> {
    if let Some(ip) = statement.ip.as_deref().filter(|ip| !is_address(ip)) {
        return Err(format!("{name}: {ip:?} is no address and no network"));
    }
    if let Some(qos) = statement.qos.iter().find(|qos| **qos > 2) {
        return Err(format!("{name}: there is no QoS {qos}"));
    }
    Ok(Policy {
        name,
        effect: statement.effect,
        actions: statement.actions,
        resources: statement.topics,
        username: statement.username,
        client_id: statement.client_id,
        ip: statement.ip,
        qos: statement.qos,
        retain: match statement.retain {
            Some(true) => 1,
            Some(false) => 2,
            None => 3,
        },
        ..Policy::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_statement_has_the_fields_of_the_vendors_page() {
        let claim = json!([
            {"effect": "allow", "actions": ["connect", "pub", "sub"],
             "topics": ["home/room1/*"], "clientId": "sensor*", "username": "user*",
             "qos": [0, 1], "retain": false, "ip": "10.0.0.0/16"},
            {"effect": "deny", "actions": ["sub"]},
        ]);
        let list = access_list(&claim, "acl").unwrap();
        assert_eq!(list[0].resources, ["home/room1/*"]);
        assert_eq!(list[0].client_id.as_deref(), Some("sensor*"));
        assert_eq!((list[0].retain, list[1].retain), (2, 3));
        assert_eq!((&*list[1].name, list[1].effect), ("acl[1]", Effect::Deny));
        assert!(access_list(&Value::Null, "acl").unwrap().is_empty());
    }

    #[test]
    fn a_statement_that_cannot_be_read_is_an_error() {
        for claim in [
            json!({"pub": ["a"]}),
            json!([{"effect": "allow"}]),
            json!([{"effect": "maybe", "actions": ["pub"]}]),
            json!([{"effect": "allow", "actions": ["pub"], "topic": "a"}]),
            json!([{"effect": "allow", "actions": ["pub"], "qos": [3]}]),
            json!([{"effect": "allow", "actions": ["pub"], "ip": "10.0.0"}]),
        ] {
            assert!(access_list(&claim, "acl").is_err(), "{claim}");
        }
    }
}
