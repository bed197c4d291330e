//! The limits of the configuration, and what happens at each: messages on their way, and messages that wait.
//!
//! One worker where a case looks at what has not been sent: then PINGRESP comes behind all that was decided before.

use std::ops::Range;

use super::v311_connect::kept;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, Prop, PublishSpec, Raw, wire};

const RECEIVE_MAXIMUM: u8 = 0x21;
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const QUOTA_EXCEEDED: u8 = 0x97;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(limit_max_inflight_messages, []),
    case!(limit_max_inflight_messages_and_receive_maximum, []),
    case!(
        limit_max_inflight_messages_holds_on_a_new_connection,
        ["v311[MQTT-4.4.0-1]"]
    ),
    case!(limit_max_inflight_bytes, []),
    case!(
        limit_max_queued_messages_of_a_client_that_is_away,
        ["v311[MQTT-3.1.2-5]"]
    ),
    case!(limit_max_queued_messages_of_a_client_that_is_slow, []),
    case!(limit_max_queued_messages_counts_each_client, []),
    case!(limit_max_queued_bytes, []),
    case!(limit_queue_full_reject, []),
    case!(limit_queue_full_reject_unless_somebody_takes_it, []),
    case!(limit_queue_qos0_messages, []),
    case!(limit_upgrade_outgoing_qos, []),
    case!(limit_outgoing_buffer_max_bounds_what_is_kept, []),
    case!(limit_outgoing_buffer_max_lets_large_messages_pass, []),
    case!(limit_worker_queue_max_of_one_waits_for_ever_nowhere, []),
];

fn limit_max_inflight_messages(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_inflight_messages 3");
    for qos in [1, 2] {
        let mut pair = Pair::new(lab, &broker, qos);
        publish_numbers(&mut pair, 0..6, qos);
        let open = expect_numbers(&mut pair.subscriber, 0..3);
        assert!(
            pair.subscriber.ping().is_empty(),
            "more than three messages are on their way"
        );
        for (first, next) in open.iter().zip(3..6) {
            if qos == 2 {
                // PUBREC does not end it.
                pair.subscriber
                    .send(&wire::ack(0x50, 4, first.packet_id, None));
                pair.subscriber.expect_hex(&wire::to_hex(&wire::ack(
                    0x62,
                    4,
                    first.packet_id,
                    None,
                )));
                assert!(pair.subscriber.ping().is_empty(), "PUBREC made room");
                pair.subscriber
                    .send(&wire::ack(0x70, 4, first.packet_id, None));
            } else {
                pair.subscriber.ack(first);
            }
            expect_numbers(&mut pair.subscriber, next..next + 1);
            assert!(
                pair.subscriber.ping().is_empty(),
                "more than three messages are on their way"
            );
        }
    }
}

/// The smaller one counts.
fn limit_max_inflight_messages_and_receive_maximum(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_inflight_messages 3");
    for (receive_maximum, most) in [(1, 1), (2, 2), (3, 3), (10, 3), (u16::MAX, 3)] {
        let mut pair = Pair::new(lab, &broker, 1);
        let props = vec![Prop::U16(RECEIVE_MAXIMUM, receive_maximum)];
        let mut subscriber = broker.connect(&ConnectSpec {
            props,
            ..ConnectSpec::v5("subscriber")
        });
        assert_eq!(subscriber.subscribe(&[(&pair.topic, 2)]), [2]);
        publish_numbers(&mut pair, 0..6, 1);
        expect_numbers(&mut subscriber, 0..most);
        assert!(
            subscriber.ping().is_empty(),
            "more than {most} with Receive Maximum {receive_maximum}"
        );
    }
}

fn limit_max_inflight_messages_holds_on_a_new_connection(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_inflight_messages 3");
    let mut pair = Pair::new(lab, &broker, 0);
    let mut raw = broker.connect(&kept("subscriber"));
    assert_eq!(raw.subscribe(&[(&pair.topic, 1)]), [1]);
    publish_numbers(&mut pair, 0..6, 1);
    for _ in 0..2 {
        expect_numbers(&mut raw, 0..3);
        assert!(
            raw.ping().is_empty(),
            "more than three messages are on their way"
        );
        raw.disconnect();
        raw = broker.connect(&kept("subscriber"));
    }
    for number in 0..6_u8 {
        let delivered = raw.recv_publish();
        assert_eq!(
            (delivered.payload.as_slice(), delivered.dup),
            ([number].as_slice(), number < 3)
        );
        raw.ack(&delivered);
    }
}

