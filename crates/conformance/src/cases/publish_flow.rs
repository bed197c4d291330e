//! What follows a PUBLISH: its answers and their order, overlapping Subscriptions with their identifiers, and Receive
//! Maximum in both directions.

use std::collections::BTreeSet;
use std::mem;
use std::ops::RangeInclusive;

use super::acks::{PUBACK, PUBCOMP, PUBREC, PUBREL, expect_ack};
use super::publish::{assert_rejected, durable, expect_only_marker};
use super::publish_properties::{MAXIMUM_PACKET_SIZE, RECEIVE_MAXIMUM, SUBSCRIPTION_IDENTIFIER};
use crate::{
    Case, ConnectSpec, Delivered, Lab, OwnedProp, Prop, PublishSpec, Raw, Wire, case, wire,
};

/// What the broker announces in CONNACK unless told otherwise.
const BROKER_RECEIVE_MAXIMUM: u16 = 20;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(publish_at_qos0_is_not_answered, ["v5[MQTT-3.3.4-1]"]),
    case!(
        publish_at_qos1_is_answered_by_puback,
        ["v5[MQTT-3.3.4-1]", "v5[MQTT-2.2.1-5]", "v5[MQTT-4.3.2-4]"]
    ),
    case!(
        publish_at_qos2_is_answered_by_pubrec_and_pubcomp,
        [
            "v5[MQTT-3.3.4-1]",
            "v5[MQTT-2.2.1-5]",
            "v5[MQTT-4.3.3-8]",
            "v5[MQTT-4.3.3-11]"
        ]
    ),
    case!(
        publish_success_is_acknowledged_in_two_bytes,
        ["v5[MQTT-2.2.1-5]"]
    ),
    case!(
        publish_to_nobody_is_answered_too,
        ["v5[MQTT-3.3.4-1]", "v5[MQTT-3.4.2-1]", "v5[MQTT-3.5.2-1]"]
    ),
    case!(
        publish_answers_keep_the_order_of_their_packets,
        ["v5[MQTT-3.3.4-1]", "v5[MQTT-2.2.1-5]"]
    ),
    case!(publish_delivered_at_the_lower_qos, ["v5[MQTT-3.8.4-8]"]),
    case!(
        publish_order_is_kept_per_topic_and_qos,
        ["v5[MQTT-4.6.0-5]", "v5[MQTT-4.6.0-6]"]
    ),
    case!(
        publish_takes_unused_packet_ids,
        ["v5[MQTT-2.2.1-4]", "v5[MQTT-4.3.2-1]", "v5[MQTT-4.3.3-1]"]
    ),
    case!(
        publish_too_large_for_its_subscriber_is_discarded,
        ["v5[MQTT-3.1.2-24]", "v5[MQTT-3.1.2-25]"]
    ),
    case!(
        overlapping_subscriptions_deliver_at_the_highest_qos,
        ["v5[MQTT-3.3.4-2]"]
    ),
    case!(
        overlapping_subscriptions_send_all_their_identifiers,
        ["v5[MQTT-3.3.4-3]", "v5[MQTT-3.3.4-4]"]
    ),
    case!(
        overlapping_shared_subscription_sends_its_own_identifier,
        ["v5[MQTT-3.3.4-5]"]
    ),
    case!(
        publish_with_a_subscription_identifier_is_a_protocol_error,
        ["v5[MQTT-3.3.4-6]"]
    ),
    case!(
        receive_maximum_of_the_broker_is_enforced,
        ["v5[MQTT-3.3.4-7]", "v5[MQTT-4.9.0-2]"]
    ),
    case!(
        receive_maximum_of_the_broker_counts_unfinished_exchanges_only,
        ["v5[MQTT-3.3.4-7]"]
    ),
    case!(
        receive_maximum_of_the_broker_stops_no_other_packet,
        ["v5[MQTT-3.3.4-8]", "v5[MQTT-4.9.0-3]"]
    ),
    case!(
        receive_maximum_of_the_client_is_kept_at_qos1,
        ["v5[MQTT-3.3.4-9]", "v5[MQTT-4.9.0-1]", "v5[MQTT-4.9.0-2]"]
    ),
    case!(
        receive_maximum_of_the_client_is_kept_at_qos2,
        ["v5[MQTT-3.3.4-9]", "v5[MQTT-4.9.0-2]"]
    ),
    case!(
        receive_maximum_of_the_client_is_kept_when_sending_again,
        ["v5[MQTT-3.3.4-9]", "v5[MQTT-4.9.0-1]"]
    ),
    case!(
        receive_maximum_of_the_client_delays_no_other_packet,
        ["v5[MQTT-3.3.4-10]", "v5[MQTT-4.9.0-3]"]
    ),
];

