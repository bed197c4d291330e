//! Flow control, request and response, enhanced authentication, errors: sections 4.9, 4.10, 4.12 and 4.13 of MQTT 5.0.
//!
//! The broker has no authentication method yet: each CONNECT that names one is refused. The forms of single packets that
//! are errors stand with their packets; here is what no packet owns.

use std::ops::RangeInclusive;

use crate::case::{Case, case};
use crate::{ConnectSpec, Delivered, Lab, OwnedProp, Prop, PublishSpec, Raw, wire};

const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
const RESPONSE_INFORMATION: u8 = 0x1A;
const RECEIVE_MAXIMUM: u8 = 0x21;
const USER_PROPERTY: u8 = 0x26;

/// Bytes that end any connection of 5.0, with the Reason Code that tells why.
const ERRORS: [(&str, u8, &str); 21] = [
    ("00 00", 0x81, "packet type 0"),
    (
        "30 ff ff ff ff 7f",
        0x81,
        "a Remaining Length of five bytes",
    ),
    ("36 06 00 01 61 00 01 00", 0x81, "PUBLISH at QoS 3"),
    (
        "30 03 00 05 61",
        0x81,
        "PUBLISH with a Topic Name beyond its end",
    ),
    (
        "32 03 00 01 61",
        0x81,
        "PUBLISH without its Packet Identifier",
    ),
    ("40 01 00", 0x81, "PUBACK with half a Packet Identifier"),
    ("41 02 00 01", 0x81, "PUBACK with flags"),
    ("60 02 00 01", 0x81, "PUBREL without its flags"),
    (
        "70 04 00 01 00 05",
        0x81,
        "PUBCOMP with properties beyond its end",
    ),
    (
        "10 0d 00 04 4d 51 54 54 05 02 00 00 00 00 00",
        0x82,
        "a second CONNECT",
    ),
    ("20 03 00 00 00", 0x82, "CONNACK"),
    ("90 04 00 01 00 00", 0x82, "SUBACK"),
    ("b0 04 00 01 00 00", 0x82, "UNSUBACK"),
    ("d0 00", 0x82, "PINGRESP"),
    (
        "30 06 00 01 61 02 0b 01",
        0x82,
        "PUBLISH with a Subscription Identifier",
    ),
    (
        "30 03 00 00 00",
        0x82,
        "PUBLISH without Topic Name and Topic Alias",
    ),
    (
        "30 06 00 00 03 23 00 05",
        0x82,
        "PUBLISH with a Topic Alias that stands for nothing",
    ),
    ("30 05 00 02 61 2b 00", 0x90, "PUBLISH with a wildcard"),
    (
        "30 07 00 01 61 03 23 00 00",
        0x94,
        "PUBLISH with Topic Alias 0",
    ),
    (
        "30 07 00 01 61 03 23 00 0b",
        0x94,
        "PUBLISH with Topic Alias 11, of 10",
    ),
    ("30 ff ff ff 7f", 0x95, "a packet of 256 MB"),
];

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        send_quota_begins_at_receive_maximum,
        ["v5[MQTT-4.9.0-1]", "v5[MQTT-4.9.0-2]", "v5[MQTT-3.3.4-9]"]
    ),
    case!(send_quota_is_one_at_least, ["v5[MQTT-4.9.0-1]"]),
    case!(send_quota_comes_back_with_puback, ["v5[MQTT-4.9.0-2]"]),
    case!(
        send_quota_comes_back_with_pubcomp_and_not_with_pubrec,
        ["v5[MQTT-4.9.0-2]"]
    ),
    case!(send_quota_comes_back_with_a_refusal, ["v5[MQTT-4.9.0-2]"]),
    case!(
        send_quota_begins_anew_with_each_connection,
        ["v5[MQTT-4.9.0-1]"]
    ),
    case!(
        other_packets_are_answered_at_quota_zero,
        ["v5[MQTT-4.9.0-3]", "v5[MQTT-3.3.4-10]"]
    ),
    case!(
        other_packets_are_answered_at_the_clients_quota_zero,
        ["v5[MQTT-4.9.0-3]"]
    ),
    case!(
        receive_maximum_of_the_server_is_enforced,
        ["v5[MQTT-3.3.4-7]", "v5[MQTT-4.13.1-1]"]
    ),
    case!(
        receive_maximum_of_the_server_counts_what_is_open,
        ["v5[MQTT-3.3.4-7]"]
    ),
    case!(
        request_and_response_pass_unaltered,
        ["v5[MQTT-3.3.2-15]", "v5[MQTT-3.3.2-16]"]
    ),
    case!(
        response_information_is_not_sent_unasked,
        ["v5[MQTT-3.1.2-28]"]
    ),
    case!(
        authentication_method_that_is_not_known_is_refused,
        [
            "v5[MQTT-4.12.0-1]",
            "v5[MQTT-4.12.0-4]",
            "v5[MQTT-4.12.0-5]"
        ]
    ),
    case!(
        authentication_that_failed_reads_nothing_more,
        ["v5[MQTT-4.12.0-4]", "v5[MQTT-3.1.4-6]"]
    ),
    case!(
        authentication_properties_that_are_protocol_errors,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        no_auth_packet_without_authentication_method,
        ["v5[MQTT-4.12.0-6]"]
    ),
    case!(
        re_authentication_that_fails_ends_the_connection,
        ["v5[MQTT-4.12.1-2]"]
    ),
    case!(
        error_of_any_kind_closes_the_connection,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        error_closes_a_connection_of_3_1_1_without_a_word,
        ["v311[MQTT-4.8.0-1]"]
    ),
    case!(
        error_of_one_client_leaves_the_others_alone,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        error_code_in_connack_closes_the_connection,
        ["v5[MQTT-4.13.2-1]"]
    ),
    case!(
        error_code_in_disconnect_closes_the_connection,
        ["v5[MQTT-4.13.2-1]"]
    ),
];

