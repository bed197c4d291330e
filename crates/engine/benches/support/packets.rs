//! What the clients of a trace send, encoded before the first turn.

use dunlin_packet::{
    Ack, Connect, Disconnect, Packet, PacketId, Properties, PropertiesBuf, Property,
    ProtocolVersion, Publish, QoS, ReasonCode, Subscribe, SubscribeBody, SubscriptionOptions,
    Unsubscribe, UnsubscribeBody, encode,
};

/// Bytes that a read takes where clients send as fast as they can.
const READ_BYTES: usize = 64 * 1024;

/// Packets in one read where clients wait for acknowledgements.
pub(super) const BATCH: u16 = 20;

/// Several packets that come in one read.
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    pub(super) packets: u64,
}

impl Read {
    /// One read with all of these packets.
    pub(super) fn of(packets: impl Iterator<Item = Vec<u8>>) -> Read {
        let mut read = Read {
            bytes: Vec::new(),
            packets: 0,
        };
        for packet in packets {
            read.bytes.extend_from_slice(&packet);
            read.packets += 1;
        }
        read
    }

    /// One read with as many of these packets, which never end, as fit into [`READ_BYTES`].
    pub(super) fn full(packets: impl Iterator<Item = Vec<u8>>) -> Read {
        let mut left = READ_BYTES;
        Read::of(packets.take_while(|packet| {
            let fits = packet.len() <= left;
            left = left.saturating_sub(packet.len());
            fits
        }))
    }
}

/// CONNECT with Clean Start.
pub(super) fn connect(version: ProtocolVersion, client_id: &str) -> Vec<u8> {
    encoded(version, &Packet::Connect(hello(version, client_id)))
}

/// CONNECT of a 3.1.1 client that goes on with its Session.
pub(super) fn connect_again(client_id: &str) -> Vec<u8> {
    let version = ProtocolVersion::V311;
    let connect = Connect {
        clean_start: false,
        ..hello(version, client_id)
    };
    encoded(version, &Packet::Connect(connect))
}

/// CONNECT of a 5.0 client that accepts so many Topic Aliases.
pub(super) fn connect_with_aliases(client_id: &str, maximum: u16) -> Vec<u8> {
    let version = ProtocolVersion::V5;
    let mut properties = PropertiesBuf::new();
    properties.push(Property::TopicAliasMaximum(maximum));
    let connect = Connect {
        properties: properties.as_properties(),
        ..hello(version, client_id)
    };
    encoded(version, &Packet::Connect(connect))
}

/// DISCONNECT of 3.1.1.
pub(super) fn disconnect() -> Vec<u8> {
    let disconnect = Disconnect {
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    };
    encoded(ProtocolVersion::V311, &Packet::Disconnect(disconnect))
}

/// SUBSCRIBE with all of these Topic Filters.
pub(super) fn subscribe<F: AsRef<str>>(
    version: ProtocolVersion,
    filters: impl IntoIterator<Item = F>,
    qos: QoS,
) -> Vec<u8> {
    let mut body = SubscribeBody::new();
    for filter in filters {
        body.push(filter.as_ref(), SubscriptionOptions::at_qos(qos));
    }
    let subscribe = Subscribe::from_body(PacketId::FIRST, Properties::EMPTY, body.as_bytes());
    encoded(version, &Packet::Subscribe(subscribe))
}

/// UNSUBSCRIBE of 3.1.1 with one Topic Filter.
pub(super) fn unsubscribe(filter: &str) -> Vec<u8> {
    let mut body = UnsubscribeBody::new();
    body.push(filter);
    let unsubscribe = Unsubscribe::from_body(PacketId::FIRST, Properties::EMPTY, body.as_bytes());
    encoded(ProtocolVersion::V311, &Packet::Unsubscribe(unsubscribe))
}

/// A QoS 0 message without properties; what differs is set by the caller.
pub(super) fn message<'a>(topic: &'a str, payload: &'a [u8]) -> Publish<'a> {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic,
        packet_id: None,
        properties: Properties::EMPTY,
        payload,
    }
}

pub(super) fn publish(version: ProtocolVersion, publish: Publish<'_>) -> Vec<u8> {
    encoded(version, &Packet::Publish(publish))
}

/// A read of [`BATCH`] copies of a 3.1.1 message at this QoS, with the Packet Identifiers from 1 on. They
/// may be sent again as soon as all of them are acknowledged.
pub(super) fn batch(message: Publish<'_>, qos: QoS) -> Read {
    Read::of((1..=BATCH).map(|id| {
        let packet_id = PacketId::new(id).filter(|_| qos > QoS::AtMostOnce);
        let numbered = Publish {
            qos,
            packet_id,
            ..message
        };
        publish(ProtocolVersion::V311, numbered)
    }))
}

/// A read of PUBREL packets for a [`batch`].
pub(super) fn pubrels() -> Vec<u8> {
    (1..=BATCH)
        .flat_map(|id| encoded(ProtocolVersion::V311, &Packet::Pubrel(ack(id))))
        .collect()
}

/// A subscriber's acknowledgements, whose Packet Identifiers go from 1 to 65,535 over and over as the
/// broker gives them to a Session. Built beforehand, for counting is not the broker's work.
pub(super) struct Acks {
    bytes: Vec<u8>,
    next: usize,
}

/// How many Packet Identifiers there are.
const IDS: usize = u16::MAX as usize;

/// Bytes of an acknowledgement of 3.1.1.
const ACK_BYTES: usize = 4;

impl Acks {
    /// Acknowledgements of one kind.
    pub(super) fn new(kind: fn(Ack<'static>) -> Packet<'static>) -> Self {
        // A read that begins with the last identifiers goes on with the first ones.
        let ids = (1..=u16::MAX).chain(1..BATCH);
        let bytes = ids.flat_map(|id| encoded(ProtocolVersion::V311, &kind(ack(id))));
        Self {
            bytes: bytes.collect(),
            next: 0,
        }
    }

    /// One read: the acknowledgements of the next [`BATCH`] messages.
    pub(super) fn next_read(&mut self) -> &[u8] {
        let from = self.next * ACK_BYTES;
        self.next = (self.next + usize::from(BATCH)) % IDS;
        &self.bytes[from..from + usize::from(BATCH) * ACK_BYTES]
    }
}

fn ack(id: u16) -> Ack<'static> {
    Ack {
        packet_id: PacketId::new(id).unwrap(),
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    }
}

fn hello(version: ProtocolVersion, client_id: &str) -> Connect<'_> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_s: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: Properties::EMPTY,
    }
}

fn encoded(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, u32::MAX, &mut bytes).unwrap();
    bytes
}
