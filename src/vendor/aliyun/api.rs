//! What can be asked: every emulated action, read from its parameters and performed. The table
//! of all actions is in `actions.rs`.

use bytes::Bytes;

use super::Aliyun;
use super::actions::Action;
use super::error::Error;
use super::parameters::Parameters;
use super::store::Unknown;
use super::topic::Topic;
use super::wire::{Field, Format, success};
use crate::broker::message::{Origin, OriginKind, Properties, Publication};
use crate::exchange::{Answer, Surface};
use crate::journal::Draft;
use crate::pipeline::Walk;

/// An action with its parameters.
#[derive(Debug)]
pub(super) enum Call {
    /// Publishes a message.
    SendMessage(SendMessage),
}

/// The parameters of `SendMessage`.
#[derive(Debug)]
pub(super) struct SendMessage {
    instance_id: String,
    mqtt_topic: String,
    payload: Bytes,
}

impl Call {
    /// Reads the parameters of an action; a required one that is missing is refused.
    pub(super) fn parse(
        action: &'static Action,
        parameters: &Parameters<'_>,
        draft: &mut Draft,
    ) -> Result<Self, Error> {
        match action.name {
            "SendMessage" => Ok(Self::SendMessage(SendMessage {
                instance_id: parameters.required("InstanceId")?.to_owned(),
                mqtt_topic: parameters.required("MqttTopic")?.to_owned(),
                payload: Bytes::copy_from_slice(parameters.required("Payload")?.as_bytes()),
            })),
            name => {
                draft.note(format!("mqttstack does not emulate {name} yet"));
                Err(Error::ApiNotSupport)
            }
        }
    }
}

impl Aliyun {
    /// Publishes to the MQTT subscribers of the instance, or to the one client of a P2P topic.
    pub(super) async fn send_message(
        &self,
        call: SendMessage,
        format: Format,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let topic = self.check_message(&call, walk.draft)?;
        let target = topic.target().map(ToOwned::to_owned);
        let publication = Publication {
            topic: topic.into_name(),
            payload: call.payload,
            qos: self.qos,
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
            Some(client_id) => broker.send_to_client(client_id, publication).await?,
            None => broker.publish(publication).await?,
        };
        let message_id = &published.message.id;
        walk.draft.messages.push(message_id.clone());
        if let (Some(client_id), 0) = (&target, published.matched) {
            walk.draft
                .note(format!("P2P: no MQTT client {client_id:?} has a session"));
        }
        let fields = [
            Field::new("RequestId", &*walk.receipt.id),
            Field::new("MsgId", &**message_id),
        ];
        Ok(success(
            format,
            "SendMessageResponse",
            &fields,
            walk.receipt,
        ))
    }

    /// Shapes first, then the instance, then the topic.
    fn check_message(&self, call: &SendMessage, draft: &mut Draft) -> Result<Topic, Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if call.instance_id.len() > 64 || !call.instance_id.bytes().all(allowed) {
            draft.note("an InstanceId has at most 64 letters, digits, - and _");
            return Err(Error::InvalidParameter("InstanceId"));
        }
        let topic = Topic::parse(&call.mqtt_topic, &self.settings).map_err(|problem| {
            draft.note(format!("MqttTopic {:?}: {problem}", call.mqtt_topic));
            Error::ParameterCheckFailed
        })?;
        let limit = self.settings.max_payload_bytes;
        if call.payload.len() > limit {
            draft.note(format!(
                "the Payload has {} bytes of UTF-8, {limit} are allowed",
                call.payload.len()
            ));
            return Err(Error::ParameterCheckFailed);
        }
        match self.store.use_topic(&call.instance_id, topic.parent()) {
            Ok(()) => Ok(topic),
            Err(Unknown::Instance) => {
                draft.note(format!(
                    "instance {:?} is not configured and aliyun.auto_create is off",
                    call.instance_id
                ));
                Err(Error::InstancePermissionCheckFailed)
            }
            Err(Unknown::Topic) => {
                draft.note(format!(
                    "parent topic {:?} is not configured for instance {:?} and \
                     aliyun.auto_create is off",
                    topic.parent(),
                    call.instance_id
                ));
                Err(Error::PermissionCheckFailed)
            }
        }
    }
}
