//! MQTT Control Packets as bytes: writing them from parts, and one packet as it was received.
//!
//! Nothing here checks a rule of the sender: a case may write what it likes. What the broker sends is read strictly.

use std::fmt;

use crate::received::{self, OwnedProp};
use crate::spec::{ConnectSpec, Prop, PublishSpec};

/// One packet with its fixed header's first byte, its body, and the Remaining Length implied by it.
#[derive(Clone, Eq, PartialEq, Default)]
pub struct Wire {
    /// Packet type and flags.
    pub first: u8,
    /// Everything after the Remaining Length.
    pub body: Vec<u8>,
}

impl Wire {
    /// The type, 1 to 15.
    pub fn packet_type(&self) -> u8 {
        self.first >> 4
    }

    /// The four flag bits of the fixed header.
    pub fn flags(&self) -> u8 {
        self.first & 0x0F
    }

    /// The whole packet.
    pub fn to_bytes(&self) -> Vec<u8> {
        packet(self.first, &self.body)
    }

    /// The whole packet as `d0 00`.
    pub fn to_hex(&self) -> String {
        to_hex(&self.to_bytes())
    }

    /// The Packet Identifier of an acknowledgement (PUBACK to PUBCOMP, SUBACK, UNSUBACK).
    #[track_caller]
    pub fn packet_id(&self) -> u16 {
        match self.body.as_slice() {
            [high, low, ..] if matches!(self.packet_type(), 4..=7 | 9 | 11) => {
                u16::from_be_bytes([*high, *low])
            }
            _ => panic!("{self:?} has no Packet Identifier in front"),
        }
    }

    /// The Reason Code or return code; 0 where it is left out, the first one where there are several.
    #[track_caller]
    pub fn reason(&self, level: u8) -> u8 {
        match self.packet_type() {
            2 => self
                .body
                .get(1)
                .copied()
                .unwrap_or_else(|| panic!("{self:?} is too short for a CONNACK")),
            4..=7 => self.body.get(2).copied().unwrap_or(0),
            9 | 11 => self
                .codes(level)
                .first()
                .copied()
                .unwrap_or_else(|| panic!("{self:?} has no Reason Code")),
            14 | 15 => self.body.first().copied().unwrap_or(0),
            _ => panic!("{self:?} carries no Reason Code"),
        }
    }

    /// The Reason Codes of a SUBACK or UNSUBACK.
    #[track_caller]
    pub fn codes(&self, level: u8) -> Vec<u8> {
        assert!(
            matches!(self.packet_type(), 9 | 11),
            "{self:?} is neither SUBACK nor UNSUBACK"
        );
        let start = if level == 5 {
            2 + received::block_len(&self.body, 2)
        } else {
            2
        };
        self.body
            .get(start..)
            .unwrap_or_else(|| panic!("{self:?} is too short"))
            .to_vec()
    }

    /// The properties of a packet of MQTT 5.0, in their order; empty where the block is left out.
    #[track_caller]
    pub fn properties(&self) -> Vec<OwnedProp> {
        let start = match self.packet_type() {
            2 | 9 | 11 => 2,
            3 => received::publish_properties_at(self),
            4..=7 if self.body.len() > 3 => 3,
            14 | 15 if self.body.len() > 1 => 1,
            4..=7 | 14 | 15 => return Vec::new(),
            _ => panic!("{self:?} carries no properties"),
        };
        received::properties(&self.body, start)
    }

    /// The first property with this identifier.
    #[track_caller]
    pub fn prop(&self, id: u8) -> Option<OwnedProp> {
        self.properties().into_iter().find(|prop| prop.id() == id)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} [{}]",
            type_name(self.packet_type()),
            shortened(&self.to_hex())
        )
    }
}

/// The standard's name of a packet type.
pub fn type_name(packet_type: u8) -> &'static str {
    match packet_type {
        1 => "CONNECT",
        2 => "CONNACK",
        3 => "PUBLISH",
        4 => "PUBACK",
        5 => "PUBREC",
        6 => "PUBREL",
        7 => "PUBCOMP",
        8 => "SUBSCRIBE",
        9 => "SUBACK",
        10 => "UNSUBSCRIBE",
        11 => "UNSUBACK",
        12 => "PINGREQ",
        13 => "PINGRESP",
        14 => "DISCONNECT",
        15 => "AUTH",
        _ => "packet of type 0",
    }
}

/// A packet of this first byte and body, its Remaining Length counted.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(varint(length_u32(body.len())));
    bytes.extend_from_slice(body);
    bytes
}

/// A UTF-8 Encoded String: two bytes of length, then the text.
#[track_caller]
pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// Binary Data: two bytes of length, then the bytes.
#[track_caller]
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let Ok(length) = u16::try_from(bytes.len()) else {
        panic!("{} bytes do not fit a field of MQTT", bytes.len());
    };
    let mut field = length.to_be_bytes().to_vec();
    field.extend_from_slice(bytes);
    field
}

