//! A list of keys with values that is small for few members and quick for many: past [`LINEAR_MAX`] a side table from
//! key to position keeps adding and removing independent of the number of members. Order is not kept on removal.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Up to this many members a scan of the list is all that is needed.
const LINEAR_MAX: usize = 32;
/// Down to this many members the side table is kept, so that going back and forth around `LINEAR_MAX` costs little.
const LINEAR_AGAIN: usize = 16;

/// Members without duplicates. The same hash state must be passed to every call.
pub(crate) struct Members<K, V> {
    list: Vec<(K, V)>,
    /// Positions in `list`, hashed by the key that stands there.
    positions: Option<HashTable<u32>>,
}

impl<K, V> Default for Members<K, V> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            positions: None,
        }
    }
}

impl<K: Copy + Eq + Hash, V: Copy> Members<K, V> {
    pub(crate) fn as_slice(&self) -> &[(K, V)] {
        &self.list
    }

    /// Adds or replaces; returns what was replaced.
    pub(crate) fn insert(&mut self, key: K, value: V, state: &FixedState) -> Option<V> {
        if let Some(at) = self.position(&key, state)
            && let Some((_, held)) = self.list.get_mut(at)
        {
            return Some(std::mem::replace(held, value));
        }
        self.list.push((key, value));
        if self.positions.is_some() || self.list.len() > LINEAR_MAX {
            self.note_last(state);
        }
        None
    }

    pub(crate) fn remove(&mut self, key: &K, state: &FixedState) -> Option<V> {
        let at = self.position(key, state)?;
        let last = self.list.len().saturating_sub(1);
        if let Some(positions) = &mut self.positions {
            let list = &self.list;
            if let Ok(entry) =
                positions.find_entry(state.hash_one(key), |&held| held as usize == at)
            {
                entry.remove();
            }
            // The last member moves into the gap.
            let moved = hash_at(list, last as u32, state);
            if at != last
                && let Some(position) = positions.find_mut(moved, |&held| held as usize == last)
            {
                *position = at as u32;
            }
        }
        let (_, value) = self.list.swap_remove(at);
        self.shrink(state);
        Some(value)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let positions = self
            .positions
            .as_ref()
            .map_or(0, HashTable::allocation_size);
        self.list.capacity() * size_of::<(K, V)>() + positions
    }

    fn position(&self, key: &K, state: &FixedState) -> Option<usize> {
        match &self.positions {
            None => self.list.iter().position(|(held, _)| held == key),
            Some(positions) => positions
                .find(state.hash_one(key), |&at| {
                    self.list
                        .get(at as usize)
                        .is_some_and(|(held, _)| held == key)
                })
                .map(|&at| at as usize),
        }
    }

    /// Enters the last member into the side table, or all of them into a new one.
    fn note_last(&mut self, state: &FixedState) {
        let list = &self.list;
        let hasher = |&at: &u32| hash_at(list, at, state);
        let count = list.len() as u32;
        match &mut self.positions {
            Some(positions) => {
                let last = count.saturating_sub(1);
                positions.insert_unique(hasher(&last), last, hasher);
            }
            None => {
                let mut positions = HashTable::with_capacity(list.len() * 2);
                for at in 0..count {
                    positions.insert_unique(hasher(&at), at, hasher);
                }
                self.positions = Some(positions);
            }
        }
    }

    /// Gives memory back once three quarters of it are unused.
    fn shrink(&mut self, state: &FixedState) {
        let len = self.list.len();
        if len <= LINEAR_AGAIN {
            self.positions = None;
        }
        if self.list.capacity() > 8 && len * 4 <= self.list.capacity() {
            self.list.shrink_to(len * 2);
            let list = &self.list;
            if let Some(positions) = &mut self.positions {
                positions.shrink_to(len * 2, |&at| hash_at(list, at, state));
            }
        }
    }
}

fn hash_at<K: Hash, V>(list: &[(K, V)], at: u32, state: &FixedState) -> u64 {
    list.get(at as usize)
        .map_or(0, |(key, _)| state.hash_one(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_members_at_every_size() {
        let state = FixedState::with_seed(7);
        let mut members = Members::default();
        for key in 0..1000_u32 {
            assert_eq!(members.insert(key, key * 2, &state), None);
            assert_eq!(members.insert(key, key * 3, &state), Some(key * 2));
        }
        assert_eq!(members.as_slice().len(), 1000);
        // Removal from both ends and the middle, with one look at a member that is not there.
        for key in (0..1000_u32).map(|n| (n * 617) % 1000) {
            assert_eq!(members.remove(&key, &state), Some(key * 3), "{key}");
            assert_eq!(members.remove(&key, &state), None, "{key}");
        }
        assert!(members.as_slice().is_empty());
    }

    #[test]
    fn gives_memory_back() {
        let state = FixedState::with_seed(7);
        let mut members = Members::default();
        for key in 0..10_000_u32 {
            members.insert(key, (), &state);
        }
        assert!(members.heap_bytes() >= 40_000);
        for key in 4..10_000_u32 {
            members.remove(&key, &state);
        }
        assert!(members.heap_bytes() <= 64, "{} bytes", members.heap_bytes());
        assert_eq!(members.as_slice().len(), 4);
    }
}
