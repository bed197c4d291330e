//! Bytes of a Network Connection: decode, and hand every packet to the code that obeys it.

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{Ack, Decoded, Packet, QoS, ReasonCode, Rules, Sender, decode};
use dunlin_protocol::outbound::Acked;
use dunlin_protocol::{AckKind, Timestamp};

use crate::commit::After;
use crate::connection::{PendingAck, Stage};
use crate::engine::Engine;
use crate::io::{ConnectionKey, Output};
use crate::limits::WAITING_ACKS_MAX;
use crate::metrics::DropReason;
use crate::record::Record;
use crate::session::Queued;

impl Engine {
    /// As [`Engine::receive`], for the first `len` bytes of a buffer whose large payloads may be written straight from
    /// it. The engine lets go of the buffer as soon as they are written, at the latest at [`Engine::release_read_buffers`].
    pub fn receive_read(
        &mut self,
        key: ConnectionKey,
        buffer: &Arc<[u8]>,
        len: usize,
        now: Timestamp,
    ) -> usize {
        self.read_buffer = Some(Arc::clone(buffer));
        let consumed = self.receive(key, buffer.get(..len).unwrap_or_default(), now);
        self.read_buffer = None;
        consumed
    }

    /// To be called for each connection that could not write all of a turn's bytes: what it has of read buffers
    /// is copied, so that they are free for the next turn.
    pub fn release_read_buffers(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key.slot as usize)
            && connection.serial == key.serial
        {
            connection.outgoing.release_read_buffers();
        }
    }

    /// Handles the packets at the head of `bytes`. Returns how many bytes were used up: what is
    /// left is an unfinished packet, or, after [`Output::Pause`], packets to be given again after
    /// [`Output::Resume`].
    pub fn receive(&mut self, key: ConnectionKey, bytes: &[u8], now: Timestamp) -> usize {
        let Some(connection) = self
            .connections
            .get(key.slot as usize)
            .filter(|c| c.serial == key.serial)
        else {
            return bytes.len();
        };
        let size_max = match connection.offer.maximum_packet_size {
            0 => u32::MAX,
            max => max,
        };
        let Some(live) = connection.live() else {
            return bytes.len();
        };
        let rules = Rules {
            version: live.version,
            sender: Sender::Client,
            packet_size_max: size_max,
        };
        self.now = now;
        let mut consumed = 0;
        while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
            match self.reading(key) {
                Reading::Yes => {}
                Reading::Paused => return consumed,
                Reading::Ended => return bytes.len(),
            }
            match decode(rest, &rules) {
                Ok(Decoded::Packet { packet, len }) => {
                    if consumed == 0 {
                        // A whole packet is a sign of life, half of one is not.
                        self.seen(key.slot, now);
                    }
                    consumed += len;
                    self.packet(key, &packet, now);
                }
                Ok(Decoded::Incomplete { .. }) => return consumed,
                Err(error) => {
                    self.end_by_server(key.slot, error.reason_code(), error.to_string(), now);
                    return bytes.len();
                }
            }
        }
        if matches!(self.reading(key), Reading::Ended) {
            bytes.len()
        } else {
            consumed
        }
    }

    #[inline]
    fn reading(&mut self, key: ConnectionKey) -> Reading {
        let Some(connection) = self.connections.get_mut(key.slot as usize) else {
            return Reading::Ended;
        };
        // Answers have a reserve beyond the mark at which deliveries stop.
        let full = connection.outgoing.len() >= self.limits.outgoing_bytes_max as usize * 2;
        let Stage::Live(live) = &mut connection.stage else {
            return Reading::Ended;
        };
        if full && !std::mem::replace(&mut live.paused_full, true) {
            self.outputs.push_back(Output::Pause(key));
        }
        let waits = self.durable && (live.acks.len() >= WAITING_ACKS_MAX || !live.acknowledged);
        if live.is_paused() || live.paused_full || waits {
            Reading::Paused
        } else {
            Reading::Yes
        }
    }

    #[inline]
    fn packet(&mut self, key: ConnectionKey, packet: &Packet<'_>, now: Timestamp) {
        let slot = key.slot;
        match packet {
            Packet::Publish(publish) => self.publish_received(slot, publish, now),
            Packet::Puback(ack) => self.puback_received(slot, ack, now),
            Packet::Pubrec(ack) => self.pubrec_received(slot, ack, now),
            Packet::Pubrel(ack) => self.pubrel_received(slot, ack),
            Packet::Pubcomp(ack) => self.pubcomp_received(slot, ack, now),
            Packet::Subscribe(subscribe) => self.subscribe_received(slot, subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe_received(slot, unsubscribe, now),
            Packet::Pingreq => self.pingreq_received(slot),
            Packet::Disconnect(disconnect) => self.disconnect_received(slot, disconnect, now),
            // v5[MQTT-3.1.0-2]
            Packet::Connect(_) if mutant::is_active(Mutant::SecondConnectIgnored) => {}
            Packet::Connect(_) => {
                self.end_by_server(slot, ReasonCode::ProtocolError, "a second CONNECT", now)
            }
            Packet::Auth(_) => {
                let why = "AUTH without an Authentication Method in CONNECT";
                self.end_by_server(slot, ReasonCode::ProtocolError, why, now);
            }
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                self.end_by_server(
                    slot,
                    ReasonCode::ProtocolError,
                    "a packet that only a server sends",
                    now,
                );
            }
        }
    }

    /// v5[MQTT-3.12.4-1]
    fn pingreq_received(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection
                .outgoing
                .buffer(&mut self.pool)
                .extend_from_slice(&[0xd0, 0]);
            crate::engine::mark(connection, slot, &mut self.writable);
        }
    }

    fn puback_received(&mut self, slot: u32, ack: &Ack<'_>, now: Timestamp) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let Some(state) = self.sessions.get_mut(session as usize) else {
            return;
        };
        if let Acked::Done { sequence, message } = state.outbound.puback(ack.packet_id) {
            // v5[MQTT-4.8.2-6]: refused is as done as accepted.
            if ack.reason.is_error() {
                self.metrics.drop(DropReason::Refused);
            }
            self.let_go(session, sequence, message, now);
        }
        self.pump(session, now);
    }

    fn pubrec_received(&mut self, slot: u32, ack: &Ack<'_>, now: Timestamp) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let Some(state) = self.sessions.get_mut(session as usize) else {
            return;
        };
        let client_id = Arc::clone(&state.publisher.client_id);
        let key = state.key;
        let stored = self.durable && state.is_durable();
        match state.outbound.pubrec(ack.packet_id, ack.reason.is_error()) {
            Acked::Done { sequence, message } => {
                self.metrics.drop(DropReason::Refused);
                self.let_go(session, sequence, message, now);
                self.pump(session, now);
            }
            Acked::Released { sequence, message } => {
                let coordinator = message.as_ref().map(|queued| queued.coordinator);
                if let Some(worker) = coordinator.filter(|worker| stored && *worker != self.worker)
                {
                    let rare = state.rare.make();
                    rare.released_elsewhere.push((sequence, worker));
                }
                if let Some(group) = message.and_then(|queued| queued.group) {
                    self.shared_settled(group, key, now);
                }
                if stored {
                    self.release_when_stored(slot, client_id, sequence);
                } else {
                    self.acknowledge(slot, AckKind::Pubrel, PendingAck::Pubrel(sequence));
                }
            }
            Acked::AlreadyReleased { sequence } => {
                self.acknowledge(slot, AckKind::Pubrel, PendingAck::Pubrel(sequence));
            }
            // v5: Reason Code 0x92 in PUBREL; 3.x: answered all the same, so that the client can go on.
            Acked::Unknown => self.write_ack(
                slot,
                0x62,
                ack.packet_id,
                ReasonCode::PacketIdentifierNotFound,
            ),
        }
    }

    /// PUBREL once the receipt of PUBREC is safe.
    pub(crate) fn release_when_stored(&mut self, slot: u32, client_id: Arc<str>, sequence: u64) {
        let Some(ticket) = self.wait(slot, AckKind::Pubrel) else {
            return;
        };
        let after = After::Ack {
            ticket,
            ack: PendingAck::Pubrel(sequence),
        };
        let record = Record::Released {
            client_id,
            sequence,
        };
        self.commit_then(Some(slot), vec![record], after);
    }

    fn pubcomp_received(&mut self, slot: u32, ack: &Ack<'_>, now: Timestamp) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let Some(state) = self.sessions.get_mut(session as usize) else {
            return;
        };
        if let Acked::Done { sequence, message } = state.outbound.pubcomp(ack.packet_id) {
            self.let_go(session, sequence, message, now);
        }
        self.pump(session, now);
    }

    /// The client has taken responsibility: the broker lets go of a message.
    fn let_go(&mut self, session: u32, sequence: u64, message: Option<Queued>, now: Timestamp) {
        let Some(state) = self.sessions.get(session as usize) else {
            return;
        };
        let key = state.key;
        if self.durable && state.is_durable() {
            let client_id = Arc::clone(&state.publisher.client_id);
            let coordinator = match &message {
                Some(queued) => queued.coordinator,
                None => self.forget_released(session, sequence),
            };
            self.end_queued(client_id, sequence, coordinator, now);
        }
        if let Some(group) = message.and_then(|queued| queued.group) {
            self.shared_settled(group, key, now);
        }
    }

    /// The worker that coordinates the batch of a message after PUBREC.
    fn forget_released(&mut self, session: u32, sequence: u64) -> u16 {
        let session = self.sessions.get_mut(session as usize);
        let Some(rare) = session.and_then(|session| session.rare.get_mut()) else {
            return self.worker;
        };
        let at = rare
            .released_elsewhere
            .iter()
            .position(|(place, _)| *place == sequence);
        at.map_or(self.worker, |at| rare.released_elsewhere.swap_remove(at).1)
    }

    /// A publisher ends a QoS 2 exchange.
    fn pubrel_received(&mut self, slot: u32, ack: &Ack<'_>) {
        let Some(session) = self.session_of(slot) else {
            return;
        };
        let Some(state) = self.sessions.get_mut(session as usize) else {
            return;
        };
        let known = state.inbound.release(ack.packet_id);
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        let done = PendingAck::Pubcomp(ack.packet_id, reason);
        if self.durable && state.is_durable() {
            // Otherwise a crash brings the id back, and the next message with it is swallowed. Unknown it may
            // be because its removal is still on its way to the store.
            let record = Record::HeldEnded {
                client_id: Arc::clone(&state.publisher.client_id),
                packet_id: ack.packet_id.get(),
            };
            let Some(ticket) = self.wait(slot, AckKind::Pubcomp) else {
                return;
            };
            self.commit_then(Some(slot), vec![record], After::Ack { ticket, ack: done });
            return;
        }
        self.acknowledge(slot, AckKind::Pubcomp, done);
    }

    /// Stops reading from a connection until worker `by` has caught up.
    pub(crate) fn pause(&mut self, slot: u32, by: u16) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let key = ConnectionKey {
            slot,
            serial: connection.serial,
        };
        let Some(live) = connection.live_mut() else {
            return;
        };
        let paused_by = live.paused_by.make();
        if paused_by.contains(&by) {
            return;
        }
        paused_by.push(by);
        if paused_by.len() == 1 {
            self.paused.push(key);
            self.outputs.push_back(Output::Pause(key));
        }
    }
}

enum Reading {
    Yes,
    Paused,
    Ended,
}

/// QoS as the wire has it in bits 1 and 2 of PUBLISH.
pub(crate) fn publish_kind(qos: QoS) -> Option<AckKind> {
    match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(AckKind::Puback),
        QoS::ExactlyOnce => Some(AckKind::Pubrec),
    }
}
