//! A small Server for one client, made of the Server-role parts of the crate. It has no Subscriptions
//! to match: what a test publishes through it goes to its client.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use dunlin_packet::{
    Ack, Connack, Connect, Decoded, Disconnect, Packet, PacketId, Properties, PropertiesBuf,
    Property, Publish, QoS, ReasonCode, Rules, Sender, Suback, Unsuback, decode, decode_connect,
    encode,
};
use dunlin_protocol::aliases::AliasUse;
use dunlin_protocol::handshake::{connack_properties, negotiate};
use dunlin_protocol::inbound::Overrun;
use dunlin_protocol::outbound::{Acked, packet_id_of};
use dunlin_protocol::{Inbound, Outbound, OutboundAliases, ServerOffer, Terms};

/// The Server, its one Session and the connection to it.
pub(crate) struct Server {
    pub(crate) offer: ServerOffer,
    /// PUBACK and PUBREC are kept back while this is set.
    pub(crate) withholds: bool,
    /// What arrives is dropped while this is set.
    pub(crate) is_mute: bool,
    /// Payloads as subscribers would get them.
    pub(crate) delivered: Vec<String>,
    /// Every PUBLISH that arrived above QoS 0.
    pub(crate) arrivals: Vec<Arrival>,
    /// The Topic Filters of every SUBSCRIBE and UNSUBSCRIBE that arrived.
    pub(crate) requests: Vec<String>,
    /// PINGREQ packets that arrived.
    pub(crate) pings: usize,
    /// The reason of the client's DISCONNECT.
    pub(crate) disconnected: Option<ReasonCode>,
    /// Bytes for the client.
    pub(crate) out: Vec<u8>,
    session: Option<Session>,
    connection: Option<Connection>,
    unread: Vec<u8>,
    withheld: Vec<(QoS, PacketId)>,
}

/// One PUBLISH as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) packet_id: u16,
    pub(crate) dup: bool,
    pub(crate) payload: String,
}

#[derive(Default)]
struct Session {
    outbound: Outbound<Queued>,
    inbound: Inbound,
    queue: VecDeque<Queued>,
    next_sequence: u64,
}

struct Connection {
    terms: Terms,
    aliases: OutboundAliases,
}

struct Queued {
    topic: Arc<str>,
    payload: String,
    qos: QoS,
}

impl Server {
    pub(crate) fn new(offer: ServerOffer) -> Self {
        Self {
            offer,
            withholds: false,
            is_mute: false,
            delivered: Vec::new(),
            arrivals: Vec::new(),
            requests: Vec::new(),
            pings: 0,
            disconnected: None,
            out: Vec::new(),
            session: None,
            connection: None,
            unread: Vec::new(),
            withheld: Vec::new(),
        }
    }