fn publish_at_qos0_is_not_answered(lab: &Lab) {
    let topic = lab.unique("qos0");
    let mut subscriber = lab.broker().v5(&lab.unique("qos0"));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("qos0"));
    let unheard = lab.unique("qos0");
    for heard in [&topic, &unheard] {
        publisher.send_publish(&PublishSpec::new(heard, b"x", 0));
        let answers = publisher.ping();
        assert!(
            answers.is_empty(),
            "a PUBLISH at QoS 0 was answered by {answers:?}"
        );
    }
    assert_eq!(subscriber.recv_publish().qos, 0);
}

fn publish_at_qos1_is_answered_by_puback(lab: &Lab) {
    let topic = lab.unique("qos1");
    let mut subscriber = lab.broker().v5(&lab.unique("qos1"));
    subscriber.subscribe(&[(&topic, 0)]);
    let mut publisher = lab.broker().v5(&lab.unique("qos1"));
    for packet_id in [1, 0x1234, u16::MAX] {
        publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 1)
        });
        expect_ack(&mut publisher, PUBACK, packet_id, 0x00);
        assert_eq!(subscriber.recv_publish().topic, topic);
    }
}

fn publish_at_qos2_is_answered_by_pubrec_and_pubcomp(lab: &Lab) {
    let topic = lab.unique("qos2");
    let mut subscriber = lab.broker().v5(&lab.unique("qos2"));
    subscriber.subscribe(&[(&topic, 0)]);
    let mut publisher = lab.broker().v5(&lab.unique("qos2"));
    for packet_id in [1, 0x1234, u16::MAX] {
        publisher.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 2)
        });
        expect_ack(&mut publisher, PUBREC, packet_id, 0x00);
        publisher.send(&wire::ack(PUBREL, 5, packet_id, None));
        expect_ack(&mut publisher, PUBCOMP, packet_id, 0x00);
        assert_eq!(subscriber.recv_publish().topic, topic);
    }
}

/// The shortest form that the standard allows: neither Reason Code nor Property Length.
fn publish_success_is_acknowledged_in_two_bytes(lab: &Lab) {
    let topic = lab.unique("short");
    let mut client = lab.broker().v5(&lab.unique("short"));
    client.subscribe(&[(&topic, 0)]);
    let qos2 = PublishSpec {
        packet_id: 0x1234,
        ..PublishSpec::new(&topic, b"x", 2)
    };
    client.send_publish(&PublishSpec {
        qos: 1,
        ..qos2.clone()
    });
    assert_eq!(
        client
            .recv_until("PUBACK", |packet| packet.first == PUBACK)
            .to_hex(),
        "40 02 12 34"
    );
    client.send_publish(&qos2);
    assert_eq!(
        client
            .recv_until("PUBREC", |packet| packet.first == PUBREC)
            .to_hex(),
        "50 02 12 34"
    );
    client.send_hex("62 02 12 34");
    assert_eq!(
        client
            .recv_until("PUBCOMP", |packet| packet.first == PUBCOMP)
            .to_hex(),
        "70 02 12 34"
    );
}

