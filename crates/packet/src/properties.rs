//! Blocks of properties: checked once when they are read, then walked without errors.
//!
//! A block is kept as the bytes of the wire, for the broker forwards most of them unchanged.

use std::fmt;

use crate::cursor::Cursor;
use crate::decode::Sender;
use crate::error::{DecodeError, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::property::{Property, PropertyHost, id};
use crate::publish_wire::{put_varint, varint_len};
use crate::version::ProtocolVersion;

/// A checked block of properties, without the length that stands before it on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// No properties at all; also what every packet of 3.x has.
    pub const EMPTY: Properties<'static> = Properties { bytes: &[] };

    /// A view of bytes that were a checked block before, such as [`Properties::as_bytes`] gave
    /// and a store kept. Bytes that were not end the iteration where they stop making sense.
    #[inline]
    pub const fn from_checked(bytes: &'a [u8]) -> Properties<'a> {
        Properties { bytes }
    }

    /// Whether there is no property.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The block as it stands on the wire, without its length.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// All properties in their order.
    #[inline]
    pub const fn iter(self) -> PropertyIter<'a> {
        PropertyIter {
            cursor: Cursor::new(self.bytes),
        }
    }

    /// All properties in their order as they stand on the wire: identifier, and all bytes with the identifier.
    /// What their values say is not looked at, which makes it cheap.
    #[inline]
    pub fn parts(self) -> impl Iterator<Item = (u8, &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut cursor = Cursor::new(rest);
            let id = Property::skip(&mut cursor).ok()?;
            let (part, behind) = rest.split_at_checked(rest.len() - cursor.rest().len())?;
            rest = behind;
            Some((id, part))
        })
    }

    /// The first property with this identifier.
    fn find(self, id: u8) -> Option<Property<'a>> {
        let (_, part) = self.parts().find(|(known, _)| *known == id)?;
        Property::read(&mut Cursor::new(part)).ok()
    }

    /// Bytes on the wire, with the length before the block.
    #[inline]
    pub const fn encoded_len(self) -> usize {
        block_len(self.bytes.len())
    }

    /// All User Properties in their order: name and value.
    pub fn user_properties(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// All Subscription Identifiers in their order.
    pub fn subscription_identifiers(self) -> impl Iterator<Item = u32> {
        self.iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// Takes a block with its length from the front of what is left of a packet, and checks it.
    /// There is none in 3.x.
    #[inline]
    pub(crate) fn read(
        cursor: &mut Cursor<'a>,
        version: ProtocolVersion,
        host: PropertyHost,
        sender: Sender,
    ) -> Result<Properties<'a>, DecodeError> {
        if !version.is_v5() {
            return Ok(Properties::EMPTY);
        }
        let len = cursor.varint()?;
        if len == 0 {
            return Ok(Properties::EMPTY);
        }
        let bytes = cursor.take(len as usize)?;
        check_block(bytes, host, sender)?;
        Ok(Properties { bytes })
    }

    /// Appends the block with its length.
    // v5[MQTT-2.2.2-1]
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_varint(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), out);
        out.extend_from_slice(self.bytes);
    }
}

