//! The credentials of a CONNECT: `Signature|<ak>|<instance>`, `Token|<ak>|<instance>`,
//! `DeviceCredential|<ak>|<instance>` with their passwords, and custom authentication with a
//! user name of any form. Formulas as documented; checked with recorded values.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use mqttstack_base::secret::Secret;
use mqttstack_broker::dialect::Connect;
use mqttstack_kit::auth::AuthMode;
use sha1::Sha1;

use super::refusal::{Fault, Refusal};
use super::{ApsaraMqtt, diagnosis};
use crate::auth::same;
use crate::client_id::{ClientId, SEPARATOR};
use crate::store::custom::{IdentityKey, Proof, SignMode};
use crate::store::session::{Held, Holder, Mode};
use crate::store::token::Rights;

/// The three modes whose user name says that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Signature,
    Token,
    DeviceCredential,
}

/// How the user name of an open client begins that chooses a tenant.
const TENANT_USER: &str = "tenant:";

const KINDS: [(&str, Kind); 3] = [
    ("Signature", Kind::Signature),
    ("Token", Kind::Token),
    ("DeviceCredential", Kind::DeviceCredential),
];

/// Who a CONNECT says it is from.
#[derive(Debug)]
pub(super) enum Claimed<'a> {
    /// One of the three modes.
    Named {
        kind: Kind,
        key_id: &'a str,
        instance: &'a str,
    },
    /// Custom authentication, with the identity that is known for it.
    Custom {
        username: &'a str,
        key: IdentityKey,
        proof: Proof,
    },
    /// No credentials: it brings its tokens once it is connected.
    Later { instance: String },
}

impl Claimed<'_> {
    /// The instance it is for.
    pub(super) fn instance(&self) -> &str {
        match self {
            Self::Named { instance, .. } => instance,
            Self::Custom { key, .. } => &key.instance,
            Self::Later { instance } => instance,
        }
    }

    /// Who it is, in one word.
    pub(super) fn identity(&self) -> &str {
        match self {
            Self::Named { key_id, .. } => key_id,
            Self::Custom { username, .. } => username,
            Self::Later { .. } => "",
        }
    }
}

/// Base64(HMAC-SHA1(secret, text)); the key is the secret alone, without an ampersand.
pub(super) fn signature(secret: &[u8], text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).ok()?;
    mac.update(text.as_bytes());
    Some(BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

/// The instance of a TLS server name, `<instance>.mqtt.aliyuncs.com`, also of the private
/// network's name.
pub(super) fn instance_of_server_name(connect: &Connect) -> Option<&str> {
    let name = connect.tls.server_name.as_deref()?;
    let instance = name.strip_suffix(".mqtt.aliyuncs.com")?;
    Some(instance.strip_suffix("-internal-vpc").unwrap_or(instance))
}

/// The pairs of a token password: `R|t1|W|t2`, in any order.
pub(super) fn tokens(password: &str) -> Result<Vec<Held>, String> {
    let pieces: Vec<_> = password.split('|').collect();
    if pieces.len() % 2 != 0 {
        return Err("the password is not pairs of type and token joined by |".to_owned());
    }
    let mut held: Vec<Held> = Vec::with_capacity(pieces.len() / 2);
    for pair in pieces.chunks(2) {
        let kind = pair[0];
        let rights = Rights::from_type(kind)
            .ok_or_else(|| format!("token type {kind:?} is none of R, W and RW"))?;
        if held.iter().any(|other| other.rights == rights) {
            return Err(format!(
                "there are two tokens of type {kind}, a client has one of each type at most"
            ));
        }
        held.push(Held {
            rights,
            text: Secret::new(pair[1]),
            told: false,
        });
    }
    Ok(held)
}

/// Whether a user name has the parts of a mode's, or more: no other vendor's has two bars.
fn has_parts(username: &str) -> bool {
    username.matches('|').count() >= 2
}

fn mode_of(username: &str) -> Option<(&str, &str)> {
    let (mode, rest) = username.split_once('|')?;
    let known = KINDS
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(mode));
    known.then_some((mode, rest))
}

