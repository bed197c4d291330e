//! Message receipt and ordering: sections 4.5 and 4.6 of MQTT 5.0.
//!
//! Order is looked at where it is easiest to lose: behind a full send quota, in the queue of an absent client, at a
//! redelivery, and among several publishers, Topic Names and QoS at once.

use std::ops::Range;

use super::session::durable;
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, Prop, PublishSpec, Raw, wire};

const RECEIVE_MAXIMUM: u8 = 0x21;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        receipt_adds_the_message_to_all_matching_sessions,
        ["v5[MQTT-4.5.0-1]"]
    ),
    case!(
        receipt_keeps_messages_for_absent_clients,
        ["v5[MQTT-4.5.0-1]"]
    ),
    case!(
        order_is_kept_at_each_qos,
        ["v5[MQTT-4.6.0-5]", "v5[MQTT-4.6.0-6]"]
    ),
    case!(order_is_kept_where_qos_are_mixed, ["v5[MQTT-4.6.0-5]"]),
    case!(
        order_is_kept_behind_a_small_receive_maximum,
        ["v5[MQTT-4.6.0-5]"]
    ),
    case!(order_is_kept_for_an_absent_client, ["v5[MQTT-4.6.0-5]"]),
    case!(
        order_is_kept_for_each_of_many_publishers,
        ["v5[MQTT-4.6.0-5]", "v5[MQTT-4.6.0-6]"]
    ),
    case!(
        order_is_kept_for_wildcard_subscriptions,
        ["v5[MQTT-4.6.0-6]"]
    ),
    case!(
        order_of_redelivery_is_that_of_delivery,
        ["v5[MQTT-4.6.0-5]"]
    ),
];

/// Publishes numbers as payloads, ten at once, and goes on when all ten are acknowledged.
#[track_caller]
fn publish_numbers(publisher: &mut Raw, topic: &str, qos: u8, numbers: Range<u16>) {
    let packet = |number: u16| {
        let payload = number.to_string();
        PublishSpec {
            packet_id: number + 1,
            ..PublishSpec::new(topic, payload.as_bytes(), qos)
        }
        .to_bytes(5)
    };
    for batch in numbers.collect::<Vec<_>>().chunks(10) {
        publisher.send(
            &batch
                .iter()
                .map(|number| packet(*number))
                .collect::<Vec<_>>()
                .concat(),
        );
        if qos == 1 {
            await_acks(publisher, 0x40, batch);
        } else if qos == 2 {
            await_acks(publisher, 0x50, batch);
            publisher.send(
                &batch
                    .iter()
                    .map(|number| wire::ack(0x62, 5, number + 1, None))
                    .collect::<Vec<_>>()
                    .concat(),
            );
            await_acks(publisher, 0x70, batch);
        }
    }
}

#[track_caller]
fn await_acks(publisher: &mut Raw, first: u8, numbers: &[u16]) {
    for number in numbers {
        let ack = publisher.recv();
        assert_eq!(
            (ack.first, ack.packet_id(), ack.reason(5)),
            (first, number + 1, 0),
            "{ack:?}"
        );
    }
}

/// Takes and acknowledges this many deliveries.
#[track_caller]
fn take(client: &mut Raw, count: usize) -> Vec<Delivered> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivered = client.recv_publish();
        client.ack(&delivered);
        taken.push(delivered);
    }
    taken
}

/// The numbers among these deliveries that came under this Topic Name at this QoS.
fn numbers(deliveries: &[Delivered], topic: &str, qos: u8) -> Vec<u16> {
    deliveries
        .iter()
        .filter(|delivered| delivered.topic == topic && delivered.qos == qos)
        .filter_map(|delivered| String::from_utf8_lossy(&delivered.payload).parse().ok())
        .collect()
}