    /// Publishes to the client, now or when it is back.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: QoS) {
        let session = self.session.get_or_insert_with(Session::default);
        session.queue.push_back(Queued {
            topic: Arc::from(topic),
            payload: payload.to_owned(),
            qos,
        });
        self.pump();
    }

    /// Messages that the client has not acknowledged to the end.
    pub(crate) fn open(&self) -> usize {
        self.session.as_ref().map_or(0, |session| {
            session.queue.len() + session.outbound.in_flight() as usize
        })
    }

    /// Forgets the client.
    pub(crate) fn forget_session(&mut self) {
        self.session = None;
    }

    /// Sends what was kept back.
    pub(crate) fn give_way(&mut self) {
        self.withholds = false;
        for (qos, packet_id) in mem::take(&mut self.withheld) {
            self.acknowledge(qos, packet_id);
        }
    }

    /// Ends the connection from this side.
    pub(crate) fn disconnect(&mut self, reason: ReasonCode) {
        let properties = Properties::EMPTY;
        self.put(&Packet::Disconnect(Disconnect { reason, properties }));
    }

    /// The connection is gone, and with it what was on its way.
    pub(crate) fn lost(&mut self) {
        let connection = self.connection.take();
        if connection.is_some_and(|lost| lost.terms.session_expiry_interval_s == 0) {
            self.session = None;
        }
        self.unread.clear();
        self.withheld.clear();
        self.out.clear();
    }

    /// Takes bytes of the client.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if self.is_mute {
            return;
        }
        let mut unread = mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(len) = self.receive_packet(&unread[at..]) {
            at += len;
        }
        unread.drain(..at);
        self.unread = unread;
    }

    /// Handles the packet at the front; `None` when it is not complete.
    fn receive_packet(&mut self, bytes: &[u8]) -> Option<usize> {
        let decoded = match &self.connection {
            None => decode_connect(bytes, u32::MAX).unwrap(),
            Some(connection) => {
                let rules = Rules {
                    version: connection.terms.version,
                    sender: Sender::Client,
                    packet_size_max: self.offer.maximum_packet_size,
                };
                decode(bytes, &rules).unwrap()
            }
        };
        let Decoded::Packet { packet, len } = decoded else {
            return None;
        };
        self.handle(&packet);
        Some(len)
    }

    fn handle(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => self.connect(connect),
            Packet::Publish(publish) => self.published(publish),
            Packet::Puback(ack) => {
                self.session().outbound.puback(ack.packet_id);
            }
            Packet::Pubrec(ack) => {
                let acked = self.session().outbound.pubrec(ack.packet_id, false);
                if let Acked::Released { sequence, .. } | Acked::AlreadyReleased { sequence } =
                    acked
                {
                    self.session().outbound.pubrel_sent(sequence);
                    self.put(&Packet::Pubrel(ack_of(ack.packet_id, ReasonCode::Success)));
                }
            }
            Packet::Pubrel(ack) => {
                let known = self.session().inbound.release(ack.packet_id);
                let reason = if known {
                    ReasonCode::Success
                } else {
                    ReasonCode::PacketIdentifierNotFound
                };
                self.put(&Packet::Pubcomp(ack_of(ack.packet_id, reason)));
            }
            Packet::Pubcomp(ack) => {
                self.session().outbound.pubcomp(ack.packet_id);
            }
            Packet::Subscribe(subscribe) => {
                let filters: Vec<_> = subscribe.filters().collect();
                let granted = filters.iter().map(|(_, options)| options.qos as u8);
                let reasons: Vec<u8> = granted.collect();
                self.requests
                    .extend(filters.iter().map(|(filter, _)| format!("+{filter}")));
                self.put(&Packet::Suback(Suback {
                    packet_id: subscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: &reasons,
                }));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let filters: Vec<_> = unsubscribe.filters().collect();
                self.requests
                    .extend(filters.iter().map(|filter| format!("-{filter}")));
                self.put(&Packet::Unsuback(Unsuback {
                    packet_id: unsubscribe.packet_id,
                    properties: Properties::EMPTY,
                    reasons: &vec![0; filters.len()],
                }));
            }
            Packet::Pingreq => {
                self.pings += 1;
                self.put(&Packet::Pingresp);
            }
            Packet::Disconnect(disconnect) => {
                self.disconnected = Some(disconnect.reason);
                return self.lost();
            }
            other => panic!("the client sent {}", other.packet_type()),
        }
        self.pump();
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        let terms = match negotiate(connect, &self.offer) {
            Ok(terms) => terms,
            Err(refusal) => {
                let connack = Connack {
                    session_present: false,
                    reason: refusal.reason,
                    properties: Properties::EMPTY,
                };
                let packet = Packet::Connack(connack);
                return encode(&packet, connect.version, u32::MAX, &mut self.out).unwrap();
            }
        };
        if terms.clean_start {
            self.session = None;
        }
        let session_present = self.session.is_some();
        let session = self.session();
        session.outbound.new_connection(terms.send_quota, 0);
        session.inbound.new_connection();
        let assigned = connect.client_id.is_empty().then_some("auto-1");
        let properties = connack_properties(&terms, &self.offer, assigned);
        self.connection = Some(Connection {
            aliases: OutboundAliases::new(terms.topic_alias_maximum),
            terms,
        });
        self.put(&Packet::Connack(Connack {
            session_present,
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        }));
    }

    fn published(&mut self, publish: &Publish<'_>) {
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        let Some(packet_id) = publish.packet_id else {
            self.delivered.push(payload);
            return;
        };
        self.arrivals.push(Arrival {
            packet_id: packet_id.get(),
            dup: publish.dup,
            payload: payload.clone(),
        });
        let (withholds, maximum) = (self.withholds, self.offer.receive_maximum);
        let inbound = &mut self.session().inbound;
        let is_new = publish.qos == QoS::AtLeastOnce || inbound.hold(packet_id);
        if withholds && publish.qos == QoS::AtLeastOnce {
            inbound.wait_begins();
        }
        assert_eq!(inbound.check_quota(maximum, true), Overrun::Accept);
        if is_new {
            self.delivered.push(payload);
        }
        if withholds {
            self.withheld.push((publish.qos, packet_id));
        } else {
            self.acknowledge(publish.qos, packet_id);
        }
    }

    fn acknowledge(&mut self, qos: QoS, packet_id: PacketId) {
        let ack = ack_of(packet_id, ReasonCode::Success);
        if qos == QoS::AtLeastOnce {
            self.session().inbound.wait_ends();
            self.put(&Packet::Puback(ack));
        } else {
            self.put(&Packet::Pubrec(ack));
        }
    }

    /// Sends what the client's quota allows.
    fn pump(&mut self) {
        let (Some(connection), Some(session)) = (&mut self.connection, &mut self.session) else {
            return;
        };
        while let Some(next) = session.outbound.next_resend() {
            let (sequence, packet_id) = (next.sequence, packet_id_of(next.sequence));
            if let Some(message) = &next.message {
                connection.put_publish(message, Some(packet_id), true, &mut self.out);
                continue;
            }
            let packet = Packet::Pubrel(ack_of(packet_id, ReasonCode::Success));
            encode(&packet, connection.terms.version, u32::MAX, &mut self.out).unwrap();
            session.outbound.pubrel_sent(sequence);
        }
        while let Some(message) = session.queue.front() {
            let (sequence, qos) = (session.next_sequence, message.qos);
            let packet_id = (qos != QoS::AtMostOnce).then(|| packet_id_of(sequence));
            if packet_id.is_some() && !session.outbound.may_send(sequence, 1) {
                return;
            }
            connection.put_publish(message, packet_id, false, &mut self.out);
            let message = session.queue.pop_front().unwrap();
            if packet_id.is_some() {
                session.next_sequence += 1;
                let qos2 = qos == QoS::ExactlyOnce;
                session.outbound.sent(sequence, qos2, 1, message);
            }
        }
    }

    fn session(&mut self) -> &mut Session {
        self.session.get_or_insert_with(Session::default)
    }

    fn put(&mut self, packet: &Packet<'_>) {
        let connection = self.connection.as_ref().unwrap();
        let terms = &connection.terms;
        encode(packet, terms.version, terms.packet_size_max, &mut self.out).unwrap();
    }
}

impl Connection {
    /// Topic Aliases are used from the first message, as far as the client allows.
    fn put_publish(
        &mut self,
        message: &Queued,
        packet_id: Option<PacketId>,
        dup: bool,
        out: &mut Vec<u8>,
    ) {
        let plan = self.aliases.plan(&message.topic);
        let mut properties = PropertiesBuf::new();
        if let AliasUse::New(alias) | AliasUse::Known(alias) = plan {
            properties.push(Property::TopicAlias(alias));
        }
        if let AliasUse::New(alias) = plan {
            self.aliases.sent(&message.topic, alias);
        }
        let is_known = matches!(plan, AliasUse::Known(_));
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: false,
            topic: if is_known { "" } else { &message.topic },
            packet_id,
            properties: properties.as_properties(),
            payload: message.payload.as_bytes(),
        };
        let size_max = self.terms.packet_size_max;
        encode(&Packet::Publish(publish), self.terms.version, size_max, out).unwrap();
    }
}

fn ack_of(packet_id: PacketId, reason: ReasonCode) -> Ack<'static> {
    Ack {
        packet_id,
        reason,
        properties: Properties::EMPTY,
    }
}
