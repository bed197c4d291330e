//! SUBSCRIBE and SUBACK: sections 3.8 and 3.9 of MQTT 5.0.
//!
//! Retain Handling and Retain As Published are proved with PUBLISH (3.3), matching in `topics`, Shared Subscriptions in
//! `shared`. A case that must see that nothing is delivered publishes a marker behind it and awaits that.

use super::acks::{assert_fits, limited};
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, Prop, PublishSpec, wire};

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const USER_PROPERTY: u8 = 0x26;
const NO_LOCAL: u8 = 0x04;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(subscribe_has_flags_0010, ["v5[MQTT-3.8.1-1]"]),
    case!(subscribe_filter_is_utf8, ["v5[MQTT-3.8.3-1]"]),
    case!(
        subscribe_without_filter_is_a_protocol_error,
        ["v5[MQTT-3.8.3-2]"]
    ),
    case!(no_local_keeps_own_messages_away, ["v5[MQTT-3.8.3-3]"]),
    case!(
        no_local_on_shared_subscription_is_a_protocol_error,
        ["v5[MQTT-3.8.3-4]"]
    ),
    case!(
        reserved_subscription_options_are_malformed,
        ["v5[MQTT-3.8.3-5]"]
    ),
    case!(
        forbidden_subscription_options_are_protocol_errors,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(subscribe_forms_that_are_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(subscribe_properties_that_are_refused, ["v5[MQTT-4.13.1-1]"]),
    case!(
        subscribe_of_packet_id_zero_is_an_error,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        suback_repeats_the_packet_id,
        ["v5[MQTT-3.8.4-1]", "v5[MQTT-3.8.4-2]", "v5[MQTT-2.2.1-6]"]
    ),
    case!(
        suback_answers_subscribe_with_properties,
        ["v5[MQTT-3.8.4-1]"]
    ),
    case!(
        subscribing_again_replaces_the_subscription,
        ["v5[MQTT-3.8.4-3]"]
    ),
    case!(
        subscribing_again_sends_retained_messages_again,
        ["v5[MQTT-3.8.4-4]"]
    ),
    case!(subscribing_again_loses_no_message, ["v5[MQTT-3.8.4-4]"]),
    case!(
        subscribe_of_many_filters_is_a_sequence,
        ["v5[MQTT-3.8.4-5]"]
    ),
    case!(
        suback_has_a_code_for_each_filter_in_order,
        [
            "v5[MQTT-3.8.4-6]",
            "v5[MQTT-3.8.4-7]",
            "v5[MQTT-3.9.3-1]",
            "v5[MQTT-3.9.3-2]"
        ]
    ),
    case!(
        suback_shows_the_granted_qos,
        ["v5[MQTT-3.8.4-7]", "v5[MQTT-3.9.3-2]"]
    ),
    case!(
        suback_refuses_an_invalid_filter_and_the_connection_lives,
        ["v5[MQTT-3.8.4-7]", "v5[MQTT-3.9.3-2]"]
    ),
    case!(
        delivery_qos_is_the_lower_of_published_and_granted,
        ["v5[MQTT-3.8.4-8]"]
    ),
    case!(
        retained_delivery_qos_is_the_lower_of_published_and_granted,
        ["v5[MQTT-3.8.4-8]"]
    ),
    case!(
        suback_keeps_to_maximum_packet_size,
        ["v5[MQTT-3.9.2-1]", "v5[MQTT-3.9.2-2]"]
    ),
    case!(
        suback_has_no_properties_without_problem_information,
        ["v5[MQTT-3.1.2-29]"]
    ),
];

/// Sends these bytes on a new connection and awaits DISCONNECT with this reason.
#[track_caller]
fn refused(lab: &Lab, hex: &str, reason: u8) {
    let mut client = lab.broker().v5(&lab.unique("refused"));
    client.send_hex(hex);
    client.expect_disconnect(reason);
}

/// A SUBSCRIBE with one filter of any bytes.
fn subscribe_to_bytes(filter: &[u8], options: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 0];
    body.extend(wire::binary(filter));
    body.push(options);
    wire::packet(0x82, &body)
}

