//! Delivery: one message to one Session, at once if its connection can take it, else by its queue.
//!
//! Everything that a client receives goes through [`Engine::deliver_to`] or [`Engine::pump`]: live,
//! queued, retained, Will and shared messages alike. So the right to read is checked here, and nowhere else.

use std::sync::Arc;

use dunlin_packet::QoS;
use dunlin_packet::mutant::{self, Mutant};
use dunlin_protocol::Stage as Flight;
use dunlin_protocol::Timestamp;
use dunlin_route::{GroupKey, Merged, SessionKey, Target};

use crate::authorize::{Access, Authorizer};
use crate::commit::Draft;
use crate::engine::{Engine, mark};
use crate::io::{Event, Output, Principal, ShareId, qos};
use crate::limits::{Limits, RECENT_RETAINED_MAX};
use crate::message::Incoming;
use crate::metrics::DropReason;
use crate::record::Record;
use crate::session::{Queued, Session};
use crate::write::{Delivery, Sent, write_publish};

/// What became of a message for one Session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is on its way, or waits.
    Taken,
    /// It was discarded, and counted.
    Dropped(DropReason),
}

impl Engine {
    /// Delivers to one target of a route. True if the Session took the message.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        target: &Target,
        incoming: &mut Incoming<'_>,
        from: Option<SessionKey>,
        draft: Option<&mut Draft>,
        now: Timestamp,
    ) -> bool {
        let mut merged = &target.merged;
        // v5[MQTT-3.8.3-3]
        if let Some(own) = &target.for_publisher
            && from == Some(target.session)
            && !mutant::is_active(Mutant::IgnoreNoLocal)
        {
            match &**own {
                Some(rest) => merged = rest,
                None => return false,
            }
        }
        self.deliver_to(target.session, merged, incoming, None, draft, now) == Outcome::Taken
    }

    /// Delivers to one Session.
    pub(crate) fn deliver_to(
        &mut self,
        key: SessionKey,
        merged: &Merged,
        incoming: &mut Incoming<'_>,
        via: Option<(GroupKey, &Arc<ShareId>)>,
        draft: Option<&mut Draft>,
        now: Timestamp,
    ) -> Outcome {
        let Some(session) = self
            .sessions
            .get_mut(key.slot as usize)
            .filter(|s| s.key == key)
        else {
            return Outcome::Dropped(DropReason::SessionEnded);
        };
        if let Some(authorizer) = &self.authorizer
            && !may_read(
                authorizer,
                &session.publisher.principal,
                &session.publisher.client_id,
                incoming.topic,
            )
        {
            self.metrics.drop(DropReason::NotAuthorized);
            return Outcome::Dropped(DropReason::NotAuthorized);
        }
        if incoming.retain_version != 0 {
            note_live(session, incoming, self.workers);
        }
        let delivery = delivery_of(&self.limits, merged, incoming);
        let Delivery { qos, retain, .. } = delivery;
        let Some(slot) = session.connection else {
            return self.deliver_later(key, delivery, merged, incoming, via, draft);
        };
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return Outcome::Dropped(DropReason::SessionEnded);
        };
        let room = connection.outgoing.len() < self.limits.outgoing_bytes_max as usize;
        let acknowledged = connection.live().is_some_and(|live| live.acknowledged);
        let free = acknowledged && room && session.queue.is_empty();
        if qos == QoS::AtMostOnce {
            if !free {
                return self.deliver_later(key, delivery, merged, incoming, via, draft);
            }
            let sent = write_publish(
                connection,
                &mut self.pool,
                &mut self.shapes,
                &mut self.scratch,
                incoming,
                delivery,
                now,
            );
            mark(connection, slot, &mut self.writable);
            return self.count(sent);
        }
        let bytes = incoming.payload.len() as u32;
        if !free || !session.outbound.may_send(session.next_sequence, bytes) {
            return self.deliver_later(key, delivery, merged, incoming, via, draft);
        }
        let sequence = session.next_sequence;
        session.next_sequence += 1;
        let delivery = Delivery {
            packet_id: Some(dunlin_protocol::outbound::packet_id_of(sequence)),
            ..delivery
        };
        let sent = write_publish(
            connection,
            &mut self.pool,
            &mut self.shapes,
            &mut self.scratch,
            incoming,
            delivery,
            now,
        );
        if sent == Sent::Yes {
            let message = Arc::clone(incoming.share());
            let queued = Queued {
                message,
                sequence,
                qos,
                retain,
                ids: merged.subscription_ids.clone(),
                group: via.map(|(group, _)| group),
                share: via.map(|(_, share)| Arc::clone(share)),
                coordinator: draft
                    .as_ref()
                    .map_or(self.worker, |draft| draft.coordinator),
            };
            note_queued(self.durable, session, &queued, draft);
            session
                .outbound
                .sent(sequence, qos == QoS::ExactlyOnce, bytes, queued);
        }
        mark(connection, slot, &mut self.writable);
        self.count(sent)
    }

    fn count(&mut self, sent: Sent) -> Outcome {
        match sent {
            Sent::Yes => {
                self.metrics.publish_sent += 1;
                Outcome::Taken
            }
            // v5[MQTT-3.1.2-25]: as if it had been sent.
            Sent::TooLarge => {
                self.metrics.drop(DropReason::TooLarge);
                Outcome::Dropped(DropReason::TooLarge)
            }
        }
    }

    /// Puts a message into the queue of a Session that is away, or whose connection is not ready for it.
    fn deliver_later(
        &mut self,
        key: SessionKey,
        delivery: Delivery<'_>,
        merged: &Merged,
        incoming: &mut Incoming<'_>,
        via: Option<(GroupKey, &Arc<ShareId>)>,
        draft: Option<&mut Draft>,
    ) -> Outcome {
        let Some(session) = self.sessions.get_mut(key.slot as usize) else {
            return Outcome::Dropped(DropReason::SessionEnded);
        };
        let away = session.connection.is_none();
        let reason = if away && delivery.qos == QoS::AtMostOnce && !self.limits.queue_qos0 {
            DropReason::Offline
        } else if !session.queue.has_room(&self.limits, incoming.payload.len()) {
            DropReason::QueueFull
        } else {
            let sequence = session.next_sequence;
            session.next_sequence += u64::from(delivery.qos > QoS::AtMostOnce);
            let queued = Queued {
                message: Arc::clone(incoming.share()),
                sequence,
                qos: delivery.qos,
                retain: delivery.retain,
                ids: merged.subscription_ids.clone(),
                group: via.map(|(group, _)| group),
                share: via.map(|(_, share)| Arc::clone(share)),
                coordinator: draft
                    .as_ref()
                    .map_or(self.worker, |draft| draft.coordinator),
            };
            note_queued(self.durable, session, &queued, draft);
            session.queue.push(queued);
            return Outcome::Taken;
        };
        self.metrics.drop(reason);
        if reason == DropReason::QueueFull && !std::mem::replace(&mut session.dropping, true) {
            let client_id = Arc::clone(&session.publisher.client_id);
            self.event(Event::Dropping { client_id, reason });
        }
        Outcome::Dropped(reason)
    }

    /// Bytes have left a connection: its queue may go on.
    pub(crate) fn written(&mut self, key: crate::io::ConnectionKey, bytes: usize, now: Timestamp) {
        let Some(connection) = self
            .connections
            .get_mut(key.slot as usize)
            .filter(|c| c.serial == key.serial)
        else {
            return;
        };
        connection.outgoing.advance(bytes, &mut self.pool);
        if connection.outgoing.len() >= (self.limits.outgoing_bytes_max as usize / 2).max(1) {
            return;
        }
        let Some(live) = connection.live_mut() else {
            return;
        };
        let session = live.session;
        if std::mem::replace(&mut live.paused_full, false) {
            self.outputs.push_back(Output::Resume(key));
        }
        self.pump(session, now);
    }

    /// Sends what waits for a Session while its connection, its quota and its buffer allow: first what an
    /// earlier connection left in flight, then the queue, and retained messages in between.
    pub(crate) fn pump(&mut self, slot: u32, now: Timestamp) {
        let mut retained_next = false;
        loop {
            let Some(session) = self.sessions.get_mut(slot as usize) else {
                return;
            };
            let quiet = session.queue.is_empty()
                && !session.has_cursors()
                && !session.outbound.is_resending();
            if quiet {
                session.dropping = false;
                return;
            }
            let Some(at) = session.connection else { return };
            let Some(connection) = self.connections.get_mut(at as usize) else {
                return;
            };
            let ready = connection.live().is_some_and(|live| live.acknowledged);
            if !ready || connection.outgoing.len() >= self.limits.outgoing_bytes_max as usize {
                return;
            }
            if self.resend_one(slot, at, now) {
                continue;
            }
            let from_retained = retained_next && self.pump_retained(slot, now);
            retained_next = !from_retained;
            if !from_retained && !self.pump_queue(slot, at, now) && !self.pump_retained(slot, now) {
                return;
            }
        }
    }

    /// Sends one message again. False if none is due.
    fn resend_one(&mut self, slot: u32, at: u32, now: Timestamp) -> bool {
        let (Some(session), Some(connection)) = (
            self.sessions.get_mut(slot as usize),
            self.connections.get_mut(at as usize),
        ) else {
            return false;
        };
        let Some(flight) = session.outbound.next_resend() else {
            return false;
        };
        let sequence = flight.sequence;
        let Some(queued) = &flight.message else {
            // v5[MQTT-4.3.3-7]: only PUBREL is owed.
            let safe = flight.stage == Flight::AwaitPubcomp;
            let stored = self.durable && session.is_durable() && !safe;
            let client_id = Arc::clone(&session.publisher.client_id);
            if stored {
                self.release_when_stored(at, client_id, sequence);
            } else if !mutant::is_active(Mutant::PubrelNotResent) {
                self.write_pubrel(at, sequence);
            }
            return true;
        };
        let delivery = Delivery {
            qos: queued.qos,
            retain: queued.retain,
            // v5[MQTT-3.3.1-1]
            dup: !mutant::is_active(Mutant::DupNeverSet),
            packet_id: Some(dunlin_protocol::outbound::packet_id_of(sequence)),
            ids: queued.ids.as_slice(),
        };
        if let Some(authorizer) = &self.authorizer
            && !may_read(
                authorizer,
                &session.publisher.principal,
                &session.publisher.client_id,
                &queued.message.topic,
            )
        {
            let abandoned = session.outbound.abandon(sequence);
            self.metrics.drop(DropReason::NotAuthorized);
            if let Some(queued) = abandoned {
                self.let_go_of(slot, &queued, now);
            }
            return true;
        }
        let mut incoming = queued.message.as_incoming();
        self.shapes.begin(false);
        let sent = write_publish(
            connection,
            &mut self.pool,
            &mut self.shapes,
            &mut self.scratch,
            &mut incoming,
            delivery,
            now,
        );
        mark(connection, at, &mut self.writable);
        if sent == Sent::TooLarge
            && let Some(queued) = session.outbound.abandon(sequence)
        {
            self.let_go_of(slot, &queued, now);
        }
        self.count(sent);
        true
    }

    /// A queued message is done with: its record goes, and whoever chose the Session is told.
    fn let_go_of(&mut self, slot: u32, queued: &Queued, now: Timestamp) {
        let Some(session) = self.sessions.get(slot as usize) else {
            return;
        };
        let (key, client_id) = (session.key, Arc::clone(&session.publisher.client_id));
        if self.durable && session.is_durable() && queued.qos > QoS::AtMostOnce {
            self.end_queued(client_id, queued.sequence, queued.coordinator, now);
        }
        if let Some(group) = queued.group {
            self.shared_settled(group, key, now);
        }
    }

    /// Sends the head of the queue. False if it has to wait.
    fn pump_queue(&mut self, slot: u32, at: u32, now: Timestamp) -> bool {
        let (Some(session), Some(connection)) = (
            self.sessions.get_mut(slot as usize),
            self.connections.get_mut(at as usize),
        ) else {
            return false;
        };
        if mutant::is_active(Mutant::OrderSwapped) {
            session.queue.swap_heads();
        }
        let Some(head) = session.queue.front() else {
            return false;
        };
        let bytes = head.message.payload().len() as u32;
        let expired = head.message.is_expired(now);
        let later = head.qos > QoS::AtMostOnce && !session.outbound.may_send(head.sequence, bytes);
        if later && !expired {
            return false;
        }
        let Some(queued) = session.queue.pop() else {
            return false;
        };
        // v5[MQTT-3.3.2-5]; and a right that was taken away stops the next message.
        let allowed = self.authorizer.as_ref().is_none_or(|authorizer| {
            may_read(
                authorizer,
                &session.publisher.principal,
                &session.publisher.client_id,
                &queued.message.topic,
            )
        });
        if expired || !allowed {
            self.metrics.drop(if expired {
                DropReason::Expired
            } else {
                DropReason::NotAuthorized
            });
            self.let_go_of(slot, &queued, now);
            return true;
        }
        let packet_id = (queued.qos > QoS::AtMostOnce)
            .then(|| dunlin_protocol::outbound::packet_id_of(queued.sequence));
        let mut ids = queued.ids.as_slice();
        if mutant::is_active(Mutant::SubscriptionIdsDropped) {
            ids = &[];
        }
        let delivery = Delivery {
            qos: queued.qos,
            retain: queued.retain,
            dup: false,
            packet_id,
            ids,
        };
        let message = Arc::clone(&queued.message);
        let mut incoming = message.as_incoming();
        self.shapes.begin(false);
        let sent = write_publish(
            connection,
            &mut self.pool,
            &mut self.shapes,
            &mut self.scratch,
            &mut incoming,
            delivery,
            now,
        );
        mark(connection, at, &mut self.writable);
        if sent == Sent::TooLarge || queued.qos == QoS::AtMostOnce {
            self.let_go_of(slot, &queued, now);
        } else {
            let qos2 = queued.qos == QoS::ExactlyOnce;
            session.outbound.sent(queued.sequence, qos2, bytes, queued);
        }
        self.count(sent);
        true
    }
}

