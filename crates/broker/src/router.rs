//! Who is subscribed to a topic. A tree of filters for each tenant; a node knows its plain
//! subscribers and its shared subscriptions. A match costs by the depth of the topic and by what
//! is found, an entry by the depth of its filter, whatever else is there.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use mqttstack_base::message::{Qos, Subscription};
use parking_lot::RwLock;

use super::SYSTEM_PREFIX;
use super::dialect::{MessageFilter, Publish};
use super::session::Session;
use super::tenant::Tenant;
use super::tree::{Load, Tree};

/// What a filter of a shared subscription begins with.
const SHARE: &str = "$share/";

/// The options of one subscription.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The granted maximum quality of service.
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: u8,
    pub(crate) identifier: Option<u32>,
    /// Its place in the order in which all subscriptions were made.
    pub(crate) order: u64,
    /// Which of the messages that match the client gets.
    pub(crate) filter: Option<Arc<dyn MessageFilter>>,
}

impl Options {
    /// Whether the subscription is for this message, whose topic matches.
    pub(crate) fn takes(&self, publish: &Publish<'_>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.takes(publish))
    }
}

/// A topic filter and the share name in front of it, if it has one (MQTT 5.0 section 4.8.2).
pub(crate) fn parts(filter: &str) -> (Option<&str>, &str) {
    let shared = filter.strip_prefix(SHARE);
    match shared.and_then(|rest| rest.split_once('/')) {
        Some((name, filter)) => (Some(name), filter),
        None => (None, filter),
    }
}

/// Names a shared subscription.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GroupName {
    pub(crate) name: Box<str>,
    pub(crate) filter: Box<str>,
}

struct Member {
    session: Arc<Session>,
    options: Options,
}

struct Group {
    name: Arc<GroupName>,
    members: IndexMap<u64, Member>,
    /// Whose turn it is.
    turn: std::sync::atomic::AtomicUsize,
}

/// What a filter's node holds.
#[derive(Default)]
struct Subscribers {
    plain: IndexMap<u64, Member>,
    groups: Vec<Group>,
}

impl Load for Subscribers {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

/// One subscriber that a message is for.
pub(crate) struct Target {
    pub(crate) session: Arc<Session>,
    /// The granted maximum quality of service.
    pub(crate) qos: Qos,
    pub(crate) retain_as_published: bool,
    pub(crate) identifiers: Vec<u32>,
    pub(crate) group: Option<Arc<GroupName>>,
}

impl Target {
    fn new(member: &Member, group: Option<Arc<GroupName>>) -> Self {
        Self {
            session: member.session.clone(),
            qos: member.options.qos,
            retain_as_published: member.options.retain_as_published,
            identifiers: member.options.identifier.into_iter().collect(),
            group,
        }
    }

    /// Another filter of the same client matches too: it gets the message once, at the highest
    /// quality of service and with all identifiers (MQTT 5.0 section 3.3.4).
    fn merge(&mut self, options: &Options) {
        self.identifiers.extend(options.identifier);
        if options.qos > self.qos {
            self.qos = options.qos;
            self.retain_as_published = options.retain_as_published;
        }
    }
}

/// Every subscription.
#[derive(Default)]
pub(crate) struct Router {
    trees: RwLock<HashMap<Tenant, Tree<Subscribers>>>,
}

/// How many targets are looked through one by one before they are found by their session.
const FEW: usize = 8;

/// Collects targets, one for each client.
#[derive(Default)]
struct Targets {
    all: Vec<Target>,
    /// Where each session stands in `all`, once there are more than a few.
    places: HashMap<u64, usize>,
}

impl Targets {
    fn add(&mut self, member: &Member, nodes: usize) {
        // All subscribers of one node are different clients.
        if nodes > 0 {
            let id = member.session.id;
            let known = if self.all.len() <= FEW {
                self.all.iter().position(|target| target.session.id == id)
            } else {
                if self.places.is_empty() {
                    let places = self.all.iter().enumerate();
                    self.places = places.map(|(at, target)| (target.session.id, at)).collect();
                }
                self.places.get(&id).copied()
            };
            if let Some(target) = known.and_then(|at| self.all.get_mut(at)) {
                return target.merge(&member.options);
            }
            if !self.places.is_empty() {
                self.places.insert(id, self.all.len());
            }
        }
        self.all.push(Target::new(member, None));
    }
}

impl Group {
    /// The member whose turn it is among those that are connected and have room; among the
    /// others if there is none. Members of the publisher's own session that want No Local are
    /// never chosen (the option is an error for shared subscriptions).
    fn choose(
        &self,
        except: Option<u64>,
        publish: &Publish<'_>,
        limits: (usize, usize),
    ) -> Option<&Member> {
        use std::sync::atomic::Ordering;

        use super::session::Room;
        let count = self.members.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || {
            let members = (0..count).filter_map(|n| self.members.get_index((turn + n) % count));
            members
                .map(|(_, member)| member)
                .filter(|member| Some(member.session.id) != except)
                .filter(|member| member.options.takes(publish))
        };
        let ready = in_turn()
            .find(|member| matches!(member.session.has_room(limits.0, limits.1), Room::Yes));
        ready
            .or_else(|| in_turn().find(|member| member.session.is_connected()))
            .or_else(|| in_turn().next())
    }
}

impl Router {
    /// The tree that a filter stands in: the broker's own figures are everybody's.
    fn tenant(tenant: &Tenant, filter: &str) -> Tenant {
        if filter.starts_with(SYSTEM_PREFIX) {
            Tenant::default()
        } else {
            tenant.clone()
        }
    }

