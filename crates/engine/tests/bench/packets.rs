//! Packets as tests write them and read them.

use std::collections::BTreeMap;
use std::fmt;

use dunlin_packet::{
    Ack, Connect, Packet, PacketId, PacketType, Properties, PropertiesBuf, Property,
    ProtocolVersion, Publish, QoS, ReasonCode, TopicName, Will, encode,
};

/// CONNECT, and what comes in one segment with it.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) version: ProtocolVersion,
    pub(crate) client_id: String,
    pub(crate) user: Option<String>,
    /// Whether the client answers what it receives as the standard demands.
    pub(crate) acknowledges: bool,
    /// Where a client without identifier goes.
    pub(crate) worker: u16,
    clean_start: bool,
    keep_alive_s: u16,
    properties: PropertiesBuf,
    will: Option<Message>,
    tail: Vec<u8>,
}

impl Hello {
    /// 5.0, Clean Start, a Session that ends with its connection.
    pub(crate) fn v5(client_id: &str) -> Self {
        Self::new(ProtocolVersion::V5, client_id)
    }

    /// 3.1.1 with Clean Session.
    pub(crate) fn v311(client_id: &str) -> Self {
        Self::new(ProtocolVersion::V311, client_id)
    }

    /// 3.1 with Clean Session.
    pub(crate) fn v31(client_id: &str) -> Self {
        Self::new(ProtocolVersion::V31, client_id)
    }

    fn new(version: ProtocolVersion, client_id: &str) -> Self {
        Self {
            version,
            client_id: client_id.to_owned(),
            user: None,
            acknowledges: true,
            worker: 0,
            clean_start: true,
            keep_alive_s: 0,
            properties: PropertiesBuf::new(),
            will: None,
            tail: Vec::new(),
        }
    }

    /// Goes on with its Session, which is kept for so many seconds; for ever on 3.x.
    pub(crate) fn kept(mut self, expiry_s: u32) -> Self {
        self.clean_start = false;
        if self.version.is_v5() {
            self.properties
                .push(Property::SessionExpiryInterval(expiry_s));
        }
        self
    }

    /// Begins with a new Session, whatever else was said.
    pub(crate) fn clean(mut self) -> Self {
        self.clean_start = true;
        self
    }

    /// Never acknowledges by itself.
    pub(crate) fn silent(mut self) -> Self {
        self.acknowledges = false;
        self
    }

    pub(crate) fn keep_alive(mut self, seconds: u16) -> Self {
        self.keep_alive_s = seconds;
        self
    }

    pub(crate) fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    pub(crate) fn on_worker(mut self, worker: u16) -> Self {
        self.worker = worker;
        self
    }

    pub(crate) fn will(mut self, message: Message) -> Self {
        self.will = Some(message);
        self
    }

    pub(crate) fn property(mut self, property: Property<'_>) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn receive_maximum(self, maximum: u16) -> Self {
        self.property(Property::ReceiveMaximum(maximum))
    }

    pub(crate) fn packet_size_max(self, bytes: u32) -> Self {
        self.property(Property::MaximumPacketSize(bytes))
    }

    pub(crate) fn aliases(self, maximum: u16) -> Self {
        self.property(Property::TopicAliasMaximum(maximum))
    }

    /// Sends this behind CONNECT without waiting.
    pub(crate) fn then(mut self, packet: &Packet<'_>) -> Self {
        encode(packet, self.version, u32::MAX, &mut self.tail).unwrap();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let will = self.will.as_ref().map(|will| Will {
            topic: TopicName::new(&will.topic).unwrap(),
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.as_properties(),
        });
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            client_id: &self.client_id,
            will,
            user_name: self.user.as_deref(),
            password: None,
            properties: self.properties.as_properties(),
        };
        let mut bytes = Vec::new();
        encode(
            &Packet::Connect(connect),
            self.version,
            u32::MAX,
            &mut bytes,
        )
        .unwrap();
        bytes.extend_from_slice(&self.tail);
        bytes
    }
}

/// An Application Message as a client sends it, or leaves it as its Will.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    /// 0 for the client's next one.
    pub(crate) packet_id: u16,
    retain: bool,
    dup: bool,
    properties: PropertiesBuf,
}

impl Message {
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>, qos: u8) -> Self {
        Self {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            qos: QoS::from_bits(qos).unwrap(),
            packet_id: 0,
            retain: false,
            dup: false,
            properties: PropertiesBuf::new(),
        }
    }

    pub(crate) fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    pub(crate) fn id(mut self, packet_id: u16) -> Self {
        self.packet_id = packet_id;
        self
    }

    pub(crate) fn property(mut self, property: Property<'_>) -> Self {
        self.properties.push(property);
        self
    }

    pub(crate) fn expiry(self, seconds: u32) -> Self {
        self.property(Property::MessageExpiryInterval(seconds))
    }

    pub(crate) fn alias(self, alias: u16) -> Self {
        self.property(Property::TopicAlias(alias))
    }

    /// For a Will: seconds until it is published.
    pub(crate) fn delay(self, seconds: u32) -> Self {
        self.property(Property::WillDelayInterval(seconds))
    }

    pub(crate) fn user(self, name: &str, value: &str) -> Self {
        self.property(Property::UserProperty(name, value))
    }

    pub(crate) fn packet(&self, packet_id: u16) -> Packet<'_> {
        Packet::Publish(Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: PacketId::new(packet_id).filter(|_| self.qos > QoS::AtMostOnce),
            properties: self.properties.as_properties(),
            payload: &self.payload,
        })
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub(crate) fn ack(packet_type: PacketType, id: u16, reason: ReasonCode) -> Packet<'static> {
    let ack = Ack {
        packet_id: PacketId::new(id).unwrap(),
        reason,
        properties: Properties::EMPTY,
    };
    match packet_type {
        PacketType::Puback => Packet::Puback(ack),
        PacketType::Pubrec => Packet::Pubrec(ack),
        PacketType::Pubrel => Packet::Pubrel(ack),
        PacketType::Pubcomp => Packet::Pubcomp(ack),
        other => panic!("{other} acknowledges nothing"),
    }
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Connack {
        present: bool,
        reason: u8,
        assigned: Option<String>,
    },
    Publish(Delivered),
    Ack {
        packet_type: PacketType,
        id: u16,
        reason: u8,
    },
    Suback {
        id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        id: u16,
        codes: Vec<u8>,
    },
    Pingresp,
    Disconnect(u8),
    /// The broker closed the transport.
    Closed,
}

