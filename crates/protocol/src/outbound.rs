//! The sender of QoS 1 and QoS 2 PUBLISH packets: what is in flight, under which Packet Identifier,
//! and how much the receiver's quota allows.
//!
//! ```text
//!  QoS 1:  sent ──PUBACK──▶ done
//!  QoS 2:  sent ──PUBREC──▶ released (PUBREL sent) ──PUBCOMP──▶ done
//!                 └─PUBREC with 0x80 or more──▶ done
//!  after a reconnect: sent ⇒ PUBLISH again with DUP, released ⇒ PUBREL again, oldest first
//! ```
//!
//! A Packet Identifier is a function of the message's place in its Session's queue (`sequence`), so
//! that it survives a crash together with that place. Hence a message whose sequence is 65,535 or
//! more above the oldest in flight has to wait.

use std::collections::VecDeque;

use dunlin_packet::PacketId;

use crate::on_demand::OnDemand;

/// Sequences above the oldest one in flight that may be sent.
const WINDOW: u64 = 65_535;

/// Where a message in flight stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// PUBLISH sent at QoS 1; PUBACK is awaited.
    AwaitPuback,
    /// PUBLISH sent at QoS 2; PUBREC is awaited.
    AwaitPubrec,
    /// PUBREC is there, its receipt is being stored; PUBREL not sent yet.
    Releasing,
    /// PUBREL sent; PUBCOMP is awaited.
    AwaitPubcomp,
}

/// One message in flight, and whatever the owner keeps with it.
#[derive(Debug)]
pub struct InFlight<M> {
    /// Its place in the Session's queue.
    pub sequence: u64,
    /// Which packet is awaited.
    pub stage: Stage,
    /// Bytes that it counts for in `max_inflight_bytes`.
    pub bytes: u32,
    /// The message; `None` once PUBREC has taken over responsibility for it.
    pub message: Option<M>,
}

/// The in-flight window of one Session. It outlives the Network Connection.
#[derive(Debug)]
pub struct Outbound<M> {
    window: OnDemand<Window<M>>,
    quota: u32,
    quota_bytes: u64,
}

/// What is or was in flight.
#[derive(Debug)]
struct Window<M> {
    /// Consecutive sequences from the oldest in flight; `None` marks one that is done or was never sent.
    slots: VecDeque<Option<InFlight<M>>>,
    /// Sequence of `slots[0]`.
    first: u64,
    in_flight: u32,
    in_flight_bytes: u64,
    /// Next sequence to send again on this connection; equal to the end when nothing is left.
    resend_from: u64,
    /// One past the last sequence that has to be sent again.
    resend_end: u64,
    /// Messages of the resend range that have been sent again or sent first on this connection.
    charged: u32,
}

impl<M> Default for Outbound<M> {
    fn default() -> Self {
        Self {
            window: OnDemand::default(),
            quota: 0,
            quota_bytes: 0,
        }
    }
}

impl<M> Default for Window<M> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            resend_from: 0,
            resend_end: 0,
            charged: 0,
        }
    }
}

/// The Packet Identifier of a sequence: 1 to 65,535, repeating.
#[must_use]
pub fn packet_id_of(sequence: u64) -> PacketId {
    let id = (sequence % WINDOW) as u16 + 1;
    PacketId::new(id).unwrap_or(PacketId::FIRST)
}

/// What a peer's acknowledgement did.
#[derive(Debug, PartialEq, Eq)]
pub enum Acked<M> {
    /// The exchange is complete; the message is let go.
    Done {
        /// Its place in the queue.
        sequence: u64,
        /// The message, unless PUBREC took it earlier.
        message: Option<M>,
    },
    /// QoS 2: PUBREC received, PUBREL is due.
    Released {
        /// Its place in the queue.
        sequence: u64,
        /// The message: the receiver has taken responsibility for it.
        message: Option<M>,
    },
    /// QoS 2: this PUBREC was seen before; PUBREL is due again.
    AlreadyReleased {
        /// Its place in the queue.
        sequence: u64,
    },
    /// No message with this Packet Identifier awaits this packet.
    Unknown,
}

impl<M> Outbound<M> {
    /// Starts a Network Connection: `quota` PUBLISH packets may be unacknowledged at once, whose
    /// messages may together have `quota_bytes` (0 for no such limit). Everything in flight is due again.
    pub fn new_connection(&mut self, quota: u16, quota_bytes: u64) {
        self.quota = u32::from(quota);
        self.quota_bytes = quota_bytes;
        if let Some(window) = self.window.get_mut() {
            window.resend_from = window.first;
            window.resend_end = window.first + window.slots.len() as u64;
            window.charged = 0;
        }
    }