/// One question per property that stands at most once.
macro_rules! getters {
    ($($(#[$meta:meta])* $getter:ident: $type:ty = $name:ident;)+) => {
        $(
            $(#[$meta])*
            pub fn $getter(self) -> Option<$type> {
                match self.find(id::$name) {
                    Some(Property::$name(value)) => Some(value),
                    _ => None,
                }
            }
        )+
    };
}

impl<'a> Properties<'a> {
    getters! {
        /// 1 when the payload is UTF-8, 0 when it is bytes.
        payload_format_indicator: u8 = PayloadFormatIndicator;
        /// Lifetime of the Application Message in seconds.
        message_expiry_interval: u32 = MessageExpiryInterval;
        /// What the payload is.
        content_type: &'a str = ContentType;
        /// Topic Name for an answer.
        response_topic: &'a str = ResponseTopic;
        /// What ties an answer to its request.
        correlation_data: &'a [u8] = CorrelationData;
        /// The first Subscription Identifier: the only one in SUBSCRIBE.
        subscription_identifier: u32 = SubscriptionIdentifier;
        /// How long the Session outlives its Network Connection, in seconds.
        session_expiry_interval: u32 = SessionExpiryInterval;
        /// The Client Identifier that the Server chose.
        assigned_client_identifier: &'a str = AssignedClientIdentifier;
        /// The Keep Alive that the Server imposes, in seconds.
        server_keep_alive: u16 = ServerKeepAlive;
        /// Name of the extended authentication.
        authentication_method: &'a str = AuthenticationMethod;
        /// What the Authentication Method exchanges.
        authentication_data: &'a [u8] = AuthenticationData;
        /// 0 to be spared Reason Strings and User Properties.
        request_problem_information: u8 = RequestProblemInformation;
        /// How long the Will waits, in seconds.
        will_delay_interval: u32 = WillDelayInterval;
        /// 1 to ask for Response Information.
        request_response_information: u8 = RequestResponseInformation;
        /// What a Client may build Response Topics from.
        response_information: &'a str = ResponseInformation;
        /// Another Server to use.
        server_reference: &'a str = ServerReference;
        /// Why, for people to read.
        reason_string: &'a str = ReasonString;
        /// How many QoS 1 and 2 messages the sender takes at the same time.
        receive_maximum: u16 = ReceiveMaximum;
        /// The highest Topic Alias that the sender takes.
        topic_alias_maximum: u16 = TopicAliasMaximum;
        /// A number for the Topic Name.
        topic_alias: u16 = TopicAlias;
        /// The highest QoS that the Server takes.
        maximum_qos: u8 = MaximumQoS;
        /// 0 when the Server keeps no retained messages.
        retain_available: u8 = RetainAvailable;
        /// The most bytes of a packet that the sender takes.
        maximum_packet_size: u32 = MaximumPacketSize;
        /// 0 when the Server takes no wildcards.
        wildcard_subscription_available: u8 = WildcardSubscriptionAvailable;
        /// 0 when the Server takes no Subscription Identifiers.
        subscription_identifier_available: u8 = SubscriptionIdentifierAvailable;
        /// 0 when the Server takes no Shared Subscriptions.
        shared_subscription_available: u8 = SharedSubscriptionAvailable;
    }
}

impl fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Walks a block of properties in its order.
#[derive(Clone)]
pub struct PropertyIter<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = Property<'a>;

    #[inline]
    fn next(&mut self) -> Option<Property<'a>> {
        if self.cursor.is_empty() {
            return None;
        }
        let property = Property::read(&mut self.cursor).ok();
        if property.is_none() {
            self.cursor = Cursor::new(&[]);
        }
        property
    }
}

impl fmt::Debug for PropertyIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A block of properties in the making.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PropertiesBuf {
    bytes: Vec<u8>,
}

impl PropertiesBuf {
    /// An empty block.
    pub const fn new() -> PropertiesBuf {
        PropertiesBuf { bytes: Vec::new() }
    }

    /// Appends a property. Whether it may stand there, and its value, are up to the caller.
    ///
    /// A string or binary data of more than 65,535 bytes is cut there (a string at a character),
    /// and a variable byte integer is at most 268,435,455: the wire has no form for more.
    pub fn push(&mut self, property: Property<'_>) {
        property.put(&mut self.bytes);
    }

    /// The block as packets take it.
    #[inline]
    pub fn as_properties(&self) -> Properties<'_> {
        Properties { bytes: &self.bytes }
    }

    /// Bytes of the block, without its length on the wire.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no property.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all properties out and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

impl fmt::Debug for PropertiesBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_properties(), f)
    }
}

/// Bytes on the wire of a block of so many bytes, with its length before it.
#[inline]
pub(crate) const fn block_len(len: usize) -> usize {
    varint_len(len as u32) + len
}

fn check_block(bytes: &[u8], host: PropertyHost, sender: Sender) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    // One bit per identifier; the highest is 0x2A.
    let mut seen: u64 = 0;
    while !cursor.is_empty() {
        let property = Property::read(&mut cursor)?;
        let id = property.id();
        if !property.allowed_in(host) {
            return Err(Violation::PropertyNotAllowed { id, host }.into());
        }
        let bit = 1u64 << id;
        if seen & bit != 0 && !property.may_repeat_in(host) {
            return Err(Violation::PropertyRepeated { id }.into());
        }
        seen |= bit;
        property.check_value()?;
        check_sender(property, host, sender)?;
    }
    Ok(())
}

