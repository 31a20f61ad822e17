//! The identity platform: the signing key, the tokens made with it, and the key sets of issuers
//! outside. The endpoints that hand tokens out are in `api/identity.rs`, the check of a token
//! that comes back in `auth.rs`.

use std::sync::Arc;

use jiff::Timestamp;
use mqttstack_base::exchange::Refusal;
use mqttstack_base::ids::Ids;
use mqttstack_kit::key::Key;
use mqttstack_kit::key_set::KeySets;
use mqttstack_kit::outbound::Outbound;
use mqttstack_kit::token::AlgorithmFamily;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::jwt::SigningKey;
use crate::model::roles::RoleAssignment;
use crate::settings::{Principal, Settings, SettingsError};

/// What the vendor's MQTT broker and namespace topics are called as a resource.
pub(crate) const RESOURCE: &str = "https://eventgrid.azure.net";

/// How old the key set of an outside issuer may be, in seconds: a day (assumed).
const REFRESH_S: u32 = 24 * 3600;

/// The keys of the emulator's own issuer, and those of others once they were fetched.
#[derive(Debug)]
pub(crate) struct Keys {
    own: OnceCell<Arc<SigningKey>>,
    outside: KeySets,
}

impl Keys {
    /// With the configured key, or one that is made when it is first needed.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let own = match &settings.signing_key {
            None => OnceCell::new(),
            Some(pem) => {
                let key = SigningKey::from_pem(pem.expose())
                    .map_err(|why| SettingsError::new("azure.signing_key", why))?;
                OnceCell::new_with(Some(Arc::new(key)))
            }
        };
        Ok(Self {
            own,
            outside: KeySets::default(),
        })
    }

    /// The own signing key; the first caller makes it, off the async threads.
    pub(crate) async fn own(&self, ids: &Ids) -> Result<Arc<SigningKey>, Refusal> {
        let make = || async {
            let seed = ids.bytes();
            tokio::task::spawn_blocking(move || SigningKey::generate(seed))
                .await
                .map_err(|error| Refusal::Internal(error.to_string()))?
                .map(Arc::new)
                .map_err(|error| Refusal::Internal(format!("no signing key: {error}")))
        };
        self.own.get_or_try_init(make).await.cloned()
    }

    /// The own key if it exists by now.
    pub(crate) fn own_if_made(&self) -> Option<&Arc<SigningKey>> {
        self.own.get()
    }

    /// The key `id` of the set at `url`.
    pub(crate) async fn outside(
        &self,
        outbound: &Outbound,
        url: &str,
        id: Option<&str>,
        now: Timestamp,
    ) -> Result<Key, String> {
        let set = self.outside.at(outbound, url, REFRESH_S, id, now).await?;
        let mut keys = set.keys(id);
        keys.find(|key| key.family() == AlgorithmFamily::Rsa)
            .cloned()
            .ok_or_else(|| format!("the key set at {url} has no RSA key {id:?}"))
    }

    /// Forgets the keys of outside issuers.
    pub(crate) fn forget_outside(&self) {
        self.outside.clear();
    }
}

/// `iss` of tokens of this version.
pub(crate) fn issuer(tenant: &str, version: u8) -> String {
    if version == 1 {
        format!("https://sts.windows.net/{tenant}/")
    } else {
        format!("https://login.microsoftonline.com/{tenant}/v2.0")
    }
}

/// The tenant that an own issuer names.
pub(crate) fn tenant_of(issuer: &str) -> Option<&str> {
    issuer
        .strip_prefix("https://sts.windows.net/")
        .and_then(|rest| rest.strip_suffix('/'))
        .or_else(|| {
            issuer
                .strip_prefix("https://login.microsoftonline.com/")
                .and_then(|rest| rest.strip_suffix("/v2.0"))
        })
}

/// What a token is for.
#[derive(Debug, Clone)]
pub(crate) struct Grant<'a> {
    /// Who gets it.
    pub principal: &'a Principal,
    /// The tenant, a UUID.
    pub tenant: &'a str,
    /// The resource that was asked for.
    pub audience: &'a str,
}

/// The claims of an application's token, in the order of the vendor's.
pub(crate) fn claims(grant: &Grant<'_>, settings: &Settings, now: Timestamp, ids: &Ids) -> Value {
    let seconds = now.as_second();
    let principal = grant.principal;
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("aud", json!(grant.audience));
    put("iss", json!(issuer(grant.tenant, settings.token_version)));
    put("iat", json!(seconds));
    put("nbf", json!(seconds));
    put("exp", json!(seconds + i64::from(settings.token_seconds)));
    if settings.token_version == 1 {
        put("appid", json!(principal.client_id));
        put("appidacr", json!("1"));
        put("idp", json!(issuer(grant.tenant, 1)));
    } else {
        put("azp", json!(principal.client_id));
        put("azpacr", json!("1"));
    }
    put("idtyp", json!("app"));
    put("oid", json!(principal.object_id));
    let roles: Vec<_> = principal.roles.iter().map(RoleAssignment::role).collect();
    if !roles.is_empty() {
        put("roles", json!(roles));
    }
    put("sub", json!(principal.object_id));
    put("tid", json!(grant.tenant));
    put("uti", json!(ids.uuid().simple().to_string()));
    put(
        "ver",
        json!(if settings.token_version == 1 {
            "1.0"
        } else {
            "2.0"
        }),
    );
    Value::Object(claims)
}