    /// Messages in flight: sent, and not acknowledged to the end.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.window.get().map_or(0, |window| window.in_flight)
    }

    /// Bytes of the messages in flight.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.window.get().map_or(0, |window| window.in_flight_bytes)
    }

    /// Whether a new message with `sequence` and `bytes` may be sent now.
    ///
    /// v5[MQTT-3.3.4-9]: no more than the receiver's quota. A single message larger than the byte
    /// limit is let through when nothing else is in flight.
    #[must_use]
    #[inline]
    pub fn may_send(&self, sequence: u64, bytes: u32) -> bool {
        let Some(window) = self.window.get() else {
            return self.quota > 0;
        };
        let fits = self.quota_bytes == 0
            || window.in_flight == 0
            || window.in_flight_bytes + u64::from(bytes) <= self.quota_bytes;
        window.resend_from >= window.resend_end
            && window.charged < self.quota
            && fits
            && (window.slots.is_empty() || sequence.wrapping_sub(window.first) < WINDOW)
    }

    /// Registers a message that is being sent for the first time. The caller has asked `may_send`
    /// and passes rising sequences.
    pub fn sent(&mut self, sequence: u64, qos2: bool, bytes: u32, message: M) -> PacketId {
        self.window.make().sent(sequence, qos2, bytes, message);
        packet_id_of(sequence)
    }

    /// The next message to be sent again on this connection, oldest first, if the quota allows:
    /// PUBLISH with DUP for `AwaitPuback` and `AwaitPubrec` (v5[MQTT-4.4.0-1]), PUBREL for the rest.
    pub fn next_resend(&mut self) -> Option<&InFlight<M>> {
        self.window.get_mut()?.next_resend(self.quota)
    }

    /// Whether messages of an earlier connection are still to be sent again.
    #[must_use]
    #[inline]
    pub fn is_resending(&self) -> bool {
        self.window
            .get()
            .is_some_and(|window| window.resend_from < window.resend_end)
    }

    /// PUBACK received.
    pub fn puback(&mut self, id: PacketId) -> Acked<M> {
        match self.window.get_mut() {
            Some(window) => match window.find(id) {
                Some(at) if window.stage(at) == Some(Stage::AwaitPuback) => window.finish(at),
                _ => Acked::Unknown,
            },
            None => Acked::Unknown,
        }
    }

    /// PUBREC received. With `refused` (Reason Code 0x80 or more) the exchange ends here
    /// (v5[MQTT-4.3.3-4]).
    pub fn pubrec(&mut self, id: PacketId, refused: bool) -> Acked<M> {
        match self.window.get_mut() {
            Some(window) => window.pubrec(id, refused),
            None => Acked::Unknown,
        }
    }

    /// PUBREL for `sequence` is being sent.
    pub fn pubrel_sent(&mut self, sequence: u64) {
        if let Some(window) = self.window.get_mut()
            && let Some(slot) = window.slot_mut(sequence)
            && slot.stage == Stage::Releasing
        {
            slot.stage = Stage::AwaitPubcomp;
        }
    }

    /// PUBCOMP received.
    pub fn pubcomp(&mut self, id: PacketId) -> Acked<M> {
        let Some(window) = self.window.get_mut() else {
            return Acked::Unknown;
        };
        match window.find(id) {
            Some(at)
                if matches!(
                    window.stage(at),
                    Some(Stage::AwaitPubcomp | Stage::Releasing)
                ) =>
            {
                window.finish(at)
            }
            _ => Acked::Unknown,
        }
    }

    /// Ends the exchange of `sequence` without an acknowledgement, and hands the message back.
    pub fn abandon(&mut self, sequence: u64) -> Option<M> {
        let window = self.window.get_mut()?;
        let at = usize::try_from(sequence.checked_sub(window.first)?).ok()?;
        window.slots.get(at)?.as_ref()?;
        match window.finish(at) {
            Acked::Done { message, .. } => message,
            _ => None,
        }
    }

    /// All messages in flight, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &InFlight<M>> {
        let window = self.window.get().into_iter();
        window.flat_map(|window| window.slots.iter().flatten())
    }
}

