//! Jobs: what has to happen before an acknowledgement may leave.
//!
//! ```text
//!   handler ──Draft──▶ job ──all fragments there──▶ Commit ──Committed──▶ acknowledgement
//!                       │                             ▲
//!                       └── nothing durable ──────────┴────────────────▶ acknowledgement
//! ```
//!
//! A job gathers the durable effects of one packet, those of other workers included, into one batch.
//! Batches of one publisher leave in the order of its packets. Without a store (`ack = memory`) only
//! jobs that wait for another worker exist.

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{
    Ack, Connack, Packet, PacketId, Properties, ReasonCode, Suback, Unsuback, encode,
};
use dunlin_protocol::outbound::packet_id_of;
use dunlin_protocol::{AckKind, Ticket, Timestamp};
use dunlin_route::SessionKey;
use hashbrown::HashMap;

use crate::connection::{Live, PendingAck};
use crate::engine::{Engine, mark};
use crate::io::{ConnectionKey, Handover, Output, ReplyTo};
use crate::limits::QueueFull;
use crate::message::Message;
use crate::record::{Batch, Record, StoreError};
use crate::session::UnsafeYet;

/// What a handler gathers while it runs.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: u64,
    /// The worker whose job it is.
    pub(crate) coordinator: u16,
    pub(crate) records: Vec<Record>,
    /// Fragments that other workers owe.
    pub(crate) missing: u32,
    /// Whether any Session took the message.
    pub(crate) taken: bool,
}

impl Draft {
    pub(crate) fn new(id: u64, coordinator: u16) -> Self {
        Self {
            id,
            coordinator,
            records: Vec::new(),
            missing: 0,
            taken: false,
        }
    }

    /// Adds a message's body, once.
    pub(crate) fn body(&mut self, message: &Arc<Message>) {
        let known = |record: &Record| matches!(record, Record::Body { message: body } if body.origin == message.origin);
        if !self.records.iter().any(known) {
            self.records.push(Record::Body {
                message: Arc::clone(message),
            });
        }
    }

    /// Adds the change of a retained message.
    pub(crate) fn retained(&mut self, record: Option<Record>, message: &Arc<Message>) {
        let Some(record) = record else { return };
        if matches!(record, Record::Retained { .. }) {
            self.body(message);
        }
        self.records.push(record);
    }
}

/// A worker's part of another one's job.
pub(crate) struct Part {
    /// To be committed with the rest.
    pub(crate) records: Vec<Record>,
    /// Whether any Session took the message.
    pub(crate) taken: bool,
}

/// What follows a job.
#[derive(Debug)]
pub(crate) enum After {
    /// Nobody waits.
    Nothing,
    /// PUBACK or PUBREC.
    Publish {
        session: SessionKey,
        ticket: Ticket,
        packet_id: PacketId,
        matched: bool,
    },
    /// A finished acknowledgement.
    Ack { ticket: Ticket, ack: PendingAck },
    /// CONNACK, encoded.
    Connack {
        connection: ConnectionKey,
        bytes: Box<[u8]>,
    },
    /// SUBACK, then the retained messages of its Subscriptions.
    Suback {
        ticket: Ticket,
        packet_id: PacketId,
        codes: Box<[u8]>,
        cursors: Vec<u64>,
    },
}

#[derive(Debug)]
struct Job {
    connection: Option<ConnectionKey>,
    records: Vec<Record>,
    missing: u32,
    taken: bool,
    after: After,
}

/// The jobs of one worker, by id.
#[derive(Debug)]
pub(crate) struct Jobs {
    next: u64,
    /// Waiting for fragments.
    open: HashMap<u64, Job, foldhash::fast::FixedState>,
    /// Given to the store.
    committing: HashMap<u64, Job, foldhash::fast::FixedState>,
}

impl Default for Jobs {
    fn default() -> Self {
        // Ids are our own running numbers, so the seed protects nothing.
        let hasher = foldhash::fast::FixedState::with_seed(1);
        Self {
            next: 1,
            open: HashMap::with_hasher(hasher.clone()),
            committing: HashMap::with_hasher(hasher),
        }
    }
}

