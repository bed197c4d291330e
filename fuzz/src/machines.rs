//! The state machines of one Session, each beside a model that keeps plain lists.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_packet::PacketId;
use dunlin_protocol::inbound::Overrun;
use dunlin_protocol::outbound::{Acked, packet_id_of};
use dunlin_protocol::{AckKind, AckQueue, Inbound, Outbound, Stage, Ticket};

use crate::choices::Choices;

/// Sequences of one Packet Identifier lie so far apart.
const PACKET_IDS: u64 = 65_535;

/// The sender of QoS 1 and 2.
pub fn check_outbound(choices: &mut Choices<'_>) {
    let next = [0, PACKET_IDS - 3, 1 << 40][choices.below(3)];
    let mut sender = Sender {
        outbound: Outbound::default(),
        model: SenderModel::default(),
        next,
    };
    sender.new_connection(choices);
    let mut large_gaps = 0;
    while !choices.is_empty() {
        match choices.below(10) {
            0 => sender.new_connection(choices),
            1..=3 => sender.send(choices, &mut large_gaps),
            4 => sender.resend(),
            5 => sender.puback(choices),
            6 => sender.pubrec(choices),
            7 => sender.pubrel_sent(choices),
            8 => sender.pubcomp(choices),
            _ => sender.abandon(choices),
        }
        sender.compare();
    }
}

struct Sender {
    outbound: Outbound<u32>,
    model: SenderModel,
    /// Sequence of the next message.
    next: u64,
}

#[derive(Default)]
struct SenderModel {
    /// By sequence.
    flights: BTreeMap<u64, Flight>,
    /// Sequences that this connection has not sent again yet.
    due: BTreeSet<u64>,
    quota: usize,
    quota_bytes: u64,
}

struct Flight {
    stage: Stage,
    bytes: u32,
    message: Option<u32>,
}

impl SenderModel {
    fn bytes(&self) -> u64 {
        self.flights
            .values()
            .map(|flight| u64::from(flight.bytes))
            .sum()
    }

    /// Messages that count against the quota of this connection.
    fn charged(&self) -> usize {
        self.flights.len() - self.due.len()
    }

    fn may_send(&self, sequence: u64, bytes: u32) -> bool {
        let none = self.flights.is_empty();
        let fits =
            self.quota_bytes == 0 || none || self.bytes() + u64::from(bytes) <= self.quota_bytes;
        let near = self
            .flights
            .keys()
            .next()
            .is_none_or(|oldest| sequence - oldest < PACKET_IDS);
        self.due.is_empty() && self.charged() < self.quota && fits && near
    }

    fn by_id(&self, id: PacketId) -> Option<u64> {
        self.flights
            .keys()
            .copied()
            .find(|sequence| packet_id_of(*sequence) == id)
    }

    fn stage(&self, sequence: Option<u64>) -> Option<Stage> {
        self.flights.get(&sequence?).map(|flight| flight.stage)
    }

    fn finish(&mut self, sequence: u64) -> Option<u32> {
        self.due.remove(&sequence);
        self.flights.remove(&sequence)?.message
    }
}

impl Sender {
    fn new_connection(&mut self, choices: &mut Choices<'_>) {
        let quota = [1, 2, 5, u16::MAX][choices.below(4)];
        let quota_bytes = [0, 0, 100, 1][choices.below(4)];
        self.outbound.new_connection(quota, quota_bytes);
        self.model.quota = usize::from(quota);
        self.model.quota_bytes = quota_bytes;
        self.model.due = self.model.flights.keys().copied().collect();
    }

    fn send(&mut self, choices: &mut Choices<'_>, large_gaps: &mut u32) {
        let gap = match choices.below(16) {
            0 => 1,
            1 => 300,
            // The window is a list with a place for each sequence: few of these are enough.
            2 if *large_gaps < 2 => {
                *large_gaps += 1;
                PACKET_IDS - 2
            }
            _ => 0,
        };
        let (sequence, bytes) = (self.next + gap, u32::from(choices.byte()));
        let may = self.outbound.may_send(sequence, bytes);
        assert_eq!(
            may,
            self.model.may_send(sequence, bytes),
            "sequence {sequence}"
        );
        if !may {
            return;
        }
        let qos2 = choices.yes();
        let message = sequence as u32;
        let id = self.outbound.sent(sequence, qos2, bytes, message);
        assert_eq!(u64::from(id.get()), sequence % PACKET_IDS + 1);
        assert_eq!(
            self.model.by_id(id),
            None,
            "a packet identifier is in use twice"
        );
        let stage = if qos2 {
            Stage::AwaitPubrec
        } else {
            Stage::AwaitPuback
        };
        self.model.flights.insert(
            sequence,
            Flight {
                stage,
                bytes,
                message: Some(message),
            },
        );
        self.next = sequence + 1;
    }