impl<M> Window<M> {
    fn sent(&mut self, sequence: u64, qos2: bool, bytes: u32, message: M) {
        if self.slots.is_empty() {
            self.first = sequence;
        }
        debug_assert!(
            sequence >= self.first + self.slots.len() as u64,
            "sequences rise"
        );
        while self.first + (self.slots.len() as u64) < sequence {
            self.slots.push_back(None);
        }
        let stage = if qos2 {
            Stage::AwaitPubrec
        } else {
            Stage::AwaitPuback
        };
        self.slots.push_back(Some(InFlight {
            sequence,
            stage,
            bytes,
            message: Some(message),
        }));
        self.in_flight += 1;
        self.in_flight_bytes += u64::from(bytes);
        self.charged += 1;
        self.resend_from = sequence + 1;
        self.resend_end = sequence + 1;
    }

    fn next_resend(&mut self, quota: u32) -> Option<&InFlight<M>> {
        while self.resend_from < self.resend_end {
            let at = usize::try_from(self.resend_from.saturating_sub(self.first)).ok()?;
            if self.resend_from < self.first || self.slots.get(at).is_none_or(Option::is_none) {
                self.resend_from += 1;
                continue;
            }
            if self.charged >= quota {
                return None;
            }
            self.resend_from += 1;
            self.charged += 1;
            return self.slots.get(at).and_then(Option::as_ref);
        }
        None
    }

    fn pubrec(&mut self, id: PacketId, refused: bool) -> Acked<M> {
        let Some(at) = self.find(id) else {
            return Acked::Unknown;
        };
        let sequence = self.first + at as u64;
        match self.stage(at) {
            Some(Stage::AwaitPubrec) if refused => self.finish(at),
            Some(Stage::AwaitPubrec) => {
                let mut message = None;
                if let Some(Some(slot)) = self.slots.get_mut(at) {
                    slot.stage = Stage::Releasing;
                    message = slot.message.take();
                    self.in_flight_bytes -= u64::from(slot.bytes);
                    slot.bytes = 0;
                }
                Acked::Released { sequence, message }
            }
            Some(Stage::Releasing | Stage::AwaitPubcomp) => Acked::AlreadyReleased { sequence },
            _ => Acked::Unknown,
        }
    }

    fn find(&self, id: PacketId) -> Option<usize> {
        let oldest = packet_id_of(self.first).get();
        let distance = (u64::from(id.get()) + WINDOW - u64::from(oldest)) % WINDOW;
        let at = usize::try_from(distance).ok()?;
        // A message that is still to be sent again may be acknowledged at once: the first
        // transmission arrived before the old connection broke.
        self.slots.get(at)?.as_ref().map(|_| at)
    }