/// A publisher, and a subscriber at QoS 2 with this Receive Maximum.
struct Line {
    publisher: Raw,
    subscriber: Raw,
    topic: String,
}

impl Line {
    #[track_caller]
    fn new(lab: &Lab, receive_maximum: u16) -> Line {
        let (id, topic) = (lab.unique("subscriber"), lab.unique("line"));
        let mut subscriber = lab.broker().connect(&ConnectSpec {
            props: vec![Prop::U16(RECEIVE_MAXIMUM, receive_maximum)],
            ..ConnectSpec::v5(&id)
        });
        assert_eq!(subscriber.subscribe(&[(topic.as_str(), 2)]), [2]);
        Line {
            publisher: lab.broker().v5(&lab.unique("publisher")),
            subscriber,
            topic,
        }
    }

    /// Publishes the numbers 0 to `count`, each acknowledged before the next.
    #[track_caller]
    fn publish(&mut self, count: u8, qos: u8) {
        for number in 0..count {
            self.publisher
                .publish(&PublishSpec::new(&self.topic, &[number], qos));
        }
    }

    /// Takes this many deliveries, of which the first has this number, and sees that no more come.
    #[track_caller]
    fn take_all(&mut self, first: u8, count: u16) -> Vec<Delivered> {
        let taken: Vec<Delivered> = (0..count).map(|_| self.subscriber.recv_publish()).collect();
        for (number, delivered) in (first..).zip(&taken) {
            assert_eq!(delivered.payload, [number]);
        }
        // The broker has taken the last message long ago, so two round trips are time enough to send too many.
        for _ in 0..2 {
            let more = self.subscriber.ping();
            assert!(more.is_empty(), "beyond the send quota: {more:?}");
        }
        taken
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

fn send_quota_begins_at_receive_maximum(lab: &Lab) {
    for receive_maximum in [1, 2, 7] {
        for qos in [1, 2] {
            let mut line = Line::new(lab, receive_maximum);
            line.publish(10, qos);
            line.take_all(0, receive_maximum);
        }
    }
    // QoS 1 and 2 count together.
    let mut line = Line::new(lab, 3);
    line.publish(2, 1);
    line.take_all(0, 2);
    line.publish(3, 2);
    line.take_all(0, 1);
}

fn send_quota_is_one_at_least(lab: &Lab) {
    // 65,535 is what is meant without the property: at least one message comes unasked.
    for receive_maximum in [1, 65_535] {
        let mut line = Line::new(lab, receive_maximum);
        line.publish(1, 1);
        line.take_all(0, 1);
    }
}

fn send_quota_comes_back_with_puback(lab: &Lab) {
    let mut line = Line::new(lab, 2);
    line.publish(8, 1);
    let mut open = line.take_all(0, 2);
    for next in 2..8 {
        line.subscriber.ack(&open.remove(0));
        open.extend(line.take_all(next, 1));
    }
    for delivered in open {
        line.subscriber.ack(&delivered);
    }
    assert!(line.subscriber.ping().is_empty());
}

fn send_quota_comes_back_with_pubcomp_and_not_with_pubrec(lab: &Lab) {
    let mut line = Line::new(lab, 1);
    line.publish(4, 2);
    for number in 0..4 {
        let open = line.take_all(number, 1).remove(0);
        line.subscriber
            .send(&wire::ack(0x50, 5, open.packet_id, None));
        expect_ack(&mut line.subscriber, 0x62, open.packet_id);
        assert!(
            line.subscriber.ping().is_empty(),
            "PUBREC gave the quota back"
        );
        line.subscriber
            .send(&wire::ack(0x70, 5, open.packet_id, None));
    }
    assert!(line.subscriber.ping().is_empty());
}

fn send_quota_comes_back_with_a_refusal(lab: &Lab) {
    for (qos, first) in [(1, 0x40), (2, 0x50)] {
        let mut line = Line::new(lab, 1);
        line.publish(4, qos);
        for number in 0..4 {
            let open = line.take_all(number, 1).remove(0);
            line.subscriber
                .send(&wire::ack(first, 5, open.packet_id, Some(0x80)));
        }
        assert!(line.subscriber.ping().is_empty());
    }
}

fn send_quota_begins_anew_with_each_connection(lab: &Lab) {
    const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    let (id, topic) = (lab.unique("c"), lab.unique("anew"));
    let connect = |receive_maximum| {
        let props = vec![
            Prop::U16(RECEIVE_MAXIMUM, receive_maximum),
            Prop::U32(SESSION_EXPIRY_INTERVAL, 300),
        ];
        lab.broker().connect(&ConnectSpec {
            clean: false,
            props,
            ..ConnectSpec::v5(&id)
        })
    };
    let mut client = connect(4);
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for number in 0..6_u8 {
        publisher.publish(&PublishSpec::new(&topic, &[number], 1));
    }
    // Four were sent under the old quota; the new one is two, for those and what follows alike.
    for number in 0..4_u8 {
        assert_eq!(client.recv_publish().payload, [number]);
    }
    assert!(client.ping().is_empty());
    client.disconnect();
    let mut client = connect(2);
    let mut open = vec![client.recv_publish(), client.recv_publish()];
    assert!(client.ping().is_empty());
    for number in 2..6_u8 {
        client.ack(&open.remove(0));
        let next = client.recv_publish();
        assert_eq!(
            (next.payload.as_slice(), next.dup),
            ([number].as_slice(), number < 4)
        );
        assert!(client.ping().is_empty());
        open.push(next);
    }
}

fn other_packets_are_answered_at_quota_zero(lab: &Lab) {
    let mut line = Line::new(lab, 1);
    line.publish(3, 1);
    let open = line.take_all(0, 1);
    let client = &mut line.subscriber;
    let other = lab.unique("other");
    assert_eq!(client.subscribe(&[(other.as_str(), 0)]), [0]);
    assert_eq!(client.unsubscribe(&[other.as_str()]), [0]);
    client.publish(&PublishSpec::new(&other, b"x", 0));
    client.publish(&PublishSpec::new(&other, b"x", 1));
    client.publish(&PublishSpec::new(&other, b"x", 2));
    client.send(&wire::ack(0x62, 5, 77, None));
    client.expect_hex("70 03 00 4d 92");
    assert!(client.ping().is_empty());
    // And it is still zero for nothing but PUBLISH.
    client.ack(&open[0]);
    assert_eq!(client.recv_publish().payload, [1]);
}

/// Sends this many QoS 2 PUBLISH packets and takes their PUBRECs, and leaves PUBREL out.
#[track_caller]
fn leave_open(client: &mut Raw, topic: &str, ids: RangeInclusive<u16>) {
    for packet_id in ids {
        client.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new(topic, b"x", 2)
        });
        let pubrec = client.recv();
        assert_eq!((pubrec.first, pubrec.packet_id()), (0x50, packet_id));
        assert!(pubrec.reason(5) < 0x80, "{pubrec:?}");
    }
}

