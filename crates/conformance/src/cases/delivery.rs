//! The exchanges of QoS 0, 1 and 2, in both directions: section 4.3 of MQTT 5.0.
//!
//! `sender_` cases watch what the broker sends to a subscriber, `receiver_` cases what it answers to a publisher. What is
//! open when a connection ends, and what is sent again, is in `session`.

use std::collections::BTreeSet;

use super::session::{durable, outwait_one_second};
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, Prop, PublishSpec, Raw, wire};

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        sender_at_qos0_sets_no_dup,
        ["v5[MQTT-4.3.1-1]", "v5[MQTT-3.3.1-2]"]
    ),
    case!(
        sender_at_qos1_takes_a_free_packet_id,
        ["v5[MQTT-4.3.2-1]", "v5[MQTT-2.2.1-4]"]
    ),
    case!(
        sender_at_qos1_sets_no_dup_at_first,
        ["v5[MQTT-4.3.2-2]", "v5[MQTT-3.3.1-3]"]
    ),
    case!(sender_at_qos1_waits_for_puback, ["v5[MQTT-4.3.2-3]"]),
    case!(
        sender_at_qos2_takes_a_free_packet_id,
        ["v5[MQTT-4.3.3-1]", "v5[MQTT-2.2.1-4]"]
    ),
    case!(
        sender_at_qos2_sets_no_dup_at_first,
        ["v5[MQTT-4.3.3-2]", "v5[MQTT-3.3.1-3]"]
    ),
    case!(sender_at_qos2_waits_for_pubrec, ["v5[MQTT-4.3.3-3]"]),
    case!(
        sender_at_qos2_answers_pubrec_by_pubrel,
        ["v5[MQTT-4.3.3-4]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        sender_at_qos2_sends_no_pubrel_after_a_refusal,
        ["v5[MQTT-4.3.3-4]"]
    ),
    case!(sender_at_qos2_waits_for_pubcomp, ["v5[MQTT-4.3.3-5]"]),
    case!(
        sender_at_qos2_sends_no_publish_after_pubrel,
        ["v5[MQTT-4.3.3-6]"]
    ),
    case!(
        sender_at_qos2_forgets_expiry_once_sent,
        ["v5[MQTT-4.3.3-7]"]
    ),
    case!(
        receiver_at_qos1_answers_puback,
        ["v5[MQTT-4.3.2-4]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        receiver_at_qos1_takes_a_repeated_id_as_new,
        ["v5[MQTT-4.3.2-5]"]
    ),
    case!(
        receiver_at_qos2_answers_pubrec,
        ["v5[MQTT-4.3.3-8]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        receiver_at_qos2_takes_an_id_as_new_after_a_refusal,
        ["v5[MQTT-4.3.3-9]"]
    ),
    case!(
        receiver_at_qos2_passes_a_repeat_on_once,
        ["v5[MQTT-4.3.3-10]"]
    ),
    case!(
        receiver_at_qos2_knows_a_repeat_on_a_new_connection,
        ["v5[MQTT-4.3.3-10]"]
    ),
    case!(
        receiver_at_qos2_answers_pubrel_by_pubcomp,
        ["v5[MQTT-4.3.3-11]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(
        receiver_at_qos2_takes_an_id_as_new_after_pubcomp,
        ["v5[MQTT-4.3.3-12]"]
    ),
    case!(
        receiver_at_qos2_ends_the_exchange_of_an_expired_message,
        ["v5[MQTT-4.3.3-13]"]
    ),
];

/// A publisher, and a subscriber with QoS 2 to their topic.
struct Line {
    publisher: Raw,
    subscriber: Raw,
    topic: String,
}

impl Line {
    fn new(lab: &Lab) -> Line {
        Line::to(lab, &ConnectSpec::v5(&lab.unique("subscriber")))
    }

    fn to(lab: &Lab, subscriber: &ConnectSpec<'_>) -> Line {
        let topic = lab.unique("line");
        let publisher = lab.broker().v5(&lab.unique("publisher"));
        let mut subscriber = lab.broker().connect(subscriber);
        assert_eq!(subscriber.subscribe(&[(topic.as_str(), 2)]), [2]);
        Line {
            publisher,
            subscriber,
            topic,
        }
    }

    /// Publishes one message; its delivery, not acknowledged.
    #[track_caller]
    fn deliver(&mut self, payload: &[u8], qos: u8) -> Delivered {
        self.publisher
            .publish(&PublishSpec::new(&self.topic, payload, qos));
        let delivered = self.subscriber.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.qos),
            (payload, qos)
        );
        delivered
    }

    /// What the subscriber has got so far, up to a marker at the same QoS.
    #[track_caller]
    fn received_until_marker(&mut self, qos: u8) -> Vec<Vec<u8>> {
        self.publisher.publish(&PublishSpec {
            packet_id: 999,
            ..PublishSpec::new(&self.topic, b"marker", qos)
        });
        let mut payloads = Vec::new();
        loop {
            let delivered = self.subscriber.recv_publish();
            self.subscriber.ack(&delivered);
            if delivered.payload == b"marker" {
                return payloads;
            }
            payloads.push(delivered.payload);
        }
    }
}

/// The next packet is this acknowledgement with success.
#[track_caller]
fn expect_ack(raw: &mut Raw, first: u8, packet_id: u16) {
    let ack = raw.recv();
    assert_eq!(
        (ack.first, ack.packet_id(), ack.reason(5)),
        (first, packet_id, 0),
        "{ack:?}"
    );
}

/// Loses the connection once all that it sent was handled, and resumes its Session.
#[track_caller]
fn reconnect(lab: &Lab, mut raw: Raw, client_id: &str) -> Raw {
    assert!(raw.ping().is_empty());
    raw.drop_connection();
    let resumed = lab.broker().connect(&durable(client_id));
    assert!(resumed.session_present());
    resumed
}

fn sender_at_qos0_sets_no_dup(lab: &Lab) {
    let mut line = Line::new(lab);
    let Line {
        publisher,
        subscriber,
        topic,
    } = &mut line;
    publisher.publish(&PublishSpec::new(topic, b"x", 0));
    assert_eq!(subscriber.recv().first, 0x30);
    // Also where DUP came in, and where the Subscription lowers the QoS.
    assert_eq!(subscriber.subscribe(&[(topic.as_str(), 0)]), [0]);
    for qos in [1, 2] {
        publisher.publish(&PublishSpec {
            dup: true,
            ..PublishSpec::new(topic, b"x", qos)
        });
        assert_eq!(subscriber.recv().first, 0x30);
    }
    assert!(subscriber.ping().is_empty());
}

/// Packet Identifiers of messages in flight differ, and stay so while some are acknowledged and others follow.
#[track_caller]
fn uses_free_packet_ids(line: &mut Line, qos: u8) {
    let mut open: Vec<Delivered> = Vec::new();
    for round in 0..10 {
        for _ in 0..4 {
            open.push(line.deliver(b"x", qos));
        }
        let ids: BTreeSet<u16> = open.iter().map(|delivered| delivered.packet_id).collect();
        assert!(
            ids.len() == open.len() && !ids.contains(&0),
            "Packet Identifiers in flight: {open:?}"
        );
        // Half of them are let go: the oldest in even rounds, the newest in odd ones.
        if round % 2 == 1 {
            open.reverse();
        }
        for _ in 0..open.len() / 2 {
            let done = open.remove(0);
            line.subscriber.ack(&done);
        }
    }
}

fn sender_at_qos1_takes_a_free_packet_id(lab: &Lab) {
    uses_free_packet_ids(&mut Line::new(lab), 1);
}

/// The publisher's DUP is its own: the first delivery has none, whatever it was.
#[track_caller]
fn sets_no_dup_at_first(lab: &Lab, qos: u8) {
    let Line {
        mut publisher,
        mut subscriber,
        topic,
    } = Line::new(lab);
    for (packet_id, dup) in [(1, false), (2, true), (3, true)] {
        publisher.publish(&PublishSpec {
            dup,
            packet_id,
            ..PublishSpec::new(&topic, b"x", qos)
        });
        let packet = subscriber.recv();
        assert_eq!(
            packet.first,
            0x30 | (qos << 1),
            "QoS {qos}, neither DUP nor RETAIN: {packet:?}"
        );
    }
}

fn sender_at_qos1_sets_no_dup_at_first(lab: &Lab) {
    sets_no_dup_at_first(lab, 1);
}

fn sender_at_qos1_waits_for_puback(lab: &Lab) {
    let id = lab.unique("c");
    let mut line = Line::to(lab, &durable(&id));
    let first = line.deliver(b"first", 1);
    let second = line.deliver(b"second", 1);
    // A PUBACK for another Packet Identifier does not acknowledge it.
    line.subscriber
        .send(&wire::ack(0x40, 5, second.packet_id, None));
    let mut subscriber = reconnect(lab, line.subscriber, &id);
    assert_eq!(
        subscriber.recv_publish(),
        Delivered {
            dup: true,
            ..first.clone()
        }
    );
    assert!(subscriber.ping().is_empty());
    subscriber.ack(&first);
    let mut subscriber = reconnect(lab, subscriber, &id);
    assert!(subscriber.ping().is_empty());
}

fn sender_at_qos2_takes_a_free_packet_id(lab: &Lab) {
    uses_free_packet_ids(&mut Line::new(lab), 2);
    // A released exchange holds its identifier too.
    let mut line = Line::new(lab);
    let mut ids = BTreeSet::new();
    for number in 1..=10 {
        let delivered = line.deliver(b"x", 2);
        line.subscriber
            .send(&wire::ack(0x50, 5, delivered.packet_id, None));
        expect_ack(&mut line.subscriber, 0x62, delivered.packet_id);
        ids.insert(delivered.packet_id);
        assert_eq!(ids.len(), number);
    }
}

fn sender_at_qos2_sets_no_dup_at_first(lab: &Lab) {
    sets_no_dup_at_first(lab, 2);
}

fn sender_at_qos2_waits_for_pubrec(lab: &Lab) {
    let id = lab.unique("c");
    let mut line = Line::to(lab, &durable(&id));
    let first = line.deliver(b"first", 2);
    let second = line.deliver(b"second", 2);
    line.subscriber.ack(&second);
    let mut subscriber = reconnect(lab, line.subscriber, &id);
    assert_eq!(
        subscriber.recv_publish(),
        Delivered {
            dup: true,
            ..first.clone()
        }
    );
    assert!(subscriber.ping().is_empty());
    subscriber.ack(&first);
    let mut subscriber = reconnect(lab, subscriber, &id);
    assert!(subscriber.ping().is_empty());
}

fn sender_at_qos2_answers_pubrec_by_pubrel(lab: &Lab) {
    let mut line = Line::new(lab);
    for form in ["", "00", "10", "0000", "1000"] {
        let delivered = line.deliver(b"x", 2);
        let body = [delivered.packet_id.to_be_bytes().to_vec(), wire::hex(form)].concat();
        line.subscriber.send(&wire::packet(0x50, &body));
        expect_ack(&mut line.subscriber, 0x62, delivered.packet_id);
        line.subscriber
            .send(&wire::ack(0x70, 5, delivered.packet_id, None));
    }
    // Acknowledged out of order: each gets its own.
    let open = [line.deliver(b"one", 2), line.deliver(b"two", 2)];
    for delivered in open.iter().rev() {
        line.subscriber
            .send(&wire::ack(0x50, 5, delivered.packet_id, None));
        expect_ack(&mut line.subscriber, 0x62, delivered.packet_id);
    }
}

fn sender_at_qos2_sends_no_pubrel_after_a_refusal(lab: &Lab) {
    let mut line = Line::new(lab);
    for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        let delivered = line.deliver(b"x", 2);
        line.subscriber
            .send(&wire::ack(0x50, 5, delivered.packet_id, Some(reason)));
        assert!(
            line.subscriber.ping().is_empty(),
            "PUBREC 0x{reason:02x} got an answer"
        );
    }
}