fn receipt_adds_the_message_to_all_matching_sessions(lab: &Lab) {
    let topic = lab.unique("all");
    let filters = [topic.clone(), format!("{topic}/#"), format!("+/{topic}")];
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut clients: Vec<Raw> = (0..6).map(|_| lab.broker().v5(&lab.unique("c"))).collect();
    for (client, filter) in clients.iter_mut().zip(filters.iter().cycle()) {
        assert_eq!(client.subscribe(&[(filter.as_str(), 2)]), [2]);
    }
    for qos in 0..=2 {
        publisher.publish(&PublishSpec::new(&topic, b"x", qos));
        for index in [0, 1, 3, 4] {
            assert_eq!(take(&mut clients[index], 1)[0].qos, qos);
        }
        for index in [2, 5] {
            assert!(
                clients[index].ping().is_empty(),
                "{} does not match {topic}",
                filters[2]
            );
        }
    }
}

fn receipt_keeps_messages_for_absent_clients(lab: &Lab) {
    let topic = lab.unique("absent");
    let ids: Vec<String> = (0..3).map(|_| lab.unique("c")).collect();
    for (id, qos) in ids.iter().zip([1_u8, 2, 2]) {
        let mut client = lab.broker().connect(&durable(id));
        assert_eq!(client.subscribe(&[(topic.as_str(), qos)]), [qos]);
        client.disconnect();
    }
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    publisher.publish(&PublishSpec::new(&topic, b"one", 1));
    publisher.publish(&PublishSpec::new(&topic, b"two", 2));
    for (id, granted) in ids.iter().zip([1_u8, 2, 2]) {
        let mut client = lab.broker().connect(&durable(id));
        assert!(client.session_present());
        for (payload, published) in [(b"one", 1_u8), (b"two", 2)] {
            let delivered = client.recv_publish();
            assert_eq!(
                (delivered.payload.as_slice(), delivered.dup),
                (payload.as_slice(), false)
            );
            assert_eq!(delivered.qos, granted.min(published));
            client.ack(&delivered);
        }
        assert!(client.ping().is_empty());
    }
}

fn order_is_kept_at_each_qos(lab: &Lab) {
    const COUNT: u16 = 200;
    for qos in 0..=2 {
        let topic = lab.unique("order");
        let mut publisher = lab.broker().v5(&lab.unique("p"));
        let mut client = lab.broker().v5(&lab.unique("c"));
        assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
        publish_numbers(&mut publisher, &topic, qos, 0..COUNT);
        let deliveries = take(&mut client, usize::from(COUNT));
        assert_eq!(
            numbers(&deliveries, &topic, qos),
            (0..COUNT).collect::<Vec<_>>(),
            "QoS {qos}"
        );
    }
}

fn order_is_kept_where_qos_are_mixed(lab: &Lab) {
    const COUNT: u16 = 150;
    let topics = [lab.unique("mixed"), lab.unique("mixed")];
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    assert_eq!(
        client.subscribe(&[(topics[0].as_str(), 2), (topics[1].as_str(), 2)]),
        [2, 2]
    );
    for number in 0..COUNT {
        let topic = &topics[usize::from(number % 2)];
        publish_numbers(
            &mut publisher,
            topic,
            (number % 3) as u8,
            number..number + 1,
        );
    }
    let deliveries = take(&mut client, usize::from(COUNT));
    for (rest, topic) in (0_u16..).zip(&topics) {
        for qos in 0..=2_u8 {
            let expected: Vec<u16> = (0..COUNT)
                .filter(|n| n % 2 == rest && n % 3 == u16::from(qos))
                .collect();
            assert_eq!(
                numbers(&deliveries, topic, qos),
                expected,
                "topic {rest}, QoS {qos}"
            );
        }
    }
}

fn order_is_kept_behind_a_small_receive_maximum(lab: &Lab) {
    const COUNT: u16 = 60;
    for (qos, receive_maximum) in [(1, 1), (1, 7), (2, 1), (2, 7)] {
        let (id, topic) = (lab.unique("c"), lab.unique("quota"));
        let mut publisher = lab.broker().v5(&lab.unique("p"));
        let mut client = lab.broker().connect(&ConnectSpec {
            props: vec![Prop::U16(RECEIVE_MAXIMUM, receive_maximum)],
            ..ConnectSpec::v5(&id)
        });
        assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
        publish_numbers(&mut publisher, &topic, qos, 0..COUNT);
        let deliveries = take(&mut client, usize::from(COUNT));
        assert_eq!(
            numbers(&deliveries, &topic, qos),
            (0..COUNT).collect::<Vec<_>>()
        );
    }
}

