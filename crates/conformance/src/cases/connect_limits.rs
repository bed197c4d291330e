//! What CONNECT asks the broker to respect: Keep Alive, Receive Maximum, Maximum Packet Size, Topic Alias Maximum and
//! the two Request properties (3.1.2.10 and 3.1.2.11 of MQTT 5.0).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::v311_connection::assert_each_packet_keeps_alive;
use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, OwnedProp, Prop, PublishSpec, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const SERVER_KEEP_ALIVE: u8 = 0x13;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;
const REASON_STRING: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        silent_client_is_closed_after_one_and_a_half_keep_alive,
        ["v5[MQTT-3.1.2-22]", "v5[MQTT-3.2.2-22]"]
    ),
    case!(silent_3_1_1_client_is_closed_too, ["v5[MQTT-3.1.2-22]"]),
    case!(
        packets_restart_keep_alive,
        ["v5[MQTT-3.1.2-22]", "v5[MQTT-3.1.2-20]"]
    ),
    case!(keep_alive_0_never_runs_out, ["v5[MQTT-3.2.2-22]"]),
    case!(
        server_keep_alive_is_told_when_it_is_shorter,
        ["v5[MQTT-3.1.2-21]", "v5[MQTT-3.2.2-21]"]
    ),
    case!(
        receive_maximum_bounds_open_deliveries,
        ["v5[MQTT-3.3.4-9]", "v5[MQTT-4.9.0-2]"]
    ),
    case!(
        packets_above_maximum_packet_size_are_not_sent,
        ["v5[MQTT-3.1.2-24]"]
    ),
    case!(
        retained_messages_above_maximum_packet_size_are_not_sent,
        ["v5[MQTT-3.1.2-24]"]
    ),
    case!(too_large_message_counts_as_delivered, ["v5[MQTT-3.1.2-25]"]),
    case!(
        too_large_message_reaches_other_subscribers,
        ["v5[MQTT-3.1.2-25]"]
    ),
    case!(
        too_large_message_is_gone_for_the_next_connection,
        ["v5[MQTT-3.1.2-25]"]
    ),
    case!(
        aliases_stay_within_topic_alias_maximum,
        ["v5[MQTT-3.1.2-26]"]
    ),
    case!(no_alias_without_topic_alias_maximum, ["v5[MQTT-3.1.2-27]"]),
    case!(
        response_information_only_when_requested,
        ["v5[MQTT-3.1.2-28]"]
    ),
    case!(
        no_problem_information_when_not_wanted,
        ["v5[MQTT-3.1.2-29]"]
    ),
    case!(
        user_properties_of_messages_come_without_problem_information,
        ["v5[MQTT-3.1.2-29]"]
    ),
];

fn with<'a>(client_id: &'a str, props: Vec<Prop<'a>>) -> ConnectSpec<'a> {
    ConnectSpec {
        props,
        ..ConnectSpec::v5(client_id)
    }
}

/// The time of a close that comes by itself, counted from before CONNECT, which is the last packet of this client.
fn silence_until_closed(lab: &Lab, connect: &ConnectSpec<'_>) -> Duration {
    let connected = Instant::now();
    let mut raw = lab.broker().connect(connect);
    for packet in raw.try_recv_closed() {
        assert_eq!(
            (packet.first, packet.reason(5)),
            (0xE0, KEEP_ALIVE_TIMEOUT),
            "{packet:?}"
        );
    }
    connected.elapsed()
}

fn silent_client_is_closed_after_one_and_a_half_keep_alive(lab: &Lab) {
    let id = lab.unique("keep-alive");
    let waited = silence_until_closed(
        lab,
        &ConnectSpec {
            keep_alive: 1,
            ..ConnectSpec::v5(&id)
        },
    );
    assert!(
        waited >= Duration::from_millis(1450),
        "closed after {waited:?}, Keep Alive is 1 s"
    );
}

fn silent_3_1_1_client_is_closed_too(lab: &Lab) {
    let id = lab.unique("keep-alive");
    let connected = Instant::now();
    let mut raw = lab.broker().connect(&ConnectSpec {
        keep_alive: 1,
        ..ConnectSpec::v311(&id)
    });
    raw.expect_closed();
    let waited = connected.elapsed();
    assert!(
        waited >= Duration::from_millis(1450),
        "closed after {waited:?}, Keep Alive is 1 s"
    );
}

