//! The receiver of QoS 1 and QoS 2 PUBLISH packets: which QoS 2 Packet Identifiers are open, and
//! whether the peer keeps to our Receive Maximum.
//!
//! ```text
//!            PUBLISH (new id)                    PUBREL
//!   free ───────────────────────▶ held ───────────────────────▶ free
//!                                  │ ▲
//!                                  └─┘ PUBLISH (same id): a duplicate, answered but not delivered
//! ```

use dunlin_packet::PacketId;

use crate::on_demand::OnDemand;

/// Open QoS 2 exchanges of a Session, and the Receive Maximum account of its connection.
#[derive(Debug, Default)]
pub struct Inbound {
    held: OnDemand<PacketIdSet>,
    /// QoS 1 and 2 PUBLISH packets whose first acknowledgement waits for a store.
    unacknowledged: u32,
    warned: bool,
}

/// What to do about a peer that has more open PUBLISH packets than our Receive Maximum allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrun {
    /// Within the quota, or overrun in lenient mode and already warned about.
    Accept,
    /// First overrun of this connection in lenient mode: tell the log once.
    Warn,
    /// DISCONNECT with 0x93.
    Disconnect,
}

impl Inbound {
    /// Whether `id` belongs to a QoS 2 exchange that PUBREL has not closed.
    #[must_use]
    pub fn is_held(&self, id: PacketId) -> bool {
        self.held.get().is_some_and(|held| held.contains(id))
    }

    /// Opens a QoS 2 exchange. False if it was open already: the PUBLISH is a duplicate and its
    /// message must not be delivered again (v5[MQTT-4.3.3-10]).
    pub fn hold(&mut self, id: PacketId) -> bool {
        self.held.make().insert(id)
    }

    /// Closes a QoS 2 exchange at PUBREL. False if it was not open: Reason Code 0x92 on 5.0.
    pub fn release(&mut self, id: PacketId) -> bool {
        self.held.get_mut().is_some_and(|held| held.remove(id))
    }

    /// Open QoS 2 Packet Identifiers, in no particular order.
    pub fn held(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.held.get().into_iter().flat_map(PacketIdSet::iter)
    }

    /// Counts one PUBLISH whose first acknowledgement has to wait.
    pub fn wait_begins(&mut self) {
        self.unacknowledged += 1;
    }

    /// The acknowledgement of such a PUBLISH has left.
    pub fn wait_ends(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// Checks the account after a QoS 1 or 2 PUBLISH was counted.
    ///
    /// Strict: 0x93 at the first packet beyond `receive_maximum` (v5[MQTT-3.3.4-7] binds the peer,
    /// and §4.9 has the receiver close). Lenient: clients in the field get it wrong, so one warning, and 0x93 only at
    /// ten times the value.
    pub fn check_quota(&mut self, receive_maximum: u16, strict: bool) -> Overrun {
        self.check(0, receive_maximum, strict)
    }

    /// Checks the account with one more PUBLISH that is not counted yet.
    pub fn check_arrival(&mut self, receive_maximum: u16, strict: bool) -> Overrun {
        self.check(1, receive_maximum, strict)
    }

    fn check(&mut self, arriving: u64, receive_maximum: u16, strict: bool) -> Overrun {
        let held = self.held.get().map_or(0, PacketIdSet::len);
        let open = held as u64 + u64::from(self.unacknowledged) + arriving;
        let maximum = u64::from(receive_maximum);
        if open <= maximum {
            return Overrun::Accept;
        }
        if strict || open > maximum * 10 {
            return Overrun::Disconnect;
        }
        if std::mem::replace(&mut self.warned, true) {
            Overrun::Accept
        } else {
            Overrun::Warn
        }
    }

    /// Forgets what belonged to the old Network Connection; open QoS 2 exchanges are Session State
    /// and stay.
    pub fn new_connection(&mut self) {
        self.unacknowledged = 0;
        self.warned = false;
    }
}

/// A set of Packet Identifiers: a short list, or a bitmap of 8 KiB once it has grown.
#[derive(Debug)]
pub struct PacketIdSet {
    repr: Repr,
}

#[derive(Debug)]
enum Repr {
    List(Vec<PacketId>),
    Bitmap { words: Box<[u64]>, len: usize },
}

const LIST_MAX: usize = 64;
const WORDS: usize = 65_536 / 64;

impl Default for PacketIdSet {
    fn default() -> Self {
        Self {
            repr: Repr::List(Vec::new()),
        }
    }
}

impl PacketIdSet {
    /// How many identifiers are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::List(list) => list.len(),
            Repr::Bitmap { len, .. } => *len,
        }
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `id` is in the set.
    #[must_use]
    pub fn contains(&self, id: PacketId) -> bool {
        match &self.repr {
            Repr::List(list) => list.contains(&id),
            Repr::Bitmap { words, .. } => {
                let (word, bit) = place(id);
                words.get(word).is_some_and(|w| w & bit != 0)
            }
        }
    }