fn order_is_kept_for_an_absent_client(lab: &Lab) {
    const COUNT: u16 = 100;
    for qos in [1, 2] {
        let (id, topic) = (lab.unique("c"), lab.unique("absent"));
        let mut publisher = lab.broker().v5(&lab.unique("p"));
        let mut client = lab.broker().connect(&durable(&id));
        assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
        client.disconnect();
        publish_numbers(&mut publisher, &topic, qos, 0..COUNT);
        let mut client = lab.broker().connect(&durable(&id));
        // More while the queue is still full.
        publish_numbers(&mut publisher, &topic, qos, COUNT..2 * COUNT);
        let deliveries = take(&mut client, usize::from(2 * COUNT));
        assert_eq!(
            numbers(&deliveries, &topic, qos),
            (0..2 * COUNT).collect::<Vec<_>>()
        );
    }
}

fn order_is_kept_for_each_of_many_publishers(lab: &Lab) {
    const PUBLISHERS: u16 = 4;
    const COUNT: u16 = 50;
    let topic = lab.unique("many");
    let mut client = lab.broker().v5(&lab.unique("c"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    let mut publishers: Vec<Raw> = (0..PUBLISHERS)
        .map(|_| lab.broker().v5(&lab.unique("p")))
        .collect();
    for round in 0..COUNT {
        for (which, publisher) in (0_u16..).zip(&mut publishers) {
            let number = which * 1000 + round;
            publish_numbers(publisher, &topic, 1, number..number + 1);
        }
    }
    let deliveries = take(&mut client, usize::from(PUBLISHERS * COUNT));
    let all = numbers(&deliveries, &topic, 1);
    for which in 0..PUBLISHERS {
        let its_own: Vec<u16> = all
            .iter()
            .copied()
            .filter(|number| number / 1000 == which)
            .collect();
        assert_eq!(
            its_own,
            (which * 1000..which * 1000 + COUNT).collect::<Vec<_>>(),
            "publisher {which}"
        );
    }
}

fn order_is_kept_for_wildcard_subscriptions(lab: &Lab) {
    const COUNT: u16 = 100;
    let base = lab.unique("wild");
    let topic = format!("{base}/a/b");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for filter in [
        format!("{base}/#"),
        format!("{base}/+/b"),
        format!("{base}/+/+"),
    ] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        assert_eq!(client.subscribe(&[(filter.as_str(), 1)]), [1]);
        publish_numbers(&mut publisher, &topic, 2, 0..COUNT);
        let deliveries = take(&mut client, usize::from(COUNT));
        assert_eq!(
            numbers(&deliveries, &topic, 1),
            (0..COUNT).collect::<Vec<_>>(),
            "{filter}"
        );
    }
}

fn order_of_redelivery_is_that_of_delivery(lab: &Lab) {
    const COUNT: u16 = 12;
    let (id, topic) = (lab.unique("c"), lab.unique("again"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let mut client = lab.broker().connect(&durable(&id));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    for number in 0..COUNT {
        publish_numbers(
            &mut publisher,
            &topic,
            (number % 2) as u8 + 1,
            number..number + 1,
        );
    }
    let first: Vec<Delivered> = (0..COUNT).map(|_| client.recv_publish()).collect();
    // A closed connection, so that what follows is not sent before the client is back.
    client.disconnect();
    publish_numbers(&mut publisher, &topic, 1, COUNT..2 * COUNT);
    let mut client = lab.broker().connect(&durable(&id));
    let deliveries = take(&mut client, usize::from(2 * COUNT));
    let (again, new) = deliveries.split_at(first.len());
    for (again, first) in again.iter().zip(&first) {
        assert_eq!(
            again,
            &Delivered {
                dup: true,
                ..first.clone()
            }
        );
    }
    assert!(new.iter().all(|delivered| !delivered.dup));
    assert_eq!(
        numbers(new, &topic, 1),
        (COUNT..2 * COUNT).collect::<Vec<_>>()
    );
}