impl Seen {
    /// A packet, with the Topic Alias mappings of its connection.
    pub(crate) fn of(packet: &Packet<'_>, aliases: &mut BTreeMap<u16, String>) -> Self {
        match packet {
            Packet::Connack(connack) => Self::Connack {
                present: connack.session_present,
                reason: connack.reason.code(),
                assigned: connack
                    .properties
                    .assigned_client_identifier()
                    .map(str::to_owned),
            },
            Packet::Publish(publish) => Self::Publish(Delivered::of(publish, aliases)),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => Self::Ack {
                packet_type: packet.packet_type(),
                id: ack.packet_id.get(),
                reason: ack.reason.code(),
            },
            Packet::Suback(suback) => Self::Suback {
                id: suback.packet_id.get(),
                codes: suback.reasons.to_vec(),
            },
            Packet::Unsuback(unsuback) => Self::Unsuback {
                id: unsuback.packet_id.get(),
                codes: unsuback.reasons.to_vec(),
            },
            Packet::Pingresp => Self::Pingresp,
            Packet::Disconnect(disconnect) => Self::Disconnect(disconnect.reason.code()),
            other => panic!("the broker sent {}", other.packet_type()),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connack { reason, .. } if *reason != 0 => write!(f, "connack {reason:#04x}"),
            Self::Connack { present: true, .. } => f.write_str("connack present"),
            Self::Connack { .. } => f.write_str("connack"),
            Self::Publish(delivered) => fmt::Display::fmt(delivered, f),
            Self::Ack {
                packet_type,
                id,
                reason,
            } => {
                write!(f, "{} {id}", packet_type.name().to_lowercase())?;
                if *reason == 0 {
                    return Ok(());
                }
                write!(f, " {reason:#04x}")
            }
            Self::Suback { id, codes } => write!(f, "suback {id} {codes:02x?}"),
            Self::Unsuback { id, codes } => write!(f, "unsuback {id} {codes:02x?}"),
            Self::Pingresp => f.write_str("pingresp"),
            Self::Disconnect(reason) => write!(f, "disconnect {reason:#04x}"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// One PUBLISH that a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    /// Subscription Identifiers, sorted.
    pub(crate) ids: Vec<u32>,
    pub(crate) expiry_s: Option<u32>,
    /// Topic Alias, and whether it stood for the Topic Name.
    pub(crate) alias: Option<(u16, bool)>,
    pub(crate) user: Vec<(String, String)>,
}

impl Delivered {
    fn of(publish: &Publish<'_>, aliases: &mut BTreeMap<u16, String>) -> Self {
        let properties = publish.properties;
        let alias = properties
            .topic_alias()
            .map(|alias| (alias, publish.topic.is_empty()));
        let topic = match alias {
            Some((alias, true)) => aliases
                .get(&alias)
                .cloned()
                .expect("the broker used a Topic Alias that it had set"),
            Some((alias, false)) => {
                aliases.insert(alias, publish.topic.to_owned());
                publish.topic.to_owned()
            }
            None => publish.topic.to_owned(),
        };
        let mut ids: Vec<u32> = properties.subscription_identifiers().collect();
        ids.sort_unstable();
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos.bits(),
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id.map_or(0, PacketId::get),
            ids,
            expiry_s: properties.message_expiry_interval(),
            alias,
            user: properties.user_properties().map(owned).collect(),
        }
    }

    /// The payload, if it is text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={} q{}", self.topic, shown(&self.payload), self.qos)?;
        if self.retain {
            f.write_str(" retain")?;
        }
        if self.dup {
            f.write_str(" dup")?;
        }
        if !self.ids.is_empty() {
            write!(f, " ids{:?}", self.ids)?;
        }
        if let Some(seconds) = self.expiry_s {
            write!(f, " expiry {seconds}")?;
        }
        match self.alias {
            None => {}
            Some((alias, false)) => write!(f, " alias {alias}")?,
            Some((alias, true)) => write!(f, " by alias {alias}")?,
        }
        for (name, value) in &self.user {
            write!(f, " {name}:{value}")?;
        }
        Ok(())
    }
}

/// A payload in a line of text.
pub(crate) fn shown(payload: &[u8]) -> String {
    if payload.len() > 64 {
        return format!("<{} bytes>", payload.len());
    }
    String::from_utf8_lossy(payload).into_owned()
}
