//! Users: `CreateUser`, `ModifyUser`, `DeleteUser`, `DescribeUserList`. What is made here logs in
//! over HTTP and MQTT at once. Source: models.py of the Python SDK; page 1778/111035 ff.

use jiff::Timestamp;
use mqttstack_base::ids::Ids;
use mqttstack_base::secret::Secret;
use serde_json::json;

use super::parameters::{Parameters, at_most, plain_name};
use super::{Fields, fields, nothing};
use crate::error::{Error, Resource};
use crate::store::{Instance, User};

fn not_found(name: &str) -> Error {
    Error::NotFound {
        resource: Resource::Username,
        name: name.to_owned(),
    }
}

pub(super) fn create_user(
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
    ids: &Ids,
) -> Result<Fields, Error> {
    let name = parameters.needed_text("Username")?;
    plain_name("Username", name, 1..=32)?;
    let password = match parameters.text("Password")? {
        None | Some("") => ids.upper_hex::<8>(),
        Some(password) => {
            plain_name("Password", password, 1..=64)?;
            password.to_owned()
        }
    };
    let remark = parameters.text("Remark")?.unwrap_or_default();
    at_most("Remark", remark, 128)?;
    let users = &mut instance.resources.write().users;
    if users.iter().any(|user| user.name == name) {
        return Err(Error::Exists {
            resource: Resource::Username,
            name: name.to_owned(),
        });
    }
    users.push(User {
        name: name.to_owned(),
        password: Secret::new(password),
        remark: remark.to_owned(),
        created_ms: now.as_millisecond(),
        modified_ms: now.as_millisecond(),
    });
    Ok(nothing())
}

pub(super) fn modify_user(
    instance: &Instance,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    let name = parameters.needed_text("Username")?;
    let remark = parameters.text("Remark")?.unwrap_or_default();
    at_most("Remark", remark, 128)?;
    let users = &mut instance.resources.write().users;
    let user = users
        .iter_mut()
        .find(|user| user.name == name)
        .ok_or_else(|| not_found(name))?;
    remark.clone_into(&mut user.remark);
    user.modified_ms = now.as_millisecond();
    Ok(nothing())
}

pub(super) fn delete_user(instance: &Instance, parameters: &Parameters) -> Result<Fields, Error> {
    let name = parameters.needed_text("Username")?;
    let users = &mut instance.resources.write().users;
    let at = users
        .iter()
        .position(|user| user.name == name)
        .ok_or_else(|| not_found(name))?;
    users.remove(at);
    Ok(nothing())
}

/// Passwords are in the answer, as in the cloud.
pub(super) fn describe_user_list(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let page = parameters.page(100)?;
    let filters = parameters.filters(&["Username"])?;
    let resources = instance.resources.read();
    let found: Vec<&User> = resources
        .users
        .iter()
        .filter(|user| filters.iter().all(|it| it.is_contained_in(&user.name)))
        .collect();
    let total = found.len();
    let data: Vec<_> = page
        .of(found)
        .into_iter()
        .map(|user| {
            json!({
                "Username": user.name,
                "Password": user.password.expose(),
                "Remark": user.remark,
                "CreatedTime": user.created_ms,
                "ModifiedTime": user.modified_ms,
            })
        })
        .collect();
    Ok(fields(json!({"TotalCount": total, "Data": data})))
}
