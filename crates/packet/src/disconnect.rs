//! DISCONNECT: the end of a Network Connection, announced.

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::Keep;
use crate::error::DecodeError;
use crate::packet::PacketType;
use crate::properties::Properties;
use crate::reason::ReasonCode;
use crate::short_form;
use crate::version::ProtocolVersion;

/// The last packet that its sender sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why; always `NormalDisconnection` in 3.x.
    pub reason: ReasonCode,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Disconnect<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let (reason, properties) = if rules.version.is_v5() {
            short_form::read(&mut cursor, PacketType::Disconnect, rules.sender)?
        } else {
            (ReasonCode::NormalDisconnection, Properties::EMPTY)
        };
        cursor.finish()?;
        Ok(Disconnect { reason, properties })
    }

    pub(crate) fn put_body(&self, version: ProtocolVersion, keep: Keep, out: &mut Vec<u8>) {
        if version.is_v5() {
            short_form::put(self.reason, self.properties, keep, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::{Client, Server};
    use crate::error::{Malformed, Violation};
    use crate::packet::Packet;
    use crate::properties::PropertiesBuf;
    use crate::property::Property;
    use crate::testing::{V5, V31, V311, check, check_decodes, check_error};

    const NORMAL: Disconnect<'static> = Disconnect {
        reason: ReasonCode::NormalDisconnection,
        properties: Properties::EMPTY,
    };

    #[test]
    fn forms() {
        for version in [V31, V311, V5] {
            check(version, Client, "e0 00", &Packet::Disconnect(NORMAL));
        }
        let with_will = Disconnect {
            reason: ReasonCode::DisconnectWithWill,
            ..NORMAL
        };
        check(V5, Client, "e0 01 04", &Packet::Disconnect(with_will));
        check_decodes(V5, Client, "e0 01 00", &Packet::Disconnect(NORMAL));
        check_decodes(V5, Client, "e0 02 04 00", &Packet::Disconnect(with_will));
        let taken_over = Disconnect {
            reason: ReasonCode::SessionTakenOver,
            ..NORMAL
        };
        check(V5, Server, "e0 01 8e", &Packet::Disconnect(taken_over));

        let mut properties = PropertiesBuf::new();
        properties.push(Property::SessionExpiryInterval(0));
        let expiring = Disconnect {
            properties: properties.as_properties(),
            ..NORMAL
        };
        check(
            V5,
            Client,
            "e0 07 00 05 11 00000000",
            &Packet::Disconnect(expiring),
        );
    }

    #[test]
    fn malformed() {
        let reason = ReasonCode::MalformedPacket;
        for version in [V31, V311] {
            check_error(
                version,
                Client,
                "e0 01 00",
                Malformed::TrailingBytes,
                reason,
            );
        }
        check_error(
            V5,
            Client,
            "e0 03 00 00 00",
            Malformed::TrailingBytes,
            reason,
        );
        check_error(V5, Client, "e0 02 00 01", Malformed::Truncated, reason);
        let flags = Malformed::FixedHeaderFlags {
            packet_type: PacketType::Disconnect,
            flags: 1,
        };
        check_error(V5, Client, "e1 00", flags, reason);
    }

    #[test]
    fn violations() {
        let reason = ReasonCode::ProtocolError;
        let expiry = Violation::SessionExpiryFromServer;
        check_error(V5, Server, "e0 07 00 05 11 00000000", expiry, reason);
        let direction = Violation::WrongDirection {
            packet_type: PacketType::Disconnect,
        };
        check_error(V311, Server, "e0 00", direction, reason);
        let code = Violation::ReasonNotAllowed {
            packet_type: PacketType::Disconnect,
            code: 0x84,
        };
        check_error(V5, Client, "e0 01 84", code, reason);
    }
}
