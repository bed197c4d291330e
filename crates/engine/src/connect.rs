//! CONNECT: a Network Connection gets its Session, new, resumed or taken over.

use std::borrow::Cow;
use std::sync::Arc;

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::{Connack, Connect, Packet, Properties, ProtocolVersion, ReasonCode, encode};
use dunlin_protocol::handshake::{self, NEVER_EXPIRES};
use dunlin_protocol::{AckQueue, InboundAliases, OnDemand, OutboundAliases, Terms};
use dunlin_protocol::{ServerOffer, Timestamp};
use dunlin_route::SessionKey;

use crate::authorize::Access;
use crate::commit::After;
use crate::connection::{Live, Stage};
use crate::engine::{Engine, mark};
use crate::io::{ConnectionKey, End, Event, Principal};
use crate::message::Publisher;
use crate::partition::{partition_of, worker_of};
use crate::record::Record;
use crate::session::{PendingWill, Session};
use crate::timers::{Due, What};

impl Engine {
    pub(crate) fn connect(
        &mut self,
        key: ConnectionKey,
        connect: &Connect<'_>,
        principal: Principal,
        random: u64,
        now: Timestamp,
    ) {
        let Some(offer) = self.opened(key) else {
            return;
        };
        let terms = match handshake::negotiate(connect, &offer) {
            Ok(terms) => terms,
            Err(refusal) => {
                return self.refuse(
                    key,
                    connect.version,
                    refusal.reason,
                    refusal.why,
                    &principal.address,
                );
            }
        };
        if let Some((reason, why)) = self.check_will(connect, &principal) {
            return self.refuse(key, connect.version, reason, why, &principal.address);
        }
        let assigned =
            connect.client_id.is_empty() && !mutant::is_active(Mutant::ClientIdNotAssigned);
        let client_id: Arc<str> = if assigned {
            self.assign_client_id(random)
        } else {
            connect.client_id.into()
        };
        let mut records = Vec::new();
        let publisher = Arc::new(Publisher {
            client_id: Arc::clone(&client_id),
            principal,
        });
        let (slot, present) = self.session_for(&publisher, &terms, &mut records, now);
        let present = present || mutant::is_active(Mutant::SessionPresentAlways);
        if self.limits.tell_connections {
            let principal = &publisher.principal;
            self.event(Event::Connected {
                client_id: Arc::clone(&client_id),
                address: Arc::clone(&principal.address),
                level: connect.version.level(),
                clean_start: connect.clean_start,
                keep_alive_s: terms.keep_alive_s,
                user_name: principal.user_name.clone(),
            });
        }
        self.attach(key, slot, &terms, &offer, &publisher);
        self.arm_will(slot, connect, &publisher, &mut records);
        self.watch(key.slot, terms.keep_alive_s, now);
        let properties =
            handshake::connack_properties(&terms, &offer, assigned.then_some(&*client_id));
        let connack = Connack {
            session_present: present,
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        };
        let mut bytes = Vec::with_capacity(64);
        if encode(
            &Packet::Connack(connack),
            terms.version,
            terms.packet_size_max,
            &mut bytes,
        )
        .is_err()
        {
            // The client accepts packets too small for our limits: the limits are what can be left out.
            let bare = Connack {
                properties: Properties::EMPTY,
                ..connack
            };
            if encode(
                &Packet::Connack(bare),
                terms.version,
                terms.packet_size_max,
                &mut bytes,
            )
            .is_err()
            {
                return self.end_by_server(
                    key.slot,
                    ReasonCode::PacketTooLarge,
                    "CONNACK exceeds the client's Maximum Packet Size",
                    now,
                );
            }
        }
        if self.durable && !records.is_empty() {
            self.commit_then(
                Some(key.slot),
                records,
                After::Connack {
                    connection: key,
                    bytes: bytes.into_boxed_slice(),
                },
            );
        } else {
            self.accepted(key, &bytes, now);
        }
    }

