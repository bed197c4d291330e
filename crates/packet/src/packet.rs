//! The fifteen kinds of MQTT Control Packets, and one value that is any of them.

use std::fmt;

use crate::ack::Ack;
use crate::auth::Auth;
use crate::connack::Connack;
use crate::connect::Connect;
use crate::disconnect::Disconnect;
use crate::publish::Publish;
use crate::suback::Suback;
use crate::subscribe::Subscribe;
use crate::unsuback::Unsuback;
use crate::unsubscribe::Unsubscribe;

/// The kind of a packet: the upper half of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PacketType {
    /// Connection request, by the Client.
    Connect = 1,
    /// Connect acknowledgement, by the Server.
    Connack = 2,
    /// An Application Message.
    Publish = 3,
    /// QoS 1 acknowledgement.
    Puback = 4,
    /// QoS 2, first answer.
    Pubrec = 5,
    /// QoS 2, release.
    Pubrel = 6,
    /// QoS 2, completion.
    Pubcomp = 7,
    /// Subscribe request, by the Client.
    Subscribe = 8,
    /// Subscribe acknowledgement, by the Server.
    Suback = 9,
    /// Unsubscribe request, by the Client.
    Unsubscribe = 10,
    /// Unsubscribe acknowledgement, by the Server.
    Unsuback = 11,
    /// Ping, by the Client.
    Pingreq = 12,
    /// Its answer, by the Server.
    Pingresp = 13,
    /// The end of a Network Connection.
    Disconnect = 14,
    /// Extended authentication, 5.0 only.
    Auth = 15,
}

impl PacketType {
    /// The kind with this number; `None` for 0, which is reserved, and above 15.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<PacketType> {
        Some(match number {
            1 => PacketType::Connect,
            2 => PacketType::Connack,
            3 => PacketType::Publish,
            4 => PacketType::Puback,
            5 => PacketType::Pubrec,
            6 => PacketType::Pubrel,
            7 => PacketType::Pubcomp,
            8 => PacketType::Subscribe,
            9 => PacketType::Suback,
            10 => PacketType::Unsubscribe,
            11 => PacketType::Unsuback,
            12 => PacketType::Pingreq,
            13 => PacketType::Pingresp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// The name that the standard uses.
    pub const fn name(self) -> &'static str {
        match self {
            PacketType::Connect => "CONNECT",
            PacketType::Connack => "CONNACK",
            PacketType::Publish => "PUBLISH",
            PacketType::Puback => "PUBACK",
            PacketType::Pubrec => "PUBREC",
            PacketType::Pubrel => "PUBREL",
            PacketType::Pubcomp => "PUBCOMP",
            PacketType::Subscribe => "SUBSCRIBE",
            PacketType::Suback => "SUBACK",
            PacketType::Unsubscribe => "UNSUBSCRIBE",
            PacketType::Unsuback => "UNSUBACK",
            PacketType::Pingreq => "PINGREQ",
            PacketType::Pingresp => "PINGRESP",
            PacketType::Disconnect => "DISCONNECT",
            PacketType::Auth => "AUTH",
        }
    }

    /// The first byte of a packet of this kind, with the flags that the standard fixes. PUBLISH
    /// has flags of its own to add.
    // v5[MQTT-2.1.3-1]
    pub(crate) const fn first_byte(self) -> u8 {
        let flags = match self {
            PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => 0x02,
            _ => 0x00,
        };
        ((self as u8) << 4) | flags
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One MQTT Control Packet, borrowed from the bytes that it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// Connection request.
    Connect(Connect<'a>),
    /// Connect acknowledgement.
    Connack(Connack<'a>),
    /// An Application Message.
    Publish(Publish<'a>),
    /// QoS 1 acknowledgement.
    Puback(Ack<'a>),
    /// QoS 2, first answer.
    Pubrec(Ack<'a>),
    /// QoS 2, release.
    Pubrel(Ack<'a>),
    /// QoS 2, completion.
    Pubcomp(Ack<'a>),
    /// Subscribe request.
    Subscribe(Subscribe<'a>),
    /// Subscribe acknowledgement.
    Suback(Suback<'a>),
    /// Unsubscribe request.
    Unsubscribe(Unsubscribe<'a>),
    /// Unsubscribe acknowledgement.
    Unsuback(Unsuback<'a>),
    /// Ping.
    Pingreq,
    /// The answer to a ping.
    Pingresp,
    /// The end of a Network Connection.
    Disconnect(Disconnect<'a>),
    /// Extended authentication.
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// The kind of this packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::Connack(_) => PacketType::Connack,
            Packet::Publish(_) => PacketType::Publish,
            Packet::Puback(_) => PacketType::Puback,
            Packet::Pubrec(_) => PacketType::Pubrec,
            Packet::Pubrel(_) => PacketType::Pubrel,
            Packet::Pubcomp(_) => PacketType::Pubcomp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::Suback(_) => PacketType::Suback,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::Unsuback(_) => PacketType::Unsuback,
            Packet::Pingreq => PacketType::Pingreq,
            Packet::Pingresp => PacketType::Pingresp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}
