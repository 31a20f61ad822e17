//! Who may publish and subscribe where: roles of Entra identities, and for registered clients
//! the permission bindings between their groups and topic spaces. The refusals are the vendor's
//! log descriptions, so that they can be searched for.

use super::attribute::Identity;
use super::resource::Resource;
use super::resources::{ClientProperties, Namespace, Permission, TopicSpaceProperties};
use super::roles::{DATA_CONTRIBUTOR, PUBLISHER, RoleAssignment, SUBSCRIBER};
use super::template::covers;

/// The client group that is built in.
pub(crate) const EVERYBODY: &str = "$all";

/// Whether an Entra identity may use a topic name or filter. Without roles (not checked) only
/// the topic itself is looked at.
pub(crate) fn identity_may(
    namespace: &Namespace,
    object_id: &str,
    roles: Option<&[RoleAssignment]>,
    permission: Permission,
    topic: &str,
) -> Result<(), String> {
    let identity = Identity {
        authentication_name: object_id,
        attributes: None,
    };
    let anywhere = namespace.topic_spaces.is_empty();
    let matches = |space: &&Resource<TopicSpaceProperties>| space_covers(space, identity, topic);
    let spaces: Vec<_> = namespace.topic_spaces.iter().filter(matches).collect();
    if spaces.is_empty() && !anywhere {
        return Err(no_space(permission, topic));
    }
    let Some(roles) = roles else {
        return Ok(());
    };
    let wanted = match permission {
        Permission::Publisher => PUBLISHER,
        Permission::Subscriber => SUBSCRIBER,
    };
    let permitted = roles.iter().any(|given| match given {
        RoleAssignment::Everywhere(role) => role == wanted,
        RoleAssignment::OnTopicSpace { role, topic_space } => {
            role == wanted && spaces.iter().any(|space| space.is_called(topic_space))
        }
    });
    if permitted {
        Ok(())
    } else {
        Err(format!(
            "The principal {object_id:?} has no role assignment {wanted:?} for {topic:?}"
        ))
    }
}

/// Whether an Entra identity may use namespace topics.
pub(crate) fn identity_may_use_topics(
    object_id: &str,
    roles: Option<&[RoleAssignment]>,
    wanted: &str,
) -> Result<(), String> {
    let Some(roles) = roles else {
        return Ok(());
    };
    let permitted = roles.iter().any(|given| match given {
        RoleAssignment::Everywhere(role) => role == wanted || role == DATA_CONTRIBUTOR,
        RoleAssignment::OnTopicSpace { .. } => false,
    });
    if permitted {
        Ok(())
    } else {
        Err(format!(
            "The principal {object_id:?} has no role assignment {wanted:?}"
        ))
    }
}

/// Whether a registered client may use a topic name or filter: a permission binding of one of
/// its groups must cover it. Without any topic space everything is allowed.
pub(crate) fn client_may(
    namespace: &Namespace,
    identity: Identity<'_>,
    permission: Permission,
    topic: &str,
) -> Result<(), String> {
    if namespace.topic_spaces.is_empty() {
        return Ok(());
    }
    let permitted = namespace.permission_bindings.iter().any(|binding| {
        let binding = &binding.properties;
        binding.permission == permission
            && is_member(namespace, &binding.client_group_name, identity)
            && namespace.topic_spaces.iter().any(|space| {
                space.is_called(&binding.topic_space_name) && space_covers(space, identity, topic)
            })
    });
    if permitted {
        Ok(())
    } else {
        Err(no_space(permission, topic))
    }
}

fn no_space(permission: Permission, topic: &str) -> String {
    match permission {
        Permission::Publisher => format!("Topic name '{topic}' does not match any topicspaces"),
        Permission::Subscriber => format!("Topic filter '{topic}' does not match any topicspaces"),
    }
}

fn is_member(namespace: &Namespace, group: &str, identity: Identity<'_>) -> bool {
    group.eq_ignore_ascii_case(EVERYBODY)
        || namespace.client_groups.iter().any(|known| {
            known.is_called(group)
                && known
                    .properties
                    .query
                    .meaning()
                    .is_some_and(|query| query.holds(identity))
        })
}

fn space_covers(
    space: &Resource<TopicSpaceProperties>,
    identity: Identity<'_>,
    topic: &str,
) -> bool {
    let mut templates = space.properties.topic_templates.iter();
    templates.any(|template| {
        template
            .meaning()
            .and_then(|template| template.fill(identity))
            .is_some_and(|filter| covers(&filter, topic))
    })
}

/// The resource of a client, by its authentication name, compared without case.
pub(crate) fn find_client<'a>(
    namespace: &'a Namespace,
    authentication_name: &str,
) -> Option<&'a Resource<ClientProperties>> {
    namespace.clients.iter().find(|client| {
        client
            .authentication_name()
            .eq_ignore_ascii_case(authentication_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attribute::{Attribute, Attributes};
    use serde_json::json;

    fn namespace() -> Namespace {
        serde_json::from_value(json!({
            "client_groups": [{"name": "sensors", "properties": {"query": "attributes.type = 'sensor'"}}],
            "topic_spaces": [
                {"name": "ns/topicSpaces/own", "properties": {"topicTemplates": ["dev/${client.authenticationName}/#"]}},
                {"name": "all", "properties": {"topicTemplates": ["news/+"]}},
            ],
            "permission_bindings": [
                {"name": "a", "properties": {"clientGroupName": "sensors", "topicSpaceName": "own", "permission": "Publisher"}},
                {"name": "b", "properties": {"clientGroupName": "$all", "topicSpaceName": "all", "permission": "Subscriber"}},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_client_may_do_what_a_binding_of_its_groups_permits() {
        let namespace = namespace();
        let attributes =
            Attributes::from([("type".to_owned(), Attribute::Text("sensor".to_owned()))]);
        let sensor = Identity {
            authentication_name: "s1",
            attributes: Some(&attributes),
        };
        let other = Identity {
            authentication_name: "o1",
            attributes: None,
        };
        let may = |who, what, topic| client_may(&namespace, who, what, topic).is_ok();
        assert!(may(sensor, Permission::Publisher, "dev/s1/t"));
        assert!(!may(sensor, Permission::Publisher, "dev/s2/t"));
        assert!(!may(sensor, Permission::Subscriber, "dev/s1/t"));
        assert!(!may(other, Permission::Publisher, "dev/o1/t"));
        assert!(may(other, Permission::Subscriber, "news/+"));
        assert_eq!(
            client_may(&namespace, other, Permission::Subscriber, "news/#").unwrap_err(),
            "Topic filter 'news/#' does not match any topicspaces"
        );
    }

    #[test]
    fn a_role_on_a_topic_space_reaches_no_further() {
        let namespace = namespace();
        let roles = [RoleAssignment::OnTopicSpace {
            role: PUBLISHER.to_owned(),
            topic_space: "own".to_owned(),
        }];
        let may = |topic| {
            identity_may(
                &namespace,
                "oid",
                Some(&roles),
                Permission::Publisher,
                topic,
            )
        };
        assert!(may("dev/oid/x").is_ok());
        assert!(may("news/x").unwrap_err().contains("no role assignment"));
        assert!(
            may("elsewhere")
                .unwrap_err()
                .contains("does not match any topicspaces")
        );
    }
}
