//! Properties of 5.0: one table of identifier, value, and the packets that each may stand in.
//!
//! Reading, writing and the question of what is allowed where are derived from the table. Which
//! values are in range is the only other rule, in [`Property::check_value`]. Blocks of properties
//! are in `properties.rs`.

use std::fmt;

use crate::cursor::Cursor;
use crate::encode::{put_clipped_binary, put_clipped_string};
use crate::error::{Malformed, Violation};
use crate::mutant::{Mutant, is_active};
use crate::packet::PacketType;
use crate::publish_wire::put_varint;
use crate::topic::{TopicError, TopicName};

/// What a block of properties belongs to: a packet, or the Will within CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PropertyHost {
    /// A packet of this kind.
    Packet(PacketType),
    /// The Will within CONNECT.
    Will,
}

impl PropertyHost {
    /// One bit per host, so that a set of hosts is a number.
    const fn bit(self) -> u32 {
        match self {
            PropertyHost::Packet(packet_type) => 1 << (packet_type as u32),
            PropertyHost::Will => 1,
        }
    }
}

impl fmt::Display for PropertyHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyHost::Packet(packet_type) => fmt::Display::fmt(packet_type, f),
            PropertyHost::Will => f.write_str("a Will"),
        }
    }
}

/// How a value is read, by the kind that the table gives.
macro_rules! read_property {
    (byte, $cursor:ident, $name:ident) => {
        Property::$name($cursor.u8()?)
    };
    (u16, $cursor:ident, $name:ident) => {
        Property::$name($cursor.u16()?)
    };
    (u32, $cursor:ident, $name:ident) => {
        Property::$name($cursor.u32()?)
    };
    (varint, $cursor:ident, $name:ident) => {
        Property::$name($cursor.varint()?)
    };
    (string, $cursor:ident, $name:ident) => {
        Property::$name($cursor.string()?)
    };
    (binary, $cursor:ident, $name:ident) => {
        Property::$name($cursor.binary()?)
    };
    // v5[MQTT-1.5.7-1]
    (pair, $cursor:ident, $name:ident) => {
        Property::$name($cursor.string()?, $cursor.string()?)
    };
}

/// How a value is passed over, by the kind that the table gives.
macro_rules! skip_property {
    (byte, $cursor:ident) => {
        $cursor.take(1)?
    };
    (u16, $cursor:ident) => {
        $cursor.take(2)?
    };
    (u32, $cursor:ident) => {
        $cursor.take(4)?
    };
    (varint, $cursor:ident) => {{
        $cursor.varint()?;
        &[]
    }};
    (string, $cursor:ident) => {
        $cursor.binary()?
    };
    (binary, $cursor:ident) => {
        $cursor.binary()?
    };
    (pair, $cursor:ident) => {{
        $cursor.binary()?;
        $cursor.binary()?
    }};
}

/// How a value is written, by the kind that the table gives.
macro_rules! put_property {
    (byte, $out:ident, $value:ident) => {
        $out.push($value)
    };
    (u16, $out:ident, $value:ident) => {
        $out.extend_from_slice(&$value.to_be_bytes())
    };
    (u32, $out:ident, $value:ident) => {
        $out.extend_from_slice(&$value.to_be_bytes())
    };
    (varint, $out:ident, $value:ident) => {
        put_varint($value, $out)
    };
    (string, $out:ident, $value:ident) => {
        put_clipped_string($value, $out)
    };
    (binary, $out:ident, $value:ident) => {
        put_clipped_binary($value, $out)
    };
    (pair, $out:ident, $name:ident, $value:ident) => {{
        put_clipped_string($name, $out);
        put_clipped_string($value, $out);
    }};
}

/// How a value is shown: binary data may be a secret, so only its length is.
macro_rules! debug_property {
    (binary, $f:ident, $name:expr, $value:ident) => {
        $f.debug_tuple($name).field(&format_args!("{} bytes", $value.len())).finish()
    };
    ($kind:ident, $f:ident, $name:expr, $($value:ident),+) => {
        $f.debug_tuple($name)$(.field($value))+.finish()
    };
}

macro_rules! host {
    (Will) => {
        PropertyHost::Will
    };
    ($packet:ident) => {
        PropertyHost::Packet(PacketType::$packet)
    };
}