    /// Adds `id`; false if it was there.
    pub fn insert(&mut self, id: PacketId) -> bool {
        if self.contains(id) {
            return false;
        }
        match &mut self.repr {
            Repr::List(list) if list.len() < LIST_MAX => list.push(id),
            Repr::List(list) => {
                let mut words = vec![0u64; WORDS].into_boxed_slice();
                let len = list.len() + 1;
                for held in list.iter().copied().chain([id]) {
                    let (word, bit) = place(held);
                    if let Some(w) = words.get_mut(word) {
                        *w |= bit;
                    }
                }
                self.repr = Repr::Bitmap { words, len };
            }
            Repr::Bitmap { words, len } => {
                let (word, bit) = place(id);
                if let Some(w) = words.get_mut(word) {
                    *w |= bit;
                }
                *len += 1;
            }
        }
        true
    }

    /// Removes `id`; false if it was not there.
    pub fn remove(&mut self, id: PacketId) -> bool {
        match &mut self.repr {
            Repr::List(list) => match list.iter().position(|held| *held == id) {
                Some(at) => {
                    list.swap_remove(at);
                    true
                }
                None => false,
            },
            Repr::Bitmap { words, len } => {
                let (word, bit) = place(id);
                let Some(w) = words.get_mut(word).filter(|w| **w & bit != 0) else {
                    return false;
                };
                *w &= !bit;
                *len -= 1;
                if *len == 0 {
                    self.repr = Repr::List(Vec::new());
                }
                true
            }
        }
    }

    /// All identifiers, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = PacketId> + '_ {
        let (list, words): (&[PacketId], &[u64]) = match &self.repr {
            Repr::List(list) => (list, &[]),
            Repr::Bitmap { words, .. } => (&[], words),
        };
        let from_bitmap = words.iter().enumerate().flat_map(|(at, word)| {
            let set = (0..64).filter(move |bit| word & (1 << bit) != 0);
            set.filter_map(move |bit| u16::try_from(at * 64 + bit).ok().and_then(PacketId::new))
        });
        list.iter().copied().chain(from_bitmap)
    }
}

fn place(id: PacketId) -> (usize, u64) {
    let id = usize::from(id.get());
    (id / 64, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn a_held_id_is_a_duplicate_until_released() {
        let mut inbound = Inbound::default();
        assert!(inbound.hold(id(7)));
        assert!(!inbound.hold(id(7)));
        assert!(inbound.release(id(7)));
        assert!(!inbound.release(id(7)));
        assert!(inbound.hold(id(7)));
    }

    #[test]
    fn strict_quota_ends_at_the_first_packet_too_many() {
        let mut inbound = Inbound::default();
        for n in 1..=20 {
            inbound.hold(id(n));
            assert_eq!(inbound.check_quota(20, true), Overrun::Accept);
        }
        inbound.hold(id(21));
        assert_eq!(inbound.check_quota(20, true), Overrun::Disconnect);
    }

    #[test]
    fn lenient_quota_warns_once_and_ends_at_ten_times() {
        let mut inbound = Inbound::default();
        (1..=2).for_each(|n| assert!(inbound.hold(id(n))));
        assert_eq!(inbound.check_quota(2, false), Overrun::Accept);
        inbound.hold(id(3));
        assert_eq!(inbound.check_quota(2, false), Overrun::Warn);
        for n in 4..=20 {
            inbound.hold(id(n));
            assert_eq!(inbound.check_quota(2, false), Overrun::Accept);
        }
        inbound.wait_begins();
        assert_eq!(inbound.check_quota(2, false), Overrun::Disconnect);
        inbound.wait_ends();
        assert_eq!(inbound.check_arrival(2, false), Overrun::Disconnect);
        assert_eq!(inbound.check_quota(2, false), Overrun::Accept);
        inbound.new_connection();
        assert_eq!(inbound.check_quota(2, false), Overrun::Warn);
    }

    proptest! {
        #[test]
        fn the_set_behaves_like_a_set(operations in prop::collection::vec((any::<bool>(), 1u16..300), 0..600)) {
            let (mut set, mut model) = (PacketIdSet::default(), BTreeSet::new());
            for (add, n) in operations {
                if add {
                    prop_assert_eq!(set.insert(id(n)), model.insert(n));
                } else {
                    prop_assert_eq!(set.remove(id(n)), model.remove(&n));
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
            let listed: BTreeSet<u16> = set.iter().map(PacketId::get).collect();
            prop_assert_eq!(listed, model);
        }
    }
}
