//! The lines of `-d`: every packet, in the words of Mosquitto's library.
//!
//! The lines are made from the bytes on the wire, so they tell what was sent and received, not what
//! somebody meant to.

use dunlin_packet::{
    Decoded, Packet, Property, ProtocolVersion, Publish, Rules, Sender, Subscribe, decode,
};
use dunlin_protocol::client::ConnectOptions;

use crate::output::Output;

/// What the lines need to know besides the packets.
pub(crate) struct Trace {
    /// The Client Identifier; empty until the broker has chosen one.
    client_id: String,
    version: ProtocolVersion,
    /// QoS 0 messages have no Packet Identifier. Mosquitto numbers them all the same.
    unconfirmed: u16,
}

impl Trace {
    pub(crate) fn new(options: &ConnectOptions) -> Self {
        Self {
            client_id: options.client_id.clone(),
            version: options.version,
            unconfirmed: 0,
        }
    }

    /// Tells of the packets that were just put on the way.
    pub(crate) fn sent(&mut self, mut bytes: &[u8], output: &mut Output) {
        while let Some((packet, rest)) = self.next_packet(bytes, Sender::Client) {
            self.tell_sent(&packet, output);
            bytes = rest;
        }
    }

    /// Tells of a packet that has arrived.
    pub(crate) fn received(&mut self, bytes: &[u8], output: &mut Output) {
        if let Some((packet, _)) = self.next_packet(bytes, Sender::Server) {
            self.tell_received(&packet, output);
        }
    }

    fn next_packet<'a>(&self, bytes: &'a [u8], sender: Sender) -> Option<(Packet<'a>, &'a [u8])> {
        let rules = Rules {
            version: self.version,
            sender,
            packet_size_max: u32::MAX,
        };
        match decode(bytes, &rules) {
            Ok(Decoded::Packet { packet, len }) => {
                Some((packet, bytes.get(len..).unwrap_or_default()))
            }
            Ok(Decoded::Incomplete { .. }) | Err(_) => None,
        }
    }

    fn tell_sent(&mut self, packet: &Packet<'_>, output: &mut Output) {
        let text = match packet {
            Packet::Publish(publish) => {
                let number = match publish.packet_id {
                    Some(packet_id) => packet_id.get(),
                    None => {
                        self.unconfirmed = self.unconfirmed.checked_add(1).unwrap_or(1);
                        self.unconfirmed
                    }
                };
                format!("sending {}", publish_text(publish, number))
            }
            Packet::Puback(ack) => format!(
                "sending PUBACK (m{}, rc{})",
                ack.packet_id,
                ack.reason.code()
            ),
            Packet::Pubrec(ack) => format!(
                "sending PUBREC (m{}, rc{})",
                ack.packet_id,
                ack.reason.code()
            ),
            Packet::Pubrel(ack) => format!("sending PUBREL (m{})", ack.packet_id),
            Packet::Pubcomp(ack) => format!("sending PUBCOMP (m{})", ack.packet_id),
            Packet::Subscribe(subscribe) => return self.tell_subscribe(subscribe, output),
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters() {
                    let text = format!(
                        "sending UNSUBSCRIBE (Mid: {}, Topic: {filter})",
                        unsubscribe.packet_id
                    );
                    self.line(&text, output);
                }
                return;
            }
            other => format!("sending {}", other.packet_type()),
        };
        self.line(&text, output);
    }

    /// One line per Topic Filter.
    fn tell_subscribe(&self, subscribe: &Subscribe<'_>, output: &mut Output) {
        for (filter, options) in subscribe.filters() {
            let others = options.to_byte() & !0x03;
            let text = format!(
                "sending SUBSCRIBE (Mid: {}, Topic: {filter}, QoS: {}, Options: 0x{others:02x})",
                subscribe.packet_id,
                options.qos.bits(),
            );
            self.line(&text, output);
        }
    }

    fn tell_received(&mut self, packet: &Packet<'_>, output: &mut Output) {
        let text = match packet {
            Packet::Connack(connack) => {
                for property in connack.properties {
                    if let Property::AssignedClientIdentifier(client_id) = property {
                        client_id.clone_into(&mut self.client_id);
                    }
                }
                let code = if self.version.is_v5() {
                    connack.reason.code()
                } else {
                    connack.reason.connack_v3()
                };
                format!("received CONNACK ({code})")
            }
            Packet::Publish(publish) => {
                let number = publish.packet_id.map_or(0, |packet_id| packet_id.get());
                format!("received {}", publish_text(publish, number))
            }
            Packet::Puback(ack) => format!(
                "received PUBACK (Mid: {}, RC:{})",
                ack.packet_id,
                ack.reason.code()
            ),
            Packet::Pubrec(ack) => format!("received PUBREC (Mid: {})", ack.packet_id),
            Packet::Pubrel(ack) => format!("received PUBREL (Mid: {})", ack.packet_id),
            Packet::Pubcomp(ack) => format!(
                "received PUBCOMP (Mid: {}, RC:{})",
                ack.packet_id,
                ack.reason.code()
            ),
            Packet::Disconnect(disconnect) => {
                return output.line(&format!(
                    "Received DISCONNECT ({})",
                    disconnect.reason.code()
                ));
            }
            other => format!("received {}", other.packet_type()),
        };
        self.line(&text, output);
    }

    fn line(&self, text: &str, output: &mut Output) {
        let name = if self.client_id.is_empty() {
            "null"
        } else {
            &self.client_id
        };
        output.line(&format!("Client {name} {text}"));
    }
}

