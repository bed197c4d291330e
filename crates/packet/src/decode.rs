//! Bytes to packets: the fixed header, who may send what, and the way to each packet's file.
//!
//! Nothing is kept between calls. Bytes that are not yet a whole packet are answered with how many
//! are needed; what can be refused by the first byte or by the size is refused before the rest
//! has come.

use crate::ack::Ack;
use crate::auth::Auth;
use crate::connack::Connack;
use crate::connect::{self, Connect};
use crate::cursor::{check_minimal, parse_varint};
use crate::disconnect::Disconnect;
use crate::error::{ConnectError, DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::{Packet, PacketType};
use crate::publish::Publish;
use crate::suback::Suback;
use crate::subscribe::Subscribe;
use crate::unsuback::Unsuback;
use crate::unsubscribe::Unsubscribe;
use crate::version::ProtocolVersion;

/// Who sent the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    /// The Client, so a Server reads.
    Client,
    /// The Server, so a Client reads.
    Server,
}

/// What the packets of one Network Connection are read by, once CONNECT is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The version that CONNECT fixed.
    pub version: ProtocolVersion,
    /// Who sent the bytes.
    pub sender: Sender,
    /// The most bytes of a whole packet that the receiver takes.
    pub packet_size_max: u32,
}

/// What bytes turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// A packet.
    Packet {
        /// The packet.
        packet: Packet<'a>,
        /// How many bytes it took from the front.
        len: usize,
    },
    /// The beginning of a packet.
    Incomplete {
        /// How many bytes are needed at least, with those that are there.
        needed: usize,
    },
}

/// Decodes the packet at the front of `bytes`.
///
/// # Errors
///
/// When the bytes are malformed, or the packet is one that this sender may not send.
pub fn decode<'a>(bytes: &'a [u8], rules: &Rules) -> Result<Decoded<'a>, DecodeError> {
    let Some(&first) = bytes.first() else {
        return Ok(Decoded::Incomplete {
            needed: HEADER_LEN_MIN,
        });
    };
    let packet_type = check_first_byte(first, rules)?;
    let frame = match read_frame(bytes, rules.packet_size_max)? {
        Framed::Whole(frame) => frame,
        Framed::Incomplete { needed } => return Ok(Decoded::Incomplete { needed }),
    };
    // 3.x describes the Remaining Length without demanding its shortest form.
    if rules.version.is_v5() {
        check_minimal(frame.remaining, frame.remaining_len)?;
    }
    let packet = decode_body(packet_type, first & FLAGS, &frame, rules)?;
    Ok(Decoded::Packet {
        packet,
        len: frame.len,
    })
}

/// Decodes the first packet of a Network Connection, which tells the version.
///
/// # Errors
///
/// When it is no CONNECT, or one that is malformed, not allowed or of a version not spoken here.
// v5[MQTT-3.1.0-1] v5[MQTT-3.1.4-1]
pub fn decode_connect<'a>(
    bytes: &'a [u8],
    packet_size_max: u32,
) -> Result<Decoded<'a>, ConnectError> {
    let Some(&first) = bytes.first() else {
        return Ok(Decoded::Incomplete {
            needed: HEADER_LEN_MIN,
        });
    };
    let refused = |error| ConnectError::Decode {
        error,
        version: connect::peek_version(bytes),
    };
    check_is_connect(first).map_err(refused)?;
    let frame = match read_frame(bytes, packet_size_max).map_err(refused)? {
        Framed::Whole(frame) => frame,
        Framed::Incomplete { needed } => return Ok(Decoded::Incomplete { needed }),
    };
    let connect = decode_connect_body(&frame)?;
    Ok(Decoded::Packet {
        packet: Packet::Connect(connect),
        len: frame.len,
    })
}

/// The first byte and one of Remaining Length.
const HEADER_LEN_MIN: usize = 2;

/// The lower half of the first byte.
const FLAGS: u8 = 0x0F;

/// A whole packet, taken out of what follows it.
struct Frame<'a> {
    body: &'a [u8],
    remaining: u32,
    /// Bytes of the Remaining Length itself.
    remaining_len: usize,
    /// Bytes of the whole packet.
    len: usize,
}

enum Framed<'a> {
    Whole(Frame<'a>),
    Incomplete { needed: usize },
}

#[inline]
fn read_frame(bytes: &[u8], packet_size_max: u32) -> Result<Framed<'_>, DecodeError> {
    let after_first = bytes.get(1..).unwrap_or_default();
    let Some((remaining, remaining_len)) = parse_varint(after_first)? else {
        return Ok(Framed::Incomplete {
            needed: HEADER_LEN_MIN.max(bytes.len() + 1),
        });
    };
    let header_len = 1 + remaining_len;
    let len = header_len + remaining as usize;
    if len > packet_size_max as usize {
        // A header of 5 bytes at most and a Remaining Length below 2^28 fit into 32 bits.
        let violation = Violation::PacketTooLarge {
            size: len as u32,
            size_max: packet_size_max,
        };
        return Err(violation.into());
    }
    Ok(match bytes.get(header_len..len) {
        Some(body) => Framed::Whole(Frame {
            body,
            remaining,
            remaining_len,
            len,
        }),
        None => Framed::Incomplete { needed: len },
    })
}

