//! `CloseConnection`: ends a client's connection from outside.

use mqttstack_pipeline::Walk;

use super::Fields;
use super::session::is_of;
use crate::Aliyun;
use crate::error::Error;
use crate::mqtt::CLOSED_BY_CALL;
use crate::parameters::Parameters;

/// `CloseConnection`. The session stays; a client that is not connected is no error (assumed).
#[derive(Debug)]
pub(crate) struct CloseConnection {
    client_id: String,
    instance_id: String,
}

impl CloseConnection {
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
        let broker = &walk.app.broker;
        let clients = broker.clients().await;
        let here = clients.iter().any(|client| {
            client.connected
                && client.client_id == self.client_id
                && is_of(client, &self.instance_id)
        });
        if here {
            broker.close(&self.client_id, CLOSED_BY_CALL).await;
        } else {
            walk.draft.note(format!(
                "hint: no client {:?} of instance {:?} is connected",
                self.client_id, self.instance_id
            ));
        }
        Ok(super::done())
    }
}