fn publish_to_nobody_is_answered_too(lab: &Lab) {
    let topic = lab.unique("nobody");
    let mut publisher = lab.broker().v5(&lab.unique("nobody"));
    publisher.send_publish(&PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&topic, b"x", 1)
    });
    expect_ack(&mut publisher, PUBACK, 7, 0x10);
    publisher.send_publish(&PublishSpec {
        packet_id: 8,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    expect_ack(&mut publisher, PUBREC, 8, 0x10);
    publisher.send(&wire::ack(PUBREL, 5, 8, None));
    expect_ack(&mut publisher, PUBCOMP, 8, 0x00);
}

/// Twenty PUBLISH packets in one segment, for subscribers all over the broker; then PUBREL in another order.
fn publish_answers_keep_the_order_of_their_packets(lab: &Lab) {
    let (broker, base) = (lab.broker(), lab.unique("order"));
    let mut subscribers = Vec::new();
    for number in 0..5 {
        let mut subscriber = broker.v5(&lab.unique("order"));
        subscriber.subscribe(&[(&format!("{base}/{number}"), 0)]);
        subscribers.push(subscriber);
    }
    let mut publisher = broker.v5(&lab.unique("order"));
    let mut segment: Vec<u8> = Vec::new();
    let (mut at_qos1, mut at_qos2) = (Vec::new(), Vec::new());
    for number in 0..BROKER_RECEIVE_MAXIMUM {
        let packet_id = number * 7 % 20 + 100;
        let qos = if number.is_multiple_of(3) { 2 } else { 1 };
        if qos == 1 {
            at_qos1.push(packet_id)
        } else {
            at_qos2.push(packet_id)
        }
        let topic = format!("{base}/{}", number % 6);
        segment.extend(
            PublishSpec {
                packet_id,
                ..PublishSpec::new(&topic, b"x", qos)
            }
            .to_bytes(5),
        );
    }
    publisher.send(&segment);
    let answers: Vec<Wire> = (0..BROKER_RECEIVE_MAXIMUM)
        .map(|_| publisher.recv())
        .collect();
    assert_eq!(
        packet_ids(&answers, PUBACK),
        at_qos1,
        "PUBACK (left) for PUBLISH (right)"
    );
    assert_eq!(
        packet_ids(&answers, PUBREC),
        at_qos2,
        "PUBREC (left) for PUBLISH (right)"
    );

    at_qos2.reverse();
    let pubrels: Vec<u8> = at_qos2
        .iter()
        .flat_map(|id| wire::ack(PUBREL, 5, *id, None))
        .collect();
    publisher.send(&pubrels);
    let answers: Vec<Wire> = at_qos2.iter().map(|_| publisher.recv()).collect();
    assert_eq!(
        packet_ids(&answers, PUBCOMP),
        at_qos2,
        "PUBCOMP (left) for PUBREL (right)"
    );
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.recv_publish().payload, b"x");
    }
}

fn publish_delivered_at_the_lower_qos(lab: &Lab) {
    let mut publisher = lab.broker().v5(&lab.unique("lower"));
    for granted in 0..=2 {
        let topic = lab.unique("lower");
        let mut subscriber = lab.broker().v5(&lab.unique("lower"));
        assert_eq!(subscriber.subscribe(&[(&topic, granted)]), [granted]);
        for published in 0..=2 {
            publisher.publish(&PublishSpec::new(&topic, b"x", published));
            let delivered = subscriber.recv_publish();
            let lower = published.min(granted);
            assert_eq!(
                delivered.qos, lower,
                "published at {published}, granted {granted}: {delivered:?}"
            );
            subscriber.ack(&delivered);
        }
    }
}

fn publish_order_is_kept_per_topic_and_qos(lab: &Lab) {
    let topic = lab.unique("ordered");
    let mut subscriber = lab.broker().v5(&lab.unique("ordered"));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("ordered"));
    for number in 0..60 {
        publisher.publish(&PublishSpec::new(&topic, &[number], number % 3));
    }
    let mut last = [None; 3];
    for _ in 0..60 {
        let delivered = subscriber.recv_publish();
        subscriber.ack(&delivered);
        let number = delivered.payload.first().copied();
        let before = mem::replace(&mut last[usize::from(delivered.qos)], number);
        assert!(
            number > before,
            "{number:?} came after {before:?} at QoS {}",
            delivered.qos
        );
    }
    assert_eq!(
        last,
        [Some(57), Some(58), Some(59)],
        "the last ones at QoS 0, 1 and 2"
    );
}