#[inline]
fn check_first_byte(first: u8, rules: &Rules) -> Result<PacketType, DecodeError> {
    let packet_type = PacketType::from_u8(first >> 4).ok_or(Malformed::ReservedPacketType)?;
    if packet_type == PacketType::Publish {
        return Ok(packet_type);
    }
    if packet_type == PacketType::Auth && !rules.version.is_v5() {
        return Err(Malformed::AuthBeforeV5.into());
    }
    if !may_send(rules.sender, packet_type, rules.version) {
        return Err(Violation::WrongDirection { packet_type }.into());
    }
    let flags = first & FLAGS;
    if !flags_allowed(packet_type, flags, rules.version) {
        return Err(Malformed::FixedHeaderFlags { packet_type, flags }.into());
    }
    Ok(packet_type)
}

/// Which side may send packets of this kind; the table of section 2.1.2 of the standard.
const fn may_send(sender: Sender, packet_type: PacketType, version: ProtocolVersion) -> bool {
    match packet_type {
        PacketType::Connect
        | PacketType::Subscribe
        | PacketType::Unsubscribe
        | PacketType::Pingreq => matches!(sender, Sender::Client),
        PacketType::Connack | PacketType::Suback | PacketType::Unsuback | PacketType::Pingresp => {
            matches!(sender, Sender::Server)
        }
        PacketType::Disconnect => matches!(sender, Sender::Client) || version.is_v5(),
        PacketType::Publish
        | PacketType::Puback
        | PacketType::Pubrec
        | PacketType::Pubrel
        | PacketType::Pubcomp
        | PacketType::Auth => true,
    }
}

/// Whether the lower half of the first byte is as the standard fixes it; the table of section
/// 2.1.3. In 3.1 the packets with flags of 2 are QoS 1 requests, which may carry DUP.
// v5[MQTT-2.1.3-1] v5[MQTT-3.6.1-1] v5[MQTT-3.8.1-1] v5[MQTT-3.10.1-1] v5[MQTT-3.14.1-1]
// v5[MQTT-3.15.1-1] v311[MQTT-2.2.2-2] v311[MQTT-3.6.1-1] v311[MQTT-3.8.1-1] v311[MQTT-3.10.1-1]
fn flags_allowed(packet_type: PacketType, flags: u8, version: ProtocolVersion) -> bool {
    let ignored = match packet_type {
        PacketType::Publish => true,
        PacketType::Subscribe => is_active(Mutant::AcceptSubscribeFlags),
        PacketType::Unsubscribe => is_active(Mutant::AcceptUnsubscribeFlags),
        PacketType::Pubrel => is_active(Mutant::AcceptPubrelFlags),
        _ => false,
    };
    let fixed = packet_type.first_byte() & FLAGS;
    let repeated = version == ProtocolVersion::V31 && fixed == 0x2 && flags == 0xA;
    ignored || flags == fixed || repeated
}

fn check_is_connect(first: u8) -> Result<(), DecodeError> {
    if first >> 4 != PacketType::Connect as u8 {
        return Err(Violation::FirstPacketNotConnect.into());
    }
    match first & FLAGS {
        0 => Ok(()),
        flags => Err(Malformed::FixedHeaderFlags {
            packet_type: PacketType::Connect,
            flags,
        }
        .into()),
    }
}

fn decode_connect_body<'a>(frame: &Frame<'a>) -> Result<Connect<'a>, ConnectError> {
    let connect = Connect::decode(frame.body)?;
    if connect.version.is_v5() {
        check_minimal(frame.remaining, frame.remaining_len).map_err(|malformed| {
            ConnectError::Decode {
                error: malformed.into(),
                version: Some(connect.version),
            }
        })?;
    }
    Ok(connect)
}

#[inline]
fn decode_body<'a>(
    packet_type: PacketType,
    flags: u8,
    frame: &Frame<'a>,
    rules: &Rules,
) -> Result<Packet<'a>, DecodeError> {
    let body = frame.body;
    Ok(match packet_type {
        PacketType::Publish => Packet::Publish(Publish::decode(flags, body, rules)?),
        PacketType::Puback => Packet::Puback(Ack::decode(packet_type, body, rules)?),
        PacketType::Pubrec => Packet::Pubrec(Ack::decode(packet_type, body, rules)?),
        PacketType::Pubrel => Packet::Pubrel(Ack::decode(packet_type, body, rules)?),
        PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(packet_type, body, rules)?),
        PacketType::Connect => {
            Packet::Connect(decode_connect_body(frame).map_err(ConnectError::into_decode_error)?)
        }
        PacketType::Connack => Packet::Connack(Connack::decode(body, rules)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(body, rules)?),
        PacketType::Suback => Packet::Suback(Suback::decode(body, rules)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(body, rules)?),
        PacketType::Unsuback => Packet::Unsuback(Unsuback::decode(body, rules)?),
        PacketType::Pingreq => without_body(body, Packet::Pingreq)?,
        PacketType::Pingresp => without_body(body, Packet::Pingresp)?,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(body, rules)?),
        PacketType::Auth => Packet::Auth(Auth::decode(body, rules)?),
    })
}