    /// CONNACK may leave: the connection is open for everything else.
    pub(crate) fn accepted(&mut self, key: ConnectionKey, connack: &[u8], now: Timestamp) {
        let Some(connection) = self
            .connections
            .get_mut(key.slot as usize)
            .filter(|c| c.serial == key.serial)
        else {
            return;
        };
        connection
            .outgoing
            .buffer(&mut self.pool)
            .extend_from_slice(connack);
        let Some(live) = connection.live_mut() else {
            return;
        };
        let session = live.session;
        // A connection whose CONNACK waited for the store was not read meanwhile.
        if !std::mem::replace(&mut live.acknowledged, true) && self.durable {
            self.outputs.push_back(crate::io::Output::Resume(key));
        }
        mark(connection, key.slot, &mut self.writable);
        self.announce_presence(session, true, now);
        self.pump(session, now);
    }

    /// CONNACK with an error, then close.
    pub(crate) fn refuse(
        &mut self,
        key: ConnectionKey,
        version: ProtocolVersion,
        reason: ReasonCode,
        why: &'static str,
        address: &Arc<str>,
    ) {
        self.event(Event::Refused {
            address: Arc::clone(address),
            reason,
            why,
        });
        let Some(connection) = self
            .connections
            .get_mut(key.slot as usize)
            .filter(|c| c.serial == key.serial)
        else {
            return;
        };
        let connack = Connack {
            session_present: false,
            reason,
            properties: Default::default(),
        };
        let buffer = connection.outgoing.buffer(&mut self.pool);
        // A CONNACK without properties fits any limit that a client may set.
        let _ = encode(&Packet::Connack(connack), version, u32::MAX, buffer);
        connection.stage = Stage::Closing;
        mark(connection, key.slot, &mut self.writable);
        self.outputs.push_back(crate::io::Output::Close {
            connection: key,
            by_client: false,
        });
    }

    fn opened(&self, key: ConnectionKey) -> Option<Arc<ServerOffer>> {
        let connection = self
            .connections
            .get(key.slot as usize)
            .filter(|c| c.serial == key.serial)?;
        matches!(connection.stage, Stage::Opened).then(|| Arc::clone(&connection.offer))
    }

    fn check_will(
        &self,
        connect: &Connect<'_>,
        principal: &Principal,
    ) -> Option<(ReasonCode, &'static str)> {
        let topic = connect.will.as_ref()?.topic.as_str();
        if !self.may_publish(principal, connect.client_id, topic) {
            return Some((ReasonCode::NotAuthorized, "the Will's topic is not allowed"));
        }
        (topic.split('/').count() > usize::from(self.limits.topic_levels_max)).then_some((
            ReasonCode::TopicNameInvalid,
            "the Will's topic has too many levels",
        ))
    }

    /// Whether a client may publish to a topic. Nobody writes to the broker's own tree.
    pub(crate) fn may_publish(&self, principal: &Principal, client_id: &str, topic: &str) -> bool {
        let own = topic == "$SYS" || topic.starts_with("$SYS/");
        !own && self
            .authorizer
            .as_ref()
            .is_none_or(|a| a.allows(principal, client_id, Access::Write, topic))
    }

    /// A Client Identifier that nobody uses and whose partition is ours, so that the connection stays.
    fn assign_client_id(&self, random: u64) -> Arc<str> {
        let mut state = random;
        loop {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let (high, low) = (mix(state), mix(!state ^ random));
            let id = format!(
                "{}{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
                self.limits.auto_id_prefix,
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xffff,
                low >> 48,
                low & 0xffff_ffff_ffff
            );
            let mine = worker_of(partition_of(id.as_bytes()), self.workers) == self.worker;
            if mine && self.clients.get(&id, &self.sessions).is_none() {
                return id.into();
            }
        }
    }