impl Jobs {
    pub(crate) fn draft(&mut self, worker: u16) -> Draft {
        self.next += 1;
        Draft::new(self.next, worker)
    }
}

impl Engine {
    /// Turns a draft into a job, and lets it go on if nothing is missing.
    pub(crate) fn finish_draft(&mut self, slot: Option<u32>, draft: Draft, after: After) {
        let connection = slot.and_then(|slot| self.key_of(slot));
        let Draft {
            id,
            records,
            missing,
            taken,
            ..
        } = draft;
        self.jobs.open.insert(
            id,
            Job {
                connection,
                records,
                missing,
                taken,
                after,
            },
        );
        match slot
            .and_then(|slot| self.connections.get_mut(slot as usize))
            .and_then(|c| c.live_mut())
        {
            Some(live) => {
                live.jobs.make().push_back(id);
                self.advance_jobs(slot.unwrap_or_default());
            }
            None if missing == 0 => self.submit(id),
            None => {}
        }
    }

    /// Commits records, and does what follows once they are safe.
    pub(crate) fn commit_then(&mut self, slot: Option<u32>, records: Vec<Record>, after: After) {
        let mut draft = self.jobs.draft(self.worker);
        draft.records = records;
        self.finish_draft(slot, draft, after);
    }

    /// The client has acknowledged a message, or it moved on: its record is struck where it has not left yet, and
    /// deleted otherwise.
    /// The worker that coordinates its batch does it, so that the one comes behind the other.
    pub(crate) fn end_queued(
        &mut self,
        client_id: Arc<str>,
        sequence: u64,
        coordinator: u16,
        now: Timestamp,
    ) {
        if coordinator != self.worker {
            let ended = Handover::Ended {
                client_id,
                sequence,
            };
            return self.hand_over(coordinator, ended, now);
        }
        let ended = |record: &Record| {
            matches!(record, Record::Queued { client_id: whose, sequence: place, .. }
                if *place == sequence && *whose == client_id)
        };
        for job in self.jobs.open.values_mut() {
            if let Some(at) = job.records.iter().position(ended) {
                job.records.remove(at);
                break;
            }
        }
        self.commit_lazily(vec![Record::QueuedEnded {
            client_id,
            sequence,
        }]);
    }

    /// Commits records that nobody waits for.
    pub(crate) fn commit_lazily(&mut self, records: Vec<Record>) {
        if self.durable && !records.is_empty() {
            self.commit_then(None, records, After::Nothing);
        }
    }

    /// The publisher has gone: what is complete goes on, the rest when its last fragment is there.
    pub(crate) fn release_jobs(&mut self, live: &Live) {
        for id in live.jobs.get().into_iter().flatten() {
            if self.jobs.open.get(id).is_some_and(|job| job.missing == 0) {
                self.submit(*id);
            }
        }
    }

    /// Submits the jobs of a publisher whose turn has come.
    fn advance_jobs(&mut self, slot: u32) {
        loop {
            let Some(live) = self
                .connections
                .get_mut(slot as usize)
                .and_then(|c| c.live_mut())
            else {
                return;
            };
            let Some(jobs) = live.jobs.get_mut() else {
                return;
            };
            let Some(&id) = jobs.front() else { return };
            if self.jobs.open.get(&id).is_some_and(|job| job.missing > 0) {
                return;
            }
            jobs.pop_front();
            self.submit(id);
        }
    }

    fn submit(&mut self, id: u64) {
        let Some(mut job) = self.jobs.open.remove(&id) else {
            return;
        };
        if !self.durable || job.records.is_empty() {
            return self.complete(job, Ok(()), self.now);
        }
        let records = std::mem::take(&mut job.records);
        self.metrics.batches += 1;
        self.jobs.committing.insert(id, job);
        self.outputs
            .push_back(Output::Commit(Batch { id, records }));
    }

