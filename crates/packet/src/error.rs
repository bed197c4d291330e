//! What can be wrong with the bytes of a peer, and the Reason Code that answers it.
//!
//! `Malformed` bytes cannot be read as the standard says; a `Violation` can be read, and is not
//! allowed. Neither holds bytes of the peer beyond a number, so both may be logged.

use std::error::Error;
use std::fmt;

use crate::packet::PacketType;
use crate::property::PropertyHost;
use crate::reason::ReasonCode;
use crate::version::ProtocolVersion;

/// Why bytes are no packet that may be handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// A Malformed Packet.
    Malformed(Malformed),
    /// A Protocol Error, or another breach with a Reason Code of its own.
    Violation(Violation),
}

impl DecodeError {
    /// The Reason Code that tells the peer.
    // v5[MQTT-4.13.1-1]
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            DecodeError::Malformed(_) => ReasonCode::MalformedPacket,
            DecodeError::Violation(violation) => violation.reason_code(),
        }
    }
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        DecodeError::Malformed(malformed)
    }
}

impl From<Violation> for DecodeError {
    fn from(violation: Violation) -> Self {
        DecodeError::Violation(violation)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Malformed(malformed) => fmt::Display::fmt(malformed, f),
            DecodeError::Violation(violation) => fmt::Display::fmt(violation, f),
        }
    }
}

impl Error for DecodeError {}

/// Bytes that cannot be read as the standard says: Reason Code 0x81.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Packet type 0.
    ReservedPacketType,
    /// AUTH on a connection of 3.x.
    AuthBeforeV5,
    /// The lower half of the first byte is not what the standard fixes.
    FixedHeaderFlags {
        /// The kind of packet.
        packet_type: PacketType,
        /// Its flags, 0 to 15.
        flags: u8,
    },
    /// A field reaches past the end of the packet or of its property block.
    Truncated,
    /// Bytes follow the last field.
    TrailingBytes,
    /// A variable byte integer does not end within four bytes.
    VarintTooLong,
    /// A variable byte integer has more bytes than it needs.
    VarintNotMinimal,
    /// A string is not well-formed UTF-8.
    NotUtf8,
    /// A string contains U+0000.
    NullCharacter,
    /// The standard has no property with this identifier.
    UnknownProperty {
        /// The identifier.
        id: u32,
    },
    /// A CONNECT on an open connection with a name or level that nobody speaks.
    ProtocolName,
    /// Bit 0 of the Connect Flags is 1.
    ReservedConnectFlag,
    /// Will QoS or Will Retain without a Will.
    WillFlags,
    /// A Will QoS of 3.
    WillQoS,
    /// A password without a user name, which 5.0 alone allows.
    PasswordWithoutUserName,
    /// The Connect Acknowledge Flags have reserved bits set.
    ConnackFlags,
    /// A return code of CONNACK above 5 (3.x).
    ConnackReturnCode {
        /// The code.
        code: u8,
    },
    /// A PUBLISH with both QoS bits set.
    PublishQoS,
    /// DUP at QoS 0.
    DupAtQoS0,
    /// A SUBSCRIBE or UNSUBSCRIBE of 3.x without a Topic Filter.
    NoFilters,
    /// Subscription Options with reserved bits, or (3.x) a QoS of 3.
    SubscriptionOptions {
        /// The byte.
        byte: u8,
    },
    /// A return code of SUBACK that is neither a QoS nor 0x80 (3.x).
    SubackReturnCode {
        /// The code.
        code: u8,
    },
    /// A SUBACK or UNSUBACK without Reason Codes.
    NoReasonCodes,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Malformed::ReservedPacketType => "packet type 0 is reserved",
            Malformed::AuthBeforeV5 => "AUTH needs MQTT 5.0",
            Malformed::FixedHeaderFlags { packet_type, flags } => {
                return write!(f, "{packet_type} has flags 0x{flags:x} in its first byte");
            }
            Malformed::Truncated => "a field reaches past the end of what holds it",
            Malformed::TrailingBytes => "bytes follow the last field of the packet",
            Malformed::VarintTooLong => "a variable byte integer is longer than 4 bytes",
            Malformed::VarintNotMinimal => "a variable byte integer is longer than it must be",
            Malformed::NotUtf8 => "a string is not well-formed UTF-8",
            Malformed::NullCharacter => "a string contains U+0000",
            Malformed::UnknownProperty { id } => {
                return write!(f, "there is no property 0x{id:02x}");
            }
            Malformed::ProtocolName => "CONNECT names no protocol that is spoken here",
            Malformed::ReservedConnectFlag => "the reserved flag of CONNECT is set",
            Malformed::WillFlags => "CONNECT has Will QoS or Will Retain without a Will",
            Malformed::WillQoS => "the Will QoS is 3",
            Malformed::PasswordWithoutUserName => "CONNECT has a password without a user name",
            Malformed::ConnackFlags => "CONNACK has reserved flags set",
            Malformed::ConnackReturnCode { code } => {
                return write!(f, "CONNACK has return code {code}, the highest is 5");
            }
            Malformed::PublishQoS => "PUBLISH has QoS 3",
            Malformed::DupAtQoS0 => "PUBLISH has DUP set at QoS 0",
            Malformed::NoFilters => "the request has no Topic Filter",
            Malformed::SubscriptionOptions { byte } => {
                return write!(
                    f,
                    "the Subscription Options 0x{byte:02x} have reserved bits set"
                );
            }
            Malformed::SubackReturnCode { code } => {
                return write!(f, "SUBACK has return code 0x{code:02x}");
            }
            Malformed::NoReasonCodes => "the acknowledgement has no Reason Code",
        };
        f.write_str(text)
    }
}

