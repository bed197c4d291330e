//! The properties of PUBLISH but for Topic Alias: passed on unaltered, and refused where they are wrong.

use std::time::Instant;

use super::publish::{NOT_UTF8, assert_rejected, durable, let_seconds_pass};
use crate::{Case, Delivered, Lab, OwnedProp, Prop, PublishSpec, Raw, case, wire};

pub(super) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(super) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(super) const REASON_STRING: u8 = 0x1F;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        publish_payload_format_indicator_is_forwarded,
        ["v5[MQTT-3.3.2-4]"]
    ),
    case!(publish_response_topic_is_forwarded, ["v5[MQTT-3.3.2-15]"]),
    case!(publish_correlation_data_is_forwarded, ["v5[MQTT-3.3.2-16]"]),
    case!(
        publish_user_properties_are_forwarded_in_order,
        ["v5[MQTT-3.3.2-17]", "v5[MQTT-3.3.2-18]"]
    ),
    case!(publish_content_type_is_forwarded, ["v5[MQTT-3.3.2-20]"]),
    case!(
        publish_properties_survive_the_queue,
        [
            "v5[MQTT-3.3.2-4]",
            "v5[MQTT-3.3.2-15]",
            "v5[MQTT-3.3.2-16]",
            "v5[MQTT-3.3.2-17]",
            "v5[MQTT-3.3.2-18]",
            "v5[MQTT-3.3.2-20]"
        ]
    ),
    case!(message_expiry_is_forwarded_at_once, ["v5[MQTT-3.3.2-6]"]),
    case!(
        message_expiry_is_reduced_by_the_time_in_the_queue,
        ["v5[MQTT-3.3.2-6]"]
    ),
    case!(
        message_expired_for_an_absent_client_is_deleted,
        ["v5[MQTT-3.3.2-5]"]
    ),
    case!(
        message_expired_for_want_of_quota_is_deleted,
        ["v5[MQTT-3.3.2-5]"]
    ),
    case!(
        publish_text_property_that_is_not_utf8_is_malformed,
        [
            "v5[MQTT-3.3.2-13]",
            "v5[MQTT-3.3.2-19]",
            "v5[MQTT-1.5.4-1]",
            "v5[MQTT-1.5.4-2]"
        ]
    ),
    case!(
        publish_user_property_that_is_not_utf8_is_malformed,
        ["v5[MQTT-1.5.7-1]"]
    ),
    case!(
        publish_response_topic_with_a_wildcard_is_refused,
        ["v5[MQTT-3.3.2-14]"]
    ),
    case!(
        publish_properties_cut_short_are_malformed,
        ["v5[MQTT-2.2.2-1]", "v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_property_integers_in_long_form_are_malformed,
        ["v5[MQTT-1.5.5-1]"]
    ),
    case!(
        publish_property_without_meaning_is_malformed,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_property_of_another_packet_is_refused,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_property_given_twice_is_a_protocol_error,
        ["v5[MQTT-4.13.1-1]"]
    ),
    case!(
        publish_payload_format_indicator_above_one_is_a_protocol_error,
        ["v5[MQTT-4.13.1-1]"]
    ),
];

fn publish_payload_format_indicator_is_forwarded(lab: &Lab) {
    for value in [0, 1] {
        for delivered in forwarded(lab, &[Prop::Byte(PAYLOAD_FORMAT_INDICATOR, value)]) {
            assert_eq!(
                delivered.props,
                [OwnedProp::Byte(PAYLOAD_FORMAT_INDICATOR, value)]
            );
        }
    }
    for delivered in forwarded(lab, &[]) {
        assert!(
            delivered.props.is_empty(),
            "properties that nobody published: {delivered:?}"
        );
    }
}

fn publish_response_topic_is_forwarded(lab: &Lab) {
    for topic in ["answers", "answers/küche//1", "$private/answers"] {
        for delivered in forwarded(lab, &[Prop::Str(RESPONSE_TOPIC, topic)]) {
            assert_eq!(
                delivered.props,
                [OwnedProp::Str(RESPONSE_TOPIC, topic.to_owned())]
            );
        }
    }
}

