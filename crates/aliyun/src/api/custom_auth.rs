//! Custom authentication: what its actions have in common, and the blacklist of client ids.
//! Identities are in `custom_identity.rs`, permissions in `custom_permission.rs`.

use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::client_id::MAX_CHARS;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::custom::{IdentityType, ListProblem};
use crate::wire::{Field, Value};

/// The words for whom something is.
pub(super) const IDENTITY_TYPES: &[(&str, IdentityType)] = &[
    ("USER", IdentityType::User),
    ("CLIENT", IdentityType::Client),
];

/// The word for an identity's type.
pub(super) const fn type_name(kind: IdentityType) -> &'static str {
    match kind {
        IdentityType::User => "USER",
        IdentityType::Client => "CLIENT",
    }
}

/// The instance of such an action.
pub(super) fn use_instance(
    aliyun: &Aliyun,
    instance: &str,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    super::use_instance(aliyun, instance, Error::InstancePermissionCheckFailed, walk)
}

/// The length of a client id: nobody connects with a longer one.
pub(super) fn check_client_id(
    parameter: &'static str,
    client_id: &str,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    let chars = client_id.chars().count();
    if chars > MAX_CHARS {
        walk.draft.note(format!(
            "{parameter} has {chars} characters, {MAX_CHARS} are allowed"
        ));
        return Err(Error::InvalidParameter(parameter));
    }
    Ok(())
}

/// The answer to a change. That an entry is there already, or is not there, is refused as a
/// parameter that cannot be right (assumed: the vendor names no code for it).
pub(super) fn changed(
    result: Result<(), ListProblem>,
    what: &str,
    walk: &mut Walk<'_>,
) -> Result<Fields, Error> {
    match result {
        Ok(()) => Ok(super::done()),
        Err(ListProblem::Exists) => {
            walk.draft.note(format!("there is such {what} already"));
            Err(Error::ParameterCheckFailed)
        }
        Err(ListProblem::Missing) => {
            walk.draft.note(format!("there is no such {what}"));
            Err(Error::ParameterCheckFailed)
        }
        Err(ListProblem::Full) => Err(Error::CustomAuthOverCapacity),
    }
}

/// The answer to a deletion; that nothing was there is no error (assumed).
pub(super) fn deleted(was_there: bool, what: &str, walk: &mut Walk<'_>) -> Fields {
    if !was_there {
        walk.draft.note(format!("hint: there was no such {what}"));
    }
    super::done()
}

/// How much of a list is wanted.
#[derive(Debug)]
pub(crate) struct Page {
    size: String,
    next_token: String,
}

impl Page {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            size: parameters.required("Size")?.to_owned(),
            next_token: parameters.get("NextToken").to_owned(),
        })
    }

    /// The wanted part of a list as an answer.
    pub(super) fn answer(
        &self,
        items: Vec<Value<'static>>,
        walk: &mut Walk<'_>,
    ) -> Result<Fields, Error> {
        let size = super::number("Size", &self.size, 1..=100, walk.draft)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (part, next) = super::slice(items, &self.next_token, size, walk.draft)?;
        let mut fields = super::done();
        fields.push(Field::new(
            "Data",
            vec![Field::new("NextToken", next), Field::list("Results", part)],
        ));
        Ok(fields)
    }
}

/// Instance and client id of an entry of the blacklist.
#[derive(Debug)]
struct Entry(String, String);

impl Entry {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        let instance = parameters.required("InstanceId")?.to_owned();
        let client_id = parameters.required("ClientId")?.to_owned();
        Ok(Self(instance, client_id))
    }
}

/// `AddCustomAuthConnectBlack`: the client is refused when it connects.
#[derive(Debug)]
pub(crate) struct AddCustomAuthConnectBlack(Entry);

impl AddCustomAuthConnectBlack {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Entry::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let Entry(instance, client_id) = self.0;
        check_client_id("ClientId", &client_id, walk)?;
        use_instance(aliyun, &instance, walk)?;
        let result = aliyun.store.custom.black.add((instance, client_id), ());
        changed(result, "an entry of the blacklist", walk)
    }
}

/// `DeleteCustomAuthConnectBlack`.
#[derive(Debug)]
pub(crate) struct DeleteCustomAuthConnectBlack(Entry);

impl DeleteCustomAuthConnectBlack {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Entry::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let Entry(instance, client_id) = self.0;
        use_instance(aliyun, &instance, walk)?;
        let was_there = aliyun.store.custom.black.remove(&(instance, client_id));
        Ok(deleted(was_there, "an entry of the blacklist", walk))
    }
}

/// `QueryCustomAuthConnectBlack`: all entries, or that of one client.
#[derive(Debug)]
pub(crate) struct QueryCustomAuthConnectBlack {
    instance_id: String,
    client_id: String,
    page: Page,
}

impl QueryCustomAuthConnectBlack {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            client_id: parameters.get("ClientId").to_owned(),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        use_instance(aliyun, &self.instance_id, walk)?;
        let found = aliyun.store.custom.black.select(|(instance, client_id)| {
            *instance == self.instance_id
                && (self.client_id.is_empty() || *client_id == self.client_id)
        });
        let item = |((_, client_id), ())| {
            Value::Object(vec![
                Field::new("ClientId", client_id),
                Field::new("PermitAction", "CONNECT"),
                Field::new("Effect", "DENY"),
            ])
        };
        let items = found.into_iter().map(item).collect();
        self.page.answer(items, walk)
    }
}
