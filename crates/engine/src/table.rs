//! A table of things with a number each, in chunks: growing moves nothing, and a chunk that is empty gives its
//! memory back, so that a burst of clients leaves nothing behind.

/// Things per chunk; a power of two.
const CHUNK: usize = 128;

/// No slot has this number.
const NO_SLOT: u32 = u32::MAX;

/// See the module. Numbers are used again after a removal.
pub(crate) struct Table<T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks with room; the last one is filled first.
    open: Vec<u32>,
    len: usize,
}

struct Chunk<T> {
    slots: Vec<Slot<T>>,
    /// The first free slot among `slots`.
    free: u32,
    used: u32,
    /// Stands in the table's list of chunks with room.
    is_open: bool,
}

enum Slot<T> {
    Used(T),
    /// The next free slot.
    Free(u32),
}

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self.chunks.get(at / CHUNK)?.slots.get(at % CHUNK)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match self.chunks.get_mut(at / CHUNK)?.slots.get_mut(at % CHUNK)? {
            Slot::Used(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// Adds what `make` makes of its number; returns the number.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(usize) -> T) -> usize {
        let at = match self.open.last() {
            Some(at) => *at as usize,
            None => self.open_chunk(),
        };
        let Some(chunk) = self.chunks.get_mut(at) else {
            unreachable!("the list holds chunks of the table");
        };
        let slot = chunk.next_slot();
        let number = at * CHUNK + slot;
        chunk.fill(slot, make(number));
        if chunk.is_full() {
            chunk.is_open = false;
            self.open.pop();
        }
        self.len += 1;
        number
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        let index = at / CHUNK;
        let chunk = self.chunks.get_mut(index)?;
        let value = chunk.remove(at % CHUNK)?;
        if !chunk.is_open {
            chunk.is_open = true;
            self.open.push(index as u32);
        }
        // One empty chunk is kept for whoever comes next.
        if chunk.used == 0 && self.open.len() > 1 {
            chunk.slots = Vec::new();
            chunk.free = NO_SLOT;
        }
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of them with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(index, chunk)| {
            let slots = chunk.slots.iter().enumerate();
            slots.filter_map(move |(slot, held)| match held {
                Slot::Used(value) => Some((index * CHUNK + slot, value)),
                Slot::Free(_) => None,
            })
        })
    }

    fn open_chunk(&mut self) -> usize {
        let at = self.chunks.len();
        self.chunks.push(Chunk {
            slots: Vec::new(),
            free: NO_SLOT,
            used: 0,
            is_open: true,
        });
        self.open.push(at as u32);
        at
    }
}

impl<T> Chunk<T> {
    fn is_full(&self) -> bool {
        self.used as usize == CHUNK
    }

    fn next_slot(&self) -> usize {
        if self.free == NO_SLOT {
            self.slots.len()
        } else {
            self.free as usize
        }
    }

    /// Puts a value where [`Chunk::next_slot`] says.
    fn fill(&mut self, slot: usize, value: T) {
        match self.slots.get_mut(slot) {
            Some(place) => {
                if let Slot::Free(next) = *place {
                    self.free = next;
                }
                *place = Slot::Used(value);
            }
            None => {
                if self.slots.capacity() == 0 {
                    self.slots.reserve_exact(CHUNK);
                }
                self.slots.push(Slot::Used(value));
            }
        }
        self.used += 1;
    }

    fn remove(&mut self, slot: usize) -> Option<T> {
        let place = self.slots.get_mut(slot)?;
        if matches!(place, Slot::Free(_)) {
            return None;
        }
        let Slot::Used(value) = std::mem::replace(place, Slot::Free(self.free)) else {
            return None;
        };
        self.free = slot as u32;
        self.used -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_chunk_gives_its_memory_back() {
        let mut table = Table::new();
        let numbers: Vec<usize> = (0..3 * CHUNK).map(|_| table.insert_with(|at| at)).collect();
        assert_eq!(numbers, (0..3 * CHUNK).collect::<Vec<_>>());
        for at in 0..2 * CHUNK {
            assert_eq!(table.remove(at), Some(at));
        }
        let held: Vec<usize> = table.chunks.iter().map(|c| c.slots.capacity()).collect();
        assert_eq!(held, [CHUNK, 0, CHUNK], "one is kept");
        // And they are filled again before another one is made.
        let again: BTreeSet<usize> = (0..2 * CHUNK).map(|_| table.insert_with(|at| at)).collect();
        assert_eq!(again, (0..2 * CHUNK).collect());
        assert_eq!(table.chunks.len(), 3);
    }

    proptest! {
        #[test]
        fn a_table_holds_what_was_put_in(steps in prop::collection::vec(any::<(bool, u16)>(), 1..1500)) {
            let mut table = Table::new();
            let mut model = BTreeMap::new();
            for (add, pick) in steps {
                if add {
                    let at = table.insert_with(|at| (at, pick));
                    prop_assert!(model.insert(at, (at, pick)).is_none(), "{at} was taken");
                } else {
                    let at = usize::from(pick) % (model.len() + 2);
                    prop_assert_eq!(table.remove(at), model.remove(&at));
                }
                prop_assert_eq!(table.len(), model.len());
            }
            let held: Vec<_> = table.iter().map(|(at, value)| (at, *value)).collect();
            prop_assert_eq!(&held, &model.clone().into_iter().collect::<Vec<_>>());
            for (at, value) in model {
                prop_assert_eq!(table.get(at), Some(&value));
                prop_assert_eq!(table.get_mut(at).copied(), Some(value));
            }
        }
    }
}
