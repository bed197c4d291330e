//! CONNACK: the Server's answer to CONNECT.

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::Keep;
use crate::error::{DecodeError, Malformed, Violation};
use crate::packet::PacketType;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// Whether the Server takes the connection, and on which terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connack<'a> {
    /// The Server had a Session of this Client; 3.1 cannot say so.
    pub session_present: bool,
    /// The outcome; in 3.x one of six return codes that come nearest.
    pub reason: ReasonCode,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Connack<'a> {
    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Connack<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let session_present = read_flags(cursor.u8()?, rules.version)?;
        let reason = read_reason(cursor.u8()?, rules.version)?;
        let host = PropertyHost::Packet(PacketType::Connack);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        cursor.finish()?;
        // v5[MQTT-3.2.2-6] v311[MQTT-3.2.2-4]
        if session_present && reason != ReasonCode::Success {
            return Err(Violation::SessionPresentOnRefusal.into());
        }
        Ok(Connack {
            session_present,
            reason,
            properties,
        })
    }

    pub(crate) fn put_body(&self, version: ProtocolVersion, keep: Keep, out: &mut Vec<u8>) {
        let session_present = self.session_present && version != ProtocolVersion::V31;
        out.push(u8::from(session_present));
        if version.is_v5() {
            out.push(self.reason.code());
            Properties::from_checked(&keep.apply(self.properties)).put(out);
        } else {
            out.push(self.reason.connack_v3());
        }
    }
}

/// Session Present. 3.1 has no use for the byte and no rule about it.
// v5[MQTT-3.2.2-1]
fn read_flags(flags: u8, version: ProtocolVersion) -> Result<bool, Malformed> {
    match (version, flags) {
        (ProtocolVersion::V31, _) | (_, 0) => Ok(false),
        (_, 1) => Ok(true),
        _ => Err(Malformed::ConnackFlags),
    }
}

fn read_reason(code: u8, version: ProtocolVersion) -> Result<ReasonCode, DecodeError> {
    if version.is_v5() {
        return Ok(ReasonCode::checked(code, PacketType::Connack)?);
    }
    Ok(ReasonCode::from_connack_v3(code).ok_or(Malformed::ConnackReturnCode { code })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::{Client, Server};
    use crate::encode::encode;
    use crate::packet::Packet;
    use crate::properties::PropertiesBuf;
    use crate::property::Property;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_decodes, check_error, hex};

    const WELCOME: Connack<'static> = Connack {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::EMPTY,
    };

    #[test]
    fn forms() {
        let resumed = Connack {
            session_present: true,
            ..WELCOME
        };
        let refused = Connack {
            reason: ReasonCode::NotAuthorized,
            ..WELCOME
        };
        for version in [V31, V311] {
            check(version, Server, "20 02 00 00", &Packet::Connack(WELCOME));
            check(version, Server, "20 02 00 05", &Packet::Connack(refused));
        }
        check(V311, Server, "20 02 01 00", &Packet::Connack(resumed));
        check(V5, Server, "20 03 00 00 00", &Packet::Connack(WELCOME));
        check(V5, Server, "20 03 01 00 00", &Packet::Connack(resumed));
        check(V5, Server, "20 03 00 87 00", &Packet::Connack(refused));

        let mut properties = PropertiesBuf::new();
        properties.push(Property::TopicAliasMaximum(10));
        properties.push(Property::MaximumPacketSize(2_000_000));
        properties.push(Property::ReceiveMaximum(20));
        let limited = Connack {
            properties: properties.as_properties(),
            ..WELCOME
        };
        let bytes = "20 0e 00 00 0b 22 000a 27 001e8480 21 0014";
        check(V5, Server, bytes, &Packet::Connack(limited));
    }

    #[test]
    fn session_present_has_no_place_in_3_1() {
        check_decodes(V31, Server, "20 02 01 00", &Packet::Connack(WELCOME));
        let resumed = Packet::Connack(Connack {
            session_present: true,
            ..WELCOME
        });
        let mut out = Vec::new();
        encode(&resumed, V31, NO_MAXIMUM, &mut out).unwrap();
        assert_eq!(out, hex("20 02 00 00"));
    }

    #[test]
    fn errors() {
        let malformed = ReasonCode::MalformedPacket;
        for version in [V311, V5] {
            check_error(
                version,
                Server,
                "20 03 02 00 00",
                Malformed::ConnackFlags,
                malformed,
            );
        }
        for version in [V31, V311, V5] {
            check_error(version, Server, "20 01 00", Malformed::Truncated, malformed);
        }
        let code = Malformed::ConnackReturnCode { code: 6 };
        check_error(V311, Server, "20 02 00 06", code, malformed);
        check_error(
            V311,
            Server,
            "20 03 00 00 00",
            Malformed::TrailingBytes,
            malformed,
        );
        check_error(V5, Server, "20 02 00 00", Malformed::Truncated, malformed);

        let violation = ReasonCode::ProtocolError;
        let code = Violation::ReasonNotAllowed {
            packet_type: PacketType::Connack,
            code: 0x8B,
        };
        check_error(V5, Server, "20 03 00 8b 00", code, violation);
        let present = Violation::SessionPresentOnRefusal;
        check_error(V5, Server, "20 03 01 87 00", present, violation);
        check_error(V311, Server, "20 02 01 05", present, violation);
        let direction = Violation::WrongDirection {
            packet_type: PacketType::Connack,
        };
        check_error(V5, Client, "20 03 00 00 00", direction, violation);
    }
}
