//! The trie of Topic Filters: one node per level, wildcards as direct children, plain text through one hash table
//! from (parent, level) to child. A node exists only while a subscriber stands at it or below it.
//!
//! Nothing here recurses: a Topic Filter may have 32,768 levels.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::arena::{Arena, NONE, Node, ROOT};
use crate::keys::{Grant, GroupKey, SessionKey};
use crate::label::Label;
use crate::resolve::{Level, Lookup};
use crate::subscribers::Subscribers;

/// Below this size the table of edges is not worth shrinking.
const EDGE_BYTES_KEPT: usize = 4096;

/// All Topic Filters with their subscribers.
pub(crate) struct Trie {
    arena: Arena,
    /// Nodes whose level is plain text, hashed by parent and level.
    edges: HashTable<u32>,
    state: FixedState,
    subscriptions: usize,
    groups: usize,
    /// What labels and subscribers hold outside their nodes.
    outside_bytes: usize,
}

impl Trie {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            arena: Arena::new(),
            edges: HashTable::new(),
            state: FixedState::with_seed(hash_seed),
            subscriptions: 0,
            groups: 0,
            outside_bytes: 0,
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        filter: &str,
        session: SessionKey,
        grant: Grant,
    ) -> Option<Grant> {
        let id = self.grow(filter);
        let replaced = self.edit(id, |subscribers, state| {
            subscribers.subscribe(session, grant, state)
        })?;
        if replaced.is_none() {
            self.subscriptions += 1;
        }
        replaced
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str, session: SessionKey) -> Option<Grant> {
        let id = self.find(filter)?;
        let removed = self.edit(id, |subscribers, state| {
            subscribers.unsubscribe(session, state)
        })??;
        self.subscriptions -= 1;
        self.prune(id);
        Some(removed)
    }

    pub(crate) fn add_group(&mut self, filter: &str, group: GroupKey) -> bool {
        let id = self.grow(filter);
        let added =
            self.edit(id, |subscribers, state| subscribers.add_group(group, state)) == Some(true);
        self.groups += usize::from(added);
        added
    }

    pub(crate) fn remove_group(&mut self, filter: &str, group: GroupKey) -> bool {
        let Some(id) = self.find(filter) else {
            return false;
        };
        let removed = self.edit(id, |subscribers, state| {
            subscribers.remove_group(group, state)
        }) == Some(true);
        self.groups -= usize::from(removed);
        self.prune(id);
        removed
    }

    /// Collects the subscribers of every Topic Filter that matches. Each node is visited once at most.
    pub(crate) fn collect(&self, topic: &str, lookup: &mut Lookup) {
        lookup.pending.push((ROOT, 0));
        while let Some((id, depth)) = lookup.pending.pop() {
            let Some(node) = self.arena.get(id) else {
                continue;
            };
            let Some(level) = self.level(topic, depth, &mut lookup.levels) else {
                node.subscribers.collect_into(lookup);
                // `a/#` matches `a`.
                self.collect_at(node.hash, lookup);
                continue;
            };
            // v5[MQTT-4.7.2-1]: wildcards in the first level do not match Topic Names that begin with `$`.
            if depth > 0 || !topic.starts_with('$') {
                self.collect_at(node.hash, lookup);
                if node.plus != NONE {
                    lookup.pending.push((node.plus, depth + 1));
                }
            }
            if !node.literals.is_empty()
                && let Some(text) = topic.as_bytes().get(level.start..level.end)
                && let Some(child) = match node.literals.only() {
                    // One look into memory instead of two.
                    Some(only) => Some(only).filter(|only| self.is_labelled(*only, text)),
                    None => self.literal(id, level.hash, text),
                }
            {
                lookup.pending.push((child, depth + 1));
            }
        }
    }

    /// A level of a Topic Name, cut out and hashed once, and only as deep as the trie goes. None past the last.
    fn level(&self, topic: &str, depth: usize, known: &mut Vec<Level>) -> Option<Level> {
        while known.len() <= depth {
            let start = known.last().map_or(0, |last| last.end + 1);
            let rest = topic.as_bytes().get(start..)?;
            let len = rest.iter().position(|byte| *byte == b'/');
            let text = rest.get(..len.unwrap_or(rest.len()))?;
            known.push(Level {
                start,
                end: start + text.len(),
                hash: level_hash(text, &self.state),
            });
        }
        known.get(depth).copied()
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.arena.heap_bytes() + self.edges.allocation_size() + self.outside_bytes
    }

    fn collect_at(&self, id: u32, found: &mut Lookup) {
        if id != NONE
            && let Some(node) = self.arena.get(id)
        {
            node.subscribers.collect_into(found);
        }
    }

    /// Changes a node's subscribers and keeps count of their memory.
    fn edit<R>(
        &mut self,
        id: u32,
        change: impl FnOnce(&mut Subscribers, &FixedState) -> R,
    ) -> Option<R> {
        let subscribers = &mut self.arena.get_mut(id)?.subscribers;
        let before = subscribers.heap_bytes();
        let result = change(subscribers, &self.state);
        self.outside_bytes = self.outside_bytes + subscribers.heap_bytes() - before;
        Some(result)
    }

    /// The node of a Topic Filter.
    fn find(&self, filter: &str) -> Option<u32> {
        filter
            .split('/')
            .try_fold(ROOT, |id, level| self.child(id, level))
    }

    /// The node of a Topic Filter, made with all before it if need be.
    fn grow(&mut self, filter: &str) -> u32 {
        let mut id = ROOT;
        for level in filter.split('/') {
            id = match self.child(id, level) {
                Some(child) => child,
                None => self.add_child(id, level),
            };
        }
        id
    }

    fn child(&self, id: u32, level: &str) -> Option<u32> {
        let child = match level {
            "+" => self.arena.get(id)?.plus,
            "#" => self.arena.get(id)?.hash,
            text => self.literal(
                id,
                level_hash(text.as_bytes(), &self.state),
                text.as_bytes(),
            )?,
        };
        (child != NONE).then_some(child)
    }

    fn is_labelled(&self, id: u32, level: &[u8]) -> bool {
        let node = self.arena.get(id);
        node.is_some_and(|node| node.label.as_bytes() == level)
    }

    fn literal(&self, parent: u32, level_hash: u64, level: &[u8]) -> Option<u32> {
        let is_it = |&id: &u32| {
            self.arena
                .get(id)
                .is_some_and(|node| node.parent == parent && node.label.as_bytes() == level)
        };
        self.edges
            .find(edge_hash(parent, level_hash, &self.state), is_it)
            .copied()
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let literal = level != "+" && level != "#";
        let label = if literal {
            Label::new(level)
        } else {
            Label::EMPTY
        };
        self.outside_bytes += label.heap_bytes();
        let id = self.arena.insert(Node::new(parent, label));
        if let Some(node) = self.arena.get_mut(parent) {
            match level {
                "+" => node.plus = id,
                "#" => node.hash = id,
                _ => node.literals.add(id),
            }
        }
        if literal {
            let (arena, state) = (&self.arena, &self.state);
            let hasher = |&id: &u32| edge_hash_of(arena, id, state);
            self.edges.insert_unique(hasher(&id), id, hasher);
        }
        id
    }

    /// Removes the node and those before it, as far as nothing needs them.
    fn prune(&mut self, id: u32) {
        let mut id = id;
        while id != ROOT
            && let Some(node) = self.arena.get(id)
            && node.is_idle()
        {
            let parent = node.parent;
            self.outside_bytes -= node.label.heap_bytes();
            self.detach(parent, id);
            self.arena.remove(id);
            id = parent;
        }
        self.shrink_edges();
    }

    fn detach(&mut self, parent: u32, id: u32) {
        let hash = edge_hash_of(&self.arena, id, &self.state);
        let Some(node) = self.arena.get_mut(parent) else {
            return;
        };
        if node.plus == id {
            node.plus = NONE;
        } else if node.hash == id {
            node.hash = NONE;
        } else if let Ok(entry) = self.edges.find_entry(hash, |&held| held == id) {
            entry.remove();
            node.literals.remove();
        }
    }

    fn shrink_edges(&mut self) {
        // A place in the table takes five bytes: this is one part in eight in use.
        let bytes = self.edges.allocation_size();
        if bytes > EDGE_BYTES_KEPT && self.edges.len() * 40 < bytes {
            let (arena, state) = (&self.arena, &self.state);
            self.edges
                .shrink_to(self.edges.len() * 2, |&id| edge_hash_of(arena, id, state));
        }
    }
}