/// How a message goes to whoever was granted this.
fn delivery_of<'m>(limits: &Limits, merged: &'m Merged, incoming: &Incoming<'_>) -> Delivery<'m> {
    // v5[MQTT-3.8.4-8], v5[MQTT-3.3.4-2]
    let granted = qos(merged.qos);
    let upgrade = limits.upgrade_outgoing_qos || mutant::is_active(Mutant::DowngradeIgnored);
    // v5[MQTT-3.3.1-12], v5[MQTT-3.3.1-13]
    let keep = merged.retain_as_published || mutant::is_active(Mutant::RetainFlagKeptWithoutRap);
    let ids = merged.subscription_ids.as_slice();
    Delivery {
        qos: if upgrade {
            granted
        } else {
            incoming.qos.min(granted)
        },
        retain: incoming.retain && keep,
        dup: false,
        packet_id: None,
        ids: if mutant::is_active(Mutant::SubscriptionIdsDropped) {
            &[]
        } else {
            ids
        },
    }
}

/// Whether a client may read a topic now.
fn may_read(
    authorizer: &Arc<dyn Authorizer>,
    principal: &Principal,
    client_id: &str,
    topic: &str,
) -> bool {
    authorizer.allows(principal, client_id, Access::Read, topic)
}

/// Remembers a live retained message for the cursors that may still bring an older one.
fn note_live(session: &mut Session, incoming: &Incoming<'_>, workers: u16) {
    if let Some(rare) = session.rare.get_mut() {
        for cursor in &mut rare.cursors {
            cursor.saw_live(incoming.topic, incoming.retain_version);
        }
    }
    if workers > 1 {
        remember(session, incoming.topic, incoming.retain_version);
    }
}