fn sender_at_qos2_waits_for_pubcomp(lab: &Lab) {
    let id = lab.unique("c");
    let mut line = Line::to(lab, &durable(&id));
    let delivered = line.deliver(b"x", 2);
    line.subscriber
        .send(&wire::ack(0x50, 5, delivered.packet_id, None));
    expect_ack(&mut line.subscriber, 0x62, delivered.packet_id);
    let mut subscriber = line.subscriber;
    for _ in 0..2 {
        subscriber = reconnect(lab, subscriber, &id);
        expect_ack(&mut subscriber, 0x62, delivered.packet_id);
    }
    subscriber.send(&wire::ack(0x70, 5, delivered.packet_id, None));
    let mut subscriber = reconnect(lab, subscriber, &id);
    assert!(subscriber.ping().is_empty());
}

fn sender_at_qos2_sends_no_publish_after_pubrel(lab: &Lab) {
    let id = lab.unique("c");
    let mut line = Line::to(lab, &durable(&id));
    let delivered = line.deliver(b"x", 2);
    line.subscriber
        .send(&wire::ack(0x50, 5, delivered.packet_id, None));
    expect_ack(&mut line.subscriber, 0x62, delivered.packet_id);
    assert!(line.subscriber.ping().is_empty());
    line.subscriber.drop_connection();
    let mut subscriber = lab.broker().connect(&durable(&id));
    let packets = subscriber.ping();
    assert!(
        packets.iter().all(|packet| packet.packet_type() != 3),
        "a PUBLISH after its PUBREL: {packets:?}"
    );
}