    /// Another worker's part of a job.
    pub(crate) fn fragment(&mut self, id: u64, part: Part) {
        let Part { records, taken } = part;
        let Some(job) = self.jobs.open.get_mut(&id) else {
            return;
        };
        for record in records {
            let known = matches!(&record, Record::Body { message } if job.records.iter().any(
                |have| matches!(have, Record::Body { message: body } if body.origin == message.origin)));
            if !known {
                job.records.push(record);
            }
        }
        job.taken |= taken;
        job.missing = job.missing.saturating_sub(1);
        let (missing, connection) = (job.missing, job.connection);
        let live = connection
            .and_then(|key| {
                self.connections
                    .get(key.slot as usize)
                    .filter(|c| c.serial == key.serial)
            })
            .and_then(|connection| connection.live());
        match (live, connection) {
            (Some(_), Some(key)) => self.advance_jobs(key.slot),
            // The publisher is gone: its effects are still due, in whatever order.
            _ if missing == 0 => self.submit(id),
            _ => {}
        }
    }

    /// Returns a fragment to the worker that coordinates.
    pub(crate) fn reply(
        &mut self,
        to: Option<ReplyTo>,
        records: Vec<Record>,
        taken: bool,
        now: Timestamp,
    ) {
        if let Some(to) = to {
            self.hand_over(
                to.worker,
                Handover::Fragment {
                    job: to.job,
                    records,
                    taken,
                },
                now,
            );
        }
    }

    /// The store's answer.
    pub(crate) fn committed(&mut self, batch: u64, result: Result<(), StoreError>, now: Timestamp) {
        if let Some(job) = self.jobs.committing.remove(&batch) {
            self.complete(job, result, now);
        }
    }

    fn complete(&mut self, job: Job, result: Result<(), StoreError>, now: Timestamp) {
        if let After::Publish {
            session, packet_id, ..
        } = &job.after
        {
            self.publish_settled(*session, *packet_id, job.connection, result);
        }
        let alive = |engine: &Self, key: ConnectionKey| {
            engine
                .connections
                .get(key.slot as usize)
                .is_some_and(|c| c.serial == key.serial && c.live().is_some())
        };
        let Some(key) = job.connection.filter(|key| alive(self, *key)) else {
            return;
        };
        let v5 = self
            .version_of(key.slot)
            .is_some_and(|version| version.is_v5());
        match job.after {
            After::Nothing => {}
            After::Publish {
                ticket,
                packet_id,
                matched,
                ..
            } => {
                let full = self.limits.queue_full == QueueFull::Reject && !job.taken;
                let reason = match result {
                    Ok(()) if !matched => ReasonCode::NoMatchingSubscribers,
                    Ok(()) if full => ReasonCode::QuotaExceeded,
                    Ok(()) => ReasonCode::Success,
                    Err(error) => refusal(error),
                };
                let mut held = None;
                if let Some(session) = self
                    .session_of(key.slot)
                    .and_then(|s| self.sessions.get_mut(s as usize))
                {
                    if ticket.kind() == AckKind::Puback {
                        session.inbound.wait_ends();
                    }
                    // PUBREC with an error ends the exchange; 3.x has no such PUBREC, and PUBREL follows.
                    if ticket.kind() == AckKind::Pubrec && reason.is_error() && v5 {
                        session.inbound.release(packet_id);
                        held = session.is_durable().then(|| Record::HeldEnded {
                            client_id: Arc::clone(&session.publisher.client_id),
                            packet_id: packet_id.get(),
                        });
                    }
                }
                self.commit_lazily(held.into_iter().collect());
                // 3.x has no way to say no: silence, and the end of the connection.
                let withheld = result.is_err() && !v5;
                let ack = if withheld {
                    PendingAck::Withheld
                } else {
                    PendingAck::publish(ticket.kind(), packet_id, reason)
                };
                self.settle(key.slot, ticket, ack, now);
            }
            After::Ack { ticket, ack } => {
                let ack = if result.is_ok() {
                    ack
                } else {
                    PendingAck::Withheld
                };
                self.settle(key.slot, ticket, ack, now);
            }
            After::Suback {
                ticket,
                packet_id,
                mut codes,
                cursors,
            } => {
                if result.is_err() {
                    codes.fill(ReasonCode::UnspecifiedError.code());
                }
                self.settle(key.slot, ticket, PendingAck::Suback(packet_id, codes), now);
                self.start_cursors(key.slot, &cursors, now);
            }
            After::Connack { connection, bytes } => match result {
                Ok(()) => self.accepted(connection, &bytes, now),
                Err(_) => {
                    self.write_packet(key.slot, &UNAVAILABLE);
                    let why = "the store failed";
                    self.end_by_server(key.slot, ReasonCode::ServerUnavailable, why, now);
                }
            },
        }
    }