fn publish_correlation_data_is_forwarded(lab: &Lab) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = every_byte.repeat(16);
    let all_data: [&[u8]; 4] = [&every_byte, &[], &[0x00], &long];
    for data in all_data {
        for delivered in forwarded(lab, &[Prop::Bin(CORRELATION_DATA, data)]) {
            assert_eq!(
                delivered.props,
                [OwnedProp::Bin(CORRELATION_DATA, data.to_vec())]
            );
        }
    }
}

/// Names that repeat, empty names and values, and other properties between them.
fn publish_user_properties_are_forwarded_in_order(lab: &Lab) {
    let pairs = [
        ("b", "1"),
        ("a", "2"),
        ("b", "1"),
        ("b", "0"),
        ("", "no name"),
        ("no value", ""),
        ("höhe", "8 µm"),
    ];
    let mut props = Vec::new();
    for (position, (name, value)) in pairs.into_iter().enumerate() {
        props.push(Prop::Pair(USER_PROPERTY, name, value));
        if position == 2 {
            props.push(Prop::Str(CONTENT_TYPE, "text/plain"));
        }
    }
    let published = pairs
        .map(|(name, value)| OwnedProp::Pair(USER_PROPERTY, name.to_owned(), value.to_owned()));
    for delivered in forwarded(lab, &props) {
        let received: Vec<OwnedProp> = delivered
            .props(USER_PROPERTY)
            .into_iter()
            .cloned()
            .collect();
        assert_eq!(received, published, "received (left), published (right)");
        assert_eq!(delivered.props.len(), pairs.len() + 1, "{delivered:?}");
    }
}

fn publish_content_type_is_forwarded(lab: &Lab) {
    for content_type in ["application/json", "text/plain; charset=utf-8", "größe", ""] {
        for delivered in forwarded(lab, &[Prop::Str(CONTENT_TYPE, content_type)]) {
            assert_eq!(
                delivered.props,
                [OwnedProp::Str(CONTENT_TYPE, content_type.to_owned())]
            );
        }
    }
}

fn publish_properties_survive_the_queue(lab: &Lab) {
    let (broker, id, topic) = (lab.broker(), lab.unique("queued"), lab.unique("queued"));
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 1)]);
    subscriber.disconnect();
    let mut publisher = broker.v5(&lab.unique("queued"));
    publisher.publish(&PublishSpec {
        props: every_property().to_vec(),
        ..PublishSpec::new(&topic, b"21.5", 1)
    });

    let mut subscriber = broker.connect(&durable(&id, false, &[]));
    assert_every_property(&subscriber.recv_publish());
}

fn message_expiry_is_forwarded_at_once(lab: &Lab) {
    for interval in [60, u32::MAX] {
        for delivered in forwarded(lab, &[Prop::U32(MESSAGE_EXPIRY_INTERVAL, interval)]) {
            let left = expiry(&delivered);
            assert!(
                (interval - 5..=interval).contains(&left),
                "{interval} s were published, {left} s are left"
            );
        }
    }
}

fn message_expiry_is_reduced_by_the_time_in_the_queue(lab: &Lab) {
    let (broker, id, topic) = (lab.broker(), lab.unique("expiry"), lab.unique("expiry"));
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 1)]);
    subscriber.disconnect();
    let mut publisher = broker.v5(&lab.unique("expiry"));
    let published = Instant::now();
    publisher.publish(&expiring(&topic, b"waits", 1, 100));
    let_seconds_pass(broker, 2);

    let mut subscriber = broker.connect(&durable(&id, false, &[]));
    let left = u64::from(expiry(&subscriber.recv_publish()));
    let earliest = 100 - 1 - published.elapsed().as_secs();
    assert!(
        (earliest..=98).contains(&left),
        "{left} s of 100 are left, {earliest} to 98 were awaited"
    );
}

