//! What a client sends, as the input chooses.

use dunlin_packet::{
    Ack, Disconnect, Packet, PacketId, Properties, PropertiesBuf, Property, ProtocolVersion,
    Publish, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeBody, SubscriptionOptions,
    Unsubscribe, UnsubscribeBody, encode,
};

use super::wire::Subscribing;
use super::{Client, Open, Reply, Stage, Wire};
use crate::choices::Choices;
use crate::ledger::{Ledger, Message};
use crate::naive;

/// Topics of one and of two workers; few, so that they meet.
pub(crate) const TOPICS: [&str; 5] = ["t/a", "t/b", "t/a/b", "t", "x"];

const FILTERS: [&str; 12] = [
    "t/a",
    "t/b",
    "t/+",
    "t/#",
    "#",
    "+/a",
    "+/+",
    "x",
    "$share/g/t/#",
    "$share/g/t/a",
    "$share/h/+",
    "t/#/bad",
];

/// Below, at and above the size from which payloads are referenced instead of copied.
const PAYLOADS: [usize; 4] = [5, 60, 4096, 5000];

/// A PUBLISH that was made.
pub struct Published {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its number, and whether it must reach those who want it.
    pub message: Option<(usize, bool)>,
    /// Its Topic Name.
    pub topic: &'static str,
}

impl Client {
    /// SUBSCRIBE with one to three filters.
    pub fn subscribe(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let id = self.take_id()?;
        let wire = self.wire.as_mut()?;
        let is_v5 = wire.version.is_v5();
        let mut body = SubscribeBody::new();
        let mut filters = Vec::new();
        for _ in 0..=choices.below(3) {
            let (filter, byte) = (choices.pick(&FILTERS), choices.byte());
            let is_shared = filter.starts_with("$share/");
            let handling = RetainHandling::from_bits((byte >> 4) & 3);
            let options = SubscriptionOptions {
                qos: QoS::from_bits(byte & 3).unwrap_or(QoS::ExactlyOnce),
                no_local: is_v5 && !is_shared && byte & 4 != 0,
                retain_as_published: byte & 8 != 0,
                retain_handling: handling.unwrap_or(RetainHandling::SendAtSubscribe),
            };
            body.push(filter, options);
            filters.push((filter.to_owned(), options.qos, options.no_local));
            self.shares |= is_shared;
            self.subscriptions.remove(filter);
            let plain = match naive::share(filter) {
                Some(parts) => parts.map(|(_, plain)| plain),
                None => Some(filter).filter(|filter| naive::is_filter(filter)),
            };
            self.asked.extend(plain.map(str::to_owned));
        }
        let mut properties = PropertiesBuf::new();
        if is_v5 && choices.yes() {
            properties.push(Property::SubscriptionIdentifier(
                1 + u32::from(choices.byte()),
            ));
        }
        self.requests += 1;
        self.awaited.clear();
        wire.subscribing.insert(
            id.get(),
            Subscribing {
                filters,
                request: self.requests,
            },
        );
        let subscribe = Subscribe::from_body(id, properties.as_properties(), body.as_bytes());
        Some(encoded(&Packet::Subscribe(subscribe), wire.version))
    }

    /// UNSUBSCRIBE with one or two filters.
    pub fn unsubscribe(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let id = self.take_id()?;
        let wire = self.wire.as_mut()?;
        let mut body = UnsubscribeBody::new();
        let count = 1 + choices.below(2);
        for _ in 0..count {
            let filter = choices.pick(&FILTERS);
            body.push(filter);
            self.subscriptions.remove(filter);
        }
        self.requests += 1;
        self.awaited.clear();
        wire.unsubscribing.insert(id.get(), count);
        let unsubscribe = Unsubscribe::from_body(id, Properties::EMPTY, body.as_bytes());
        Some(encoded(&Packet::Unsubscribe(unsubscribe), wire.version))
    }