fn sender_at_qos2_forgets_expiry_once_sent(lab: &Lab) {
    let id = lab.unique("c");
    let mut line = Line::to(lab, &durable(&id));
    let expiring = |payload: &'static [u8]| PublishSpec {
        props: vec![Prop::U32(MESSAGE_EXPIRY_INTERVAL, 1)],
        ..PublishSpec::new(&line.topic, payload, 2)
    };
    line.publisher.publish(&expiring(b"sent"));
    let sent = line.subscriber.recv_publish();
    assert!(line.subscriber.ping().is_empty());
    line.subscriber.drop_connection();
    outwait_one_second(&mut line.publisher);
    let mut subscriber = lab.broker().connect(&durable(&id));
    let again = subscriber.recv_publish();
    assert_eq!(
        (again.payload.as_slice(), again.dup, again.packet_id),
        (b"sent".as_slice(), true, sent.packet_id)
    );
    subscriber.ack(&again);
    // One that was not sent in its time is gone.
    subscriber.disconnect();
    line.publisher.publish(&expiring(b"not sent"));
    outwait_one_second(&mut line.publisher);
    let mut subscriber = lab.broker().connect(&durable(&id));
    assert!(subscriber.ping().is_empty());
}

fn receiver_at_qos1_answers_puback(lab: &Lab) {
    let mut line = Line::new(lab);
    for packet_id in [1, 0x00FF, 0x1234, 0xFFFF] {
        line.publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&line.topic, b"x", 1)
        });
        expect_ack(&mut line.publisher, 0x40, packet_id);
        // What it answers for, it has.
        let delivered = line.subscriber.recv_publish();
        line.subscriber.ack(&delivered);
    }
    // Also when nobody subscribes: one PUBACK with a code below 0x80.
    let nobody = lab.unique("nobody");
    line.publisher.send_publish(&PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&nobody, b"x", 1)
    });
    let puback = line.publisher.recv();
    assert_eq!((puback.first, puback.packet_id()), (0x40, 7));
    assert!(matches!(puback.reason(5), 0x00 | 0x10), "{puback:?}");
    assert!(line.publisher.ping().is_empty());
}