fn level_hash(level: &[u8], state: &FixedState) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(level);
    hasher.finish()
}

/// The hash of an edge, from the hash of its level so that a long level is hashed once for all its parents.
fn edge_hash(parent: u32, level_hash: u64, state: &FixedState) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u32(parent);
    hasher.write_u64(level_hash);
    hasher.finish()
}

fn edge_hash_of(arena: &Arena, id: u32, state: &FixedState) -> u64 {
    arena.get(id).map_or(0, |node| {
        edge_hash(node.parent, level_hash(node.label.as_bytes(), state), state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: Grant = Grant {
        qos: 0,
        no_local: false,
        retain_as_published: false,
        subscription_id: 0,
    };

    fn session(slot: u32) -> SessionKey {
        SessionKey {
            partition: 0,
            slot,
            serial: 0,
        }
    }

    /// Slots of the Sessions found, in order.
    fn slots(trie: &Trie, topic: &str) -> Vec<u32> {
        let mut found = Lookup::default();
        trie.collect(topic, &mut found);
        let mut slots: Vec<u32> = found
            .direct
            .iter()
            .map(|(session, _)| session.slot)
            .collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn finds_every_kind_of_filter() {
        let filters = [
            "a/b", "a/+", "a/#", "+/b", "#", "a", "+", "$s/#", "$s", "/b", "a//b",
        ];
        let mut trie = Trie::new(1);
        for (slot, filter) in (0..).zip(filters) {
            assert_eq!(trie.subscribe(filter, session(slot), GRANT), None);
        }
        assert_eq!(slots(&trie, "a/b"), [0, 1, 2, 3, 4]);
        assert_eq!(slots(&trie, "a"), [2, 4, 5, 6]);
        assert_eq!(slots(&trie, "$s"), [7, 8]);
        assert_eq!(slots(&trie, "$s/b"), [7]);
        assert_eq!(slots(&trie, "/b"), [3, 4, 9]);
        assert_eq!(slots(&trie, "a//b"), [2, 4, 10]);
        assert_eq!(slots(&trie, "a/"), [1, 2, 4]);
        assert_eq!(slots(&trie, "a/b/c"), [2, 4]);
    }

    #[test]
    fn nodes_go_with_their_last_subscriber() {
        let mut trie = Trie::new(1);
        let group = GroupKey {
            partition: 0,
            slot: 0,
        };
        trie.subscribe("a/+/c/#", session(1), GRANT);
        trie.subscribe("a/+", session(2), GRANT);
        trie.add_group("a/b", group);
        assert_eq!(trie.arena.len(), 6);
        assert_eq!(trie.unsubscribe("a/+/c", session(1)), None);
        assert_eq!(trie.unsubscribe("a/+/c/#", session(2)), None);
        assert_eq!(trie.unsubscribe("a/+/c/#", session(1)), Some(GRANT));
        assert_eq!(trie.arena.len(), 4);
        assert_eq!(trie.unsubscribe("a/+", session(2)), Some(GRANT));
        assert!(!trie.remove_group("a/c", group));
        assert!(trie.remove_group("a/b", group));
        assert_eq!(trie.arena.len(), 1);
        assert_eq!(
            (trie.subscriptions(), trie.groups(), trie.outside_bytes),
            (0, 0, 0)
        );
        assert!(trie.edges.is_empty());
    }

    #[test]
    fn the_deepest_filters_come_and_go() {
        let mut trie = Trie::new(1);
        let deepest = "/".repeat(32_767);
        let pluses = vec!["+"; 32_768].join("/");
        trie.subscribe(&deepest, session(1), GRANT);
        trie.subscribe(&pluses, session(2), GRANT);
        assert_eq!(slots(&trie, &deepest), [1, 2]);
        assert_eq!(trie.unsubscribe(&deepest, session(1)), Some(GRANT));
        assert_eq!(trie.unsubscribe(&pluses, session(2)), Some(GRANT));
        assert_eq!(trie.arena.len(), 1);
        assert!(trie.heap_bytes() < 50_000, "{} bytes", trie.heap_bytes());
    }

    #[test]
    fn long_levels_are_accounted() {
        let mut trie = Trie::new(1);
        let long = "x".repeat(1000);
        trie.subscribe(&long, session(1), GRANT);
        trie.subscribe(&format!("{long}/{long}"), session(1), GRANT);
        assert_eq!(trie.outside_bytes, 2000);
        trie.unsubscribe(&long, session(1));
        trie.unsubscribe(&format!("{long}/{long}"), session(1));
        assert_eq!(trie.outside_bytes, 0);
    }
}
