//! Packets to bytes: the fixed header around the body that each packet's file writes.
//!
//! The receiver's Maximum Packet Size is kept here: a packet that would be larger loses what it
//! may lose, or is not written at all.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::packet::{Packet, PacketType};
use crate::properties::{Properties, PropertiesBuf};
use crate::property::Property;
use crate::publish_wire::{PACKET_SIZE_MAX, varint_bytes};
use crate::version::ProtocolVersion;

/// The most bytes that a string or binary data may have on the wire.
const FIELD_BYTES_MAX: usize = 65_535;

/// Appends one packet to `out`.
///
/// `size_max` is the receiver's Maximum Packet Size, `u32::MAX` for none. Where the packet would
/// be larger, CONNACK, the acknowledgements, DISCONNECT and AUTH are sent without their Reason
/// String, then without User Properties too. A CONNECT is written in its own version.
///
/// # Errors
///
/// When the packet has no form on the wire, or none that is small enough; `out` is then as before.
pub fn encode(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    size_max: u32,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let mut result = put_packet(packet, version, size_max, Keep::All, out);
    for keep in [Keep::NoReasonString, Keep::NoDiagnostics] {
        let too_large = matches!(result, Err(EncodeError::TooLarge { .. }));
        if !too_large || !may_shed(packet.packet_type()) {
            break;
        }
        out.truncate(start);
        result = put_packet(packet, version, size_max, keep, out);
    }
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Why a packet was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// It is larger than the receiver takes, or than any packet may be.
    TooLarge {
        /// Bytes of the whole packet.
        size: usize,
        /// The limit.
        size_max: u32,
    },
    /// A string or binary data is longer than 65,535 bytes.
    FieldTooLong {
        /// Its bytes.
        len: usize,
    },
    /// A PUBLISH above QoS 0 has no Packet Identifier.
    MissingPacketId,
    /// A SUBSCRIBE or UNSUBSCRIBE has no Topic Filter.
    NoFilters,
    /// AUTH has no form in 3.x.
    AuthBeforeV5,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::TooLarge { size, size_max } => {
                write!(
                    f,
                    "packet is {size} bytes, Maximum Packet Size is {size_max}"
                )
            }
            EncodeError::FieldTooLong { len } => {
                write!(f, "a field is {len} bytes, the limit is {FIELD_BYTES_MAX}")
            }
            EncodeError::MissingPacketId => {
                f.write_str("PUBLISH above QoS 0 has no Packet Identifier")
            }
            EncodeError::NoFilters => f.write_str("the request has no Topic Filter"),
            EncodeError::AuthBeforeV5 => f.write_str("AUTH needs MQTT 5.0"),
        }
    }
}

impl Error for EncodeError {}

/// Which properties a packet keeps when it must be made smaller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    All,
    NoReasonString,
    /// Neither Reason String nor User Properties.
    NoDiagnostics,
}

impl Keep {
    /// What is left of a block.
    pub(crate) fn apply<'a>(self, properties: Properties<'a>) -> Cow<'a, [u8]> {
        if self == Keep::All {
            return Cow::Borrowed(properties.as_bytes());
        }
        let mut kept = PropertiesBuf::new();
        for property in properties {
            let goes = match property {
                Property::ReasonString(_) => true,
                Property::UserProperty(..) => self == Keep::NoDiagnostics,
                _ => false,
            };
            if !goes {
                kept.push(property);
            }
        }
        Cow::Owned(kept.as_properties().as_bytes().to_vec())
    }
}

// v5[MQTT-3.2.2-19] v5[MQTT-3.2.2-20] v5[MQTT-3.4.2-2] v5[MQTT-3.4.2-3] v5[MQTT-3.5.2-2]
// v5[MQTT-3.5.2-3] v5[MQTT-3.6.2-2] v5[MQTT-3.6.2-3] v5[MQTT-3.7.2-2] v5[MQTT-3.7.2-3]
// v5[MQTT-3.9.2-1] v5[MQTT-3.9.2-2] v5[MQTT-3.11.2-1] v5[MQTT-3.11.2-2] v5[MQTT-3.14.2-3]
// v5[MQTT-3.14.2-4] v5[MQTT-3.15.2-2] v5[MQTT-3.15.2-3]
const fn may_shed(packet_type: PacketType) -> bool {
    match packet_type {
        PacketType::Connack
        | PacketType::Puback
        | PacketType::Pubrec
        | PacketType::Pubrel
        | PacketType::Pubcomp
        | PacketType::Suback
        | PacketType::Unsuback
        | PacketType::Disconnect
        | PacketType::Auth => true,
        PacketType::Connect
        | PacketType::Publish
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::Pingreq
        | PacketType::Pingresp => false,
    }
}

/// Appends one packet; what was written stays in `out` on an error.
fn put_packet(
    packet: &Packet<'_>,
    version: ProtocolVersion,
    size_max: u32,
    keep: Keep,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if let Packet::Publish(publish) = packet {
        return publish.put(version, size_max, out);
    }
    let start = out.len();
    // Room for a Remaining Length of one byte, which nearly every packet has.
    out.extend_from_slice(&[packet.packet_type().first_byte(), 0]);
    match packet {
        Packet::Connect(connect) => connect.put_body(out)?,
        Packet::Connack(connack) => connack.put_body(version, keep, out),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack.put_body(version, keep, out);
        }
        Packet::Subscribe(subscribe) => subscribe.put_body(version, out)?,
        Packet::Suback(suback) => suback.put_body(version, keep, out),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.put_body(version, out)?,
        Packet::Unsuback(unsuback) => unsuback.put_body(version, keep, out),
        Packet::Disconnect(disconnect) => disconnect.put_body(version, keep, out),
        Packet::Auth(auth) => auth.put_body(version, keep, out)?,
        Packet::Pingreq | Packet::Pingresp | Packet::Publish(_) => {}
    }
    put_remaining_length(start, size_max, out)
}

