//! Identities of custom authentication: who may connect with a password of its own.

use mqttstack_base::secret::Secret;
use mqttstack_pipeline::Walk;

use super::Fields;
use super::custom_auth::{
    IDENTITY_TYPES, Page, changed, check_client_id, deleted, type_name, use_instance,
};
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::custom::{IdentityKey, IdentityType, Proof, SignMode};
use crate::wire::{Field, Value};

const SIGN_MODES: &[(&str, SignMode)] =
    &[("ORIGIN", SignMode::Origin), ("SIGNED", SignMode::Signed)];

/// How long a user name may be (documented: the SDK's model of `UpdateCustomAuthIdentity`).
const MAX_USERNAME_CHARS: usize = 64;

/// The longest secret in bytes: a password that MQTT can carry, but not ours to remember by the
/// thousand (assumed).
const MAX_SECRET_BYTES: usize = 1_024;

/// What names an identity: a user name, and the client id too if it is one client's alone.
#[derive(Debug)]
struct Name {
    instance_id: String,
    username: String,
    client_id: String,
    identity_type: String,
}

impl Name {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            username: parameters.required("Username")?.to_owned(),
            client_id: parameters.get("ClientId").to_owned(),
            identity_type: parameters.required("IdentityType")?.to_owned(),
        })
    }

    fn read(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<IdentityKey, Error> {
        let kind = super::word(
            "IdentityType",
            &self.identity_type,
            IDENTITY_TYPES,
            walk.draft,
        )?;
        if kind == IdentityType::Client && self.client_id.is_empty() {
            walk.draft.note("IdentityType CLIENT needs a ClientId");
            return Err(Error::ParameterCheckFailed);
        }
        if self.username.chars().count() > MAX_USERNAME_CHARS {
            walk.draft.note(format!(
                "a Username has at most {MAX_USERNAME_CHARS} characters"
            ));
            return Err(Error::InvalidParameter("Username"));
        }
        check_client_id("ClientId", &self.client_id, walk)?;
        use_instance(aliyun, &self.instance_id, walk)?;
        Ok(IdentityKey {
            instance: self.instance_id,
            kind,
            username: self.username,
            client_id: match kind {
                IdentityType::User => String::new(),
                IdentityType::Client => self.client_id,
            },
        })
    }
}

/// A new or changed identity.
#[derive(Debug)]
struct Change {
    name: Name,
    secret: Secret,
    sign_mode: String,
}

impl Change {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: Name::parse(parameters)?,
            secret: Secret::new(parameters.required("Secret")?),
            sign_mode: parameters.required("SignMode")?.to_owned(),
        })
    }

    fn read(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<(IdentityKey, Proof), Error> {
        let mode = super::word("SignMode", &self.sign_mode, SIGN_MODES, walk.draft)?;
        if self.secret.expose().len() > MAX_SECRET_BYTES {
            walk.draft
                .note(format!("a Secret has at most {MAX_SECRET_BYTES} bytes"));
            return Err(Error::InvalidParameter("Secret"));
        }
        let proof = Proof {
            secret: self.secret,
            mode,
        };
        Ok((self.name.read(aliyun, walk)?, proof))
    }
}

/// `AddCustomAuthIdentity`.
#[derive(Debug)]
pub(crate) struct AddCustomAuthIdentity(Change);

impl AddCustomAuthIdentity {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Change::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let (key, value) = self.0.read(aliyun, walk)?;
        let result = aliyun.store.custom.identities.add(key, value);
        changed(result, "an identity", walk)
    }
}

/// `UpdateCustomAuthIdentity`.
#[derive(Debug)]
pub(crate) struct UpdateCustomAuthIdentity(Change);

impl UpdateCustomAuthIdentity {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Change::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let (key, value) = self.0.read(aliyun, walk)?;
        let result = aliyun.store.custom.identities.update(&key, value);
        changed(result, "an identity", walk)
    }
}

/// `DeleteCustomAuthIdentity`.
#[derive(Debug)]
pub(crate) struct DeleteCustomAuthIdentity(Name);

impl DeleteCustomAuthIdentity {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Name::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let key = self.0.read(aliyun, walk)?;
        let was_there = aliyun.store.custom.identities.remove(&key);
        Ok(deleted(was_there, "an identity", walk))
    }
}

/// `QueryCustomAuthIdentity`: all identities, or those of a user, a client or a type.
#[derive(Debug)]
pub(crate) struct QueryCustomAuthIdentity {
    instance_id: String,
    username: String,
    client_id: String,
    identity_type: String,
    page: Page,
}

impl QueryCustomAuthIdentity {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        let text = |name| parameters.get(name).to_owned();
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            username: text("Username"),
            client_id: text("ClientId"),
            identity_type: text("IdentityType"),
            page: Page::parse(parameters)?,
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        use_instance(aliyun, &self.instance_id, walk)?;
        let wanted = |asked: &str, value: &str| asked.is_empty() || asked == value;
        let found = aliyun.store.custom.identities.select(|key| {
            key.instance == self.instance_id
                && wanted(&self.username, &key.username)
                && wanted(&self.client_id, &key.client_id)
                && wanted(&self.identity_type, type_name(key.kind))
        });
        let items = found.into_iter().map(|(key, proof)| item(key, &proof));
        self.page.answer(items.collect(), walk)
    }
}

fn item(key: IdentityKey, proof: &Proof) -> Value<'static> {
    let mode = match proof.mode {
        SignMode::Origin => "ORIGIN",
        SignMode::Signed => "SIGNED",
    };
    Value::Object(vec![
        Field::new("Username", key.username),
        Field::new("ClientId", key.client_id),
        Field::new("Secret", proof.secret.expose().to_owned()),
        Field::new("IdentityType", type_name(key.kind)),
        Field::new("SignMode", mode),
    ])
}
