//! MQTT 3.1.1: PUBLISH, its flags, and the exchanges of QoS 1 and 2 in both directions.
//!
//! Topic Names stand in `v311_topics`, retained messages in `v311_retained`. The pair of clients at the end serves the other modules of 3.x.

use std::collections::BTreeSet;

use super::v311_connect::assert_closes;
use crate::case::{Case, case};
use crate::{Broker, Delivered, Lab, PublishSpec, Raw, wire};

/// Deliveries that the broker leaves unacknowledged towards one client (`max_inflight_messages`).
const IN_FLIGHT: u16 = 20;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_packet_id_0_closes,
        ["v311[MQTT-2.3.1-1]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(v311_qos_0_has_no_packet_id, ["v311[MQTT-2.3.1-5]"]),
    case!(
        v311_packets_of_the_broker_byte_for_byte,
        [
            "v311[MQTT-2.2.2-1]",
            "v311[MQTT-2.3.1-6]",
            "v311[MQTT-2.3.1-7]",
            "v311[MQTT-3.6.1-1]",
            "v311[MQTT-3.8.4-2]",
            "v311[MQTT-3.10.4-4]"
        ]
    ),
    case!(
        v311_deliveries_in_flight_have_different_ids,
        [
            "v311[MQTT-2.3.1-1]",
            "v311[MQTT-2.3.1-4]",
            "v311[MQTT-4.3.2-1]",
            "v311[MQTT-4.3.3-1]"
        ]
    ),
    case!(v311_dup_is_not_passed_on, ["v311[MQTT-3.3.1-3]"]),
    case!(
        v311_dup_at_qos_0_closes,
        ["v311[MQTT-3.3.1-2]", "v311[MQTT-4.3.1-1]"]
    ),
    case!(
        v311_qos_0_is_delivered_without_dup,
        ["v311[MQTT-3.3.1-2]", "v311[MQTT-4.3.1-1]"]
    ),
    case!(v311_qos_3_closes, ["v311[MQTT-3.3.1-4]"]),
    case!(
        v311_publish_cut_short_closes,
        ["v311[MQTT-3.3.2-1]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(
        v311_publish_is_answered_by_its_qos,
        ["v311[MQTT-3.3.4-1]", "v311[MQTT-2.3.1-6]"]
    ),
    case!(
        v311_forbidden_publish_is_acknowledged_and_dropped,
        ["v311[MQTT-3.3.5-2]"]
    ),
    case!(v311_qos_1_id_is_free_after_puback, ["v311[MQTT-4.3.2-2]"]),
    case!(
        v311_qos_2_is_passed_on_once,
        ["v311[MQTT-4.3.3-2]", "v311[MQTT-2.3.1-6]"]
    ),
    case!(
        v311_pubrel_without_exchange_is_answered,
        ["v311[MQTT-4.3.3-2]"]
    ),
    case!(
        v311_qos_1_to_a_subscriber,
        ["v311[MQTT-4.3.2-1]", "v311[MQTT-3.3.1-3]"]
    ),
    case!(
        v311_qos_2_to_a_subscriber,
        ["v311[MQTT-4.3.3-1]", "v311[MQTT-3.6.1-1]"]
    ),
    case!(
        v311_messages_keep_their_order,
        [
            "v311[MQTT-4.6.0-5]",
            "v311[MQTT-4.6.0-6]",
            "v311[MQTT-4.5.0-1]"
        ]
    ),
    case!(
        v311_publishers_keep_their_own_order,
        ["v311[MQTT-4.6.0-5]", "v311[MQTT-4.6.0-6]"]
    ),
    case!(
        v311_acknowledgements_keep_the_order,
        ["v311[MQTT-4.6.0-6]", "v311[MQTT-2.3.1-6]"]
    ),
    case!(v311_payloads_arrive_unaltered, ["v311[MQTT-4.3.1-1]"]),
];

fn v311_packet_id_0_closes(lab: &Lab) {
    for qos in [1, 2] {
        let publish = PublishSpec {
            packet_id: 0,
            ..PublishSpec::new("a", b"x", qos)
        };
        assert_closes(lab, &publish.to_bytes(4));
    }
    assert_closes(lab, &wire::subscribe(4, 0, &[], &[("a", 0)]));
    assert_closes(lab, &wire::unsubscribe(4, 0, &[], &["a"]));
    for first in [0x40, 0x50, 0x62, 0x70] {
        assert_closes(lab, &wire::ack(first, 4, 0, None));
    }
}

/// What would be the identifier of another QoS belongs to the payload.
fn v311_qos_0_has_no_packet_id(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    for payload in [b"\x00\x01x".as_slice(), b"\x00\x00", b"\x12"] {
        let publish = PublishSpec::new(&pair.topic, payload, 0).to_bytes(4);
        pair.publisher.send(&publish);
        pair.subscriber.expect_hex(&wire::to_hex(&publish));
    }
}

fn v311_packets_of_the_broker_byte_for_byte(lab: &Lab) {
    let topic = lab.unique("bytes");
    let mut raw = lab.broker().v311(&lab.unique("bytes"));
    assert_eq!(raw.connack.to_hex(), "20 02 00 00");
    raw.send(&wire::subscribe(4, 0x1234, &[], &[(&topic, 2)]));
    raw.expect_hex("90 03 12 34 02");
    raw.send_publish(&PublishSpec {
        packet_id: 0xABCD,
        ..PublishSpec::new(&topic, b"1", 1)
    });
    let mut answer = raw.recv_until("PUBACK", |packet| packet.first == 0x40);
    assert_eq!(answer.to_hex(), "40 02 ab cd");
    let delivered = raw.recv_publish();
    assert_eq!(
        (delivered.qos, delivered.payload.as_slice()),
        (1, b"1".as_slice())
    );
    raw.ack(&delivered);
    raw.send_publish(&PublishSpec {
        packet_id: 0xABCE,
        ..PublishSpec::new(&topic, b"2", 2)
    });
    answer = raw.recv_until("PUBREC", |packet| packet.first == 0x50);
    assert_eq!(answer.to_hex(), "50 02 ab ce");
    let delivered = raw.recv_publish();
    raw.send(&wire::ack(0x50, 4, delivered.packet_id, None));
    raw.expect_hex(&wire::to_hex(&wire::ack(
        0x62,
        4,
        delivered.packet_id,
        None,
    )));
    raw.send(&wire::ack(0x70, 4, delivered.packet_id, None));
    raw.send_hex("62 02 ab ce");
    raw.expect_hex("70 02 ab ce");
    raw.send(&wire::unsubscribe(4, 0x1235, &[], &[&topic]));
    raw.expect_hex("b0 02 12 35");
    raw.send_hex("c0 00");
    raw.expect_hex("d0 00");
}

/// As many as may be open at once, and one more when the first of them has ended.
fn v311_deliveries_in_flight_have_different_ids(lab: &Lab) {
    for qos in [1, 2] {
        let mut pair = Pair::new(lab, lab.broker(), qos);
        for number in 0..=IN_FLIGHT {
            pair.publish(&number.to_be_bytes(), qos);
        }
        let open: Vec<Delivered> = (0..IN_FLIGHT)
            .map(|_| pair.subscriber.recv_publish())
            .collect();
        let ids: BTreeSet<u16> = open.iter().map(|delivered| delivered.packet_id).collect();
        assert_eq!(
            ids.len(),
            open.len(),
            "identifiers are used twice: {open:?}"
        );
        assert!(
            open.iter()
                .all(|delivered| !delivered.dup && delivered.qos == qos),
            "{open:?}"
        );
        if let Some(first) = open.first() {
            pair.subscriber.ack(first);
        }
        let last = pair.subscriber.recv_publish();
        let taken = open
            .iter()
            .skip(1)
            .any(|delivered| delivered.packet_id == last.packet_id);
        assert!(!taken, "{last:?} has the identifier of an open delivery");
        assert_eq!(
            (last.dup, last.payload),
            (false, IN_FLIGHT.to_be_bytes().to_vec())
        );
    }
}

fn v311_dup_is_not_passed_on(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    for qos in [1, 2] {
        for dup in [true, false] {
            let publish = PublishSpec {
                dup,
                ..PublishSpec::new(&pair.topic, b"x", qos)
            };
            pair.publisher.publish(&publish);
            let delivered = pair.expect(b"x");
            assert!(!delivered.dup, "{delivered:?} is no repeat");
        }
    }
}

fn v311_dup_at_qos_0_closes(lab: &Lab) {
    for retain in [false, true] {
        let publish = PublishSpec {
            dup: true,
            retain,
            ..PublishSpec::new("a", b"x", 0)
        };
        assert_closes(lab, &publish.to_bytes(4));
    }
}

fn v311_qos_0_is_delivered_without_dup(lab: &Lab) {
    for (published, granted) in [(0, 2), (1, 0), (2, 0)] {
        let mut pair = Pair::new(lab, lab.broker(), granted);
        pair.publish(b"x", published);
        let delivered = pair.expect(b"x");
        assert_eq!((delivered.qos, delivered.dup), (0, false));
    }
}

fn v311_qos_3_closes(lab: &Lab) {
    for dup in [false, true] {
        let mut pair = Pair::new(lab, lab.broker(), 2);
        let publish = PublishSpec {
            dup,
            ..PublishSpec::new(&pair.topic, b"x", 3)
        };
        pair.publisher.send(&publish.to_bytes(4));
        pair.publisher.expect_closed();
        pair.publisher = lab.broker().v311(&lab.unique("p"));
        pair.expect_nothing(1);
    }
}

fn v311_publish_cut_short_closes(lab: &Lab) {
    /// Bytes of the Topic Name, and with the Packet Identifier.
    const TOPIC: usize = 5;
    for (qos, shortest) in [(0, TOPIC), (1, TOPIC + 2), (2, TOPIC + 2)] {
        let whole = PublishSpec::new("a/b", b"", qos).to_bytes(4);
        let body = whole.get(2..).unwrap_or_default();
        for cut in 0..shortest {
            let publish = wire::packet(0x30 | (qos << 1), body.get(..cut).unwrap_or_default());
            assert_closes(lab, &publish);
        }
    }
}

fn v311_publish_is_answered_by_its_qos(lab: &Lab) {
    let topic = lab.unique("nobody");
    let mut raw = lab.broker().v311(&lab.unique("p"));
    raw.send_publish(&PublishSpec::new(&topic, b"x", 0));
    assert!(raw.ping().is_empty(), "QoS 0 has no answer");
    raw.send_publish(&PublishSpec {
        packet_id: 0x0102,
        ..PublishSpec::new(&topic, b"x", 1)
    });
    raw.expect_hex("40 02 01 02");
    raw.send_publish(&PublishSpec {
        packet_id: 0x0102,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    raw.expect_hex("50 02 01 02");
    raw.send_hex("62 02 01 02");
    raw.expect_hex("70 02 01 02");
}

/// Nobody may write below `$SYS`, and 3.1.1 has no way to say so.
fn v311_forbidden_publish_is_acknowledged_and_dropped(lab: &Lab) {
    let topic = format!("$SYS/{}", lab.unique("forbidden"));
    let mut subscriber = lab.broker().v311(&lab.unique("s"));
    let marker = lab.unique("marker");
    assert_eq!(subscriber.subscribe(&[(&topic, 2), (&marker, 2)]), [2, 2]);
    let mut publisher = lab.broker().v311(&lab.unique("p"));
    for qos in 0..=2 {
        for retain in [false, true] {
            publisher.publish(&PublishSpec {
                retain,
                ..PublishSpec::new(&topic, b"x", qos)
            });
        }
    }
    publisher.publish(&PublishSpec::new(&marker, b"marker", 1));
    assert_eq!(subscriber.recv_publish().payload, b"marker");
    // Nor was it retained.
    let mut late = lab.broker().v311(&lab.unique("s"));
    assert_eq!(late.subscribe(&[(&topic, 2)]), [2]);
    assert!(late.ping().is_empty());
}

fn v311_qos_1_id_is_free_after_puback(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 1);
    for payload in [b"first", b"other", b"third"] {
        let publish = PublishSpec {
            packet_id: 7,
            ..PublishSpec::new(&pair.topic, payload, 1)
        };
        pair.publisher.send_publish(&publish);
        pair.publisher.expect_hex("40 02 00 07");
        pair.expect(payload);
    }
}

fn v311_qos_2_is_passed_on_once(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    let topic = pair.topic.clone();
    for payload in [b"once", b"anew"] {
        let publish = PublishSpec {
            packet_id: 9,
            ..PublishSpec::new(&topic, payload, 2)
        };
        pair.publisher.send_publish(&publish);
        pair.publisher.expect_hex("50 02 00 09");
        for _ in 0..3 {
            pair.publisher.send_publish(&PublishSpec {
                dup: true,
                ..publish.clone()
            });
            pair.publisher.expect_hex("50 02 00 09");
        }
        for _ in 0..2 {
            pair.publisher.send_hex("62 02 00 09");
            pair.publisher.expect_hex("70 02 00 09");
        }
        pair.expect(payload);
    }
    pair.expect_nothing(2);
}

/// The sender may have missed a PUBCOMP, and repeats its PUBREL.
fn v311_pubrel_without_exchange_is_answered(lab: &Lab) {
    let mut raw = lab.broker().v311(&lab.unique("p"));
    for _ in 0..2 {
        raw.send_hex("62 02 00 63");
        raw.expect_hex("70 02 00 63");
    }
}

fn v311_qos_1_to_a_subscriber(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 1);
    pair.publish(b"first", 1);
    let first = pair.subscriber.recv_publish();
    assert_eq!(
        (first.qos, first.dup, first.payload.as_slice()),
        (1, false, b"first".as_slice())
    );
    // An acknowledgement of something else, or of another kind, ends nothing.
    pair.subscriber
        .send(&wire::ack(0x40, 4, first.packet_id ^ 0x4000, None));
    pair.subscriber
        .send(&wire::ack(0x70, 4, first.packet_id, None));
    assert!(
        pair.subscriber.ping().is_empty(),
        "a message is repeated on a living connection"
    );
    pair.subscriber.ack(&first);
    pair.publish(b"second", 1);
    pair.expect(b"second");
}

fn v311_qos_2_to_a_subscriber(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    pair.publish(b"first", 2);
    let first = pair.subscriber.recv_publish();
    assert_eq!(
        (first.qos, first.dup, first.payload.as_slice()),
        (2, false, b"first".as_slice())
    );
    let pubrel = wire::to_hex(&wire::ack(0x62, 4, first.packet_id, None));
    for _ in 0..3 {
        pair.subscriber
            .send(&wire::ack(0x50, 4, first.packet_id, None));
        pair.subscriber.expect_hex(&pubrel);
    }
    assert!(
        pair.subscriber.ping().is_empty(),
        "PUBLISH or PUBREL is repeated unasked"
    );
    pair.subscriber
        .send(&wire::ack(0x70, 4, first.packet_id, None));
    pair.publish(b"second", 2);
    pair.expect(b"second");
}

fn v311_messages_keep_their_order(lab: &Lab) {
    for qos in 0..=2 {
        let mut pair = Pair::new(lab, lab.broker(), 2);
        let numbers = 0..150_u32;
        for number in numbers.clone() {
            pair.publish(&number.to_be_bytes(), qos);
        }
        for number in numbers {
            let delivered = pair.expect(&number.to_be_bytes());
            assert_eq!(delivered.qos, qos);
        }
    }
}

fn v311_publishers_keep_their_own_order(lab: &Lab) {
    const PUBLISHERS: u8 = 3;
    const MESSAGES: u8 = 40;
    let mut pair = Pair::new(lab, lab.broker(), 1);
    let mut publishers: Vec<Raw> = (0..PUBLISHERS)
        .map(|_| lab.broker().v311(&lab.unique("p")))
        .collect();
    for message in 0..MESSAGES {
        for (name, publisher) in (0..).zip(&mut publishers) {
            let payload = [name, message];
            let publish = PublishSpec {
                packet_id: 1 + u16::from(message),
                ..PublishSpec::new(&pair.topic, &payload, 1)
            };
            publisher.send_publish(&publish);
        }
    }
    let mut next = vec![0_u8; usize::from(PUBLISHERS)];
    for _ in 0..usize::from(PUBLISHERS) * usize::from(MESSAGES) {
        let delivered = pair.subscriber.recv_publish();
        pair.subscriber.ack(&delivered);
        let [name, message] = delivered.payload.as_slice() else {
            panic!("nobody sent {delivered:?}");
        };
        let Some(expected) = next.get_mut(usize::from(*name)) else {
            panic!("nobody sent {delivered:?}");
        };
        assert_eq!(*message, *expected, "publisher {name} is out of order");
        *expected += 1;
    }
}

fn v311_acknowledgements_keep_the_order(lab: &Lab) {
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        let mut raw = lab.broker().v311(&lab.unique("p"));
        let topic = lab.unique("acks");
        let publishes: Vec<Vec<u8>> = (1..=IN_FLIGHT)
            .map(|packet_id| {
                PublishSpec {
                    packet_id,
                    ..PublishSpec::new(&topic, b"x", qos)
                }
                .to_bytes(4)
            })
            .collect();
        raw.send(&publishes.concat());
        for packet_id in 1..=IN_FLIGHT {
            raw.expect_hex(&wire::to_hex(&wire::ack(first, 4, packet_id, None)));
        }
        if qos == 2 {
            let pubrels: Vec<Vec<u8>> = (1..=IN_FLIGHT)
                .map(|id| wire::ack(0x62, 4, id, None))
                .collect();
            raw.send(&pubrels.concat());
            for packet_id in 1..=IN_FLIGHT {
                raw.expect_hex(&wire::to_hex(&wire::ack(0x70, 4, packet_id, None)));
            }
        }
    }
}