fn subscribe_has_flags_0010(lab: &Lab) {
    let filter = lab.unique("flags");
    for flags in (0..16).filter(|flags| *flags != 0b0010) {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let mut packet = wire::subscribe(5, 1, &[], &[(filter.as_str(), 0)]);
        packet[0] = 0x80 | flags;
        client.send(&packet);
        client.expect_disconnect(0x81);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send(&wire::subscribe(5, 1, &[], &[(filter.as_str(), 0)]));
    client.expect_hex("90 04 00 01 00 00");
}

fn subscribe_filter_is_utf8(lab: &Lab) {
    let ill_formed: [&[u8]; 7] = [
        b"a\xC3\x28",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xC0\xAF",
        b"\xF5\x80\x80\x80",
        b"\xE2\x82",
        b"a\0b",
    ];
    for filter in ill_formed {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&subscribe_to_bytes(filter, 0));
        client.expect_disconnect(0x81);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    let well_formed = lab.unique("ключ/鍵/🗝");
    assert_eq!(client.subscribe(&[(well_formed.as_str(), 0)]), [0]);
}

fn subscribe_without_filter_is_a_protocol_error(lab: &Lab) {
    refused(lab, "82 03 00 01 00", 0x82);
    refused(lab, "82 05 00 01 02 0b 01", 0x82);
}

fn no_local_keeps_own_messages_away(lab: &Lab) {
    let (topic, marker) = (lab.unique("no-local"), lab.unique("marker"));
    let mut own = lab.broker().v5(&lab.unique("own"));
    let mut other = lab.broker().v5(&lab.unique("other"));
    let codes = own.subscribe(&[(topic.as_str(), NO_LOCAL | 2), (marker.as_str(), 2)]);
    assert_eq!(codes, [2, 2]);
    for qos in 0..=2 {
        own.publish(&PublishSpec::new(&topic, b"own", qos));
        own.publish(&PublishSpec::new(&marker, b"marker", qos));
        let next = own.recv_publish();
        assert_eq!(
            (next.topic.as_str(), next.qos),
            (marker.as_str(), qos),
            "its own message came back"
        );
        own.ack(&next);
        other.publish(&PublishSpec::new(&topic, b"other", qos));
        let next = own.recv_publish();
        assert_eq!((next.topic.as_str(), next.qos), (topic.as_str(), qos));
        own.ack(&next);
    }
    // Without the option the same message does come back.
    assert_eq!(own.subscribe(&[(topic.as_str(), 0)]), [0]);
    own.publish(&PublishSpec::new(&topic, b"own", 0));
    assert_eq!(own.recv_publish().payload, b"own");
}

fn no_local_on_shared_subscription_is_a_protocol_error(lab: &Lab) {
    let filter = format!("$share/g/{}", lab.unique("shared"));
    for qos in 0..=2 {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&wire::subscribe(
            5,
            1,
            &[],
            &[(filter.as_str(), NO_LOCAL | qos)],
        ));
        client.expect_disconnect(0x82);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send(&wire::subscribe(
        5,
        1,
        &[],
        &[("plain", 0), (filter.as_str(), NO_LOCAL)],
    ));
    client.expect_disconnect(0x82);
}

fn reserved_subscription_options_are_malformed(lab: &Lab) {
    for options in [0x40, 0x80, 0xC0, 0x41, 0x82] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&subscribe_to_bytes(b"a", options));
        client.expect_disconnect(0x81);
    }
    // Also where only a later filter has them.
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send(&wire::subscribe(5, 1, &[], &[("a", 0), ("b", 0x40)]));
    client.expect_disconnect(0x81);
}

/// Section 3.8.3.1: Maximum QoS 3 and Retain Handling 3 are Protocol Errors.
fn forbidden_subscription_options_are_protocol_errors(lab: &Lab) {
    for options in [0x03, 0x07, 0x30, 0x31] {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&subscribe_to_bytes(b"a", options));
        client.expect_disconnect(0x82);
    }
}

