//! A tree of topic levels. Both stores of the broker stand on it: the router keeps topic filters
//! and asks which of them match a topic name; the retained store keeps topic names and asks which
//! of them a topic filter matches.
//!
//! Nodes lie in one vector and name one another by index, and every walk has a stack of its own,
//! so that no depth of topic can exhaust the program's stack, not even when the tree is dropped.

use std::collections::HashMap;

/// The root of every tree.
const ROOT: u32 = 0;
/// "No level is left", as a place in a topic.
const END: usize = usize::MAX;

/// What a node holds besides its children.
pub(crate) trait Load: Default {
    /// Whether nothing is held, so that the node can go.
    fn is_empty(&self) -> bool;
}

struct Node<T> {
    parent: u32,
    level: Box<str>,
    children: HashMap<Box<str>, u32>,
    load: T,
}

/// Topic names or filters, level by level, each with a load.
pub(crate) struct Tree<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
}

impl<T: Load> Default for Tree<T> {
    fn default() -> Self {
        let root = Node {
            parent: ROOT,
            level: Box::default(),
            children: HashMap::new(),
            load: T::default(),
        };
        Self {
            nodes: vec![root],
            free: Vec::new(),
        }
    }
}

/// The level that begins at `start`, and where the next one begins.
fn level(topic: &str, start: usize) -> (&str, usize) {
    let rest = &topic[start..];
    match rest.find('/') {
        Some(length) => (&rest[..length], start + length + 1),
        None => (rest, END),
    }
}

impl<T: Load> Tree<T> {
    fn node(&self, index: u32) -> &Node<T> {
        &self.nodes[index as usize]
    }

    fn child(&self, index: u32, level: &str) -> Option<u32> {
        self.node(index).children.get(level).copied()
    }

    /// The load at a path, made where there is none.
    pub(crate) fn entry(&mut self, path: &str) -> &mut T {
        let mut index = ROOT;
        for level in path.split('/') {
            index = match self.child(index, level) {
                Some(child) => child,
                None => self.grow(index, level),
            };
        }
        &mut self.nodes[index as usize].load
    }

