//! SUBSCRIBE: a Client asks for messages.
//!
//! The form of every pair is checked when the packet is decoded. Whether a text is a valid Topic
//! Filter is not: that is answered per filter, in SUBACK.

use std::fmt;

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::{EncodeError, put_clipped_string};
use crate::error::{DecodeError, Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::qos::QoS;
use crate::topic::SharedFilter;
use crate::version::ProtocolVersion;

/// A request for one or more Subscriptions.
#[derive(Clone, Copy)]
pub struct Subscribe<'a> {
    /// Ties the SUBACK to it.
    pub packet_id: PacketId,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
    /// Pairs of Topic Filter and Subscription Options, as they stand on the wire.
    body: &'a [u8],
    /// The bits of Subscription Options that mean something in the version of the packet.
    option_bits: u8,
}

impl<'a> Subscribe<'a> {
    /// A packet over the pairs that a [`SubscribeBody`] holds.
    pub const fn from_body(
        packet_id: PacketId,
        properties: Properties<'a>,
        body: &'a [u8],
    ) -> Subscribe<'a> {
        Subscribe {
            packet_id,
            properties,
            body,
            option_bits: OPTION_BITS_V5,
        }
    }

    /// The pairs in their order. The texts are UTF-8 without U+0000, and not checked further.
    pub const fn filters(self) -> SubscribeFilters<'a> {
        SubscribeFilters {
            cursor: Cursor::new(self.body),
            option_bits: self.option_bits,
        }
    }

    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Subscribe<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let packet_id = cursor.packet_id()?;
        let host = PropertyHost::Packet(PacketType::Subscribe);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        let body = cursor.rest();
        // v5[MQTT-3.8.3-2] v311[MQTT-3.8.3-3]
        if body.is_empty() && !is_active(Mutant::AcceptEmptySubscribe) {
            return Err(no_filters(PacketType::Subscribe, rules.version));
        }
        while !cursor.is_empty() {
            // v5[MQTT-3.8.3-1] v311[MQTT-3.8.3-1]
            let filter = cursor.string()?;
            let options = read_options(cursor.u8()?, rules.version)?;
            // v5[MQTT-3.8.3-4]
            if options.no_local
                && SharedFilter::is_shared(filter)
                && !is_active(Mutant::AcceptNoLocalOnShared)
            {
                return Err(Violation::NoLocalOnShared.into());
            }
        }
        let option_bits = option_bits(rules.version);
        Ok(Subscribe {
            packet_id,
            properties,
            body,
            option_bits,
        })
    }

    pub(crate) fn put_body(
        &self,
        version: ProtocolVersion,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.body.is_empty() {
            return Err(EncodeError::NoFilters);
        }
        out.extend_from_slice(&self.packet_id.get().to_be_bytes());
        if version.is_v5() {
            self.properties.put(out);
        }
        for (filter, options) in self.filters() {
            put_clipped_string(filter, out);
            out.push(options.to_byte() & option_bits(version));
        }
        Ok(())
    }
}

impl PartialEq for Subscribe<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.packet_id == other.packet_id
            && self.properties == other.properties
            && self.filters().eq(other.filters())
    }
}

impl Eq for Subscribe<'_> {}

impl fmt::Debug for Subscribe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("filters", &self.filters().collect::<Vec<_>>())
            .finish()
    }
}

/// Walks the pairs of a SUBSCRIBE.
#[derive(Clone)]
pub struct SubscribeFilters<'a> {
    cursor: Cursor<'a>,
    option_bits: u8,
}

impl<'a> Iterator for SubscribeFilters<'a> {
    type Item = (&'a str, SubscriptionOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.cursor.string().ok()?;
        let byte = self.cursor.u8().ok()?;
        Some((
            filter,
            SubscriptionOptions::from_byte(byte & self.option_bits)?,
        ))
    }
}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The pairs of a SUBSCRIBE in the making.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SubscribeBody {
    bytes: Vec<u8>,
}

impl SubscribeBody {
    /// No pair yet.
    pub const fn new() -> SubscribeBody {
        SubscribeBody { bytes: Vec::new() }
    }

    /// Appends a pair. The filter should be valid, so at most 65,535 bytes: what is longer is cut
    /// at a character.
    pub fn push(&mut self, filter: &str, options: SubscriptionOptions) {
        put_clipped_string(filter, &mut self.bytes);
        self.bytes.push(options.to_byte());
    }

    /// What [`Subscribe::from_body`] takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// How a Subscription wants its messages. 3.x knows the QoS only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscriptionOptions {
    /// The most that messages are delivered at.
    pub qos: QoS,
    /// Spare the publisher its own messages.
    pub no_local: bool,
    /// Forward RETAIN as it was published.
    pub retain_as_published: bool,
    /// When retained messages are sent.
    pub retain_handling: RetainHandling,
}