    fn resend(&mut self) {
        let next = self.model.due.first().copied();
        let expected = next.filter(|_| self.model.charged() < self.model.quota);
        let expected = expected.map(|sequence| {
            let flight = &self.model.flights[&sequence];
            (sequence, flight.stage, flight.message)
        });
        let found = self.outbound.next_resend();
        assert_eq!(
            found.map(|flight| (flight.sequence, flight.stage, flight.message)),
            expected
        );
        if let Some((sequence, ..)) = expected {
            self.model.due.remove(&sequence);
        }
    }

    /// The identifier of something in flight, or any.
    fn id(&self, choices: &mut Choices<'_>) -> PacketId {
        let known = self.model.flights.keys().nth(choices.below(16));
        let any = PacketId::new(choices.number()).unwrap_or(packet_id_of(0));
        known.map_or(any, |sequence| packet_id_of(*sequence))
    }

    fn puback(&mut self, choices: &mut Choices<'_>) {
        let id = self.id(choices);
        let expected = match (self.model.by_id(id), self.model.stage(self.model.by_id(id))) {
            (Some(sequence), Some(Stage::AwaitPuback)) => Acked::Done {
                sequence,
                message: self.model.finish(sequence),
            },
            _ => Acked::Unknown,
        };
        assert_eq!(self.outbound.puback(id), expected);
    }

    fn pubrec(&mut self, choices: &mut Choices<'_>) {
        let (id, refused) = (self.id(choices), choices.below(4) == 0);
        let expected = match (self.model.by_id(id), self.model.stage(self.model.by_id(id))) {
            (Some(sequence), Some(Stage::AwaitPubrec)) if refused => Acked::Done {
                sequence,
                message: self.model.finish(sequence),
            },
            (Some(sequence), Some(Stage::AwaitPubrec)) => {
                let message = self
                    .model
                    .flights
                    .get_mut(&sequence)
                    .and_then(|f| f.message.take());
                let released = Flight {
                    stage: Stage::Releasing,
                    bytes: 0,
                    message: None,
                };
                self.model.flights.insert(sequence, released);
                Acked::Released { sequence, message }
            }
            (Some(sequence), Some(Stage::Releasing | Stage::AwaitPubcomp)) => {
                Acked::AlreadyReleased { sequence }
            }
            _ => Acked::Unknown,
        };
        assert_eq!(self.outbound.pubrec(id, refused), expected);
    }

    fn pubrel_sent(&mut self, choices: &mut Choices<'_>) {
        let sequence = self.sequence(choices);
        if let Some(flight) = self.model.flights.get_mut(&sequence)
            && flight.stage == Stage::Releasing
        {
            flight.stage = Stage::AwaitPubcomp;
        }
        self.outbound.pubrel_sent(sequence);
    }

    fn pubcomp(&mut self, choices: &mut Choices<'_>) {
        let id = self.id(choices);
        let expected = match (self.model.by_id(id), self.model.stage(self.model.by_id(id))) {
            (Some(sequence), Some(Stage::Releasing | Stage::AwaitPubcomp)) => Acked::Done {
                sequence,
                message: self.model.finish(sequence),
            },
            _ => Acked::Unknown,
        };
        assert_eq!(self.outbound.pubcomp(id), expected);
    }

    fn abandon(&mut self, choices: &mut Choices<'_>) {
        let sequence = self.sequence(choices);
        assert_eq!(self.outbound.abandon(sequence), self.model.finish(sequence));
    }

    /// The sequence of something in flight, or any.
    fn sequence(&self, choices: &mut Choices<'_>) -> u64 {
        let known = self.model.flights.keys().nth(choices.below(16)).copied();
        known.unwrap_or_else(|| u64::from(choices.number()))
    }

    fn compare(&mut self) {
        let (outbound, model) = (&mut self.outbound, &self.model);
        if model.due.is_empty() {
            assert!(outbound.next_resend().is_none(), "nothing is due");
        }
        assert_eq!(outbound.is_resending(), !model.due.is_empty());
        assert_eq!(outbound.in_flight() as usize, model.flights.len());
        assert_eq!(outbound.in_flight_bytes(), model.bytes());
        let found = outbound
            .iter()
            .map(|f| (f.sequence, f.stage, f.bytes, f.message));
        let expected = model
            .flights
            .iter()
            .map(|(sequence, f)| (*sequence, f.stage, f.bytes, f.message));
        assert!(found.eq(expected), "other messages are in flight");
    }
}

