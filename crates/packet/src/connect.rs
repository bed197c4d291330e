//! CONNECT: a Client asks for a Session, in one of three versions.
//!
//! The one packet whose version is in itself. What a Server makes of it (an empty Client
//! Identifier, a Session that is there) is not decided here.

use std::fmt;

use crate::cursor::{Cursor, parse_varint};
use crate::decode::Sender;
use crate::encode::{EncodeError, put_binary, put_string};
use crate::error::{ConnectError, DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::qos::QoS;
use crate::topic::TopicName;
use crate::version::ProtocolVersion;

/// The first packet of a Network Connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The version of this and of all packets that follow.
    pub version: ProtocolVersion,
    /// The Client is a bridge, as 3.x brokers say by bit 7 of the level. Not for 5.0.
    pub bridge: bool,
    /// Begin with no Session State; Clean Session in 3.x.
    pub clean_start: bool,
    /// The longest silence of the Client in seconds, 0 for any.
    pub keep_alive_s: u16,
    /// The Client Identifier, which may be empty.
    pub client_id: &'a str,
    /// What to publish when the Client is lost.
    pub will: Option<Will<'a>>,
    /// The user name, where there is one.
    pub user_name: Option<&'a str>,
    /// The password, where there is one.
    pub password: Option<&'a [u8]>,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
}

/// The Will Message of a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where it is published.
    pub topic: TopicName<'a>,
    /// The message itself.
    pub payload: &'a [u8],
    /// The QoS it is published at.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Connect<'a>, ConnectError> {
        let mut cursor = Cursor::new(body);
        let (version, bridge) = read_protocol(&mut cursor)?;
        Connect::decode_rest(cursor, version, bridge).map_err(|error| ConnectError::Decode {
            error,
            version: Some(version),
        })
    }

    /// Reads what follows the protocol level.
    // v5[MQTT-3.1.3-1]
    fn decode_rest(
        mut cursor: Cursor<'a>,
        version: ProtocolVersion,
        bridge: bool,
    ) -> Result<Connect<'a>, DecodeError> {
        let flags = ConnectFlags::read(cursor.u8()?, version)?;
        let keep_alive_s = cursor.u16()?;
        let host = PropertyHost::Packet(PacketType::Connect);
        let properties = Properties::read(&mut cursor, version, host, Sender::Client)?;
        if properties.authentication_data().is_some()
            && properties.authentication_method().is_none()
        {
            return Err(Violation::AuthenticationDataWithoutMethod.into());
        }
        // v5[MQTT-3.1.3-3] v5[MQTT-3.1.3-4]
        let client_id = cursor.string()?;
        // v5[MQTT-3.1.2-9]
        let will = match flags.will {
            Some((qos, retain)) => Some(Will::read(&mut cursor, version, qos, retain)?),
            None => None,
        };
        // v5[MQTT-3.1.2-16] v5[MQTT-3.1.2-17] v5[MQTT-3.1.3-12]
        let user_name = if is_there(flags.user_name, version, &cursor) {
            Some(cursor.string()?)
        } else {
            None
        };
        // v5[MQTT-3.1.2-18] v5[MQTT-3.1.2-19]
        let password = if is_there(flags.password, version, &cursor) {
            Some(cursor.binary()?)
        } else {
            None
        };
        cursor.finish()?;
        let clean_start = flags.clean_start;
        Ok(Connect {
            version,
            bridge,
            clean_start,
            keep_alive_s,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    pub(crate) fn put_body(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_string(self.version.protocol_name(), out)?;
        let bridge = self.bridge && !self.version.is_v5();
        out.push(self.version.level() | if bridge { BRIDGE } else { 0 });
        out.push(ConnectFlags::of(self).to_byte());
        out.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        if self.version.is_v5() {
            self.properties.put(out);
        }
        put_string(self.client_id, out)?;
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                will.properties.put(out);
            }
            put_string(will.topic.as_str(), out)?;
            put_binary(will.payload, out)?;
        }
        if let Some(user_name) = self.user_name {
            put_string(user_name, out)?;
        }
        if let Some(password) = self.password {
            put_binary(password, out)?;
        }
        Ok(())
    }
}

/// Shows that there is a password, never which.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.map(|_| "redacted"))
            .field("properties", &self.properties)
            .finish()
    }
}

