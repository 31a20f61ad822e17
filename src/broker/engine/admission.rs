//! Who may connect: puts a CONNECT, and a later re-authentication, to the dialect that claims
//! it, and tells the journal of every refusal. What a connected client may do is in
//! `verdicts.rs`.

use std::sync::Arc;

use bytes::Bytes;
use rmqtt::types::{AuthResult, ConnectInfo, Id};

use super::super::dialect::{
    Connect, ConnectCode, ConnectRefusal, Feature, Grant, Limits, Peer, Refused,
};
use super::super::message::Qos;
use super::super::visitors::Visit;
use super::{Core, convert, tenant, verdicts};
use crate::secret::shown_user;

/// What is known of a connection; `None` for one that has no address.
pub(super) fn visit(core: &Core, id: &Id) -> Option<Arc<Visit>> {
    core.visitors.find((id.lid(), id.remote_addr?))
}

/// Keeps acknowledgements of the engine's from a client.
pub(super) fn withhold(core: &Core, id: &Id, which: impl FnOnce(&Visit)) {
    if let Some(visit) = visit(core, id) {
        which(&visit);
    }
}

/// What a CONNECT says, in our words.
fn question(core: &Core, info: &ConnectInfo, visit: Option<&Visit>) -> Connect {
    let id = info.id();
    let (method, data) = visit
        .and_then(Visit::authentication)
        .map_or((None, None), |asked| (Some(asked.method), asked.data));
    Connect {
        client_id: id.client_id.to_string(),
        username: info.username().map(ToString::to_string),
        password: info.password().cloned(),
        protocol_version: info.proto_ver(),
        clean_start: info.clean_start(),
        keep_alive: info.keep_alive(),
        will: convert::will(info),
        transport: core.listeners.transport(id.lid()),
        peer: info.ipaddress(),
        tls: visit.map(|visit| visit.visitor.clone()).unwrap_or_default(),
        authentication_method: method,
        authentication_data: data,
    }
}

fn refusal(code: ConnectCode, reason: impl Into<String>) -> ConnectRefusal {
    ConnectRefusal {
        code,
        reason: reason.into(),
    }
}

pub(super) async fn connect(core: &Core, info: &ConnectInfo) -> AuthResult {
    let visit = visit(core, info.id());
    let connect = question(core, info, visit.as_deref());
    let dialect = core.doors.claimant(&connect);
    let verdict = match &dialect {
        Some(dialect) => dialect.connect(&connect).await,
        None if connect.authentication_method.is_some() => Err(refusal(
            ConnectCode::BadAuthenticationMethod,
            "no vendor knows the authentication method",
        )),
        None if core.settings.open_clients => open_grant(core, &connect),
        None => Err(refusal(
            ConnectCode::NotAuthorized,
            "no vendor's credentials, and open_clients is false",
        )),
    };
    let verdict = verdict.and_then(|grant| {
        let size = visit.as_deref().map_or(0, Visit::connect_size);
        within(&grant.limits, info, &connect, size)?;
        Ok(grant)
    });
    match verdict {
        Ok(grant) => {
            core.noted(&connect.client_id, &grant);
            let peer = Arc::new(Peer {
                client_id: connect.client_id.clone(),
                grant: Arc::new(grant),
                protocol_version: connect.protocol_version,
            });
            if let Some(visit) = visit {
                visit.accepted(&connect, peer.clone());
            }
            let id = info.id();
            let entry = (verdicts::connection_key(id), peer);
            core.doors.peers.write().insert(id.client_id.clone(), entry);
            AuthResult::Allow(false, None)
        }
        Err(refusal) => {
            core.refused(Refused {
                surface: dialect.map(|dialect| dialect.surface()),
                packet: "CONNECT",
                identity: connect
                    .username
                    .as_deref()
                    .map(|name| shown_user(name, connect.password.is_some()).into_owned()),
                topic: None,
                code: refusal.code.code(connect.protocol_version),
                reason: refusal.reason.clone(),
                client_id: connect.client_id,
            });
            if let Some(visit) = visit {
                visit.refuse(refusal);
            }
            // `exchange.rs` tells the client the code.
            AuthResult::NotAuthorized
        }
    }
}

