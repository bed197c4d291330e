//! PUBLISH: its flags, its Topic Name, its payload and its Topic Alias.
//!
//! The other properties stand in `publish_properties`, what follows a PUBLISH in `publish_flow`, retained messages in
//! `retained`. The helpers at the end serve these modules and `acks`.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::publish_properties::{SESSION_EXPIRY_INTERVAL, TOPIC_ALIAS, TOPIC_ALIAS_MAXIMUM};
use crate::{
    Broker, Case, ConnectSpec, Delivered, Lab, OwnedProp, Prop, PublishSpec, Raw, case, wire,
};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(publish_with_dup_at_qos0_is_malformed, ["v5[MQTT-3.3.1-2]"]),
    case!(
        publish_is_sent_again_with_dup,
        ["v5[MQTT-3.3.1-1]", "v5[MQTT-4.4.0-1]"]
    ),
    case!(
        publish_does_not_pass_on_dup,
        ["v5[MQTT-3.3.1-2]", "v5[MQTT-3.3.1-3]"]
    ),
    case!(publish_with_qos3_is_malformed, ["v5[MQTT-3.3.1-4]"]),
    case!(
        publish_cut_short_is_malformed,
        ["v5[MQTT-3.3.2-1]", "v5[MQTT-2.2.2-1]", "v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_topic_that_is_not_utf8_is_malformed,
        ["v5[MQTT-3.3.2-1]", "v5[MQTT-1.5.4-1]", "v5[MQTT-1.5.4-2]"]
    ),
    case!(
        publish_topic_in_utf8_is_delivered_unaltered,
        ["v5[MQTT-3.3.2-1]", "v5[MQTT-1.5.4-3]"]
    ),
    case!(
        publish_without_topic_and_alias_is_a_protocol_error,
        ["v5[MQTT-4.7.3-1]", "v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_topic_with_a_wildcard_is_refused,
        ["v5[MQTT-3.3.2-2]"]
    ),
    case!(
        publish_reaches_only_filters_that_match,
        ["v5[MQTT-3.3.2-3]"]
    ),
    case!(
        publish_at_qos0_is_delivered_byte_for_byte,
        ["v5[MQTT-2.2.1-2]", "v5[MQTT-2.2.2-1]", "v5[MQTT-3.3.2-1]"]
    ),
    case!(publish_with_packet_id_zero_is_refused, ["v5[MQTT-2.2.1-3]"]),
    case!(
        publish_payloads_of_any_length_arrive_unaltered,
        ["v5[MQTT-1.5.5-1]"]
    ),
    case!(
        publish_above_the_maximum_qos_is_refused,
        ["v5[MQTT-3.2.2-11]"]
    ),
    case!(topic_alias_zero_is_refused, ["v5[MQTT-3.3.2-8]"]),
    case!(
        topic_alias_above_the_maximum_is_refused,
        ["v5[MQTT-3.3.2-9]", "v5[MQTT-3.2.2-17]"]
    ),
    case!(
        topic_alias_follows_the_configured_maximum,
        ["v5[MQTT-3.3.2-9]", "v5[MQTT-3.3.2-12]", "v5[MQTT-3.2.2-17]"]
    ),
    case!(
        topic_alias_is_refused_where_none_is_allowed,
        ["v5[MQTT-3.2.2-18]"]
    ),
    case!(
        topic_alias_is_accepted_up_to_the_maximum,
        ["v5[MQTT-3.3.2-12]"]
    ),
    case!(topic_alias_can_be_set_anew, ["v5[MQTT-3.3.2-12]"]),
    case!(
        topic_alias_that_was_never_set_is_a_protocol_error,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(topic_alias_ends_with_its_connection, ["v5[MQTT-3.3.2-7]"]),
    case!(
        topic_alias_is_not_sent_unasked,
        ["v5[MQTT-3.3.2-11]", "v5[MQTT-3.1.2-27]"]
    ),
    case!(
        topic_alias_stays_within_what_the_client_allows,
        ["v5[MQTT-3.3.2-8]", "v5[MQTT-3.3.2-11]", "v5[MQTT-3.1.2-26]"]
    ),
    case!(
        topic_alias_is_announced_again_on_a_new_connection,
        ["v5[MQTT-3.3.2-7]"]
    ),
];

fn publish_with_dup_at_qos0_is_malformed(lab: &Lab) {
    for first in [0x38, 0x39] {
        assert_rejected(
            lab,
            "DUP at QoS 0",
            &wire::packet(first, &[0x00, 0x01, b'a', 0x00, b'x']),
            &[0x81],
        );
    }
}

fn publish_is_sent_again_with_dup(lab: &Lab) {
    let (broker, id, topic) = (
        lab.broker(),
        lab.unique("dup-again"),
        lab.unique("dup-again"),
    );
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut publisher = broker.v5(&lab.unique("dup-again"));
    for qos in [1, 2] {
        publisher.publish(&PublishSpec::new(&topic, b"again", qos));
    }
    let sent = [subscriber.recv_publish(), subscriber.recv_publish()];
    subscriber.drop_connection();

    let mut subscriber = broker.connect(&durable(&id, false, &[]));
    assert!(subscriber.session_present(), "the Session was lost");
    for first in sent {
        assert!(!first.dup, "DUP in the first transmission: {first:?}");
        let again = subscriber.recv_publish();
        assert!(again.dup, "no DUP in the second transmission: {again:?}");
        assert_eq!(
            Delivered {
                dup: false,
                ..again
            },
            first,
            "sent again (left), sent first (right)"
        );
    }
}

fn publish_does_not_pass_on_dup(lab: &Lab) {
    let (broker, topic) = (lab.broker(), lab.unique("dup"));
    let mut subscriber = broker.v5(&lab.unique("dup"));
    subscriber.subscribe(&[(&topic, 2)]);
    let mut lossy_subscriber = broker.v5(&lab.unique("dup"));
    lossy_subscriber.subscribe(&[(&topic, 0)]);
    let mut publisher = broker.v5(&lab.unique("dup"));
    for qos in [1, 2] {
        publisher.publish(&PublishSpec {
            dup: true,
            ..PublishSpec::new(&topic, b"first", qos)
        });
        let delivered = subscriber.recv_publish();
        assert_eq!(
            (delivered.qos, delivered.dup),
            (qos, false),
            "{delivered:?}"
        );
        subscriber.ack(&delivered);
        let downgraded = lossy_subscriber.recv_publish();
        assert_eq!(
            (downgraded.qos, downgraded.dup),
            (0, false),
            "{downgraded:?}"
        );
    }
}

fn publish_with_qos3_is_malformed(lab: &Lab) {
    for first in [0x36, 0x37, 0x3E, 0x3F] {
        let packet = wire::packet(first, &[0x00, 0x01, b'a', 0x00, 0x01, 0x00, b'x']);
        assert_rejected(lab, "QoS 3", &packet, &[0x81]);
    }
}

fn publish_cut_short_is_malformed(lab: &Lab) {
    for (form, hex) in [
        ("no Topic Name", "30 00"),
        ("half a Topic Name length", "30 01 00"),
        ("a Topic Name longer than the packet", "30 04 00 05 61 00"),
        ("no Property Length", "30 03 00 01 61"),
        ("no Packet Identifier at QoS 1", "32 03 00 01 61"),
        ("no Packet Identifier at QoS 2", "34 03 00 01 61"),
        ("half a Packet Identifier", "32 04 00 01 61 00"),
        ("no Property Length at QoS 1", "32 05 00 01 61 00 01"),
    ] {
        assert_rejected(lab, form, &wire::hex(hex), &[0x81]);
    }
}

fn publish_topic_that_is_not_utf8_is_malformed(lab: &Lab) {
    for bad in NOT_UTF8 {
        let mut body = wire::binary(bad);
        body.extend([0x00, b'x']);
        assert_rejected(
            lab,
            &format!("Topic Name of bytes {bad:02x?}"),
            &wire::packet(0x30, &body),
            &[0x81],
        );
    }
}

fn publish_topic_in_utf8_is_delivered_unaltered(lab: &Lab) {
    let base = lab.unique("utf8");
    let mut client = lab.broker().v5(&lab.unique("utf8"));
    client.subscribe(&[(&format!("{base}/#"), 0), (&format!("\u{FEFF}{base}"), 0)]);
    let topics = [
        format!("{base}/küche/温度/🌡"),
        format!("{base}/\u{FEFF}inner"),
        format!("\u{FEFF}{base}"),
    ];
    for topic in topics {
        client.publish(&PublishSpec::new(&topic, b"21.5", 0));
        assert_eq!(
            client.recv_publish().topic,
            topic,
            "received (left), published (right)"
        );
    }
}

fn publish_without_topic_and_alias_is_a_protocol_error(lab: &Lab) {
    for qos in 0..=2 {
        assert_rejected(
            lab,
            "empty Topic Name",
            &PublishSpec::new("", b"x", qos).to_bytes(5),
            &[0x82],
        );
    }
}

fn publish_topic_with_a_wildcard_is_refused(lab: &Lab) {
    for topic in ["+", "#", "a/+", "a/#", "a/+/b", "a+", "#/a", "a/b#"] {
        for qos in 0..=2 {
            assert_rejected(
                lab,
                topic,
                &PublishSpec::new(topic, b"x", qos).to_bytes(5),
                &[0x90],
            );
        }
    }
    let aliased = PublishSpec {
        props: vec![Prop::U16(TOPIC_ALIAS, 1)],
        ..PublishSpec::new("a/#", b"x", 0)
    };
    assert_rejected(
        lab,
        "wildcard beside a Topic Alias",
        &aliased.to_bytes(5),
        &[0x90],
    );
}

fn publish_reaches_only_filters_that_match(lab: &Lab) {
    let base = lab.unique("match");
    let mut subscriber = lab.broker().v5(&lab.unique("match"));
    subscriber.subscribe(&[
        (&format!("{base}/+/c"), 1),
        (&format!("{base}/tree/#"), 1),
        (&format!("{base}/plain"), 1),
    ]);
    let mut publisher = lab.broker().v5(&lab.unique("match"));
    for (levels, matches) in [
        ("a/c", true),
        ("a/b/c", false),
        ("/c", true),
        ("c", false),
        ("tree", true),
        ("tree/x/y", true),
        ("treehouse", false),
        ("Plain", false),
        ("plain/", false),
        ("plain", true),
    ] {
        let topic = format!("{base}/{levels}");
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
        if matches {
            let delivered = subscriber.recv_publish();
            assert_eq!(
                delivered.topic, topic,
                "delivered (left), published (right)"
            );
            subscriber.ack(&delivered);
        }
    }
    expect_only_marker(&mut publisher, &mut subscriber, &format!("{base}/plain"), 1);
}

fn publish_at_qos0_is_delivered_byte_for_byte(lab: &Lab) {
    let topic = lab.unique("bytes");
    let mut client = lab.broker().v5(&lab.unique("bytes"));
    client.subscribe(&[(&topic, 2)]);
    let packet = PublishSpec::new(&topic, &[0x00, 0x01, 0x02], 0).to_bytes(5);
    client.send(&packet);
    client.expect_hex(&wire::to_hex(&packet));
}

fn publish_with_packet_id_zero_is_refused(lab: &Lab) {
    for qos in [1, 2] {
        let spec = PublishSpec {
            packet_id: 0,
            ..PublishSpec::new("a", b"x", qos)
        };
        assert_rejected(lab, "Packet Identifier 0", &spec.to_bytes(5), &[0x81, 0x82]);
    }
}

/// The lengths around those where the Remaining Length of the PUBLISH takes one more byte.
fn publish_payloads_of_any_length_arrive_unaltered(lab: &Lab) {
    let topic = lab.unique("payload");
    let mut client = lab.broker().v5(&lab.unique("payload"));
    client.subscribe(&[(&topic, 0)]);
    let overhead = 2 + topic.len() + 1;
    for remaining_length in [overhead, overhead + 1, 127, 128, 16_383, 16_384, 500_000] {
        let payload: Vec<u8> = (0..remaining_length - overhead)
            .map(|at| (at % 251) as u8)
            .collect();
        client.publish(&PublishSpec::new(&topic, &payload, 0));
        let delivered = client.recv_publish();
        assert_eq!(
            delivered.payload.len(),
            payload.len(),
            "the payload's length changed"
        );
        assert!(
            delivered.payload == payload,
            "a payload of {} bytes changed",
            payload.len()
        );
    }
}

fn publish_above_the_maximum_qos_is_refused(lab: &Lab) {
    let broker = lab.broker_with("max_qos 1");
    let mut publisher = broker.v5(&lab.unique("max-qos"));
    publisher.publish(&PublishSpec::new("a", b"allowed", 1));
    publisher.send_publish(&PublishSpec::new("a", b"refused", 2));
    publisher.expect_disconnect(0x9B);
}

fn topic_alias_zero_is_refused(lab: &Lab) {
    for (topic, qos) in [("a", 0), ("a", 1), ("a", 2), ("", 0)] {
        assert_rejected(
            lab,
            "Topic Alias 0",
            &aliased(topic, 0, qos).to_bytes(5),
            &[0x94],
        );
    }
}

fn topic_alias_above_the_maximum_is_refused(lab: &Lab) {
    for (alias, qos) in [(11, 0), (11, 1), (11, 2), (12, 0), (u16::MAX, 0)] {
        assert_rejected(
            lab,
            &format!("Topic Alias {alias}"),
            &aliased("a", alias, qos).to_bytes(5),
            &[0x94],
        );
    }
}

fn topic_alias_follows_the_configured_maximum(lab: &Lab) {
    let broker = lab.broker_with("max_topic_alias 3");
    let mut publisher = broker.v5(&lab.unique("alias-max"));
    assert_eq!(
        publisher.connack.prop(TOPIC_ALIAS_MAXIMUM),
        Some(OwnedProp::U16(TOPIC_ALIAS_MAXIMUM, 3))
    );
    publisher.publish(&aliased("a", 3, 1));
    publisher.publish(&aliased("", 3, 1));
    publisher.send_publish(&aliased("a", 4, 1));
    publisher.expect_disconnect(0x94);
}

fn topic_alias_is_refused_where_none_is_allowed(lab: &Lab) {
    let broker = lab.broker_with("max_topic_alias 0");
    let mut publisher = broker.v5(&lab.unique("alias-none"));
    let maximum = publisher
        .connack
        .prop(TOPIC_ALIAS_MAXIMUM)
        .map_or(0, |prop| prop.number());
    assert_eq!(
        maximum, 0,
        "the Topic Alias Maximum of {:?}",
        publisher.connack
    );
    publisher.send_publish(&aliased("a", 1, 0));
    publisher.expect_disconnect(0x94);
}

fn topic_alias_is_accepted_up_to_the_maximum(lab: &Lab) {
    let base = lab.unique("alias");
    let mut client = lab.broker().v5(&lab.unique("alias"));
    client.subscribe(&[(&format!("{base}/+"), 0)]);
    for round in ["sets", "uses"] {
        for alias in 1..=10 {
            let topic = format!("{base}/{alias}");
            let written = if round == "sets" { topic.as_str() } else { "" };
            client.publish(&aliased(written, alias, (alias % 3) as u8));
            let delivered = client.recv_publish();
            assert_eq!(
                delivered.topic, topic,
                "the PUBLISH that {round} Topic Alias {alias}"
            );
        }
    }
}

fn topic_alias_can_be_set_anew(lab: &Lab) {
    let base = lab.unique("alias-anew");
    let mut client = lab.broker().v5(&lab.unique("alias-anew"));
    client.subscribe(&[(&format!("{base}/+"), 0)]);
    let (old, new) = (format!("{base}/old"), format!("{base}/new"));
    for (written, meant) in [
        (old.as_str(), &old),
        ("", &old),
        (new.as_str(), &new),
        ("", &new),
    ] {
        client.publish(&aliased(written, 1, 0));
        assert_eq!(
            client.recv_publish().topic,
            *meant,
            "Topic Name {written:?} with Topic Alias 1"
        );
    }
}

/// Neither another alias of this client nor the broker's own alias with that number stands in for it.
fn topic_alias_that_was_never_set_is_a_protocol_error(lab: &Lab) {
    let topic = lab.unique("alias-unset");
    assert_rejected(
        lab,
        "Topic Alias 1 before any",
        &aliased("", 1, 0).to_bytes(5),
        &[0x82],
    );

    let mut publisher = lab.broker().v5(&lab.unique("alias-unset"));
    publisher.publish(&aliased(&topic, 1, 1));
    publisher.send_publish(&aliased("", 2, 1));
    publisher.expect_disconnect(0x82);

    let id = lab.unique("alias-unset");
    let spec = ConnectSpec {
        props: vec![Prop::U16(TOPIC_ALIAS_MAXIMUM, 1)],
        ..ConnectSpec::v5(&id)
    };
    let mut client = lab.broker().connect(&spec);
    client.subscribe(&[(&topic, 0)]);
    client.publish(&PublishSpec::new(&topic, b"x", 0));
    assert_eq!(
        client.recv_publish().prop(TOPIC_ALIAS),
        Some(&OwnedProp::U16(TOPIC_ALIAS, 1))
    );
    client.send_publish(&aliased("", 1, 0));
    client.expect_disconnect(0x82);
}

fn topic_alias_ends_with_its_connection(lab: &Lab) {
    let (broker, id, topic) = (
        lab.broker(),
        lab.unique("alias-end"),
        lab.unique("alias-end"),
    );
    let mut subscriber = broker.v5(&lab.unique("alias-end"));
    subscriber.subscribe(&[(&topic, 1)]);
    let mut publisher = broker.connect(&durable(&id, true, &[]));
    publisher.publish(&aliased(&topic, 1, 1));
    let delivered = subscriber.recv_publish();
    subscriber.ack(&delivered);
    publisher.disconnect();

    let mut publisher = broker.connect(&durable(&id, false, &[]));
    assert!(publisher.session_present(), "the Session was lost");
    publisher.send_publish(&aliased("", 1, 1));
    publisher.expect_disconnect(0x82);
    let mut publisher = broker.v5(&lab.unique("alias-end"));
    expect_only_marker(&mut publisher, &mut subscriber, &topic, 1);
}

fn topic_alias_is_not_sent_unasked(lab: &Lab) {
    for props in [vec![], vec![Prop::U16(TOPIC_ALIAS_MAXIMUM, 0)]] {
        let (id, topic) = (lab.unique("alias-unasked"), lab.unique("alias-unasked"));
        let mut client = lab.broker().connect(&ConnectSpec {
            props,
            ..ConnectSpec::v5(&id)
        });
        client.subscribe(&[(&topic, 0)]);
        for written in [topic.as_str(), "", ""] {
            client.publish(&aliased(written, 7, 0));
            let delivered = client.recv_publish();
            assert_eq!(delivered.topic, topic, "{delivered:?}");
            assert_eq!(delivered.prop(TOPIC_ALIAS), None, "{delivered:?}");
        }
    }
}

fn topic_alias_stays_within_what_the_client_allows(lab: &Lab) {
    let (id, base) = (lab.unique("alias-out"), lab.unique("alias-out"));
    let spec = ConnectSpec {
        props: vec![Prop::U16(TOPIC_ALIAS_MAXIMUM, 2)],
        ..ConnectSpec::v5(&id)
    };
    let mut subscriber = lab.broker().connect(&spec);
    subscriber.subscribe(&[(&format!("{base}/+"), 2)]);
    let mut publisher = lab.broker().v5(&lab.unique("alias-out"));
    let mut aliases = BTreeMap::new();
    for (round, qos) in [(1, 0), (2, 1), (3, 2)] {
        for level in ["a", "b", "c", "d"] {
            let topic = format!("{base}/{level}");
            publisher.publish(&PublishSpec::new(&topic, b"x", qos));
            let delivered = subscriber.recv_publish();
            subscriber.ack(&delivered);
            assert_eq!(
                meant_topic(&mut aliases, &delivered, 2),
                topic,
                "{delivered:?}"
            );
            if level < "c" {
                let short = delivered.topic.is_empty() && delivered.prop(TOPIC_ALIAS).is_some();
                assert_eq!(
                    short,
                    round > 1,
                    "an alias alone from the second message on: {delivered:?}"
                );
            }
        }
    }
    assert_eq!(aliases.len(), 2, "the aliases in use: {aliases:?}");
}

fn topic_alias_is_announced_again_on_a_new_connection(lab: &Lab) {
    let (broker, id, topic) = (
        lab.broker(),
        lab.unique("alias-again"),
        lab.unique("alias-again"),
    );
    let allowed = [Prop::U16(TOPIC_ALIAS_MAXIMUM, 5)];
    let mut publisher = broker.v5(&lab.unique("alias-again"));
    let mut subscriber = broker.connect(&durable(&id, true, &allowed));
    subscriber.subscribe(&[(&topic, 1)]);
    publisher.publish(&PublishSpec::new(&topic, b"first", 1));
    publisher.publish(&PublishSpec::new(&topic, b"second", 1));
    assert_eq!(subscriber.recv_publish().topic, topic);
    assert_eq!(subscriber.recv_publish().topic, "");
    subscriber.drop_connection();

    let mut subscriber = broker.connect(&durable(&id, false, &allowed));
    let mut aliases = BTreeMap::new();
    let again = subscriber.recv_publish();
    assert_eq!(
        again.topic, topic,
        "the first PUBLISH of a connection names its topic: {again:?}"
    );
    assert_eq!(meant_topic(&mut aliases, &again, 5), topic);
    let again = subscriber.recv_publish();
    assert_eq!(meant_topic(&mut aliases, &again, 5), topic, "{again:?}");
}

/// What the subscriber takes a PUBLISH to be about, by the aliases that it has seen on this connection.
#[track_caller]
fn meant_topic(aliases: &mut BTreeMap<u32, String>, delivered: &Delivered, maximum: u32) -> String {
    let Some(alias) = delivered.prop(TOPIC_ALIAS).map(OwnedProp::number) else {
        assert!(
            !delivered.topic.is_empty(),
            "neither Topic Name nor Topic Alias: {delivered:?}"
        );
        return delivered.topic.clone();
    };
    assert!(
        (1..=maximum).contains(&alias),
        "Topic Alias {alias}, Topic Alias Maximum {maximum}"
    );
    if !delivered.topic.is_empty() {
        aliases.insert(alias, delivered.topic.clone());
    }
    aliases
        .get(&alias)
        .cloned()
        .unwrap_or_else(|| panic!("Topic Alias {alias} was never set: {delivered:?}"))
}

fn aliased(topic: &str, alias: u16, qos: u8) -> PublishSpec<'_> {
    PublishSpec {
        props: vec![Prop::U16(TOPIC_ALIAS, alias)],
        ..PublishSpec::new(topic, b"aliased", qos)
    }
}

/// Bytes that are no UTF-8 Encoded String: a broken sequence, overlong forms, a surrogate, beyond U+10FFFF, a sequence
/// that is cut, a byte that never occurs, U+0000.
pub(super) const NOT_UTF8: [&[u8]; 8] = [
    &[0xC3, 0x28],
    &[0xC0, 0x80],
    &[0xE0, 0x80, 0xAF],
    &[0xED, 0xA0, 0x80],
    &[0xF4, 0x90, 0x80, 0x80],
    &[b'a', 0xE2, 0x82],
    &[0xFF],
    &[b'a', 0x00, b'b'],
];

/// A client that sends this packet first after CONNECT gets DISCONNECT with one of these reasons, and a close.
#[track_caller]
pub(super) fn assert_rejected(lab: &Lab, form: &str, packet: &[u8], reasons: &[u8]) {
    let mut client = lab.broker().v5(&lab.unique("rejected"));
    client.send(packet);
    let answer = client.try_recv_closed();
    let [disconnect] = answer.as_slice() else {
        panic!("{form}: awaited DISCONNECT {reasons:02x?} and a close, got {answer:?} and a close");
    };
    assert_eq!(
        disconnect.first, 0xE0,
        "{form}: awaited DISCONNECT, got {disconnect:?}"
    );
    assert!(
        reasons.contains(&disconnect.reason(5)),
        "{form}: awaited one of {reasons:02x?}, got {disconnect:?}"
    );
}

/// Only a marker comes. It is published last by the same client at the same QoS, so what must not be delivered would
/// have come before.
#[track_caller]
pub(super) fn expect_only_marker(publisher: &mut Raw, subscriber: &mut Raw, topic: &str, qos: u8) {
    publisher.publish(&PublishSpec::new(topic, b"only the marker", qos));
    let next = subscriber.recv_publish();
    assert_eq!(
        next.payload, b"only the marker",
        "awaited the marker, got {next:?}"
    );
    subscriber.ack(&next);
}

/// CONNECT of a client whose Session outlives its connection, with more properties.
pub(super) fn durable<'a>(client_id: &'a str, clean: bool, more: &[Prop<'a>]) -> ConnectSpec<'a> {
    let mut props = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 300)];
    props.extend_from_slice(more);
    ConnectSpec {
        clean,
        props,
        ..ConnectSpec::v5(client_id)
    }
}

/// Lets time pass by a read that nothing answers: a connection that has sent nothing hears nothing.
#[track_caller]
pub(super) fn let_seconds_pass(broker: &Broker, seconds: u64) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut silent = match TcpStream::connect(broker.addr) {
        Ok(stream) => stream,
        Err(error) => panic!("cannot connect to {}: {error}", broker.addr),
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let heard = silent
            .set_read_timeout(Some(left))
            .and_then(|()| silent.read(&mut [0; 1]));
        assert!(
            heard.is_err(),
            "a connection that sent nothing was answered or closed: {heard:?}"
        );
    }
}
