//! What the tables hold is in `openapi/tencent-iot.yaml`: paths, actions, parameters, codes.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Failed;
use serde_json::Value;

use super::derived::Action;
use super::{Errors, Row};

pub(super) fn compare(errors: &Errors, rows: &[Row]) -> Result<(), Failed> {
    let text = include_str!("../../../openapi/tencent-iot.yaml");
    let described: Value = serde_saphyr::from_str(text)?;
    let at = |pointer: &str| described.pointer(pointer).unwrap_or(&Value::Null).clone();
    let names = |list: &Value| -> BTreeSet<String> {
        let items = list.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(ToOwned::to_owned))
            .collect()
    };
    for path in [
        "/device/publish",
        "/device/register",
        "/device/reportlog",
        "/register/dev",
        "/",
    ] {
        if at(&format!("/paths/{}/post", path.replace('/', "~1"))).is_null() {
            return Err(format!("{path} is not described").into());
        }
    }
    let actions: BTreeMap<String, Action> = crate::table("tencent-iot/actions.toml");
    let listed = names(&at("/components/parameters/X-TC-Action/schema/enum"));
    let stated: BTreeSet<String> = actions.keys().cloned().collect();
    if listed != stated {
        return Err(format!("actions: described {listed:?}, stated {stated:?}").into());
    }
    for (name, action) in &actions {
        let schema = at(&format!("/components/schemas/Action.{name}"));
        let required = names(&schema["required"]);
        let stated: BTreeSet<String> = action.needs.keys().cloned().collect();
        if required != stated {
            return Err(format!("{name} requires {required:?}, stated {stated:?}").into());
        }
        for parameter in action.may_have.keys() {
            if schema["properties"][parameter].is_null() {
                return Err(format!("{name}: {parameter} is not described").into());
            }
        }
    }
    let codes = errors.values().map(|row| row.code.clone());
    let codes = codes.chain(rows.iter().filter_map(|row| row.code.clone()));
    let listed = names(&at("/components/schemas/Code/enum"));
    let missing: Vec<String> = codes.filter(|code| !listed.contains(code)).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("codes that are not described: {missing:?}").into())
    }
}