fn publish_takes_unused_packet_ids(lab: &Lab) {
    let topic = lab.unique("ids");
    let mut subscriber = lab.broker().v5(&lab.unique("ids"));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("ids"));
    let mut in_use: Vec<Delivered> = Vec::new();
    for number in 0..30 {
        publisher.publish(&PublishSpec::new(&topic, b"x", 1 + number % 2));
        let delivered = subscriber.recv_publish();
        let id = delivered.packet_id;
        assert!(
            in_use.iter().all(|other| other.packet_id != id),
            "Packet Identifier {id} is in use"
        );
        in_use.push(delivered);
        if in_use.len() == 10 {
            subscriber.ack(&in_use.swap_remove(usize::from(number) % 10));
        }
    }
}

fn publish_too_large_for_its_subscriber_is_discarded(lab: &Lab) {
    let (id, topic) = (lab.unique("too-large"), lab.unique("too-large"));
    let props = vec![
        Prop::U32(MAXIMUM_PACKET_SIZE, 200),
        Prop::U16(RECEIVE_MAXIMUM, 1),
    ];
    let mut subscriber = lab.broker().connect(&ConnectSpec {
        props,
        ..ConnectSpec::v5(&id)
    });
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("too-large"));
    for qos in 0..=2 {
        publisher.publish(&PublishSpec::new(&topic, &[b'x'; 200], qos));
        expect_only_marker(&mut publisher, &mut subscriber, &topic, qos);
    }
    let overhead = PublishSpec::new(&topic, b"", 1).to_bytes(5).len() + 1;
    publisher.publish(&PublishSpec::new(&topic, &vec![b'x'; 200 - overhead], 1));
    assert_eq!(
        subscriber.recv_publish().payload.len(),
        200 - overhead,
        "a packet of 200 bytes"
    );
}

fn overlapping_subscriptions_deliver_at_the_highest_qos(lab: &Lab) {
    let mut publisher = lab.broker().v5(&lab.unique("overlap"));
    for (all, level, exact) in [(0, 2, 1), (2, 1, 0), (1, 0, 2), (0, 1, 0), (1, 0, 0)] {
        let base = lab.unique("overlap");
        let topic = format!("{base}/x");
        let mut subscriber = lab.broker().v5(&lab.unique("overlap"));
        subscriber.subscribe(&[
            (&format!("{base}/#"), all),
            (&format!("{base}/+"), level),
            (&topic, exact),
        ]);
        let highest = all.max(level).max(exact);
        for published in [2, 1, 0] {
            publisher.publish(&PublishSpec::new(&topic, &[published], published));
            let delivered = subscriber.recv_publish();
            let awaited = (published.min(highest), vec![published]);
            assert_eq!(
                (delivered.qos, delivered.payload.clone()),
                awaited,
                "one copy each: {delivered:?}"
            );
            subscriber.ack(&delivered);
        }
        expect_only_marker(&mut publisher, &mut subscriber, &topic, 1);
    }
}

fn overlapping_subscriptions_send_all_their_identifiers(lab: &Lab) {
    let base = lab.unique("identifiers");
    let mut subscriber = lab.broker().v5(&lab.unique("identifiers"));
    subscribe_identified(&mut subscriber, 1, &format!("{base}/#"), 0);
    subscribe_identified(&mut subscriber, 200, &format!("{base}/+"), 2);
    subscribe_identified(&mut subscriber, 268_435_455, &format!("{base}/x"), 1);
    subscriber.subscribe(&[(&format!("{base}/+/+"), 1), (&format!("+/{base}"), 1)]);
    subscribe_identified(&mut subscriber, 7, &format!("{base}/elsewhere"), 1);

    let mut publisher = lab.broker().v5(&lab.unique("identifiers"));
    let awaited: [(&str, &[u32]); 4] = [
        ("x", &[1, 200, 268_435_455]),
        ("y", &[1, 200]),
        ("y/z", &[1]),
        ("elsewhere", &[1, 7, 200]),
    ];
    for (level, identifiers) in awaited {
        for qos in 0..=2 {
            publisher.publish(&PublishSpec::new(&format!("{base}/{level}"), b"x", qos));
            let delivered = subscriber.recv_publish();
            let received: BTreeSet<u32> =
                subscription_identifiers(&delivered).into_iter().collect();
            let matching: BTreeSet<u32> = identifiers.iter().copied().collect();
            assert_eq!(received, matching, "received (left), matching (right)");
            subscriber.ack(&delivered);
        }
    }
    let unidentified = format!("prefix/{base}");
    publisher.publish(&PublishSpec::new(&unidentified, b"x", 0));
    let delivered = subscriber.recv_publish();
    assert_eq!(delivered.topic, unidentified);
    assert!(
        delivered.props.is_empty(),
        "an identifier of a Subscription that does not match: {delivered:?}"
    );
}

