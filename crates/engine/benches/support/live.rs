//! Traces of live delivery: each publisher sends a read of messages, their receivers get them and
//! answer, and so does the publisher.

use std::iter;

use dunlin_engine::ConnectionKey;
use dunlin_packet::{Packet, PropertiesBuf, Property, ProtocolVersion, Publish, QoS};

use super::Trace;
use super::broker::Broker;
use super::packets::{self, Acks, Read};

const TOPIC: &str = "plant/7/oven/temp";

/// The usual size of a payload, in bytes.
const SMALL: usize = 64;

/// Receivers of each message in the fan-out rows.
const RECEIVERS: usize = 100;

static PAYLOAD: [u8; 8192] = [0x2a; 8192];

pub(super) fn qos0() -> Box<dyn Trace> {
    let one = packets::publish(ProtocolVersion::V311, small());
    one_topic(QoS::AtMostOnce, 1, Read::full(iter::repeat(one)))
}

pub(super) fn qos1() -> Box<dyn Trace> {
    let qos = QoS::AtLeastOnce;
    one_topic(qos, 1, packets::batch(small(), qos))
}

pub(super) fn qos2() -> Box<dyn Trace> {
    let qos = QoS::ExactlyOnce;
    one_topic(qos, 1, packets::batch(small(), qos))
}

pub(super) fn fanout_qos0() -> Box<dyn Trace> {
    let qos = QoS::AtMostOnce;
    one_topic(qos, RECEIVERS, packets::batch(small(), qos))
}

pub(super) fn fanout_qos1() -> Box<dyn Trace> {
    let qos = QoS::AtLeastOnce;
    one_topic(qos, RECEIVERS, packets::batch(small(), qos))
}

/// Payloads of 8 KiB.
pub(super) fn large() -> Box<dyn Trace> {
    let message = packets::message(TOPIC, &PAYLOAD);
    let one = packets::publish(ProtocolVersion::V311, message);
    one_topic(QoS::AtMostOnce, 1, Read::full(iter::repeat(one)))
}

/// A plant: 15,000 Subscriptions in 30 Sessions, of which every tenth ends in `#`, and messages on 1,000
/// topics from four publishers. Each goes to one Session.
pub(super) fn wildcards() -> Box<dyn Trace> {
    const SESSIONS: usize = 30;
    const SITES_PER_SESSION: usize = 500;
    const TOPICS: usize = 1000;
    const PUBLISHERS: usize = 4;
    let version = ProtocolVersion::V311;
    let filter = |site: usize| {
        if site % 10 == 9 {
            format!("site/{site}/#")
        } else {
            format!("site/{site}/+/temp")
        }
    };
    let mut live = Live::new(Exchange::Nothing);
    for session in 0..SESSIONS {
        let first = session * SITES_PER_SESSION;
        let filters = (first..first + SITES_PER_SESSION).map(filter);
        let subscribe = packets::subscribe(version, filters, QoS::AtMostOnce);
        let hello = packets::connect(version, &format!("subscriber-{session}"));
        live.add_subscriber(&hello, &subscribe);
    }
    // Sites of all Sessions, among them some of those with `#`.
    let step = SESSIONS * SITES_PER_SESSION / TOPICS;
    let topics: Vec<String> = (0..TOPICS)
        .map(|n| format!("site/{}/oven/temp", n * step + n % step))
        .collect();
    for (number, topics) in topics.chunks(TOPICS / PUBLISHERS).enumerate() {
        let packets = topics
            .iter()
            .map(|topic| packets::publish(version, small_on(topic)));
        let read = Read::of(packets);
        let hello = packets::connect(version, &format!("publisher-{number}"));
        live.add_publisher(&hello, read, 1);
    }
    Box::new(live)
}

/// 5.0 with a Content Type and a User Property, which are passed on as they are, and a Message Expiry
/// Interval, which is not.
pub(super) fn v5_properties() -> Box<dyn Trace> {
    let version = ProtocolVersion::V5;
    let mut properties = PropertiesBuf::new();
    properties.push(Property::ContentType("application/json"));
    properties.push(Property::MessageExpiryInterval(3600));
    properties.push(Property::UserProperty("line", "north-2"));
    let message = Publish {
        properties: properties.as_properties(),
        ..small()
    };
    let one = packets::publish(version, message);
    let mut live = Live::new(Exchange::Nothing);
    live.add_subscriber(
        &packets::connect(version, "subscriber"),
        &packets::subscribe(version, [TOPIC], QoS::AtMostOnce),
    );
    live.add_publisher(
        &packets::connect(version, "publisher"),
        Read::full(iter::repeat(one)),
        1,
    );
    Box::new(live)
}