fn message_expired_for_an_absent_client_is_deleted(lab: &Lab) {
    let (broker, id, topic) = (lab.broker(), lab.unique("expired"), lab.unique("expired"));
    let mut subscriber = broker.connect(&durable(&id, true, &[]));
    subscriber.subscribe(&[(&topic, 2)]);
    subscriber.disconnect();
    let mut publisher = broker.v5(&lab.unique("expired"));
    for qos in [1, 2] {
        publisher.publish(&expiring(&topic, b"expires", qos, 1));
        publisher.publish(&PublishSpec::new(&topic, b"never expires", qos));
        publisher.publish(&expiring(&topic, b"expires later", qos, 1000));
    }
    let_seconds_pass(broker, 2);

    let mut subscriber = broker.connect(&durable(&id, false, &[]));
    for qos in [1, 2] {
        for payload in ["never expires", "expires later"] {
            let delivered = subscriber.recv_publish();
            assert_eq!(
                (delivered.qos, delivered.payload.as_slice()),
                (qos, payload.as_bytes()),
                "{delivered:?}"
            );
            subscriber.ack(&delivered);
        }
    }
}

fn message_expired_for_want_of_quota_is_deleted(lab: &Lab) {
    let (broker, id, topic) = (
        lab.broker(),
        lab.unique("expired-quota"),
        lab.unique("expired-quota"),
    );
    let mut subscriber = broker.connect(&durable(&id, true, &[Prop::U16(RECEIVE_MAXIMUM, 1)]));
    subscriber.subscribe(&[(&topic, 1)]);
    let mut publisher = broker.v5(&lab.unique("expired-quota"));
    publisher.publish(&expiring(&topic, b"takes the quota", 1, 1));
    let first = subscriber.recv_publish();
    publisher.publish(&expiring(&topic, b"expires", 1, 1));
    publisher.publish(&PublishSpec::new(&topic, b"never expires", 1));
    let_seconds_pass(broker, 2);

    assert_eq!(first.payload, b"takes the quota");
    subscriber.ack(&first);
    assert_eq!(subscriber.recv_publish().payload, b"never expires");
}

fn publish_text_property_that_is_not_utf8_is_malformed(lab: &Lab) {
    for id in [RESPONSE_TOPIC, CONTENT_TYPE] {
        for bad in NOT_UTF8 {
            let block = [&[id][..], wire::binary(bad).as_slice()].concat();
            assert_rejected(
                lab,
                &format!("property 0x{id:02x} of bytes {bad:02x?}"),
                &with_block(&block),
                &[0x81],
            );
        }
    }
}

fn publish_user_property_that_is_not_utf8_is_malformed(lab: &Lab) {
    let good = wire::string("good");
    for bad in NOT_UTF8 {
        let bad = wire::binary(bad);
        for (name, value) in [(&bad, &good), (&good, &bad)] {
            let block = [&[USER_PROPERTY][..], name.as_slice(), value.as_slice()].concat();
            assert_rejected(
                lab,
                "User Property that is not UTF-8",
                &with_block(&block),
                &[0x81],
            );
        }
    }
}

fn publish_response_topic_with_a_wildcard_is_refused(lab: &Lab) {
    for topic in ["#", "+", "a/#", "a/+/b", "a+", ""] {
        let block = wire::props(&[Prop::Str(RESPONSE_TOPIC, topic)]);
        let packet = with_properties(&block);
        assert_rejected(lab, &format!("Response Topic {topic:?}"), &packet, &[0x82]);
    }
}

/// The lengths within the packet contradict each other. What is missing in the properties stands in the payload, where
/// a reader must not look for it.
fn publish_properties_cut_short_are_malformed(lab: &Lab) {
    for (form, hex) in [
        ("Property Length beyond the packet", "05 01 00"),
        ("no value of one byte", "01 01"),
        ("two bytes of four", "03 02 00 00"),
        ("no length of a text", "01 03"),
        ("text beyond the properties", "04 03 00 05 61 62 63 64 65"),
        (
            "Binary Data beyond the properties",
            "04 09 00 05 61 62 63 64 65",
        ),
        ("User Property without value", "04 26 00 01 61 00 01 62"),
        (
            "value of a User Property beyond the properties",
            "06 26 00 01 61 00 02 62 63",
        ),
        ("one byte of a Topic Alias", "02 23 00 01"),
    ] {
        assert_rejected(lab, form, &with_properties(&wire::hex(hex)), &[0x81]);
    }
}