/// A Shared Subscription has a copy of its own, so its client receives two.
fn overlapping_shared_subscription_sends_its_own_identifier(lab: &Lab) {
    let topic = lab.unique("identifier-shared");
    let mut subscriber = lab.broker().v5(&lab.unique("identifier-shared"));
    subscribe_identified(&mut subscriber, 11, &format!("$share/group/{topic}"), 1);
    subscribe_identified(&mut subscriber, 12, &topic, 1);
    let mut publisher = lab.broker().v5(&lab.unique("identifier-shared"));
    publisher.publish(&PublishSpec::new(&topic, b"x", 1));
    let mut received = Vec::new();
    for _ in 0..2 {
        let delivered = subscriber.recv_publish();
        received.push(subscription_identifiers(&delivered));
        subscriber.ack(&delivered);
    }
    received.sort();
    assert_eq!(
        received,
        [vec![11_u32], vec![12]],
        "the Subscription Identifiers of two copies"
    );
}

fn publish_with_a_subscription_identifier_is_a_protocol_error(lab: &Lab) {
    for (identifier, qos) in [(1, 0), (1, 1), (1, 2), (268_435_455, 0), (0, 0)] {
        let props = vec![Prop::Varint(SUBSCRIPTION_IDENTIFIER, identifier)];
        let packet = PublishSpec {
            props,
            ..PublishSpec::new("a", b"x", qos)
        }
        .to_bytes(5);
        assert_rejected(
            lab,
            &format!("Subscription Identifier {identifier}"),
            &packet,
            &[0x82],
        );
    }
}

