//! A worker's memory of what Topic Names resolved to, bounded in bytes: topics are attackers' data.
//!
//! Eviction is second chance: entries stand in a ring, a look-up marks its entry, and the hand that looks for room
//! takes the first unmarked one. New entries come unmarked, so that topics used once do not displace those in use.
//! Whether a value is still true is for the caller to check.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Counted per entry on top of its own size: its place in the hash table, and the allocator's share.
const OVERHEAD_BYTES: usize = 32;

/// Bytes of the cache per place in the memory of misses.
const BYTES_PER_MISS: usize = 128;

/// One Topic Name with what it resolved to.
pub struct Entry<T> {
    /// What was inserted.
    pub value: T,
    topic: Arc<str>,
    hash: u64,
    charge_bytes: usize,
    /// Looked up since the hand last passed.
    used: bool,
}

/// From Topic Name to `T`, for one worker.
pub struct TopicCache<T> {
    /// The ring, without gaps.
    entries: Vec<Entry<T>>,
    /// Positions in `entries`, by hash of the topic.
    positions: HashTable<u32>,
    /// Where the search for room goes on.
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    /// A few bits of the hash of the last topic that was missed at each place; see [`TopicCache::missed`].
    misses: Box<[u16]>,
    state: FixedState,
}

impl<T> TopicCache<T> {
    /// An empty cache that will hold at most `bytes_max`.
    pub fn new(bytes_max: usize, hash_seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            positions: HashTable::new(),
            hand: 0,
            bytes: 0,
            bytes_max,
            misses: vec![0; (bytes_max / BYTES_PER_MISS).next_power_of_two()].into(),
            state: FixedState::with_seed(hash_seed),
        }
    }

    /// The entry of a Topic Name, if it is still here.
    #[inline]
    pub fn get(&mut self, topic: &[u8]) -> Option<&Entry<T>> {
        let at = self.position(self.hash(topic), topic)?;
        let entry = self.entries.get_mut(at)?;
        entry.used = true;
        Some(&*entry)
    }

    /// Notes that a Topic Name was not here, and says whether it is worth keeping: it was missed before, and lately.
    /// Topics that are used once would cost more to keep than to resolve.
    pub fn missed(&mut self, topic: &[u8]) -> bool {
        let hash = self.hash(topic);
        let at = hash as usize & (self.misses.len() - 1);
        // 0 stands for none.
        let bits = (hash >> 48) as u16 | 1;
        self.misses
            .get_mut(at)
            .is_some_and(|place| std::mem::replace(place, bits) == bits)
    }

    /// Remembers a value in place of any earlier one. `extra_bytes` is what the value holds on the heap. A value that
    /// is larger than the whole cache is not kept.
    pub fn insert(&mut self, topic: Arc<str>, value: T, extra_bytes: usize) {
        let hash = self.hash(topic.as_bytes());
        if let Some(at) = self.position(hash, topic.as_bytes()) {
            self.remove_at(at);
        }
        let charge_bytes =
            extra_bytes.saturating_add(topic.len() + size_of::<Entry<T>>() + OVERHEAD_BYTES);
        if charge_bytes > self.bytes_max {
            return;
        }
        while self.bytes > self.bytes_max - charge_bytes {
            self.evict();
        }
        let at = self.entries.len() as u32;
        self.entries.push(Entry {
            value,
            topic,
            hash,
            charge_bytes,
            used: false,
        });
        self.bytes += charge_bytes;
        let entries = &self.entries;
        self.positions
            .insert_unique(hash, at, |&at| hash_at(entries, at));
    }

    /// How many Topic Names are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The sum of what the entries hold, never more than the bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets all and gives the memory back.
    pub fn clear(&mut self) {
        self.entries = Vec::new();
        self.positions = HashTable::new();
        self.hand = 0;
        self.bytes = 0;
    }

    #[inline]
    fn hash(&self, topic: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(topic);
        hasher.finish()
    }

    #[inline]
    fn position(&self, hash: u64, topic: &[u8]) -> Option<usize> {
        self.positions
            .find(hash, |&at| {
                self.entries
                    .get(at as usize)
                    .is_some_and(|entry| *entry.topic.as_bytes() == *topic)
            })
            .map(|&at| at as usize)
    }

    /// Removes one entry: after one turn of the hand none is marked, so it ends.
    fn evict(&mut self) {
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else {
                // Nothing to evict: nothing is held.
                self.bytes = 0;
                return;
            };
            if entry.used {
                entry.used = false;
                self.hand += 1;
            } else {
                self.remove_at(self.hand);
                // The entry that moved here came from the end of the ring: it has its turn still to come.
                self.hand += 1;
                return;
            }
        }
    }

    /// Takes an entry out; the last one moves into the gap.
    fn remove_at(&mut self, at: usize) {
        let Some(entry) = self.entries.get(at) else {
            return;
        };
        if let Ok(position) = self
            .positions
            .find_entry(entry.hash, |&held| held as usize == at)
        {
            position.remove();
        }
        self.bytes -= entry.charge_bytes;
        let last = self.entries.len() - 1;
        let moved = hash_at(&self.entries, last as u32);
        if at != last
            && let Some(position) = self
                .positions
                .find_mut(moved, |&held| held as usize == last)
        {
            *position = at as u32;
        }
        self.entries.swap_remove(at);
    }
}

