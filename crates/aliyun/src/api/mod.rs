//! What can be asked: every emulated action, read from its parameters and performed. One file for
//! each noun; the table of all actions is in `actions.rs`. What the vendor says of an action's
//! meaning is at its struct; where it says nothing, the comment says (assumed).

mod connection;
mod custom_auth;
mod custom_identity;
mod custom_permission;
mod device_credential;
mod group;
mod instance;
mod message;
mod session;
mod token;
mod trace;

use mqttstack_pipeline::Walk;
use mqttstack_pipeline::journal::Draft;

use super::Aliyun;
use super::actions::Action;
use super::error::Error;
use super::parameters::Parameters;
use super::store::{Unknown, instance_problem};
use super::wire::Field;

/// What an action answers beside its `RequestId`.
pub(super) type Fields = Vec<Field<'static>>;

/// The actions, each in the module of its noun; those that ask the broker wait.
macro_rules! calls {
    (at_once { $($now:ident: $here:ident),* $(,)? } waiting { $($later:ident: $there:ident),* $(,)? }) => {
        /// An action with its parameters.
        #[derive(Debug)]
        pub(super) enum Call {
            $($now($here::$now),)*
            $($later($there::$later),)*
        }

        impl Call {
            /// Reads the parameters of an action; a required one that is missing is refused.
            pub(super) fn parse(
                action: &'static Action,
                parameters: &Parameters<'_>,
                draft: &mut Draft,
            ) -> Result<Self, Error> {
                match action.name {
                    $(stringify!($now) => Ok(Self::$now($here::$now::parse(parameters)?)),)*
                    $(stringify!($later) => Ok(Self::$later($there::$later::parse(parameters)?)),)*
                    name => {
                        draft.note(format!("mqttstack does not emulate {name} yet"));
                        Err(Error::ApiNotSupport)
                    }
                }
            }

            /// Does what was asked.
            pub(super) async fn perform(
                self,
                aliyun: &Aliyun,
                walk: &mut Walk<'_>,
            ) -> Result<Fields, Error> {
                match self {
                    $(Self::$now(call) => call.perform(aliyun, walk),)*
                    $(Self::$later(call) => call.perform(aliyun, walk).await,)*
                }
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($now),)* $(stringify!($later),)*];
    };
}

calls! {
    at_once {
        ApplyToken: token,
        QueryToken: token,
        RevokeToken: token,
        CreateGroupId: group,
        DeleteGroupId: group,
        ListGroupId: group,
        RegisterDeviceCredential: device_credential,
        GetDeviceCredential: device_credential,
        RefreshDeviceCredential: device_credential,
        UnRegisterDeviceCredential: device_credential,
        ListDeviceCredentialClientId: device_credential,
        ListInstances: instance,
        QueryMqttTraceMessagePublish: trace,
        QueryMqttTraceMessageSubscribe: trace,
        QueryMqttTraceMessageOfClient: trace,
        QueryMqttTraceDevice: trace,
        AddCustomAuthIdentity: custom_identity,
        UpdateCustomAuthIdentity: custom_identity,
        QueryCustomAuthIdentity: custom_identity,
        DeleteCustomAuthIdentity: custom_identity,
        AddCustomAuthPermission: custom_permission,
        UpdateCustomAuthPermission: custom_permission,
        QueryCustomAuthPermission: custom_permission,
        DeleteCustomAuthPermission: custom_permission,
        AddCustomAuthConnectBlack: custom_auth,
        DeleteCustomAuthConnectBlack: custom_auth,
        QueryCustomAuthConnectBlack: custom_auth,
    }
    waiting {
        SendMessage: message,
        QuerySessionByClientId: session,
        BatchQuerySessionByClientIds: session,
        CloseConnection: connection,
    }
}

/// The shape of an instance id.
fn check_instance_id(id: &str, draft: &mut Draft) -> Result<(), Error> {
    match instance_problem(id) {
        None => Ok(()),
        Some(problem) => {
            draft.note(problem);
            Err(Error::InvalidParameter("InstanceId"))
        }
    }
}

/// The instance must be there, or may come into being; `missing` is how the action says that it
/// is not.
fn use_instance(
    aliyun: &Aliyun,
    id: &str,
    missing: Error,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    check_instance_id(id, walk.draft)?;
    walk.draft
        .hints
        .extend(aliyun.store.creates(id, None, None));
    aliyun
        .store
        .use_instance(id, walk.receipt.now)
        .map_err(|_| {
            note_instance(id, walk.draft);
            missing
        })
}

/// Instance and parent topic must be there, or may come into being.
fn use_topic(
    aliyun: &Aliyun,
    instance: &str,
    parent: &str,
    walk: &mut Walk<'_>,
) -> Result<(), Error> {
    let created = aliyun.store.creates(instance, Some(parent), None);
    walk.draft.hints.extend(created);
    let used = aliyun.store.use_topic(instance, parent, walk.receipt.now);
    match used {
        Ok(()) => Ok(()),
        Err(Unknown::Instance) => {
            note_instance(instance, walk.draft);
            Err(Error::InstancePermissionCheckFailed)
        }
        Err(_) => {
            walk.draft.note(format!(
                "parent topic {parent:?} is not configured for instance {instance:?} and \
                 aliyun.auto_create is off"
            ));
            Err(Error::PermissionCheckFailed)
        }
    }
}

fn note_instance(id: &str, draft: &mut Draft) {
    draft.note(format!(
        "instance {id:?} is not configured and aliyun.auto_create is off"
    ));
}

/// A whole number within bounds.
fn number(
    name: &'static str,
    text: &str,
    bounds: std::ops::RangeInclusive<i64>,
    draft: &mut Draft,
) -> Result<i64, Error> {
    let number = text
        .parse()
        .ok()
        .filter(|number: &i64| bounds.contains(number));
    number.ok_or_else(|| {
        draft.note(format!(
            "{name} {text:?} is not a whole number from {} to {}",
            bounds.start(),
            bounds.end()
        ));
        Error::InvalidParameter(name)
    })
}

/// One of a few words.
fn word<T: Copy>(
    name: &'static str,
    text: &str,
    words: &[(&str, T)],
    draft: &mut Draft,
) -> Result<T, Error> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        draft.note(format!("{name} {text:?} is none of {}", words.join(", ")));
        Error::InvalidParameter(name)
    })
}

/// What the newer actions answer beside their result.
fn done() -> Fields {
    vec![
        Field::new("Code", 200),
        Field::new("Message", "operation success."),
        Field::new("Success", true),
    ]
}

/// A slice of a list from a `NextToken`, at most `size` items, and the token of the next one:
/// the place where it begins, empty at the end (its form is not documented).
fn slice<T>(
    all: Vec<T>,
    token: &str,
    size: usize,
    draft: &mut Draft,
) -> Result<(Vec<T>, String), Error> {
    let start = match token {
        "" => 0,
        token => number("NextToken", token, 0..=i64::from(u32::MAX), draft)?,
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let total = all.len();
    let part: Vec<T> = all.into_iter().skip(start).take(size).collect();
    let end = start.saturating_add(part.len());
    let next = if end < total && !part.is_empty() {
        end.to_string()
    } else {
        String::new()
    };
    Ok((part, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::ACTIONS;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_says_emulated_of_the_actions_that_are_here() {
        let here: BTreeSet<_> = NAMES.iter().copied().collect();
        let said = ACTIONS.iter().filter(|action| action.emulated);
        assert_eq!(here, said.map(|action| action.name).collect());
    }
}