/// Whether a CONNECT keeps to the limits of its grant (MQTT 5.0 sections 3.2.2.3.4 and 3.2.2.3.5).
fn within(
    limits: &Limits,
    info: &ConnectInfo,
    connect: &Connect,
    size: usize,
) -> Result<(), ConnectRefusal> {
    if let Some(longest) = limits.max_packet_size
        && u32::try_from(size).is_ok_and(|size| size > longest)
    {
        return Err(refusal(
            ConnectCode::PacketTooLarge,
            format!("the CONNECT has {size} bytes, the longest packet allowed has {longest}"),
        ));
    }
    let highest = limits.max_qos.unwrap_or(Qos::ExactlyOnce);
    if let Some(will) = connect.will.as_ref().filter(|will| will.qos > highest) {
        let (qos, highest) = (will.qos.level(), highest.level());
        return Err(refusal(
            ConnectCode::QosNotSupported,
            format!("the will has QoS {qos}, the highest allowed is {highest}"),
        ));
    }
    let ConnectInfo::V5(_, packet) = info else {
        return Ok(());
    };
    let lacks = |feature| limits.unavailable.contains(&feature);
    if lacks(Feature::Retain) && connect.will.as_ref().is_some_and(|will| will.retain) {
        return Err(refusal(
            ConnectCode::RetainNotSupported,
            "the will is retained, and retained messages are not available",
        ));
    }
    if lacks(Feature::UserPropertyOutsidePublish) && !packet.user_properties.is_empty() {
        return Err(refusal(
            ConnectCode::ImplementationSpecific,
            "the CONNECT has a user property, which only a PUBLISH may have",
        ));
    }
    Ok(())
}

/// Puts a client's new authentication data to its dialect.
pub(super) async fn reauthenticate(
    core: &Core,
    visit: &Visit,
    data: Option<Bytes>,
) -> Result<(), ConnectRefusal> {
    let ended = || refusal(ConnectCode::NotAuthorized, "the session has ended");
    let mut connect = visit.connect().ok_or_else(ended)?;
    connect.authentication_data = data;
    let peer = core.doors.peer(&connect.client_id);
    let asked = peer.and_then(|peer| Some((core.doors.dialect(&peer)?, peer)));
    let (dialect, peer) = asked.ok_or_else(ended)?;
    let verdict = dialect.reauthenticate(&peer, &connect).await;
    match verdict {
        Ok(grant) => {
            core.doors.regrant(&connect.client_id, grant);
            if let Some(peer) = core.doors.peer(&connect.client_id) {
                visit.accepted(&connect, peer);
            }
            Ok(())
        }
        Err(refusal) => {
            core.refused(Refused {
                surface: peer.grant.surface,
                packet: "AUTH",
                identity: Some(peer.grant.identity.clone()),
                topic: None,
                code: refusal.code.code(connect.protocol_version),
                reason: refusal.reason.clone(),
                client_id: connect.client_id,
            });
            Err(refusal)
        }
    }
}

/// What an open client has brought that it needs not: it may think that somebody has checked it.
fn unclaimed(connect: &Connect) -> Vec<String> {
    let brought = match &connect.username {
        Some(name) => {
            let name = shown_user(name, connect.password.is_some());
            format!("the user name {name:?}")
        }
        None if connect.password.is_some() => "the password".to_owned(),
        None if !connect.tls.certificates.is_empty() => "the client certificate".to_owned(),
        None => return Vec::new(),
    };
    vec![format!(
        "taken as an open client: {brought} has no vendor's shape and was not checked; \
         mqtt.open_clients = false refuses such clients"
    )]
}

fn open_grant(core: &Core, connect: &Connect) -> Result<Grant, ConnectRefusal> {
    let tenant = tenant::chosen(core, connect.username.as_deref());
    let tenant = tenant.map_err(|reason| refusal(ConnectCode::BadUserNameOrPassword, reason))?;
    let hints = if tenant.is_none() {
        unclaimed(connect)
    } else {
        Vec::new()
    };
    Ok(Grant {
        surface: None,
        tenant,
        hints,
        identity: shown_user(
            connect.username.as_deref().unwrap_or_default(),
            connect.password.is_some(),
        )
        .into_owned(),
        max_keep_alive: None,
        limits: Limits::default(),
    })
}