impl<'a> Will<'a> {
    fn read(
        cursor: &mut Cursor<'a>,
        version: ProtocolVersion,
        qos: QoS,
        retain: bool,
    ) -> Result<Will<'a>, DecodeError> {
        let properties = Properties::read(cursor, version, PropertyHost::Will, Sender::Client)?;
        // v5[MQTT-3.1.3-11] v311[MQTT-3.1.3-10]
        let topic = TopicName::new(cursor.string()?).map_err(|_| Violation::WillTopic)?;
        let payload = cursor.binary()?;
        Ok(Will {
            topic,
            payload,
            qos,
            retain,
            properties,
        })
    }
}

/// Shows how long the payload is, never what it says.
impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_len", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}

/// The version that the beginning of a CONNECT names, as far as it can be read: to answer in the
/// right form what is refused before it is whole.
pub(crate) fn peek_version(bytes: &[u8]) -> Option<ProtocolVersion> {
    let (&first, after_first) = bytes.split_first()?;
    if first >> 4 != PacketType::Connect as u8 {
        return None;
    }
    let (_, length_len) = parse_varint(after_first).ok()??;
    let mut cursor = Cursor::new(after_first.get(length_len..)?);
    let (version, _) = read_protocol(&mut cursor).ok()?;
    Some(version)
}

/// The bit of the protocol level by which bridges of 3.x make themselves known.
const BRIDGE: u8 = 0x80;

/// The version, and whether the Client is a bridge.
// v5[MQTT-3.1.2-1] v5[MQTT-3.1.2-2] v311[MQTT-3.1.2-1] v311[MQTT-3.1.2-2]
fn read_protocol(cursor: &mut Cursor<'_>) -> Result<(ProtocolVersion, bool), ConnectError> {
    let unreadable = |malformed: Malformed| ConnectError::Decode {
        error: malformed.into(),
        version: None,
    };
    let name = cursor.binary().map_err(unreadable)?;
    let bridge_version = match name {
        b"MQTT" => ProtocolVersion::V311,
        b"MQIsdp" => ProtocolVersion::V31,
        _ => return Err(ConnectError::NotMqtt),
    };
    let level = cursor.u8().map_err(unreadable)?;
    if bridge_version == ProtocolVersion::V311 && level == ProtocolVersion::V5.level() {
        Ok((ProtocolVersion::V5, false))
    } else if level & !BRIDGE == bridge_version.level() {
        Ok((bridge_version, level & BRIDGE != 0))
    } else {
        Err(ConnectError::UnsupportedProtocolVersion { level })
    }
}

/// 3.1 allows the fields to be missing although their flags are set (its section 3.1, on the user
/// name flag): the packet ends before them.
fn is_there(flag: bool, version: ProtocolVersion, cursor: &Cursor<'_>) -> bool {
    flag && (version != ProtocolVersion::V31 || !cursor.is_empty())
}

/// The byte that says which fields follow.
struct ConnectFlags {
    clean_start: bool,
    /// Will QoS and Will Retain.
    will: Option<(QoS, bool)>,
    user_name: bool,
    password: bool,
}

impl ConnectFlags {
    const RESERVED: u8 = 0x01;
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_QOS: u8 = 0x18;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    fn read(byte: u8, version: ProtocolVersion) -> Result<ConnectFlags, Malformed> {
        // 3.1 has no rule about the bits that it does not use.
        let strict = version != ProtocolVersion::V31;
        let is_set = |flag: u8| byte & flag != 0;
        // v5[MQTT-3.1.2-3] v311[MQTT-3.1.2-3]
        if strict && is_set(Self::RESERVED) && !is_active(Mutant::AcceptReservedConnectFlag) {
            return Err(Malformed::ReservedConnectFlag);
        }
        // v5[MQTT-3.1.2-11] v5[MQTT-3.1.2-13] v311[MQTT-3.1.2-13] v311[MQTT-3.1.2-15]
        if strict && !is_set(Self::WILL) && is_set(Self::WILL_QOS | Self::WILL_RETAIN) {
            return Err(Malformed::WillFlags);
        }
        let will = if is_set(Self::WILL) {
            // v5[MQTT-3.1.2-12] v311[MQTT-3.1.2-14]
            let qos = QoS::from_bits((byte & Self::WILL_QOS) >> 3).ok_or(Malformed::WillQoS)?;
            Some((qos, is_set(Self::WILL_RETAIN)))
        } else {
            None
        };
        // v311[MQTT-3.1.2-22]
        if !version.is_v5() && is_set(Self::PASSWORD) && !is_set(Self::USER_NAME) {
            return Err(Malformed::PasswordWithoutUserName);
        }
        Ok(ConnectFlags {
            clean_start: is_set(Self::CLEAN_START),
            will,
            user_name: is_set(Self::USER_NAME),
            password: is_set(Self::PASSWORD),
        })
    }