/// Fills in the Remaining Length of the packet that begins at `start`.
fn put_remaining_length(start: usize, size_max: u32, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length_at = start + 1;
    let remaining = out.len().saturating_sub(length_at + 1);
    let (length, length_len) = varint_bytes(u32::try_from(remaining).unwrap_or(u32::MAX));
    check_size(1 + length_len + remaining, size_max)?;
    if length_len > 1 {
        drop(out.splice(length_at..=length_at, length.into_iter().take(length_len)));
    } else if let Some(byte) = out.get_mut(length_at) {
        *byte = length[0];
    }
    Ok(())
}

/// Says that the receiver takes a packet of this size.
// v5[MQTT-3.1.2-24] v5[MQTT-3.2.2-15]
pub(crate) fn check_size(size: usize, size_max: u32) -> Result<(), EncodeError> {
    let size_max = size_max.min(PACKET_SIZE_MAX);
    if size <= size_max as usize {
        Ok(())
    } else {
        Err(EncodeError::TooLarge { size, size_max })
    }
}

pub(crate) fn put_string(text: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put_binary(text.as_bytes(), out)
}

pub(crate) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let len = bytes.len();
    let prefix = u16::try_from(len).map_err(|_| EncodeError::FieldTooLong { len })?;
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a string, cut where the wire has no form for more.
#[inline]
pub(crate) fn put_clipped_string(text: &str, out: &mut Vec<u8>) {
    put_clipped_binary(clipped(text).as_bytes(), out);
}

/// Appends binary data, cut where the wire has no form for more.
#[inline]
pub(crate) fn put_clipped_binary(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = bytes.get(..FIELD_BYTES_MAX).unwrap_or(bytes);
    // The line above leaves no more than a u16 can count.
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// As much of a text as a string on the wire can hold, up to a whole character.
#[inline]
pub(crate) fn clipped(text: &str) -> &str {
    if text.len() <= FIELD_BYTES_MAX {
        return text;
    }
    let end = (0..=FIELD_BYTES_MAX)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::Ack;
    use crate::connack::Connack;
    use crate::packet_id::PacketId;
    use crate::publish::Publish;
    use crate::qos::QoS;
    use crate::reason::ReasonCode;
    use crate::testing::hex;

    const V5: ProtocolVersion = ProtocolVersion::V5;

    fn check(packet: &Packet<'_>, size_max: u32, expected: Result<&str, EncodeError>) {
        let mut out = vec![0xEE];
        let result = encode(packet, V5, size_max, &mut out);
        assert_eq!(result, expected.map(|_| ()), "{packet:?}");
        assert_eq!(out[1..], hex(expected.unwrap_or_default()), "{packet:?}");
    }

    #[test]
    fn pings() {
        check(&Packet::Pingreq, u32::MAX, Ok("c0 00"));
        check(&Packet::Pingresp, 2, Ok("d0 00"));
        check(
            &Packet::Pingresp,
            1,
            Err(EncodeError::TooLarge {
                size: 2,
                size_max: 1,
            }),
        );
    }

    #[test]
    fn diagnostics_go_one_after_the_other() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::UserProperty("k", "v"));
        properties.push(Property::ReasonString("why"));
        let ack = Packet::Puback(Ack {
            packet_id: PacketId::new(1).unwrap(),
            reason: ReasonCode::NotAuthorized,
            properties: properties.as_properties(),
        });
        check(
            &ack,
            19,
            Ok("40 11 0001 87 0d 26 0001 6b 0001 76 1f 0003 776879"),
        );
        check(&ack, 18, Ok("40 0b 0001 87 07 26 0001 6b 0001 76"));
        check(&ack, 13, Ok("40 0b 0001 87 07 26 0001 6b 0001 76"));
        check(&ack, 12, Ok("40 03 0001 87"));
        check(&ack, 5, Ok("40 03 0001 87"));
        check(
            &ack,
            4,
            Err(EncodeError::TooLarge {
                size: 5,
                size_max: 4,
            }),
        );
    }

    #[test]
    fn other_properties_stay() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ReasonString("why"));
        properties.push(Property::ReceiveMaximum(9));
        let connack = Packet::Connack(Connack {
            session_present: false,
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        });
        check(&connack, 13, Ok("20 06 00 00 03 21 0009"));
        check(
            &connack,
            7,
            Err(EncodeError::TooLarge {
                size: 8,
                size_max: 7,
            }),
        );
    }

    #[test]
    fn a_publish_keeps_what_it_has() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::UserProperty("k", "v"));
        let publish = Packet::Publish(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "a",
            packet_id: None,
            properties: properties.as_properties(),
            payload: b"!",
        });
        check(&publish, 14, Ok("30 0c 0001 61 07 26 0001 6b 0001 76 21"));
        check(
            &publish,
            13,
            Err(EncodeError::TooLarge {
                size: 14,
                size_max: 13,
            }),
        );
    }

    #[test]
    fn a_long_packet_has_a_long_length() {
        let reason = "x".repeat(200);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ReasonString(&reason));
        let ack = Packet::Puback(Ack {
            packet_id: PacketId::new(1).unwrap(),
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        });
        let mut out = vec![0xEE];
        encode(&ack, V5, u32::MAX, &mut out).unwrap();
        assert_eq!(out[..12], hex("ee 40 d001 0001 00 cb01 1f 00c8"));
        assert_eq!(out.len(), 1 + 3 + 208);
    }
}