fn subscribe_forms_that_are_malformed(lab: &Lab) {
    let forms = [
        ("82 00", "no Packet Identifier"),
        ("82 01 00", "half a Packet Identifier"),
        ("82 02 00 01", "no Property Length"),
        ("82 04 00 01 00 00", "half a filter length"),
        ("82 06 00 01 00 00 03 61", "a filter longer than the packet"),
        ("82 06 00 01 00 00 01 61", "a filter without options"),
        (
            "82 09 00 01 00 00 01 61 00 00 01",
            "a second filter that is cut off",
        ),
        (
            "82 07 00 01 09 00 01 61 00",
            "properties longer than the packet",
        ),
        ("82 08 00 01 01 7e 00 01 61 00", "an unknown property"),
        (
            "82 08 00 01 01 0b 00 01 61 00",
            "a property without its value",
        ),
        (
            "82 0a 00 01 03 0b 81 00 00 01 61 00",
            "a Variable Byte Integer longer than needed",
        ),
        (
            "82 0d 00 01 06 0b 80 80 80 80 01 00 01 61 00",
            "a Variable Byte Integer of five bytes",
        ),
        (
            "82 0c 00 01 05 26 00 01 6b 00 00 01 61 00",
            "a User Property that is cut off",
        ),
    ];
    for (hex, what) in forms {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        let answers: Vec<String> = packets.iter().map(wire::Wire::to_hex).collect();
        assert_eq!(packets.len(), 1, "{what}: {answers:?}");
        assert!(
            packets[0].first == 0xE0 && packets[0].reason(5) == 0x81,
            "{what}: {answers:?}"
        );
    }
}

fn subscribe_properties_that_are_refused(lab: &Lab) {
    // Subscription Identifier 0, and twice.
    refused(lab, "82 09 00 01 02 0b 00 00 01 61 00", 0x82);
    refused(lab, "82 0b 00 01 04 0b 01 0b 02 00 01 61 00", 0x82);
    // Session Expiry Interval and Topic Alias stand in other packets.
    refused(lab, "82 0c 00 01 05 11 00 00 00 01 00 01 61 00", 0x81);
    refused(lab, "82 0a 00 01 03 23 00 01 00 01 61 00", 0x81);
}

/// The standard forbids it without naming the code: a Malformed Packet and a Protocol Error are both fair.
fn subscribe_of_packet_id_zero_is_an_error(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send_hex("82 07 00 00 00 00 01 61 00");
    let packets = client.try_recv_closed();
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert!(
        packets[0].first == 0xE0 && matches!(packets[0].reason(5), 0x81 | 0x82),
        "{packets:?}"
    );
}

fn suback_repeats_the_packet_id(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filter = lab.unique("id");
    for id in [1, 0x00FF, 0x1234, 0xFFFF] {
        client.send(&wire::subscribe(5, id, &[], &[(filter.as_str(), 1)]));
        let suback = client.recv();
        assert_eq!((suback.first, suback.packet_id()), (0x90, id));
        assert_eq!(suback.codes(5), [1]);
    }
    // Several at once: one answer each.
    let both = [2, 3]
        .map(|id| wire::subscribe(5, id, &[], &[(filter.as_str(), 0)]))
        .concat();
    client.send(&both);
    let mut ids = [client.recv().packet_id(), client.recv().packet_id()];
    ids.sort_unstable();
    assert_eq!(ids, [2, 3]);
    assert!(client.ping().is_empty());
}

fn suback_answers_subscribe_with_properties(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filter = lab.unique("largest");
    let props = [
        Prop::Varint(SUBSCRIPTION_IDENTIFIER, 268_435_455),
        Prop::Pair(USER_PROPERTY, "key", "value"),
        Prop::Pair(USER_PROPERTY, "key", ""),
    ];
    assert_eq!(
        client
            .subscribe_with(&props, &[(filter.as_str(), 0)])
            .codes(5),
        [0]
    );
    client.publish(&PublishSpec::new(&filter, b"x", 0));
    let ids: Vec<u32> = client
        .recv_publish()
        .props(SUBSCRIPTION_IDENTIFIER)
        .iter()
        .map(|id| id.number())
        .collect();
    assert_eq!(ids, [268_435_455]);
}

fn subscribing_again_replaces_the_subscription(lab: &Lab) {
    let topic = lab.unique("again");
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    let first = client.subscribe_with(
        &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, 7)],
        &[(topic.as_str(), 2)],
    );
    assert_eq!(first.codes(5), [2]);
    let second = client.subscribe_with(
        &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, 9)],
        &[(topic.as_str(), 0)],
    );
    assert_eq!(second.codes(5), [0]);
    publisher.publish(&PublishSpec::new(&topic, b"first", 1));
    publisher.publish(&PublishSpec::new(&topic, b"second", 1));
    for payload in [b"first".as_slice(), b"second".as_slice()] {
        let copy = client.recv_publish();
        assert_eq!(
            (copy.payload.as_slice(), copy.qos),
            (payload, 0),
            "one copy each, at the new QoS"
        );
        let ids: Vec<u32> = copy
            .props(SUBSCRIPTION_IDENTIFIER)
            .iter()
            .map(|id| id.number())
            .collect();
        assert_eq!(ids, [9]);
    }
    // A third one without an identifier takes that away too.
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    publisher.publish(&PublishSpec::new(&topic, b"third", 1));
    let copy = client.recv_publish();
    assert_eq!((copy.qos, copy.prop(SUBSCRIPTION_IDENTIFIER)), (1, None));
    client.ack(&copy);
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x00]);
    assert_eq!(
        client.unsubscribe(&[topic.as_str()]),
        [0x11],
        "there was one Subscription only"
    );
}

