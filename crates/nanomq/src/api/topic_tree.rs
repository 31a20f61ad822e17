//! All subscriptions as a tree of topic levels, level by level: a node's text, how many
//! children it has and, only where somebody subscribes, who.
//! NanoMQ writes its levels in pairs, so that an odd number of them ends with an empty one
//! (captured in V4; the same code in V1). Siblings are sorted by their bytes.

use std::collections::BTreeMap;

use mqttstack_base::message::Subscription;

use super::super::cjson::Json;
use super::clients::full_filter;

#[derive(Default)]
struct Node<'a> {
    children: BTreeMap<&'a str, usize>,
    clients: Vec<&'a str>,
}

/// The levels, the names listed under `names`.
pub(crate) fn levels(subscriptions: &[Subscription], names: &str) -> Json {
    let filters: Vec<(String, &str)> = subscriptions
        .iter()
        .map(|subscription| (full_filter(subscription), &*subscription.client_id))
        .collect();
    let mut nodes = vec![Node::default()];
    for (filter, client) in &filters {
        let mut at = 0;
        for level in filter.split('/') {
            let next = nodes.len();
            at = *nodes[at].children.entry(level).or_insert(next);
            if at == next {
                nodes.push(Node::default());
            }
        }
        if !nodes[at].clients.contains(client) {
            nodes[at].clients.push(client);
        }
    }
    let mut levels = Vec::new();
    let mut current = vec![("", 0)];
    while !current.is_empty() {
        let shown = current
            .iter()
            .map(|(text, index)| shown(text, &nodes[*index], names));
        levels.push(Json::Array(shown.collect()));
        current = current
            .iter()
            .flat_map(|(_, index)| nodes[*index].children.iter())
            .map(|(text, index)| (*text, *index))
            .collect();
    }
    if levels.len() % 2 == 1 {
        levels.push(Json::Array(Vec::new()));
    }
    Json::Array(levels)
}

fn shown(text: &str, node: &Node<'_>, names: &str) -> Json {
    let mut members = vec![
        ("topic", Json::from(text)),
        ("cld_cnt", node.children.len().into()),
    ];
    if !node.clients.is_empty() {
        let clients = node.clients.iter().map(|client| Json::from(*client));
        members.push((names, Json::Array(clients.collect())));
    }
    Json::object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttstack_base::message::Qos;

    fn subscription(client_id: &str, filter: &str, group: Option<&str>) -> Subscription {
        Subscription {
            client_id: client_id.to_owned(),
            topic_filter: filter.to_owned(),
            share_group: group.map(str::to_owned),
            qos: Qos::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
            subscription_identifier: None,
            order: 0,
        }
    }

    fn print(subscriptions: &[Subscription]) -> String {
        String::from_utf8(levels(subscriptions, "client_id").print()).unwrap()
    }

    #[test]
    fn the_levels_are_as_recorded() {
        let subscriptions = [
            subscription("dev-a", "a/b/c", None),
            subscription("dev-a", "a/+/d", None),
            subscription("dev-b", "x/#", None),
        ];
        assert_eq!(
            print(&subscriptions),
            "[[{\"topic\":\"\",\"cld_cnt\":2}],[{\"topic\":\"a\",\"cld_cnt\":2},\
             {\"topic\":\"x\",\"cld_cnt\":1}],[{\"topic\":\"+\",\"cld_cnt\":1},\
             {\"topic\":\"b\",\"cld_cnt\":1},{\"topic\":\"#\",\"cld_cnt\":0,\
             \"client_id\":[\"dev-b\"]}],[{\"topic\":\"d\",\"cld_cnt\":0,\
             \"client_id\":[\"dev-a\"]},{\"topic\":\"c\",\"cld_cnt\":0,\
             \"client_id\":[\"dev-a\"]}]]"
        );
    }

    #[test]
    fn an_odd_number_of_levels_ends_with_an_empty_one() {
        assert_eq!(print(&[]), "[[{\"topic\":\"\",\"cld_cnt\":0}],[]]");
        let shared = [subscription("ws-d", "s/t", Some("g"))];
        assert!(
            print(&shared)
                .ends_with("[{\"topic\":\"t\",\"cld_cnt\":0,\"client_id\":[\"ws-d\"]}],[]]")
        );
    }
}