impl SubscriptionOptions {
    /// The options that 3.x means by this QoS.
    pub const fn at_qos(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }

    /// The options that a byte of 5.0 stands for; `None` when bits 6 or 7 are set, or QoS or
    /// Retain Handling are 3.
    pub const fn from_byte(byte: u8) -> Option<SubscriptionOptions> {
        if byte & !OPTION_BITS_V5 != 0 {
            return None;
        }
        let (Some(qos), Some(retain_handling)) = (
            QoS::from_bits(byte & 0x03),
            RetainHandling::from_bits(byte >> 4),
        ) else {
            return None;
        };
        Some(SubscriptionOptions {
            qos,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling,
        })
    }

    /// The byte of 5.0.
    pub const fn to_byte(self) -> u8 {
        let no_local = if self.no_local { 0x04 } else { 0 };
        let retain_as_published = if self.retain_as_published { 0x08 } else { 0 };
        self.qos.bits() | no_local | retain_as_published | ((self.retain_handling as u8) << 4)
    }
}

/// When a Subscription is sent the retained messages that match it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    SendAtSubscribe = 0,
    /// At a SUBSCRIBE that makes a new Subscription.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl RetainHandling {
    /// The choice of a number; `None` for 3 and above.
    pub const fn from_bits(bits: u8) -> Option<RetainHandling> {
        match bits {
            0 => Some(RetainHandling::SendAtSubscribe),
            1 => Some(RetainHandling::SendIfNew),
            2 => Some(RetainHandling::DoNotSend),
            _ => None,
        }
    }
}

/// All but the reserved bits 6 and 7.
const OPTION_BITS_V5: u8 = 0x3F;

/// The QoS alone.
const OPTION_BITS_V3: u8 = 0x03;

const fn option_bits(version: ProtocolVersion) -> u8 {
    if version.is_v5() {
        OPTION_BITS_V5
    } else {
        OPTION_BITS_V3
    }
}

// v5[MQTT-3.8.3-5] v311[MQTT-3.8.3-4]
fn read_options(byte: u8, version: ProtocolVersion) -> Result<SubscriptionOptions, DecodeError> {
    let meant = option_bits(version);
    let reserved = match version {
        // 3.1 has no rule about them.
        ProtocolVersion::V31 => 0,
        ProtocolVersion::V311 | ProtocolVersion::V5 => !meant,
    };
    if byte & reserved != 0 && !is_active(Mutant::AcceptReservedSubscriptionBits) {
        return Err(Malformed::SubscriptionOptions { byte }.into());
    }
    SubscriptionOptions::from_byte(byte & meant).ok_or_else(|| {
        // 5.0 calls a QoS or a Retain Handling of 3 a Protocol Error, 3.1.1 malformed.
        if version.is_v5() {
            Violation::SubscriptionOptions { byte }.into()
        } else {
            Malformed::SubscriptionOptions { byte }.into()
        }
    })
}