    fn grow(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node {
            parent,
            level: level.into(),
            children: HashMap::new(),
            load: T::default(),
        };
        let index = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            index
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        };
        let children = &mut self.nodes[parent as usize].children;
        children.insert(level.into(), index);
        index
    }

    fn find(&self, path: &str) -> Option<u32> {
        path.split('/')
            .try_fold(ROOT, |index, level| self.child(index, level))
    }

    /// The load at a path.
    pub(crate) fn get(&self, path: &str) -> Option<&T> {
        self.find(path).map(|index| &self.node(index).load)
    }

    /// Changes the load at a path, and takes away what holds nothing any more.
    pub(crate) fn change<R>(&mut self, path: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let index = self.find(path)?;
        let answer = change(&mut self.nodes[index as usize].load);
        self.prune(index);
        Some(answer)
    }

    fn prune(&mut self, mut index: u32) {
        while index != ROOT {
            let node = self.node(index);
            if !node.load.is_empty() || !node.children.is_empty() {
                return;
            }
            let parent = node.parent;
            let level = std::mem::take(&mut self.nodes[index as usize].level);
            let siblings = &mut self.nodes[parent as usize].children;
            siblings.remove(&level);
            if siblings.is_empty() {
                siblings.shrink_to_fit();
            }
            self.free.push(index);
            index = parent;
        }
        if self.node(ROOT).children.is_empty() {
            *self = Self::default();
        }
    }

    /// Visits the load of each filter in the tree that matches a topic name (MQTT 5.0 section
    /// 4.7).
    pub(crate) fn filters_matching<'a>(&'a self, topic: &str, mut visit: impl FnMut(&'a T)) {
        let mut open = Vec::with_capacity(8);
        open.push((ROOT, 0));
        while let Some((index, start)) = open.pop() {
            // Section 4.7.2: a leading wildcard does not match a name that begins with $.
            let wild = start != 0 || !topic.starts_with('$');
            if wild && let Some(rest) = self.child(index, "#") {
                visit(&self.node(rest).load);
            }
            if start == END {
                visit(&self.node(index).load);
                continue;
            }
            let (level, next) = level(topic, start);
            if wild && let Some(any) = self.child(index, "+") {
                open.push((any, next));
            }
            // A name's level is never a wildcard: it could only meet itself.
            if let Some(same) = self.child(index, level)
                && level != "+"
                && level != "#"
            {
                open.push((same, next));
            }
        }
    }

    /// Visits the load of each topic name in the tree that a filter matches.
    pub(crate) fn names_matching<'a>(&'a self, filter: &str, mut visit: impl FnMut(&'a T)) {
        let mut open = vec![(ROOT, 0)];
        while let Some((index, start)) = open.pop() {
            let node = self.node(index);
            if start == END {
                visit(&node.load);
                continue;
            }
            let (level, next) = level(filter, start);
            let visible = |name: &str| index != ROOT || !name.starts_with('$');
            match level {
                "#" => {
                    if index != ROOT {
                        visit(&node.load);
                    }
                    let children = node.children.iter().filter(|(name, _)| visible(name));
                    open.extend(children.map(|(_, &child)| (child, start)));
                }
                "+" => {
                    let children = node.children.iter().filter(|(name, _)| visible(name));
                    open.extend(children.map(|(_, &child)| (child, next)));
                }
                _ => open.extend(self.child(index, level).map(|child| (child, next))),
            }
        }
    }

    /// Every load that is not empty.
    pub(crate) fn loads(&self) -> impl Iterator<Item = &T> {
        self.nodes
            .iter()
            .map(|node| &node.load)
            .filter(|load| !load.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use mqttstack_base::message::TopicFilter;
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Held(Option<String>);

    impl Load for Held {
        fn is_empty(&self) -> bool {
            self.0.is_none()
        }
    }

    fn tree(paths: &[String]) -> Tree<Held> {
        let mut tree = Tree::default();
        for path in paths {
            *tree.entry(path) = Held(Some(path.clone()));
        }
        tree
    }

    fn held(mut found: Vec<&Held>) -> Vec<String> {
        found.retain(|held| held.0.is_some());
        let mut found: Vec<_> = found
            .into_iter()
            .filter_map(|held| held.0.clone())
            .collect();
        found.sort();
        found
    }

    fn expected(all: &[String], matches: impl Fn(&str) -> bool) -> Vec<String> {
        let mut expected: Vec<_> = all.iter().filter(|path| matches(path)).cloned().collect();
        expected.sort();
        expected.dedup();
        expected
    }

    proptest! {
        #[test]
        fn a_tree_finds_what_the_filters_themselves_say(
            filters in prop::collection::vec("(\\$|)([ab+]?)(/[ab+]?){0,3}(/#)?", 1..12),
            topics in prop::collection::vec("(\\$|)[ab]?(/[ab]?){0,4}", 1..12),
        ) {
            let filters: Vec<_> = filters
                .into_iter()
                .filter(|filter| TopicFilter::parse(filter.clone()).is_ok())
                .collect();
            let by_filter = tree(&filters);
            let by_name = tree(&topics);
            let matches = |filter: &str, topic: &str| {
                TopicFilter::parse(filter.to_owned()).unwrap().matches(topic)
            };
            for topic in &topics {
                let mut found = Vec::new();
                by_filter.filters_matching(topic, |held| found.push(held));
                prop_assert_eq!(held(found), expected(&filters, |filter| matches(filter, topic)));
            }
            for filter in &filters {
                let mut found = Vec::new();
                by_name.names_matching(filter, |held| found.push(held));
                prop_assert_eq!(held(found), expected(&topics, |topic| matches(filter, topic)));
            }
        }
    }

    #[test]
    fn a_topic_of_thirty_thousand_levels_takes_no_stack() {
        let deep = "a/".repeat(30_000);
        let mut tree = tree(&[deep.clone(), format!("{deep}#")]);
        let mut found = Vec::new();
        tree.filters_matching(&deep, |held| found.push(held));
        assert_eq!(held(found).len(), 2);
        let mut found = Vec::new();
        tree.names_matching("#", |held| found.push(held));
        assert_eq!(held(found).len(), 2);
        for path in [deep.clone(), format!("{deep}#")] {
            tree.change(&path, |held| held.0 = None);
        }
        assert_eq!(tree.nodes.len(), 1);
    }

    #[test]
    fn a_node_that_holds_nothing_goes_and_its_place_is_used_again() {
        let mut tree = tree(&["a/b/c".into(), "a/d".into()]);
        tree.change("a/b/c", |held| held.0 = None);
        assert!(tree.get("a/b").is_none());
        let before = tree.nodes.len();
        *tree.entry("a/x/y") = Held(Some("a/x/y".into()));
        assert_eq!(tree.nodes.len(), before);
        assert_eq!(tree.loads().count(), 2);
    }
}
