//! PUBLISH in pieces, for a broker that sends the same message to many receivers.
//!
//! The header is written once per shape; the payload is left to the caller, who may share it. The
//! two bytes of the Packet Identifier can be patched where [`PublishHeader::put`] says.

use crate::encode::{clipped, put_clipped_string};
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::block_len;
use crate::qos::QoS;
use crate::version::ProtocolVersion;

/// The largest variable byte integer, and so the largest Remaining Length.
pub const VARINT_MAX: u32 = 268_435_455;

/// The most bytes that any packet may have: its first byte, four of Remaining Length, the rest.
pub const PACKET_SIZE_MAX: u32 = 1 + 4 + VARINT_MAX;

/// Bytes of a variable byte integer in its shortest form, 1 to 4.
#[inline]
pub const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer in its shortest form; more than [`VARINT_MAX`] counts as that.
// v5[MQTT-1.5.5-1]
#[inline]
pub fn put_varint(value: u32, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        let (bytes, len) = varint_bytes(value);
        out.extend(bytes.iter().take(len));
    }
}

/// The bytes of a variable byte integer, and how many of them count.
pub(crate) const fn varint_bytes(value: u32) -> ([u8; 4], usize) {
    let value = if value > VARINT_MAX {
        VARINT_MAX
    } else {
        value
    };
    let len = varint_len(value);
    let bytes = [
        seven_bits(value, 0) | continued(len, 1),
        seven_bits(value, 7) | continued(len, 2),
        seven_bits(value, 14) | continued(len, 3),
        seven_bits(value, 21),
    ];
    (bytes, len)
}

const fn seven_bits(value: u32, shift: u32) -> u8 {
    ((value >> shift) & 0x7F) as u8
}

/// The bit that says that more bytes follow the one at this position, counted from 1.
const fn continued(len: usize, position: usize) -> u8 {
    if len > position { 0x80 } else { 0 }
}

/// All of a PUBLISH but its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishHeader<'a> {
    /// The packet was sent before.
    pub dup: bool,
    /// The QoS it is sent at.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name; empty where a Topic Alias stands for it. At most 65,535 bytes: what is
    /// longer is cut at a character.
    pub topic: &'a str,
    /// The Packet Identifier, above QoS 0; any for a header that will be patched.
    pub packet_id: Option<PacketId>,
    /// The version of the receiver; 3.x has no properties.
    pub version: ProtocolVersion,
    /// Encoded properties that differ per receiver: expiry, Topic Alias, Subscription Identifiers.
    pub own_properties: &'a [u8],
    /// Encoded properties that are passed on unchanged.
    pub forwarded: &'a [u8],
    /// Bytes of the payload that will follow.
    pub payload_len: usize,
}

impl PublishHeader<'_> {
    /// Bytes of the whole packet, with its payload. More than [`PACKET_SIZE_MAX`] cannot be sent
    /// to anybody.
    #[inline]
    pub fn packet_len(&self) -> usize {
        let remaining = self.remaining_len();
        1 + varint_len(remaining_u32(remaining)) + remaining
    }

    /// Appends everything up to the payload. Returns where in `out` the two bytes of the Packet
    /// Identifier are, and 0 when there is none.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) -> usize {
        let remaining = self.remaining_len();
        out.reserve(PACKET_HEADER_MAX + remaining.saturating_sub(self.payload_len));
        out.push(self.first_byte());
        put_varint(remaining_u32(remaining), out);
        put_clipped_string(self.topic, out);
        let mut packet_id_at = 0;
        if let Some(packet_id) = self.packet_id {
            packet_id_at = out.len();
            out.extend_from_slice(&packet_id.get().to_be_bytes());
        }
        if self.version.is_v5() {
            put_varint(remaining_u32(self.properties_len()), out);
            out.extend_from_slice(self.own_properties);
            out.extend_from_slice(self.forwarded);
        }
        packet_id_at
    }

    #[inline]
    fn first_byte(&self) -> u8 {
        let dup = if self.dup { 0x08 } else { 0 };
        PacketType::Publish.first_byte() | dup | (self.qos.bits() << 1) | u8::from(self.retain)
    }

    #[inline]
    fn remaining_len(&self) -> usize {
        let packet_id_len = if self.packet_id.is_some() { 2 } else { 0 };
        let properties_len = if self.version.is_v5() {
            block_len(self.properties_len())
        } else {
            0
        };
        2 + clipped(self.topic).len() + packet_id_len + properties_len + self.payload_len
    }

    #[inline]
    fn properties_len(&self) -> usize {
        self.own_properties.len() + self.forwarded.len()
    }
}

/// The first byte and the Remaining Length at its longest.
const PACKET_HEADER_MAX: usize = 5;

#[inline]
fn remaining_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    fn header(version: ProtocolVersion) -> PublishHeader<'static> {
        PublishHeader {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "a/b",
            packet_id: None,
            version,
            own_properties: &[],
            forwarded: &[],
            payload_len: 2,
        }
    }

    fn check(header: PublishHeader<'_>, expected: &str, packet_id_at: usize) {
        let mut out = vec![0xEE];
        assert_eq!(header.put(&mut out), packet_id_at, "{header:?}");
        assert_eq!(out[1..], hex(expected), "{header:?}");
        assert_eq!(
            header.packet_len(),
            out.len() - 1 + header.payload_len,
            "{header:?}"
        );
    }

    #[test]
    fn headers() {
        check(header(ProtocolVersion::V311), "30 07 0003 612f62", 0);
        check(header(ProtocolVersion::V5), "30 08 0003 612f62 00", 0);
        let qos1 = PublishHeader {
            qos: QoS::AtLeastOnce,
            packet_id: PacketId::new(0x1234),
            ..header(ProtocolVersion::V31)
        };
        check(qos1, "32 09 0003 612f62 1234", 8);
        let qos2 = PublishHeader {
            dup: true,
            qos: QoS::ExactlyOnce,
            retain: true,
            packet_id: PacketId::new(0xFFFF),
            own_properties: &[0x23, 0x00, 0x01],
            forwarded: &[0x01, 0x01],
            ..header(ProtocolVersion::V5)
        };
        check(qos2, "3d 0f 0003 612f62 ffff 05 230001 0101", 8);
        let long = PublishHeader {
            payload_len: 200,
            ..header(ProtocolVersion::V311)
        };
        check(long, "30 cd01 0003 612f62", 0);
        let alias = PublishHeader {
            topic: "",
            own_properties: &[0x23, 0x00, 0x01],
            ..header(ProtocolVersion::V5)
        };
        check(alias, "30 08 0000 03 230001", 0);
    }

    #[test]
    fn properties_are_left_out_for_3x() {
        let header = PublishHeader {
            forwarded: &[0x01, 0x01],
            ..header(ProtocolVersion::V311)
        };
        check(header, "30 07 0003 612f62", 0);
    }

    #[test]
    fn a_topic_beyond_the_wire_is_cut_at_a_character() {
        let topic = "ö".repeat(40_000);
        let header = PublishHeader {
            topic: &topic,
            ..header(ProtocolVersion::V311)
        };
        let mut out = Vec::new();
        header.put(&mut out);
        assert_eq!(out[..6], hex("30 82 80 04 fffe"));
        assert_eq!(header.packet_len(), out.len() + 2);
        assert_eq!(std::str::from_utf8(&out[6..]).map(str::len), Ok(65_534));
    }
}