/// Whether a property may stand again in the same block.
macro_rules! repeats {
    (once, $host:ident) => {
        false
    };
    (many, $host:ident) => {
        true
    };
    (many_in_publish, $host:ident) => {
        $host == PropertyHost::Packet(PacketType::Publish)
    };
}

macro_rules! properties {
    (
        $(#[$enum_meta:meta])*
        pub enum Property<$life:lifetime> {
            $(
                $(#[$meta:meta])*
                $id:literal $name:ident($($value:ident: $type:ty),+) $kind:ident $times:ident
                    in [$($host:ident)+],
            )+
        }
    ) => {
        $(#[$enum_meta])*
        pub enum Property<$life> {
            $($(#[$meta])* $name($($type),+),)+
        }

        impl<$life> Property<$life> {
            /// The identifier that stands before the value on the wire.
            pub const fn id(self) -> u8 {
                match self {
                    $(Property::$name(..) => $id,)+
                }
            }

            /// Whether it may stand in a block of this host.
            pub const fn allowed_in(self, host: PropertyHost) -> bool {
                let hosts = match self {
                    $(Property::$name(..) => $(host!($host).bit())|+,)+
                };
                hosts & host.bit() != 0
            }

            /// Whether it may stand more than once in a block of this host.
            pub(crate) fn may_repeat_in(self, host: PropertyHost) -> bool {
                match self {
                    $(Property::$name(..) => repeats!($times, host),)+
                }
            }

            /// Takes one property from the front of a block.
            pub(crate) fn read(cursor: &mut Cursor<$life>) -> Result<Self, Malformed> {
                let id = cursor.varint()?;
                Ok(match id {
                    $($id => read_property!($kind, cursor, $name),)+
                    _ => return Err(Malformed::UnknownProperty { id }),
                })
            }

            /// Passes over one property at the front of a block; returns its identifier. Text is not looked at.
            pub(crate) fn skip(cursor: &mut Cursor<'_>) -> Result<u8, Malformed> {
                let id = cursor.varint()?;
                let _value: &[u8] = match id {
                    $($id => skip_property!($kind, cursor),)+
                    _ => return Err(Malformed::UnknownProperty { id }),
                };
                Ok(id as u8)
            }

            /// Appends identifier and value as they stand on the wire; what is too long for it as in
            /// [`PropertiesBuf::push`](crate::PropertiesBuf::push).
            pub fn put(self, out: &mut Vec<u8>) {
                out.push(self.id());
                match self {
                    $(Property::$name($($value),+) => put_property!($kind, out, $($value),+),)+
                }
            }
        }

        /// The identifiers by name.
        #[expect(non_upper_case_globals, reason = "named as the properties are")]
        pub mod id {
            $($(#[$meta])* pub const $name: u8 = $id;)+
        }

        impl fmt::Debug for Property<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(
                        Property::$name($($value),+) => {
                            debug_property!($kind, f, stringify!($name), $($value),+)
                        }
                    )+
                }
            }
        }
    };
}

properties! {
    /// One property: what it is and its value.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Property<'a> {
        /// 1 when the payload is UTF-8, 0 when it is bytes.
        0x01 PayloadFormatIndicator(value: u8) byte once in [Publish Will],
        /// Lifetime of the Application Message in seconds.
        0x02 MessageExpiryInterval(value: u32) u32 once in [Publish Will],
        /// What the payload is, in words that only the Clients understand.
        0x03 ContentType(value: &'a str) string once in [Publish Will],
        /// Topic Name for an answer.
        0x08 ResponseTopic(value: &'a str) string once in [Publish Will],
        /// What ties an answer to its request.
        0x09 CorrelationData(value: &'a [u8]) binary once in [Publish Will],
        /// The Client's number for a Subscription, 1 to 268,435,455.
        0x0B SubscriptionIdentifier(value: u32) varint many_in_publish in [Publish Subscribe],
        /// How long the Session outlives its Network Connection, in seconds.
        0x11 SessionExpiryInterval(value: u32) u32 once in [Connect Connack Disconnect],
        /// The Client Identifier that the Server chose.
        0x12 AssignedClientIdentifier(value: &'a str) string once in [Connack],
        /// The Keep Alive that the Server imposes, in seconds.
        0x13 ServerKeepAlive(value: u16) u16 once in [Connack],
        /// Name of the extended authentication.
        0x15 AuthenticationMethod(value: &'a str) string once in [Connect Connack Auth],
        /// What the Authentication Method exchanges.
        0x16 AuthenticationData(value: &'a [u8]) binary once in [Connect Connack Auth],
        /// 0 to be spared Reason Strings and User Properties.
        0x17 RequestProblemInformation(value: u8) byte once in [Connect],
        /// How long the Will waits after the Network Connection is lost, in seconds.
        0x18 WillDelayInterval(value: u32) u32 once in [Will],
        /// 1 to ask for Response Information.
        0x19 RequestResponseInformation(value: u8) byte once in [Connect],
        /// What a Client may build Response Topics from.
        0x1A ResponseInformation(value: &'a str) string once in [Connack],
        /// Another Server to use.
        0x1C ServerReference(value: &'a str) string once in [Connack Disconnect],
        /// Why, for people to read.
        0x1F ReasonString(value: &'a str) string once
            in [Connack Puback Pubrec Pubrel Pubcomp Suback Unsuback Disconnect Auth],
        /// How many QoS 1 and 2 messages the sender of this takes at the same time.
        0x21 ReceiveMaximum(value: u16) u16 once in [Connect Connack],
        /// The highest Topic Alias that the sender of this takes.
        0x22 TopicAliasMaximum(value: u16) u16 once in [Connect Connack],
        /// A number for the Topic Name, for the life of the Network Connection.
        0x23 TopicAlias(value: u16) u16 once in [Publish],
        /// The highest QoS that the Server takes, 0 or 1.
        0x24 MaximumQoS(value: u8) byte once in [Connack],
        /// 0 when the Server keeps no retained messages.
        0x25 RetainAvailable(value: u8) byte once in [Connack],
        /// A name and a value that the standard gives no meaning.
        0x26 UserProperty(name: &'a str, value: &'a str) pair many
            in [Connect Connack Publish Puback Pubrec Pubrel Pubcomp Subscribe Suback
                Unsubscribe Unsuback Disconnect Auth Will],
        /// The most bytes of a packet that the sender of this takes.
        0x27 MaximumPacketSize(value: u32) u32 once in [Connect Connack],
        /// 0 when the Server takes no wildcards.
        0x28 WildcardSubscriptionAvailable(value: u8) byte once in [Connack],
        /// 0 when the Server takes no Subscription Identifiers.
        0x29 SubscriptionIdentifierAvailable(value: u8) byte once in [Connack],
        /// 0 when the Server takes no Shared Subscriptions.
        0x2A SharedSubscriptionAvailable(value: u8) byte once in [Connack],
    }
}

impl Property<'_> {
    /// Says that the value is in its range.
    pub(crate) fn check_value(self) -> Result<(), Violation> {
        let in_range = match self {
            Property::PayloadFormatIndicator(value)
            | Property::RequestProblemInformation(value)
            | Property::RequestResponseInformation(value)
            | Property::MaximumQoS(value)
            | Property::RetainAvailable(value)
            | Property::WildcardSubscriptionAvailable(value)
            | Property::SubscriptionIdentifierAvailable(value)
            | Property::SharedSubscriptionAvailable(value) => value <= 1,
            Property::ReceiveMaximum(value) => value != 0,
            Property::MaximumPacketSize(value) | Property::SubscriptionIdentifier(value) => {
                value != 0
            }
            // v5[MQTT-3.3.2-8]
            Property::TopicAlias(0) => {
                return Err(Violation::TopicAliasZero);
            }
            Property::ResponseTopic(topic) => return check_response_topic(topic),
            _ => true,
        };
        if in_range {
            Ok(())
        } else {
            Err(Violation::PropertyValue { id: self.id() })
        }
    }
}

// v5[MQTT-3.3.2-14]
fn check_response_topic(topic: &str) -> Result<(), Violation> {
    match TopicName::new(topic) {
        Ok(_) => Ok(()),
        Err(TopicError::WildcardInName) if is_active(Mutant::AcceptResponseTopicWildcard) => Ok(()),
        // U+0000 was looked for when the string was read.
        Err(TopicError::NullCharacter) => Ok(()),
        Err(_) => Err(Violation::ResponseTopic),
    }
}