fn receiver_at_qos1_takes_a_repeated_id_as_new(lab: &Lab) {
    let mut line = Line::new(lab);
    for (payload, dup) in [(b"a", false), (b"b", true), (b"c", false), (b"c", true)] {
        let spec = PublishSpec {
            packet_id: 5,
            dup,
            ..PublishSpec::new(&line.topic, payload, 1)
        };
        line.publisher.send_publish(&spec);
        expect_ack(&mut line.publisher, 0x40, 5);
    }
    assert_eq!(line.received_until_marker(1), [b"a", b"b", b"c", b"c"]);
}

fn receiver_at_qos2_answers_pubrec(lab: &Lab) {
    let mut line = Line::new(lab);
    for packet_id in [1, 0x00FF, 0x1234, 0xFFFF] {
        line.publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&line.topic, b"x", 2)
        });
        expect_ack(&mut line.publisher, 0x50, packet_id);
        line.publisher.send(&wire::ack(0x62, 5, packet_id, None));
        expect_ack(&mut line.publisher, 0x70, packet_id);
        let delivered = line.subscriber.recv_publish();
        line.subscriber.ack(&delivered);
    }
    assert!(line.publisher.ping().is_empty());
}

fn receiver_at_qos2_takes_an_id_as_new_after_a_refusal(lab: &Lab) {
    let topic = lab.unique("checked");
    let broker = lab.broker_with("payload_format_check true");
    let mut publisher = broker.v5(&lab.unique("p"));
    let mut subscriber = broker.v5(&lab.unique("c"));
    assert_eq!(subscriber.subscribe(&[(topic.as_str(), 2)]), [2]);
    // The payload says that it is UTF-8 and is not.
    let refused = PublishSpec {
        packet_id: 3,
        props: vec![Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1)],
        ..PublishSpec::new(&topic, b"\xC3\x28", 2)
    };
    publisher.send_publish(&refused);
    let pubrec = publisher.recv();
    assert_eq!(
        (pubrec.first, pubrec.packet_id(), pubrec.reason(5)),
        (0x50, 3, 0x99)
    );
    // No PUBREL follows, and the same identifier stands for another message.
    publisher.publish(&PublishSpec {
        payload: b"good",
        ..refused
    });
    let delivered = subscriber.recv_publish();
    assert_eq!(delivered.payload, b"good");
    subscriber.ack(&delivered);
    assert!(subscriber.ping().is_empty());
}

