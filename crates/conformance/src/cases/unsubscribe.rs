//! UNSUBSCRIBE and UNSUBACK: sections 3.10 and 3.11 of MQTT 5.0.
//!
//! That nothing is delivered any more is seen by a marker which the same publisher sends behind it.

use super::acks::{assert_fits, limited};
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, Prop, PublishSpec, Raw, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
const USER_PROPERTY: u8 = 0x26;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(unsubscribe_has_flags_0010, ["v5[MQTT-3.10.1-1]"]),
    case!(unsubscribe_filter_is_utf8, ["v5[MQTT-3.10.3-1]"]),
    case!(
        unsubscribe_without_filter_is_a_protocol_error,
        ["v5[MQTT-3.10.3-2]"]
    ),
    case!(unsubscribe_forms_that_are_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(
        unsubscribe_properties_of_other_packets_are_malformed,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        unsubscribe_of_packet_id_zero_is_an_error,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        unsubscribe_compares_character_by_character,
        ["v5[MQTT-3.10.4-1]"]
    ),
    case!(
        unsubscribe_does_not_interpret_wildcards,
        ["v5[MQTT-3.10.4-1]"]
    ),
    case!(unsubscribe_stops_new_messages, ["v5[MQTT-3.10.4-2]"]),
    case!(
        unsubscribe_completes_a_started_delivery,
        ["v5[MQTT-3.10.4-3]"]
    ),
    case!(
        unsubscribe_leaves_redelivery_in_place,
        ["v5[MQTT-3.10.4-3]"]
    ),
    case!(
        unsuback_repeats_the_packet_id,
        ["v5[MQTT-3.10.4-4]", "v5[MQTT-3.10.4-5]", "v5[MQTT-2.2.1-6]"]
    ),
    case!(
        unsuback_comes_where_nothing_was_deleted,
        ["v5[MQTT-3.10.4-4]", "v5[MQTT-3.10.4-5]"]
    ),
    case!(
        unsubscribe_of_many_filters_is_a_sequence,
        ["v5[MQTT-3.10.4-6]"]
    ),
    case!(
        unsuback_has_a_code_for_each_filter_in_order,
        ["v5[MQTT-3.11.3-1]", "v5[MQTT-3.11.3-2]"]
    ),
    case!(
        unsuback_code_for_an_invalid_filter_is_a_listed_one,
        ["v5[MQTT-3.11.3-2]"]
    ),
    case!(
        unsuback_keeps_to_maximum_packet_size,
        ["v5[MQTT-3.11.2-1]", "v5[MQTT-3.11.2-2]"]
    ),
    case!(
        unsuback_has_no_properties_without_problem_information,
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

/// Whether a message to this topic reaches the subscriber before the marker that is published behind it.
#[track_caller]
fn reaches(publisher: &mut Raw, client: &mut Raw, topic: &str, marker: &str) -> bool {
    publisher.publish(&PublishSpec::new(topic, b"message", 1));
    publisher.publish(&PublishSpec::new(marker, b"marker", 1));
    let next = client.recv_publish();
    client.ack(&next);
    if next.topic == marker {
        return false;
    }
    assert_eq!(next.topic, topic);
    let last = client.recv_publish();
    assert_eq!(last.topic, marker, "one copy, then the marker");
    client.ack(&last);
    true
}

fn unsubscribe_has_flags_0010(lab: &Lab) {
    for flags in (0..16).filter(|flags| *flags != 0b0010) {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let mut packet = wire::unsubscribe(5, 1, &[], &["a"]);
        packet[0] = 0xA0 | flags;
        client.send(&packet);
        client.expect_disconnect(0x81);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send(&wire::unsubscribe(5, 1, &[], &["a"]));
    client.expect_hex("b0 04 00 01 00 11");
}

fn unsubscribe_filter_is_utf8(lab: &Lab) {
    let ill_formed: [&[u8]; 6] = [
        b"a\xC3\x28",
        b"\xED\xA0\x80",
        b"\xC0\xAF",
        b"\xF5\x80\x80\x80",
        b"\xE2\x82",
        b"a\0b",
    ];
    for filter in ill_formed {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let mut body = vec![0, 1, 0];
        body.extend(wire::binary(filter));
        client.send(&wire::packet(0xA2, &body));
        client.expect_disconnect(0x81);
    }
    let mut client = lab.broker().v5(&lab.unique("c"));
    let well_formed = lab.unique("ключ/鍵/🗝");
    assert_eq!(client.subscribe(&[(well_formed.as_str(), 0)]), [0]);
    assert_eq!(client.unsubscribe(&[well_formed.as_str()]), [0]);
}

fn unsubscribe_without_filter_is_a_protocol_error(lab: &Lab) {
    refused(lab, "a2 03 00 01 00", 0x82);
    refused(lab, "a2 0a 00 01 07 26 00 01 6b 00 01 76", 0x82);
}

fn unsubscribe_forms_that_are_malformed(lab: &Lab) {
    let forms = [
        ("a2 00", "no Packet Identifier"),
        ("a2 01 00", "half a Packet Identifier"),
        ("a2 02 00 01", "no Property Length"),
        ("a2 04 00 01 00 00", "half a filter length"),
        ("a2 06 00 01 00 00 03 61", "a filter longer than the packet"),
        (
            "a2 08 00 01 00 00 01 61 00 01",
            "a second filter that is cut off",
        ),
        (
            "a2 06 00 01 09 00 01 61",
            "properties longer than the packet",
        ),
        ("a2 07 00 01 01 7e 00 01 61", "an unknown property"),
        (
            "a2 0b 00 01 05 26 00 01 6b 00 00 01 61",
            "a User Property that is cut off",
        ),
    ];
    for (hex, what) in forms {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_hex(hex);
        let packets = client.try_recv_closed();
        assert_eq!(packets.len(), 1, "{what}: {packets:?}");
        assert!(
            packets[0].first == 0xE0 && packets[0].reason(5) == 0x81,
            "{what}: {packets:?}"
        );
    }
}

fn unsubscribe_properties_of_other_packets_are_malformed(lab: &Lab) {
    // Subscription Identifier, Reason String and Session Expiry Interval stand in other packets.
    refused(lab, "a2 08 00 01 02 0b 01 00 01 61", 0x81);
    refused(lab, "a2 0a 00 01 04 1f 00 01 72 00 01 61", 0x81);
    refused(lab, "a2 0b 00 01 05 11 00 00 00 01 00 01 61", 0x81);
}

/// The standard forbids it without naming the code: a Malformed Packet and a Protocol Error are both fair.
fn unsubscribe_of_packet_id_zero_is_an_error(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    client.send_hex("a2 06 00 00 00 00 01 61");
    let packets = client.try_recv_closed();
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert!(
        packets[0].first == 0xE0 && matches!(packets[0].reason(5), 0x81 | 0x82),
        "{packets:?}"
    );
}

fn unsubscribe_compares_character_by_character(lab: &Lab) {
    let (topic, marker) = (lab.unique("Exact/é"), lab.unique("marker"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(
        client.subscribe(&[(topic.as_str(), 1), (marker.as_str(), 1)]),
        [1, 1]
    );
    let similar = [
        topic.to_lowercase(),
        topic.to_uppercase(),
        format!("{topic}/"),
        format!("/{topic}"),
        format!("{topic} "),
        topic.replace('é', "e\u{301}"),
        topic.replace('/', "//"),
        topic.chars().take(topic.chars().count() - 1).collect(),
    ];
    for other in &similar {
        assert_eq!(client.unsubscribe(&[other.as_str()]), [0x11], "{other:?}");
    }
    assert!(reaches(&mut publisher, &mut client, &topic, &marker));
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x00]);
    assert!(!reaches(&mut publisher, &mut client, &topic, &marker));
}

fn unsubscribe_does_not_interpret_wildcards(lab: &Lab) {
    let (base, marker) = (lab.unique("wild"), lab.unique("marker"));
    let [plain, plus, hash] = ["a", "+", "#"].map(|last| format!("{base}/{last}"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(
        client.subscribe(&[
            (plain.as_str(), 1),
            (plus.as_str(), 1),
            (marker.as_str(), 1)
        ]),
        [1, 1, 1]
    );
    // `#` and another name match what is subscribed, but are not what was subscribed.
    assert_eq!(
        client.unsubscribe(&[hash.as_str(), format!("{base}/b").as_str()]),
        [0x11, 0x11]
    );
    assert!(reaches(
        &mut publisher,
        &mut client,
        &format!("{base}/b"),
        &marker
    ));
    // The filter with the wildcard goes, the name that it matches stays.
    assert_eq!(client.unsubscribe(&[plus.as_str()]), [0x00]);
    assert!(!reaches(
        &mut publisher,
        &mut client,
        &format!("{base}/b"),
        &marker
    ));
    assert!(reaches(&mut publisher, &mut client, &plain, &marker));
    // And the other way round.
    assert_eq!(client.subscribe(&[(plus.as_str(), 1)]), [1]);
    assert_eq!(client.unsubscribe(&[plain.as_str()]), [0x00]);
    assert!(reaches(&mut publisher, &mut client, &plain, &marker));
    assert_eq!(client.unsubscribe(&[plus.as_str()]), [0x00]);
    assert!(!reaches(&mut publisher, &mut client, &plain, &marker));
}

fn unsubscribe_stops_new_messages(lab: &Lab) {
    let (topic, marker) = (lab.unique("stop"), lab.unique("marker"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(
        client.subscribe(&[(topic.as_str(), 2), (marker.as_str(), 2)]),
        [2, 2]
    );
    publisher.publish(&PublishSpec::new(&topic, b"before", 1));
    let before = client.recv_publish();
    assert_eq!(before.payload, b"before");
    client.ack(&before);
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x00]);
    for qos in 0..=2 {
        publisher.publish(&PublishSpec::new(&topic, b"after", qos));
        publisher.publish(&PublishSpec::new(&marker, b"marker", qos));
        let next = client.recv_publish();
        assert_eq!(
            next.topic, marker,
            "a message at QoS {qos} came after UNSUBACK"
        );
        client.ack(&next);
    }
    assert!(client.ping().is_empty());
}

fn unsubscribe_completes_a_started_delivery(lab: &Lab) {
    let topic = lab.unique("started");
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    publisher.publish(&PublishSpec::new(&topic, b"awaits PUBREC", 2));
    let awaits_pubrec = client.recv_publish();
    publisher.publish(&PublishSpec::new(&topic, b"awaits PUBCOMP", 2));
    let awaits_pubcomp = client.recv_publish();
    client.send(&wire::ack(0x50, 5, awaits_pubcomp.packet_id, None));
    let pubrel = client.recv();
    assert_eq!(
        (pubrel.first, pubrel.packet_id()),
        (0x62, awaits_pubcomp.packet_id)
    );
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x00]);
    // Both exchanges go on to their end: `ack` awaits the PUBREL.
    client.send(&wire::ack(0x70, 5, awaits_pubcomp.packet_id, None));
    client.ack(&awaits_pubrec);
    assert!(client.ping().is_empty());
}

fn unsubscribe_leaves_redelivery_in_place(lab: &Lab) {
    let (id, topic) = (lab.unique("c"), lab.unique("started"));
    let durable = ConnectSpec {
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 300)],
        ..ConnectSpec::v5(&id)
    };
    let mut client = lab.broker().connect(&durable);
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 2)]), [2]);
    publisher.publish(&PublishSpec::new(&topic, b"one", 1));
    publisher.publish(&PublishSpec::new(&topic, b"two", 2));
    let sent = [client.recv_publish(), client.recv_publish()];
    assert_eq!(client.unsubscribe(&[topic.as_str()]), [0x00]);
    client.drop_connection();
    let mut client = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..durable
    });
    assert!(client.session_present());
    for first in sent {
        let again = client.recv_publish();
        assert!(again.dup);
        assert_eq!(
            (again.packet_id, &again.payload),
            (first.packet_id, &first.payload)
        );
        client.ack(&again);
    }
    assert!(client.ping().is_empty());
}