fn publish_property_integers_in_long_form_are_malformed(lab: &Lab) {
    for (form, hex) in [
        ("Property Length 0 in two bytes", "80 00"),
        ("Property Length 2 in two bytes", "82 00 01 00"),
        ("Property Length of five bytes", "80 80 80 80 01"),
        ("Property Identifier 1 in two bytes", "03 81 00 00"),
    ] {
        assert_rejected(lab, form, &with_properties(&wire::hex(hex)), &[0x81]);
    }
}

fn publish_property_without_meaning_is_malformed(lab: &Lab) {
    for id in [0x00, 0x04, 0x05, 0x0A, 0x10, 0x14, 0x20, 0x2B, 0x7F] {
        let form = format!("Property Identifier 0x{id:02x}");
        assert_rejected(
            lab,
            &form,
            &with_block(&[id, 0x00, 0x00, 0x00, 0x00]),
            &[0x81],
        );
    }
}

/// The standard calls it malformed (0x81) in one place and a Protocol Error (0x82) in others.
fn publish_property_of_another_packet_is_refused(lab: &Lab) {
    for prop in [
        Prop::U32(SESSION_EXPIRY_INTERVAL, 1),
        Prop::Str(0x12, "assigned"),
        Prop::U16(0x13, 1),
        Prop::Str(0x15, "method"),
        Prop::Bin(0x16, b"data"),
        Prop::Byte(REQUEST_PROBLEM_INFORMATION, 1),
        Prop::U32(0x18, 1),
        Prop::Byte(0x19, 1),
        Prop::Str(0x1A, "response"),
        Prop::Str(0x1C, "server"),
        Prop::Str(REASON_STRING, "reason"),
        Prop::U16(RECEIVE_MAXIMUM, 1),
        Prop::U16(TOPIC_ALIAS_MAXIMUM, 1),
        Prop::Byte(MAXIMUM_QOS, 1),
        Prop::Byte(RETAIN_AVAILABLE, 1),
        Prop::U32(MAXIMUM_PACKET_SIZE, 100),
        Prop::Byte(0x28, 1),
        Prop::Byte(0x29, 1),
        Prop::Byte(0x2A, 1),
    ] {
        let packet = with_properties(&wire::props(&[prop]));
        assert_rejected(lab, &format!("{prop:?} in PUBLISH"), &packet, &[0x81, 0x82]);
    }
}

fn publish_property_given_twice_is_a_protocol_error(lab: &Lab) {
    for prop in [
        Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1),
        Prop::U32(MESSAGE_EXPIRY_INTERVAL, 60),
        Prop::Str(CONTENT_TYPE, "text/plain"),
        Prop::Str(RESPONSE_TOPIC, "answers"),
        Prop::Bin(CORRELATION_DATA, b"1"),
        Prop::U16(TOPIC_ALIAS, 1),
    ] {
        let packet = with_properties(&wire::props(&[
            prop,
            Prop::Pair(USER_PROPERTY, "a", "b"),
            prop,
        ]));
        assert_rejected(lab, &format!("{prop:?} twice"), &packet, &[0x82]);
    }
}

fn publish_payload_format_indicator_above_one_is_a_protocol_error(lab: &Lab) {
    for value in [2, 255] {
        let packet = with_properties(&wire::props(&[Prop::Byte(PAYLOAD_FORMAT_INDICATOR, value)]));
        assert_rejected(
            lab,
            &format!("Payload Format Indicator {value}"),
            &packet,
            &[0x82],
        );
    }
}