impl ApsaraMqtt {
    /// By a user name that begins with a mode or has the parts of one, by the server name of an
    /// instance, or by a client id of the product's form with any user name or password: what is
    /// neither a mode's nor a custom identity's is refused, where an open client would be let in.
    pub(super) fn claims_connect(&self, connect: &Connect) -> bool {
        let username = connect.username.as_deref().unwrap_or_default();
        mode_of(username).is_some()
            || self.brings_tokens_later(connect)
            || instance_of_server_name(connect).is_some()
            || self.means_product(connect, username)
    }

    fn means_product(&self, connect: &Connect, username: &str) -> bool {
        let custom = &self.store.custom;
        let client_id = &*connect.client_id;
        if self.settings.auth == AuthMode::Off {
            let known = || custom.identity(None, username, client_id).is_some();
            return client_id.contains(SEPARATOR) && known();
        }
        if username.starts_with(TENANT_USER) {
            return false;
        }
        let has_password = connect
            .password
            .as_ref()
            .is_some_and(|text| !text.is_empty());
        let proves = !username.is_empty() || has_password;
        has_parts(username) || (proves && client_id.contains(SEPARATOR))
    }

    /// Whether it may be one of the older clients, which connect without credentials (seen in
    /// public repositories).
    fn brings_tokens_later(&self, connect: &Connect) -> bool {
        self.settings.token_after_connect
            && connect.username.is_none()
            && connect.password.is_none()
            && connect.client_id.contains(SEPARATOR)
    }