fn unsuback_repeats_the_packet_id(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filter = lab.unique("id");
    for id in [1, 0x00FF, 0x1234, 0xFFFF] {
        assert_eq!(client.subscribe(&[(filter.as_str(), 1)]), [1]);
        client.send(&wire::unsubscribe(
            5,
            id,
            &[Prop::Pair(USER_PROPERTY, "k", "v")],
            &[filter.as_str()],
        ));
        let unsuback = client.recv();
        assert_eq!((unsuback.first, unsuback.packet_id()), (0xB0, id));
        assert_eq!(unsuback.codes(5), [0x00]);
    }
    assert!(client.ping().is_empty());
}

fn unsuback_comes_where_nothing_was_deleted(lab: &Lab) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    let filter = lab.unique("never");
    client.send(&wire::unsubscribe(5, 0x0A0B, &[], &[filter.as_str()]));
    client.expect_hex("b0 04 0a 0b 00 11");
    // Neither what another client holds, nor the plain filter within a Shared Subscription is one's own.
    let mut other = lab.broker().v5(&lab.unique("other"));
    let shared = format!("$share/g/{filter}");
    assert_eq!(other.subscribe(&[(filter.as_str(), 0)]), [0]);
    assert_eq!(client.subscribe(&[(shared.as_str(), 0)]), [0]);
    assert_eq!(client.unsubscribe(&[filter.as_str()]), [0x11]);
    assert_eq!(
        client.unsubscribe(&[format!("$share/h/{filter}").as_str()]),
        [0x11]
    );
    assert_eq!(client.unsubscribe(&[shared.as_str()]), [0x00]);
    assert_eq!(client.unsubscribe(&[shared.as_str()]), [0x11]);
    assert_eq!(other.unsubscribe(&[filter.as_str()]), [0x00]);
}