fn subscribing_again_sends_retained_messages_again(lab: &Lab) {
    let topic = lab.unique("retained");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"kept", 1)
    });
    let mut client = lab.broker().v5(&lab.unique("c"));
    for _ in 0..3 {
        assert_eq!(client.subscribe(&[(topic.as_str(), 0)]), [0]);
        let copy = client.recv_publish();
        assert_eq!(
            (copy.topic.as_str(), copy.payload.as_slice(), copy.retain),
            (topic.as_str(), &b"kept"[..], true)
        );
    }
    assert!(client.ping().is_empty());
}

fn subscribing_again_loses_no_message(lab: &Lab) {
    const ROUNDS: u16 = 15;
    let topic = lab.unique("lossless");
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    for round in 1..=ROUNDS {
        let payload = round.to_string();
        publisher.send_publish(&PublishSpec {
            packet_id: round,
            ..PublishSpec::new(&topic, payload.as_bytes(), 1)
        });
        client.send(&wire::subscribe(5, round, &[], &[(topic.as_str(), 1)]));
    }
    for round in 1..=ROUNDS {
        let suback = client.recv_until("SUBACK", |packet| packet.first == 0x90);
        assert_eq!((suback.packet_id(), suback.codes(5)), (round, vec![1]));
    }
    for round in 1..=ROUNDS {
        let message = client.recv_publish();
        assert_eq!(
            message.payload,
            round.to_string().into_bytes(),
            "lost, doubled or out of order"
        );
        client.ack(&message);
    }
    assert!(client.ping().is_empty());
}

fn subscribe_of_many_filters_is_a_sequence(lab: &Lab) {
    let (twice, once, refused) = (
        lab.unique("twice"),
        lab.unique("once"),
        lab.unique("refused#"),
    );
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filters = [
        (twice.as_str(), 1),
        (once.as_str(), 0),
        (refused.as_str(), 0),
        (twice.as_str(), 2),
        (once.as_str(), 1),
    ];
    client.send(&wire::subscribe(
        5,
        5,
        &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, 3)],
        &filters,
    ));
    let suback = client.recv();
    assert_eq!(
        (suback.packet_id(), suback.codes(5)),
        (5, vec![1, 0, 0x8F, 2, 1])
    );
    assert!(client.ping().is_empty(), "one SUBACK for all of them");
    // The later of two equal filters counts.
    for (topic, qos) in [(&twice, 2), (&once, 1)] {
        client.publish(&PublishSpec::new(topic, b"x", 2));
        let copy = client.recv_publish();
        assert_eq!((&copy.topic, copy.qos), (topic, qos));
        assert_eq!(copy.props(SUBSCRIPTION_IDENTIFIER).len(), 1);
        client.ack(&copy);
    }
    assert_eq!(client.unsubscribe(&[twice.as_str(), once.as_str()]), [0, 0]);
    assert_eq!(
        client.unsubscribe(&[twice.as_str(), once.as_str()]),
        [0x11, 0x11]
    );
}

fn suback_has_a_code_for_each_filter_in_order(lab: &Lab) {
    let good = lab.unique("good");
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filters = [
        (good.as_str(), 0),
        ("bad#", 2),
        ("good/+", 2),
        ("bad+", 1),
        ("good/#", 1),
        ("", 0),
    ];
    assert_eq!(client.subscribe(&filters), [0, 0x8F, 2, 0x8F, 1, 0x8F]);
    let mut filters = filters;
    filters.reverse();
    assert_eq!(client.subscribe(&filters), [0x8F, 1, 0x8F, 2, 0x8F, 0]);
    let names: Vec<String> = (0..100).map(|number| format!("{good}/{number}")).collect();
    let many: Vec<(&str, u8)> = names
        .iter()
        .zip([2, 0, 1].into_iter().cycle())
        .map(|(n, qos)| (n.as_str(), qos))
        .collect();
    let granted: Vec<u8> = many.iter().map(|(_, qos)| *qos).collect();
    assert_eq!(client.subscribe(&many), granted);
}