/// 5.0 with ten topics that both ends name by Topic Alias.
pub(super) fn aliases() -> Box<dyn Trace> {
    const ALIASES: u16 = 10;
    let version = ProtocolVersion::V5;
    let publish = |topic: &str, alias: u16| {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::TopicAlias(alias));
        let message = Publish {
            topic,
            properties: properties.as_properties(),
            ..small()
        };
        packets::publish(version, message)
    };
    let mut live = Live::new(Exchange::Nothing);
    live.add_subscriber(
        &packets::connect_with_aliases("subscriber", ALIASES),
        &packets::subscribe(version, ["plant/+/oven/temp"], QoS::AtMostOnce),
    );
    let known = (1..=ALIASES).cycle().map(|alias| publish("", alias));
    let publisher = live.add_publisher(
        &packets::connect(version, "publisher"),
        Read::full(known),
        1,
    );
    let named = (1..=ALIASES).map(|alias| publish(&format!("plant/{alias}/oven/temp"), alias));
    live.broker.read(publisher, &Read::of(named).bytes);
    live.broker.flush();
    Box::new(live)
}

/// One publisher that sends the same read over and over, and some clients that are subscribed to its
/// topic. 3.1.1.
fn one_topic(qos: QoS, receivers: usize, read: Read) -> Box<dyn Trace> {
    let version = ProtocolVersion::V311;
    let exchange = match qos {
        QoS::AtMostOnce => Exchange::Nothing,
        QoS::AtLeastOnce => Exchange::Acknowledge(Acks::new(Packet::Puback)),
        QoS::ExactlyOnce => Exchange::Release {
            pubrels: packets::pubrels(),
            pubrecs: Acks::new(Packet::Pubrec),
            pubcomps: Acks::new(Packet::Pubcomp),
        },
    };
    let mut live = Live::new(exchange);
    for number in 0..receivers {
        let hello = packets::connect(version, &format!("subscriber-{number}"));
        live.add_subscriber(&hello, &packets::subscribe(version, [TOPIC], qos));
    }
    let hello = packets::connect(version, "publisher");
    live.add_publisher(&hello, read, receivers);
    Box::new(live)
}

fn small() -> Publish<'static> {
    small_on(TOPIC)
}

fn small_on(topic: &str) -> Publish<'_> {
    packets::message(topic, &PAYLOAD[..SMALL])
}

struct Live {
    broker: Broker,
    publishers: Vec<(ConnectionKey, Vec<u8>)>,
    subscribers: Vec<ConnectionKey>,
    exchange: Exchange,
    messages_per_turn: u64,
}

/// What the clients send after the messages.
enum Exchange {
    /// QoS 0.
    Nothing,
    /// QoS 1: every subscriber has its PUBACK packets.
    Acknowledge(Acks),
    /// QoS 2: the publisher releases, every subscriber receives and completes.
    Release {
        pubrels: Vec<u8>,
        pubrecs: Acks,
        pubcomps: Acks,
    },
}

impl Live {
    fn new(exchange: Exchange) -> Self {
        Self {
            broker: Broker::new(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            exchange,
            messages_per_turn: 0,
        }
    }

    fn add_subscriber(&mut self, connect: &[u8], subscribe: &[u8]) {
        let subscriber = self.broker.connect(connect);
        self.broker.read(subscriber, subscribe);
        self.broker.flush();
        self.subscribers.push(subscriber);
    }

    /// Adds a client that sends `read` in each turn, each of whose messages has so many receivers.
    fn add_publisher(&mut self, connect: &[u8], read: Read, receivers: usize) -> ConnectionKey {
        let publisher = self.broker.connect(connect);
        self.broker.flush();
        self.publishers.push((publisher, read.bytes));
        self.messages_per_turn += read.packets * receivers as u64;
        publisher
    }
}

impl Trace for Live {
    fn turn(&mut self) {
        for (publisher, read) in &self.publishers {
            self.broker.read(*publisher, read);
        }
        self.broker.flush();
        match &mut self.exchange {
            Exchange::Nothing => {}
            Exchange::Acknowledge(pubacks) => {
                read_all(&mut self.broker, &self.subscribers, pubacks.next_read());
                self.broker.flush();
            }
            Exchange::Release {
                pubrels,
                pubrecs,
                pubcomps,
            } => {
                for (publisher, _) in &self.publishers {
                    self.broker.read(*publisher, pubrels);
                }
                read_all(&mut self.broker, &self.subscribers, pubrecs.next_read());
                self.broker.flush();
                read_all(&mut self.broker, &self.subscribers, pubcomps.next_read());
                self.broker.flush();
            }
        }
    }

    fn messages_per_turn(&self) -> u64 {
        self.messages_per_turn
    }

    fn delivered(&self) -> u64 {
        self.broker.messages_sent()
    }
}

/// The same read of each of these connections. Their Sessions are in step, and so are their Packet
/// Identifiers.
fn read_all(broker: &mut Broker, connections: &[ConnectionKey], bytes: &[u8]) {
    for connection in connections {
        broker.read(*connection, bytes);
    }
}