    /// The effects of a QoS 2 PUBLISH are safe, or failed. If the client has sent it again on a newer
    /// connection meanwhile, that one gets the PUBREC.
    fn publish_settled(
        &mut self,
        key: SessionKey,
        id: PacketId,
        connection: Option<ConnectionKey>,
        result: Result<(), StoreError>,
    ) {
        let Some(session) = self
            .sessions
            .get_mut(key.slot as usize)
            .filter(|session| session.key == key)
        else {
            return;
        };
        let is_it = |open: &UnsafeYet| open.id == id && Some(open.connection) == connection;
        let unsafe_yet = &mut session.rare.make().unsafe_yet;
        let Some(at) = unsafe_yet.iter().position(is_it) else {
            return;
        };
        let open = unsafe_yet.swap_remove(at);
        if result.is_err() {
            // Nothing was promised: sent again, it is new.
            session.inbound.release(id);
        }
        let Some((newer, ticket)) = open.again else {
            return;
        };
        if self.key_of(newer.slot) != Some(newer) {
            return;
        }
        let v5 = self.version_of(newer.slot).is_some_and(|v| v.is_v5());
        let ack = match result {
            Ok(()) => PendingAck::Pubrec(id, ReasonCode::Success),
            Err(error) if v5 => PendingAck::Pubrec(id, refusal(error)),
            Err(_) => PendingAck::Withheld,
        };
        self.settle(newer.slot, ticket, ack, self.now);
    }

    /// Takes the next place among the acknowledgements of a kind.
    pub(crate) fn wait(&mut self, slot: u32, kind: AckKind) -> Option<Ticket> {
        let live = self.connections.get_mut(slot as usize)?.live_mut()?;
        Some(live.acks.wait(kind))
    }

    /// Settles a place, and sends what may leave now.
    pub(crate) fn settle(&mut self, slot: u32, ticket: Ticket, ack: PendingAck, now: Timestamp) {
        let Some(live) = self
            .connections
            .get_mut(slot as usize)
            .and_then(|c| c.live_mut())
        else {
            return;
        };
        let full = live.acks.len() >= crate::limits::WAITING_ACKS_MAX;
        live.acks.settle(ticket, ack);
        loop {
            let Some(live) = self
                .connections
                .get_mut(slot as usize)
                .and_then(|c| c.live_mut())
            else {
                return;
            };
            let Some(ready) = live.acks.pop(ticket.kind()) else {
                break;
            };
            if ready == PendingAck::Withheld {
                let why = "the store failed, and the acknowledgement has no code for it";
                return self.end_by_server(slot, ReasonCode::UnspecifiedError, why, now);
            }
            self.write_pending(slot, &ready);
        }
        if full && let Some(key) = self.key_of(slot) {
            self.outputs.push_back(Output::Resume(key));
        }
    }

    /// Sends an acknowledgement at once, or behind those of its kind that wait.
    #[inline]
    pub(crate) fn acknowledge(&mut self, slot: u32, kind: AckKind, ack: PendingAck) {
        let Some(live) = self
            .connections
            .get_mut(slot as usize)
            .and_then(|c| c.live_mut())
        else {
            return;
        };
        if live.acks.is_clear(kind) {
            return self.write_pending(slot, &ack);
        }
        let ticket = live.acks.wait(kind);
        live.acks.settle(ticket, ack);
    }

