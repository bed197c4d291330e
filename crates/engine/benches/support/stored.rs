//! Traces of what a broker keeps: retained messages, the queue of a client that is away, and Sessions
//! that come and go. 3.1.1.

use dunlin_engine::ConnectionKey;
use dunlin_packet::{Packet, ProtocolVersion, Publish, QoS};

use super::Trace;
use super::broker::Broker;
use super::packets::{self, Acks, BATCH, Read};

const VERSION: ProtocolVersion = ProtocolVersion::V311;

const PAYLOAD: [u8; 64] = [0x2a; 64];

/// A client subscribes to 1,000 retained messages, gets them, and unsubscribes.
pub(super) fn retained() -> Box<dyn Trace> {
    const MESSAGES: u64 = 1000;
    const FILTER: &str = "plant/+/state";
    let mut broker = Broker::new();
    let publisher = broker.connect(&packets::connect(VERSION, "publisher"));
    let set = Read::of((0..MESSAGES).map(|number| {
        let topic = format!("plant/{number}/state");
        let message = Publish {
            retain: true,
            ..packets::message(&topic, &PAYLOAD)
        };
        packets::publish(VERSION, message)
    }));
    broker.read(publisher, &set.bytes);
    let subscriber = broker.connect(&packets::connect(VERSION, "subscriber"));
    broker.flush();
    Box::new(Retained {
        broker,
        subscriber,
        subscribe: packets::subscribe(VERSION, [FILTER], QoS::AtMostOnce),
        unsubscribe: packets::unsubscribe(FILTER),
        messages: set.packets,
    })
}

struct Retained {
    broker: Broker,
    subscriber: ConnectionKey,
    subscribe: Vec<u8>,
    unsubscribe: Vec<u8>,
    messages: u64,
}

impl Trace for Retained {
    fn turn(&mut self) {
        self.broker.read(self.subscriber, &self.subscribe);
        self.broker.flush();
        self.broker.read(self.subscriber, &self.unsubscribe);
        self.broker.flush();
    }

    fn messages_per_turn(&self) -> u64 {
        self.messages
    }

    fn delivered(&self) -> u64 {
        self.broker.messages_sent()
    }
}

/// While a client is away, 400 QoS 1 messages are queued for it. It comes back, takes them, and goes.
pub(super) fn offline() -> Box<dyn Trace> {
    const TOPIC: &str = "plant/7/oven/temp";
    let qos = QoS::AtLeastOnce;
    let mut broker = Broker::new();
    let publisher = broker.connect(&packets::connect(VERSION, "publisher"));
    let connect = packets::connect_again("subscriber");
    let disconnect = packets::disconnect();
    let subscriber = broker.connect(&connect);
    broker.read(subscriber, &packets::subscribe(VERSION, [TOPIC], qos));
    broker.read(subscriber, &disconnect);
    broker.flush();
    Box::new(Offline {
        broker,
        publisher,
        publish: packets::batch(packets::message(TOPIC, &PAYLOAD), qos).bytes,
        connect,
        pubacks: Acks::new(Packet::Puback),
        disconnect,
    })
}

struct Offline {
    broker: Broker,
    publisher: ConnectionKey,
    publish: Vec<u8>,
    connect: Vec<u8>,
    pubacks: Acks,
    disconnect: Vec<u8>,
}

/// Reads of the publisher, and of the subscriber, that a turn takes.
const BATCHES: u64 = 20;

impl Trace for Offline {
    fn turn(&mut self) {
        for _ in 0..BATCHES {
            self.broker.read(self.publisher, &self.publish);
            self.broker.flush();
        }
        // CONNACK, and as much of the queue as may be in flight.
        let subscriber = self.broker.connect(&self.connect);
        self.broker.flush();
        for _ in 0..BATCHES {
            self.broker.read(subscriber, self.pubacks.next_read());
            self.broker.flush();
        }
        self.broker.read(subscriber, &self.disconnect);
        self.broker.flush();
    }

    fn messages_per_turn(&self) -> u64 {
        BATCHES * u64::from(BATCH)
    }

    fn delivered(&self) -> u64 {
        self.broker.messages_sent()
    }
}

/// A client connects, gets its CONNACK and disconnects. What counts as a message is such a cycle.
pub(super) fn connect() -> Box<dyn Trace> {
    Box::new(Cycles {
        broker: Broker::new(),
        connect: packets::connect(VERSION, "visitor"),
        disconnect: packets::disconnect(),
    })
}

struct Cycles {
    broker: Broker,
    connect: Vec<u8>,
    disconnect: Vec<u8>,
}

/// Bytes of a CONNACK of 3.1.1, which is all that is written here.
const CONNACK_BYTES: u64 = 4;

impl Trace for Cycles {
    fn turn(&mut self) {
        let client = self.broker.connect(&self.connect);
        self.broker.flush();
        self.broker.read(client, &self.disconnect);
        self.broker.flush();
    }

    fn messages_per_turn(&self) -> u64 {
        1
    }

    fn delivered(&self) -> u64 {
        self.broker.written_bytes() / CONNACK_BYTES
    }
}
