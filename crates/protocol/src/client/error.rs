//! Who is to blame when a connection ends or a command is refused: the Server's bytes, the Server's
//! conduct, its silence, or our own caller.

use std::error::Error;
use std::fmt;

use dunlin_packet::{DecodeError, EncodeError, PacketType, ReasonCode, TopicError};

use crate::aliases::AliasError;

/// Why a Network Connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The Server's bytes are no packet, or no allowed one.
    Decode(DecodeError),
    /// The Server's packet breaks a rule of this connection.
    Server(ServerFault),
    /// The Server does not answer.
    Silent(Silence),
}

/// A packet that is well formed, and should not have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFault {
    /// A packet of this kind has no place here: before CONNACK, a second CONNACK, or AUTH.
    UnexpectedPacket(PacketType),
    /// Session Present is set although a clean start was asked for.
    SessionPresent,
    /// More QoS 2 exchanges are open than our Receive Maximum.
    ReceiveMaximum {
        /// What we announced.
        maximum: u16,
    },
    /// A Topic Alias that it may not use.
    Alias(AliasError),
    /// SUBACK does not answer each Topic Filter.
    SubackCodes {
        /// Topic Filters in SUBSCRIBE.
        asked: usize,
        /// Reason Codes in SUBACK.
        answered: usize,
    },
    /// Its Maximum Packet Size leaves no room for an acknowledgement.
    MaximumPacketSize,
}

/// What the Server owes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No CONNACK within the time of our options.
    NoConnack,
    /// No PINGRESP, nor anything else, within the Keep Alive.
    NoPingresp,
}

/// Why a command of our caller was not carried out. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseError {
    /// The connection is not open: no CONNACK yet, or it is over.
    NotConnected,
    /// `connect` was called before.
    AlreadyConnected,
    /// A Topic Name or Topic Filter is not valid.
    Topic(TopicError),
    /// No Local on a Shared Subscription (v5[MQTT-3.8.3-4]).
    NoLocalOnShared,
    /// A password needs a user name in 3.x.
    PasswordWithoutUserName,
    /// This version or a kept Session needs a Client Identifier.
    ClientIdRequired,
    /// 65,535 Packet Identifiers are in use.
    NoPacketId,
    /// The packet has no form on the wire that the Server takes.
    Encode(EncodeError),
}

impl ClientError {
    /// What DISCONNECT tells the Server about it.
    #[must_use]
    pub fn reason_code(self) -> ReasonCode {
        match self {
            ClientError::Decode(error) => error.reason_code(),
            ClientError::Server(fault) => match fault {
                ServerFault::ReceiveMaximum { .. } => ReasonCode::ReceiveMaximumExceeded,
                ServerFault::Alias(AliasError::Invalid { .. }) => ReasonCode::TopicAliasInvalid,
                ServerFault::MaximumPacketSize => ReasonCode::ImplementationSpecificError,
                ServerFault::Alias(AliasError::Unknown { .. })
                | ServerFault::UnexpectedPacket(_)
                | ServerFault::SessionPresent
                | ServerFault::SubackCodes { .. } => ReasonCode::ProtocolError,
            },
            ClientError::Silent(_) => ReasonCode::UnspecifiedError,
        }
    }
}

impl From<DecodeError> for ClientError {
    fn from(error: DecodeError) -> Self {
        ClientError::Decode(error)
    }
}

impl From<ServerFault> for ClientError {
    fn from(fault: ServerFault) -> Self {
        ClientError::Server(fault)
    }
}

impl From<AliasError> for ClientError {
    fn from(error: AliasError) -> Self {
        ClientError::Server(ServerFault::Alias(error))
    }
}

impl From<TopicError> for UseError {
    fn from(error: TopicError) -> Self {
        UseError::Topic(error)
    }
}

impl From<EncodeError> for UseError {
    fn from(error: EncodeError) -> Self {
        UseError::Encode(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Decode(error) => fmt::Display::fmt(error, f),
            ClientError::Server(fault) => fmt::Display::fmt(fault, f),
            ClientError::Silent(Silence::NoConnack) => {
                f.write_str("the server does not answer CONNECT")
            }
            ClientError::Silent(Silence::NoPingresp) => {
                f.write_str("the server does not answer PINGREQ")
            }
        }
    }
}

impl fmt::Display for ServerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerFault::UnexpectedPacket(packet_type) => {
                write!(f, "{packet_type} has no place here")
            }
            ServerFault::SessionPresent => {
                f.write_str("Session Present is set after a clean start")
            }
            ServerFault::ReceiveMaximum { maximum } => {
                write!(
                    f,
                    "more messages are open than the Receive Maximum of {maximum}"
                )
            }
            ServerFault::Alias(AliasError::Invalid { alias, maximum }) => {
                write!(
                    f,
                    "Topic Alias is {alias}, Topic Alias Maximum is {maximum}"
                )
            }
            ServerFault::Alias(AliasError::Unknown { alias }) => {
                write!(f, "Topic Alias {alias} was never set")
            }
            ServerFault::SubackCodes { asked, answered } => {
                write!(
                    f,
                    "SUBACK has {answered} Reason Codes for {asked} Topic Filters"
                )
            }
            ServerFault::MaximumPacketSize => {
                f.write_str("the Maximum Packet Size leaves no room for an acknowledgement")
            }
        }
    }
}

impl fmt::Display for UseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UseError::NotConnected => f.write_str("the connection is not open"),
            UseError::AlreadyConnected => f.write_str("CONNECT was sent before"),
            UseError::Topic(error) => fmt::Display::fmt(error, f),
            UseError::NoLocalOnShared => {
                f.write_str("No Local is not allowed on a Shared Subscription")
            }
            UseError::PasswordWithoutUserName => {
                f.write_str("a password needs a user name before MQTT 5.0")
            }
            UseError::ClientIdRequired => f.write_str("a Client Identifier is needed"),
            UseError::NoPacketId => f.write_str("all 65535 Packet Identifiers are in use"),
            UseError::Encode(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for ClientError {}
impl Error for ServerFault {}
impl Error for UseError {}