    /// The Session of a client, and whether it existed.
    fn session_for(
        &mut self,
        publisher: &Arc<Publisher>,
        terms: &Terms,
        records: &mut Vec<Record>,
        now: Timestamp,
    ) -> (u32, bool) {
        let client_id = &publisher.client_id;
        if let Some(slot) = self.clients.get(client_id, &self.sessions) {
            let connected = self
                .sessions
                .get(slot as usize)
                .and_then(|session| session.connection);
            if let Some(connection) = connected {
                self.take_over(connection, terms, now);
            }
            let alive = self.clients.get(client_id, &self.sessions) == Some(slot);
            if alive && !terms.clean_start {
                self.resume(slot, terms, publisher, records);
                return (slot, true);
            }
            if alive {
                // v5[MQTT-3.1.2-4]
                records.extend(self.remove_session(slot, now));
            }
        }
        (self.create_session(publisher, terms, records), false)
    }

    /// v5[MQTT-3.1.4-3]: the older connection of the client is told and closed.
    fn take_over(&mut self, connection: u32, terms: &Terms, now: Timestamp) {
        let mut withdrawn = None;
        if !terms.clean_start
            && let Some(session) = self.session_of(connection)
            && let Some(session) = self.sessions.get_mut(session as usize)
            && session.is_durable()
            && session.will.as_ref().is_some_and(|will| will.delay_s > 0)
        {
            // v5[MQTT-3.1.3-9]: the new connection comes before the delay has passed.
            session.will = None;
            let client_id = Arc::clone(&session.publisher.client_id);
            withdrawn = Some(Record::WillEnded { client_id });
        }
        self.commit_lazily(withdrawn.into_iter().collect());
        self.end_by_server(
            connection,
            ReasonCode::SessionTakenOver,
            "another connection with this client id",
            now,
        );
    }

    fn resume(
        &mut self,
        slot: u32,
        terms: &Terms,
        publisher: &Arc<Publisher>,
        records: &mut Vec<Record>,
    ) {
        let durable = self.durable;
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        let key = session.key;
        if let Some(at) = session.expires_at.take() {
            self.due.remove(&Due {
                at,
                what: What::SessionExpiry,
                session: key,
            });
        }
        // v5[MQTT-3.1.3-9]
        if let Some(will) = session.will.take() {
            if let Some(at) = will.due_at {
                self.due.remove(&Due {
                    at,
                    what: What::Will,
                    session: key,
                });
            }
            if durable {
                let client_id = Arc::clone(&session.publisher.client_id);
                records.push(Record::WillEnded { client_id });
            }
        }
        let changed = session.expiry_interval_s != terms.session_expiry_interval_s
            || session.publisher.principal.user_name != publisher.principal.user_name;
        session.expiry_interval_s = terms.session_expiry_interval_s;
        session.publisher = Arc::clone(publisher);
        if durable && changed && (session.stored || session.is_durable()) {
            session.stored = true;
            records.push(session_record(session));
        }
    }

    fn create_session(
        &mut self,
        publisher: &Arc<Publisher>,
        terms: &Terms,
        records: &mut Vec<Record>,
    ) -> u32 {
        let serial = self.serial();
        let partition = partition_of(publisher.client_id.as_bytes());
        let durable = self.durable;
        let slot = self.sessions.insert_with(|slot| {
            let key = SessionKey {
                partition,
                slot: slot as u32,
                serial,
            };
            let mut session = Session::new(key, Arc::clone(publisher));
            session.expiry_interval_s = terms.session_expiry_interval_s;
            if durable && session.is_durable() {
                session.stored = true;
                records.push(session_record(&session));
            }
            session
        }) as u32;
        self.clients
            .insert(&publisher.client_id, slot, &self.sessions);
        slot
    }

