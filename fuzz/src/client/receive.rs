//! What a client makes of the broker's packets.

use dunlin_packet::{
    Ack, Connack, Decoded, Disconnect, Packet, PacketId, Publish, QoS, ReasonCode, Rules, Sender,
    Suback, Unsuback, decode,
};

use super::{Client, Reply, Stage, Wire};
use crate::ledger::Ledger;
use crate::naive;

/// Reason Codes that a client which keeps the rules is never told.
const NOT_FOR_US: [ReasonCode; 5] = [
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::TopicAliasInvalid,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketTooLarge,
];

/// Topics below this are a stranger's, whose messages nobody keeps count of.
pub(crate) const WILD: &str = "wild/";

impl Client {
    /// Takes what has arrived. Returns what is sent at once: after CONNACK, everything that is open.
    pub fn receive(&mut self, bytes: &[u8], ledger: &mut Ledger) -> Vec<u8> {
        let mut answer = Vec::new();
        let Some(mut wire) = self.wire.take() else {
            return answer;
        };
        wire.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut wire.buffer);
        let rules = Rules {
            version: wire.version,
            sender: Sender::Server,
            packet_size_max: wire.size_max,
        };
        let mut used = 0;
        loop {
            match decode(&buffer[used..], &rules) {
                Ok(Decoded::Packet { packet, len }) => {
                    used += len;
                    self.packet(&mut wire, &packet, ledger, &mut answer);
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("{} cannot read the broker: {error}", self.name),
            }
        }
        wire.buffer = buffer[used..].to_vec();
        self.wire = Some(wire);
        answer
    }

