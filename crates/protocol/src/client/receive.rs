//! What the Server's packets do to a connection and its Session.

use std::collections::VecDeque;
use std::sync::Arc;

use dunlin_packet::{
    Ack, Connack, Decoded, Disconnect, Packet, Properties, PropertiesBuf, ProtocolVersion, Publish,
    QoS, ReasonCode, Rules, Sender, Suback, Unsuback, decode,
};

use super::connection::{ClientConnection, Phase};
use super::error::{ClientError, ServerFault};
use super::event::{Event, Message};
use super::outgoing::Reply;
use super::session::{OutgoingMessage, Request, RequestBody, Waiting};
use super::terms::ServerTerms;
use crate::aliases::InboundAliases;
use crate::inbound::Overrun;
use crate::outbound::{Acked, packet_id_of};
use crate::time::Timestamp;

impl ClientConnection {
    /// Takes at most one packet from the front of `bytes`, and says how many bytes it had; 0 when the
    /// packet is not complete. On a closed connection everything is taken and nothing happens.
    ///
    /// # Errors
    /// Why the connection is over. On 5.0 a DISCONNECT that says so is outgoing.
    pub fn received(&mut self, bytes: &[u8], now: Timestamp) -> Result<usize, ClientError> {
        if matches!(self.phase, Phase::New | Phase::Closed) {
            return Ok(bytes.len());
        }
        let rules = Rules {
            version: self.options.version,
            sender: Sender::Server,
            packet_size_max: self.options.packet_size_max(),
        };
        let result = match decode(bytes, &rules) {
            Ok(Decoded::Incomplete { .. }) => return Ok(0),
            Ok(Decoded::Packet { packet, len }) => {
                self.last_received = now;
                self.handle(&packet, now).map(|()| len)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = result {
            // v5[MQTT-4.13.1-1]; in 3.x the end of the stream has to do.
            if self.is_open() && self.options.version.is_v5() {
                self.put_disconnect(error.reason_code());
            }
            self.phase = Phase::Closed;
        }
        result
    }

    fn handle(&mut self, packet: &Packet<'_>, now: Timestamp) -> Result<(), ClientError> {
        if let Phase::AwaitConnack { .. } = self.phase {
            let Packet::Connack(connack) = packet else {
                return Err(ServerFault::UnexpectedPacket(packet.packet_type()).into());
            };
            return self.connack(connack, now);
        }
        match packet {
            Packet::Publish(publish) => self.publish_received(publish, now),
            Packet::Puback(ack) => {
                let acked = self.session.outbound.puback(ack.packet_id);
                self.acked(acked, ack, now);
                Ok(())
            }
            Packet::Pubrec(ack) => {
                let acked = self
                    .session
                    .outbound
                    .pubrec(ack.packet_id, ack.reason.is_error());
                self.pubrec(acked, ack, now)
            }
            Packet::Pubrel(ack) => self.pubrel(ack, now),
            Packet::Pubcomp(ack) => {
                let acked = self.session.outbound.pubcomp(ack.packet_id);
                self.acked(acked, ack, now);
                Ok(())
            }
            Packet::Suback(suback) => self.suback(suback),
            Packet::Unsuback(unsuback) => {
                self.unsuback(unsuback);
                Ok(())
            }
            Packet::Pingresp => {
                self.phase = Phase::Open { ping_sent: None };
                self.events.push_back(Event::Pong);
                Ok(())
            }
            Packet::Disconnect(disconnect) => {
                self.disconnected(disconnect);
                Ok(())
            }
            Packet::Connect(_)
            | Packet::Connack(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::Pingreq
            | Packet::Auth(_) => Err(ServerFault::UnexpectedPacket(packet.packet_type()).into()),
        }
    }

    fn connack(&mut self, connack: &Connack<'_>, now: Timestamp) -> Result<(), ClientError> {
        if connack.reason.is_error() {
            self.phase = Phase::Closed;
            let properties = owned(connack.properties);
            self.events.push_back(Event::Refused {
                reason: connack.reason,
                properties,
            });
            return Ok(());
        }
        // 3.1 does not say: a Session that was asked for is taken to be there.
        let clean = self.options.clean_start;
        let session_present = if self.options.version == ProtocolVersion::V31 {
            !clean
        } else {
            connack.session_present
        };
        // A client that does not start clean takes the Server's Session even where its own memory of it
        // is gone with an earlier process: Subscriptions and queued messages live on the other side.
        if session_present && clean {
            return Err(ServerFault::SessionPresent.into());
        }
        self.terms = ServerTerms::settle(connack, &self.options);
        self.outgoing.size_max = self.terms.packet_size_max;
        self.aliases = InboundAliases::new(self.options.topic_alias_maximum);
        self.phase = Phase::Open { ping_sent: None };
        self.events.push_back(Event::Connected {
            session_present,
            terms: self.terms.clone(),
        });
        if !session_present {
            for sequence in self.session.lose_state() {
                self.published(sequence, ReasonCode::Success);
            }
        }
        self.resume(now);
        Ok(())
    }

    /// Takes up what the Session has open.
    fn resume(&mut self, now: Timestamp) {
        self.session
            .outbound
            .new_connection(self.terms.send_quota, 0);
        self.session.inbound.new_connection();
        let (outgoing, events) = (&mut self.outgoing, &mut self.events);
        self.session.requests.retain(|request| {
            let sent = outgoing.request(request, now).is_ok();
            if !sent {
                let (sequence, reason) = (Some(request.sequence), ReasonCode::PacketTooLarge);
                events.push_back(Event::NotSent { sequence, reason });
            }
            sent
        });
        let waiting = std::mem::take(&mut self.session.waiting);
        let (unconfirmed, rest): (VecDeque<Waiting>, VecDeque<Waiting>) = waiting
            .into_iter()
            .partition(|waiting| waiting.sequence.is_none());
        self.session.waiting = rest;
        self.pump(now);
        for waiting in &unconfirmed {
            self.send_unconfirmed(&waiting.message, now);
        }
    }

    fn publish_received(
        &mut self,
        publish: &Publish<'_>,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        let topic = self.topic_of(publish)?;
        match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) | (_, None) => self.deliver(publish, topic),
            (QoS::AtLeastOnce, Some(packet_id)) => {
                self.deliver(publish, topic);
                self.outgoing
                    .reply(Reply::Puback, packet_id, ReasonCode::Success, now)?;
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                // v5[MQTT-4.3.3-10]: the same identifier again, before PUBREL, is the same message.
                let is_new = self.session.inbound.hold(packet_id);
                self.check_quota()?;
                if is_new {
                    self.deliver(publish, topic);
                }
                self.outgoing
                    .reply(Reply::Pubrec, packet_id, ReasonCode::Success, now)?;
            }
        }
        Ok(())
    }

    /// v5[MQTT-3.3.4-9] binds the Server to our Receive Maximum. QoS 1 messages are acknowledged at
    /// once and never count.
    fn check_quota(&mut self) -> Result<(), ClientError> {
        let maximum = self.options.receive_maximum.max(1);
        if self.options.version.is_v5()
            && self.session.inbound.check_quota(maximum, true) == Overrun::Disconnect
        {
            return Err(ServerFault::ReceiveMaximum { maximum }.into());
        }
        Ok(())
    }

    /// The Topic Name of a PUBLISH; its Topic Alias is set or looked up.
    fn topic_of(&mut self, publish: &Publish<'_>) -> Result<String, ClientError> {
        let Some(alias) = publish.properties.topic_alias() else {
            return Ok(publish.topic.to_owned());
        };
        if publish.topic.is_empty() {
            return Ok(self.aliases.get(alias)?.to_string());
        }
        let topic: Arc<str> = Arc::from(publish.topic);
        self.aliases.set(alias, &topic)?;
        Ok(publish.topic.to_owned())
    }

    fn deliver(&mut self, publish: &Publish<'_>, topic: String) {
        self.events.push_back(Event::Message(Message {
            topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            properties: owned(publish.properties),
        }));
    }

    fn pubrec(
        &mut self,
        acked: Acked<OutgoingMessage>,
        ack: &Ack<'_>,
        now: Timestamp,
    ) -> Result<(), ClientError> {
        match acked {
            Acked::Released { sequence, .. } | Acked::AlreadyReleased { sequence } => {
                self.outgoing
                    .reply(Reply::Pubrel, ack.packet_id, ReasonCode::Success, now)?;
                self.session.outbound.pubrel_sent(sequence);
                Ok(())
            }
            Acked::Unknown if !ack.reason.is_error() => {
                let reason = ReasonCode::PacketIdentifierNotFound;
                self.outgoing
                    .reply(Reply::Pubrel, ack.packet_id, reason, now)
            }
            other => {
                self.acked(other, ack, now);
                Ok(())
            }
        }
    }

    /// An exchange of ours has come to its end, or the acknowledgement is not known to us, which is
    /// no error: its message may be one of a Session before.
    fn acked(&mut self, acked: Acked<OutgoingMessage>, ack: &Ack<'_>, now: Timestamp) {
        if let Acked::Done { sequence, .. } = acked {
            // PUBCOMP with 0x92 answers a PUBREL that the Server had answered before.
            let taken = ack.reason == ReasonCode::PacketIdentifierNotFound;
            self.published(
                sequence,
                if taken {
                    ReasonCode::Success
                } else {
                    ack.reason
                },
            );
            self.pump(now);
        }
    }

    fn published(&mut self, sequence: u64, reason: ReasonCode) {
        self.events.push_back(Event::Published {
            sequence,
            packet_id: packet_id_of(sequence),
            reason,
        });
    }

    fn pubrel(&mut self, ack: &Ack<'_>, now: Timestamp) -> Result<(), ClientError> {
        let known = self.session.inbound.release(ack.packet_id);
        let reason = if known {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.outgoing
            .reply(Reply::Pubcomp, ack.packet_id, reason, now)?;
        if known {
            self.events.push_back(Event::Released {
                packet_id: ack.packet_id,
            });
        }
        Ok(())
    }

    fn suback(&mut self, suback: &Suback<'_>) -> Result<(), ClientError> {
        let is_asked = |request: &Request| {
            packet_id_of(request.sequence) == suback.packet_id
                && matches!(request.body, RequestBody::Subscribe(_))
        };
        let Some(at) = self.session.requests.iter().position(is_asked) else {
            return Ok(());
        };
        let asked = self
            .session
            .requests
            .remove(at)
            .map_or(0, |request| request.filters);
        let codes = suback.reasons.to_vec();
        // v5[MQTT-3.8.4-6], v311[MQTT-3.8.4-5]
        if codes.len() != asked {
            return Err(ServerFault::SubackCodes {
                asked,
                answered: codes.len(),
            }
            .into());
        }
        self.events.push_back(Event::Subscribed {
            packet_id: suback.packet_id,
            codes,
        });
        Ok(())
    }

    fn unsuback(&mut self, unsuback: &Unsuback<'_>) {
        let is_asked = |request: &Request| {
            packet_id_of(request.sequence) == unsuback.packet_id
                && matches!(request.body, RequestBody::Unsubscribe(_))
        };
        let Some(at) = self.session.requests.iter().position(is_asked) else {
            return;
        };
        self.session.requests.remove(at);
        let codes = unsuback.reasons.to_vec();
        self.events.push_back(Event::Unsubscribed {
            packet_id: unsuback.packet_id,
            codes,
        });
    }

    fn disconnected(&mut self, disconnect: &Disconnect<'_>) {
        self.phase = Phase::Closed;
        let properties = owned(disconnect.properties);
        self.events.push_back(Event::Disconnected {
            reason: disconnect.reason,
            properties,
        });
    }
}

fn owned(properties: Properties<'_>) -> PropertiesBuf {
    let mut block = PropertiesBuf::new();
    for property in properties {
        block.push(property);
    }
    block
}
