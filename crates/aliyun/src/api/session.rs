//! Whether clients are connected.

use std::collections::BTreeMap;

use mqttstack_base::exchange::Surface;
use mqttstack_base::message::Client;
use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::client_id::ClientId;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::wire::Field;

/// How many clients may be asked for at once (documented).
const MAX_CLIENTS: usize = 10;

/// Whether a client is the instance's: connected with its credentials, or an open client, which
/// has told none and is everybody's.
pub(super) fn is_of(client: &Client, instance: &str) -> bool {
    match client.dialect {
        Some(Surface::Aliyun) => client.tenant.as_deref() == Some(instance),
        None => true,
        Some(_) => false,
    }
}

/// `QuerySessionByClientId`.
#[derive(Debug)]
pub(crate) struct QuerySessionByClientId {
    client_id: String,
    instance_id: String,
}

impl QuerySessionByClientId {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            client_id: parameters.required("ClientId")?.to_owned(),
            instance_id: parameters.required("InstanceId")?.to_owned(),
        })
    }

    pub(super) async fn perform(
        self,
        aliyun: &Aliyun,
        walk: &mut Walk<'_>,
    ) -> Result<Fields, Error> {
        let missing = Error::InstancePermissionCheckFailed;
        super::use_instance(aliyun, &self.instance_id, missing, walk)?;
        let online = online(&self.instance_id, walk).await;
        let here = online.contains(&self.client_id);
        if let (false, Err(problem)) = (here, ClientId::parse(&self.client_id)) {
            walk.draft.note(format!("hint: {problem}"));
        }
        Ok(vec![Field::new("OnlineStatus", here)])
    }
}

/// The client ids of an instance that are connected now.
async fn online(instance: &str, walk: &Walk<'_>) -> Vec<String> {
    let clients = walk.app.broker.clients().await;
    clients
        .into_iter()
        .filter(|client| client.connected && is_of(client, instance))
        .map(|client| client.client_id)
        .collect()
}

/// `BatchQuerySessionByClientIds`, for up to ten clients: `ClientIdList.1` and so on.
#[derive(Debug)]
pub(crate) struct BatchQuerySessionByClientIds {
    client_ids: Vec<String>,
    instance_id: String,
}

impl BatchQuerySessionByClientIds {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        let instance_id = parameters.required("InstanceId")?.to_owned();
        let listed = parameters.all().iter().filter_map(|(name, client_id)| {
            let index = name.strip_prefix("ClientIdList.")?;
            Some((index.parse::<u32>().ok()?, client_id.to_string()))
        });
        let client_ids: BTreeMap<_, _> = listed.filter(|(_, id)| !id.is_empty()).collect();
        if client_ids.is_empty() {
            return Err(Error::Missing("ClientIdList"));
        }
        Ok(Self {
            client_ids: client_ids.into_values().collect(),
            instance_id,
        })
    }

    pub(super) async fn perform(
        self,
        aliyun: &Aliyun,
        walk: &mut Walk<'_>,
    ) -> Result<Fields, Error> {
        if self.client_ids.len() > MAX_CLIENTS {
            walk.draft.note(format!(
                "ClientIdList has {} entries, {MAX_CLIENTS} are allowed",
                self.client_ids.len()
            ));
            return Err(Error::ParameterCheckFailed);
        }
        let missing = Error::InstancePermissionCheckFailed;
        super::use_instance(aliyun, &self.instance_id, missing, walk)?;
        let online = online(&self.instance_id, walk).await;
        let items = self.client_ids.into_iter().map(|client_id| {
            let here = online.contains(&client_id);
            vec![
                Field::new("ClientId", client_id),
                Field::new("OnlineStatus", here),
            ]
        });
        Ok(vec![Field::list("OnlineStatusList", items)])
    }
}