fn publish_text(publish: &Publish<'_>, number: u16) -> String {
    format!(
        "PUBLISH (d{}, q{}, r{}, m{number}, '{}', ... ({} bytes))",
        u8::from(publish.dup),
        publish.qos.bits(),
        u8::from(publish.retain),
        publish.topic,
        publish.payload.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines for bytes that were sent, and for packets that were received.
    fn check(version: ProtocolVersion, sent: &[u8], received: &[&[u8]], expected: &[&str]) {
        let mut trace = Trace::new(&ConnectOptions::new(version, ""));
        let mut output = Output::new(false);
        trace.sent(sent, &mut output);
        for packet in received {
            trace.received(packet, &mut output);
        }
        assert_eq!(output.gathered().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_lines_of_a_publisher() {
        let sent = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\
            \x30\x06\x00\x03t/ax\x30\x06\x00\x03t/ay\x35\x08\x00\x03t/a\x00\x07z\x62\x02\x00\x07\xc0\x00\xe0\x00";
        let received: [&[u8]; 5] = [
            b"\x20\x02\x00\x05",
            b"\x40\x02\x00\x07",
            b"\x50\x02\x00\x07",
            b"\x70\x02\x00\x07",
            b"\xd0\x00",
        ];
        let expected = [
            "Client null sending CONNECT",
            "Client null sending PUBLISH (d0, q0, r0, m1, 't/a', ... (1 bytes))",
            "Client null sending PUBLISH (d0, q0, r0, m2, 't/a', ... (1 bytes))",
            "Client null sending PUBLISH (d0, q2, r1, m7, 't/a', ... (1 bytes))",
            "Client null sending PUBREL (m7)",
            "Client null sending PINGREQ",
            "Client null sending DISCONNECT",
            "Client null received CONNACK (5)",
            "Client null received PUBACK (Mid: 7, RC:0)",
            "Client null received PUBREC (Mid: 7)",
            "Client null received PUBCOMP (Mid: 7, RC:0)",
            "Client null received PINGRESP",
        ];
        check(ProtocolVersion::V311, sent, &received, &expected);
    }

    #[test]
    fn the_lines_of_a_subscriber() {
        let sent = b"\x82\x0b\x00\x01\x00\x00\x01a\x01\x00\x01b\x21\x40\x02\x00\x09\x50\x02\x00\x09\x70\x02\x00\x09\
            \xa2\x06\x00\x02\x00\x00\x01a";
        let received: [&[u8]; 5] = [
            b"\x20\x08\x00\x00\x05\x12\x00\x02id",
            b"\x90\x04\x00\x01\x00\x01",
            b"\x3c\x07\x00\x01t\x00\x09\x00x",
            b"\x62\x02\x00\x09",
            b"\xe0\x01\x8b",
        ];
        let expected = [
            "Client null sending SUBSCRIBE (Mid: 1, Topic: a, QoS: 1, Options: 0x00)",
            "Client null sending SUBSCRIBE (Mid: 1, Topic: b, QoS: 1, Options: 0x20)",
            "Client null sending PUBACK (m9, rc0)",
            "Client null sending PUBREC (m9, rc0)",
            "Client null sending PUBCOMP (m9)",
            "Client null sending UNSUBSCRIBE (Mid: 2, Topic: a)",
            "Client id received CONNACK (0)",
            "Client id received SUBACK",
            "Client id received PUBLISH (d1, q2, r0, m9, 't', ... (1 bytes))",
            "Client id received PUBREL (Mid: 9)",
            "Received DISCONNECT (139)",
        ];
        check(ProtocolVersion::V5, sent, &received, &expected);
    }
}