    /// PUBLISH, unless as many are open as the broker allows (`receive_maximum`).
    pub fn publish(
        &mut self,
        choices: &mut Choices<'_>,
        ledger: &mut Ledger,
        receive_maximum: u16,
    ) -> Option<Published> {
        let (topic, byte) = (choices.pick(&TOPICS), choices.byte());
        let qos = QoS::from_bits(byte & 3).unwrap_or(QoS::ExactlyOnce);
        let is_full = self.open.len() >= usize::from(receive_maximum);
        if !self.is_online() || (qos > QoS::AtMostOnce && is_full && !self.is_greedy) {
            return None;
        }
        let packet_id = if qos > QoS::AtMostOnce {
            Some(self.take_id()?)
        } else {
            None
        };
        let wire = self.wire.as_mut()?;
        let is_v5 = wire.version.is_v5();
        let retain = byte & 4 != 0;
        let is_deletion = retain && byte & 8 != 0;
        let len = PAYLOADS[usize::from((byte >> 4) & 3)];
        let payload = if is_deletion {
            Vec::new()
        } else {
            ledger.next_payload(len)
        };
        let expiry_s = (is_v5 && byte & 64 != 0).then(|| 1 + choices.below(3) as u32);
        let mut properties = PropertiesBuf::new();
        if let Some(seconds) = expiry_s {
            properties.push(Property::MessageExpiryInterval(seconds));
        }
        let name = if is_v5 && byte & 128 != 0 {
            aliased(wire, topic, choices, &mut properties)
        } else {
            topic
        };
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: name,
            packet_id,
            properties: properties.as_properties(),
            payload: &payload,
        };
        let bytes = encoded(&Packet::Publish(publish), wire.version);
        let number = (!is_deletion).then_some(ledger.messages.len());
        if let Some(id) = packet_id.map(PacketId::get) {
            let payload = payload.clone();
            let open = Open {
                id,
                number,
                topic,
                qos,
                retain,
                expiry_s,
                payload,
                is_released: false,
            };
            self.open.push(open);
        }
        if number.is_some() {
            let from = self.index;
            let message = Message {
                from,
                topic,
                qos,
                retain,
                expiry_s,
                payload,
                is_accepted: false,
            };
            ledger.messages.push(message);
        }
        let is_due = qos > QoS::AtMostOnce && expiry_s.is_none();
        Some(Published {
            bytes,
            message: number.map(|number| (number, is_due)),
            topic,
        })
    }

    /// One of the QoS 2 messages on their way once more, on the same connection. Only 3.x allows it.
    pub fn repeat(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let wire = self
            .wire
            .as_mut()
            .filter(|wire| wire.stage == Stage::Open && !wire.version.is_v5())?;
        let mut unreleased = self
            .open
            .iter()
            .filter(|open| open.qos == QoS::ExactlyOnce && !open.is_released);
        let open = unreleased.nth(choices.below(4))?;
        wire.repeated.insert(open.id);
        let mut bytes = Vec::new();
        put_again(open, wire.version, &mut bytes);
        Some(bytes)
    }

    /// PINGREQ.
    pub fn ping(&mut self) -> Option<Vec<u8>> {
        let wire = self
            .wire
            .as_mut()
            .filter(|wire| wire.stage == Stage::Open)?;
        wire.pings += 1;
        Some(encoded(&Packet::Pingreq, wire.version))
    }

    /// DISCONNECT, on 5.0 perhaps with the Will.
    pub fn disconnect(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let wire = self
            .wire
            .as_mut()
            .filter(|wire| wire.stage == Stage::Open)?;
        let with_will = choices.yes() && wire.version.is_v5();
        let reason = if with_will {
            ReasonCode::DisconnectWithWill
        } else {
            ReasonCode::NormalDisconnection
        };
        let disconnect = Disconnect {
            reason,
            properties: Properties::EMPTY,
        };
        Some(encoded(&Packet::Disconnect(disconnect), wire.version))
    }

    /// One of the packets that are owed.
    pub fn answer(&mut self, at: usize) -> Option<Vec<u8>> {
        let wire = self
            .wire
            .as_mut()
            .filter(|wire| wire.stage == Stage::Open && at < wire.owed.len())?;
        let reply = wire.owed.remove(at);
        let ack = |packet_id| Ack {
            packet_id,
            reason: ReasonCode::Success,
            properties: Properties::EMPTY,
        };
        let packet = match reply {
            Reply::Puback(id) => {
                wire.in_use.remove(&id.get());
                Packet::Puback(ack(id))
            }
            Reply::Pubrec(id) => Packet::Pubrec(ack(id)),
            Reply::Pubrel(id) => Packet::Pubrel(ack(id)),
            Reply::Pubcomp(id) => {
                wire.in_use.remove(&id.get());
                Packet::Pubcomp(ack(id))
            }
        };
        Some(encoded(&packet, wire.version))
    }

    /// Everything that is open, in its order, on a new connection.
    pub(super) fn resend(&self, wire: &Wire, out: &mut Vec<u8>) {
        for open in &self.open {
            put_again(open, wire.version, out);
        }
    }

    /// An identifier that is free: the lowest one, or, when the broker may know of others, a new one.
    fn take_id(&mut self) -> Option<PacketId> {
        let wire = self
            .wire
            .as_ref()
            .filter(|wire| wire.stage == Stage::Open)?;
        let is_free = |id: &u16| {
            !self.open.iter().any(|open| open.id == *id)
                && !wire.subscribing.contains_key(id)
                && !wire.unsubscribing.contains_key(id)
                && !wire.repeated.contains(id)
        };
        let from = if self.has_abandoned {
            self.highest_id + 1
        } else {
            1
        };
        let id = (from..u16::MAX).find(is_free)?;
        self.highest_id = self.highest_id.max(id);
        PacketId::new(id)
    }
}

/// The Topic Name to send when an alias goes with it.
fn aliased(
    wire: &mut Wire,
    topic: &'static str,
    choices: &mut Choices<'_>,
    properties: &mut PropertiesBuf,
) -> &'static str {
    if wire.own_alias_maximum == 0 {
        return topic;
    }
    let alias = 1 + choices.below(usize::from(wire.own_alias_maximum.min(3))) as u16;
    properties.push(Property::TopicAlias(alias));
    let known = wire.own_aliases.insert(alias, topic) == Some(topic);
    if known { "" } else { topic }
}

fn put_again(open: &Open, version: ProtocolVersion, out: &mut Vec<u8>) {
    let packet_id = PacketId::new(open.id).expect("identifiers are not 0");
    let mut properties = PropertiesBuf::new();
    if let Some(seconds) = open.expiry_s.filter(|_| version.is_v5()) {
        properties.push(Property::MessageExpiryInterval(seconds));
    }
    let packet = if open.is_released {
        let (reason, properties) = (ReasonCode::Success, Properties::EMPTY);
        Packet::Pubrel(Ack {
            packet_id,
            reason,
            properties,
        })
    } else {
        Packet::Publish(Publish {
            dup: true,
            qos: open.qos,
            retain: open.retain,
            topic: open.topic,
            packet_id: Some(packet_id),
            properties: properties.as_properties(),
            payload: &open.payload,
        })
    };
    encode(&packet, version, u32::MAX, out).expect("what was sent has a form on the wire");
}

fn encoded(packet: &Packet<'_>, version: ProtocolVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(packet, version, u32::MAX, &mut bytes)
        .expect("what a client sends has a form on the wire");
    bytes
}
