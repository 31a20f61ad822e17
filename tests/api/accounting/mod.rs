//! Whatever many clients do, the journal is right: what each client received is what the
//! journal's deliveries say, and no message that the broker took is unaccounted for. The clients
//! do random things; a failure names the seed that repeats them.

mod peer;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use mqttstack_base::message::{
    Delivery, DeliveryOutcome, Message, Origin, OriginKind, Properties, Publication, Qos,
    TopicFilter, TopicName,
};
use mqttstack_broker::{Broker, Settings};
use rand::prelude::IndexedMutRandom;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use self::peer::{Arrival, Peer, STEPS};
use crate::bench::{Bench, bench};
use crate::shared;

const TOPICS: [&str; 4] = ["a/b", "a/c", "x/y", "a"];
const FILTERS: [&str; 10] = [
    "a/b",
    "a/+",
    "a/#",
    "#",
    "x/y",
    "+/c",
    "$share/g/a/+",
    "$share/g/a/b",
    "$share/h/#",
    "$share/h/x/y",
];

fn payload_of(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

impl Bench {
    fn peers(&self, count: usize) -> Vec<Peer> {
        (0..count)
            .map(|n| {
                let version = if n % 2 == 0 { 4 } else { 5 };
                Peer::new(self.address, format!("c{n}"), version)
            })
            .collect()
    }

    /// Each message by its payload; a payload is sent once.
    fn messages(&self) -> BTreeMap<String, Arc<Message>> {
        let all = self.journal.messages().since(0);
        let count = all.len();
        let messages: BTreeMap<_, _> = all
            .into_iter()
            .map(|(_, message)| (payload_of(&message), message))
            .collect();
        assert_eq!(messages.len(), count, "a message was taken twice");
        messages
    }

    /// Waits until the broker has seen a client go whose session ends with its connection.
    async fn gone(&self, name: &str) {
        shared::forgotten(&self.broker, name).await;
    }

    /// Lets every client that has a session take what waits for it, and waits until no delivery
    /// is under way.
    async fn settle(&self, peers: &mut [Peer]) {
        for peer in &mut *peers {
            if !peer.connected() && peer.lasting {
                peer.connect(true).await;
            }
        }
        shared::until(&self.broker, async || {
            self.under_way().is_none().then_some(())
        })
        .await;
        for peer in peers.iter_mut().filter(|peer| peer.connected()) {
            peer.ping().await;
        }
    }

    /// A delivery whose outcome is not the last one yet.
    fn under_way(&self) -> Option<Delivery> {
        self.messages().values().find_map(|message| {
            let rows = message.deliveries.lock();
            let found = rows.iter().find(|row| match row.outcome {
                DeliveryOutcome::Queued => true,
                DeliveryOutcome::Sent => row.qos != Qos::AtMostOnce,
                _ => false,
            });
            found.cloned()
        })
    }

    /// What `peer` received is what the journal says of it.
    fn check(&self, peer: &Peer) {
        let mut received: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
        for arrival in peer.arrivals() {
            let of_payload = received.entry(arrival.payload.clone()).or_default();
            of_payload.push(arrival);
        }
        for (payload, message) in self.messages() {
            let rows = message.deliveries.lock();
            let own: Vec<_> = rows.iter().filter(|r| r.client_id == peer.name).collect();
            let arrived = received.remove(&payload).unwrap_or_default();
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let own: Vec<_> = own.iter().filter(|row| row.qos == qos).collect();
                let arrived: Vec<_> = arrived.iter().filter(|a| a.qos == qos.level()).collect();
                let fits = fits(&own, &arrived, peer.lossy);
                assert!(fits, "{}, {payload}: {arrived:?} is not {own:?}", peer.name);
            }
            assert!(arrived.iter().all(|arrival| arrival.topic == message.topic));
        }
        assert!(received.is_empty(), "from nowhere: {received:?}");
    }
}

/// What one publisher sent to one topic arrived at `peer` in its order, at each quality of
/// service. Payloads end with a number that grows.
fn check_order(peer: &Peer) {
    let mut seen = BTreeSet::new();
    let mut last = HashMap::new();
    for arrival in peer.arrivals() {
        let parts = arrival.payload.rsplit_once('-');
        let parts = parts.and_then(|(publisher, number)| Some((publisher, number.parse().ok()?)));
        let (publisher, number): (_, u32) = parts.unwrap_or_else(|| panic!("{arrival:?}"));
        if seen.insert((arrival.payload.clone(), arrival.qos)) {
            let lane = (publisher.to_owned(), arrival.topic.clone(), arrival.qos);
            let before = last.insert(lane, number);
            assert!(
                before.is_none_or(|before| before < number),
                "{}: {arrival:?} came behind {before:?}",
                peer.name
            );
        }
    }
}

