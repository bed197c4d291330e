//! The end of a Network Connection, of its Will and of its Session.

use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{Disconnect, QoS, ReasonCode};
use dunlin_protocol::{Stage as Flight, Timestamp, handshake};

use crate::connect::{expires, session_record};
use crate::connection::Stage;
use crate::engine::Engine;
use crate::io::{ConnectionKey, End, Event, Handover, Output};
use crate::message::{Incoming, Origin};
use crate::metrics::DropReason;
use crate::record::Record;
use crate::retained::Cursor;
use crate::timers::{Due, What};

impl Engine {
    /// DISCONNECT of the client.
    pub(crate) fn disconnect_received(
        &mut self,
        slot: u32,
        disconnect: &Disconnect<'_>,
        now: Timestamp,
    ) {
        let Some(connection) = self.connections.get(slot as usize) else {
            return;
        };
        let offer = Arc::clone(&connection.offer);
        let Some(live) = connection.live() else {
            return;
        };
        let (session, expiry_was_zero) = (live.session, live.expiry_was_zero);
        if let Some(expiry) = disconnect.properties.session_expiry_interval() {
            if expiry_was_zero && expiry != 0 {
                // §3.14.2.2.2
                let why = "Session Expiry Interval was 0 in CONNECT";
                return self.end_by_server(slot, ReasonCode::ProtocolError, why, now);
            }
            let durable = self.durable;
            let mut record = None;
            if let Some(session) = self.sessions.get_mut(session as usize) {
                session.expiry_interval_s = handshake::cap_expiry(expiry, &offer);
                if durable && (session.stored || session.is_durable()) {
                    session.stored = true;
                    record = Some(session_record(session));
                }
            }
            self.commit_lazily(record.into_iter().collect());
        }
        // v5[MQTT-3.14.4-3], v5[MQTT-3.1.2-10]
        let end = match disconnect.reason {
            ReasonCode::Success => End::Orderly,
            other => End::ByClient(other),
        };
        self.end_connection(slot, end, now);
    }

