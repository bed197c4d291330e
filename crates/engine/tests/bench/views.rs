//! What tests look at. What was read once is not there any more.

use std::mem;

use dunlin_engine::record::{Batch, Record, StoreError};
use dunlin_engine::{DropReason, Event, Metrics};
use dunlin_packet::PacketType;
use dunlin_protocol::Timestamp;

use super::client::{At, Transport};
use super::cluster::{Cluster, Letter};
use super::packets::{Delivered, Seen};
use super::records::{Disk, line};

impl Cluster {
    /// The messages that a client got, in order, as lines.
    pub(crate) fn received(&mut self, at: At) -> Vec<String> {
        self.deliveries(at)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// The payloads of the messages that a client got, in order.
    pub(crate) fn payloads(&mut self, at: At) -> Vec<String> {
        self.deliveries(at).iter().map(Delivered::text).collect()
    }

    /// The messages that a client got, in order.
    pub(crate) fn deliveries(&mut self, at: At) -> Vec<Delivered> {
        let seen = self
            .client(at)
            .take(|seen| matches!(seen, Seen::Publish(_)));
        let delivered = |seen: Seen| match seen {
            Seen::Publish(delivered) => Some(delivered),
            _ => None,
        };
        seen.into_iter().filter_map(delivered).collect()
    }

    /// Everything else that a client got, in order, as lines.
    pub(crate) fn answers(&mut self, at: At) -> Vec<String> {
        let seen = self
            .client(at)
            .take(|seen| !matches!(seen, Seen::Publish(_)));
        seen.iter().map(ToString::to_string).collect()
    }

    /// Everything that a client got, in order, as lines.
    pub(crate) fn wire(&mut self, at: At) -> Vec<String> {
        let seen = self.client(at).take(|_| true);
        seen.iter().map(ToString::to_string).collect()
    }

    /// PUBACK and PUBREC that a client got, in order: kind, Packet Identifier, Reason Code.
    pub(crate) fn acks(&mut self, at: At) -> Vec<(PacketType, u16, u8)> {
        let first = |packet_type: PacketType| {
            matches!(packet_type, PacketType::Puback | PacketType::Pubrec)
        };
        let seen = self
            .client(at)
            .take(|seen| matches!(seen, Seen::Ack { packet_type, .. } if first(*packet_type)));
        let parts = |seen: Seen| match seen {
            Seen::Ack {
                packet_type,
                id,
                reason,
            } => Some((packet_type, id, reason)),
            _ => None,
        };
        seen.into_iter().filter_map(parts).collect()
    }

    /// The Client Identifier that CONNACK has told, or else the client's own.
    pub(crate) fn client_id(&mut self, at: At) -> String {
        let client = self.client(at);
        let assigned = client.seen.iter().find_map(|seen| match seen {
            Seen::Connack { assigned, .. } => assigned.clone(),
            _ => None,
        });
        assigned.unwrap_or_else(|| client.id.clone())
    }

    /// Forgets what clients got, what was told to the log, and which batches left.
    pub(crate) fn forget(&mut self) {
        for client in &mut self.clients {
            client.seen.clear();
        }
        self.events.clear();
        self.journal_read = self.journal.len();
    }

    pub(crate) fn is_open(&self, at: At) -> bool {
        self.clients[at.0].transport == Transport::Open
    }

    pub(crate) fn is_paused(&self, at: At) -> bool {
        self.clients[at.0].paused
    }

    /// How often the engine has stopped reading from a client.
    pub(crate) fn pauses(&self, at: At) -> u32 {
        self.clients[at.0].pauses
    }

    /// Bytes of a client that the engine has not used up.
    pub(crate) fn unread(&self, at: At) -> usize {
        self.clients[at.0].unread.len()
    }

    /// Bytes that wait to be written to a client.
    pub(crate) fn outgoing(&self, at: At) -> usize {
        let client = &self.clients[at.0];
        let outgoing = self.engines[client.worker].outgoing(client.key);
        outgoing.map_or(0, |outgoing| outgoing.len())
    }

    /// Letters between two workers.
    pub(crate) fn mail_waiting(&self, from: u16, to: u16) -> usize {
        self.mail[usize::from(from)][usize::from(to)].len()
    }

    /// Publications that are on their way from one worker to another.
    pub(crate) fn publications_waiting(&self, from: u16, to: u16) -> u32 {
        let letters = &self.mail[usize::from(from)][usize::from(to)];
        letters.iter().map(Letter::publications).sum()
    }

    /// Batches of a worker that its store has not answered.
    pub(crate) fn pending(&self, worker: u16) -> usize {
        self.stores[usize::from(worker)].waiting()
    }

    /// When an engine next wants to be told the time.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        let engines = self.engines.iter();
        engines.filter_map(|engine| engine.next_timeout()).min()
    }

    /// A counter, summed over the workers.
    pub(crate) fn sum(&self, counter: impl Fn(&Metrics) -> u64) -> u64 {
        let engines = self.engines.iter();
        engines.map(|engine| counter(&engine.metrics())).sum()
    }

    /// Messages that were discarded for a reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.sum(|metrics| metrics.dropped(reason))
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    /// The batches that have left since the last look, in order; of each the records as sorted
    /// lines.
    pub(crate) fn batches(&mut self) -> Vec<Vec<String>> {
        let sorted = |batch: &Batch| {
            let mut lines: Vec<String> = batch.records.iter().map(line).collect();
            lines.sort();
            lines
        };
        self.raw_batches().iter().map(sorted).collect()
    }

    /// The same as they are.
    pub(crate) fn raw_batches(&mut self) -> Vec<Batch> {
        let new = &self.journal[self.journal_read..];
        let batches = new.iter().map(|(_, batch)| batch.clone()).collect();
        self.journal_read = self.journal.len();
        batches
    }

    /// What a crash would leave now: all batches that were answered with success, applied in the
    /// order in which they left. The records that begin with `kind`, as lines.
    pub(crate) fn disk(&self, kind: &str) -> Vec<String> {
        let mut disk = Disk::default();
        for (worker, batch) in &self.journal {
            if self.stores[*worker].answer_to(batch.id) == Some(Ok(())) {
                disk.apply(&batch.records);
            }
        }
        let mut lines = disk.lines();
        lines.retain(|line| line.starts_with(kind));
        lines
    }

    /// What the store has said to the first batch with the body of a message: `None` if there is
    /// no such batch, `Some(None)` if it has no answer.
    pub(crate) fn fate(&self, payload: &str) -> Option<Option<Result<(), StoreError>>> {
        let bears = |record: &Record| match record {
            Record::Body { message } => message.payload() == payload.as_bytes(),
            _ => false,
        };
        let mut journal = self.journal.iter();
        let (worker, batch) = journal.find(|(_, batch)| batch.records.iter().any(bears))?;
        Some(self.stores[*worker].answer_to(batch.id))
    }
}
