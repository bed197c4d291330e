//! PUBLISH for a receiver: encoded once per shape for all who get the same, or with what one receiver
//! alone has.

use dunlin_packet::mutant::{self, Mutant};
use dunlin_packet::publish_wire::PublishHeader;
use dunlin_packet::{PacketId, Property, ProtocolVersion, QoS};
use dunlin_protocol::Timestamp;
use dunlin_protocol::aliases::AliasUse;

use crate::connection::{Connection, Live, Stage};
use crate::limits::PAYLOAD_BY_REFERENCE_MIN;
use crate::message::Incoming;
use crate::outgoing::BufferPool;

/// How a message goes to one receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) ids: &'a [u32],
}

/// Whether a packet went into the outgoing buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Yes,
    TooLarge,
}

/// Packets of this turn's fan-out that are already encoded, by shape; a packet id is patched.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    active: bool,
    used: usize,
    list: Vec<Shape>,
}

#[derive(Debug)]
struct Shape {
    v5: bool,
    qos: QoS,
    retain: bool,
    bytes: Vec<u8>,
    packet_id_at: usize,
}

/// More shapes than these are encoded one by one.
const SHAPES_MAX: usize = 8;

impl Shapes {
    /// Starts a message; only with several receivers is an encoded packet worth keeping.
    pub(crate) fn begin(&mut self, fan_out: bool) {
        self.active = fan_out;
        self.used = 0;
    }

    fn find(&self, v5: bool, delivery: &Delivery<'_>) -> Option<&Shape> {
        let known = self.list.get(..self.used).unwrap_or_default();
        known
            .iter()
            .find(|s| s.v5 == v5 && s.qos == delivery.qos && s.retain == delivery.retain)
    }

    fn slot(&mut self) -> Option<&mut Shape> {
        if self.used == SHAPES_MAX {
            return None;
        }
        if self.used == self.list.len() {
            let empty = Shape {
                v5: false,
                qos: QoS::AtMostOnce,
                retain: false,
                bytes: Vec::new(),
                packet_id_at: 0,
            };
            self.list.push(empty);
        }
        self.used += 1;
        self.list.get_mut(self.used - 1)
    }
}

/// Encodes one PUBLISH into a connection's outgoing buffer.
#[inline]
pub(crate) fn write_publish(
    connection: &mut Connection,
    pool: &mut BufferPool,
    shapes: &mut Shapes,
    scratch: &mut Vec<u8>,
    incoming: &mut Incoming<'_>,
    delivery: Delivery<'_>,
    now: Timestamp,
) -> Sent {
    let Stage::Live(live) = &mut connection.stage else {
        return Sent::TooLarge;
    };
    let v5 = live.version.is_v5();
    let by_reference = incoming.payload.len() >= PAYLOAD_BY_REFERENCE_MIN;
    let plain = delivery.ids.is_empty()
        && !live.outbound_aliases.is_enabled()
        && !delivery.dup
        && !by_reference;
    let packet_size_max = packet_size_max(live);
    if plain && shapes.active {
        if let Some(shape) = shapes.find(v5, &delivery) {
            if shape.bytes.len() > packet_size_max {
                return Sent::TooLarge;
            }
            let buffer = connection.outgoing.buffer(pool);
            let start = buffer.len();
            buffer.extend_from_slice(&shape.bytes);
            patch_packet_id(buffer, start + shape.packet_id_at, delivery.packet_id);
            return Sent::Yes;
        }
        let header = header(live.version, incoming, &delivery, incoming.topic, &[]);
        if header.packet_len() <= packet_size_max
            && incoming.expires_at.is_none()
            && let Some(shape) = shapes.slot()
        {
            (shape.v5, shape.qos, shape.retain) = (v5, delivery.qos, delivery.retain);
            shape.bytes.clear();
            shape.packet_id_at = header.put(&mut shape.bytes);
            shape.bytes.extend_from_slice(incoming.payload);
            connection
                .outgoing
                .buffer(pool)
                .extend_from_slice(&shape.bytes);
            return Sent::Yes;
        }
    }
    write_single(connection, pool, scratch, incoming, delivery, now)
}

/// Encodes one PUBLISH with whatever this receiver alone has: alias, Subscription Identifiers, expiry.
fn write_single(
    connection: &mut Connection,
    pool: &mut BufferPool,
    scratch: &mut Vec<u8>,
    incoming: &mut Incoming<'_>,
    delivery: Delivery<'_>,
    now: Timestamp,
) -> Sent {
    let Stage::Live(live) = &mut connection.stage else {
        return Sent::TooLarge;
    };
    scratch.clear();
    let mut topic: &str = incoming.topic;
    let mut new_alias = None;
    if live.version.is_v5() {
        let alias = live.outbound_aliases.plan(topic);
        let expiry = incoming.expiry_left_s(now);
        if alias != AliasUse::None || expiry.is_some() || !delivery.ids.is_empty() {
            own_properties(scratch, alias, expiry, delivery.ids);
        }
        match alias {
            AliasUse::None => {}
            AliasUse::New(alias) => new_alias = Some(alias),
            AliasUse::Known(_) => topic = "",
        }
    }
    let header = header(live.version, incoming, &delivery, topic, scratch);
    // v5[MQTT-3.1.2-24]
    if header.packet_len() > packet_size_max(live) {
        return Sent::TooLarge;
    }
    if let Some(alias) = new_alias {
        live.outbound_aliases.sent(incoming.topic, alias);
    }
    header.put(connection.outgoing.buffer(pool));
    if incoming.payload.len() >= PAYLOAD_BY_REFERENCE_MIN {
        match incoming.in_read_buffer() {
            Some((buffer, place)) => connection.outgoing.push_read(buffer, place),
            None => connection.outgoing.push_payload(incoming.share()),
        }
    } else {
        connection
            .outgoing
            .buffer(pool)
            .extend_from_slice(incoming.payload);
    }
    Sent::Yes
}

fn packet_size_max(live: &Live) -> usize {
    if mutant::is_active(Mutant::PacketTooLargeSent) {
        usize::MAX
    } else {
        live.packet_size_max as usize
    }
}

fn header<'a>(
    version: ProtocolVersion,
    incoming: &Incoming<'a>,
    delivery: &Delivery<'_>,
    topic: &'a str,
    own_properties: &'a [u8],
) -> PublishHeader<'a> {
    PublishHeader {
        dup: delivery.dup,
        qos: delivery.qos,
        retain: delivery.retain,
        topic,
        packet_id: delivery.packet_id,
        version,
        own_properties,
        forwarded: incoming.forwarded,
        payload_len: incoming.payload.len(),
    }
}

/// Encodes the properties that differ per receiver.
fn own_properties(out: &mut Vec<u8>, alias: AliasUse, expiry_s: Option<u32>, ids: &[u32]) {
    // v5[MQTT-3.3.2-6]
    if let Some(seconds) = expiry_s {
        Property::MessageExpiryInterval(seconds).put(out);
    }
    if let AliasUse::New(alias) | AliasUse::Known(alias) = alias {
        Property::TopicAlias(alias).put(out);
    }
    // v5[MQTT-3.3.4-3], v5[MQTT-3.3.4-4]
    ids.iter()
        .for_each(|id| Property::SubscriptionIdentifier(*id).put(out));
}

fn patch_packet_id(buffer: &mut [u8], at: usize, packet_id: Option<PacketId>) {
    if let Some(id) = packet_id
        && let Some(place) = buffer.get_mut(at..at + 2)
    {
        place.copy_from_slice(&id.get().to_be_bytes());
    }
}