fn limit_max_inflight_bytes(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_inflight_bytes 1000");
    let mut pair = Pair::new(lab, &broker, 1);
    for _ in 0..4 {
        pair.publish(&[b'x'; 400], 1);
    }
    let open = [
        pair.subscriber.recv_publish(),
        pair.subscriber.recv_publish(),
    ];
    assert!(
        pair.subscriber.ping().is_empty(),
        "1,200 bytes are on their way"
    );
    for delivered in &open {
        pair.subscriber.ack(delivered);
    }
    for _ in 0..2 {
        pair.expect(&[b'x'; 400]);
    }
    // A message that is larger alone goes alone.
    pair.publish(&[b'y'; 5000], 1);
    pair.publish(b"z", 1);
    let large = pair.subscriber.recv_publish();
    assert_eq!(large.payload, [b'y'; 5000]);
    assert!(
        pair.subscriber.ping().is_empty(),
        "a message goes beside one that is too large"
    );
    pair.subscriber.ack(&large);
    pair.expect(b"z");
}

/// The newest are dropped. The publisher is not told, as with Mosquitto.
fn limit_max_queued_messages_of_a_client_that_is_away(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_queued_messages 5");
    for qos in [1, 2] {
        let mut pair = Pair::new(lab, &broker, 0);
        let mut raw = broker.connect(&kept("subscriber"));
        assert_eq!(raw.subscribe(&[(&pair.topic, 2)]), [2]);
        raw.disconnect();
        publish_numbers(&mut pair, 0..8, qos);
        let mut publisher = broker.v5("publisher");
        publisher.send_publish(&PublishSpec::new(&pair.topic, &[8], 1));
        assert_eq!(
            publisher.recv().reason(5),
            0,
            "5.0 is told without being asked for"
        );
        let mut raw = broker.connect(&kept("subscriber"));
        for delivered in expect_numbers(&mut raw, 0..5) {
            assert_eq!(delivered.qos, qos);
            raw.ack(&delivered);
        }
        assert!(raw.ping().is_empty(), "more than five messages were kept");
        // There is room again.
        publish_numbers(&mut pair, 9..10, qos);
        for delivered in expect_numbers(&mut raw, 9..10) {
            raw.ack(&delivered);
        }
        raw.unsubscribe(&[&pair.topic]);
        raw.disconnect();
    }
}

/// A client that is there has the queue beside the messages on their way.
fn limit_max_queued_messages_of_a_client_that_is_slow(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_inflight_messages 2\nmax_queued_messages 5");
    let mut pair = Pair::new(lab, &broker, 1);
    publish_numbers(&mut pair, 0..12, 1);
    for number in 0..7 {
        pair.expect(&[number]);
    }
    assert!(
        pair.subscriber.ping().is_empty(),
        "more than two and five messages were kept"
    );
    publish_numbers(&mut pair, 12..14, 1);
    pair.expect(&[12]);
    pair.expect(&[13]);
}

fn limit_max_queued_messages_counts_each_client(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_queued_messages 5");
    let mut pair = Pair::new(lab, &broker, 1);
    for id in ["one", "two"] {
        let mut raw = broker.connect(&kept(id));
        assert_eq!(raw.subscribe(&[(&pair.topic, 1)]), [1]);
        raw.disconnect();
    }
    for number in 0..8 {
        pair.publish(&[number], 1);
        pair.expect(&[number]);
    }
    for id in ["one", "two"] {
        let mut raw = broker.connect(&kept(id));
        expect_numbers(&mut raw, 0..5);
        assert!(raw.ping().is_empty(), "more than five messages were kept");
    }
}

fn limit_max_queued_bytes(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_queued_bytes 1000");
    let mut pair = Pair::new(lab, &broker, 0);
    let mut raw = broker.connect(&kept("subscriber"));
    assert_eq!(raw.subscribe(&[(&pair.topic, 1)]), [1]);
    raw.disconnect();
    for _ in 0..6 {
        pair.publish(&[b'x'; 300], 1);
    }
    let mut raw = broker.connect(&kept("subscriber"));
    for _ in 0..3 {
        let delivered = raw.recv_publish();
        assert_eq!(delivered.payload, [b'x'; 300]);
        raw.ack(&delivered);
    }
    assert!(raw.ping().is_empty(), "more than 1,000 bytes were kept");
}

