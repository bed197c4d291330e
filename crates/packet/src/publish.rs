//! PUBLISH: an Application Message on its way.
//!
//! Its decoding is the broker's hottest path: it allocates nothing and walks properties only
//! where there are some.

use std::fmt;

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::{EncodeError, check_size};
use crate::error::{DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::publish_wire::PublishHeader;
use crate::qos::QoS;
use crate::topic::read_name;
use crate::version::ProtocolVersion;

/// An Application Message with the flags of one delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The packet was sent before.
    pub dup: bool,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// From a Client: keep the message. From a Server: it was kept.
    pub retain: bool,
    /// The Topic Name; empty on 5.0 where a Topic Alias stands for it.
    pub topic: &'a str,
    /// Present exactly above QoS 0.
    pub packet_id: Option<PacketId>,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    #[inline]
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        rules: &Rules,
    ) -> Result<Publish<'a>, DecodeError> {
        let qos = read_qos(flags)?;
        let dup = read_dup(flags, qos, rules.version)?;
        let retain = flags & 0x01 != 0;
        let mut cursor = Cursor::new(body);
        let topic = read_name(&mut cursor)?;
        // v5[MQTT-2.2.1-2]
        let packet_id = if qos == QoS::AtMostOnce {
            None
        } else {
            Some(cursor.packet_id()?)
        };
        let host = PropertyHost::Packet(PacketType::Publish);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        // v5[MQTT-4.7.3-1] v311[MQTT-4.7.3-1]
        if topic.is_empty() && properties.topic_alias().is_none() {
            return Err(Violation::EmptyTopicName.into());
        }
        Ok(Publish {
            dup,
            qos,
            retain,
            topic,
            packet_id,
            properties,
            payload: cursor.rest(),
        })
    }

    /// Appends the whole packet.
    pub(crate) fn put(
        &self,
        version: ProtocolVersion,
        size_max: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let len = self.topic.len();
        if len > usize::from(u16::MAX) {
            return Err(EncodeError::FieldTooLong { len });
        }
        let packet_id = match self.qos {
            QoS::AtMostOnce => None,
            _ => Some(self.packet_id.ok_or(EncodeError::MissingPacketId)?),
        };
        let header = PublishHeader {
            // v5[MQTT-3.3.1-2]
            dup: self.dup && self.qos != QoS::AtMostOnce,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic,
            packet_id,
            version,
            own_properties: &[],
            forwarded: self.properties.as_bytes(),
            payload_len: self.payload.len(),
        };
        check_size(header.packet_len(), size_max)?;
        header.put(out);
        out.extend_from_slice(self.payload);
        Ok(())
    }
}

/// Shows how long the payload is, never what it says.
impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

// v5[MQTT-3.3.1-4] v311[MQTT-3.3.1-4]
#[inline]
fn read_qos(flags: u8) -> Result<QoS, Malformed> {
    match QoS::from_bits((flags >> 1) & 0x03) {
        Some(qos) => Ok(qos),
        None if is_active(Mutant::AcceptQos3) => Ok(QoS::ExactlyOnce),
        None => Err(Malformed::PublishQoS),
    }
}

