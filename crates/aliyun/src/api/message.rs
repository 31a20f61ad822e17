//! `SendMessage`.

use bytes::Bytes;
use mqttstack_base::exchange::Surface;
use mqttstack_base::message::{Origin, OriginKind, Properties, Publication, check_depth};
use mqttstack_pipeline::Walk;

use super::Fields;
use crate::Aliyun;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::topic::Topic;
use crate::wire::Field;

/// The parameters of `SendMessage`.
#[derive(Debug)]
pub(crate) struct SendMessage {
    instance_id: String,
    mqtt_topic: String,
    payload: Bytes,
}

impl SendMessage {
    pub(super) fn parse(parameters: &Parameters<'_>) -> Result<Self, Error> {
        Ok(Self {
            instance_id: parameters.required("InstanceId")?.to_owned(),
            mqtt_topic: parameters.required("MqttTopic")?.to_owned(),
            payload: Bytes::copy_from_slice(parameters.required("Payload")?.as_bytes()),
        })
    }

    /// Publishes to the MQTT subscribers of the instance, or to the one client of a P2P topic.
    pub(super) async fn perform(
        self,
        aliyun: &Aliyun,
        walk: &mut Walk<'_>,
    ) -> Result<Fields, Error> {
        let topic = self.check(aliyun, walk)?;
        let target = topic.target().map(ToOwned::to_owned);
        let publication = Publication {
            topic: topic.into_name(),
            payload: self.payload,
            qos: aliyun.qos,
            retain: false,
            properties: Properties::default(),
            origin: Origin {
                kind: OriginKind::Http,
                vendor: Some(Surface::Aliyun),
                client_id: None,
                request: Some(walk.receipt.id.clone()),
            },
        };
        let broker = &walk.app.broker;
        let published = match &target {
            Some(client_id) => {
                broker
                    .send_to_client_in(&self.instance_id, client_id, publication)
                    .await?
            }
            None => broker.publish_in(&self.instance_id, publication).await?,
        };
        let message_id = &published.message.id;
        walk.draft.published(&published.message);
        if let (Some(client_id), 0) = (&target, published.matched) {
            walk.draft
                .note(format!("P2P: no MQTT client {client_id:?} has a session"));
        }
        Ok(vec![Field::new("MsgId", message_id.clone())])
    }

    /// Shapes first, then the instance, then the topic.
    fn check(&self, aliyun: &Aliyun, walk: &mut Walk<'_>) -> Result<Topic, Error> {
        super::check_instance_id(&self.instance_id, walk.draft)?;
        let topic = Topic::parse(&self.mqtt_topic, &aliyun.settings).map_err(|problem| {
            walk.draft
                .note(format!("MqttTopic {:?}: {problem}", self.mqtt_topic));
            Error::ParameterCheckFailed
        })?;
        let levels = walk.app.broker.max_topic_levels();
        if let Err(problem) = check_depth(&self.mqtt_topic, levels) {
            walk.draft.note(format!("MqttTopic: {problem}"));
            return Err(Error::ParameterCheckFailed);
        }
        let limit = aliyun.settings.max_payload_bytes;
        if self.payload.len() > limit {
            walk.draft.note(format!(
                "the Payload has {} bytes of UTF-8, {limit} are allowed",
                self.payload.len()
            ));
            return Err(Error::ParameterCheckFailed);
        }
        super::use_topic(aliyun, &self.instance_id, topic.parent(), walk)?;
        Ok(topic)
    }
}