/// A publisher of 5.0 is told that nobody could take its message. 3.1.1 has no way to say so.
fn limit_queue_full_reject(lab: &Lab) {
    let broker = lab.broker_with("queue_full reject\nmax_queued_messages 2");
    // Several, so that they belong to different workers.
    for number in 0..6 {
        let (id, topic) = (format!("subscriber-{number}"), lab.unique("full"));
        let mut raw = broker.connect(&kept(&id));
        assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
        raw.disconnect();
        let mut publisher = broker.v5("publisher");
        for payload in [b"one", b"two"] {
            assert_eq!(
                reason_of(&mut publisher, &PublishSpec::new(&topic, payload, 1)),
                0
            );
        }
        for qos in [1, 2, 2] {
            let reason = reason_of(&mut publisher, &PublishSpec::new(&topic, b"refused", qos));
            assert_eq!(reason, QUOTA_EXCEEDED, "at QoS {qos}");
        }
        let mut older = broker.v311("older");
        for qos in 0..=2 {
            older.publish(&PublishSpec::new(&topic, b"refused", qos));
        }
        let mut raw = broker.connect(&kept(&id));
        for payload in [b"one", b"two"] {
            let delivered = raw.recv_publish();
            assert_eq!(delivered.payload, payload);
            raw.ack(&delivered);
        }
        assert!(raw.ping().is_empty());
        // The identifiers of what was refused are free, so this is no repeat.
        publisher.publish(&PublishSpec::new(&topic, b"three", 2));
        assert_eq!(raw.recv_publish().payload, b"three");
    }
}

fn limit_queue_full_reject_unless_somebody_takes_it(lab: &Lab) {
    let broker = lab.broker_with("queue_full reject\nmax_queued_messages 2");
    for number in 0..6 {
        let id = format!("subscriber-{number}");
        let mut pair = Pair::new(lab, &broker, 1);
        let mut raw = broker.connect(&kept(&id));
        assert_eq!(raw.subscribe(&[(&pair.topic, 1)]), [1]);
        raw.disconnect();
        let mut publisher = broker.v5("publisher");
        for message in 0..5 {
            let payload = [message];
            assert_eq!(
                reason_of(&mut publisher, &PublishSpec::new(&pair.topic, &payload, 1)),
                0
            );
            pair.expect(&payload);
        }
        // Nobody at all is something else.
        let nobody = lab.unique("nobody");
        assert_eq!(
            reason_of(&mut publisher, &PublishSpec::new(&nobody, b"x", 1)),
            NO_MATCHING_SUBSCRIBERS
        );
    }
}

fn limit_queue_qos0_messages(lab: &Lab) {
    for (lines, kept_too) in [
        ("workers 1", false),
        ("workers 1\nqueue_qos0_messages true", true),
    ] {
        let broker = lab.broker_with(lines);
        let mut pair = Pair::new(lab, &broker, 0);
        let mut raw = broker.connect(&kept("subscriber"));
        assert_eq!(raw.subscribe(&[(&pair.topic, 1)]), [1]);
        raw.disconnect();
        pair.publish(b"QoS 0", 0);
        pair.publish(b"QoS 1", 1);
        let mut raw = broker.connect(&kept("subscriber"));
        if kept_too {
            let delivered = raw.recv_publish();
            assert_eq!(
                (delivered.qos, delivered.payload.as_slice()),
                (0, b"QoS 0".as_slice())
            );
        }
        let delivered = raw.recv_publish();
        assert_eq!(
            (delivered.qos, delivered.payload.as_slice()),
            (1, b"QoS 1".as_slice())
        );
        assert!(raw.ping().is_empty());
    }
}

fn limit_upgrade_outgoing_qos(lab: &Lab) {
    let broker = lab.broker_with("upgrade_outgoing_qos true");
    for granted in 0..=2 {
        let mut pair = Pair::new(lab, &broker, granted);
        for published in 0..=2 {
            pair.publish(b"x", published);
            assert_eq!(
                pair.expect(b"x").qos,
                granted,
                "published at {published}, granted {granted}"
            );
        }
    }
}

/// A client that does not read costs what the kernel, the buffer and the queue hold for it.
fn limit_outgoing_buffer_max_bounds_what_is_kept(lab: &Lab) {
    const MESSAGES: u32 = 4000;
    let broker = lab.broker_with("outgoing_buffer_max 1024\nmax_queued_messages 10");
    let mut slow = broker.v311("slow");
    assert_eq!(slow.subscribe(&[("topic", 0)]), [0]);
    let mut publisher = broker.v311("publisher");
    let padding = [b'x'; 10_000];
    for number in 0..MESSAGES {
        let payload = [number.to_be_bytes().as_slice(), &padding].concat();
        publisher.send_publish(&PublishSpec::new("topic", &payload, 0));
        if number % 100 == 0 {
            assert!(publisher.ping().is_empty());
        }
    }
    assert!(publisher.ping().is_empty());
    let mut numbers: Vec<u32> = Vec::new();
    loop {
        let waiting = slow.ping();
        if waiting.is_empty() {
            break;
        }
        numbers.extend(
            waiting
                .iter()
                .map(|packet| number_of(&Delivered::from_wire(packet, 4))),
        );
    }
    assert!(
        numbers.len() < MESSAGES as usize,
        "everything was kept for a client that did not read"
    );
    assert!(
        numbers.is_sorted_by(|earlier, later| earlier < later),
        "what was kept is out of order"
    );
    assert_eq!(numbers.first(), Some(&0));
}