impl Error for Malformed {}

/// A packet that can be read and is not allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// The first packet of a connection is something else than CONNECT.
    FirstPacketNotConnect,
    /// A packet that only the other side may send.
    WrongDirection {
        /// The kind of packet.
        packet_type: PacketType,
    },
    /// The packet is larger than the receiver takes.
    PacketTooLarge {
        /// Bytes of the whole packet.
        size: u32,
        /// The receiver's Maximum Packet Size.
        size_max: u32,
    },
    /// Packet Identifier 0.
    PacketIdZero,
    /// A property that may not stand in this packet.
    PropertyNotAllowed {
        /// The identifier.
        id: u8,
        /// Where it stood.
        host: PropertyHost,
    },
    /// A property that may stand only once.
    PropertyRepeated {
        /// The identifier.
        id: u8,
    },
    /// A property with a value out of its range.
    PropertyValue {
        /// The identifier.
        id: u8,
    },
    /// A Response Topic that is empty or contains wildcards.
    ResponseTopic,
    /// Topic Alias 0.
    TopicAliasZero,
    /// A Subscription Identifier in a Client's PUBLISH.
    SubscriptionIdFromClient,
    /// A Session Expiry Interval in a Server's DISCONNECT.
    SessionExpiryFromServer,
    /// Authentication Data without Authentication Method.
    AuthenticationDataWithoutMethod,
    /// A Topic Name that contains wildcards.
    WildcardInTopicName,
    /// An empty Topic Name without a Topic Alias.
    EmptyTopicName,
    /// A Will Topic that is no Topic Name.
    WillTopic,
    /// A Reason Code that may not stand in this packet.
    ReasonNotAllowed {
        /// The kind of packet.
        packet_type: PacketType,
        /// The byte.
        code: u8,
    },
    /// Session Present on a refused connection.
    SessionPresentOnRefusal,
    /// A SUBSCRIBE or UNSUBSCRIBE of 5.0 without a Topic Filter.
    NoFilters {
        /// The kind of packet.
        packet_type: PacketType,
    },
    /// A QoS or a Retain Handling of 3 in Subscription Options (5.0).
    SubscriptionOptions {
        /// The byte.
        byte: u8,
    },
    /// No Local on a Shared Subscription.
    NoLocalOnShared,
}