/// Whether what arrived of one message at one quality of service is what the journal's rows say.
fn fits(rows: &[&&Delivery], arrived: &[&Arrival], lossy: bool) -> bool {
    let count = |wanted| rows.iter().filter(|row| row.outcome == wanted).count();
    let first = arrived.iter().filter(|arrival| !arrival.dup).count();
    let Some(qos) = rows.first().map(|row| row.qos) else {
        return arrived.is_empty();
    };
    let acknowledged = count(DeliveryOutcome::Acknowledged);
    // Given up with the session, maybe after it was written.
    let dropped = count(DeliveryOutcome::Dropped);
    match qos {
        Qos::AtMostOnce => {
            let sent = count(DeliveryOutcome::Sent);
            first == arrived.len() && (first == sent || lossy && first < sent)
        }
        Qos::AtLeastOnce => {
            first <= acknowledged + dropped
                && arrived.len() >= acknowledged
                && (lossy || first >= acknowledged)
        }
        Qos::ExactlyOnce => (acknowledged..=acknowledged + dropped).contains(&arrived.len()),
    }
}

async fn publish(broker: &Broker, topic: &str, qos: u8, payload: &str) {
    let publication = Publication {
        topic: TopicName::parse(topic).unwrap(),
        payload: payload.to_owned().into(),
        qos: Qos::from_level(qos).unwrap(),
        retain: false,
        properties: Properties::default(),
        origin: Origin {
            kind: OriginKind::Http,
            vendor: None,
            client_id: None,
            request: None,
        },
    };
    broker.publish(publication).await.unwrap();
}

/// The subscriptions that each client should have.
#[derive(Default)]
struct Model(BTreeMap<String, BTreeMap<&'static str, u8>>);

impl Model {
    /// Each plain subscriber with the quality of service it should get a message at.
    fn plain(&self, topic: &str, qos: u8) -> Vec<(String, u8)> {
        let own = self.0.iter().filter_map(|(client, filters)| {
            let matching = filters
                .iter()
                .filter(|(f, _)| !f.starts_with('$') && matches(f, topic));
            let highest = matching.map(|(_, granted)| *granted).max()?;
            Some((client.clone(), highest.min(qos)))
        });
        own.collect()
    }

    /// The members of each shared subscription that a message should go to one of.
    fn groups(&self, topic: &str, qos: u8) -> Vec<BTreeSet<(String, u8)>> {
        let mut groups: HashMap<_, BTreeSet<_>> = HashMap::new();
        for (client, filters) in &self.0 {
            for (filter, granted) in filters {
                let bare = filter.strip_prefix("$share/").map(|rest| &rest[2..]);
                if bare.is_some_and(|bare| matches(bare, topic)) {
                    let member = (client.clone(), (*granted).min(qos));
                    groups.entry(*filter).or_default().insert(member);
                }
            }
        }
        groups.into_values().collect()
    }

    /// Checks whom the broker meant a message for.
    fn check(&self, message: &Message) {
        let topic = &message.topic;
        let qos = message.qos.level();
        let rows = message.deliveries.lock();
        let mut rows: Vec<_> = rows
            .iter()
            .map(|row| (row.client_id.clone(), row.qos.level()))
            .collect();
        for wanted in self.plain(topic, qos) {
            let found = rows.iter().position(|row| *row == wanted);
            assert!(found.is_some(), "{wanted:?} is missing for {topic}");
            rows.remove(found.unwrap());
        }
        let groups = self.groups(topic, qos);
        assert!(
            assigned(&rows, &groups),
            "{rows:?} is not one of each of {groups:?}"
        );
    }
}

/// Whether each row can be the one of another group, and no group is left.
fn assigned(rows: &[(String, u8)], groups: &[BTreeSet<(String, u8)>]) -> bool {
    let Some((row, rest)) = rows.split_first() else {
        return groups.is_empty();
    };
    (0..groups.len()).any(|n| {
        let mut others = groups.to_vec();
        others.remove(n).contains(row) && assigned(rest, &others)
    })
}

fn matches(filter: &str, topic: &str) -> bool {
    TopicFilter::parse(filter).unwrap().matches(topic)
}

/// Seeds that are always tried, and one that never was.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let fresh = std::hash::RandomState::new().build_hasher().finish();
    (0..count).chain([fresh])
}

/// Repeats what failed: a panic in here names the seed.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed is {}", self.0);
        }
    }
}

