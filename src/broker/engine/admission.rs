//! Who may connect: puts a CONNECT, and a later re-authentication, to the dialect that claims
//! it, and tells the journal of every refusal. What a connected client may do is in
//! `verdicts.rs`.

use std::sync::Arc;

use bytes::Bytes;
use rmqtt::types::{AuthResult, ConnectInfo, Id};

use super::super::dialect::{Connect, ConnectCode, ConnectRefusal, Grant, Limits, Peer, Refused};
use super::super::gate::Key;
use super::{Core, convert, tenant, verdicts};
use crate::secret::shown;

/// What the gate calls a connection; `None` for one that has no address.
fn gate_key(id: &Id) -> Option<Key> {
    id.remote_addr.map(|peer| (id.lid(), peer))
}

/// What a CONNECT says, in our words.
fn question(core: &Core, info: &ConnectInfo) -> Connect {
    let id = info.id();
    let transport = core.listeners.transport(id.lid());
    let known = gate_key(id).and_then(|key| core.visitors.find(key));
    let (visitor, authentication) = known.unwrap_or_default();
    let (method, data) =
        authentication.map_or((None, None), |asked| (Some(asked.method), asked.data));
    Connect {
        client_id: id.client_id.to_string(),
        username: info.username().map(ToString::to_string),
        password: info.password().cloned(),
        protocol_version: info.proto_ver(),
        clean_start: info.clean_start(),
        keep_alive: info.keep_alive(),
        will: convert::will(info),
        transport,
        peer: info.ipaddress(),
        tls: visitor,
        authentication_method: method,
        authentication_data: data,
    }
}

pub(super) async fn connect(core: &Core, info: &ConnectInfo) -> AuthResult {
    let connect = question(core, info);
    let dialect = core.doors.claimant(&connect);
    let key = gate_key(info.id());
    let verdict = match &dialect {
        Some(dialect) => dialect.connect(&connect).await,
        None if connect.authentication_method.is_some() => {
            key.inspect(|&key| core.visitors.refuse_method(key));
            Err(ConnectRefusal {
                code: ConnectCode::NotAuthorized,
                reason: "no vendor knows the authentication method".into(),
            })
        }
        None if core.settings.open_clients => open_grant(core, &connect),
        None => Err(ConnectRefusal {
            code: ConnectCode::NotAuthorized,
            reason: "no vendor's credentials, and open_clients is false".into(),
        }),
    };
    match verdict {
        Ok(grant) => {
            key.inspect(|&key| core.visitors.accepted(key, &connect));
            let peer = Peer {
                client_id: connect.client_id,
                grant: Arc::new(grant),
                protocol_version: connect.protocol_version,
            };
            let id = info.id();
            let entry = (verdicts::connection_key(id), Arc::new(peer));
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
                    .map(|name| shown(name).into_owned()),
                topic: None,
                code: refusal.code.code(connect.protocol_version),
                reason: refusal.reason,
                client_id: connect.client_id,
            });
            match refusal.code {
                ConnectCode::BadUserNameOrPassword => AuthResult::BadUsernameOrPassword,
                _ => AuthResult::NotAuthorized,
            }
        }
    }
}

/// Puts a client's new authentication data to its dialect.
pub(super) async fn reauthenticate(
    core: &Core,
    key: Key,
    data: Option<Bytes>,
) -> Result<(), ConnectRefusal> {
    let refusal = |reason: &str| ConnectRefusal {
        code: ConnectCode::NotAuthorized,
        reason: reason.into(),
    };
    let mut connect = core
        .visitors
        .connect(key)
        .ok_or_else(|| refusal("the CONNECT has not been answered yet"))?;
    connect.authentication_data = data;
    let peer = core.doors.peer(&connect.client_id);
    let asked = peer.and_then(|peer| Some((core.doors.dialect(&peer)?, peer)));
    let (dialect, peer) = asked.ok_or_else(|| refusal("the session has ended"))?;
    let verdict = dialect.reauthenticate(&peer, &connect).await;
    match verdict {
        Ok(grant) => {
            core.doors.regrant(&connect.client_id, grant);
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

fn open_grant(core: &Core, connect: &Connect) -> Result<Grant, ConnectRefusal> {
    let tenant = tenant::chosen(core, connect.username.as_deref());
    let tenant = tenant.map_err(|reason| ConnectRefusal {
        code: ConnectCode::BadUserNameOrPassword,
        reason,
    })?;
    Ok(Grant {
        surface: None,
        tenant,
        identity: shown(connect.username.as_deref().unwrap_or_default()).into_owned(),
        max_keep_alive: None,
        limits: Limits::default(),
    })
}