fn unsubscribe_of_many_filters_is_a_sequence(lab: &Lab) {
    let (a, b, marker) = (lab.unique("a"), lab.unique("b"), lab.unique("marker"));
    let mut client = lab.broker().v5(&lab.unique("c"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    assert_eq!(
        client.subscribe(&[(a.as_str(), 1), (b.as_str(), 1), (marker.as_str(), 1)]),
        [1, 1, 1]
    );
    client.send(&wire::unsubscribe(
        5,
        9,
        &[],
        &[a.as_str(), a.as_str(), b.as_str()],
    ));
    client.expect_hex("b0 06 00 09 00 00 11 00");
    assert!(client.ping().is_empty(), "one UNSUBACK for all of them");
    assert!(!reaches(&mut publisher, &mut client, &a, &marker));
    assert!(!reaches(&mut publisher, &mut client, &b, &marker));
}

fn unsuback_has_a_code_for_each_filter_in_order(lab: &Lab) {
    let base = lab.unique("order");
    let names: Vec<String> = (0..60).map(|number| format!("{base}/{number}")).collect();
    let mut client = lab.broker().v5(&lab.unique("c"));
    // Every third one is subscribed to.
    let subscribed: Vec<(&str, u8)> = names
        .iter()
        .step_by(3)
        .map(|name| (name.as_str(), 0))
        .collect();
    assert_eq!(client.subscribe(&subscribed), [0; 20]);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let expected: Vec<u8> = (0..60)
        .map(|number| if number % 3 == 0 { 0x00 } else { 0x11 })
        .collect();
    assert_eq!(client.unsubscribe(&all), expected);
    assert_eq!(client.unsubscribe(&all), [0x11; 60]);
}

/// What cannot be subscribed to was never subscribed to: 0x11 and 0x8F both say so.
fn unsuback_code_for_an_invalid_filter_is_a_listed_one(lab: &Lab) {
    let topic = lab.unique("valid");
    let mut client = lab.broker().v5(&lab.unique("c"));
    assert_eq!(client.subscribe(&[(topic.as_str(), 0)]), [0]);
    for filter in [
        "a#",
        "a/#/b",
        "+a",
        "",
        "$share//x",
        "$share/g",
        "$share/g+/x",
    ] {
        let codes = client.unsubscribe(&[filter, topic.as_str()]);
        assert!(
            matches!(codes.as_slice(), [0x11 | 0x8F, 0x00]),
            "{filter:?}: {codes:?}"
        );
        assert_eq!(client.subscribe(&[(topic.as_str(), 0)]), [0]);
    }
}

/// A Reason String could explain filters without a Subscription; there is no room for it where the codes fill the
/// packet to the last byte.
fn unsuback_keeps_to_maximum_packet_size(lab: &Lab) {
    for count in [1_u8, 5, 15] {
        for maximum in [5 + u32::from(count), 24] {
            let mut client = limited(lab.broker(), lab, maximum);
            let filters = vec!["never"; usize::from(count)];
            let property = Prop::Pair(USER_PROPERTY, "k", "v");
            client.send(&wire::unsubscribe(5, 1, &[property], &filters));
            let unsuback = client.recv();
            assert_eq!(unsuback.codes(5), vec![0x11; usize::from(count)]);
            assert_fits(&unsuback, maximum);
            // And one that deletes something.
            let topic = lab.unique("small");
            assert_eq!(client.subscribe(&[(topic.as_str(), 0)]), [0]);
            client.send(&wire::unsubscribe(5, 2, &[property], &[topic.as_str()]));
            let unsuback = client.recv();
            assert_eq!(unsuback.codes(5), [0x00]);
            assert_fits(&unsuback, maximum);
        }
    }
}

fn unsuback_has_no_properties_without_problem_information(lab: &Lab) {
    let id = lab.unique("terse");
    let mut client = lab.broker().connect(&ConnectSpec {
        props: vec![Prop::Byte(REQUEST_PROBLEM_INFORMATION, 0)],
        ..ConnectSpec::v5(&id)
    });
    client.send(&wire::unsubscribe(5, 1, &[], &["never", "ever"]));
    client.expect_hex("b0 05 00 01 00 11 11");
}