impl Violation {
    /// The Reason Code that tells the peer.
    pub const fn reason_code(self) -> ReasonCode {
        match self {
            Violation::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            // §2.2.2.2: an identifier that is not valid for the packet counts as malformed.
            Violation::PropertyNotAllowed { .. } => ReasonCode::MalformedPacket,
            Violation::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Violation::WildcardInTopicName | Violation::WillTopic => ReasonCode::TopicNameInvalid,
            Violation::FirstPacketNotConnect
            | Violation::WrongDirection { .. }
            | Violation::PacketIdZero
            | Violation::PropertyRepeated { .. }
            | Violation::PropertyValue { .. }
            | Violation::ResponseTopic
            | Violation::SubscriptionIdFromClient
            | Violation::SessionExpiryFromServer
            | Violation::AuthenticationDataWithoutMethod
            | Violation::EmptyTopicName
            | Violation::ReasonNotAllowed { .. }
            | Violation::SessionPresentOnRefusal
            | Violation::NoFilters { .. }
            | Violation::SubscriptionOptions { .. }
            | Violation::NoLocalOnShared => ReasonCode::ProtocolError,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Violation::FirstPacketNotConnect => "the first packet is not CONNECT",
            Violation::WrongDirection { packet_type } => {
                return write!(f, "{packet_type} may only be sent by the other side");
            }
            Violation::PacketTooLarge { size, size_max } => {
                return write!(
                    f,
                    "packet is {size} bytes, Maximum Packet Size is {size_max}"
                );
            }
            Violation::PacketIdZero => "the Packet Identifier is 0",
            Violation::PropertyNotAllowed { id, host } => {
                return write!(f, "property 0x{id:02x} may not stand in {host}");
            }
            Violation::PropertyRepeated { id } => {
                return write!(f, "property 0x{id:02x} may stand only once");
            }
            Violation::PropertyValue { id } => {
                return write!(f, "property 0x{id:02x} has a value out of its range");
            }
            Violation::ResponseTopic => "the Response Topic is empty or contains wildcards",
            Violation::TopicAliasZero => "the Topic Alias is 0",
            Violation::SubscriptionIdFromClient => "a Client sent a Subscription Identifier",
            Violation::SessionExpiryFromServer => {
                "a Server sent a Session Expiry Interval in DISCONNECT"
            }
            Violation::AuthenticationDataWithoutMethod => {
                "Authentication Data stands without Authentication Method"
            }
            Violation::WildcardInTopicName => "the Topic Name contains wildcards",
            Violation::EmptyTopicName => "the Topic Name is empty and there is no Topic Alias",
            Violation::WillTopic => "the Will Topic is empty or contains wildcards",
            Violation::ReasonNotAllowed { packet_type, code } => {
                return write!(f, "Reason Code 0x{code:02x} may not stand in {packet_type}");
            }
            Violation::SessionPresentOnRefusal => {
                "CONNACK has Session Present set and refuses the connection"
            }
            Violation::NoFilters { packet_type } => {
                return write!(f, "{packet_type} has no Topic Filter");
            }
            Violation::SubscriptionOptions { byte } => {
                return write!(
                    f,
                    "the Subscription Options 0x{byte:02x} have a QoS or Retain Handling of 3"
                );
            }
            Violation::NoLocalOnShared => "No Local is set on a Shared Subscription",
        };
        f.write_str(text)
    }
}

impl Error for Violation {}

/// Why the first bytes of a Network Connection are no CONNECT that may be handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// The bytes are malformed or not allowed.
    Decode {
        /// What is wrong.
        error: DecodeError,
        /// The version that CONNECT asks for, where it could be read: the one to answer in.
        version: Option<ProtocolVersion>,
    },
    /// It is MQTT, at a level that is not spoken here.
    UnsupportedProtocolVersion {
        /// The level.
        level: u8,
    },
    /// The protocol name is another.
    NotMqtt,
}

impl ConnectError {
    /// The same for a CONNECT that is not the first packet.
    pub(crate) const fn into_decode_error(self) -> DecodeError {
        match self {
            ConnectError::Decode { error, .. } => error,
            ConnectError::UnsupportedProtocolVersion { .. } | ConnectError::NotMqtt => {
                DecodeError::Malformed(Malformed::ProtocolName)
            }
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Decode { error, .. } => fmt::Display::fmt(error, f),
            ConnectError::UnsupportedProtocolVersion { level } => {
                write!(f, "protocol level {level} is not supported, 3, 4 and 5 are")
            }
            ConnectError::NotMqtt => f.write_str("the protocol name is neither MQTT nor MQIsdp"),
        }
    }
}

impl Error for ConnectError {}