fn packets_restart_keep_alive(lab: &Lab) {
    assert_each_packet_keeps_alive(lab, 5);
}

fn keep_alive_0_never_runs_out(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("keep-alive"));
    raw.expect_silence(Duration::from_millis(2000));
    assert!(raw.ping().is_empty());
}

fn server_keep_alive_is_told_when_it_is_shorter(lab: &Lab) {
    let broker = lab.broker_with("max_keepalive 60");
    for (asked, told) in [
        (0, Some(60)),
        (61, Some(60)),
        (65_535, Some(60)),
        (60, None),
        (1, None),
    ] {
        let raw = broker.connect(&ConnectSpec {
            keep_alive: asked,
            ..ConnectSpec::v5("keep-alive")
        });
        let property = raw
            .connack
            .prop(SERVER_KEEP_ALIVE)
            .map(|property| property.number());
        assert_eq!(property, told, "Keep Alive {asked}");
        raw.disconnect();
    }
}

fn receive_maximum_bounds_open_deliveries(lab: &Lab) {
    let (id, topic) = (lab.unique("receive-maximum"), lab.unique("receive-maximum"));
    let mut subscriber = lab
        .broker()
        .connect(&with(&id, vec![Prop::U16(RECEIVE_MAXIMUM, 2)]));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("receive-maximum-pub"));
    for payload in [b"1".as_slice(), b"2", b"3", b"4"] {
        publisher.publish(&PublishSpec::new(&topic, payload, 1));
    }
    let open = [subscriber.recv_publish(), subscriber.recv_publish()];
    assert!(
        subscriber.ping().is_empty(),
        "a third message came with two open"
    );
    let [first, second] = &open;
    assert_eq!(
        (first.payload.as_slice(), second.payload.as_slice()),
        (b"1".as_slice(), b"2".as_slice())
    );
    subscriber.ack(first);
    let third = subscriber.recv_publish();
    assert_eq!(third.payload, b"3");
    assert!(
        subscriber.ping().is_empty(),
        "a fourth message came with two open"
    );
    subscriber.ack(second);
    assert_eq!(subscriber.recv_publish().payload, b"4");
}

/// A PUBLISH of exactly this many bytes, as a 5.0 subscriber receives it at this QoS without properties.
fn payload_for(packet_len: usize, topic: &str, qos: u8) -> Vec<u8> {
    assert!(
        packet_len < 128,
        "the Remaining Length is taken to be one byte"
    );
    let packet_id_len = if qos > 0 { 2 } else { 0 };
    vec![b'x'; packet_len - 2 - 2 - topic.len() - packet_id_len - 1]
}

fn packets_above_maximum_packet_size_are_not_sent(lab: &Lab) {
    let (id, topic) = (lab.unique("packet-size"), lab.unique("packet-size"));
    let mut subscriber = lab
        .broker()
        .connect(&with(&id, vec![Prop::U32(MAXIMUM_PACKET_SIZE, 100)]));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("packet-size-pub"));
    for qos in [0, 1, 2] {
        for packet_len in [101, 120, 100] {
            publisher.publish(&PublishSpec::new(
                &topic,
                &payload_for(packet_len, &topic, qos),
                qos,
            ));
        }
        let packet = subscriber.recv();
        assert_eq!(
            (packet.packet_type(), packet.to_bytes().len()),
            (3, 100),
            "QoS {qos}"
        );
        subscriber.ack(&Delivered::from_wire(&packet, 5));
    }
    assert!(subscriber.ping().is_empty());
}

fn retained_messages_above_maximum_packet_size_are_not_sent(lab: &Lab) {
    let (id, base) = (lab.unique("packet-size"), lab.unique("packet-size"));
    let mut publisher = lab.broker().v5(&lab.unique("packet-size-pub"));
    for (level, packet_len) in [("a", 100), ("b", 101), ("c", 120), ("d", 100)] {
        let topic = format!("{base}/{level}");
        let payload = payload_for(packet_len, &topic, 1);
        publisher.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(&topic, &payload, 1)
        });
    }
    let mut subscriber = lab
        .broker()
        .connect(&with(&id, vec![Prop::U32(MAXIMUM_PACKET_SIZE, 100)]));
    assert_eq!(subscriber.subscribe(&[(&format!("{base}/+"), 1)]), [1]);
    let mut topics = Vec::new();
    for _ in 0..2 {
        let delivered = subscriber.recv_publish();
        subscriber.ack(&delivered);
        topics.push(delivered.topic);
    }
    topics.sort();
    assert_eq!(topics, [format!("{base}/a"), format!("{base}/d")]);
    assert!(subscriber.ping().is_empty());
}