fn other_packets_are_answered_at_the_clients_quota_zero(lab: &Lab) {
    let topic = lab.unique("full");
    let mut client = lab.broker().v5(&lab.unique("c"));
    leave_open(&mut client, &topic, 1..=20);
    assert!(client.ping().is_empty());
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    client.publish(&PublishSpec::new(&topic, b"QoS 0 is not counted", 0));
    assert_eq!(client.recv_publish().payload, b"QoS 0 is not counted");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    publisher.publish(&PublishSpec::new(&topic, b"inwards", 1));
    let inwards = client.recv_publish();
    assert_eq!(inwards.payload, b"inwards");
    client.ack(&inwards);
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0]);
    for packet_id in 1..=20 {
        client.send(&wire::ack(0x62, 5, packet_id, None));
        expect_ack(&mut client, 0x70, packet_id);
    }
}

fn receive_maximum_of_the_server_is_enforced(lab: &Lab) {
    let topic = lab.unique("overrun");
    for qos in [1, 2] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let announced = client
            .connack
            .prop(RECEIVE_MAXIMUM)
            .map(|property| property.number());
        assert_eq!(announced, Some(20));
        leave_open(&mut client, &topic, 1..=20);
        client.send_publish(&PublishSpec {
            packet_id: 21,
            ..PublishSpec::new(&topic, b"x", qos)
        });
        client.expect_disconnect(0x93);
    }
}