    /// Detaches a connection from its Session; what is unwritten is still written before the close.
    pub(crate) fn end_connection(&mut self, slot: u32, end: End, now: Timestamp) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let key = ConnectionKey {
            slot,
            serial: connection.serial,
        };
        if matches!(connection.stage, Stage::Closing) {
            return;
        }
        let stage = std::mem::replace(&mut connection.stage, Stage::Closing);
        self.mark_writable(slot);
        self.unwatch(slot);
        self.outputs.push_back(Output::Close {
            connection: key,
            by_client: matches!(end, End::Orderly | End::ByClient(_)),
        });
        let Stage::Live(live) = stage else { return };
        self.release_jobs(&live);
        let Some(session) = self.sessions.get_mut(live.session as usize) else {
            return;
        };
        session.connection = None;
        let client_id = Arc::clone(&session.publisher.client_id);
        let orderly = end == End::Orderly;
        if self.limits.tell_connections {
            self.event(Event::Disconnected { client_id, end });
        }
        self.announce_presence(live.session, false, now);
        self.settle_will(live.session, orderly, now);
        self.settle_session(live.session, now);
    }

    /// The transport is gone.
    pub(crate) fn closed(&mut self, key: ConnectionKey, now: Timestamp) {
        let Some(connection) = self
            .connections
            .get(key.slot as usize)
            .filter(|c| c.serial == key.serial)
        else {
            return;
        };
        if connection.live().is_some() {
            self.end_connection(key.slot, End::ConnectionLost, now);
        }
        let still = self.connections.get(key.slot as usize);
        if still.is_some_and(|connection| connection.serial == key.serial)
            && let Some(mut connection) = self.connections.remove(key.slot as usize)
        {
            connection.outgoing.clear(&mut self.pool);
        }
    }

    /// Removes, publishes or times the Will of a Session that has just lost its connection.
    fn settle_will(&mut self, slot: u32, orderly: bool, now: Timestamp) {
        let (durable, stopping) = (self.durable, self.stopping);
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let expiry = session.expiry_interval_s;
        let Some(will) = session.will.as_mut() else {
            return;
        };
        let orderly = orderly && !mutant::is_active(Mutant::WillAfterNormalDisconnect);
        if orderly || mutant::is_active(Mutant::NoWillOnClose) {
            // v5[MQTT-3.14.4-3]
            session.will = None;
            let client_id = Arc::clone(&session.publisher.client_id);
            if durable {
                self.commit_lazily(vec![Record::WillEnded { client_id }]);
            }
            return;
        }
        // v5[MQTT-3.1.2-8]: after the delay, or at the end of the Session if that comes first.
        let delay = if mutant::is_active(Mutant::WillDelayIgnored) {
            0
        } else {
            will.delay_s.min(expiry)
        };
        if delay == 0 || stopping {
            return self.publish_will(slot, now);
        }
        let at = now.plus_seconds(u64::from(delay));
        will.due_at = Some(at);
        self.due.insert(Due {
            at,
            what: What::Will,
            session: session.key,
        });
    }

    /// Ends or times a Session that has just lost its connection.
    fn settle_session(&mut self, slot: u32, now: Timestamp) {
        let queue_qos0 = self.limits.queue_qos0;
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let expiry = session.expiry_interval_s;
        if expiry == 0 {
            return self.end_session(slot, now);
        }
        if expires(expiry) {
            let at = now.plus_seconds(u64::from(expiry));
            session.expires_at = Some(at);
            self.due.insert(Due {
                at,
                what: What::SessionExpiry,
                session: session.key,
            });
        }
        // Its SUBSCRIBE was never answered: the client will ask again.
        if let Some(rare) = session.rare.get_mut() {
            rare.cursors.retain(Cursor::is_started);
        }
        if !queue_qos0 {
            let dropped = session
                .queue
                .extract(|queued| queued.qos == QoS::AtMostOnce);
            dropped
                .iter()
                .for_each(|_| self.metrics.drop(DropReason::Offline));
        }
    }

    /// Publishes the Will of a Session, if there is one, and forgets it.
    pub(crate) fn publish_will(&mut self, slot: u32, now: Timestamp) {
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let Some(will) = session.will.take() else {
            return;
        };
        let key = session.key;
        let allowed = Arc::clone(&session.publisher);
        if let Some(at) = will.due_at {
            self.due.remove(&Due {
                at,
                what: What::Will,
                session: key,
            });
        }
        let mut records = Vec::new();
        if self.durable {
            records.push(Record::WillEnded {
                client_id: Arc::clone(&will.publisher.client_id),
            });
        }
        // The right to publish may have been taken away since CONNECT.
        if !self.may_publish(&allowed.principal, &will.publisher.client_id, &will.topic) {
            self.metrics.drop(DropReason::NotAuthorized);
            return self.commit_lazily(records);
        }
        let Ok(resolved) = self.resolve(&will.topic) else {
            self.metrics.drop(DropReason::NotAuthorized);
            return self.commit_lazily(records);
        };
        let origin = self.origin(key.partition);
        let topic = Arc::clone(&resolved.topic);
        let mut incoming = Incoming::new(&topic, &will.publisher, origin);
        incoming.received_at = now;
        incoming.payload = &will.payload;
        incoming.forwarded = &will.forwarded;
        incoming.qos = will.qos;
        // v5[MQTT-3.1.2-14], v5[MQTT-3.1.2-15]
        incoming.retain = will.retain;
        incoming.expires_at = will
            .message_expiry_s
            .map(|s| now.plus_seconds(u64::from(s)));
        self.publish_own(&resolved, &mut incoming, Some(key), records, now);
    }

    /// Ends a Session that nobody waits for.
    pub(crate) fn end_session(&mut self, slot: u32, now: Timestamp) {
        let record = self.remove_session(slot, now);
        self.commit_lazily(record.into_iter().collect());
    }

    /// Ends a Session: its Will, Subscriptions, queue and everything else that was its own. Returns the
    /// record of it, if it was durable.
    pub(crate) fn remove_session(&mut self, slot: u32, now: Timestamp) -> Option<Record> {
        self.publish_will(slot, now);
        self.leave_all_groups(slot, now);
        let session = self.sessions.remove(slot as usize)?;
        self.clients.remove(&session.publisher.client_id, slot);
        if let Some(at) = session.expires_at {
            self.due.remove(&Due {
                at,
                what: What::SessionExpiry,
                session: session.key,
            });
        }
        for (filter, subscription) in session.subscriptions() {
            if subscription.share.is_none() {
                self.routes.unsubscribe(filter, session.key);
            }
        }
        for _ in 0..session.queue.len() {
            self.metrics.drop(DropReason::SessionEnded);
        }
        session.stored.then_some(Record::SessionEnded {
            client_id: Arc::clone(&session.publisher.client_id),
        })
    }

    /// Gives messages of a Shared Subscription back that a member has not acknowledged: at QoS 1 all of
    /// them, at QoS 2 only those never sent (v5[MQTT-4.8.2-4], v5[MQTT-4.8.2-5]).
    pub(crate) fn give_back(&mut self, slot: u32, group: dunlin_route::GroupKey, now: Timestamp) {
        let durable = self.durable;
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let (key, client_id) = (session.key, Arc::clone(&session.publisher.client_id));
        let flying: Vec<u64> = session
            .outbound
            .iter()
            .filter(|flight| flight.stage == Flight::AwaitPuback)
            .filter(|flight| {
                flight
                    .message
                    .as_ref()
                    .is_some_and(|queued| queued.group == Some(group))
            })
            .map(|flight| flight.sequence)
            .collect();
        let mut back: Vec<_> = flying
            .into_iter()
            .filter_map(|sequence| session.outbound.abandon(sequence))
            .collect();
        back.extend(session.queue.extract(|queued| queued.group == Some(group)));
        for queued in back {
            let sequence = queued.sequence;
            let moved = (durable && queued.qos > QoS::AtMostOnce).then(|| Record::QueuedEnded {
                client_id: Arc::clone(&client_id),
                sequence,
            });
            let to = self.owner_of(group.partition);
            self.hand_over(
                to,
                Handover::Returned {
                    message: queued.message,
                    group,
                    from: key,
                    moved,
                    reply: None,
                },
                now,
            );
        }
    }

    /// The next origin of a message that enters here.
    pub(crate) fn origin(&mut self, partition: u16) -> Origin {
        let sequence = self.next_origin;
        self.next_origin += 1;
        Origin {
            partition,
            sequence,
        }
    }
}