    /// Enters a subscription; false if the session has ended meanwhile. Otherwise whether it is
    /// a new one.
    pub(crate) fn subscribe(
        &self,
        session: &Arc<Session>,
        filter: &str,
        mut options: Options,
    ) -> Option<bool> {
        let (share, bare) = parts(filter);
        let tenant = Self::tenant(&session.key.tenant, bare);
        let mut trees = self.trees.write();
        let mut state = session.lock();
        if state.closed {
            return None;
        }
        let known = state.subscriptions.get(filter).map(|known| known.order);
        if let Some(order) = known {
            options.order = order;
        }
        state.subscriptions.insert(filter.into(), options.clone());
        drop(state);
        let load = trees.entry(tenant).or_default().entry(bare);
        let member = Member {
            session: session.clone(),
            options,
        };
        let Some(share) = share else {
            load.plain.insert(session.id, member);
            return Some(known.is_none());
        };
        let group = load
            .groups
            .iter_mut()
            .find(|group| *group.name.name == *share);
        match group {
            Some(group) => {
                group.members.insert(session.id, member);
            }
            None => load.groups.push(Group {
                name: Arc::new(GroupName {
                    name: share.into(),
                    filter: bare.into(),
                }),
                members: IndexMap::from([(session.id, member)]),
                turn: std::sync::atomic::AtomicUsize::new(0),
            }),
        }
        Some(known.is_none())
    }

    /// Takes a subscription back; false if there was none.
    pub(crate) fn unsubscribe(&self, session: &Session, filter: &str) -> bool {
        let mut trees = self.trees.write();
        let known = session.lock().subscriptions.remove(filter).is_some();
        if known {
            Self::remove(&mut trees, session, filter);
        }
        known
    }

    /// Takes the subscriptions of an ended session back.
    pub(crate) fn forget(&self, session: &Session, filters: impl Iterator<Item = Box<str>>) {
        let mut trees = self.trees.write();
        for filter in filters {
            Self::remove(&mut trees, session, &filter);
        }
    }

    fn remove(trees: &mut HashMap<Tenant, Tree<Subscribers>>, session: &Session, filter: &str) {
        let (share, bare) = parts(filter);
        let tenant = Self::tenant(&session.key.tenant, bare);
        let Some(tree) = trees.get_mut(&tenant) else {
            return;
        };
        tree.change(bare, |load| match share {
            None => {
                load.plain.swap_remove(&session.id);
            }
            Some(share) => {
                load.groups.retain_mut(|group| {
                    if *group.name.name == *share {
                        group.members.swap_remove(&session.id);
                    }
                    !group.members.is_empty()
                });
            }
        });
    }

    /// Whom a message is for: each client once, and one member of each shared subscription.
    /// `publisher` is the session that publishes it, if one does.
    pub(crate) fn targets(
        &self,
        tenant: &Tenant,
        publish: &Publish<'_>,
        publisher: Option<u64>,
        limits: (usize, usize),
    ) -> Vec<Target> {
        let trees = self.trees.read();
        let Some(tree) = trees.get(tenant) else {
            return Vec::new();
        };
        let mut targets = Targets::default();
        let mut shared = Vec::new();
        let mut nodes = 0;
        tree.filters_matching(publish.topic, |load: &Subscribers| {
            for member in load.plain.values() {
                let own = member.options.no_local && Some(member.session.id) == publisher;
                if own || !member.options.takes(publish) {
                    continue;
                }
                targets.add(member, nodes);
            }
            nodes += usize::from(!load.plain.is_empty());
            for group in &load.groups {
                let chosen = group.choose(None, publish, limits);
                shared.extend(chosen.map(|member| Target::new(member, Some(group.name.clone()))));
            }
        });
        targets.all.append(&mut shared);
        targets.all
    }

    /// Another member of a shared subscription than the one that is gone.
    pub(crate) fn another(
        &self,
        gone: &Session,
        group: &GroupName,
        publish: &Publish<'_>,
        limits: (usize, usize),
    ) -> Option<Target> {
        let trees = self.trees.read();
        let tree = trees.get(&Self::tenant(&gone.key.tenant, &group.filter))?;
        let load = tree.get(&group.filter)?;
        let own = load.groups.iter().find(|own| *own.name == *group)?;
        let member = own.choose(Some(gone.id), publish, limits)?;
        Some(Target::new(member, Some(own.name.clone())))
    }

    /// Whether anybody is subscribed to a topic of the broker's own figures.
    pub(crate) fn figures_are_watched(&self, topics: &[&str]) -> bool {
        let trees = self.trees.read();
        let Some(tree) = trees.get(&Tenant::default()) else {
            return false;
        };
        topics.iter().any(|topic| {
            let mut watched = false;
            tree.filters_matching(topic, |load| watched |= !load.is_empty());
            watched
        })
    }

    /// How many subscriptions there are.
    pub(crate) fn count(&self) -> usize {
        let trees = self.trees.read();
        let loads = trees.values().flat_map(Tree::loads);
        loads
            .map(|load| {
                let shared = load.groups.iter().map(|group| group.members.len());
                load.plain.len() + shared.sum::<usize>()
            })
            .sum()
    }

    pub(crate) fn clear(&self) {
        self.trees.write().clear();
    }
}

/// A subscription as the listings show it.
pub(crate) fn listed(client_id: &str, filter: &str, options: &Options) -> Subscription {
    let (share, bare) = parts(filter);
    Subscription {
        client_id: client_id.to_owned(),
        topic_filter: bare.to_owned(),
        share_group: share.map(ToOwned::to_owned),
        qos: options.qos,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: options.retain_handling,
        subscription_identifier: options.identifier,
        order: options.order,
    }
}
