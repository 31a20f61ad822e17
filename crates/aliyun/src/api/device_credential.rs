//! Device credentials: a key pair of its own for one client id.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mqttstack_base::ids::Ids;
use mqttstack_base::secret::Secret;
use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::client_id::ClientId;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::store::credential::{Credential, CredentialProblem};
use crate::wire::Field;

/// Client id and instance, which four of the five actions take.
#[derive(Debug)]
struct Device {
    client_id: String,
    instance_id: String,
}

impl Device {
    fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            client_id: parameters.required("ClientId")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
        })
    }

    /// The form of the client id, the instance, the group.
    fn check(&self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<(), Error> {
        let client = ClientId::parse(&self.client_id).map_err(|problem| {
            walk.draft.note(problem);
            Error::ParameterCheckFailed
        })?;
        let missing = Error::InstancePermissionCheckFailed;
        super::use_instance(aliyun, &self.instance_id, missing, walk)?;
        use_group(aliyun, &self.instance_id, client.group, walk)
    }

    fn answer(self, credential: Credential) -> Fields {
        let fields = vec![
            Field::new("ClientId", self.client_id),
            Field::new("InstanceId", self.instance_id),
            Field::new("DeviceAccessKeyId", credential.key_id),
            Field::new(
                "DeviceAccessKeySecret",
                credential.key_secret.expose().to_owned(),
            ),
            Field::new("CreateTime", credential.created_ms),
            Field::new("UpdateTime", credential.updated_ms),
        ];
        vec![Field::new("DeviceCredential", fields)]
    }
}

/// The group must be there, or may come into being.
fn use_group(
    aliyun: &Aliyun,
    instance: &str,
    group: &str,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    let used = aliyun.store.use_group(instance, group, walk.receipt.now);
    used.map_err(|_| {
        let reason = format!("instance {instance:?} has no group {group:?}");
        walk.draft.note(reason);
        Error::PermissionCheckFailed
    })
}

/// New keys. The vendor's examples are `DC.` and 22 characters.
fn keys(ids: &Ids, now_ms: i64) -> Credential {
    let text = || format!("DC.{}", BASE64_URL_SAFE_NO_PAD.encode(ids.bytes::<16>()));
    Credential {
        key_id: text(),
        key_secret: Secret::new(text()),
        created_ms: now_ms,
        updated_ms: now_ms,
    }
}

fn not_found(device: &Device, walk: &mut Walk<'_>) -> Error {
    walk.draft.note(format!(
        "client {:?} has no credential in instance {:?}",
        device.client_id, device.instance_id
    ));
    Error::DeviceCredentialNotFound
}

/// `RegisterDeviceCredential`. A second one for the same client id is refused (assumed: the
/// vendor's text and its error table contradict each other).
#[derive(Debug)]
pub(crate) struct RegisterDeviceCredential(Device);

impl RegisterDeviceCredential {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Device::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let device = self.0;
        device.check(aliyun, walk)?;
        let new = keys(&walk.app.ids, walk.receipt.now.as_millisecond());
        let registered =
            aliyun
                .store
                .credentials
                .register(&device.instance_id, &device.client_id, new.clone());
        match registered {
            Ok(()) => Ok(device.answer(new)),
            Err(CredentialProblem::Exists) => {
                walk.draft.note(format!(
                    "client {:?} has a credential; RefreshDeviceCredential replaces it",
                    device.client_id
                ));
                Err(Error::DeviceCredentialExsit)
            }
            Err(CredentialProblem::TooMany) => Err(Error::DeviceCredentialNumExceed),
        }
    }
}

/// `GetDeviceCredential`.
#[derive(Debug)]
pub(crate) struct GetDeviceCredential(Device);

impl GetDeviceCredential {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Device::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let device = self.0;
        device.check(aliyun, walk)?;
        let credentials = &aliyun.store.credentials;
        match credentials.get(&device.instance_id, &device.client_id) {
            Some(credential) => Ok(device.answer(credential)),
            None => Err(not_found(&device, walk)),
        }
    }
}

/// `RefreshDeviceCredential`: new keys in the place of the old ones.
#[derive(Debug)]
pub(crate) struct RefreshDeviceCredential(Device);

impl RefreshDeviceCredential {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Device::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let device = self.0;
        device.check(aliyun, walk)?;
        let new = keys(&walk.app.ids, walk.receipt.now.as_millisecond());
        let credentials = &aliyun.store.credentials;
        match credentials.refresh(&device.instance_id, &device.client_id, new) {
            Some(credential) => Ok(device.answer(credential)),
            None => Err(not_found(&device, walk)),
        }
    }
}

/// `UnRegisterDeviceCredential`. A client that is connected stays so.
#[derive(Debug)]
pub(crate) struct UnRegisterDeviceCredential(Device);

impl UnRegisterDeviceCredential {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Device::parse(parameters).map(Self)
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let device = self.0;
        device.check(aliyun, walk)?;
        let credentials = &aliyun.store.credentials;
        if credentials.remove(&device.instance_id, &device.client_id) {
            return Ok(Vec::new());
        }
        Err(not_found(&device, walk))
    }
}

/// `ListDeviceCredentialClientId`: the registered client ids of a group, in pages.
#[derive(Debug)]
pub(crate) struct ListDeviceCredentialClientId {
    instance_id: String,
    group_id: String,
    page_size: String,
    page_no: String,
    next_token: String,
}

impl ListDeviceCredentialClientId {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            group_id: parameters.required("GroupId")?.to_owned(),
            page_size: parameters.required("PageSize")?.to_owned(),
            page_no: parameters.get("PageNo").to_owned(),
            next_token: parameters.get("NextToken").to_owned(),
        })
    }

    pub(super) fn perform(self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Fields, Error> {
        let size = super::number("PageSize", &self.page_size, 1..=100, walk.draft)?;
        let page = match &*self.page_no {
            "" => 1,
            text => super::number("PageNo", text, 1..=i64::from(u32::MAX), walk.draft)?,
        };
        let missing = Error::InstancePermissionCheckFailed;
        super::use_instance(aliyun, &self.instance_id, missing, walk)?;
        use_group(aliyun, &self.instance_id, &self.group_id, walk)?;
        let all = aliyun
            .store
            .credentials
            .client_ids(&self.instance_id, &self.group_id);
        let total = all.len();
        let start = match &*self.next_token {
            "" => ((page - 1) * size).to_string(),
            token => token.to_owned(),
        };
        let count = usize::try_from(size).unwrap_or(usize::MAX);
        let (part, next) = super::slice(all, &start, count, walk.draft)?;
        let fields = vec![
            Field::new("Total", total.to_string()),
            Field::new("PageNo", page.to_string()),
            Field::new("PageSize", size.to_string()),
            Field::new("NextToken", next),
            Field::list("ClientIdList", part),
        ];
        Ok(vec![Field::new("DeviceCredentialClientIdList", fields)])
    }
}