    fn of(connect: &Connect<'_>) -> ConnectFlags {
        ConnectFlags {
            clean_start: connect.clean_start,
            will: connect.will.map(|will| (will.qos, will.retain)),
            user_name: connect.user_name.is_some(),
            password: connect.password.is_some(),
        }
    }

    fn to_byte(&self) -> u8 {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        let will = match self.will {
            Some((qos, retain)) => Self::WILL | (qos.bits() << 3) | bit(retain, Self::WILL_RETAIN),
            None => 0,
        };
        bit(self.clean_start, Self::CLEAN_START)
            | will
            | bit(self.user_name, Self::USER_NAME)
            | bit(self.password, Self::PASSWORD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Decoded, decode, decode_connect};
    use crate::encode::encode;
    use crate::packet::Packet;
    use crate::properties::PropertiesBuf;
    use crate::property::Property;
    use crate::reason::ReasonCode;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_decodes, hex, rules};

    fn plain(version: ProtocolVersion) -> Connect<'static> {
        Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive_s: 60,
            client_id: "cid",
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        }
    }

    fn check_connect(bytes: &str, expected: Connect<'_>) {
        check(
            expected.version,
            Sender::Client,
            bytes,
            &Packet::Connect(expected),
        );
    }

    fn check_accepted(bytes: &str, expected: Connect<'_>) {
        check_decodes(
            expected.version,
            Sender::Client,
            bytes,
            &Packet::Connect(expected),
        );
    }

    fn check_refused(bytes: &str, expected: ConnectError) {
        let result = decode_connect(&hex(bytes), NO_MAXIMUM).map(|_| ());
        assert_eq!(result, Err(expected), "{bytes}");
        assert!(!expected.to_string().is_empty());
    }

    fn refused_as(version: ProtocolVersion, error: impl Into<DecodeError>) -> ConnectError {
        ConnectError::Decode {
            error: error.into(),
            version: Some(version),
        }
    }

    #[test]
    fn versions() {
        check_connect("10 11 0006 4d5149736470 03 02 003c 0003 636964", plain(V31));
        check_connect("10 0f 0004 4d515454 04 02 003c 0003 636964", plain(V311));
        check_connect("10 10 0004 4d515454 05 02 003c 00 0003 636964", plain(V5));
    }

    #[test]
    fn bridges() {
        let bridge = |version| Connect {
            bridge: true,
            ..plain(version)
        };
        check_connect(
            "10 11 0006 4d5149736470 83 02 003c 0003 636964",
            bridge(V31),
        );
        check_connect("10 0f 0004 4d515454 84 02 003c 0003 636964", bridge(V311));
    }

    #[test]
    fn everything_that_3x_can_say() {
        let will = Will {
            topic: TopicName::new("a/b").unwrap(),
            payload: b"hi",
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        let full = Connect {
            clean_start: false,
            keep_alive_s: 0,
            will: Some(will),
            user_name: Some("u"),
            password: Some(b"pw"),
            ..plain(V311)
        };
        let fields = "0003 636964 0003 612f62 0002 6869 0001 75 0002 7077";
        check_connect(&format!("10 1f 0004 4d515454 04 cc 0000 {fields}"), full);
        let full = Connect {
            version: V31,
            ..full
        };
        check_connect(
            &format!("10 21 0006 4d5149736470 03 cc 0000 {fields}"),
            full,
        );
    }

    #[test]
    fn everything_that_5_0_can_say() {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SessionExpiryInterval(3600));
        let mut will_properties = PropertiesBuf::new();
        will_properties.push(Property::WillDelayInterval(5));
        let will = Will {
            topic: TopicName::new("a/b").unwrap(),
            payload: b"hi",
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: will_properties.as_properties(),
        };
        let full = Connect {
            will: Some(will),
            user_name: Some("u"),
            password: Some(b"pw"),
            properties: properties.as_properties(),
            ..plain(V5)
        };
        let bytes = "10 2b 0004 4d515454 05 f6 003c 05 11 00000e10 0003 636964 \
            05 18 00000005 0003 612f62 0002 6869 0001 75 0002 7077";
        check_connect(bytes, full);
    }

    #[test]
    fn a_password_alone_is_for_5_0() {
        let alone = Connect {
            password: Some(b"pw"),
            ..plain(V5)
        };
        check_connect(
            "10 14 0004 4d515454 05 42 003c 00 0003 636964 0002 7077",
            alone,
        );
        let bytes = "10 13 0004 4d515454 04 42 003c 0003 636964 0002 7077";
        check_refused(bytes, refused_as(V311, Malformed::PasswordWithoutUserName));
        let bytes = "10 15 0006 4d5149736470 03 42 003c 0003 636964 0002 7077";
        check_refused(bytes, refused_as(V31, Malformed::PasswordWithoutUserName));
    }

    #[test]
    fn what_3_1_does_not_mind() {
        // The reserved flag, Will QoS and Will Retain without a Will.
        check_accepted("10 11 0006 4d5149736470 03 03 003c 0003 636964", plain(V31));
        check_accepted("10 11 0006 4d5149736470 03 32 003c 0003 636964", plain(V31));
        // Flags for a user name and a password that are not there.
        check_accepted("10 11 0006 4d5149736470 03 c2 003c 0003 636964", plain(V31));
        let named = Connect {
            user_name: Some("u"),
            ..plain(V31)
        };
        check_accepted(
            "10 14 0006 4d5149736470 03 c2 003c 0003 636964 0001 75",
            named,
        );
    }

    #[test]
    fn flags_out_of_order() {
        for (version, start) in [
            (V311, "10 0f 0004 4d515454 04"),
            (V5, "10 10 0004 4d515454 05"),
        ] {
            let end = if version == V5 {
                "003c 00 0003 636964"
            } else {
                "003c 0003 636964"
            };
            for (flags, error) in [
                ("03", Malformed::ReservedConnectFlag),
                ("0a", Malformed::WillFlags),
                ("12", Malformed::WillFlags),
                ("22", Malformed::WillFlags),
                ("1e", Malformed::WillQoS),
            ] {
                let bytes = format!("{start} {flags} {end}");
                check_refused(&bytes, refused_as(version, error));
            }
        }
    }

    #[test]
    fn other_protocols() {
        for (bytes, level) in [
            ("10 0f 0004 4d515454 06 02 003c 0003 636964", 6),
            ("10 0f 0004 4d515454 03 02 003c 0003 636964", 3),
            ("10 0f 0004 4d515454 85 02 003c 0003 636964", 0x85),
            ("10 11 0006 4d5149736470 04 02 003c 0003 636964", 4),
        ] {
            check_refused(bytes, ConnectError::UnsupportedProtocolVersion { level });
        }
        check_refused(
            "10 0f 0004 4d515458 04 02 003c 0003 636964",
            ConnectError::NotMqtt,
        );
        check_refused("10 0b 0000 04 02 003c 0003 636964", ConnectError::NotMqtt);
    }

    #[test]
    fn malformed() {
        let unread = |error: Malformed| ConnectError::Decode {
            error: error.into(),
            version: None,
        };
        check_refused("10 00", unread(Malformed::Truncated));
        check_refused("10 06 0004 4d515454", unread(Malformed::Truncated));
        check_refused("10 05 0004 4d5154", unread(Malformed::Truncated));
        let flags = Malformed::FixedHeaderFlags {
            packet_type: PacketType::Connect,
            flags: 1,
        };
        check_refused("11", unread(flags));
        check_refused("10 ff ff ff ff", unread(Malformed::VarintTooLong));

        let truncated = refused_as(V5, Malformed::Truncated);
        check_refused("10 07 0004 4d515454 05", truncated);
        check_refused("10 0a 0004 4d515454 05 02 003c", truncated);
        check_refused("10 0b 0004 4d515454 05 02 003c 00", truncated);
        check_refused("10 10 0004 4d515454 05 06 003c 00 0003 636964", truncated);
        check_refused("10 10 0004 4d515454 05 82 003c 00 0003 636964", truncated);
        let truncated = refused_as(V311, Malformed::Truncated);
        check_refused("10 0f 0004 4d515454 04 82 003c 0003 636964", truncated);

        let trailing = refused_as(V311, Malformed::TrailingBytes);
        check_refused("10 10 0004 4d515454 04 02 003c 0003 636964 00", trailing);
        let null = refused_as(V311, Malformed::NullCharacter);
        check_refused("10 0f 0004 4d515454 04 02 003c 0003 630064", null);
        let text = refused_as(V5, Malformed::NotUtf8);
        check_refused("10 10 0004 4d515454 05 02 003c 00 0003 eda080", text);
    }

    #[test]
    fn violations() {
        let data_alone = Violation::AuthenticationDataWithoutMethod;
        let bytes = "10 14 0004 4d515454 05 02 003c 04 16 0001 78 0003 636964";
        check_refused(bytes, refused_as(V5, data_alone));
        assert_eq!(data_alone.reason_code(), ReasonCode::ProtocolError);
        for topic in ["0001 23", "0001 2b"] {
            let bytes = format!("10 14 0004 4d515454 04 06 003c 0003 636964 {topic} 0000");
            check_refused(&bytes, refused_as(V311, Violation::WillTopic));
        }
        let bytes = "10 13 0004 4d515454 04 06 003c 0003 636964 0000 0000";
        check_refused(bytes, refused_as(V311, Violation::WillTopic));
        assert_eq!(
            Violation::WillTopic.reason_code(),
            ReasonCode::TopicNameInvalid
        );
        let not_first = ConnectError::Decode {
            error: Violation::FirstPacketNotConnect.into(),
            version: None,
        };
        for bytes in ["c0 00", "20 02 00 00", "00", "47"] {
            check_refused(bytes, not_first);
        }
    }

    #[test]
    fn the_size_is_refused_in_the_version_that_is_asked_for() {
        let bytes = hex("10 c8 01 0004 4d515454 05");
        let error = Violation::PacketTooLarge {
            size: 203,
            size_max: 202,
        };
        assert_eq!(decode_connect(&bytes, 202), Err(refused_as(V5, error)));
        let version = None;
        let error = error.into();
        let unread = Err(ConnectError::Decode { error, version });
        assert_eq!(decode_connect(&bytes[..5], 202), unread);
        assert_eq!(
            decode_connect(&bytes, 203),
            Ok(Decoded::Incomplete { needed: 203 })
        );
    }

    #[test]
    fn a_length_longer_than_it_must_be_is_refused_by_5_0_alone() {
        let bytes = "10 8f 00 0004 4d515454 04 02 003c 0003 636964";
        check_accepted(bytes, plain(V311));
        let bytes = "10 90 00 0004 4d515454 05 02 003c 00 0003 636964";
        check_refused(bytes, refused_as(V5, Malformed::VarintNotMinimal));
    }

    #[test]
    fn a_second_connect_is_a_packet_like_any_other() {
        let bytes = hex("10 0f 0004 4d515454 04 02 003c 0003 636964");
        let packet = Packet::Connect(plain(V311));
        let len = bytes.len();
        let result = decode(&bytes, &rules(V311, Sender::Client));
        assert_eq!(result, Ok(Decoded::Packet { packet, len }));
        let bytes = hex("10 0f 0004 4d515454 07 02 003c 0003 636964");
        let result = decode(&bytes, &rules(V311, Sender::Client));
        assert_eq!(result, Err(Malformed::ProtocolName.into()));
    }

    #[test]
    fn secrets_are_not_shown() {
        let will = Will {
            topic: TopicName::new("t").unwrap(),
            payload: b"will-secret",
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::EMPTY,
        };
        let connect = Connect {
            will: Some(will),
            password: Some(b"pass-secret"),
            ..plain(V5)
        };
        let shown = format!("{connect:?}");
        assert!(
            shown.contains("redacted") && shown.contains("payload_len: 11"),
            "{shown}"
        );
        assert!(
            !shown.contains("secret") && !shown.contains("115"),
            "{shown}"
        );
    }

    #[test]
    fn a_field_beyond_the_wire_is_not_written() {
        let long = vec![0u8; 65_536];
        let connect = Connect {
            password: Some(&long),
            ..plain(V5)
        };
        let mut out = vec![1];
        let result = encode(&Packet::Connect(connect), V5, NO_MAXIMUM, &mut out);
        assert_eq!(result, Err(EncodeError::FieldTooLong { len: 65_536 }));
        assert_eq!(out, [1]);
    }
}
