//! Tokens: the managed identity endpoints (IMDS, App Service, Cloud Shell, Azure ML) and Entra's
//! discovery documents, token endpoint and key set. The requests are those that the vendor's
//! credential classes send (recorded).

use mqttstack_base::exchange::{Answer, Request, Scheme};
use mqttstack_pipeline::Walk;
use serde_json::{Value, json};

use super::parameters::Parameters;
use super::rooms::Rooms;
use crate::error::Error;
use crate::identity::auth;
use crate::identity::entra::{self, Grant};
use crate::settings::Principal;

/// An understood and allowed request for something of the identity platform.
#[derive(Debug)]
pub(crate) enum Identity {
    /// A token of a managed identity.
    Managed {
        /// Its object id.
        object_id: String,
        /// The resource.
        resource: String,
    },
    /// A token of an application.
    Application {
        /// Its object id.
        object_id: String,
        /// The tenant, a UUID.
        tenant: String,
        /// The resource.
        resource: String,
    },
    /// The discovery document.
    Configuration {
        /// The tenant as the path names it.
        tenant: String,
        /// 1 or 2.
        version: u8,
    },
    /// The key set.
    Keys {
        /// The tenant, a UUID.
        tenant: String,
    },
    /// Instance discovery.
    Instance {
        /// The tenant of the authority that was asked about.
        tenant: String,
    },
}

fn form(request: &Request) -> Result<Parameters, Error> {
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| Error::InvalidBody("it is not UTF-8".to_owned()))?;
    Parameters::parse(text)
}

/// The address under which the caller reached the emulator.
pub(crate) fn base(request: &Request) -> String {
    let scheme = match request.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let host = request
        .head
        .host()
        .map_or_else(|| request.local.to_string(), str::to_owned);
    format!("{scheme}://{host}")
}

impl Rooms {
    /// Reads a request for a managed identity's token, in any of the four forms.
    pub(crate) fn admit_managed(&self, walk: &mut Walk<'_>) -> Result<Identity, Error> {
        let request = walk.request;
        let headers = &request.head.headers;
        let metadata = headers
            .text("metadata")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let marked = ["x-identity-header", "secret"]
            .iter()
            .any(|name| headers.text(name).is_some());
        if !metadata && !marked {
            return Err(Error::MetadataHeader);
        }
        let parameters = if &*request.head.method == "POST" {
            form(request)?
        } else {
            Parameters::parse(request.head.raw_query())?
        };
        let resource = parameters
            .get("resource")?
            .filter(|resource| !resource.is_empty())
            .ok_or(Error::MissingResource)?;
        let principal = self.managed(&parameters)?;
        walk.draft.caller = Some(principal.client_id.clone());
        Ok(Identity::Managed {
            object_id: principal.object_id.clone(),
            resource: resource.to_owned(),
        })
    }

    /// The managed identity that the parameters choose; without any the system-assigned one.
    fn managed(&self, parameters: &Parameters) -> Result<&Principal, Error> {
        let settings = &self.settings;
        let selectors = [
            "client_id",
            "clientid",
            "object_id",
            "principal_id",
            "mi_res_id",
            "msi_res_id",
        ];
        let mut chosen: Option<&Principal> = None;
        for name in selectors {
            let Some(value) = parameters.get(name)? else {
                continue;
            };
            let found = match name {
                "client_id" | "clientid" => settings.application(value),
                "object_id" | "principal_id" => settings.principal(value),
                _ => settings.managed_identity(value),
            };
            let found =
                found.filter(|found| chosen.is_none_or(|other| std::ptr::eq(other, *found)));
            chosen =
                Some(found.ok_or_else(|| Error::UnknownIdentity(format!("{name} {value:?}")))?);
        }
        chosen.or(settings.principals.first()).ok_or_else(|| {
            Error::UnknownIdentity("a system-assigned identity; none is configured".to_owned())
        })
    }