/// The receiver of QoS 1 and 2.
pub fn check_inbound(choices: &mut Choices<'_>) {
    let mut inbound = Inbound::default();
    let mut held: BTreeSet<u16> = BTreeSet::new();
    let (mut waiting, mut warned) = (0_u64, false);
    while !choices.is_empty() {
        match choices.below(8) {
            0..=2 => {
                let id = packet_id(choices);
                assert_eq!(inbound.hold(id), held.insert(id.get()));
            }
            3 => {
                let id = packet_id(choices);
                assert_eq!(inbound.release(id), held.remove(&id.get()));
            }
            4 => {
                inbound.wait_begins();
                waiting += 1;
            }
            5 => {
                inbound.wait_ends();
                waiting = waiting.saturating_sub(1);
            }
            6 => {
                let (maximum, strict) = (u16::from(choices.byte() % 16), choices.yes());
                let open = held.len() as u64 + waiting;
                let expected = match () {
                    () if open <= u64::from(maximum) => Overrun::Accept,
                    () if strict || open > 10 * u64::from(maximum) => Overrun::Disconnect,
                    () if warned => Overrun::Accept,
                    () => Overrun::Warn,
                };
                warned |= expected == Overrun::Warn;
                assert_eq!(inbound.check_quota(maximum, strict), expected);
            }
            _ => {
                inbound.new_connection();
                (waiting, warned) = (0, false);
            }
        }
        let id = packet_id(choices);
        assert_eq!(inbound.is_held(id), held.contains(&id.get()));
        let found: BTreeSet<u16> = inbound.held().map(PacketId::get).collect();
        assert_eq!(found, held);
    }
}

/// Few identifiers, so that they meet, and sometimes many in a row, so that the set changes its form.
fn packet_id(choices: &mut Choices<'_>) -> PacketId {
    let number = u16::from(choices.byte()) + 1;
    let number = if number > 250 {
        u16::MAX - (number - 251)
    } else {
        number
    };
    PacketId::new(number).unwrap_or(packet_id_of(0))
}

/// Acknowledgements that wait for a store.
pub fn check_acks(choices: &mut Choices<'_>) {
    const KINDS: [AckKind; 5] = [
        AckKind::Puback,
        AckKind::Pubrec,
        AckKind::Pubrel,
        AckKind::Pubcomp,
        AckKind::Suback,
    ];
    let mut queue: AckQueue<u8> = AckQueue::default();
    // All places ever taken: ticket, what settled it, whether it has left.
    let mut places: Vec<(Ticket, Option<u8>, bool)> = Vec::new();
    while !choices.is_empty() {
        let kind = choices.pick(&KINDS);
        match choices.below(3) {
            0 => {
                let ticket = queue.wait(kind);
                assert_eq!(ticket.kind(), kind);
                assert!(
                    places.iter().all(|(other, ..)| *other != ticket),
                    "a place given twice"
                );
                places.push((ticket, None, false));
            }
            1 => {
                let (at, value) = (choices.below(places.len().clamp(1, 256)), choices.byte());
                if let Some((ticket, settled, left)) = places.get_mut(at) {
                    queue.settle(*ticket, value);
                    if !*left {
                        *settled = Some(value);
                    }
                }
            }
            _ => {
                let mut waiting = places
                    .iter_mut()
                    .filter(|(ticket, _, left)| !left && ticket.kind() == kind);
                let head = waiting.next().filter(|(_, settled, _)| settled.is_some());
                let expected = head.map(|(_, settled, left)| {
                    *left = true;
                    *settled
                });
                assert_eq!(queue.pop(kind), expected.flatten());
            }
        }
        let waiting = |kind: Option<AckKind>| {
            let of_kind = |ticket: &Ticket| kind.is_none_or(|kind| ticket.kind() == kind);
            places
                .iter()
                .filter(|(ticket, _, left)| !left && of_kind(ticket))
                .count()
        };
        assert_eq!(queue.len(), waiting(None));
        assert_eq!(queue.is_empty(), waiting(None) == 0);
        assert_eq!(queue.is_clear(kind), waiting(Some(kind)) == 0);
    }
}