fn receive_maximum_of_the_broker_is_enforced(lab: &Lab) {
    let topic = lab.unique("overrun");
    let mut publisher = lab.broker().v5(&lab.unique("overrun"));
    assert_eq!(
        publisher.connack.prop(RECEIVE_MAXIMUM),
        Some(OwnedProp::U16(RECEIVE_MAXIMUM, BROKER_RECEIVE_MAXIMUM))
    );
    open_exchanges(&mut publisher, &topic, 1..=BROKER_RECEIVE_MAXIMUM);
    publisher.send_publish(&PublishSpec {
        packet_id: 21,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    publisher.expect_disconnect(0x93);

    let mut hasty = lab.broker().v5(&lab.unique("overrun"));
    let segment: Vec<u8> = (1..=BROKER_RECEIVE_MAXIMUM + 1)
        .flat_map(|packet_id| {
            PublishSpec {
                packet_id,
                ..PublishSpec::new(&topic, b"x", 2)
            }
            .to_bytes(5)
        })
        .collect();
    hasty.send(&segment);
    let answers = hasty.try_recv_closed();
    let Some((last, pubrecs)) = answers.split_last() else {
        panic!("closed without DISCONNECT 0x93")
    };
    assert!(
        pubrecs.iter().all(|answer| answer.first == PUBREC),
        "awaited PUBREC only, got {pubrecs:?}"
    );
    assert_eq!(
        (last.first, last.reason(5)),
        (0xE0, 0x93),
        "awaited DISCONNECT 0x93, got {last:?}"
    );
}

/// QoS 1, QoS 0 and what PUBREL has finished do not count; what PUBREC alone has answered does.
fn receive_maximum_of_the_broker_counts_unfinished_exchanges_only(lab: &Lab) {
    let topic = lab.unique("overrun-count");
    let mut publisher = lab.broker().v5(&lab.unique("overrun-count"));
    for packet_id in 1..=3 * BROKER_RECEIVE_MAXIMUM {
        publisher.publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 1)
        });
        publisher.publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(&topic, b"x", 2)
        });
        publisher.publish(&PublishSpec::new(&topic, b"x", 0));
    }
    open_exchanges(&mut publisher, &topic, 1..=20);
    for packet_id in [20, 3, 11] {
        publisher.send(&wire::ack(PUBREL, 5, packet_id, None));
        expect_ack(&mut publisher, PUBCOMP, packet_id, 0x00);
    }
    open_exchanges(&mut publisher, &topic, 21..=23);
    publisher.send_publish(&PublishSpec {
        packet_id: 24,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    publisher.expect_disconnect(0x93);
}

/// A client that has used the whole quota may still send everything but PUBLISH at QoS 1 and 2, and is answered.
fn receive_maximum_of_the_broker_stops_no_other_packet(lab: &Lab) {
    let topic = lab.unique("used-up");
    let mut client = lab.broker().v5(&lab.unique("used-up"));
    open_exchanges(
        &mut client,
        &lab.unique("used-up"),
        1..=BROKER_RECEIVE_MAXIMUM,
    );
    assert!(client.ping().is_empty());
    assert_eq!(client.subscribe(&[(&topic, 1)]), [1]);
    client.publish(&PublishSpec::new(&topic, b"to itself", 0));
    assert_eq!(client.recv_publish().payload, b"to itself");
    let mut publisher = lab.broker().v5(&lab.unique("used-up"));
    publisher.publish(&PublishSpec::new(&topic, b"from another", 1));
    let delivered = client.recv_publish();
    assert_eq!(delivered.payload, b"from another");
    client.ack(&delivered);
    assert_eq!(client.unsubscribe(&[&topic]), [0]);
    client.send(&wire::ack(PUBREL, 5, 20, None));
    expect_ack(&mut client, PUBCOMP, 20, 0x00);
}

fn receive_maximum_of_the_client_is_kept_at_qos1(lab: &Lab) {
    let mut subscriber = with_five_waiting(lab, 1, 2);
    let (first, second) = (subscriber.recv_publish(), subscriber.recv_publish());
    assert_eq!(
        (first.payload.as_slice(), second.payload.as_slice()),
        (&b"0"[..], &b"1"[..])
    );
    expect_nothing_yet(&mut subscriber);
    subscriber.ack(&second);
    let third = subscriber.recv_publish();
    assert_eq!(third.payload, b"2");
    expect_nothing_yet(&mut subscriber);
    subscriber.ack(&first);
    subscriber.ack(&third);
    assert_eq!(subscriber.recv_publish().payload, b"3");
    assert_eq!(subscriber.recv_publish().payload, b"4");
}

/// PUBREC gives nothing back, PUBCOMP does, and so does a PUBREC that refuses.
fn receive_maximum_of_the_client_is_kept_at_qos2(lab: &Lab) {
    let mut subscriber = with_five_waiting(lab, 2, 1);
    let first = subscriber.recv_publish();
    assert_eq!(first.payload, b"0");
    expect_nothing_yet(&mut subscriber);
    subscriber.send(&wire::ack(PUBREC, 5, first.packet_id, None));
    expect_ack(&mut subscriber, PUBREL, first.packet_id, 0x00);
    expect_nothing_yet(&mut subscriber);
    subscriber.send(&wire::ack(PUBCOMP, 5, first.packet_id, None));
    for number in ["1", "2", "3"] {
        let delivered = subscriber.recv_publish();
        assert_eq!(delivered.payload, number.as_bytes(), "{delivered:?}");
        expect_nothing_yet(&mut subscriber);
        subscriber.send(&wire::ack(PUBREC, 5, delivered.packet_id, Some(0x80)));
    }
    assert_eq!(subscriber.recv_publish().payload, b"4");
}

fn receive_maximum_of_the_client_is_kept_when_sending_again(lab: &Lab) {
    let (broker, id, topic) = (lab.broker(), lab.unique("again"), lab.unique("again"));
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = broker.v5(&lab.unique("again"));
    let mut sent = Vec::new();
    for qos in [1, 2, 1, 2] {
        publisher.publish(&PublishSpec::new(&topic, b"x", qos));
        sent.push(subscriber.recv_publish());
    }
    subscriber.drop_connection();

    let mut subscriber = broker.connect(&durable(&id, false, &[Prop::U16(RECEIVE_MAXIMUM, 1)]));
    for first in sent {
        let again = subscriber.recv_publish();
        assert_eq!(
            Delivered {
                dup: false,
                ..again.clone()
            },
            first,
            "sent again (left), sent first (right)"
        );
        expect_nothing_yet(&mut subscriber);
        subscriber.ack(&again);
    }
}

fn receive_maximum_of_the_client_delays_no_other_packet(lab: &Lab) {
    let topic = lab.unique("undelayed");
    let mut subscriber = with_five_waiting(lab, 1, 1);
    let first = subscriber.recv_publish();
    assert_eq!(subscriber.subscribe(&[(&topic, 1)]), [1]);
    assert_eq!(subscriber.unsubscribe(&[&topic]), [0]);
    subscriber.send_publish(&PublishSpec {
        packet_id: 9,
        ..PublishSpec::new(&topic, b"x", 1)
    });
    expect_ack(&mut subscriber, PUBACK, 9, 0x10);
    subscriber.send_publish(&PublishSpec {
        packet_id: 9,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    expect_ack(&mut subscriber, PUBREC, 9, 0x10);
    subscriber.send(&wire::ack(PUBREL, 5, 9, None));
    expect_ack(&mut subscriber, PUBCOMP, 9, 0x00);
    expect_nothing_yet(&mut subscriber);
    subscriber.ack(&first);
    assert_eq!(subscriber.recv_publish().payload, b"1");
}

/// A client with this Receive Maximum, for whom messages "0" to "4" at this QoS were waiting when it came back.
#[track_caller]
fn with_five_waiting(lab: &Lab, qos: u8, receive_maximum: u16) -> Raw {
    let (broker, id, topic) = (lab.broker(), lab.unique("waiting"), lab.unique("waiting"));
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 2)]);
    subscriber.disconnect();
    let mut publisher = broker.v5(&lab.unique("waiting"));
    for number in ["0", "1", "2", "3", "4"] {
        publisher.publish(&PublishSpec::new(&topic, number.as_bytes(), qos));
    }
    broker.connect(&durable(
        &id,
        false,
        &[Prop::U16(RECEIVE_MAXIMUM, receive_maximum)],
    ))
}

