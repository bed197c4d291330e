//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one form.

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::Keep;
use crate::error::DecodeError;
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::Properties;
use crate::reason::ReasonCode;
use crate::short_form;
use crate::version::ProtocolVersion;

/// One step of the delivery of a QoS 1 or QoS 2 message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The Packet Identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// How it went; always `Success` in 3.x.
    pub reason: ReasonCode,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    #[inline]
    pub(crate) fn decode(
        packet_type: PacketType,
        body: &'a [u8],
        rules: &Rules,
    ) -> Result<Ack<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let packet_id = cursor.packet_id()?;
        let (reason, properties) = if rules.version.is_v5() {
            short_form::read(&mut cursor, packet_type, rules.sender)?
        } else {
            (ReasonCode::Success, Properties::EMPTY)
        };
        cursor.finish()?;
        Ok(Ack {
            packet_id,
            reason,
            properties,
        })
    }

    pub(crate) fn put_body(&self, version: ProtocolVersion, keep: Keep, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.packet_id.get().to_be_bytes());
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
    use crate::property::{Property, PropertyHost};
    use crate::testing::{V5, V31, V311, check, check_decodes, check_error, id};

    fn success(number: u16) -> Ack<'static> {
        Ack {
            packet_id: id(number),
            reason: ReasonCode::Success,
            properties: Properties::EMPTY,
        }
    }

    #[test]
    fn success_is_two_bytes_in_all_versions() {
        for version in [V31, V311, V5] {
            for sender in [Client, Server] {
                check(version, sender, "40 02 0001", &Packet::Puback(success(1)));
                check(
                    version,
                    sender,
                    "50 02 ffff",
                    &Packet::Pubrec(success(0xFFFF)),
                );
                check(
                    version,
                    sender,
                    "62 02 1234",
                    &Packet::Pubrel(success(0x1234)),
                );
                check(
                    version,
                    sender,
                    "70 02 0100",
                    &Packet::Pubcomp(success(0x100)),
                );
            }
        }
    }

    #[test]
    fn reasons_and_properties() {
        let nobody = Ack {
            reason: ReasonCode::NoMatchingSubscribers,
            ..success(1)
        };
        check(V5, Server, "40 03 0001 10", &Packet::Puback(nobody));
        check_decodes(V5, Server, "40 04 0001 10 00", &Packet::Puback(nobody));
        check_decodes(V5, Server, "40 03 0001 00", &Packet::Puback(success(1)));
        check_decodes(V5, Server, "40 04 0001 00 00", &Packet::Puback(success(1)));

        let mut properties = PropertiesBuf::new();
        properties.push(Property::ReasonString("no"));
        let not_found = Ack {
            reason: ReasonCode::PacketIdentifierNotFound,
            properties: properties.as_properties(),
            ..success(1)
        };
        check(
            V5,
            Client,
            "62 09 0001 92 05 1f 0002 6e6f",
            &Packet::Pubrel(not_found),
        );
        check(
            V5,
            Client,
            "70 09 0001 92 05 1f 0002 6e6f",
            &Packet::Pubcomp(not_found),
        );
    }

    #[test]
    fn a_repeated_pubrel_of_3_1() {
        check_decodes(V31, Client, "6a 02 0001", &Packet::Pubrel(success(1)));
    }

    #[test]
    fn malformed() {
        for version in [V31, V311, V5] {
            let reason = ReasonCode::MalformedPacket;
            check_error(version, Client, "40 00", Malformed::Truncated, reason);
            check_error(version, Client, "40 01 00", Malformed::Truncated, reason);
            for (bytes, packet_type, flags) in [
                ("41 02 0001", PacketType::Puback, 1),
                ("52 02 0001", PacketType::Pubrec, 2),
                ("60 02 0001", PacketType::Pubrel, 0),
                ("63 02 0001", PacketType::Pubrel, 3),
                ("78 02 0001", PacketType::Pubcomp, 8),
            ] {
                let error = Malformed::FixedHeaderFlags { packet_type, flags };
                check_error(version, Client, bytes, error, reason);
            }
        }
        let trailing = Malformed::TrailingBytes;
        let reason = ReasonCode::MalformedPacket;
        check_error(V31, Client, "40 03 0001 00", trailing, reason);
        check_error(V311, Client, "40 04 0001 00 00", trailing, reason);
        check_error(V5, Client, "40 05 0001 00 00 00", trailing, reason);
        check_error(V5, Client, "40 04 0001 00 05", Malformed::Truncated, reason);
        let flags = Malformed::FixedHeaderFlags {
            packet_type: PacketType::Pubrel,
            flags: 0xA,
        };
        check_error(V311, Client, "6a 02 0001", flags, reason);
        check_error(V5, Client, "6a 02 0001", flags, reason);
    }

    #[test]
    fn violations() {
        let reason = ReasonCode::ProtocolError;
        for version in [V31, V311, V5] {
            check_error(
                version,
                Client,
                "40 02 0000",
                Violation::PacketIdZero,
                reason,
            );
        }
        for (bytes, packet_type, code) in [
            ("40 03 0001 92", PacketType::Puback, 0x92),
            ("40 03 0001 03", PacketType::Puback, 0x03),
            ("50 03 0001 8e", PacketType::Pubrec, 0x8E),
            ("62 03 0001 10", PacketType::Pubrel, 0x10),
            ("70 03 0001 80", PacketType::Pubcomp, 0x80),
        ] {
            let error = Violation::ReasonNotAllowed { packet_type, code };
            check_error(V5, Client, bytes, error, reason);
        }
        let error = Violation::PropertyNotAllowed {
            id: 0x23,
            host: PropertyHost::Packet(PacketType::Puback),
        };
        let malformed = ReasonCode::MalformedPacket;
        check_error(V5, Client, "40 07 0001 00 03 23 0001", error, malformed);
    }
}