    fn attach(
        &mut self,
        key: ConnectionKey,
        slot: u32,
        terms: &Terms,
        offer: &ServerOffer,
        publisher: &Arc<Publisher>,
    ) {
        let Some(session) = self.sessions.get_mut(slot as usize) else {
            return;
        };
        session.connection = Some(key.slot);
        session
            .outbound
            .new_connection(terms.send_quota, self.limits.inflight_bytes_max);
        session.inbound.new_connection();
        let Some(connection) = self.connections.get_mut(key.slot as usize) else {
            return;
        };
        connection.stage = Stage::Live(Box::new(Live {
            session: slot,
            version: terms.version,
            acknowledged: false,
            receive_maximum: terms.receive_maximum,
            packet_size_max: terms.packet_size_max,
            expiry_was_zero: terms.session_expiry_interval_s == 0,
            publisher: Arc::clone(publisher),
            inbound_aliases: InboundAliases::new(offer.topic_alias_maximum),
            outbound_aliases: OutboundAliases::new(terms.topic_alias_maximum),
            acks: AckQueue::default(),
            jobs: OnDemand::default(),
            paused_by: OnDemand::default(),
            paused_full: false,
            bridge: terms.bridge,
        }));
    }

    /// v5[MQTT-3.1.2-7]
    fn arm_will(
        &mut self,
        slot: u32,
        connect: &Connect<'_>,
        publisher: &Arc<Publisher>,
        records: &mut Vec<Record>,
    ) {
        let Some(will) = &connect.will else { return };
        let topic = will.topic.as_str();
        let pending = PendingWill {
            topic: topic.into(),
            payload: will.payload.into(),
            forwarded: crate::forwarded::forwarded_properties(will.properties).into(),
            qos: will.qos,
            retain: will.retain,
            message_expiry_s: will.properties.message_expiry_interval(),
            delay_s: will.properties.will_delay_interval().unwrap_or(0),
            publisher: Arc::clone(publisher),
            due_at: None,
        };
        if self.durable {
            let mut body = pending.forwarded.to_vec();
            body.extend_from_slice(&pending.payload);
            records.push(Record::Will {
                client_id: Arc::clone(&publisher.client_id),
                topic: Arc::clone(&pending.topic),
                body: body.into_boxed_slice(),
                properties_len: pending.forwarded.len() as u32,
                qos: pending.qos,
                retain: pending.retain,
                delay_s: pending.delay_s,
                message_expiry_s: pending.message_expiry_s,
                publisher: Arc::clone(publisher),
            });
        }
        if let Some(session) = self.sessions.get_mut(slot as usize) {
            session.will = Some(Box::new(pending));
        }
    }

    pub(crate) fn session_of(&self, connection: u32) -> Option<u32> {
        Some(self.connections.get(connection as usize)?.live()?.session)
    }

    /// Ends a connection with a Reason Code of ours: DISCONNECT on 5.0, a close on 3.x.
    pub(crate) fn end_by_server(
        &mut self,
        slot: u32,
        reason: ReasonCode,
        why: impl Into<Cow<'static, str>>,
        now: Timestamp,
    ) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let tell = !(reason == ReasonCode::SessionTakenOver
            && mutant::is_active(Mutant::NoTakeoverDisconnect));
        if let Stage::Live(live) = &connection.stage
            && live.version.is_v5()
            && live.acknowledged
            && tell
        {
            let disconnect = dunlin_packet::Disconnect {
                reason,
                properties: Default::default(),
            };
            let (version, size_max) = (live.version, live.packet_size_max);
            let buffer = connection.outgoing.buffer(&mut self.pool);
            // Too large even for four bytes: then the close has to speak for itself.
            let _ = encode(&Packet::Disconnect(disconnect), version, size_max, buffer);
        }
        self.end_connection(slot, End::ByServer(reason, why.into()), now);
    }
}

pub(crate) fn session_record(session: &Session) -> Record {
    Record::Session {
        client_id: Arc::clone(&session.publisher.client_id),
        expiry_interval_s: session.expiry_interval_s,
        user_name: session.publisher.principal.user_name.clone(),
    }
}

/// Whether a Session with this interval ever ends by itself.
pub(crate) fn expires(expiry_interval_s: u32) -> bool {
    expiry_interval_s != NEVER_EXPIRES
}

/// A bijection that spreads its input over all bits (the finaliser of SplitMix64).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