    /// Reads a request of the client credentials grant (RFC 6749 section 4.4, RFC 7521).
    pub(crate) fn admit_token(&self, tenant: &str, walk: &mut Walk<'_>) -> Result<Identity, Error> {
        let parameters = form(walk.request)?;
        let text = |name: &'static str| -> Result<Option<&str>, Error> {
            Ok(parameters.get(name)?.filter(|value| !value.is_empty()))
        };
        let required = |name: &'static str| text(name)?.ok_or(Error::MissingForm(name));
        let grant = required("grant_type")?;
        if grant != "client_credentials" {
            return Err(Error::UnsupportedGrant(grant.to_owned()));
        }
        let tenant = self.tenant(tenant)?;
        let client_id = required("client_id")?;
        let principal =
            self.settings
                .application(client_id)
                .ok_or_else(|| Error::UnknownApplication {
                    client_id: client_id.to_owned(),
                    tenant: tenant.clone(),
                })?;
        walk.draft.caller = Some(principal.client_id.clone());
        prove(
            principal,
            text("client_secret")?,
            text("client_assertion")?,
            walk,
        )?;
        let resource = match (text("scope")?, text("resource")?) {
            (Some(scope), _) => scope
                .split(' ')
                .find_map(|scope| scope.strip_suffix("/.default"))
                .filter(|resource| !resource.is_empty())
                .ok_or_else(|| Error::Scope(scope.to_owned()))?,
            (None, Some(resource)) => resource,
            (None, None) => return Err(Error::MissingForm("scope")),
        };
        Ok(Identity::Application {
            object_id: principal.object_id.clone(),
            tenant,
            resource: resource.to_owned(),
        })
    }

    /// Reads a request for a discovery document or the key set.
    pub(crate) fn admit_configuration(
        &self,
        tenant: String,
        version: u8,
    ) -> Result<Identity, Error> {
        self.tenant(&tenant)?;
        Ok(Identity::Configuration { tenant, version })
    }

    /// Reads a request for the key set.
    pub(crate) fn admit_keys(&self, tenant: &str) -> Result<Identity, Error> {
        Ok(Identity::Keys {
            tenant: self.tenant(tenant)?,
        })
    }

    /// Reads an instance discovery request.
    pub(crate) fn admit_instance(request: &Request) -> Result<Identity, Error> {
        let parameters = Parameters::parse(request.head.raw_query())?;
        let endpoint = parameters
            .get("authorization_endpoint")?
            .ok_or(Error::MissingForm("authorization_endpoint"))?;
        let tenant = endpoint
            .split_once("://")
            .and_then(|(_, rest)| rest.split('/').nth(1))
            .filter(|tenant| !tenant.is_empty())
            .unwrap_or("common");
        Ok(Identity::Instance {
            tenant: tenant.to_owned(),
        })
    }

    /// The tenant id behind a path segment: itself if it is a UUID, the configured one for
    /// names (`adfs`, `common`, a domain).
    fn tenant(&self, named: &str) -> Result<String, Error> {
        let own = &self.settings.tenant;
        let is_uuid = uuid::Uuid::try_parse(named).is_ok();
        let is_alias = ["adfs", "dstsv2", "common", "organizations"]
            .iter()
            .any(|alias| named.eq_ignore_ascii_case(alias));
        if self.settings.auto_create || is_alias || named.eq_ignore_ascii_case(own) {
            return Ok(if is_uuid {
                named.to_ascii_lowercase()
            } else {
                own.clone()
            });
        }
        Err(Error::UnknownTenant(named.to_owned()))
    }

    /// Answers.
    pub(crate) async fn perform_identity(
        &self,
        call: Identity,
        walk: &mut Walk<'_>,
    ) -> Result<Answer, Error> {
        let body = match call {
            Identity::Managed {
                object_id,
                resource,
            } => {
                let tenant = self.settings.tenant.clone();
                let token = self.mint(&object_id, &tenant, &resource, walk).await?;
                let (now, life) = (walk.receipt.now.as_second(), self.settings.token_seconds);
                let client_id = self
                    .settings
                    .principal(&object_id)
                    .map(|p| p.client_id.clone());
                json!({
                    "access_token": token,
                    "client_id": client_id,
                    "expires_in": life.to_string(),
                    "expires_on": (now + i64::from(life)).to_string(),
                    "ext_expires_in": life.to_string(),
                    "not_before": now.to_string(),
                    "resource": resource,
                    "token_type": "Bearer",
                })
            }
            Identity::Application {
                object_id,
                tenant,
                resource,
            } => {
                let token = self.mint(&object_id, &tenant, &resource, walk).await?;
                json!({
                    "token_type": "Bearer",
                    "expires_in": self.settings.token_seconds,
                    "ext_expires_in": self.settings.token_seconds,
                    "access_token": token,
                })
            }
            Identity::Configuration { tenant, version } => {
                let id = self.tenant(&tenant)?;
                configuration(&base(walk.request), &tenant, &id, version)
            }
            Identity::Keys { tenant } => {
                let key = self.authenticator.keys.own(&walk.app.ids).await?;
                let issuer = entra::issuer(&tenant, self.settings.token_version);
                json!({"keys": [key.to_jwk(&issuer)]})
            }
            Identity::Instance { tenant } => instance(&base(walk.request), &tenant),
        };
        let mut answer = Answer::new(200)
            .header("Cache-Control", "no-store")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("x-ms-request-id", walk.receipt.id.to_ascii_lowercase());
        if let Some(id) = walk.request.head.headers.text("client-request-id") {
            answer = answer.header("client-request-id", id);
        }
        Ok(answer.body(body.to_string()))
    }

    async fn mint(
        &self,
        object_id: &str,
        tenant: &str,
        resource: &str,
        walk: &Walk<'_>,
    ) -> Result<String, Error> {
        let key = self.authenticator.keys.own(&walk.app.ids).await?;
        let principal = self
            .settings
            .principal(object_id)
            .ok_or_else(|| Error::UnknownIdentity(format!("object id {object_id:?}")))?;
        let grant = Grant {
            principal,
            tenant,
            audience: resource,
        };
        Ok(key.sign(&entra::claims(
            &grant,
            &self.settings,
            walk.receipt.now,
            &walk.app.ids,
        )))
    }
}

