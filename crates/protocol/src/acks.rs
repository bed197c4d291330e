//! Acknowledgements that wait for a store, and leave in the order of the packets they answer.
//!
//! v5[MQTT-4.6.0-2], v5[MQTT-4.6.0-3] and v5[MQTT-4.6.0-4] order PUBACK, PUBREC and PUBREL among
//! themselves. Answers of a store come when they come: each kind has its own queue, whose head
//! holds back what is ready behind it.

use std::collections::VecDeque;

use crate::on_demand::OnDemand;

/// The packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// To a publisher, QoS 1.
    Puback,
    /// To a publisher, QoS 2.
    Pubrec,
    /// To a subscriber, QoS 2.
    Pubrel,
    /// To a publisher, QoS 2.
    Pubcomp,
    /// To a subscriber, for SUBSCRIBE and UNSUBSCRIBE alike.
    Suback,
}

const KINDS: usize = 5;

/// A place in the queue of one kind; valid for one Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    kind: AckKind,
    number: u64,
}

impl Ticket {
    /// The kind of the packet that waits.
    #[must_use]
    pub fn kind(self) -> AckKind {
        self.kind
    }
}

/// The waiting acknowledgements of one Network Connection; `A` is what has to be sent.
#[derive(Debug)]
pub struct AckQueue<A> {
    /// Without a store nothing ever waits.
    lanes: OnDemand<[Lane<A>; KINDS]>,
}

#[derive(Debug)]
struct Lane<A> {
    first: u64,
    waiting: VecDeque<Option<A>>,
}

impl<A> Default for AckQueue<A> {
    fn default() -> Self {
        Self {
            lanes: OnDemand::default(),
        }
    }
}

impl<A> Default for Lane<A> {
    fn default() -> Self {
        Self {
            first: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl<A> AckQueue<A> {
    /// Whether nothing of this kind waits, so that an acknowledgement may leave at once.
    #[must_use]
    #[inline]
    pub fn is_clear(&self, kind: AckKind) -> bool {
        self.lanes
            .get()
            .and_then(|lanes| lanes.get(kind as usize))
            .is_none_or(|lane| lane.waiting.is_empty())
    }

    /// Takes the next place of this kind.
    pub fn wait(&mut self, kind: AckKind) -> Ticket {
        let lane = self.lane(kind);
        lane.waiting.push_back(None);
        Ticket {
            kind,
            number: lane.first + lane.waiting.len() as u64 - 1,
        }
    }

    /// Settles a place. `pop` then gives what may leave.
    pub fn settle(&mut self, ticket: Ticket, ack: A) {
        let lane = self.lane(ticket.kind);
        let at = ticket
            .number
            .checked_sub(lane.first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| lane.waiting.get_mut(at)) {
            *place = Some(ack);
        }
    }

    /// The oldest acknowledgement of this kind, once it is settled.
    pub fn pop(&mut self, kind: AckKind) -> Option<A> {
        let lane = self.lanes.get_mut()?.get_mut(kind as usize)?;
        let ready = lane.waiting.front_mut()?.take()?;
        lane.waiting.pop_front();
        lane.first += 1;
        Some(ready)
    }

    /// How many acknowledgements wait, of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        let lanes = self.lanes.get().into_iter().flatten();
        lanes.map(|lane| lane.waiting.len()).sum()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lane(&mut self, kind: AckKind) -> &mut Lane<A> {
        &mut self.lanes.make()[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_holds_back_what_is_ready_behind_it() {
        let mut queue = AckQueue::default();
        let tickets: Vec<_> = (0..3).map(|_| queue.wait(AckKind::Puback)).collect();
        queue.settle(tickets[2], "third");
        queue.settle(tickets[1], "second");
        assert_eq!(queue.pop(AckKind::Puback), None);
        queue.settle(tickets[0], "first");
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(AckKind::Puback)).collect();
        assert_eq!(order, ["first", "second", "third"]);
        assert!(queue.is_clear(AckKind::Puback));
    }

    #[test]
    fn kinds_do_not_wait_for_each_other() {
        let mut queue = AckQueue::default();
        queue.wait(AckKind::Puback);
        let pubrec = queue.wait(AckKind::Pubrec);
        queue.settle(pubrec, "rec");
        assert_eq!(queue.pop(AckKind::Pubrec), Some("rec"));
        assert!(queue.is_clear(AckKind::Suback));
        assert!(!queue.is_clear(AckKind::Puback));
        assert_eq!(queue.len(), 1);
    }
}