// v5[MQTT-3.3.1-2] v311[MQTT-3.3.1-2]
#[inline]
fn read_dup(flags: u8, qos: QoS, version: ProtocolVersion) -> Result<bool, Malformed> {
    let dup = flags & 0x08 != 0;
    if !dup || qos != QoS::AtMostOnce {
        return Ok(dup);
    }
    // 3.1 has no such rule, and a DUP that means nothing.
    if version == ProtocolVersion::V31 {
        Ok(false)
    } else {
        Err(Malformed::DupAtQoS0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::{Client, Server};
    use crate::encode::encode;
    use crate::packet::Packet;
    use crate::properties::PropertiesBuf;
    use crate::property::Property;
    use crate::reason::ReasonCode;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_decodes, check_error, id};

    const HELLO: Publish<'static> = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a/b",
        packet_id: None,
        properties: Properties::EMPTY,
        payload: b"hi",
    };

    #[test]
    fn flags_and_versions() {
        let qos1 = Publish {
            qos: QoS::AtLeastOnce,
            packet_id: Some(id(10)),
            ..HELLO
        };
        let qos2 = Publish {
            dup: true,
            qos: QoS::ExactlyOnce,
            retain: true,
            packet_id: Some(id(0x1234)),
            payload: b"",
            ..HELLO
        };
        for sender in [Client, Server] {
            for version in [V31, V311] {
                check(
                    version,
                    sender,
                    "30 07 0003 612f62 6869",
                    &Packet::Publish(HELLO),
                );
                check(
                    version,
                    sender,
                    "32 09 0003 612f62 000a 6869",
                    &Packet::Publish(qos1),
                );
                check(
                    version,
                    sender,
                    "3d 07 0003 612f62 1234",
                    &Packet::Publish(qos2),
                );
            }
            check(
                V5,
                sender,
                "30 08 0003 612f62 00 6869",
                &Packet::Publish(HELLO),
            );
            check(
                V5,
                sender,
                "32 0a 0003 612f62 000a 00 6869",
                &Packet::Publish(qos1),
            );
            check(
                V5,
                sender,
                "3d 08 0003 612f62 1234 00",
                &Packet::Publish(qos2),
            );
        }
    }

    #[test]
    fn properties() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::UserProperty("k", "v"));
        let publish = Publish {
            properties: properties.as_properties(),
            ..HELLO
        };
        let bytes = "30 0f 0003 612f62 07 26 0001 6b 0001 76 6869";
        check(V5, Client, bytes, &Packet::Publish(publish));

        properties.clear();
        properties.push(Property::TopicAlias(1));
        let by_alias = Publish {
            topic: "",
            properties: properties.as_properties(),
            ..HELLO
        };
        check(
            V5,
            Client,
            "30 08 0000 03 23 0001 6869",
            &Packet::Publish(by_alias),
        );

        properties.clear();
        properties.push(Property::SubscriptionIdentifier(1));
        properties.push(Property::SubscriptionIdentifier(16_383));
        let subscribed = Publish {
            properties: properties.as_properties(),
            ..HELLO
        };
        let bytes = "30 0d 0003 612f62 05 0b01 0bff7f 6869";
        check(V5, Server, bytes, &Packet::Publish(subscribed));
    }

    #[test]
    fn dup_at_qos_0_means_nothing_in_3_1() {
        check_decodes(
            V31,
            Client,
            "38 07 0003 612f62 6869",
            &Packet::Publish(HELLO),
        );
    }

    #[test]
    fn malformed() {
        let reason = ReasonCode::MalformedPacket;
        for version in [V31, V311, V5] {
            for (bytes, error) in [
                ("36 07 0003 612f62 0001", Malformed::PublishQoS),
                ("3e 07 0003 612f62 0001", Malformed::PublishQoS),
                ("30 00", Malformed::Truncated),
                ("30 01 00", Malformed::Truncated),
                ("30 04 0003 612f", Malformed::Truncated),
                ("32 06 0003 612f62 00", Malformed::Truncated),
                ("30 06 0003 610062 00", Malformed::NullCharacter),
                ("30 06 0003 eda080 00", Malformed::NotUtf8),
            ] {
                check_error(version, Client, bytes, error, reason);
            }
        }
        for version in [V311, V5] {
            let bytes = "38 06 0003 612f62 00";
            check_error(version, Client, bytes, Malformed::DupAtQoS0, reason);
        }
        check_error(
            V5,
            Client,
            "30 05 0003 612f62",
            Malformed::Truncated,
            reason,
        );
        check_error(
            V5,
            Client,
            "30 06 0003 612f62 01",
            Malformed::Truncated,
            reason,
        );
        let unknown = Malformed::UnknownProperty { id: 0x7F };
        check_error(V5, Client, "30 08 0003 612f62 02 7f00", unknown, reason);
    }

    #[test]
    fn violations() {
        let protocol_error = ReasonCode::ProtocolError;
        for version in [V31, V311, V5] {
            let bytes = "32 08 0003 612f62 0000 00";
            check_error(
                version,
                Client,
                bytes,
                Violation::PacketIdZero,
                protocol_error,
            );
            for wildcard in [
                "30 06 0003 612f2b 00",
                "30 06 0003 612f23 00",
                "30 04 0001 23 00",
            ] {
                let error = Violation::WildcardInTopicName;
                check_error(
                    version,
                    Client,
                    wildcard,
                    error,
                    ReasonCode::TopicNameInvalid,
                );
            }
            let error = Violation::EmptyTopicName;
            check_error(version, Client, "30 03 0000 00", error, protocol_error);
        }
        let bytes = "30 08 0003 612f62 02 0b01";
        let error = Violation::SubscriptionIdFromClient;
        check_error(V5, Client, bytes, error, protocol_error);
        let bytes = "30 09 0003 612f62 03 23 0000";
        let error = Violation::TopicAliasZero;
        check_error(V5, Client, bytes, error, ReasonCode::TopicAliasInvalid);
    }

    #[test]
    fn what_cannot_be_written() {
        let topic = "x".repeat(65_536);
        let no_id = Publish {
            qos: QoS::AtLeastOnce,
            ..HELLO
        };
        let long = Publish {
            topic: &topic,
            ..HELLO
        };
        for (publish, error) in [
            (no_id, EncodeError::MissingPacketId),
            (long, EncodeError::FieldTooLong { len: 65_536 }),
        ] {
            let mut out = vec![1];
            let result = encode(&Packet::Publish(publish), V5, NO_MAXIMUM, &mut out);
            assert_eq!(result, Err(error));
            assert_eq!(out, [1]);
        }
    }

    #[test]
    fn the_payload_is_not_shown() {
        let publish = Publish {
            payload: b"secret",
            ..HELLO
        };
        let shown = format!("{publish:?}");
        assert!(
            shown.contains("payload_len: 6") && !shown.contains("115"),
            "{shown}"
        );
    }
}
