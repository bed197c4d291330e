//! The nodes of the trie, in chunks: growing copies no node, a chunk without nodes gives its memory back, and an id
//! stays valid until its node is removed. Ids are used again afterwards.

use crate::label::Label;
use crate::subscribers::Subscribers;

/// No node. The root is nobody's child, so that its id is free to say this in child fields.
pub(crate) const NONE: u32 = 0;
/// The root: the place before the first level.
pub(crate) const ROOT: u32 = 0;

const CHUNK_BITS: u32 = 9;
const CHUNK_NODES: usize = 1 << CHUNK_BITS;
const SLOT_MASK: u32 = (1 << CHUNK_BITS) - 1;
/// The end of a chunk's list of free slots; no slot has this number.
const NO_SLOT: u32 = u32::MAX;

/// One level of one or more Topic Filters; 64 bytes. Children whose level is plain text are found through the edges
/// of the trie.
pub(crate) struct Node {
    /// The node of the level before. In a free slot: the next free slot of the chunk.
    pub(crate) parent: u32,
    /// The child for level `+`, or [`NONE`].
    pub(crate) plus: u32,
    /// The child for level `#`, or [`NONE`].
    pub(crate) hash: u32,
    /// The children whose level is plain text.
    pub(crate) literals: Literals,
    /// This node's level; empty for the root and wildcards.
    pub(crate) label: Label,
    pub(crate) subscribers: Subscribers,
}

/// How many children with a level of plain text there are; or which one, if there was never another.
#[derive(Clone, Copy, Default)]
pub(crate) struct Literals(u32);

impl Literals {
    /// Set: the rest is the id of the only child.
    const ONLY: u32 = 1 << 31;

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The only child, if it is known.
    pub(crate) fn only(self) -> Option<u32> {
        (self.0 & Self::ONLY != 0).then_some(self.0 & !Self::ONLY)
    }

    pub(crate) fn add(&mut self, id: u32) {
        self.0 = match self.only() {
            Some(_) => 2,
            None if self.0 == 0 && id & Self::ONLY == 0 => id | Self::ONLY,
            None => self.0 + 1,
        };
    }

    pub(crate) fn remove(&mut self) {
        self.0 = if self.only().is_some() { 0 } else { self.0 - 1 };
    }
}

impl Node {
    pub(crate) fn new(parent: u32, label: Label) -> Self {
        Self {
            parent,
            plus: NONE,
            hash: NONE,
            literals: Literals::default(),
            label,
            subscribers: Subscribers::Nobody,
        }
    }

    /// Whether nothing needs this node.
    pub(crate) fn is_idle(&self) -> bool {
        self.plus == NONE
            && self.hash == NONE
            && self.literals.is_empty()
            && self.subscribers.is_empty()
    }
}

/// All nodes. The first one inserted is the root and stays.
pub(crate) struct Arena {
    chunks: Vec<Chunk>,
    /// The chunks that have room, in no order.
    open: Vec<u32>,
}

struct Chunk {
    nodes: Vec<Node>,
    /// The first of the free slots among `nodes`, or [`NO_SLOT`].
    free: u32,
    live: u32,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let mut arena = Self {
            chunks: Vec::new(),
            open: Vec::new(),
        };
        arena.insert(Node::new(ROOT, Label::EMPTY));
        arena
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Node> {
        self.chunks.get(chunk_of(id))?.nodes.get(slot_of(id))
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Node> {
        self.chunks
            .get_mut(chunk_of(id))?
            .nodes
            .get_mut(slot_of(id))
    }

    /// Returns the id. Memory ends long before the ids do: 2^32 nodes take 256 GiB.
    pub(crate) fn insert(&mut self, node: Node) -> u32 {
        if let Some(&at) = self.open.last()
            && let Some(chunk) = self.chunks.get_mut(at as usize)
        {
            let slot = chunk.insert(node);
            if chunk.is_full() {
                self.open.pop();
            }
            return (at << CHUNK_BITS) | slot;
        }
        let at = self.chunks.len() as u32;
        let mut chunk = Chunk::new();
        let slot = chunk.insert(node);
        self.chunks.push(chunk);
        self.open.push(at);
        (at << CHUNK_BITS) | slot
    }

    /// Frees the node; its id may be given out again.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(chunk) = self.chunks.get_mut(chunk_of(id)) else {
            return;
        };
        if chunk.is_full() {
            self.open.push(id >> CHUNK_BITS);
        }
        chunk.remove(id & SLOT_MASK);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let nodes: usize = self.chunks.iter().map(|chunk| chunk.nodes.capacity()).sum();
        nodes * size_of::<Node>()
            + self.chunks.capacity() * size_of::<Chunk>()
            + self.open.capacity() * size_of::<u32>()
    }

    /// How many nodes there are, the root included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.live as usize).sum()
    }
}

impl Chunk {
    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NO_SLOT,
            live: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.live as usize == CHUNK_NODES
    }

    /// Returns the slot. The chunk is not full.
    fn insert(&mut self, node: Node) -> u32 {
        self.live += 1;
        let free = self.free;
        if let Some(place) = self.nodes.get_mut(free as usize) {
            self.free = place.parent;
            *place = node;
            return free;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The slot holds a node.
    fn remove(&mut self, slot: u32) {
        self.live -= 1;
        if self.live == 0 {
            *self = Self::new();
        } else if let Some(place) = self.nodes.get_mut(slot as usize) {
            *place = Node::new(self.free, Label::EMPTY);
            self.free = slot;
        }
    }
}

fn chunk_of(id: u32) -> usize {
    (id >> CHUNK_BITS) as usize
}

fn slot_of(id: u32) -> usize {
    (id & SLOT_MASK) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_only_child_is_known_until_there_is_another() {
        let mut literals = Literals::default();
        assert!(literals.is_empty() && literals.only().is_none());
        literals.add(7);
        assert_eq!(literals.only(), Some(7));
        literals.add(9);
        literals.remove();
        // Which one is left is not known.
        assert!(!literals.is_empty() && literals.only().is_none());
        literals.remove();
        assert!(literals.is_empty());
        literals.add(3);
        literals.remove();
        assert!(literals.is_empty() && literals.only().is_none());
    }

    #[test]
    fn a_node_fills_one_cache_line() {
        assert!(size_of::<Node>() <= 64, "{} bytes", size_of::<Node>());
    }

    #[test]
    fn ids_are_used_again_and_memory_returns() {
        let mut arena = Arena::new();
        let mut ids: Vec<u32> = (0..3000)
            .map(|n| arena.insert(Node::new(n, Label::EMPTY)))
            .collect();
        let full = arena.heap_bytes();
        assert_eq!(arena.len(), 3001);

        // Every second node goes, and comes back in the slots that became free.
        for id in ids.iter().step_by(2) {
            arena.remove(*id);
        }
        for id in ids.iter_mut().step_by(2) {
            *id = arena.insert(Node::new(7, Label::EMPTY));
        }
        assert_eq!(arena.len(), 3001);
        assert!(
            arena.heap_bytes() <= full + 64,
            "{} bytes, was {full}",
            arena.heap_bytes()
        );
        for (at, id) in ids.iter().enumerate() {
            let expected = if at % 2 == 0 { 7 } else { at as u32 };
            assert_eq!(arena.get(*id).map(|node| node.parent), Some(expected));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3000);
        assert!(!ids.contains(&ROOT));

        for id in ids {
            arena.remove(id);
        }
        assert_eq!(arena.len(), 1);
        assert!(arena.heap_bytes() < 40_000, "{} bytes", arena.heap_bytes());
    }
}