fn v311_payloads_arrive_unaltered(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    for length in [
        0, 1, 119, 120, 127, 128, 4095, 4096, 16_383, 16_384, 65_536, 300_000,
    ] {
        let payload: Vec<u8> = (0..=255).cycle().take(length).collect();
        for qos in 0..=2 {
            pair.publish(&payload, qos);
            let delivered = pair.subscriber.recv_publish();
            pair.subscriber.ack(&delivered);
            assert!(
                delivered.payload == payload,
                "{length} bytes at QoS {qos} are altered"
            );
        }
    }
}

/// A publisher and a subscriber of 3.1.1, and a Topic Name of their own.
pub(super) struct Pair {
    pub(super) publisher: Raw,
    pub(super) subscriber: Raw,
    pub(super) topic: String,
}

impl Pair {
    /// Connected, and subscribed at this QoS.
    #[track_caller]
    pub(super) fn new(lab: &Lab, broker: &Broker, qos: u8) -> Pair {
        Pair::with_topic(lab, broker, lab.unique("topic"), qos)
    }

    /// The same with this Topic Name.
    #[track_caller]
    pub(super) fn with_topic(lab: &Lab, broker: &Broker, topic: String, qos: u8) -> Pair {
        let publisher = broker.v311(&lab.unique("p"));
        let mut subscriber = broker.v311(&lab.unique("s"));
        assert_eq!(subscriber.subscribe(&[(&topic, qos)]), [qos]);
        Pair {
            publisher,
            subscriber,
            topic,
        }
    }

    /// A message through the whole exchange of the publisher.
    #[track_caller]
    pub(super) fn publish(&mut self, payload: &[u8], qos: u8) {
        self.publisher
            .publish(&PublishSpec::new(&self.topic, payload, qos));
    }

    /// The next delivery has this payload; acknowledged.
    #[track_caller]
    pub(super) fn expect(&mut self, payload: &[u8]) -> Delivered {
        let delivered = self.subscriber.recv_publish();
        assert_eq!(
            wire::to_hex(&delivered.payload),
            wire::to_hex(payload),
            "{delivered:?}"
        );
        self.subscriber.ack(&delivered);
        delivered
    }

    /// What was published last has not been delivered: a marker at the same QoS comes next.
    #[track_caller]
    pub(super) fn expect_nothing(&mut self, qos: u8) {
        self.publish(b"marker", qos);
        self.expect(b"marker");
    }
}