fn suback_shows_the_granted_qos(lab: &Lab) {
    let filter = lab.unique("granted");
    let mut client = lab.broker().v5(&lab.unique("c"));
    // No Local, Retain As Published and Retain Handling do not show in the Reason Code.
    for others in [0x00, 0x04, 0x08, 0x10, 0x20, 0x2C] {
        for qos in 0..=2 {
            assert_eq!(client.subscribe(&[(filter.as_str(), others | qos)]), [qos]);
        }
    }
}

fn suback_refuses_an_invalid_filter_and_the_connection_lives(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let invalid = [
        "",
        "a#",
        "#a",
        "a/#/b",
        "#/",
        "##",
        "+a",
        "a+",
        "a/+b/c",
        "++",
        "$share//x",
        "$share/g",
        "$share/g/",
        "$share/g+/x",
        "$share/g#/x",
        "$share/g/x#",
    ];
    for filter in invalid {
        assert_eq!(client.subscribe(&[(filter, 1)]), [0x8F], "{filter:?}");
    }
    let topic = lab.unique("still");
    assert_eq!(client.subscribe(&[(topic.as_str(), 1)]), [1]);
    client.publish(&PublishSpec::new(&topic, b"alive", 1));
    assert_eq!(client.recv_publish().payload, b"alive");
}

fn delivery_qos_is_the_lower_of_published_and_granted(lab: &Lab) {
    let topic = lab.unique("lower");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for granted in 0..=2 {
        let mut client = lab.broker().v5(&lab.unique("c"));
        assert_eq!(client.subscribe(&[(topic.as_str(), granted)]), [granted]);
        for published in 0..=2 {
            publisher.publish(&PublishSpec::new(&topic, b"x", published));
            let copy = client.recv_publish();
            assert_eq!(
                copy.qos,
                published.min(granted),
                "published {published}, granted {granted}"
            );
            client.ack(&copy);
        }
        assert!(client.ping().is_empty());
    }
}

fn retained_delivery_qos_is_the_lower_of_published_and_granted(lab: &Lab) {
    let topic = lab.unique("lower");
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for published in 0..=2 {
        publisher.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(&topic, b"x", published)
        });
        // At QoS 0 only the answer to a later packet shows that the message was taken.
        assert!(publisher.ping().is_empty());
        for granted in 0..=2 {
            let mut client = lab.broker().v5(&lab.unique("c"));
            assert_eq!(client.subscribe(&[(topic.as_str(), granted)]), [granted]);
            let copy = client.recv_publish();
            assert_eq!((copy.qos, copy.retain), (published.min(granted), true));
            client.ack(&copy);
            assert!(client.ping().is_empty());
        }
    }
}

/// A Reason String could explain refused filters, and good ones no less; there is no room for it where the codes fill
/// the packet to the last byte.
fn suback_keeps_to_maximum_packet_size(lab: &Lab) {
    let good = lab.unique("small");
    for (filter, code) in [("a#", 0x8F_u8), (good.as_str(), 0x00)] {
        for count in [1_u8, 5, 15] {
            for maximum in [5 + u32::from(count), 24] {
                let mut client = limited(lab.broker(), lab, maximum);
                let filters = vec![(filter, 0_u8); usize::from(count)];
                let property = Prop::Pair(USER_PROPERTY, "k", "v");
                client.send(&wire::subscribe(5, 1, &[property], &filters));
                let suback = client.recv();
                assert_eq!(suback.codes(5), vec![code; usize::from(count)]);
                assert_fits(&suback, maximum);
            }
        }
    }
}

fn suback_has_no_properties_without_problem_information(lab: &Lab) {
    let id = lab.unique("terse");
    let mut client = lab.broker().connect(&ConnectSpec {
        props: vec![Prop::Byte(REQUEST_PROBLEM_INFORMATION, 0)],
        ..ConnectSpec::v5(&id)
    });
    client.send(&wire::subscribe(5, 1, &[], &[("a#", 0), ("+b", 0)]));
    client.expect_hex("90 05 00 01 00 8f 8f");
}