/// The broker answers twice and has sent nothing else before.
#[track_caller]
fn expect_nothing_yet(client: &mut Raw) {
    for _ in 0..2 {
        let packets = client.ping();
        assert!(
            packets.is_empty(),
            "awaited nothing before an acknowledgement, got {packets:?}"
        );
    }
}

/// Opens a QoS 2 exchange under each Packet Identifier: PUBLISH is answered by PUBREC, PUBREL not sent.
#[track_caller]
fn open_exchanges(client: &mut Raw, topic: &str, packet_ids: RangeInclusive<u16>) {
    for packet_id in packet_ids {
        client.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(topic, b"x", 2)
        });
        let pubrec = client.recv();
        assert_eq!(
            (pubrec.first, pubrec.packet_id()),
            (PUBREC, packet_id),
            "awaited PUBREC, got {pubrec:?}"
        );
    }
}

#[track_caller]
fn subscribe_identified(client: &mut Raw, identifier: u32, filter: &str, qos: u8) {
    let suback = client.subscribe_with(
        &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, identifier)],
        &[(filter, qos)],
    );
    assert_eq!(
        suback.codes(5),
        [qos],
        "{filter} with Subscription Identifier {identifier}"
    );
}

#[track_caller]
fn subscription_identifiers(delivered: &Delivered) -> Vec<u32> {
    delivered
        .props(SUBSCRIPTION_IDENTIFIER)
        .into_iter()
        .map(OwnedProp::number)
        .collect()
}

/// The Packet Identifiers of those packets that begin with this byte.
#[track_caller]
fn packet_ids(packets: &[Wire], first: u8) -> Vec<u16> {
    packets
        .iter()
        .filter(|packet| packet.first == first)
        .map(Wire::packet_id)
        .collect()
}
