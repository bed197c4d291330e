//! What the tests of this crate share: bytes as hex, and one door to decoding and encoding.

use crate::decode::{Decoded, Rules, Sender, decode, decode_connect};
use crate::encode::encode;
use crate::error::{ConnectError, DecodeError};
use crate::packet::{Packet, PacketType};
use crate::packet_id::PacketId;
use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// No limit on the size of packets.
pub(crate) const NO_MAXIMUM: u32 = u32::MAX;

pub(crate) const V31: ProtocolVersion = ProtocolVersion::V31;
pub(crate) const V311: ProtocolVersion = ProtocolVersion::V311;
pub(crate) const V5: ProtocolVersion = ProtocolVersion::V5;

/// The bytes of a hex text; white space means nothing.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {text:?}");
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn rules(version: ProtocolVersion, sender: Sender) -> Rules {
    Rules {
        version,
        sender,
        packet_size_max: NO_MAXIMUM,
    }
}

/// The bytes are this packet, the packet is these bytes, and no prefix of them is a packet.
pub(crate) fn check(version: ProtocolVersion, sender: Sender, bytes: &str, expected: &Packet<'_>) {
    check_decodes(version, sender, bytes, expected);
    let mut out = Vec::new();
    encode(expected, version, NO_MAXIMUM, &mut out).unwrap();
    assert_eq!(out, hex(bytes), "{expected:?}");
}

/// The bytes are this packet, though not in the form that it would be written in.
pub(crate) fn check_decodes(
    version: ProtocolVersion,
    sender: Sender,
    bytes: &str,
    expected: &Packet<'_>,
) {
    let bytes = hex(bytes);
    let packet_type = expected.packet_type();
    let whole: Result<_, DecodeError> = Ok(Decoded::Packet {
        packet: *expected,
        len: bytes.len(),
    });
    assert_eq!(decode_as(version, sender, packet_type, &bytes), whole);
    let followed = [&bytes[..], &[0xEE]].concat();
    assert_eq!(decode_as(version, sender, packet_type, &followed), whole);
    check_prefixes(version, sender, packet_type, &bytes);
}

/// Decodes as the first packet of a connection where it is one, by the rules of a version else.
pub(crate) fn decode_as(
    version: ProtocolVersion,
    sender: Sender,
    packet_type: PacketType,
    bytes: &[u8],
) -> Result<Decoded<'_>, DecodeError> {
    if packet_type == PacketType::Connect {
        decode_connect(bytes, NO_MAXIMUM).map_err(ConnectError::into_decode_error)
    } else {
        decode(bytes, &rules(version, sender))
    }
}

/// Every beginning of a packet asks for more bytes than are there, and never for too many.
pub(crate) fn check_prefixes(
    version: ProtocolVersion,
    sender: Sender,
    packet_type: PacketType,
    bytes: &[u8],
) {
    for len in 0..bytes.len() {
        let prefix = &bytes[..len];
        let result = decode_as(version, sender, packet_type, prefix);
        let Ok(Decoded::Incomplete { needed }) = result else {
            panic!("{prefix:02x?} is taken for {result:?}");
        };
        assert!(
            needed > len && needed <= bytes.len().max(2),
            "{needed} needed after {len} bytes"
        );
    }
}

/// The bytes are refused for this reason, and with this Reason Code.
pub(crate) fn check_error(
    version: ProtocolVersion,
    sender: Sender,
    bytes: &str,
    expected: impl Into<DecodeError>,
    reason: ReasonCode,
) {
    let expected = expected.into();
    let result = decode(&hex(bytes), &rules(version, sender)).map(|_| ());
    assert_eq!(result, Err(expected), "{bytes}");
    assert_eq!(expected.reason_code(), reason, "{bytes}");
    assert!(!expected.to_string().is_empty());
}