    fn stage(&self, at: usize) -> Option<Stage> {
        self.slots.get(at)?.as_ref().map(|slot| slot.stage)
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut InFlight<M>> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at)?.as_mut()
    }

    fn finish(&mut self, at: usize) -> Acked<M> {
        let Some(slot) = self.slots.get_mut(at).and_then(Option::take) else {
            return Acked::Unknown;
        };
        self.in_flight -= 1;
        self.in_flight_bytes -= u64::from(slot.bytes);
        let waiting = self.resend_from < self.resend_end && slot.sequence >= self.resend_from;
        if !waiting {
            self.charged = self.charged.saturating_sub(1);
        }
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > 64 {
            self.slots.shrink_to(16);
        }
        Acked::Done {
            sequence: slot.sequence,
            message: slot.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(quota: u16) -> Outbound<&'static str> {
        let mut outbound = Outbound::default();
        outbound.new_connection(quota, 0);
        outbound
    }

    fn id(n: u16) -> PacketId {
        PacketId::new(n).unwrap()
    }

    #[test]
    fn packet_ids_repeat_after_65535_and_are_never_zero() {
        assert_eq!(packet_id_of(0).get(), 1);
        assert_eq!(packet_id_of(65_534).get(), 65_535);
        assert_eq!(packet_id_of(65_535).get(), 1);
    }

    #[test]
    fn the_quota_bounds_what_is_in_flight() {
        let mut outbound = window(2);
        assert!(outbound.may_send(0, 1));
        outbound.sent(0, false, 1, "a");
        outbound.sent(1, true, 1, "b");
        assert!(!outbound.may_send(2, 1));
        assert_eq!(
            outbound.puback(id(1)),
            Acked::Done {
                sequence: 0,
                message: Some("a")
            }
        );
        assert!(outbound.may_send(2, 1));
        outbound.sent(2, false, 1, "c");
        // PUBREC alone does not give quota back, PUBCOMP does.
        assert_eq!(
            outbound.pubrec(id(2), false),
            Acked::Released {
                sequence: 1,
                message: Some("b")
            }
        );
        assert!(!outbound.may_send(3, 1));
        outbound.pubrel_sent(1);
        assert_eq!(
            outbound.pubcomp(id(2)),
            Acked::Done {
                sequence: 1,
                message: None
            }
        );
        assert!(outbound.may_send(3, 1));
    }

    #[test]
    fn the_byte_limit_lets_one_large_message_through_alone() {
        let mut outbound = Outbound::default();
        outbound.new_connection(10, 100);
        assert!(outbound.may_send(0, 500));
        outbound.sent(0, false, 500, "large");
        assert!(!outbound.may_send(1, 1));
        outbound.puback(id(1));
        outbound.sent(1, false, 60, "a");
        assert!(outbound.may_send(2, 40));
        assert!(!outbound.may_send(2, 41));
    }

    #[test]
    fn the_wrong_acknowledgement_changes_nothing() {
        let mut outbound = window(5);
        outbound.sent(0, false, 1, "one");
        outbound.sent(1, true, 1, "two");
        assert_eq!(outbound.pubrec(id(1), false), Acked::Unknown);
        assert_eq!(outbound.pubcomp(id(1)), Acked::Unknown);
        assert_eq!(outbound.puback(id(2)), Acked::Unknown);
        assert_eq!(outbound.pubcomp(id(2)), Acked::Unknown);
        assert_eq!(outbound.puback(id(3)), Acked::Unknown);
        assert_eq!(outbound.in_flight(), 2);
        assert_eq!(outbound.in_flight_bytes(), 2);
    }

    #[test]
    fn a_refusing_pubrec_ends_the_exchange() {
        let mut outbound = window(1);
        outbound.sent(0, true, 1, "two");
        assert_eq!(
            outbound.pubrec(id(1), true),
            Acked::Done {
                sequence: 0,
                message: Some("two")
            }
        );
        assert!(outbound.may_send(1, 1));
    }

    #[test]
    fn a_second_pubrec_asks_for_pubrel_again() {
        let mut outbound = window(1);
        outbound.sent(0, true, 1, "two");
        outbound.pubrec(id(1), false);
        assert_eq!(
            outbound.pubrec(id(1), false),
            Acked::AlreadyReleased { sequence: 0 }
        );
    }

    #[test]
    fn a_new_connection_sends_everything_again_in_order_within_its_quota() {
        let mut outbound = window(5);
        outbound.sent(3, false, 1, "a");
        outbound.sent(5, true, 1, "b");
        outbound.sent(6, true, 1, "c");
        outbound.pubrec(packet_id_of(5), false);
        outbound.new_connection(2, 0);
        assert!(!outbound.may_send(7, 1), "old messages go first");
        let resent = |o: &mut Outbound<_>| o.next_resend().map(|m| (m.sequence, m.stage));
        assert_eq!(resent(&mut outbound), Some((3, Stage::AwaitPuback)));
        assert_eq!(resent(&mut outbound), Some((5, Stage::Releasing)));
        assert_eq!(resent(&mut outbound), None, "quota 2");
        assert!(outbound.is_resending());
        outbound.puback(packet_id_of(3));
        assert_eq!(resent(&mut outbound), Some((6, Stage::AwaitPubrec)));
        assert_eq!(resent(&mut outbound), None);
        assert!(!outbound.is_resending());
        assert!(!outbound.may_send(7, 1));
        outbound.pubcomp(packet_id_of(5));
        assert!(outbound.may_send(7, 1));
    }

    #[test]
    fn an_acknowledgement_before_the_resend_spares_it() {
        let mut outbound = window(5);
        outbound.sent(0, false, 1, "a");
        outbound.sent(1, false, 1, "b");
        outbound.new_connection(1, 0);
        outbound.next_resend();
        assert_eq!(
            outbound.puback(id(2)),
            Acked::Done {
                sequence: 1,
                message: Some("b")
            }
        );
        assert!(outbound.next_resend().is_none());
        assert!(
            !outbound.may_send(2, 1),
            "the first one still fills the quota of one"
        );
        outbound.puback(id(1));
        assert!(outbound.may_send(2, 1));
    }

    #[test]
    fn nothing_is_sent_65535_above_the_oldest() {
        let mut outbound = window(u16::MAX);
        outbound.sent(10, false, 1, "old");
        assert!(outbound.may_send(10 + 65_534, 1));
        assert!(!outbound.may_send(10 + 65_535, 1));
    }

    #[test]
    fn an_abandoned_message_gives_its_quota_back() {
        let mut outbound = window(1);
        outbound.sent(0, false, 9, "a");
        assert_eq!(outbound.abandon(0), Some("a"));
        assert_eq!(outbound.abandon(0), None);
        assert_eq!(outbound.in_flight_bytes(), 0);
        assert!(outbound.may_send(1, 1));
    }
}