/// A request without a Topic Filter is a Protocol Error in 5.0, and malformed before.
pub(crate) fn no_filters(packet_type: PacketType, version: ProtocolVersion) -> DecodeError {
    if version.is_v5() {
        Violation::NoFilters { packet_type }.into()
    } else {
        Malformed::NoFilters.into()
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

    fn body(pairs: &[(&str, SubscriptionOptions)]) -> SubscribeBody {
        let mut body = SubscribeBody::new();
        for (filter, options) in pairs {
            body.push(filter, *options);
        }
        body
    }

    fn subscribe(body: &SubscribeBody) -> Packet<'_> {
        let packet = Subscribe::from_body(id(10), Properties::EMPTY, body.as_bytes());
        Packet::Subscribe(packet)
    }

    const QOS0: SubscriptionOptions = SubscriptionOptions::at_qos(QoS::AtMostOnce);
    const QOS1: SubscriptionOptions = SubscriptionOptions::at_qos(QoS::AtLeastOnce);

    #[test]
    fn forms() {
        let two = body(&[("a/b", QOS1), ("#", QOS0)]);
        for version in [V31, V311] {
            let bytes = "82 0c 000a 0003 612f62 01 0001 23 00";
            check(version, Client, bytes, &subscribe(&two));
        }
        check(
            V5,
            Client,
            "82 0d 000a 00 0003 612f62 01 0001 23 00",
            &subscribe(&two),
        );

        let all_options = body(&[(
            "a/b",
            SubscriptionOptions {
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
                ..QOS1
            },
        )]);
        let mut properties = PropertiesBuf::new();
        properties.push(Property::SubscriptionIdentifier(5));
        let packet =
            Subscribe::from_body(id(10), properties.as_properties(), all_options.as_bytes());
        let bytes = "82 0b 000a 02 0b05 0003 612f62 2d";
        check(V5, Client, bytes, &Packet::Subscribe(packet));
    }

    #[test]
    fn invalid_filters_are_for_suback_to_answer() {
        for filter in ["", "a#", "$share/", "$share//x"] {
            let pairs = body(&[(filter, QOS0)]);
            let mut out = Vec::new();
            encode(&subscribe(&pairs), V5, NO_MAXIMUM, &mut out).unwrap();
            let text: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
            check_decodes(V5, Client, &text, &subscribe(&pairs));
        }
    }

    #[test]
    fn what_3_1_does_not_mind() {
        let one = body(&[("a/b", QOS1)]);
        check_decodes(V31, Client, "82 08 000a 0003 612f62 fd", &subscribe(&one));
        check_decodes(V31, Client, "8a 08 000a 0003 612f62 01", &subscribe(&one));
    }

    #[test]
    fn option_bytes() {
        for byte in 0..=u8::MAX {
            let valid = byte & 0xC0 == 0 && byte & 0x30 != 0x30 && byte & 0x03 != 0x03;
            let options = SubscriptionOptions::from_byte(byte);
            assert_eq!(options.is_some(), valid, "{byte:02x}");
            assert_eq!(options.map_or(byte, SubscriptionOptions::to_byte), byte);
        }
    }

    #[test]
    fn malformed() {
        let reason = ReasonCode::MalformedPacket;
        for version in [V31, V311, V5] {
            for (bytes, flags) in [("80 00", 0), ("81 00", 1), ("83 00", 3), ("8e 00", 14)] {
                let packet_type = PacketType::Subscribe;
                let error = Malformed::FixedHeaderFlags { packet_type, flags };
                check_error(version, Client, bytes, error, reason);
            }
        }
        for version in [V31, V311] {
            let bytes = "82 02 000a";
            check_error(version, Client, bytes, Malformed::NoFilters, reason);
            let bytes = "82 07 000a 0003 612f62";
            check_error(version, Client, bytes, Malformed::Truncated, reason);
            let error = Malformed::SubscriptionOptions { byte: 3 };
            check_error(version, Client, "82 08 000a 0003 612f62 03", error, reason);
            let bytes = "82 08 000a 0003 610062 00";
            check_error(version, Client, bytes, Malformed::NullCharacter, reason);
        }
        let error = Malformed::SubscriptionOptions { byte: 0x04 };
        check_error(V311, Client, "82 08 000a 0003 612f62 04", error, reason);
        let error = Malformed::SubscriptionOptions { byte: 0x40 };
        check_error(V5, Client, "82 09 000a 00 0003 612f62 40", error, reason);
        let error = Malformed::SubscriptionOptions { byte: 0x81 };
        check_error(V5, Client, "82 09 000a 00 0003 612f62 81", error, reason);
        check_error(
            V5,
            Client,
            "82 08 000a 00 0003 ff2f62",
            Malformed::NotUtf8,
            reason,
        );
    }

    #[test]
    fn violations() {
        let reason = ReasonCode::ProtocolError;
        let none = Violation::NoFilters {
            packet_type: PacketType::Subscribe,
        };
        check_error(V5, Client, "82 03 000a 00", none, reason);
        for (bytes, byte) in [
            ("82 09 000a 00 0003 612f62 03", 0x03),
            ("82 09 000a 00 0003 612f62 30", 0x30),
        ] {
            let error = Violation::SubscriptionOptions { byte };
            check_error(V5, Client, bytes, error, reason);
        }
        let bytes = "82 10 000a 00 000a 2473686172652f672f61 04";
        check_error(V5, Client, bytes, Violation::NoLocalOnShared, reason);
        let bytes = "82 09 0000 00 0003 612f62 00";
        check_error(V5, Client, bytes, Violation::PacketIdZero, reason);
        let repeated = Violation::PropertyRepeated { id: 0x0B };
        let bytes = "82 0d 000a 04 0b01 0b02 0003 612f62 00";
        check_error(V5, Client, bytes, repeated, reason);
        let direction = Violation::WrongDirection {
            packet_type: PacketType::Subscribe,
        };
        check_error(
            V5,
            Server,
            "82 09 000a 00 0003 612f62 00",
            direction,
            reason,
        );
    }

    #[test]
    fn nothing_to_subscribe_to_is_not_written() {
        let mut out = vec![1];
        let empty = SubscribeBody::new();
        let result = encode(&subscribe(&empty), V5, NO_MAXIMUM, &mut out);
        assert_eq!((result, out), (Err(EncodeError::NoFilters), vec![1]));
    }
}
