//! Who may connect, publish and subscribe: puts the questions to the client's vendor, and tells
//! the journal of every refusal.

use std::sync::Arc;

use mqttstack_base::message::Qos;
use mqttstack_base::secret::shown_user;

use super::core::Core;
use super::dialect::{
    Connect, ConnectCode, ConnectRefusal, Dialect, Feature, Grant, Limits, Peer, Publish,
    PublishVerdict, Refused, SubscribeVerdict,
};
use super::opening::Opening;
use super::packet::code;
use super::tenant;

fn refusal(code: ConnectCode, reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code,
        reason: reason.into(),
    }
}

/// Whether a CONNECT keeps to the limits of its grant (MQTT 5.0 sections 3.2.2.3.4 and 3.2.2.3.5).
fn within(limits: &Limits, opening: &Opening) -> Result<(), ConnectRefusal> {
    let size = opening.size;
    if let Some(longest) = limits.max_packet_size
        && u32::try_from(size).is_ok_and(|size| size > longest)
    {
        return Err(refusal(
            ConnectCode::PacketTooLarge,
            format!("the CONNECT has {size} bytes, the longest packet allowed has {longest}"),
        ));
    }
    let will = opening.will.as_ref();
    let highest = limits.max_qos.unwrap_or(Qos::ExactlyOnce);
    if let Some(will) = will.filter(|will| will.qos > highest) {
        let (qos, highest) = (will.qos.level(), highest.level());
        return Err(refusal(
            ConnectCode::QosNotSupported,
            format!("the will has QoS {qos}, the highest allowed is {highest}"),
        ));
    }
    if opening.version < 5 {
        return Ok(());
    }
    let lacks = |feature| limits.unavailable.contains(&feature);
    if lacks(Feature::Retain) && will.is_some_and(|will| will.retain) {
        return Err(refusal(
            ConnectCode::RetainNotSupported,
            "the will is retained, and retained messages are not available",
        ));
    }
    if lacks(Feature::UserPropertyOutsidePublish) && opening.five.has_user_property {
        return Err(refusal(
            ConnectCode::ImplementationSpecific,
            "the CONNECT has a user property, which only a PUBLISH may have",
        ));
    }
    Ok(())
}

/// The user name of a CONNECT, without a secret that may be in it.
fn shown_name(connect: &Connect) -> Option<String> {
    let name = connect.username.as_deref()?;
    Some(shown_user(name, connect.password.is_some()).into_owned())
}

/// What an open client has brought that it needs not: it may think that somebody has checked it.
fn unchecked(connect: &Connect) -> Vec<String> {
    let brought = match shown_name(connect) {
        Some(name) => format!("the user name {name:?}"),
        None if connect.password.is_some() => "the password".to_owned(),
        None if !connect.tls.certificates.is_empty() => "the client certificate".to_owned(),
        None => return Vec::new(),
    };
    vec![format!(
        "taken as an open client: {brought} has no vendor's shape and was not checked; \
         mqtt.open_clients = false refuses such clients"
    )]
}

impl Core {
    /// Puts a CONNECT to the vendor that claims it. Nothing is changed by the answer.
    pub(crate) async fn admit(
        &self,
        connect: &Connect,
        opening: &Opening,
    ) -> Result<(Arc<Peer>, Option<Arc<dyn Dialect>>), ConnectRefusal> {
        let claimant = {
            let dialects = self.dialects.read();
            let claims = dialects.iter().find(|dialect| dialect.claims(connect));
            let resembles = || dialects.iter().find(|dialect| dialect.resembles(connect));
            claims.or_else(resembles).cloned()
        };
        let verdict = match &claimant {
            Some(dialect) => dialect.connect(connect).await,
            None if connect.authentication_method.is_some() => Err(refusal(
                ConnectCode::BadAuthenticationMethod,
                "no vendor knows the authentication method",
            )),
            None if self.settings.open_clients => self.open_grant(connect),
            None => Err(refusal(
                ConnectCode::NotAuthorized,
                "no vendor's credentials, and open_clients is false",
            )),
        };
        let verdict = verdict.and_then(|grant| {
            within(&grant.limits, opening)?;
            Ok(grant)
        });
        match verdict {
            Ok(grant) => {
                let hints = grant.hints.clone();
                self.noted((&connect.client_id, &grant), ("CONNECT", None), hints);
                let peer = Arc::new(Peer {
                    client_id: connect.client_id.clone(),
                    grant: Arc::new(grant),
                    protocol_version: connect.protocol_version,
                });
                Ok((peer, claimant))
            }
            Err(refusal) => {
                self.refused(Refused {
                    surface: claimant.map(|dialect| dialect.surface()),
                    packet: "CONNECT",
                    identity: shown_name(connect),
                    topic: None,
                    code: refusal.code.code(connect.protocol_version),
                    reason: refusal.reason.clone(),
                    client_id: connect.client_id.clone(),
                });
                Err(refusal)
            }
        }
    }

    fn open_grant(&self, connect: &Connect) -> Result<Grant, ConnectRefusal> {
        let tenant = tenant::chosen(&self.settings, connect.username.as_deref());
        let tenant =
            tenant.map_err(|reason| refusal(ConnectCode::BadUserNameOrPassword, reason))?;
        Ok(Grant {
            tenant: tenant.clone(),
            identity: shown_name(connect).unwrap_or_default(),
            hints: if tenant.is_none() {
                unchecked(connect)
            } else {
                Vec::new()
            },
            ..Grant::default()
        })
    }

    /// Whether an open client may publish this.
    pub(crate) fn open_publish(&self, publish: &Publish<'_>) -> PublishVerdict {
        let denied = &self.denied.publish;
        if denied.iter().any(|denied| denied.matches(publish.topic)) {
            return PublishVerdict::Refuse {
                code: code::NOT_AUTHORIZED,
                reason: "mqtt.deny_publish refuses this topic to open clients".into(),
            };
        }
        PublishVerdict::Allow
    }

    /// Whether an open client may subscribe to this.
    pub(crate) fn open_subscribe(&self, filter: &str, qos: Qos) -> SubscribeVerdict {
        let denied = &self.denied.subscribe;
        if denied
            .iter()
            .any(|denied| denied.as_str() == filter || denied.matches(filter))
        {
            // 0x80 in both versions: what the interoperability suites expect of a refused filter.
            return SubscribeVerdict::Refuse {
                code: code::UNSPECIFIED,
                reason: "mqtt.deny_subscribe refuses this filter to open clients".into(),
            };
        }
        SubscribeVerdict::Allow(qos)
    }

    /// Tells of a PUBLISH that was refused.
    pub(crate) fn refused_publish(&self, peer: &Peer, topic: &str, code: u8, reason: &str) {
        self.refused_packet(peer, "PUBLISH", Some(topic), code, reason);
    }

    /// Tells of a packet of an accepted client that was refused.
    pub(crate) fn refused_packet(
        &self,
        peer: &Peer,
        packet: &'static str,
        topic: Option<&str>,
        code: u8,
        reason: &str,
    ) {
        self.refused(Refused {
            surface: peer.grant.surface,
            packet,
            client_id: peer.client_id.clone(),
            identity: Some(peer.grant.identity.clone()),
            topic: topic.map(ToOwned::to_owned),
            code,
            reason: reason.to_owned(),
        });
    }
}
