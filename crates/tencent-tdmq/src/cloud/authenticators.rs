//! Token authenticators: `CreateJWTAuthenticator`, `CreateJWKSAuthenticator`, their `Modify`
//! actions, `DescribeAuthenticator`, `DeleteAuthenticator`. An instance has at most one of each
//! type (deletion names a type alone). The HTTP type does not exist here.

use jiff::Timestamp;
use mqttstack_base::secret::Secret;
use serde_json::{Value, json};

use super::parameters::{Parameters, at_most, value};
use super::{Fields, fields, nothing};
use crate::error::{Error, Resource};
use crate::jwt::{Algorithm, Authenticator, Field};
use crate::store::Instance;

/// What kind of authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A shared secret or a public key.
    Jwt,
    /// A key set.
    Jwks,
}

impl Type {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::Jwks => "JWKS",
        }
    }

    fn of(authenticator: &Authenticator) -> Self {
        match authenticator.algorithm {
            Algorithm::Jwks => Self::Jwks,
            Algorithm::HmacBased | Algorithm::PublicKey => Self::Jwt,
        }
    }

    fn read(text: &str) -> Result<Self, Error> {
        [Self::Jwt, Self::Jwks]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| match text {
                "HTTP" => Error::Unsupported("This emulator has no HTTP authenticators."),
                _ => value("Type", format!("{text:?} is none of JWT, JWKS and HTTP")),
            })
    }
}

fn one_of<T: Copy>(
    parameters: &Parameters,
    name: &'static str,
    known: &[(&str, T)],
) -> Result<Option<T>, Error> {
    let Some(text) = parameters.text(name)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let found = known.iter().find(|(spelling, _)| *spelling == text);
    found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(|(spelling, _)| *spelling).collect();
        value(name, format!("{text:?} is none of {}", known.join(", ")))
    })
}

/// Changes what the call gives and leaves the rest.
fn change(to: &mut Authenticator, parameters: &Parameters) -> Result<(), Error> {
    let text = |name| -> Result<Option<String>, Error> {
        let text = parameters.text(name)?.filter(|text| !text.is_empty());
        Ok(text.map(str::to_owned))
    };
    let algorithms = [Algorithm::HmacBased, Algorithm::PublicKey].map(|it| (it.as_str(), it));
    if let Some(algorithm) = one_of(parameters, "Algorithm", &algorithms)? {
        to.algorithm = algorithm;
    }
    let fields = [Field::Username, Field::Password].map(|it| (it.as_str(), it));
    if let Some(from) = one_of(parameters, "From", &fields)? {
        to.from = from;
    }
    if let Some(open) = one_of(parameters, "Status", &[("open", true), ("close", false)])? {
        to.open = open;
    }
    if let Some(secret) = text("Secret")? {
        to.secret = Some(Secret::new(secret));
    }
    to.public_key = text("PublicKey")?.or(to.public_key.take());
    let (endpoint, set) = (text("Endpoint")?, text("Text")?);
    // Whichever of the two is given takes the other's place.
    if to.algorithm == Algorithm::Jwks && (endpoint.is_some() || set.is_some()) {
        (to.endpoint, to.text) = (endpoint, set);
    }
    if parameters.integer("RefreshInterval")?.is_some() {
        let seconds = parameters.bounded("RefreshInterval", 60, 60..=1000)?;
        to.refresh_interval = u32::try_from(seconds).unwrap_or(60);
    }
    if let Some(remark) = parameters.text("Remark")? {
        at_most("Remark", remark, 128)?;
        remark.clone_into(&mut to.remark);
    }
    to.check().map_err(|(name, problem)| value(name, problem))
}

fn not_found(kind: Type) -> Error {
    Error::NotFound {
        resource: Resource::Authenticator,
        name: kind.as_str().to_owned(),
    }
}

pub(super) fn create(
    instance: &Instance,
    kind: Type,
    parameters: &Parameters,
    now: Timestamp,
) -> Result<Fields, Error> {
    let mut made = Authenticator {
        created_ms: now.as_millisecond(),
        ..Authenticator::default()
    };
    match kind {
        Type::Jwt => _ = parameters.needed_text("Algorithm")?,
        Type::Jwks => made.algorithm = Algorithm::Jwks,
    }
    change(&mut made, parameters)?;
    let all = &mut instance.resources.write().authenticators;
    if all.iter().any(|one| Type::of(one) == kind) {
        return Err(Error::Exists {
            resource: Resource::Authenticator,
            name: kind.as_str().to_owned(),
        });
    }
    all.push(made);
    Ok(nothing())
}

pub(super) fn modify(
    instance: &Instance,
    kind: Type,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let all = &mut instance.resources.write().authenticators;
    let found = all
        .iter_mut()
        .find(|one| Type::of(one) == kind)
        .ok_or_else(|| not_found(kind))?;
    let mut changed = found.clone();
    change(&mut changed, parameters)?;
    *found = changed;
    Ok(nothing())
}

pub(super) fn delete_authenticator(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let kind = Type::read(parameters.needed_text("Type")?)?;
    let all = &mut instance.resources.write().authenticators;
    let at = all
        .iter()
        .position(|one| Type::of(one) == kind)
        .ok_or_else(|| not_found(kind))?;
    all.remove(at);
    Ok(nothing())
}

pub(super) fn describe_authenticator(
    instance: &Instance,
    parameters: &Parameters,
) -> Result<Fields, Error> {
    let kind = parameters.text("Type")?.filter(|text| !text.is_empty());
    let kind = kind.map(Type::read).transpose()?;
    let resources = instance.resources.read();
    let list: Vec<Value> = resources
        .authenticators
        .iter()
        .filter(|one| kind.is_none_or(|kind| Type::of(one) == kind))
        .map(describe)
        .collect();
    Ok(fields(json!({"Authenticators": list})))
}

fn describe(authenticator: &Authenticator) -> Value {
    json!({
        "Type": Type::of(authenticator).as_str(),
        "Config": config(authenticator).to_string(),
        "Status": if authenticator.open { "open" } else { "close" },
        "CreateTime": authenticator.created_ms,
        "Remark": authenticator.remark,
    })
}

/// `Config` is JSON in a text, with the fields of the data type's description.
fn config(authenticator: &Authenticator) -> Value {
    let from = authenticator.from.as_str();
    match authenticator.algorithm {
        Algorithm::HmacBased => {
            let secret = authenticator.secret.as_ref().map(Secret::expose);
            json!({"from": from, "secret": secret, "algorithm": "hmac-based"})
        }
        Algorithm::PublicKey => {
            json!({"from": from, "public-key": authenticator.public_key, "algorithm": "public-key"})
        }
        Algorithm::Jwks => match &authenticator.endpoint {
            Some(endpoint) => json!({
                "endpoint": endpoint,
                "refreshInterval": authenticator.refresh_interval,
                "from": from,
            }),
            None => json!({"text": authenticator.text, "from": from}),
        },
    }
}