/// Notes which version of a retained message a Session has got.
pub(crate) fn remember(session: &mut Session, topic: &Arc<str>, version: u64) {
    let recent = &mut session.rare.make().recent_retained;
    if recent.len() >= RECENT_RETAINED_MAX {
        recent.pop_front();
    }
    recent.push_back((Arc::clone(topic), version));
}

/// Whether a Session has lately got this version of a retained message, or a newer one.
pub(crate) fn has_got(session: &Session, topic: &str, version: u64) -> bool {
    let rare = session.rare.get().into_iter();
    let mut recent = rare.flat_map(|rare| &rare.recent_retained);
    recent.any(|(known, got)| **known == *topic && *got >= version)
}

/// The durable part of a message in a queue: its body and its place, if the Session outlives its connection.
fn note_queued(durable: bool, session: &Session, queued: &Queued, draft: Option<&mut Draft>) {
    let Some(draft) =
        draft.filter(|_| durable && session.is_durable() && queued.qos > QoS::AtMostOnce)
    else {
        return;
    };
    draft.body(&queued.message);
    draft.records.push(Record::Queued {
        client_id: Arc::clone(&session.publisher.client_id),
        sequence: queued.sequence,
        origin: queued.message.origin,
        qos: queued.qos,
        retain: queued.retain,
        identifiers: queued.ids.as_slice().into(),
        share: queued.share.clone(),
    });
}
