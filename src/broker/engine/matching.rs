//! Who is subscribed to a topic. The engine's own answer counts a 3.x client once for each of
//! its filters, gives an MQTT 5 client the quality of service of any one of them, and loses the
//! copy of a shared subscription beside one of its own. Here each client has one row, with the
//! highest quality of service and all identifiers (MQTT 5.0 section 3.3.4), and each shared
//! group one more.

use std::collections::{BTreeMap, HashMap, HashSet};

use rmqtt::context::ServerContext;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    ClientId, From as Sender, IsOnline, NodeId, Publish, SharedGroup, SubRelation, SubRelations,
    SubscriptionIdentifier, SubscriptionOptions, TopicFilter, TopicName,
};

use super::subscriptions::{self, Held};
use super::{Core, wanted};

/// One member of a shared group, as the engine hands it to the chooser.
pub(super) type Member = (
    NodeId,
    ClientId,
    SubscriptionOptions,
    Option<Vec<SubscriptionIdentifier>>,
    Option<IsOnline>,
);

/// Whom a packet is for among those who are subscribed to its topic: one row for each client, one
/// for each shared group.
pub(super) async fn matches(
    core: &Core,
    context: &ServerContext,
    sender: &Sender,
    packet: &Publish,
) -> SubRelations {
    let topic = &packet.topic;
    let subscribers = match core.subscriptions.of(topic) {
        Ok(subscribers) => subscribers,
        Err(error) => {
            tracing::warn!(%error, %topic, "a topic name could not be read");
            return SubRelations::new();
        }
    };
    let router = context.extends.router().await;
    let mut own: BTreeMap<ClientId, SubRelation> = BTreeMap::new();
    let mut shared = SubRelations::new();
    for (filter, holders) in subscribers {
        let mut groups: HashMap<SharedGroup, Vec<Member>> = HashMap::new();
        for Held {
            client_id,
            id,
            options,
        } in holders
        {
            if options.no_local() == Some(true) && client_id == sender.id.client_id {
                continue;
            }
            if !takes(
                core,
                &client_id,
                &filter,
                options.shared_group(),
                sender,
                packet,
            ) {
                continue;
            }
            let Some(group) = options.shared_group().cloned() else {
                merge(&mut own, &filter, client_id, options);
                continue;
            };
            let online = router.is_online(id.node_id, &client_id).await;
            let member = (id.node_id, client_id, options, None, Some(online));
            groups.entry(group).or_default().push(member);
        }
        for (group, members) in groups {
            let chooser = context.extends.shared_subscription().await;
            let chosen = choose(context, &**chooser, sender, topic, &filter, group, members);
            shared.extend(chosen.await);
        }
    }
    own.into_values().chain(shared).collect()
}

/// Whether a subscription is for this packet.
fn takes(
    core: &Core,
    client_id: &ClientId,
    filter: &TopicFilter,
    group: Option<&SharedGroup>,
    sender: &Sender,
    packet: &Publish,
) -> bool {
    let marked = subscriptions::marked(group, filter.clone());
    let wanted = core.wanted.find(client_id, &marked);
    wanted.is_none_or(|wanted| wanted::takes(&*wanted, sender, packet))
}

/// Whether any subscription of a client, apart from shared ones, is for this packet.
pub(super) fn wants(core: &Core, client_id: &ClientId, sender: &Sender, packet: &Publish) -> bool {
    let found = core.subscriptions.of(&packet.topic).unwrap_or_default();
    found.iter().any(|(filter, holders)| {
        let own = |held: &&Held| held.client_id == *client_id && !held.options.has_shared_group();
        let held = holders.iter().any(|held| own(&held));
        held && takes(core, client_id, filter, None, sender, packet)
    })
}

fn merge(
    own: &mut BTreeMap<ClientId, SubRelation>,
    filter: &TopicFilter,
    client_id: ClientId,
    options: SubscriptionOptions,
) {
    let identifier = options.subscription_identifier();
    let Some(row) = own.get_mut(&client_id) else {
        let identifiers = identifier.map(|identifier| vec![identifier]);
        let row = (
            filter.clone(),
            client_id.clone(),
            options,
            identifiers,
            None,
        );
        own.insert(client_id, row);
        return;
    };
    if let Some(identifier) = identifier {
        row.3.get_or_insert_default().push(identifier);
    }
    if options.qos() > row.2.qos() {
        row.0 = filter.clone();
        row.2 = options;
    }
}

async fn choose(
    context: &ServerContext,
    chooser: &dyn SharedSubscription,
    sender: &Sender,
    topic: &TopicName,
    filter: &TopicFilter,
    group: SharedGroup,
    mut members: Vec<Member>,
) -> Option<SubRelation> {
    let all = members.iter().map(|member| member.1.clone()).collect();
    let (index, online) = chooser
        .choice(context, &group, &sender.id, topic, &members)
        .await?;
    let (_, client_id, options, _, _) = members.swap_remove(index);
    let identifiers = options
        .subscription_identifier()
        .map(|identifier| vec![identifier]);
    let group = Some((group, online, all));
    Some((filter.clone(), client_id, options, identifiers, group))
}

/// Splits rows, each with what belongs to it, so that no part has two of one client.
pub(super) fn passes<T>(rows: Vec<(SubRelation, T)>) -> Vec<Vec<(SubRelation, T)>> {
    let mut passes = Vec::new();
    let mut rest = rows;
    while !rest.is_empty() {
        let mut seen = HashSet::new();
        let (pass, left) = rest
            .into_iter()
            .partition(|(row, _)| seen.insert(row.1.clone()));
        passes.push(pass);
        rest = left;
    }
    passes
}
