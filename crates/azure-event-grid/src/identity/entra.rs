//! The identity platform: the signing key, the tokens made with it, and the key sets of issuers
//! outside. The endpoints that hand tokens out are in `api/identity.rs`, the check of a token
//! that comes back in `auth.rs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mqttstack_base::exchange::Refusal;
use mqttstack_base::ids::Ids;
use parking_lot::Mutex;
use rsa::RsaPublicKey;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::jwt::{self, SigningKey};
use super::outbound;
use crate::model::roles::RoleAssignment;
use crate::settings::{Principal, Settings, SettingsError};

/// What the vendor's MQTT broker and namespace topics are called as a resource.
pub(crate) const RESOURCE: &str = "https://eventgrid.azure.net";

/// How long an outside issuer may take to answer with its keys.
const KEY_SET_PATIENCE: Duration = Duration::from_secs(5);

/// How many keys of one issuer are known.
const KEY_SET: usize = 100;
/// How often a key set is fetched within a span of real time: whoever sends tokens with key ids that
/// the set lacks must not make the emulator ask its issuer, and wait for it, each time.
const FETCHES: u32 = 10;
const SPAN: Duration = Duration::from_secs(10);

/// Key ids and keys of one issuer.
type KeySet = Vec<(String, RsaPublicKey)>;

/// One fetch of a key set; whoever needs it while it is under way waits for the same one.
#[derive(Debug)]
struct Fetch {
    set: OnceCell<Result<KeySet, String>>,
    /// When the span began that it is in, and how many fetches came before it in that.
    since: Instant,
    before: u32,
}

/// The keys of the emulator's own issuer, and those of others once they were fetched.
#[derive(Debug)]
pub(crate) struct Keys {
    own: OnceCell<Arc<SigningKey>>,
    outside: Mutex<HashMap<String, Arc<Fetch>>>,
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
            outside: Mutex::default(),
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

    /// The key `id` of the set at `url`. A set is fetched again when it lacks the key.
    pub(crate) async fn outside(
        &self,
        client: &reqwest::Client,
        url: &str,
        id: Option<&str>,
    ) -> Result<RsaPublicKey, String> {
        let fetch = self.fetch_of(url, id);
        let set = fetch.set.get_or_init(|| fetched(client, url)).await;
        let set = set.as_ref().map_err(Clone::clone)?;
        pick(set, id).ok_or_else(|| format!("the key set at {url} has no RSA key {id:?}"))
    }

    /// The fetch that has the key or may have it, else the next one.
    fn fetch_of(&self, url: &str, id: Option<&str>) -> Arc<Fetch> {
        let mut all = self.outside.lock();
        let (mut since, mut before) = (Instant::now(), 0);
        if let Some(last) = all.get(url) {
            let may_have_it = match last.set.get() {
                None => true,
                Some(Ok(set)) => pick(set, id).is_some(),
                Some(Err(_)) => false,
            };
            let is_over = last.since.elapsed() >= SPAN;
            if may_have_it || (!is_over && last.before + 1 >= FETCHES) {
                return last.clone();
            }
            if !is_over {
                (since, before) = (last.since, last.before + 1);
            }
        }
        let next = Arc::new(Fetch {
            set: OnceCell::new(),
            since,
            before,
        });
        all.insert(url.to_owned(), next.clone());
        next
    }
}

fn pick(set: &[(String, RsaPublicKey)], id: Option<&str>) -> Option<RsaPublicKey> {
    match id {
        Some(id) => set.iter().find(|(known, _)| known == id),
        None => set.first(),
    }
    .map(|(_, key)| key.clone())
}

async fn fetched(client: &reqwest::Client, url: &str) -> Result<KeySet, String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("the key set at {url} cannot be read: {error}");
    let response = client
        .get(url)
        .timeout(KEY_SET_PATIENCE)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| failed(&error))?;
    let body = outbound::body(response);
    let bytes = body.await.map_err(|error| failed(&error))?;
    let set: Value = serde_json::from_slice(&bytes)
        .map_err(|error| format!("the key set at {url} is not JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array);
    Ok(keys
        .into_iter()
        .flatten()
        .filter_map(|jwk| {
            let id = jwk.get("kid").and_then(Value::as_str).unwrap_or_default();
            Some((id.to_owned(), jwt::key_from_jwk(jwk)?))
        })
        .take(KEY_SET)
        .collect())
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