fn limit_outgoing_buffer_max_lets_large_messages_pass(lab: &Lab) {
    let broker = lab.broker_with("outgoing_buffer_max 1024");
    for qos in 0..=2 {
        let mut pair = Pair::new(lab, &broker, qos);
        for number in 0..20_u8 {
            pair.publish(&[number; 20_000], qos);
        }
        for number in 0..20_u8 {
            let delivered = pair.subscriber.recv_publish();
            pair.subscriber.ack(&delivered);
            assert!(
                delivered.payload == [number; 20_000],
                "message {number} is another one"
            );
        }
    }
}

/// Two workers whose queues towards each other are as short as can be, and clients of both that feed both.
fn limit_worker_queue_max_of_one_waits_for_ever_nowhere(lab: &Lab) {
    const CLIENTS: u16 = 8;
    const ROUNDS: u16 = 40;
    let broker = lab.broker_with("workers 2\nworker_queue_max 1\nmax_queued_messages 0");
    let mut clients: Vec<Raw> = (0..CLIENTS)
        .map(|number| broker.v311(&format!("client-{number}")))
        .collect();
    for client in &mut clients {
        assert_eq!(client.subscribe(&[("all", 1)]), [1]);
    }
    // All of them send at once, and nobody reads before everything is sent.
    for (number, client) in (0..CLIENTS).zip(&mut clients) {
        let publishes: Vec<Vec<u8>> = (1..=ROUNDS)
            .map(|packet_id| {
                let payload = [number.to_be_bytes(), packet_id.to_be_bytes()].concat();
                PublishSpec {
                    packet_id,
                    ..PublishSpec::new("all", &payload, 1)
                }
                .to_bytes(4)
            })
            .collect();
        client.send(&publishes.concat());
    }
    for client in &mut clients {
        let mut acknowledged = 0;
        let mut last = vec![0; usize::from(CLIENTS)];
        for _ in 0..u32::from(ROUNDS) * (u32::from(CLIENTS) + 1) {
            let packet = client.recv();
            if packet.first == 0x40 {
                acknowledged += 1;
                assert_eq!(packet.packet_id(), acknowledged, "PUBACK out of order");
                continue;
            }
            let delivered = Delivered::from_wire(&packet, 4);
            client.ack(&delivered);
            let number = number_of(&delivered);
            let Some(last) = last.get_mut((number >> 16) as usize) else {
                panic!("nobody sent {delivered:?}");
            };
            assert_eq!(number & 0xFFFF, *last + 1, "a publisher is out of order");
            *last += 1;
        }
        assert_eq!(
            (acknowledged, last),
            (ROUNDS, vec![u32::from(ROUNDS); usize::from(CLIENTS)])
        );
    }
}

/// Publishes one byte for each number.
#[track_caller]
fn publish_numbers(pair: &mut Pair, numbers: Range<u8>, qos: u8) {
    for number in numbers {
        pair.publish(&[number], qos);
    }
}

/// The next deliveries are these, not acknowledged.
#[track_caller]
fn expect_numbers(raw: &mut Raw, numbers: Range<u8>) -> Vec<Delivered> {
    let mut all = Vec::new();
    for number in numbers {
        let delivered = raw.recv_publish();
        assert_eq!(delivered.payload, [number], "{delivered:?}");
        all.push(delivered);
    }
    all
}

/// The number that a payload begins with.
#[track_caller]
fn number_of(delivered: &Delivered) -> u32 {
    match delivered.payload.first_chunk() {
        Some(bytes) => u32::from_be_bytes(*bytes),
        None => panic!("no number in {delivered:?}"),
    }
}

/// Publishes with QoS above 0 on 5.0: the Reason Code of the answer. An exchange of QoS 2 that was not refused is ended.
#[track_caller]
fn reason_of(publisher: &mut Raw, publish: &PublishSpec<'_>) -> u8 {
    publisher.send_publish(publish);
    let answer = publisher.recv();
    assert_eq!(
        (answer.first, answer.packet_id()),
        (
            if publish.qos == 1 { 0x40 } else { 0x50 },
            publish.packet_id
        )
    );
    let reason = answer.reason(5);
    if publish.qos == 2 && reason < 0x80 {
        publisher.send(&wire::ack(0x62, 5, publish.packet_id, None));
        assert_eq!(publisher.recv().first, 0x70);
    }
    reason
}