/// With a Receive Maximum of 1, a message that still counted as open would let no other pass.
fn too_large_message_counts_as_delivered(lab: &Lab) {
    let (id, topic) = (lab.unique("packet-size"), lab.unique("packet-size"));
    let props = vec![
        Prop::U32(MAXIMUM_PACKET_SIZE, 100),
        Prop::U16(RECEIVE_MAXIMUM, 1),
    ];
    let mut subscriber = lab.broker().connect(&with(&id, props));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("packet-size-pub"));
    for qos in [1, 2] {
        for _ in 0..3 {
            publisher.publish(&PublishSpec::new(&topic, &[b'x'; 200], qos));
        }
        publisher.publish(&PublishSpec::new(&topic, b"small", qos));
        let delivered = subscriber.recv_publish();
        assert_eq!(delivered.payload, b"small");
        subscriber.ack(&delivered);
    }
}

fn too_large_message_reaches_other_subscribers(lab: &Lab) {
    let (small_id, large_id) = (
        lab.unique("packet-size-small"),
        lab.unique("packet-size-large"),
    );
    let topic = lab.unique("packet-size");
    let mut small = lab
        .broker()
        .connect(&with(&small_id, vec![Prop::U32(MAXIMUM_PACKET_SIZE, 100)]));
    let mut large = lab
        .broker()
        .connect(&with(&large_id, vec![Prop::U32(MAXIMUM_PACKET_SIZE, 1000)]));
    for subscriber in [&mut small, &mut large] {
        assert_eq!(subscriber.subscribe(&[(&topic, 0)]), [0]);
    }
    let mut publisher = lab.broker().v5(&lab.unique("packet-size-pub"));
    publisher.publish(&PublishSpec::new(&topic, &[b'x'; 200], 0));
    publisher.publish(&PublishSpec::new(&topic, b"small", 0));
    assert_eq!(large.recv_publish().payload.len(), 200);
    assert_eq!(large.recv_publish().payload, b"small");
    assert_eq!(small.recv_publish().payload, b"small");
}

fn too_large_message_is_gone_for_the_next_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("packet-size"), lab.unique("packet-size"));
    let kept = Prop::U32(SESSION_EXPIRY_INTERVAL, 60);
    let mut raw = lab
        .broker()
        .connect(&with(&id, vec![kept, Prop::U32(MAXIMUM_PACKET_SIZE, 100)]));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    let mut publisher = lab.broker().v5(&lab.unique("packet-size-pub"));
    publisher.publish(&PublishSpec::new(&topic, &[b'x'; 200], 1));
    publisher.publish(&PublishSpec::new(&topic, b"small", 1));
    // It came after the large one, so that one was dealt with; left open, it comes again.
    assert_eq!(raw.recv_publish().payload, b"small");
    raw.disconnect();
    let mut raw = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..with(&id, vec![kept])
    });
    assert!(raw.session_present());
    let again = raw.recv_publish();
    assert_eq!(
        (again.payload.as_slice(), again.dup),
        (b"small".as_slice(), true)
    );
    raw.ack(&again);
    publisher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(raw.recv_publish().payload, b"marker");
}

fn aliases_stay_within_topic_alias_maximum(lab: &Lab) {
    for maximum in [1, 3] {
        let (id, base) = (lab.unique("alias"), lab.unique("alias"));
        let mut raw = lab
            .broker()
            .connect(&with(&id, vec![Prop::U16(TOPIC_ALIAS_MAXIMUM, maximum)]));
        assert_eq!(raw.subscribe(&[(&format!("{base}/#"), 0)]), [0]);
        let mut names = BTreeMap::new();
        for round in 0..20 {
            let topic = format!("{base}/{}", (round * round) % 7);
            raw.publish(&PublishSpec::new(&topic, b"x", 0));
            let delivered = raw.recv_publish();
            let alias = delivered.prop(TOPIC_ALIAS).map(OwnedProp::number);
            if let Some(alias) = alias {
                assert!(
                    (1..=u32::from(maximum)).contains(&alias),
                    "alias {alias}, the maximum is {maximum}"
                );
                if !delivered.topic.is_empty() {
                    names.insert(alias, delivered.topic.clone());
                }
            }
            let name = alias
                .and_then(|alias| names.get(&alias))
                .unwrap_or(&delivered.topic);
            assert_eq!(*name, topic, "{delivered:?}");
        }
    }
}

