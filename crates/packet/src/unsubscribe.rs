//! UNSUBSCRIBE: a Client asks for messages no longer.

use std::fmt;

use crate::cursor::Cursor;
use crate::decode::Rules;
use crate::encode::{EncodeError, put_clipped_string};
use crate::error::DecodeError;
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::packet_id::PacketId;
use crate::properties::Properties;
use crate::property::PropertyHost;
use crate::subscribe::no_filters;
use crate::version::ProtocolVersion;

/// A request to end one or more Subscriptions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Ties the UNSUBACK to it.
    pub packet_id: PacketId,
    /// Empty in 3.x.
    pub properties: Properties<'a>,
    /// Topic Filters as they stand on the wire.
    body: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// A packet over the filters that an [`UnsubscribeBody`] holds.
    pub const fn from_body(
        packet_id: PacketId,
        properties: Properties<'a>,
        body: &'a [u8],
    ) -> Unsubscribe<'a> {
        Unsubscribe {
            packet_id,
            properties,
            body,
        }
    }

    /// The Topic Filters in their order. They are UTF-8 without U+0000, and not checked further.
    pub const fn filters(self) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters {
            cursor: Cursor::new(self.body),
        }
    }

    pub(crate) fn decode(body: &'a [u8], rules: &Rules) -> Result<Unsubscribe<'a>, DecodeError> {
        let mut cursor = Cursor::new(body);
        let packet_id = cursor.packet_id()?;
        let host = PropertyHost::Packet(PacketType::Unsubscribe);
        let properties = Properties::read(&mut cursor, rules.version, host, rules.sender)?;
        let body = cursor.rest();
        // v5[MQTT-3.10.3-2] v311[MQTT-3.10.3-2]
        if body.is_empty() && !is_active(Mutant::AcceptEmptyUnsubscribe) {
            return Err(no_filters(PacketType::Unsubscribe, rules.version));
        }
        while !cursor.is_empty() {
            // v5[MQTT-3.10.3-1] v311[MQTT-3.10.3-1]
            cursor.string()?;
        }
        Ok(Unsubscribe {
            packet_id,
            properties,
            body,
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
        out.extend_from_slice(self.body);
        Ok(())
    }
}

impl fmt::Debug for Unsubscribe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsubscribe")
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .field("filters", &self.filters().collect::<Vec<_>>())
            .finish()
    }
}

/// Walks the Topic Filters of an UNSUBSCRIBE.
#[derive(Clone)]
pub struct UnsubscribeFilters<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.cursor.string().ok()
    }
}

impl fmt::Debug for UnsubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// The Topic Filters of an UNSUBSCRIBE in the making.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct UnsubscribeBody {
    bytes: Vec<u8>,
}

impl UnsubscribeBody {
    /// No filter yet.
    pub const fn new() -> UnsubscribeBody {
        UnsubscribeBody { bytes: Vec::new() }
    }

    /// Appends a filter, which should be valid, so at most 65,535 bytes: what is longer is cut at
    /// a character.
    pub fn push(&mut self, filter: &str) {
        put_clipped_string(filter, &mut self.bytes);
    }

    /// What [`Unsubscribe::from_body`] takes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Sender::Client;
    use crate::encode::encode;
    use crate::error::{Malformed, Violation};
    use crate::packet::Packet;
    use crate::reason::ReasonCode;
    use crate::testing::{NO_MAXIMUM, V5, V31, V311, check, check_decodes, check_error, id};

    fn unsubscribe(body: &UnsubscribeBody) -> Packet<'_> {
        let packet = Unsubscribe::from_body(id(10), Properties::EMPTY, body.as_bytes());
        Packet::Unsubscribe(packet)
    }

    fn two() -> UnsubscribeBody {
        let mut body = UnsubscribeBody::new();
        body.push("a/b");
        body.push("#");
        body
    }

    #[test]
    fn forms() {
        let body = two();
        for version in [V31, V311] {
            check(
                version,
                Client,
                "a2 0a 000a 0003 612f62 0001 23",
                &unsubscribe(&body),
            );
        }
        check(
            V5,
            Client,
            "a2 0b 000a 00 0003 612f62 0001 23",
            &unsubscribe(&body),
        );
        check_decodes(
            V31,
            Client,
            "aa 0a 000a 0003 612f62 0001 23",
            &unsubscribe(&body),
        );
    }

    #[test]
    fn errors() {
        let malformed = ReasonCode::MalformedPacket;
        for version in [V31, V311] {
            check_error(
                version,
                Client,
                "a2 02 000a",
                Malformed::NoFilters,
                malformed,
            );
            let bytes = "a2 06 000a 0003 612f";
            check_error(version, Client, bytes, Malformed::Truncated, malformed);
        }
        for version in [V31, V311, V5] {
            let flags = Malformed::FixedHeaderFlags {
                packet_type: PacketType::Unsubscribe,
                flags: 0,
            };
            check_error(version, Client, "a0 00", flags, malformed);
        }
        check_error(
            V5,
            Client,
            "a2 06 000a 00 0001 00",
            Malformed::NullCharacter,
            malformed,
        );
        let none = Violation::NoFilters {
            packet_type: PacketType::Unsubscribe,
        };
        check_error(V5, Client, "a2 03 000a 00", none, ReasonCode::ProtocolError);
        let zero = Violation::PacketIdZero;
        check_error(
            V5,
            Client,
            "a2 06 0000 00 0001 61",
            zero,
            ReasonCode::ProtocolError,
        );
    }

    #[test]
    fn nothing_to_unsubscribe_from_is_not_written() {
        let mut out = Vec::new();
        let empty = UnsubscribeBody::new();
        let result = encode(&unsubscribe(&empty), V5, NO_MAXIMUM, &mut out);
        assert_eq!(result, Err(EncodeError::NoFilters));
    }
}