    fn write_pending(&mut self, slot: u32, ack: &PendingAck) {
        match ack {
            PendingAck::Puback(id, reason) => self.write_ack(slot, 0x40, *id, *reason),
            PendingAck::Pubrec(id, reason) => self.write_ack(slot, 0x50, *id, *reason),
            PendingAck::Pubcomp(id, reason) => self.write_ack(slot, 0x70, *id, *reason),
            PendingAck::Pubrel(sequence) => self.write_pubrel(slot, *sequence),
            PendingAck::Suback(id, codes) => {
                let reversed: Vec<u8> = codes.iter().rev().copied().collect();
                let reasons = if mutant::is_active(Mutant::SubackOrderReversed) {
                    &reversed
                } else {
                    &**codes
                };
                let suback = Suback {
                    packet_id: *id,
                    properties: Default::default(),
                    reasons,
                };
                self.write_packet(slot, &Packet::Suback(suback));
            }
            PendingAck::Unsuback(id, codes) => {
                let unsuback = Unsuback {
                    packet_id: *id,
                    properties: Default::default(),
                    reasons: codes,
                };
                self.write_packet(slot, &Packet::Unsuback(unsuback));
            }
            PendingAck::Withheld => {}
        }
    }

    /// PUBREL for a message of ours that the client has received.
    pub(crate) fn write_pubrel(&mut self, slot: u32, sequence: u64) {
        self.write_ack(slot, 0x62, packet_id_of(sequence), ReasonCode::Success);
        if let Some(session) = self
            .session_of(slot)
            .and_then(|s| self.sessions.get_mut(s as usize))
        {
            session.outbound.pubrel_sent(sequence);
        }
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP, by its first byte.
    #[inline]
    pub(crate) fn write_ack(&mut self, slot: u32, first: u8, id: PacketId, reason: ReasonCode) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(live) = connection.live() else {
            return;
        };
        let version = live.version;
        let (size_max, explain) = (
            live.packet_size_max,
            mutant::is_active(Mutant::ReasonStringAlways),
        );
        if (reason == ReasonCode::Success || !version.is_v5()) && size_max >= 4 && !explain {
            let [high, low] = id.get().to_be_bytes();
            connection
                .outgoing
                .buffer(&mut self.pool)
                .extend_from_slice(&[first, 2, high, low]);
            return mark(connection, slot, &mut self.writable);
        }
        let mut properties = dunlin_packet::PropertiesBuf::new();
        if explain {
            properties.push(dunlin_packet::Property::ReasonString("because"));
        }
        let ack = Ack {
            packet_id: id,
            reason,
            properties: properties.as_properties(),
        };
        let packet = match first {
            0x40 => Packet::Puback(ack),
            0x50 => Packet::Pubrec(ack),
            0x62 => Packet::Pubrel(ack),
            _ => Packet::Pubcomp(ack),
        };
        let size_max = if explain { u32::MAX } else { size_max };
        // A client that accepts less than an acknowledgement gets none (v5[MQTT-3.1.2-24]).
        let _ = encode(
            &packet,
            version,
            size_max,
            connection.outgoing.buffer(&mut self.pool),
        );
        mark(connection, slot, &mut self.writable);
    }

    /// Encodes a packet for a connection.
    pub(crate) fn write_packet(&mut self, slot: u32, packet: &Packet<'_>) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Some(live) = connection.live() else {
            return;
        };
        let (version, size_max) = (live.version, live.packet_size_max);
        let buffer = connection.outgoing.buffer(&mut self.pool);
        // Too large for the client: not sent (v5[MQTT-3.1.2-24]).
        let _ = encode(packet, version, size_max, buffer);
        mark(connection, slot, &mut self.writable);
    }

    pub(crate) fn version_of(&self, slot: u32) -> Option<dunlin_packet::ProtocolVersion> {
        Some(self.connections.get(slot as usize)?.live()?.version)
    }
}

/// The Reason Code of a PUBLISH that could not be stored.
fn refusal(error: StoreError) -> ReasonCode {
    match error {
        StoreError::Full => ReasonCode::QuotaExceeded,
        StoreError::Io | StoreError::Unavailable => ReasonCode::UnspecifiedError,
    }
}

/// CONNACK for a Session that could not be stored.
const UNAVAILABLE: Packet<'static> = Packet::Connack(Connack {
    session_present: false,
    reason: ReasonCode::ServerUnavailable,
    properties: Properties::EMPTY,
});
