//! Counters by which a reader knows, without the index's lock, whether what it resolved earlier still holds.
//!
//! A Topic Filter moves the narrowest counter that all Topic Names it can match depend on. Counters only grow, so two
//! equal sums of the same counters mean that none of them moved.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

/// Counters per kind; a power of two.
const SHARDS: usize = 4096;

/// Which counters a Topic Name depends on.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct TopicShards {
    first_level: u16,
    /// None for a Topic Name of one level.
    two_levels: Option<u16>,
}

/// On cache lines of its own: every PUBLISH reads here, and the lock beside it is written on every cache miss.
#[repr(align(128))]
pub(crate) struct Generations {
    /// Filters that begin with a wildcard.
    all: AtomicU64,
    /// Filters of one level, or with a wildcard in the second, by hash of the first.
    first_level: Box<[AtomicU64]>,
    /// The other filters, by hash of the first two levels.
    two_levels: Box<[AtomicU64]>,
    state: FixedState,
}

impl Generations {
    pub(crate) fn new(hash_seed: u64) -> Self {
        let counters = || -> Box<[AtomicU64]> { (0..SHARDS).map(|_| AtomicU64::new(0)).collect() };
        Self {
            all: AtomicU64::new(0),
            first_level: counters(),
            two_levels: counters(),
            state: FixedState::with_seed(hash_seed),
        }
    }

    pub(crate) fn shards(&self, topic: &str) -> TopicShards {
        let (first, two) = prefixes(topic);
        TopicShards {
            first_level: self.shard(first),
            two_levels: two.map(|two| self.shard(two)),
        }
    }

    pub(crate) fn sum(&self, shards: TopicShards) -> u64 {
        let two_levels = shards.two_levels.map_or(0, |at| load(&self.two_levels, at));
        self.all
            .load(Ordering::Acquire)
            .wrapping_add(load(&self.first_level, shards.first_level))
            .wrapping_add(two_levels)
    }

    /// To be called once the change to this Topic Filter is visible.
    pub(crate) fn bump(&self, filter: &str) {
        if let Some(counter) = self.counter(filter) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.first_level) + size_of_val(&*self.two_levels)
    }

    fn counter(&self, filter: &str) -> Option<&AtomicU64> {
        let (first, two) = prefixes(filter);
        if is_wildcard(first) {
            return Some(&self.all);
        }
        let second = two.and_then(|two| two.get(first.len() + 1..));
        match (two, second) {
            (Some(two), Some(second)) if !is_wildcard(second) => {
                self.two_levels.get(usize::from(self.shard(two)))
            }
            // One level, `x/+` or `x/#`; the last also matches `x`.
            _ => self.first_level.get(usize::from(self.shard(first))),
        }
    }

    fn shard(&self, prefix: &str) -> u16 {
        let mut hasher = self.state.build_hasher();
        hasher.write(prefix.as_bytes());
        (hasher.finish() % SHARDS as u64) as u16
    }
}

fn load(counters: &[AtomicU64], at: u16) -> u64 {
    counters
        .get(usize::from(at))
        .map_or(0, |counter| counter.load(Ordering::Acquire))
}

fn is_wildcard(level: &str) -> bool {
    level == "+" || level == "#"
}

/// The text of the first level, and that of the first two with the `/` between them if there are two.
fn prefixes(text: &str) -> (&str, Option<&str>) {
    let mut ends = text.match_indices('/').map(|(at, _)| at);
    let Some(first) = ends.next() else {
        return (text, None);
    };
    let two = ends.next().unwrap_or(text.len());
    (text.get(..first).unwrap_or(text), text.get(..two))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a change to the filter is seen by those who watch the topic.
    fn seen(filter: &str, topic: &str) -> bool {
        let generations = Generations::new(3);
        let shards = generations.shards(topic);
        let before = generations.sum(shards);
        generations.bump(filter);
        generations.sum(shards) != before
    }

    #[test]
    fn prefixes_are_cut_at_slashes() {
        for (text, expected) in [
            ("a", ("a", None)),
            ("a/", ("a", Some("a/"))),
            ("/", ("", Some("/"))),
            ("a/b", ("a", Some("a/b"))),
            ("a/b/c/d", ("a", Some("a/b"))),
            ("//", ("", Some("/"))),
        ] {
            assert_eq!(prefixes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_filter_is_seen_by_what_it_can_match() {
        for (filter, topic) in [
            ("#", "a/b/c"),
            ("+", "a"),
            ("+/b", "a/b"),
            ("a", "a"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+/c", "a/b/c"),
            ("a/b/#", "a/b"),
            ("a/b/+", "a/b/c"),
            ("/", "/"),
            ("/+", "/b"),
        ] {
            assert!(seen(filter, topic), "{filter} on {topic}");
        }
    }

    #[test]
    fn a_filter_leaves_other_topics_alone() {
        for (filter, topic) in [
            ("a/b", "a/c"),
            ("a/b", "a"),
            ("a/b/c", "b/b/c"),
            ("a/+", "b/a"),
            ("a", "b"),
            ("site/1/+/temp", "site/2/x/temp"),
        ] {
            assert!(!seen(filter, topic), "{filter} on {topic}");
        }
    }
}