/// Whether the application has shown that it is itself.
fn prove(
    principal: &Principal,
    secret: Option<&str>,
    assertion: Option<&str>,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    if let Some(assertion) = assertion {
        return if let Some(pem) = &principal.assertion_key {
            auth::check_assertion(assertion, pem, walk.receipt.now)
        } else {
            walk.draft
                .note("the client assertion was not checked: the principal has no assertion_key");
            Ok(())
        };
    }
    let Some(given) = secret else {
        return Err(Error::NoClientProof);
    };
    match &principal.secret {
        Some(known) if known.expose() == given => Ok(()),
        _ => Err(Error::ClientSecret(principal.client_id.clone())),
    }
}

fn configuration(base: &str, tenant: &str, id: &str, version: u8) -> Value {
    let at = |path: &str| format!("{base}/{tenant}/{path}");
    let infix = if version == 1 { "" } else { "v2.0/" };
    json!({
        "token_endpoint": at(&format!("oauth2/{infix}token")),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": at(&format!("discovery/{infix}keys")),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["token"],
        "scopes_supported": ["openid"],
        "issuer": entra::issuer(id, version),
        "authorization_endpoint": at(&format!("oauth2/{infix}authorize")),
        "device_authorization_endpoint": at(&format!("oauth2/{infix}devicecode")),
        "claims_supported": ["aud", "iss", "iat", "nbf", "exp", "appid", "azp", "oid", "roles", "sub", "tid", "ver"],
        "tenant_region_scope": "NA",
        "cloud_instance_name": "microsoftonline.com",
    })
}

fn instance(base: &str, tenant: &str) -> Value {
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": host,
            "preferred_cache": host,
            "aliases": [host],
        }],
    })
}