fn receiver_at_qos2_passes_a_repeat_on_once(lab: &Lab) {
    let mut line = Line::new(lab);
    let spec = PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&line.topic, b"once", 2)
    };
    line.publisher.send_publish(&spec);
    expect_ack(&mut line.publisher, 0x50, 7);
    for _ in 0..3 {
        line.publisher.send_publish(&PublishSpec {
            dup: true,
            ..spec.clone()
        });
        expect_ack(&mut line.publisher, 0x50, 7);
    }
    line.publisher.send(&wire::ack(0x62, 5, 7, None));
    expect_ack(&mut line.publisher, 0x70, 7);
    assert_eq!(line.received_until_marker(2), [b"once"]);
}

fn receiver_at_qos2_knows_a_repeat_on_a_new_connection(lab: &Lab) {
    let id = lab.unique("publisher");
    let mut line = Line::new(lab);
    let spec = PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&line.topic, b"once", 2)
    };
    let mut publisher = lab.broker().connect(&durable(&id));
    publisher.send_publish(&spec);
    expect_ack(&mut publisher, 0x50, 7);
    let mut publisher = reconnect(lab, publisher, &id);
    publisher.send_publish(&PublishSpec {
        dup: true,
        ..spec.clone()
    });
    expect_ack(&mut publisher, 0x50, 7);
    let mut publisher = reconnect(lab, publisher, &id);
    publisher.send(&wire::ack(0x62, 5, 7, None));
    expect_ack(&mut publisher, 0x70, 7);
    assert_eq!(line.received_until_marker(2), [b"once"]);
}

fn receiver_at_qos2_answers_pubrel_by_pubcomp(lab: &Lab) {
    let mut line = Line::new(lab);
    let ids = [1, 0x0102, 0xFFFF];
    for packet_id in ids {
        line.publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&line.topic, b"x", 2)
        });
        expect_ack(&mut line.publisher, 0x50, packet_id);
    }
    for (packet_id, form) in ids.into_iter().zip(["", "00", "0000"]) {
        let body = [packet_id.to_be_bytes().to_vec(), wire::hex(form)].concat();
        line.publisher.send(&wire::packet(0x62, &body));
        expect_ack(&mut line.publisher, 0x70, packet_id);
    }
    // Without a PUBLISH before it there is an answer too.
    line.publisher.send(&wire::ack(0x62, 5, 77, None));
    line.publisher.expect_hex("70 03 00 4d 92");
    assert_eq!(line.received_until_marker(2), [b"x", b"x", b"x"]);
}

fn receiver_at_qos2_takes_an_id_as_new_after_pubcomp(lab: &Lab) {
    let mut line = Line::new(lab);
    for (payload, dup) in [(b"a", false), (b"b", true), (b"b", true), (b"c", false)] {
        line.publisher.publish(&PublishSpec {
            packet_id: 5,
            dup,
            ..PublishSpec::new(&line.topic, payload, 2)
        });
    }
    assert_eq!(line.received_until_marker(2), [b"a", b"b", b"b", b"c"]);
}

fn receiver_at_qos2_ends_the_exchange_of_an_expired_message(lab: &Lab) {
    let (id, topic) = (lab.unique("away"), lab.unique("expires"));
    let mut away = lab.broker().connect(&durable(&id));
    assert_eq!(away.subscribe(&[(topic.as_str(), 2)]), [2]);
    away.disconnect();
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let spec = PublishSpec {
        packet_id: 4,
        props: vec![Prop::U32(MESSAGE_EXPIRY_INTERVAL, 1)],
        ..PublishSpec::new(&topic, b"x", 2)
    };
    publisher.send_publish(&spec);
    expect_ack(&mut publisher, 0x50, 4);
    outwait_one_second(&mut publisher);
    // A repeat, the release, and a new message under the same identifier go as ever.
    publisher.send_publish(&PublishSpec { dup: true, ..spec });
    expect_ack(&mut publisher, 0x50, 4);
    publisher.send(&wire::ack(0x62, 5, 4, None));
    expect_ack(&mut publisher, 0x70, 4);
    publisher.publish(&PublishSpec {
        packet_id: 4,
        ..PublishSpec::new(&topic, b"new", 2)
    });
    let mut back = lab.broker().connect(&durable(&id));
    assert_eq!(
        back.recv_publish().payload,
        b"new",
        "the first one has expired"
    );
}