fn without_body<'a>(body: &[u8], packet: Packet<'a>) -> Result<Packet<'a>, Malformed> {
    if body.is_empty() {
        Ok(packet)
    } else {
        Err(Malformed::TrailingBytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::ReasonCode;
    use crate::testing::{V5, V31, V311, check, check_error, hex, rules};

    #[test]
    fn pings() {
        for version in [V31, V311, V5] {
            check(version, Sender::Client, "c0 00", &Packet::Pingreq);
            check(version, Sender::Server, "d0 00", &Packet::Pingresp);
            let reason = ReasonCode::MalformedPacket;
            let trailing = Malformed::TrailingBytes;
            check_error(version, Sender::Client, "c0 01 00", trailing, reason);
            check_error(version, Sender::Server, "d0 01 00", trailing, reason);
        }
    }

    #[test]
    fn each_side_has_its_packets() {
        for version in [V31, V311, V5] {
            for (first, packet_type) in [
                ("20", PacketType::Connack),
                ("90", PacketType::Suback),
                ("b0", PacketType::Unsuback),
                ("d0", PacketType::Pingresp),
            ] {
                let error = Violation::WrongDirection { packet_type };
                check_error(
                    version,
                    Sender::Client,
                    first,
                    error,
                    ReasonCode::ProtocolError,
                );
            }
            for (first, packet_type) in [
                ("10", PacketType::Connect),
                ("82", PacketType::Subscribe),
                ("a2", PacketType::Unsubscribe),
                ("c0", PacketType::Pingreq),
            ] {
                let error = Violation::WrongDirection { packet_type };
                check_error(
                    version,
                    Sender::Server,
                    first,
                    error,
                    ReasonCode::ProtocolError,
                );
            }
        }
    }

    #[test]
    fn headers_that_are_none() {
        let reason = ReasonCode::MalformedPacket;
        for version in [V31, V311, V5] {
            for sender in [Sender::Client, Sender::Server] {
                let error = Malformed::ReservedPacketType;
                check_error(version, sender, "00 00", error, reason);
                check_error(version, sender, "0f", error, reason);
                let error = Malformed::VarintTooLong;
                check_error(version, sender, "30 ff ff ff ff", error, reason);
                check_error(version, sender, "30 80 80 80 80 01", error, reason);
            }
            let error = Malformed::FixedHeaderFlags {
                packet_type: PacketType::Pingreq,
                flags: 1,
            };
            check_error(version, Sender::Client, "c1 00", error, reason);
        }
    }

    #[test]
    fn a_length_longer_than_it_must_be_is_refused_by_5_0_alone() {
        let bytes = hex("c0 80 00");
        for version in [V31, V311] {
            let packet = Packet::Pingreq;
            let result = decode(&bytes, &rules(version, Sender::Client));
            assert_eq!(result, Ok(Decoded::Packet { packet, len: 3 }));
        }
        let error = Malformed::VarintNotMinimal;
        check_error(
            V5,
            Sender::Client,
            "c0 80 00",
            error,
            ReasonCode::MalformedPacket,
        );
    }

    #[test]
    fn the_size_is_refused_as_soon_as_it_is_known() {
        let rules = Rules {
            packet_size_max: 10,
            ..rules(V5, Sender::Client)
        };
        let error = Violation::PacketTooLarge {
            size: 11,
            size_max: 10,
        };
        assert_eq!(error.reason_code(), ReasonCode::PacketTooLarge);
        assert_eq!(decode(&hex("30 09"), &rules), Err(error.into()));
        assert_eq!(
            decode(&hex("30 08"), &rules),
            Ok(Decoded::Incomplete { needed: 10 })
        );
        let error = Violation::PacketTooLarge {
            size: 268_435_460,
            size_max: 10,
        };
        assert_eq!(decode(&hex("30 ff ff ff 7f"), &rules), Err(error.into()));
    }

    #[test]
    fn only_the_first_packet_is_taken() {
        let bytes = hex("c0 00 e0 00");
        let packet = Packet::Pingreq;
        let result = decode(&bytes, &rules(V311, Sender::Client));
        assert_eq!(result, Ok(Decoded::Packet { packet, len: 2 }));
    }
}
