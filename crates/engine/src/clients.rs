//! Which Session belongs to a Client Identifier. The identifiers themselves stand in the Sessions only.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::session::Session;
use crate::table::Table;

/// Slots of Sessions by Client Identifier.
pub(crate) struct Clients {
    slots: HashTable<u32>,
    hasher: FixedState,
}

impl Clients {
    pub(crate) fn new(hasher: FixedState) -> Self {
        Self {
            slots: HashTable::new(),
            hasher,
        }
    }

    /// The slot of a client's Session.
    pub(crate) fn get(&self, client_id: &str, sessions: &Table<Session>) -> Option<u32> {
        let is_it = |slot: &u32| {
            let session = sessions.get(*slot as usize);
            session.is_some_and(|session| *session.publisher.client_id == *client_id)
        };
        let hash = hash_of(&self.hasher, client_id);
        self.slots.find(hash, is_it).copied()
    }

    /// Enters a Session that stands in `sessions` already, and whose client has no other.
    pub(crate) fn insert(&mut self, client_id: &str, slot: u32, sessions: &Table<Session>) {
        let hasher = &self.hasher;
        let again = |slot: &u32| {
            let session = sessions.get(*slot as usize);
            session.map_or(0, |session| hash_of(hasher, &session.publisher.client_id))
        };
        self.slots
            .insert_unique(hash_of(hasher, client_id), slot, again);
    }

    /// Removes what [`Clients::insert`] entered.
    pub(crate) fn remove(&mut self, client_id: &str, slot: u32) {
        let hash = hash_of(&self.hasher, client_id);
        if let Ok(entry) = self.slots.find_entry(hash, |held| *held == slot) {
            entry.remove();
        }
    }
}

fn hash_of(hasher: &FixedState, client_id: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(client_id.as_bytes());
    hasher.finish()
}
