//! Device credentials: one key pair for one client id of an instance.

use std::collections::BTreeMap;

use mqttstack_base::secret::Secret;
use parking_lot::RwLock;

use super::SEEDED_MS;
use crate::settings::Settings;

/// How many credentials are kept in all; the vendor's figure is not documented.
const MAX_CREDENTIALS: usize = 100_000;

/// One device credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub key_id: String,
    pub key_secret: Secret,
    /// In milliseconds since 1970.
    pub created_ms: i64,
    /// In milliseconds since 1970.
    pub updated_ms: i64,
}

/// Why a credential was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CredentialProblem {
    Exists,
    TooMany,
}

/// Instance and client id.
type Owner = (String, String);

/// All device credentials.
#[derive(Debug)]
pub(crate) struct Credentials {
    seeds: BTreeMap<Owner, Credential>,
    all: RwLock<BTreeMap<Owner, Credential>>,
}

impl Credentials {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut seeds = BTreeMap::new();
        for instance in &settings.instances {
            for seed in &instance.device_credentials {
                let owner = (instance.id.clone(), seed.client_id.clone());
                let credential = Credential {
                    key_id: seed.access_key_id.clone(),
                    key_secret: seed.access_key_secret.clone(),
                    created_ms: SEEDED_MS,
                    updated_ms: SEEDED_MS,
                };
                seeds.insert(owner, credential);
            }
        }
        Self {
            all: RwLock::new(seeds.clone()),
            seeds,
        }
    }

    pub(super) fn reset(&self) {
        self.all.write().clone_from(&self.seeds);
    }

    /// Registers a new one.
    pub(crate) fn register(
        &self,
        instance: &str,
        client_id: &str,
        credential: Credential,
    ) -> Result<(), CredentialProblem> {
        let mut all = self.all.write();
        let owner = (instance.to_owned(), client_id.to_owned());
        if all.contains_key(&owner) {
            return Err(CredentialProblem::Exists);
        }
        if all.len() >= MAX_CREDENTIALS {
            return Err(CredentialProblem::TooMany);
        }
        all.insert(owner, credential);
        Ok(())
    }

    /// Replaces the keys of one; `None` if there is none.
    pub(crate) fn refresh(
        &self,
        instance: &str,
        client_id: &str,
        new: Credential,
    ) -> Option<Credential> {
        let mut all = self.all.write();
        let old = all.get_mut(&(instance.to_owned(), client_id.to_owned()))?;
        *old = Credential {
            created_ms: old.created_ms,
            ..new
        };
        Some(old.clone())
    }

    /// The one of a client id.
    pub(crate) fn get(&self, instance: &str, client_id: &str) -> Option<Credential> {
        let all = self.all.read();
        all.get(&(instance.to_owned(), client_id.to_owned()))
            .cloned()
    }

    /// Removes one; false if there is none.
    pub(crate) fn remove(&self, instance: &str, client_id: &str) -> bool {
        let owner = (instance.to_owned(), client_id.to_owned());
        self.all.write().remove(&owner).is_some()
    }

    /// The client ids of a group that have one, in order.
    pub(crate) fn client_ids(&self, instance: &str, group: &str) -> Vec<String> {
        let prefix = format!("{group}@@@");
        let all = self.all.read();
        all.keys()
            .filter(|(owner, client_id)| owner == instance && client_id.starts_with(&prefix))
            .map(|(_, client_id)| client_id.clone())
            .collect()
    }

    /// Whose credential a key id is, within an instance.
    pub(crate) fn owner_of(&self, instance: &str, key_id: &str) -> Option<String> {
        let all = self.all.read();
        all.iter()
            .find(|((owner, _), credential)| owner == instance && credential.key_id == key_id)
            .map(|((_, client_id), _)| client_id.clone())
    }
}