    /// The instance of a client that names none: that of the server name, or the one that has
    /// its group.
    fn read_later(&self, connect: &Connect) -> Result<Claimed<'static>, Refusal> {
        let client = ClientId::parse(&connect.client_id);
        let client = client.map_err(|why| Fault::ClientId.because(why))?;
        let instance = match instance_of_server_name(connect) {
            Some(named) => named.to_owned(),
            None => self.store.instance_of_group(client.group).ok_or_else(|| {
                Fault::Group.because(format!(
                    "no instance has group {:?}, and neither a user name nor a TLS server name \
                     says which instance is meant",
                    client.group
                ))
            })?,
        };
        Ok(Claimed::Later { instance })
    }

    /// Reads the user name.
    pub(super) fn read_claim<'c>(&self, connect: &'c Connect) -> Result<Claimed<'c>, Refusal> {
        let username = connect.username.as_deref().unwrap_or_default();
        if self.brings_tokens_later(connect) {
            return self.read_later(connect);
        }
        let Some((mode, rest)) = mode_of(username) else {
            let instance = instance_of_server_name(connect);
            let custom = &self.store.custom;
            let found = custom.identity(instance, username, &connect.client_id);
            return found
                .map(|(key, proof)| Claimed::Custom {
                    username,
                    key,
                    proof,
                })
                .ok_or_else(|| {
                    let known = custom.usernames(instance);
                    Fault::UserName.because(format!(
                        "user name {username:?} is neither Mode|AccessKeyId|InstanceId, with one \
                         of the modes Signature, Token and DeviceCredential, nor an identity of \
                         custom authentication; known identities are {known:?}"
                    ))
                });
        };
        let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == mode) else {
            return Err(Fault::UserName.because(format!(
                "mode {mode:?} must be written Signature, Token or DeviceCredential"
            )));
        };
        match rest.split('|').collect::<Vec<_>>()[..] {
            [key_id, instance] if !key_id.is_empty() && !instance.is_empty() => {
                Ok(Claimed::Named {
                    kind: *kind,
                    key_id,
                    instance,
                })
            }
            _ => Err(Fault::UserName.because(format!(
                "user name {username:?} is not {mode}|AccessKeyId|InstanceId"
            ))),
        }
    }

    /// Checks the password.
    pub(super) fn prove(&self, connect: &Connect, claimed: &Claimed<'_>) -> Result<Mode, Refusal> {
        let password = connect.password.as_deref().unwrap_or_default();
        let lenient = self.settings.auth == AuthMode::Off;
        match claimed {
            Claimed::Named {
                kind: Kind::Token,
                key_id,
                instance,
            } => self.prove_tokens(key_id, instance, password, lenient),
            Claimed::Custom {
                username, proof, ..
            } => {
                let mode = Mode::Custom((*username).to_owned());
                if lenient {
                    return Ok(mode);
                }
                self.prove_custom(connect, proof, password).map(|()| mode)
            }
            Claimed::Later { .. } => Ok(Mode::Token(Holder::default())),
            Claimed::Named { .. } if lenient => Ok(Mode::Owner),
            Claimed::Named {
                kind: Kind::Signature,
                key_id,
                ..
            } => {
                let secret = self.secret_of(key_id)?;
                self.compare(connect, &secret, password)
                    .map(|()| Mode::Owner)
            }
            Claimed::Named {
                kind: Kind::DeviceCredential,
                key_id,
                instance,
            } => self
                .prove_device(connect, key_id, instance, password)
                .map(|()| Mode::Owner),
        }
    }

    fn secret_of(&self, key_id: &str) -> Result<Secret, Refusal> {
        let secret = self.authenticator.mqtt_secret(key_id);
        secret.map_err(|why| Fault::AccessKey.because(why))
    }

    fn compare(&self, connect: &Connect, secret: &Secret, password: &[u8]) -> Result<(), Refusal> {
        let expected = signature(secret.expose().as_bytes(), &connect.client_id);
        if expected.is_some_and(|expected| same(expected.as_bytes(), password)) {
            return Ok(());
        }
        let others = self.authenticator.mqtt_secrets();
        let mistake = diagnosis::mistake(connect, secret, password, &others);
        Err(Fault::Password.because(format!(
            "password is not the HMAC of the client id: {mistake}"
        )))
    }

    fn prove_device(
        &self,
        connect: &Connect,
        key_id: &str,
        instance: &str,
        password: &[u8],
    ) -> Result<(), Refusal> {
        let credentials = &self.store.credentials;
        let own = credentials.get(instance, &connect.client_id);
        match own {
            Some(own) if own.key_id == key_id => self.compare(connect, &own.key_secret, password),
            Some(_) => Err(Fault::Password.because(format!(
                "{key_id:?} is not the DeviceAccessKeyId of client {:?}; it may have been \
                 refreshed",
                connect.client_id
            ))),
            None => Err(
                Fault::Password.because(match credentials.owner_of(instance, key_id) {
                    Some(owner) => {
                        format!("DeviceAccessKeyId {key_id:?} is that of client {owner:?}")
                    }
                    None => format!(
                        "client {:?} has no device credential in instance {instance:?}; \
                     RegisterDeviceCredential makes one",
                        connect.client_id
                    ),
                }),
            ),
        }
    }

    fn prove_custom(
        &self,
        connect: &Connect,
        proof: &Proof,
        password: &[u8],
    ) -> Result<(), Refusal> {
        match proof.mode {
            SignMode::Signed => self.compare(connect, &proof.secret, password),
            SignMode::Origin if same(proof.secret.expose().as_bytes(), password) => Ok(()),
            SignMode::Origin => {
                let signed = signature(proof.secret.expose().as_bytes(), &connect.client_id);
                let is_signed = signed.is_some_and(|text| same(text.as_bytes(), password));
                Err(Fault::Password.because(if is_signed {
                    "the identity's SignMode is ORIGIN: the password is its secret itself, not \
                     an HMAC"
                } else {
                    "the password is not the identity's secret"
                }))
            }
        }
    }

    fn prove_tokens(
        &self,
        key_id: &str,
        instance: &str,
        password: &[u8],
        lenient: bool,
    ) -> Result<Mode, Refusal> {
        let text = std::str::from_utf8(password)
            .map_err(|_| Fault::Password.because("the password is not UTF-8"))?;
        let holder = |held| {
            Mode::Token(Holder {
                held,
                key_id: Some(key_id.to_owned()),
                ..Holder::default()
            })
        };
        let held = tokens(text).map_err(|why| Fault::Password.because(why))?;
        if lenient {
            return Ok(Mode::Owner);
        }
        self.secret_of(key_id)?;
        let now = self.clock.now();
        for held in &held {
            let kind = held.rights.as_str();
            let token = self
                .store
                .tokens
                .check(held.text.expose(), instance, held.rights, now)
                .map_err(|fault| {
                    Fault::Token.because(format!("the {kind} token is not good: {fault}"))
                })?;
            self.check_account(&token.owner, key_id)
                .map_err(|fault| Fault::Account.because(format!("the {kind} token: {fault}")))?;
        }
        Ok(holder(held))
    }
}

#[cfg(test)]
mod tests;
