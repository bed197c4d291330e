//! What a connection tells whoever drives it.

use dunlin_packet::{PacketId, PropertiesBuf, QoS, ReasonCode};

use super::terms::ServerTerms;

/// Something that happened on the connection, in the order of the Server's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CONNACK: the connection is open.
    Connected {
        /// Whether the Server has kept the Session. Otherwise Subscriptions have to be made again.
        session_present: bool,
        /// What was agreed.
        terms: ServerTerms,
    },
    /// CONNACK: the Server does not want us. The connection is closed.
    Refused {
        /// Why; in 3.x the one of the Reason Codes that its return code stands for.
        reason: ReasonCode,
        /// What CONNACK carried besides (5.0).
        properties: PropertiesBuf,
    },
    /// A message arrived, and its acknowledgement is outgoing. At QoS 2 it comes once, with PUBLISH.
    Message(Message),
    /// The QoS 2 exchange of an earlier message is complete on our side.
    Released {
        /// The Packet Identifier of its PUBLISH.
        packet_id: PacketId,
    },
    /// A message of ours at QoS 1 or 2 has been answered to the end.
    Published {
        /// What `publish` returned.
        sequence: u64,
        /// Its Packet Identifier.
        packet_id: PacketId,
        /// The Server's verdict: 0x80 or more means that it did not take the message.
        reason: ReasonCode,
    },
    /// A message of ours, or a request to be repeated, was given up unsent: the Server's terms rule it out.
    NotSent {
        /// What `publish` returned.
        sequence: Option<u64>,
        /// Which of the terms: its size, its QoS or its RETAIN.
        reason: ReasonCode,
    },
    /// SUBACK.
    Subscribed {
        /// What `subscribe` returned.
        packet_id: PacketId,
        /// One Reason Code per Topic Filter; 0x80 and more are failures.
        codes: Vec<u8>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// What `unsubscribe` returned.
        packet_id: PacketId,
        /// One Reason Code per Topic Filter; none in 3.x.
        codes: Vec<u8>,
    },
    /// PINGRESP.
    Pong,
    /// DISCONNECT from the Server (5.0). The connection is closed.
    Disconnected {
        /// Why.
        reason: ReasonCode,
        /// What it carried besides.
        properties: PropertiesBuf,
    },
}

/// An Application Message from the Server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its Topic Name, also where the wire had an alias.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// RETAIN as the Server set it.
    pub retain: bool,
    /// Whether the Server may have sent it before.
    pub dup: bool,
    /// The Packet Identifier, above QoS 0.
    pub packet_id: Option<PacketId>,
    /// All its properties, in their order (5.0).
    pub properties: PropertiesBuf,
}

impl std::fmt::Debug for Message {
    /// Shows no payload: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .field("packet_id", &self.packet_id)
            .field("properties", &self.properties)
            .finish()
    }
}