/// One message with these properties as subscribers at QoS 0, 1 and 2 receive it.
#[track_caller]
fn forwarded(lab: &Lab, props: &[Prop<'_>]) -> Vec<Delivered> {
    let topic = lab.unique("forwarded");
    let mut subscribers = Vec::new();
    for qos in 0..=2 {
        let mut subscriber = lab.broker().v5(&lab.unique("forwarded"));
        subscriber.subscribe(&[(&topic, qos)]);
        subscribers.push(subscriber);
    }
    let mut publisher = lab.broker().v5(&lab.unique("forwarded"));
    publisher.publish(&PublishSpec {
        props: props.to_vec(),
        ..PublishSpec::new(&topic, b"21.5", 2)
    });
    subscribers.iter_mut().map(Raw::recv_publish).collect()
}

/// Every property that is passed on unaltered, some of them more than once.
pub(super) fn every_property() -> [Prop<'static>; 7] {
    [
        Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1),
        Prop::Pair(USER_PROPERTY, "unit", "°C"),
        Prop::Str(CONTENT_TYPE, "text/plain"),
        Prop::Str(RESPONSE_TOPIC, "answers/1"),
        Prop::Bin(CORRELATION_DATA, &[0x00, 0xFF]),
        Prop::Pair(USER_PROPERTY, "place", "cellar"),
        Prop::Pair(USER_PROPERTY, "unit", "K"),
    ]
}

/// All of [`every_property`] are there, and no other.
#[track_caller]
pub(super) fn assert_every_property(delivered: &Delivered) {
    let pair =
        |name: &str, value: &str| OwnedProp::Pair(USER_PROPERTY, name.to_owned(), value.to_owned());
    assert_eq!(
        delivered.prop(PAYLOAD_FORMAT_INDICATOR),
        Some(&OwnedProp::Byte(PAYLOAD_FORMAT_INDICATOR, 1))
    );
    assert_eq!(
        delivered.prop(CONTENT_TYPE),
        Some(&OwnedProp::Str(CONTENT_TYPE, "text/plain".to_owned()))
    );
    assert_eq!(
        delivered.prop(RESPONSE_TOPIC),
        Some(&OwnedProp::Str(RESPONSE_TOPIC, "answers/1".to_owned()))
    );
    assert_eq!(
        delivered.prop(CORRELATION_DATA),
        Some(&OwnedProp::Bin(CORRELATION_DATA, vec![0x00, 0xFF]))
    );
    let user_properties = [
        &pair("unit", "°C"),
        &pair("place", "cellar"),
        &pair("unit", "K"),
    ];
    assert_eq!(
        delivered.props(USER_PROPERTY),
        user_properties,
        "received (left), published (right)"
    );
    assert_eq!(delivered.props.len(), 7, "{delivered:?}");
}

/// What a PUBLISH says of its Message Expiry Interval.
#[track_caller]
pub(super) fn expiry(delivered: &Delivered) -> u32 {
    match delivered.prop(MESSAGE_EXPIRY_INTERVAL) {
        Some(interval) => interval.number(),
        None => panic!("no Message Expiry Interval in {delivered:?}"),
    }
}

/// A PUBLISH with this Message Expiry Interval in seconds.
fn expiring<'a>(topic: &'a str, payload: &'a [u8], qos: u8, interval_s: u32) -> PublishSpec<'a> {
    let props = vec![Prop::U32(MESSAGE_EXPIRY_INTERVAL, interval_s)];
    PublishSpec {
        props,
        ..PublishSpec::new(topic, payload, qos)
    }
}

/// A PUBLISH at QoS 0 whose properties are these bytes, the Property Length counted here.
fn with_block(block: &[u8]) -> Vec<u8> {
    let mut properties = wire::varint(block.len() as u32);
    properties.extend_from_slice(block);
    with_properties(&properties)
}

/// A PUBLISH at QoS 0 with these bytes after the Topic Name.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    let mut body = wire::string("a");
    body.extend_from_slice(properties);
    wire::packet(0x30, &body)
}