fn hash_at<T>(entries: &[Entry<T>], at: u32) -> u64 {
    entries.get(at as usize).map_or(0, |entry| entry.hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGE: usize = size_of::<Entry<u32>>() + OVERHEAD_BYTES + 4;

    /// Room for `count` entries with topics of four bytes.
    fn cache(count: usize) -> TopicCache<u32> {
        TopicCache::new(CHARGE * count, 1)
    }

    fn topic(n: u32) -> Arc<str> {
        format!("{n:04x}").into()
    }

    fn value(cache: &mut TopicCache<u32>, n: u32) -> Option<u32> {
        cache.get(topic(n).as_bytes()).map(|entry| entry.value)
    }

    #[test]
    fn a_topic_that_is_missed_again_is_worth_keeping() {
        let mut cache = cache(10_000);
        assert!(!cache.missed(b"often"));
        assert!(cache.missed(b"often"));
        let once = (0..10_000u32).filter(|n| cache.missed(&n.to_be_bytes()));
        // Chance lets hardly one in.
        assert!(once.count() < 10);
    }

    #[test]
    fn remembers_and_replaces() {
        let mut cache = cache(10);
        assert_eq!(value(&mut cache, 1), None);
        cache.insert(topic(1), 10, 0);
        cache.insert(topic(1), 11, 0);
        assert_eq!(value(&mut cache, 1), Some(11));
        assert_eq!((cache.len(), cache.bytes()), (1, CHARGE));
        cache.clear();
        assert_eq!(value(&mut cache, 1), None);
        assert_eq!((cache.len(), cache.bytes(), cache.is_empty()), (0, 0, true));
    }

    #[test]
    fn topics_in_use_outlive_a_flood() {
        let mut cache = cache(100);
        for n in 0..50 {
            cache.insert(topic(n), n, 0);
        }
        for flood in 1000..20_000 {
            for n in (0..50).filter(|n| (n + flood) % 7 == 0) {
                assert_eq!(value(&mut cache, n), Some(n), "flood at {flood}");
            }
            cache.insert(topic(flood), flood, 0);
        }
        assert_eq!(cache.len(), 100);
    }

    #[test]
    fn a_value_too_large_is_not_kept_and_ends_the_earlier_one() {
        let mut cache = cache(2);
        cache.insert(topic(1), 1, 0);
        cache.insert(topic(2), 2, 0);
        cache.insert(topic(1), 3, 2 * CHARGE);
        assert_eq!(value(&mut cache, 1), None);
        assert_eq!(value(&mut cache, 2), Some(2));
        cache.insert(topic(3), 3, usize::MAX);
        assert_eq!(value(&mut cache, 3), None);
        // A large one that fits makes room for itself.
        cache.insert(topic(4), 4, CHARGE);
        assert_eq!(value(&mut cache, 4), Some(4));
        assert_eq!((cache.len(), cache.bytes()), (1, 2 * CHARGE));
    }
}