fn check_sender(
    property: Property<'_>,
    host: PropertyHost,
    sender: Sender,
) -> Result<(), Violation> {
    match (property, host, sender) {
        // v5[MQTT-3.3.4-6]
        (
            Property::SubscriptionIdentifier(_),
            PropertyHost::Packet(PacketType::Publish),
            Sender::Client,
        ) if !is_active(Mutant::AcceptSubscriptionIdFromClient) => {
            Err(Violation::SubscriptionIdFromClient)
        }
        // v5[MQTT-3.14.2-2]
        (
            Property::SessionExpiryInterval(_),
            PropertyHost::Packet(PacketType::Disconnect),
            Sender::Server,
        ) => Err(Violation::SessionExpiryFromServer),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Malformed;
    use crate::reason::ReasonCode;
    use crate::testing::hex;

    #[test]
    fn parts_are_the_properties_one_by_one() {
        let mut block = PropertiesBuf::new();
        SAMPLES
            .iter()
            .for_each(|(_, property, _)| block.push(*property));
        let block = block.as_properties();
        let ids: Vec<u8> = block.iter().map(Property::id).collect();
        let parts: Vec<(u8, &[u8])> = block.parts().collect();
        assert_eq!(parts.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        let bytes: Vec<&[u8]> = parts.iter().map(|(_, part)| *part).collect();
        assert_eq!(bytes.concat(), block.as_bytes());
        // Cut short anywhere, what is whole is still there.
        for len in 0..block.as_bytes().len() {
            let cut = Properties::from_checked(&block.as_bytes()[..len]);
            let whole: usize = cut.parts().map(|(_, part)| part.len()).sum();
            assert!(whole <= len && cut.parts().count() < ids.len(), "{len}");
        }
    }

    const PUBLISH: PropertyHost = PropertyHost::Packet(PacketType::Publish);
    const CONNECT: PropertyHost = PropertyHost::Packet(PacketType::Connect);
    const CONNACK: PropertyHost = PropertyHost::Packet(PacketType::Connack);
    const SUBSCRIBE: PropertyHost = PropertyHost::Packet(PacketType::Subscribe);
    const DISCONNECT: PropertyHost = PropertyHost::Packet(PacketType::Disconnect);

    /// Each property on the wire, its value, and the hosts of table 2-4 of the standard.
    const SAMPLES: &[(&str, Property<'static>, &str)] = &[
        ("0101", Property::PayloadFormatIndicator(1), "PUBLISH Will"),
        (
            "02 0000003c",
            Property::MessageExpiryInterval(60),
            "PUBLISH Will",
        ),
        ("03 0001 74", Property::ContentType("t"), "PUBLISH Will"),
        (
            "08 0003 612f62",
            Property::ResponseTopic("a/b"),
            "PUBLISH Will",
        ),
        (
            "09 0002 00ff",
            Property::CorrelationData(&[0, 255]),
            "PUBLISH Will",
        ),
        (
            "0b ffffff7f",
            Property::SubscriptionIdentifier(268_435_455),
            "PUBLISH SUBSCRIBE",
        ),
        (
            "11 ffffffff",
            Property::SessionExpiryInterval(u32::MAX),
            "CONNECT CONNACK DISCONNECT",
        ),
        (
            "12 0001 69",
            Property::AssignedClientIdentifier("i"),
            "CONNACK",
        ),
        ("13 ffff", Property::ServerKeepAlive(65_535), "CONNACK"),
        (
            "15 0001 6d",
            Property::AuthenticationMethod("m"),
            "CONNECT CONNACK AUTH",
        ),
        (
            "16 0001 00",
            Property::AuthenticationData(&[0]),
            "CONNECT CONNACK AUTH",
        ),
        ("1700", Property::RequestProblemInformation(0), "CONNECT"),
        ("18 00000000", Property::WillDelayInterval(0), "Will"),
        ("1901", Property::RequestResponseInformation(1), "CONNECT"),
        ("1a 0001 72", Property::ResponseInformation("r"), "CONNACK"),
        (
            "1c 0001 73",
            Property::ServerReference("s"),
            "CONNACK DISCONNECT",
        ),
        (
            "1f 0001 77",
            Property::ReasonString("w"),
            "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH",
        ),
        ("21 0001", Property::ReceiveMaximum(1), "CONNECT CONNACK"),
        ("22 0000", Property::TopicAliasMaximum(0), "CONNECT CONNACK"),
        ("23 0001", Property::TopicAlias(1), "PUBLISH"),
        ("2401", Property::MaximumQoS(1), "CONNACK"),
        ("2500", Property::RetainAvailable(0), "CONNACK"),
        (
            "26 0001 6b 0000",
            Property::UserProperty("k", ""),
            "CONNECT CONNACK PUBLISH Will PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK \
                 UNSUBSCRIBE UNSUBACK DISCONNECT AUTH",
        ),
        (
            "27 00000001",
            Property::MaximumPacketSize(1),
            "CONNECT CONNACK",
        ),
        (
            "2801",
            Property::WildcardSubscriptionAvailable(1),
            "CONNACK",
        ),
        (
            "2900",
            Property::SubscriptionIdentifierAvailable(0),
            "CONNACK",
        ),
        ("2a01", Property::SharedSubscriptionAvailable(1), "CONNACK"),
    ];

    fn hosts() -> Vec<(&'static str, PropertyHost)> {
        let packets = (1..=15).filter_map(PacketType::from_u8);
        let mut hosts: Vec<_> = packets
            .map(|packet_type| (packet_type.name(), PropertyHost::Packet(packet_type)))
            .collect();
        hosts.push(("Will", PropertyHost::Will));
        hosts
    }

    fn first_host(allowed: &str) -> PropertyHost {
        let first = allowed.split_whitespace().next().unwrap();
        let found = hosts().into_iter().find(|(name, _)| *name == first);
        found.unwrap().1
    }

    fn read(block: &[u8], host: PropertyHost, sender: Sender) -> Result<usize, DecodeError> {
        let mut bytes = Vec::new();
        Properties::from_checked(block).put(&mut bytes);
        assert_eq!(bytes.len(), Properties::from_checked(block).encoded_len());
        let mut cursor = Cursor::new(&bytes);
        let properties = Properties::read(&mut cursor, ProtocolVersion::V5, host, sender)?;
        assert!(cursor.is_empty());
        assert_eq!(properties.as_bytes(), block);
        Ok(properties.iter().count())
    }

    #[test]
    fn each_property_both_ways() {
        for &(bytes, property, _) in SAMPLES {
            let mut block = PropertiesBuf::new();
            block.push(property);
            assert_eq!(block.as_properties().as_bytes(), hex(bytes), "{property:?}");
            let read: Vec<_> = block.as_properties().into_iter().collect();
            assert_eq!(read, [property]);
        }
    }

    #[test]
    fn each_property_in_each_packet() {
        for &(bytes, property, allowed) in SAMPLES {
            let id = property.id();
            for (name, host) in hosts() {
                let expected = if allowed.split_whitespace().any(|allowed| allowed == name) {
                    Ok(1)
                } else {
                    Err(DecodeError::Violation(Violation::PropertyNotAllowed {
                        id,
                        host,
                    }))
                };
                // Two properties depend on who sends them.
                let sender = if host == DISCONNECT {
                    Sender::Client
                } else {
                    Sender::Server
                };
                assert_eq!(
                    read(&hex(bytes), host, sender),
                    expected,
                    "{property:?} in {name}"
                );
            }
        }
    }

    #[test]
    fn each_property_twice() {
        for &(bytes, property, allowed) in SAMPLES {
            let host = first_host(allowed);
            let twice = [hex(bytes), hex(bytes)].concat();
            let id = property.id();
            let repeats = matches!(
                property,
                Property::UserProperty(..) | Property::SubscriptionIdentifier(_)
            );
            let expected = if repeats {
                Ok(2)
            } else {
                Err(DecodeError::Violation(Violation::PropertyRepeated { id }))
            };
            let host = if id == 0x0B { PUBLISH } else { host };
            let sender = if host == PUBLISH {
                Sender::Server
            } else {
                Sender::Client
            };
            assert_eq!(read(&twice, host, sender), expected, "{property:?}");
        }
        let repeated = Violation::PropertyRepeated { id: 0x0B };
        check_violation("0b01 0b02", SUBSCRIBE, repeated, ReasonCode::ProtocolError);
    }

    #[test]
    fn each_property_cut_short() {
        for &(bytes, property, allowed) in SAMPLES {
            let host = first_host(allowed);
            let bytes = hex(bytes);
            for len in 1..bytes.len() {
                let result = read(&bytes[..len], host, Sender::Server);
                assert_eq!(
                    result,
                    Err(Malformed::Truncated.into()),
                    "{property:?} {len}"
                );
            }
        }
    }

    fn check_violation(block: &str, host: PropertyHost, expected: Violation, reason: ReasonCode) {
        let result = read(&hex(block), host, Sender::Client);
        assert_eq!(result, Err(expected.into()), "{block}");
        assert_eq!(expected.reason_code(), reason);
    }

    #[test]
    fn values_out_of_range() {
        let reason = ReasonCode::ProtocolError;
        for (block, host) in [
            ("0102", PUBLISH),
            ("1702", CONNECT),
            ("1902", CONNECT),
            ("21 0000", CONNECT),
            ("27 00000000", CONNECT),
            ("2402", CONNACK),
            ("2502", CONNACK),
            ("2802", CONNACK),
            ("2902", CONNACK),
            ("2aff", CONNACK),
            ("0b00", SUBSCRIBE),
        ] {
            let id = hex(block)[0];
            check_violation(block, host, Violation::PropertyValue { id }, reason);
        }
        for response_topic in ["08 0000", "08 0001 2b", "08 0003 612f23"] {
            check_violation(response_topic, PUBLISH, Violation::ResponseTopic, reason);
        }
        let zero = Violation::TopicAliasZero;
        check_violation("23 0000", PUBLISH, zero, ReasonCode::TopicAliasInvalid);
        check_violation("0b01", PUBLISH, Violation::SubscriptionIdFromClient, reason);
    }

    #[test]
    fn bytes_that_are_no_property() {
        for (block, malformed) in [
            ("00", Malformed::UnknownProperty { id: 0 }),
            ("04", Malformed::UnknownProperty { id: 4 }),
            ("2b", Malformed::UnknownProperty { id: 0x2B }),
            ("a601", Malformed::UnknownProperty { id: 0xA6 }),
            ("a600", Malformed::VarintNotMinimal),
            ("0b8100", Malformed::VarintNotMinimal),
            ("0bffffffff01", Malformed::VarintTooLong),
            ("03 0001 00", Malformed::NullCharacter),
            ("03 0001 ff", Malformed::NotUtf8),
            ("26 0001 61 0001 00", Malformed::NullCharacter),
            ("26 0001 ff 0001 61", Malformed::NotUtf8),
        ] {
            let result = read(&hex(block), PUBLISH, Sender::Server);
            assert_eq!(result, Err(malformed.into()), "{block}");
        }
    }

    #[test]
    fn a_session_expiry_is_not_for_a_servers_disconnect() {
        let result = read(&hex("11 00000000"), DISCONNECT, Sender::Server);
        assert_eq!(result, Err(Violation::SessionExpiryFromServer.into()));
    }

    #[test]
    fn getters() {
        let mut buf = PropertiesBuf::new();
        assert!(buf.is_empty() && buf.as_properties().reason_string().is_none());
        for &(_, property, _) in SAMPLES {
            buf.push(property);
        }
        buf.push(Property::UserProperty("k2", "v2"));
        buf.push(Property::SubscriptionIdentifier(7));
        let all = buf.as_properties();
        assert_eq!(all.message_expiry_interval(), Some(60));
        assert_eq!(all.response_topic(), Some("a/b"));
        assert_eq!(all.correlation_data(), Some(&[0, 255][..]));
        assert_eq!(all.shared_subscription_available(), Some(1));
        assert_eq!(all.topic_alias(), Some(1));
        assert!(all.user_properties().eq([("k", ""), ("k2", "v2")]));
        assert!(all.subscription_identifiers().eq([268_435_455, 7]));
        assert_eq!(all.iter().count(), SAMPLES.len() + 2);
        buf.clear();
        assert_eq!((buf.len(), buf.as_properties().encoded_len()), (0, 1));
    }

    #[test]
    fn bytes_that_were_never_checked_end_the_walk() {
        let properties = Properties::from_checked(&[0x01, 0x01, 0x7F, 0x01, 0x01]);
        let read: Vec<_> = properties.iter().collect();
        assert_eq!(read, [Property::PayloadFormatIndicator(1)]);
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut buf = PropertiesBuf::new();
        buf.push(Property::AuthenticationData(b"secret"));
        buf.push(Property::ServerKeepAlive(9));
        let expected = "[AuthenticationData(6 bytes), ServerKeepAlive(9)]";
        assert_eq!(format!("{buf:?}"), expected);
    }

    #[test]
    fn what_the_wire_has_no_form_for_is_cut() {
        let long = "ö".repeat(40_000);
        let mut buf = PropertiesBuf::new();
        buf.push(Property::ReasonString(&long));
        buf.push(Property::CorrelationData(&[7; 70_000]));
        let cut = buf.as_properties();
        assert_eq!(cut.reason_string().map(str::len), Some(65_534));
        assert_eq!(cut.correlation_data().map(<[u8]>::len), Some(65_535));
    }
}