fn receive_maximum_of_the_server_counts_what_is_open(lab: &Lab) {
    let topic = lab.unique("open");
    let mut client = lab.broker().v5(&lab.unique("c"));
    // Many more than twenty, one after the other, and twenty again behind each released one.
    for _ in 0..30 {
        client.publish(&PublishSpec::new(&topic, b"x", 1));
        client.publish(&PublishSpec::new(&topic, b"x", 2));
    }
    leave_open(&mut client, &topic, 1..=20);
    for packet_id in 1..=10 {
        client.send(&wire::ack(0x62, 5, packet_id, None));
        expect_ack(&mut client, 0x70, packet_id);
        leave_open(&mut client, &topic, 100 + packet_id..=100 + packet_id);
    }
    // A repeat of one that is open is not one more.
    client.send_publish(&PublishSpec {
        packet_id: 20,
        dup: true,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    expect_pubrec(&mut client, 20);
    client.send_publish(&PublishSpec {
        packet_id: 200,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    client.expect_disconnect(0x93);
}

#[track_caller]
fn expect_pubrec(client: &mut Raw, packet_id: u16) {
    let pubrec = client.recv();
    assert_eq!((pubrec.first, pubrec.packet_id()), (0x50, packet_id));
}

fn request_and_response_pass_unaltered(lab: &Lab) {
    let (requests, responses) = (lab.unique("request"), lab.unique("response"));
    let mut requester = lab.broker().v5(&lab.unique("requester"));
    let mut responder = lab.broker().v5(&lab.unique("responder"));
    assert_eq!(requester.subscribe(&[(responses.as_str(), 1)]), [1]);
    assert_eq!(responder.subscribe(&[(requests.as_str(), 1)]), [1]);
    let correlation = b"\x00\xFFany bytes".as_slice();
    requester.publish(&PublishSpec {
        props: vec![
            Prop::Str(RESPONSE_TOPIC, &responses),
            Prop::Bin(CORRELATION_DATA, correlation),
        ],
        ..PublishSpec::new(&requests, b"question", 1)
    });
    let request = responder.recv_publish();
    responder.ack(&request);
    assert_eq!(
        request.prop(RESPONSE_TOPIC).map(|topic| topic.text()),
        Some(responses.as_str())
    );
    assert_eq!(
        request.prop(CORRELATION_DATA),
        Some(&OwnedProp::Bin(CORRELATION_DATA, correlation.to_vec()))
    );
    responder.publish(&PublishSpec {
        props: vec![Prop::Bin(CORRELATION_DATA, correlation)],
        ..PublishSpec::new(&responses, b"answer", 1)
    });
    let response = requester.recv_publish();
    assert_eq!(
        (response.topic.as_str(), response.payload.as_slice()),
        (responses.as_str(), b"answer".as_slice())
    );
    assert_eq!(
        response.prop(CORRELATION_DATA),
        request.prop(CORRELATION_DATA)
    );
    assert_eq!(response.prop(RESPONSE_TOPIC), None);
}

fn response_information_is_not_sent_unasked(lab: &Lab) {
    for props in [vec![], vec![Prop::Byte(REQUEST_RESPONSE_INFORMATION, 0)]] {
        let id = lab.unique("c");
        let client = lab.broker().connect(&ConnectSpec {
            props,
            ..ConnectSpec::v5(&id)
        });
        assert_eq!(client.connack.prop(RESPONSE_INFORMATION), None);
    }
    // Asked for, it may be left out, and is a text where it is not.
    let id = lab.unique("c");
    let props = vec![Prop::Byte(REQUEST_RESPONSE_INFORMATION, 1)];
    let client = lab.broker().connect(&ConnectSpec {
        props,
        ..ConnectSpec::v5(&id)
    });
    let information = client.connack.prop(RESPONSE_INFORMATION);
    assert!(information.is_none_or(|property| !property.text().is_empty()));
}

/// No CONNACK with success comes, and no AUTH: so none lacks the method.
fn authentication_method_that_is_not_known_is_refused(lab: &Lab) {
    for method in ["SCRAM-SHA-1", "SCRAM-SHA-256", "GS2-KRB5", "x"] {
        for data in [
            None,
            Some(b"n,,n=user,r=0".as_slice()),
            Some(b"".as_slice()),
        ] {
            let id = lab.unique("c");
            let mut props = vec![Prop::Str(AUTHENTICATION_METHOD, method)];
            props.extend(data.map(|data| Prop::Bin(AUTHENTICATION_DATA, data)));
            let mut client = lab.broker().raw();
            client.send(
                &ConnectSpec {
                    props,
                    ..ConnectSpec::v5(&id)
                }
                .to_bytes(),
            );
            client.expect_refused(0x8C);
        }
    }
    // A good name beside it does not help.
    let id = lab.unique("c");
    let mut client = lab.broker().raw();
    let spec = ConnectSpec {
        props: vec![Prop::Str(AUTHENTICATION_METHOD, "PLAIN")],
        user: Some("user"),
        password: Some(b"password"),
        ..ConnectSpec::v5(&id)
    };
    client.send(&spec.to_bytes());
    client.expect_refused(0x8C);
}

fn authentication_that_failed_reads_nothing_more(lab: &Lab) {
    let topic = lab.unique("after");
    let mut watcher = lab.broker().v5(&lab.unique("watcher"));
    assert_eq!(watcher.subscribe(&[(topic.as_str(), 1)]), [1]);
    let method = [Prop::Str(AUTHENTICATION_METHOD, "SCRAM-SHA-256")];
    let id = lab.unique("c");
    let behind = [
        wire::packet(0xF0, &[vec![0x18], wire::props(&method)].concat()),
        wire::pingreq(),
        PublishSpec::new(&topic, b"after", 1).to_bytes(5),
    ];
    for packet in behind {
        let mut client = lab.broker().raw();
        let connect = ConnectSpec {
            props: method.to_vec(),
            ..ConnectSpec::v5(&id)
        }
        .to_bytes();
        client.send(&[connect, packet].concat());
        client.expect_refused(0x8C);
    }
    watcher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(watcher.recv_publish().payload, b"marker");
    // No Session came of it.
    let client = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..ConnectSpec::v5(&id)
    });
    assert!(!client.session_present());
}

fn authentication_properties_that_are_protocol_errors(lab: &Lab) {
    let data_alone = vec![Prop::Bin(AUTHENTICATION_DATA, b"data")];
    let method_twice = vec![
        Prop::Str(AUTHENTICATION_METHOD, "a"),
        Prop::Str(AUTHENTICATION_METHOD, "a"),
    ];
    let data_twice = vec![
        Prop::Str(AUTHENTICATION_METHOD, "a"),
        Prop::Bin(AUTHENTICATION_DATA, b"data"),
        Prop::Bin(AUTHENTICATION_DATA, b"data"),
    ];
    for props in [data_alone, method_twice, data_twice] {
        let id = lab.unique("c");
        let mut client = lab.broker().raw();
        client.send(
            &ConnectSpec {
                props,
                ..ConnectSpec::v5(&id)
            }
            .to_bytes(),
        );
        client.expect_refused(0x82);
    }
}

fn no_auth_packet_without_authentication_method(lab: &Lab) {
    let id = lab.unique("c");
    for spec in [
        ConnectSpec::v5(&id),
        ConnectSpec {
            user: Some("user"),
            password: Some(b"password"),
            ..ConnectSpec::v5(&id)
        },
        ConnectSpec {
            props: vec![Prop::Pair(USER_PROPERTY, "method", "SCRAM")],
            ..ConnectSpec::v5(&id)
        },
    ] {
        let mut client = lab.broker().connect(&spec);
        assert_eq!(client.connack.prop(AUTHENTICATION_METHOD), None);
        assert_eq!(client.connack.prop(AUTHENTICATION_DATA), None);
        assert!(client.ping().is_empty());
        client.disconnect();
    }
}

/// Without a method in CONNECT, which would be refused, a re-authentication cannot succeed.
fn re_authentication_that_fails_ends_the_connection(lab: &Lab) {
    let method = wire::props(&[
        Prop::Str(AUTHENTICATION_METHOD, "SCRAM-SHA-256"),
        Prop::Bin(AUTHENTICATION_DATA, b"r"),
    ]);
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send(&wire::packet(0xF0, &[vec![0x19], method].concat()));
    client.expect_disconnect(0x82);
}

fn error_of_any_kind_closes_the_connection(lab: &Lab) {
    for (hex, reason, what) in ERRORS {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        assert_eq!(
            (packets[0].first, packets[0].reason(5)),
            (0xE0, reason),
            "{what}: {packets:?}"
        );
    }
}

fn error_closes_a_connection_of_3_1_1_without_a_word(lab: &Lab) {
    let errors = [
        "00 00",
        "f0 00",
        "36 05 00 01 61 00 01",
        "80 06 00 01 00 01 61 00",
        "82 02 00 01",
        "82 06 00 01 00 01 61 03",
        "a2 02 00 01",
        "c1 00",
        "e1 00",
        "d0 00",
        "10 0c 00 04 4d 51 54 54 04 02 00 00 00 00",
    ];
    for hex in errors {
        let mut client = lab.broker().v311(&lab.unique("c"));
        client.send_hex(hex);
        client.expect_closed();
    }
}

fn error_of_one_client_leaves_the_others_alone(lab: &Lab) {
    let topic = lab.unique("alone");
    let mut subscriber = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(subscriber.subscribe(&[(topic.as_str(), 1)]), [1]);
    for hex in ["00 00", "d0 00", "30 ff ff ff 7f", "82 03 00 01 00"] {
        let mut faulty = lab.broker().v5(&lab.unique("faulty"));
        assert_eq!(faulty.subscribe(&[(topic.as_str(), 1)]), [1]);
        faulty.send_hex(hex);
        assert_eq!(faulty.try_recv_closed().len(), 1);
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
        let delivered = subscriber.recv_publish();
        assert_eq!(delivered.payload, b"x");
        subscriber.ack(&delivered);
    }
    assert!(subscriber.ping().is_empty());
    assert!(publisher.ping().is_empty());
}

fn error_code_in_connack_closes_the_connection(lab: &Lab) {
    let refusals = [
        (
            "10 0d 00 04 4d 51 54 54 05 03 00 00 00 00 00",
            0x81,
            "the reserved flag",
        ),
        (
            "10 0f 00 04 4d 51 54 54 05 02 00 00 02 17 02 00 00",
            0x82,
            "Request Problem Information 2",
        ),
        (
            "10 11 00 04 4d 51 54 54 05 02 00 00 04 15 00 01 78 00 00",
            0x8C,
            "an Authentication Method",
        ),
    ];
    for (hex, reason, what) in refusals {
        let mut client = lab.broker().raw();
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        assert_eq!(
            (packets[0].first, packets[0].reason(5)),
            (0x20, reason),
            "{what}: {packets:?}"
        );
    }
}

/// The broker's own codes close in the cases above; here it is the client that sends one.
fn error_code_in_disconnect_closes_the_connection(lab: &Lab) {
    for reason in [0x80, 0x81, 0x82, 0x83, 0x93, 0x94, 0x95, 0x97, 0x98, 0x99] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&[wire::disconnect(5, Some(reason), &[]), wire::pingreq()].concat());
        client.expect_closed();
    }
}
