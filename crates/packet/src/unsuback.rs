//! UNSUBACK: the Server's answer to UNSUBSCRIBE.

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

/// One Reason Code for each Topic Filter of an UNSUBSCRIBE, in its order; none in 3.x.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsuback<'a> {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
    /// The codes as bytes; empty in 3.x.
    pub reasons: &'a [u8],
}

impl<'a> Unsuback<'a> {
    /// The Reason Codes, in the order of the Topic Filters.
    pub fn codes(self) -> impl Iterator<Item = ReasonCode> {
        self.reasons
            .iter()
            .filter_map(|code| ReasonCode::from_u8(*code))
    }

    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Unsuback<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let packet_id = cursor.packet_id()?;
        if !rules.version.is_v5() {
            cursor.finish()?;
            return Ok(Unsuback {
                packet_id,
                properties: Properties::EMPTY,
                reasons: &[],
            });
        }
        let host = PropertyHost::Packet(PacketType::Unsuback);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        let reasons = cursor.rest();
        if reasons.is_empty() {
            return Err(Malformed::NoReasonCodes.into());
        }
        for &code in reasons {
            ReasonCode::checked(code, PacketType::Unsuback)?;
        }
        Ok(Unsuback {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::Server;
    use crate::error::Violation;
    use crate::packet::Packet;
    use crate::testing::{V5, V31, V311, check, check_error, id};

    fn unsuback(reasons: &[u8]) -> Unsuback<'_> {
        Unsuback {
            packet_id: id(10),
            properties: Properties::EMPTY,
            reasons,
        }
    }

    #[test]
    fn forms() {
        for version in [V31, V311] {
            check(
                version,
                Server,
                "b0 02 000a",
                &Packet::Unsuback(unsuback(&[])),
            );
        }
        let mixed = unsuback(&[0x00, 0x11]);
        check(V5, Server, "b0 05 000a 00 00 11", &Packet::Unsuback(mixed));
        assert!(
            mixed
                .codes()
                .eq([ReasonCode::Success, ReasonCode::NoSubscriptionExisted])
        );
    }

    #[test]
    fn errors() {
        let malformed = ReasonCode::MalformedPacket;
        for version in [V31, V311] {
            check_error(
                version,
                Server,
                "b0 03 000a 00",
                Malformed::TrailingBytes,
                malformed,
            );
        }
        check_error(
            V5,
            Server,
            "b0 03 000a 00",
            Malformed::NoReasonCodes,
            malformed,
        );
        let code = Violation::ReasonNotAllowed {
            packet_type: PacketType::Unsuback,
            code: 0x01,
        };
        check_error(
            V5,
            Server,
            "b0 04 000a 00 01",
            code,
            ReasonCode::ProtocolError,
        );
    }
}
