//! The bytes that wait to be written, and when the last packet joined them.

use dunlin_packet::{
    Ack, EncodeError, Packet, PacketId, Properties, ProtocolVersion, Publish, ReasonCode,
    Subscribe, Unsubscribe, encode,
};

use super::error::{ClientError, ServerFault};
use super::session::{OutgoingMessage, Request, RequestBody};
use crate::outbound::packet_id_of;
use crate::time::Timestamp;

/// The sending side of one Network Connection.
pub(super) struct Outgoing {
    version: ProtocolVersion,
    /// The Server's Maximum Packet Size.
    pub(super) size_max: u32,
    pub(super) bytes: Vec<u8>,
    /// When the last packet was appended, for Keep Alive.
    pub(super) last_sent: Timestamp,
}

/// The four packets that acknowledge a PUBLISH.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

impl Outgoing {
    pub(super) fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            size_max: u32::MAX,
            bytes: Vec::new(),
            last_sent: Timestamp::default(),
        }
    }

    /// Appends one packet; nothing when it has no form that the Server takes (v5[MQTT-3.2.2-15]).
    pub(super) fn put(&mut self, packet: &Packet<'_>, now: Timestamp) -> Result<(), EncodeError> {
        encode(packet, self.version, self.size_max, &mut self.bytes)?;
        self.last_sent = now;
        Ok(())
    }

    pub(super) fn publish(
        &mut self,
        message: &OutgoingMessage,
        packet_id: Option<PacketId>,
        dup: bool,
        now: Timestamp,
    ) -> Result<(), EncodeError> {
        let properties = if self.version.is_v5() {
            message.properties.as_properties()
        } else {
            Properties::EMPTY
        };
        let publish = Publish {
            dup,
            qos: message.qos,
            retain: message.retain,
            topic: &message.topic,
            packet_id,
            properties,
            payload: &message.payload,
        };
        self.put(&Packet::Publish(publish), now)
    }

    pub(super) fn reply(
        &mut self,
        reply: Reply,
        packet_id: PacketId,
        reason: ReasonCode,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        let ack = Ack {
            packet_id,
            reason,
            properties: Properties::EMPTY,
        };
        let packet = match reply {
            Reply::Puback => Packet::Puback(ack),
            Reply::Pubrec => Packet::Pubrec(ack),
            Reply::Pubrel => Packet::Pubrel(ack),
            Reply::Pubcomp => Packet::Pubcomp(ack),
        };
        self.put(&packet, now)
            .map_err(|_| ServerFault::MaximumPacketSize.into())
    }

    pub(super) fn request(&mut self, request: &Request, now: Timestamp) -> Result<(), EncodeError> {
        let packet_id = packet_id_of(request.sequence);
        let properties = if self.version.is_v5() {
            request.properties.as_properties()
        } else {
            Properties::EMPTY
        };
        let packet = match &request.body {
            RequestBody::Subscribe(body) => {
                Packet::Subscribe(Subscribe::from_body(packet_id, properties, body.as_bytes()))
            }
            RequestBody::Unsubscribe(body) => Packet::Unsubscribe(Unsubscribe::from_body(
                packet_id,
                properties,
                body.as_bytes(),
            )),
        };
        self.put(&packet, now)
    }
}
