//! The shared index: the trie behind its lock, and the generations beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::generations::{Generations, TopicShards};
use crate::keys::{Grant, GroupKey, SessionKey};
use crate::resolve::{Lookup, Route};
use crate::trie::Trie;

/// All Subscriptions of the broker, shared by its workers.
///
/// Readers come here when their cache misses; whether a cached [`Route`] still holds is answered by
/// [`RouteIndex::generation`] without the lock.
pub struct RouteIndex {
    trie: RwLock<Trie>,
    generations: Generations,
    /// Changes so far; orders a route against an UNSUBSCRIBE.
    version: AtomicU64,
    /// Changes of retained messages so far, of all workers.
    retain_version: AtomicU64,
}

impl RouteIndex {
    /// An empty index. The seed should be secret and random: topics and filters are attackers' data.
    pub fn new(hash_seed: u64) -> Self {
        Self {
            trie: RwLock::new(Trie::new(hash_seed)),
            generations: Generations::new(hash_seed),
            version: AtomicU64::new(0),
            retain_version: AtomicU64::new(0),
        }
    }

    /// Adds a Subscription or replaces it; returns what it replaced. The filter is valid, and without `$share/NAME/`.
    pub fn subscribe(&self, filter: &str, session: SessionKey, grant: Grant) -> Option<Grant> {
        let replaced = self.write().subscribe(filter, session, grant);
        // A client that subscribes again to what it has must not empty caches.
        if replaced != Some(grant) {
            self.changed(filter);
        }
        replaced
    }

    /// How many changes were made so far. A [`Route`] that was found current after this was read knows all of them.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The next place among the changes of retained messages, from 1: one order for all workers.
    pub fn next_retain_version(&self) -> u64 {
        self.retain_version.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn changed(&self, filter: &str) {
        self.generations.bump(filter);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Removes a Subscription; returns what it was.
    pub fn unsubscribe(&self, filter: &str, session: SessionKey) -> Option<Grant> {
        let removed = self.write().unsubscribe(filter, session);
        if removed.is_some() {
            self.changed(filter);
        }
        removed
    }

    /// Enters a Shared Subscription; false if it was there. The filter is without `$share/NAME/`.
    pub fn add_group(&self, filter: &str, group: GroupKey) -> bool {
        let added = self.write().add_group(filter, group);
        if added {
            self.changed(filter);
        }
        added
    }

    /// Removes a Shared Subscription; false if it was not there.
    pub fn remove_group(&self, filter: &str, group: GroupKey) -> bool {
        let removed = self.write().remove_group(filter, group);
        if removed {
            self.changed(filter);
        }
        removed
    }

    /// All that match a Topic Name, by partition, then slot; the overlapping Subscriptions of one Session merged.
    pub fn resolve(&self, topic: &str) -> Route {
        let mut route = Route::default();
        self.resolve_into(topic, &mut Lookup::default(), &mut route);
        route
    }

    /// The same in memory that is there already.
    pub fn resolve_into(&self, topic: &str, lookup: &mut Lookup, route: &mut Route) {
        route.shards = self.topic_shards(topic);
        // First the generation, then the trie: a change in between makes the Route look older than it is, never newer.
        route.generation = self.generation(route.shards);
        lookup.clear();
        self.read().collect(topic, lookup);
        lookup.put_into(route);
    }

    /// The current generation. As long as it does not change, neither does what the Topic Name resolves to.
    pub fn generation(&self, shards: TopicShards) -> u64 {
        self.generations.sum(shards)
    }

    /// The counters that a Topic Name depends on; the same for the life of the index.
    pub fn topic_shards(&self, topic: &str) -> TopicShards {
        self.generations.shards(topic)
    }

    /// How many Subscriptions there are, without Shared Subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.read().subscriptions()
    }

    /// How many Shared Subscriptions there are.
    pub fn groups(&self) -> usize {
        self.read().groups()
    }

    /// Memory held, estimated: what was asked of the allocator, without its own overhead.
    pub fn heap_bytes(&self) -> usize {
        self.generations.heap_bytes() + self.read().heap_bytes()
    }

    // A panic in the trie could cost an entry; refusing all work from then on would cost more. Poison is passed over.
    fn read(&self) -> RwLockReadGuard<'_, Trie> {
        self.trie.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Trie> {
        self.trie.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANT: Grant = Grant {
        qos: 1,
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

    const fn is_shared<T: Send + Sync>() {}
    const _: () = is_shared::<RouteIndex>();

    #[test]
    fn a_route_is_current_until_something_changes() {
        let index = RouteIndex::new(1);
        let group = GroupKey {
            partition: 0,
            slot: 1,
        };
        let empty = index.resolve("a/b");
        assert_eq!(index.generation(empty.shards), empty.generation);

        index.subscribe("a/+", session(1), GRANT);
        let one = index.resolve("a/b");
        assert_ne!(one.generation, empty.generation);
        assert_eq!(one.direct.len(), 1);

        // Nothing changes here.
        assert_eq!(index.subscribe("a/+", session(1), GRANT), Some(GRANT));
        assert_eq!(index.unsubscribe("a/+", session(2)), None);
        assert!(!index.remove_group("a/+", group));
        index.subscribe("b/+", session(1), GRANT);
        assert_eq!(index.resolve("a/b"), one);

        assert!(index.add_group("a/b", group));
        assert!(!index.add_group("a/b", group));
        assert_eq!(*index.resolve("a/b").groups, [group]);
        assert_eq!((index.subscriptions(), index.groups()), (2, 1));
        assert_ne!(index.generation(one.shards), one.generation);
    }

    #[test]
    fn a_changed_grant_is_a_change() {
        let index = RouteIndex::new(1);
        index.subscribe("a", session(1), GRANT);
        let before = index.resolve("a");
        let lower = Grant { qos: 0, ..GRANT };
        assert_eq!(index.subscribe("a", session(1), lower), Some(GRANT));
        let after = index.resolve("a");
        assert_ne!(after.generation, before.generation);
        assert_eq!(
            after.direct.first().map(|target| target.merged.qos),
            Some(0)
        );
        assert_eq!(index.subscriptions(), 1);
    }

    #[test]
    fn a_subscription_of_a_plant_takes_less_than_300_bytes() {
        let index = RouteIndex::new(1);
        let sites = 15_000;
        for site in 0..sites {
            index.subscribe(&format!("site/{site}/+/temp"), session(site), GRANT);
        }
        let each = index.heap_bytes() / sites as usize;
        assert!(each <= 300, "{each} bytes");
        assert_eq!(index.resolve("site/777/oven/temp").direct.len(), 1);
    }
}