/// One random thing after another, each done before the next begins, so that it is known whom
/// every message must go to.
async fn one_after_another(seed: u64) {
    let _named = Named(seed);
    let mut random = StdRng::seed_from_u64(seed);
    let bench = bench(Settings::default()).await;
    let mut peers = bench.peers(5);
    let mut model = Model::default();
    for step in 0..80 {
        let payload = format!("{step}");
        let topic = *TOPICS.choose(&mut random).unwrap();
        let filter = *FILTERS.choose(&mut random).unwrap();
        let qos = random.random_range(0..=2);
        let peer = peers.choose_mut(&mut random).unwrap();
        let action = random.random_range(0..12);
        if !peer.connected() && action > 1 || action == 2 {
            let lasting = random.random_bool(0.7);
            if !peer.connect(lasting).await {
                model.0.remove(&peer.name);
            }
            continue;
        }
        match action {
            0 | 1 => {
                publish(&bench.broker, topic, qos, &payload).await;
                model.check(&bench.messages()[&payload]);
            }
            3..=5 => {
                peer.subscribe(filter, qos).await;
                let own = model.0.entry(peer.name.clone()).or_default();
                own.insert(filter, qos);
            }
            6 => {
                let own = model.0.entry(peer.name.clone()).or_default();
                let filter = own.keys().next().copied().unwrap_or(filter);
                own.remove(filter);
                peer.unsubscribe(filter).await;
            }
            7 | 8 => {
                if action == 7 {
                    peer.leave().await;
                } else {
                    peer.vanish().await;
                }
                if !peer.lasting {
                    bench.gone(&peer.name).await;
                    model.0.remove(&peer.name);
                }
            }
            _ => {
                peer.publish(topic, qos, &payload).await;
                model.check(&bench.messages()[&payload]);
            }
        }
    }
    bench.settle(&mut peers).await;
    for peer in &peers {
        bench.check(peer);
    }
}

#[tokio::test]
async fn every_message_goes_to_whom_it_must_and_arrives_as_the_journal_says() {
    for seed in seeds(7) {
        one_after_another(seed).await;
    }
}

/// What one client does in the middle of all the others; returns the payloads that the broker
/// has acknowledged.
async fn wander(mut peer: Peer, seed: u64, filters: &[&str]) -> (Peer, Vec<String>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut accepted = vec![];
    for step in 0..60 {
        let payload = format!("{}-{step}0", peer.name);
        let topic = *TOPICS.choose(&mut random).unwrap();
        let filter = *filters.choose(&mut random).unwrap();
        let qos = random.random_range(0..=2);
        let action = random.random_range(0..17);
        if !peer.connected() || action == 0 {
            peer.connect(random.random_bool(0.7)).await;
            continue;
        }
        match action {
            1..=3 => peer.subscribe(filter, qos).await,
            4 => peer.unsubscribe(filter).await,
            5 => peer.leave().await,
            6 => {
                // Whether this one is taken, nobody knows.
                peer.throw(topic, qos, &payload).await;
                peer.vanish().await;
            }
            7 => {
                let step = *STEPS.choose(&mut random).unwrap();
                if peer.interrupted(topic, &payload, step).await {
                    accepted.push(payload);
                }
            }
            8 => {
                // A slow reader: what others send meanwhile waits for it.
                peer.read(false);
                for part in 0..5 {
                    let payload = format!("{}-{step}{part}", peer.name);
                    peer.throw(topic, 0, &payload).await;
                    accepted.push(payload);
                }
                peer.read(true);
                peer.ping().await;
            }
            _ => {
                peer.publish(topic, qos, &payload).await;
                accepted.push(payload);
            }
        }
    }
    (peer, accepted)
}

async fn all_at_once(seed: u64, filters: &'static [&'static str]) -> Vec<Peer> {
    let _named = Named(seed);
    let bench = bench(Settings::default()).await;
    let peers = bench.peers(6);
    let count = peers.len() as u64;
    let tasks: Vec<_> = peers
        .into_iter()
        .zip(0..)
        .map(|(peer, n): (Peer, u64)| {
            let seed = seed.wrapping_mul(count).wrapping_add(n);
            tokio::spawn(wander(peer, seed, filters))
        })
        .collect();
    let mut accepted = vec![];
    for step in 0..60 {
        let payload = format!("http-{step}");
        publish(&bench.broker, TOPICS[step % TOPICS.len()], 1, &payload).await;
        accepted.push(payload);
    }
    let mut peers = vec![];
    for task in tasks {
        let (peer, own) = task.await.unwrap();
        peers.push(peer);
        accepted.extend(own);
    }
    bench.settle(&mut peers).await;
    for peer in &peers {
        bench.check(peer);
    }
    let messages = bench.messages();
    for payload in accepted {
        assert!(
            messages.contains_key(&payload),
            "{payload} was taken and is lost"
        );
    }
    peers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_come_and_go_all_at_once_receive_what_the_journal_says() {
    for seed in seeds(7) {
        all_at_once(seed, &FILTERS).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_client_publishes_to_a_topic_arrives_in_its_order() {
    // A member of a shared group that dies leaves its messages to the others, out of order.
    for seed in seeds(7) {
        let _named = Named(seed);
        for peer in &all_at_once(seed, &FILTERS[..6]).await {
            check_order(peer);
        }
    }
}
