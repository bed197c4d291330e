//! SUBACK: the Server's answer to SUBSCRIBE.

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::Keep;
use crate::error::{DecodeError, Malformed};
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// The return code of 3.1.1 for every refusal; 3.1 has none and is given the same.
const REFUSED_V3: u8 = 0x80;

/// One Reason Code for each Topic Filter of a SUBSCRIBE, in its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suback<'a> {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
    /// The codes as bytes. Encoding for 3.x turns every refusal into 0x80.
    pub reasons: &'a [u8],
}

impl<'a> Suback<'a> {
    /// The Reason Codes, in the order of the Topic Filters.
    pub fn codes(self) -> impl Iterator<Item = ReasonCode> {
        self.reasons
            .iter()
            .filter_map(|code| ReasonCode::from_u8(*code))
    }

    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Suback<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let packet_id = cursor.packet_id()?;
        let host = PropertyHost::Packet(PacketType::Suback);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        let reasons = cursor.rest();
        if reasons.is_empty() {
            return Err(Malformed::NoReasonCodes.into());
        }
        for &code in reasons {
            check_code(code, rules.version)?;
        }
        Ok(Suback {
            packet_id,
            properties,
            reasons,
        })
    }

    pub(crate) fn put_body(&self, version: ProtocolVersion, keep: Keep, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.packet_id.get().to_be_bytes());
        if version.is_v5() {
            Properties::from_checked(&keep.apply(self.properties)).put(out);
            out.extend_from_slice(self.reasons);
        } else {
            out.extend(self.reasons.iter().map(|code| (*code).min(REFUSED_V3)));
        }
    }
}

fn check_code(code: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    if version.is_v5() {
        ReasonCode::checked(code, PacketType::Suback)?;
    } else if !matches!(code, 0..=2 | REFUSED_V3) {
        return Err(Malformed::SubackReturnCode { code }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::Server;
    use crate::encode::encode;
    use crate::error::Violation;
    use crate::packet::Packet;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_error, hex, id};

    fn suback(reasons: &[u8]) -> Suback<'_> {
        Suback {
            packet_id: id(10),
            properties: Properties::EMPTY,
            reasons,
        }
    }

    #[test]
    fn forms() {
        for version in [V31, V311] {
            let packet = Packet::Suback(suback(&[0, 2, 0x80]));
            check(version, Server, "90 05 000a 00 02 80", &packet);
        }
        let mixed = suback(&[1, 2, 0x8F]);
        check(V5, Server, "90 06 000a 00 01 02 8f", &Packet::Suback(mixed));
        assert!(mixed.codes().eq([
            ReasonCode::GrantedQoS1,
            ReasonCode::GrantedQoS2,
            ReasonCode::TopicFilterInvalid,
        ]));
    }

    #[test]
    fn refusals_are_all_the_same_in_3x() {
        for version in [V31, V311] {
            let mut out = Vec::new();
            let packet = Packet::Suback(suback(&[1, 0x8F, 0xA2]));
            encode(&packet, version, NO_MAXIMUM, &mut out).unwrap();
            assert_eq!(out, hex("90 05 000a 01 80 80"));
        }
    }

    #[test]
    fn errors() {
        let malformed = ReasonCode::MalformedPacket;
        for version in [V31, V311] {
            let error = Malformed::NoReasonCodes;
            check_error(version, Server, "90 02 000a", error, malformed);
            let code = Malformed::SubackReturnCode { code: 0x8F };
            check_error(version, Server, "90 04 000a 00 8f", code, malformed);
        }
        check_error(
            V5,
            Server,
            "90 03 000a 00",
            Malformed::NoReasonCodes,
            malformed,
        );
        let zero = Violation::PacketIdZero;
        check_error(
            V5,
            Server,
            "90 04 0000 00 00",
            zero,
            ReasonCode::ProtocolError,
        );
        let code = Violation::ReasonNotAllowed {
            packet_type: PacketType::Suback,
            code: 0x11,
        };
        check_error(
            V5,
            Server,
            "90 04 000a 00 11",
            code,
            ReasonCode::ProtocolError,
        );
    }
}