fn no_alias_without_topic_alias_maximum(lab: &Lab) {
    for props in [vec![], vec![Prop::U16(TOPIC_ALIAS_MAXIMUM, 0)]] {
        let (id, topic) = (lab.unique("alias"), lab.unique("alias"));
        let mut raw = lab.broker().connect(&with(&id, props));
        assert_eq!(raw.subscribe(&[(&topic, 0)]), [0]);
        for _ in 0..5 {
            raw.publish(&PublishSpec::new(&topic, b"x", 0));
            let delivered = raw.recv_publish();
            assert_eq!(
                (&delivered.topic, delivered.prop(TOPIC_ALIAS)),
                (&topic, None)
            );
        }
    }
}

fn response_information_only_when_requested(lab: &Lab) {
    for props in [vec![], vec![Prop::Byte(REQUEST_RESPONSE_INFORMATION, 0)]] {
        let id = lab.unique("response-information");
        let raw = lab.broker().connect(&with(&id, props));
        assert_eq!(raw.connack.prop(RESPONSE_INFORMATION), None);
    }
}

/// Acknowledgements of every kind, most of them with a Reason Code that could be explained.
fn no_problem_information_when_not_wanted(lab: &Lab) {
    let (id, topic) = (lab.unique("problem"), lab.unique("problem"));
    let user = Prop::Pair(USER_PROPERTY, "n", "v");
    let mut raw = lab.broker().connect(&with(
        &id,
        vec![Prop::Byte(REQUEST_PROBLEM_INFORMATION, 0), user],
    ));
    let mut answers = vec![raw.subscribe_with(&[user], &[("bad/#/filter", 0), (&topic, 2)])];
    raw.send(&wire::unsubscribe(5, 20, &[user], &["never/subscribed"]));
    answers.push(raw.recv());
    let props = vec![user];
    for (packet_id, qos) in [(21, 1), (22, 2)] {
        let publish = PublishSpec {
            packet_id,
            props: props.clone(),
            ..PublishSpec::new("nobody/here", b"x", qos)
        };
        raw.send_publish(&publish);
        answers.push(raw.recv());
    }
    raw.send(&wire::ack(0x62, 5, 22, None));
    answers.push(raw.recv());
    // PUBREL for an identifier that is not open, PUBREC for one that is not either.
    raw.send(&wire::ack(0x62, 5, 99, None));
    answers.push(raw.recv());
    raw.send(&wire::ack(0x50, 5, 99, None));
    answers.push(raw.recv());
    let types: Vec<u8> = answers.iter().map(|packet| packet.packet_type()).collect();
    assert_eq!(types, [9, 11, 4, 5, 7, 7, 6], "{answers:?}");
    for packet in answers {
        assert_eq!(
            (packet.prop(REASON_STRING), packet.prop(USER_PROPERTY)),
            (None, None),
            "{packet:?}"
        );
    }
}

fn user_properties_of_messages_come_without_problem_information(lab: &Lab) {
    let (id, topic) = (lab.unique("problem"), lab.unique("problem"));
    let mut raw = lab
        .broker()
        .connect(&with(&id, vec![Prop::Byte(REQUEST_PROBLEM_INFORMATION, 0)]));
    assert_eq!(raw.subscribe(&[(&topic, 0)]), [0]);
    let props = vec![Prop::Pair(USER_PROPERTY, "n", "v")];
    raw.publish(&PublishSpec {
        props,
        ..PublishSpec::new(&topic, b"x", 0)
    });
    assert_eq!(
        raw.recv_publish().props,
        [OwnedProp::Pair(
            USER_PROPERTY,
            "n".to_owned(),
            "v".to_owned()
        )]
    );
}