    fn packet(
        &mut self,
        wire: &mut Wire,
        packet: &Packet<'_>,
        ledger: &mut Ledger,
        answer: &mut Vec<u8>,
    ) {
        assert_ne!(wire.stage, Stage::Ended, "{packet:?} after the end");
        if wire.stage == Stage::Connecting {
            // v5[MQTT-3.2.0-1]
            let Packet::Connack(connack) = packet else {
                panic!("{packet:?} before CONNACK")
            };
            return self.connack(wire, connack, answer);
        }
        match packet {
            Packet::Publish(publish) => self.publish_received(wire, publish, ledger),
            Packet::Puback(ack) => self.puback(ack, ledger),
            Packet::Pubrec(ack) => self.pubrec(wire, ack, ledger),
            Packet::Pubrel(ack) => self.pubrel(wire, ack),
            Packet::Pubcomp(ack) => self.pubcomp(ack),
            Packet::Suback(suback) => self.suback(wire, suback),
            Packet::Unsuback(unsuback) => unsuback_received(wire, unsuback),
            Packet::Pingresp => {
                wire.pings = wire.pings.checked_sub(1).expect("PINGREQ was sent before");
            }
            Packet::Disconnect(disconnect) => self.disconnected(wire, disconnect),
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn connack(&mut self, wire: &mut Wire, connack: &Connack<'_>, answer: &mut Vec<u8>) {
        wire.is_answered = true;
        if connack.reason != ReasonCode::Success {
            wire.stage = Stage::Ended;
            return;
        }
        wire.stage = Stage::Open;
        wire.own_alias_maximum = connack.properties.topic_alias_maximum().unwrap_or(0);
        if connack.session_present {
            // v5[MQTT-3.2.2-2]
            assert!(!wire.clean_start, "a Session after Clean Start");
            self.resend(wire, answer);
        } else {
            self.forget();
            self.held.clear();
            self.is_stale = false;
            self.has_abandoned = false;
        }
    }

    fn disconnected(&mut self, wire: &mut Wire, disconnect: &Disconnect<'_>) {
        wire.stage = Stage::Ended;
        let reason = disconnect.reason;
        assert!(
            !NOT_FOR_US.contains(&reason),
            "{} is told {reason:?}",
            self.name
        );
        let overran = reason == ReasonCode::ReceiveMaximumExceeded;
        assert!(
            !overran || self.has_abandoned || self.is_greedy,
            "{} kept the Receive Maximum and is told otherwise",
            self.name
        );
    }

    fn publish_received(&mut self, wire: &mut Wire, publish: &Publish<'_>, ledger: &Ledger) {
        let topic = topic_of(wire, publish);
        if let Some(id) = publish.packet_id {
            assert!(wire.in_use.insert(id.get()), "{id:?} is in use twice");
            check_quota(wire);
        }
        match (publish.qos, publish.packet_id) {
            (QoS::AtMostOnce, _) => self.delivered(publish, &topic, ledger),
            (QoS::AtLeastOnce, Some(id)) => {
                wire.owe(Reply::Puback(id));
                self.delivered(publish, &topic, ledger);
            }
            (QoS::ExactlyOnce, Some(id)) => {
                wire.owe(Reply::Pubrec(id));
                if self.is_new(id, &topic, publish.payload) {
                    self.delivered(publish, &topic, ledger);
                }
            }
            (_, None) => panic!("QoS above 0 without an identifier"),
        }
    }

    /// Whether a QoS 2 message is no repetition. An identifier that is held for another message may
    /// only come when the Session may be another one.
    fn is_new(&mut self, id: PacketId, topic: &str, payload: &[u8]) -> bool {
        let message = (topic.to_owned(), payload.to_vec());
        let before = self.held.insert(id.get(), message.clone());
        let is_same = before.as_ref() == Some(&message);
        assert!(
            before.is_none() || is_same || self.is_stale,
            "{id:?} is in use for two messages"
        );
        !is_same
    }

    /// One Application Message.
    fn delivered(&mut self, publish: &Publish<'_>, topic: &str, ledger: &Ledger) {
        if topic.starts_with(WILD) {
            return;
        }
        assert!(
            self.asked
                .iter()
                .any(|filter| naive::matches(filter, topic)),
            "nobody asked for {topic}"
        );
        let Some(number) = ledger.number(publish.payload) else {
            return;
        };
        let message = &ledger.messages[number];
        assert_eq!((message.topic, &*message.payload), (topic, publish.payload));
        assert!(
            publish.qos <= message.qos,
            "{:?} came as {:?}",
            message.qos,
            publish.qos
        );
        assert!(message.retain || !publish.retain, "RETAIN came by itself");
        let left = publish.properties.message_expiry_interval();
        // v5[MQTT-3.3.2-6]
        assert!(
            left.is_none_or(|left| message.expiry_s.is_some_and(|all| left <= all)),
            "{left:?} s left"
        );
        let count = self.received.entry(number).or_insert(0);
        *count += 1;
        if message.retain || self.shares {
            return;
        }
        let may_repeat = QoS::AtLeastOnce == message.qos || QoS::AtLeastOnce == publish.qos;
        assert!(
            *count == 1 || may_repeat,
            "{}: message {number} came {count} times",
            self.name
        );
        if *count == 1 {
            // v5[MQTT-4.6.0-5]
            let stream = (message.from, topic.to_owned(), publish.qos);
            let last = self.latest.insert(stream, number);
            assert!(
                last.is_none_or(|last| last < number),
                "{number} came after {last:?}"
            );
        }
    }

    fn puback(&mut self, ack: &Ack<'_>, ledger: &mut Ledger) {
        let id = ack.packet_id.get();
        let at = self
            .open
            .iter()
            .position(|open| open.id == id && open.qos == QoS::AtLeastOnce);
        let open = self.open.remove(at.expect("PUBACK is for a PUBLISH"));
        accept(open.number, ack, ledger);
    }

    fn pubrec(&mut self, wire: &mut Wire, ack: &Ack<'_>, ledger: &mut Ledger) {
        let id = ack.packet_id.get();
        let at = self
            .open
            .iter()
            .position(|open| open.id == id && open.qos == QoS::ExactlyOnce);
        let Some(at) = at else {
            assert!(wire.repeated.contains(&id), "PUBREC is for a PUBLISH");
            return;
        };
        if ack.reason.is_error() {
            assert!(!self.open[at].is_released || wire.repeated.contains(&id));
            self.open.remove(at);
        } else if !self.open[at].is_released {
            self.open[at].is_released = true;
            accept(self.open[at].number, ack, ledger);
            wire.owe(Reply::Pubrel(ack.packet_id));
        }
    }

    fn pubrel(&mut self, wire: &mut Wire, ack: &Ack<'_>) {
        self.held.remove(&ack.packet_id.get());
        // After a reconnect PUBREL alone goes on with an exchange, which counts like any other.
        wire.in_use.insert(ack.packet_id.get());
        check_quota(wire);
        wire.owe(Reply::Pubcomp(ack.packet_id));
    }

    fn pubcomp(&mut self, ack: &Ack<'_>) {
        let id = ack.packet_id.get();
        let at = self
            .open
            .iter()
            .position(|open| open.id == id && open.is_released);
        self.open.remove(at.expect("PUBCOMP is for a PUBREL"));
    }

    fn suback(&mut self, wire: &mut Wire, suback: &Suback<'_>) {
        let asked = wire
            .subscribing
            .remove(&suback.packet_id.get())
            .expect("SUBACK is for a SUBSCRIBE");
        // v5[MQTT-3.8.4-6]
        assert_eq!(suback.reasons.len(), asked.filters.len());
        for (code, (filter, qos, no_local)) in suback.reasons.iter().zip(asked.filters) {
            let Some(granted) = QoS::from_bits(*code) else {
                assert!(*code >= 0x80, "granted {code}");
                continue;
            };
            assert!(
                granted <= qos,
                "{filter}: {qos:?} asked for, {granted:?} granted"
            );
            // A later request may already have changed it.
            if asked.request == self.requests && !filter.starts_with("$share/") {
                self.subscriptions.insert(filter, (granted, no_local));
            }
        }
    }
}

fn unsuback_received(wire: &mut Wire, unsuback: &Unsuback<'_>) {
    let filters = wire.unsubscribing.remove(&unsuback.packet_id.get());
    let filters = filters.expect("UNSUBACK is for an UNSUBSCRIBE");
    assert!(!wire.version.is_v5() || unsuback.reasons.len() == filters);
}

/// The Topic Name, by whatever alias.
fn topic_of(wire: &mut Wire, publish: &Publish<'_>) -> String {
    let Some(alias) = publish.properties.topic_alias() else {
        return publish.topic.to_owned();
    };
    // v5[MQTT-3.1.2-26]
    assert!(
        (1..=wire.alias_maximum).contains(&alias),
        "alias {alias} of {}",
        wire.alias_maximum
    );
    if publish.topic.is_empty() {
        return wire.aliases.get(&alias).expect("the alias was set").clone();
    }
    wire.aliases.insert(alias, publish.topic.to_owned());
    publish.topic.to_owned()
}

// v5[MQTT-3.3.4-9]
fn check_quota(wire: &Wire) {
    assert!(
        wire.in_use.len() <= wire.quota,
        "{} open, {} allowed",
        wire.in_use.len(),
        wire.quota
    );
}

fn accept(number: Option<usize>, ack: &Ack<'_>, ledger: &mut Ledger) {
    if let Some(number) = number.filter(|_| !ack.reason.is_error()) {
        ledger.messages[number].is_accepted = true;
    }
}