/// Properties with the Property Length in front.
pub fn props(props: &[Prop<'_>]) -> Vec<u8> {
    let mut properties = Vec::new();
    for prop in props {
        match *prop {
            Prop::Byte(id, value) => properties.extend([id, value]),
            Prop::U16(id, value) => {
                properties.push(id);
                properties.extend(value.to_be_bytes());
            }
            Prop::U32(id, value) => {
                properties.push(id);
                properties.extend(value.to_be_bytes());
            }
            Prop::Varint(id, value) => {
                properties.push(id);
                properties.extend(varint(value));
            }
            Prop::Str(id, text) => {
                properties.push(id);
                properties.extend(string(text));
            }
            Prop::Bin(id, bytes) => {
                properties.push(id);
                properties.extend(binary(bytes));
            }
            Prop::Pair(id, key, value) => {
                properties.push(id);
                properties.extend(string(key));
                properties.extend(string(value));
            }
        }
    }
    block(&properties)
}

/// A property block of bytes as they are, with the Property Length in front.
pub fn block(properties: &[u8]) -> Vec<u8> {
    let mut bytes = varint(length_u32(properties.len()));
    bytes.extend_from_slice(properties);
    bytes
}

/// A Variable Byte Integer in its shortest form.
#[track_caller]
pub fn varint(value: u32) -> Vec<u8> {
    assert!(
        value <= 268_435_455,
        "{value} does not fit a Variable Byte Integer"
    );
    let mut bytes = Vec::new();
    let mut rest = value;
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A CONNECT packet.
pub fn connect(spec: &ConnectSpec<'_>) -> Vec<u8> {
    let mut flags = 0;
    let mut payload = string(spec.client_id);
    if spec.clean {
        flags |= 0x02;
    }
    if let Some(will) = &spec.will {
        flags |= 0x04 | (will.qos << 3) | (u8::from(will.retain) << 5);
        if spec.level == 5 {
            payload.extend(props(&will.props));
        }
        payload.extend(string(will.topic));
        payload.extend(binary(will.payload));
    }
    if let Some(user) = spec.user {
        flags |= 0x80;
        payload.extend(string(user));
    }
    if let Some(password) = spec.password {
        flags |= 0x40;
        payload.extend(binary(password));
    }
    let mut body = string(if spec.level & 0x7F == 3 {
        "MQIsdp"
    } else {
        "MQTT"
    });
    body.extend([spec.level, flags]);
    body.extend(spec.keep_alive.to_be_bytes());
    if spec.level == 5 {
        body.extend(props(&spec.props));
    }
    body.extend(payload);
    packet(0x10, &body)
}

/// A CONNECT packet of 5.0 with Keep Alive 0, put together of these flags, this property block with its length, and
/// these fields of the payload: right or wrong.
pub fn connect_of(flags: u8, block: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut body = string("MQTT");
    body.extend([5, flags, 0, 0]);
    body.extend_from_slice(block);
    body.extend(fields.concat());
    packet(0x10, &body)
}

/// A PUBLISH packet.
pub fn publish(level: u8, spec: &PublishSpec<'_>) -> Vec<u8> {
    let mut body = string(spec.topic);
    if spec.qos > 0 {
        body.extend(spec.packet_id.to_be_bytes());
    }
    if level == 5 {
        body.extend(props(&spec.props));
    }
    body.extend_from_slice(spec.payload);
    packet(
        0x30 | (u8::from(spec.dup) << 3) | (spec.qos << 1) | u8::from(spec.retain),
        &body,
    )
}

/// A SUBSCRIBE packet of filters with their options byte.
pub fn subscribe(
    level: u8,
    packet_id: u16,
    properties: &[Prop<'_>],
    filters: &[(&str, u8)],
) -> Vec<u8> {
    let mut body = identified(level, packet_id, properties);
    for (filter, options) in filters {
        body.extend(string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE packet.
pub fn unsubscribe(
    level: u8,
    packet_id: u16,
    properties: &[Prop<'_>],
    filters: &[&str],
) -> Vec<u8> {
    let mut body = identified(level, packet_id, properties);
    for filter in filters {
        body.extend(string(filter));
    }
    packet(0xA2, &body)
}

/// PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70). A reason is written on 5.0 only.
pub fn ack(first: u8, level: u8, packet_id: u16, reason: Option<u8>) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if level == 5 {
        body.extend(reason);
    }
    packet(first, &body)
}

/// A DISCONNECT packet; on 3.x always `e0 00`. Properties are written when there are any.
pub fn disconnect(level: u8, reason: Option<u8>, properties: &[Prop<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    if level == 5 && (reason.is_some() || !properties.is_empty()) {
        body.push(reason.unwrap_or(0));
        if !properties.is_empty() {
            body.extend(props(properties));
        }
    }
    packet(0xE0, &body)
}

/// A PINGREQ packet.
pub fn pingreq() -> Vec<u8> {
    vec![0xC0, 0x00]
}

/// The bytes of `"10 0c 00"`; white space is free.
#[track_caller]
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| {
            c.to_digit(16)
                .unwrap_or_else(|| panic!("{c:?} is no hexadecimal digit"))
        })
        .collect();
    assert!(
        digits.len().is_multiple_of(2),
        "{text:?} has an odd number of digits"
    );
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | *digit) as u8)
        .collect()
}

/// Bytes as `d0 00`.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn identified(level: u8, packet_id: u16, properties: &[Prop<'_>]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if level == 5 {
        body.extend(props(properties));
    }
    body
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn shortened(hex: &str) -> String {
    match hex.get(..240) {
        Some(start) => format!("{start} ... {} bytes", hex.len() / 3 + 1),
        None => hex.to_owned(),
    }
}
