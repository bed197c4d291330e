//! Data representation and packet format: chapters 1 and 2 of MQTT 5.0.
//!
//! Each malformed form goes to the broker on a connection of its own and must be answered with its Reason Code.

use std::collections::BTreeSet;

use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, wire};

const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const USER_PROPERTY: u8 = 0x26;

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(ill_formed_utf8_is_malformed, ["v5[MQTT-1.5.4-1]"]),
    case!(ill_formed_utf8_in_connect_is_malformed, ["v5[MQTT-1.5.4-1]"]),
    case!(every_well_formed_text_passes_unchanged, ["v5[MQTT-1.5.4-1]"]),
    case!(null_character_is_malformed, ["v5[MQTT-1.5.4-2]"]),
    case!(null_character_in_connect_is_malformed, ["v5[MQTT-1.5.4-2]"]),
    case!(byte_order_mark_stays_in_topics_and_properties, ["v5[MQTT-1.5.4-3]"]),
    case!(byte_order_mark_stays_in_client_identifiers, ["v5[MQTT-1.5.4-3]"]),
    case!(varint_longer_than_needed_is_malformed, ["v5[MQTT-1.5.5-1]"]),
    case!(varint_longer_than_needed_in_connect_is_refused, ["v5[MQTT-1.5.5-1]"]),
    case!(varint_of_five_bytes_is_malformed, ["v5[MQTT-1.5.5-1]"]),
    case!(broker_writes_lengths_in_fewest_bytes, ["v5[MQTT-1.5.5-1]"]),
    case!(broker_writes_subscription_identifiers_in_fewest_bytes, ["v5[MQTT-1.5.5-1]"]),
    case!(string_pair_with_a_bad_half_is_malformed, ["v5[MQTT-1.5.7-1]"]),
    case!(string_pairs_pass_unchanged, ["v5[MQTT-1.5.7-1]"]),
    case!(reserved_flags_are_checked, ["v5[MQTT-2.1.3-1]"]),
    case!(broker_sets_reserved_flags_as_listed, ["v5[MQTT-2.1.3-1]"]),
    case!(packet_type_0_is_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(packets_of_servers_are_refused, ["v5[MQTT-4.13.1-1]"]),
    case!(publish_at_qos_0_has_no_packet_id, ["v5[MQTT-2.2.1-2]"]),
    case!(packet_id_0_is_refused, ["v5[MQTT-2.2.1-3]"]),
    case!(broker_assigns_unused_packet_ids, ["v5[MQTT-2.2.1-4]"]),
    case!(acknowledgements_repeat_the_packet_id, ["v5[MQTT-2.2.1-5]"]),
    case!(suback_and_unsuback_repeat_the_packet_id, ["v5[MQTT-2.2.1-6]"]),
    case!(broker_writes_property_length_0, ["v5[MQTT-2.2.2-1]"]),
    case!(missing_property_length_is_malformed, ["v5[MQTT-2.2.2-1]"]),
    case!(broken_property_blocks_are_malformed, ["v5[MQTT-4.13.1-1]"]),
    case!(properties_out_of_place_are_protocol_errors, ["v5[MQTT-4.13.1-1]"]),
];

/// A surrogate low and high, over-long forms, a lone continuation, a cut character, one above U+10FFFF, no UTF-8 at all.
const ILL_FORMED: [&[u8]; 9] = [
    b"\xED\xA0\x80",
    b"a\xED\xBF\xBFb",
    b"\xC0\xAF",
    b"\xE0\x80\xAF",
    b"\x80",
    b"\xE2\x82",
    b"\xF4\x90\x80\x80",
    b"\xFE",
    b"\xFF",
];

/// Packets of an open connection, each with this text in another of its strings.
fn packets_with(text: &[u8]) -> Vec<Vec<u8>> {
    let text = wire::binary(text);
    let topic = wire::string("t");
    let property = |id: u8| wire::block(&join(&[&[id], text.as_slice()]));
    let named = wire::block(&join(&[&[USER_PROPERTY], text.as_slice(), &wire::string("v")]));
    let valued = wire::block(&join(&[&[USER_PROPERTY], wire::string("n").as_slice(), &text]));
    vec![
        wire::packet(0x30, &join(&[text.as_slice(), &[0]])),
        wire::packet(0x32, &join(&[text.as_slice(), &[0, 1, 0]])),
        wire::packet(0x30, &join(&[topic.as_slice(), &property(CONTENT_TYPE)])),
        wire::packet(0x30, &join(&[topic.as_slice(), &property(RESPONSE_TOPIC)])),
        wire::packet(0x30, &join(&[topic.as_slice(), &named])),
        wire::packet(0x30, &join(&[topic.as_slice(), &valued])),
        wire::packet(0x82, &join(&[&[0, 1, 0], text.as_slice(), &[0]])),
        wire::packet(0x82, &join(&[&[0, 1], named.as_slice(), &topic, &[0]])),
        wire::packet(0xA2, &join(&[&[0, 1, 0], text.as_slice()])),
        wire::packet(0xA2, &join(&[&[0, 1], valued.as_slice(), &topic])),
        wire::packet(0xE0, &join(&[&[0], property(0x1F).as_slice()])),
    ]
}

/// CONNECT packets, each with this text in another of their strings.
fn connects_with(text: &[u8]) -> Vec<Vec<u8>> {
    let text = wire::binary(text);
    let (id, topic, payload) = (wire::string("data-bad-connect"), wire::string("t"), wire::binary(b"p"));
    let named = wire::block(&join(&[&[USER_PROPERTY], text.as_slice(), &wire::string("v")]));
    let content_type = wire::block(&join(&[&[CONTENT_TYPE], text.as_slice()]));
    vec![
        wire::connect_of(0x02, &[0], &[&text]),
        wire::connect_of(0x02, &named, &[&id]),
        wire::connect_of(0x82, &[0], &[&id, &text]),
        wire::connect_of(0x06, &[0], &[&id, &[0], &text, &payload]),
        wire::connect_of(0x06, &[0], &[&id, &named, &topic, &payload]),
        wire::connect_of(0x06, &[0], &[&id, &content_type, &topic, &payload]),
    ]
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn expect_answer(lab: &Lab, bytes: &[u8], reason: u8) {
    let mut raw = lab.broker().v5(&lab.unique("data"));
    raw.send(bytes);
    raw.expect_disconnect(reason);
}

fn expect_connect_refused(lab: &Lab, bytes: &[u8], reason: u8) {
    let mut raw = lab.broker().raw();
    raw.send(bytes);
    raw.expect_refused(reason);
}

fn ill_formed_utf8_is_malformed(lab: &Lab) {
    for packet in ILL_FORMED.iter().flat_map(|text| packets_with(text)) {
        expect_answer(lab, &packet, MALFORMED);
    }
}

fn ill_formed_utf8_in_connect_is_malformed(lab: &Lab) {
    for packet in ILL_FORMED.iter().flat_map(|text| connects_with(text)) {
        expect_connect_refused(lab, &packet, MALFORMED);
    }
}

fn null_character_is_malformed(lab: &Lab) {
    for packet in [b"\0".as_slice(), b"a\0b", b"a\0"].into_iter().flat_map(packets_with) {
        expect_answer(lab, &packet, MALFORMED);
    }
}

fn null_character_in_connect_is_malformed(lab: &Lab) {
    for packet in [b"\0".as_slice(), b"a\0b"].into_iter().flat_map(connects_with) {
        expect_connect_refused(lab, &packet, MALFORMED);
    }
}

fn every_well_formed_text_passes_unchanged(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    // One to four bytes, the borders of the surrogates, combined and precomposed forms, what looks like an escape.
    for text in ["a b", "é", "e\u{301}", "\u{D7FF}\u{E000}", "漢字", "\u{FFFD}", "😀", "%2F\\u0041"] {
        let topic = format!("{base}/{text}");
        let props = vec![Prop::Str(CONTENT_TYPE, text), Prop::Str(RESPONSE_TOPIC, text)];
        raw.publish(&PublishSpec { props, ..PublishSpec::new(&topic, text.as_bytes(), 0) });
        let delivered = raw.recv_publish();
        assert_eq!(delivered.topic, topic);
        assert_eq!(delivered.payload, text.as_bytes());
        assert_eq!(delivered.prop(CONTENT_TYPE), Some(&OwnedProp::Str(CONTENT_TYPE, text.to_owned())));
        assert_eq!(delivered.prop(RESPONSE_TOPIC), Some(&OwnedProp::Str(RESPONSE_TOPIC, text.to_owned())));
    }
}

fn byte_order_mark_stays_in_topics_and_properties(lab: &Lab) {
    let plain = lab.unique("bom");
    let marked = format!("\u{FEFF}{plain}");
    let mut marked_only = lab.broker().v5(&lab.unique("bom-marked"));
    let mut plain_only = lab.broker().v5(&lab.unique("bom-plain"));
    assert_eq!(marked_only.subscribe(&[(&marked, 0)]), [0]);
    assert_eq!(plain_only.subscribe(&[(&plain, 0)]), [0]);
    let mut publisher = lab.broker().v5(&lab.unique("bom-pub"));
    for (topic, payload) in [(&plain, "plain"), (&marked, "marked"), (&plain, "end"), (&marked, "end")] {
        let props = vec![Prop::Str(CONTENT_TYPE, "\u{FEFF}x"), Prop::Pair(USER_PROPERTY, "\u{FEFF}", "y\u{FEFF}")];
        publisher.publish(&PublishSpec { props, ..PublishSpec::new(topic, payload.as_bytes(), 0) });
    }
    for (subscriber, topic, payloads) in
        [(&mut marked_only, &marked, ["marked", "end"]), (&mut plain_only, &plain, ["plain", "end"])]
    {
        for payload in payloads {
            let delivered = subscriber.recv_publish();
            assert_eq!((&delivered.topic, delivered.payload.as_slice()), (topic, payload.as_bytes()));
            assert_eq!(delivered.prop(CONTENT_TYPE).map(OwnedProp::text), Some("\u{FEFF}x"));
            let pair = OwnedProp::Pair(USER_PROPERTY, "\u{FEFF}".to_owned(), "y\u{FEFF}".to_owned());
            assert_eq!(delivered.prop(USER_PROPERTY), Some(&pair));
        }
    }
}

fn byte_order_mark_stays_in_client_identifiers(lab: &Lab) {
    let plain = lab.unique("bom-id");
    let marked = format!("\u{FEFF}{plain}");
    lab.broker().connect(&kept(&marked)).disconnect();
    let other = lab.broker().connect(&ConnectSpec { clean: false, ..kept(&plain) });
    assert!(!other.session_present(), "a Client Identifier without U+FEFF found the Session of one with it");
    let same = lab.broker().connect(&ConnectSpec { clean: false, ..kept(&marked) });
    assert!(same.session_present(), "the Session of a Client Identifier with U+FEFF was not found");
}

fn varint_longer_than_needed_is_malformed(lab: &Lab) {
    let forms = [
        "c0 80 00",                            // PINGREQ, Remaining Length 0 in two bytes
        "c0 80 80 80 00",                      // the same in four
        "82 88 00 00 01 00 00 02 61 62 00",    // SUBSCRIBE, Remaining Length 8 in two bytes
        "82 08 00 01 80 00 00 01 61 00",       // SUBSCRIBE, Property Length 0 in two bytes
        "82 0a 00 01 03 0b 81 00 00 01 61 00", // Subscription Identifier 1 in two bytes
        "30 06 00 01 61 80 00 78",             // PUBLISH, Property Length 0 in two bytes
        "30 07 00 01 61 80 80 00 78",          // the same in three
        "e0 03 00 80 00",                      // DISCONNECT, Property Length 0 in two bytes
    ];
    for form in forms {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
}

fn varint_longer_than_needed_in_connect_is_refused(lab: &Lab) {
    let id = wire::string("data-long-varint");
    expect_connect_refused(lab, &wire::connect_of(0x02, &[0x80, 0x00], &[&id]), MALFORMED);
    expect_connect_refused(lab, &wire::connect_of(0x02, &[0x83, 0x00, 0x21, 0x00, 0x01], &[&id]), MALFORMED);
    // The fixed header says it before the version is known, so the answer may be a close alone.
    let mut raw = lab.broker().raw();
    raw.send_hex("10 8e 00 00 04 4d 51 54 54 05 02 00 00 00 00 01 61");
    for packet in raw.try_recv_closed() {
        assert_eq!((packet.packet_type(), packet.reason(5)), (2, MALFORMED), "{packet:?}");
    }
}

fn varint_of_five_bytes_is_malformed(lab: &Lab) {
    let forms = [
        "c0 80 80 80 80 01",
        "30 ff ff ff ff 7f",
        "30 ff ff ff ff ff",
        "30 0a 00 01 61 80 80 80 80 01 00 78",
        "82 0c 00 01 80 80 80 80 00 00 01 61 00 00",
        "82 0d 00 01 06 0b 80 80 80 80 01 00 01 61 00",
    ];
    for form in forms {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
    let id = wire::string("data-five-bytes");
    expect_connect_refused(lab, &wire::connect_of(0x02, &[0x80, 0x80, 0x80, 0x80, 0x00], &[&id]), MALFORMED);
}

/// `Raw` refuses every length that is longer than needed; here are the sizes around each border.
fn broker_writes_lengths_in_fewest_bytes(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    let topic = format!("{base}/length");
    for body_len in [127, 128, 129, 16_383, 16_384, 16_385] {
        let payload = vec![b'x'; body_len - 2 - topic.len() - 1];
        raw.publish(&PublishSpec::new(&topic, &payload, 0));
        let packet = raw.recv();
        assert_eq!((packet.packet_type(), packet.body.len()), (3, body_len));
    }
    for block_len in [127, 128, 16_383, 16_384] {
        let value = "v".repeat(block_len - 6);
        let props = vec![Prop::Pair(USER_PROPERTY, "n", &value)];
        raw.publish(&PublishSpec { props, ..PublishSpec::new(&topic, b"", 0) });
        let delivered = raw.recv_publish();
        assert_eq!(delivered.props, [OwnedProp::Pair(USER_PROPERTY, "n".to_owned(), value)]);
    }
}

fn broker_writes_subscription_identifiers_in_fewest_bytes(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-subid"));
    for identifier in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
        let topic = lab.unique("data-subid");
        let suback = raw.subscribe_with(&[Prop::Varint(SUBSCRIPTION_IDENTIFIER, identifier)], &[(&topic, 0)]);
        assert_eq!(suback.codes(5), [0]);
        raw.publish(&PublishSpec::new(&topic, b"x", 0));
        assert_eq!(raw.recv_publish().props, [OwnedProp::Varint(SUBSCRIPTION_IDENTIFIER, identifier)]);
    }
}

fn string_pair_with_a_bad_half_is_malformed(lab: &Lab) {
    let bad = [b"\xED\xA0\x80".as_slice(), b"a\0", b"\xC3"];
    let good = wire::string("good");
    for text in bad.map(wire::binary) {
        for pair in [[text.as_slice(), &good], [good.as_slice(), &text]] {
            let block = wire::block(&join(&[&[USER_PROPERTY], pair.concat().as_slice()]));
            let topic = wire::string("t");
            expect_answer(lab, &wire::packet(0x30, &join(&[topic.as_slice(), &block])), MALFORMED);
            expect_answer(lab, &wire::packet(0x82, &join(&[&[0, 1], block.as_slice(), &topic, &[0]])), MALFORMED);
            let id = wire::string("data-bad-pair");
            expect_connect_refused(lab, &wire::connect_of(0x02, &block, &[&id]), MALFORMED);
        }
    }
    // A pair that ends after its name.
    let half = wire::block(&join(&[&[USER_PROPERTY], good.as_slice()]));
    expect_answer(lab, &wire::packet(0x30, &[wire::string("t"), half].concat()), MALFORMED);
}

fn string_pairs_pass_unchanged(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    let pairs = [("", ""), ("name", ""), ("", "value"), ("ä", "😀"), ("name", "again"), ("name", "")];
    let props = pairs.iter().map(|(name, value)| Prop::Pair(USER_PROPERTY, name, value)).collect();
    let topic = format!("{base}/pairs");
    raw.publish(&PublishSpec { props, ..PublishSpec::new(&topic, b"x", 0) });
    let expected: Vec<OwnedProp> = pairs
        .iter()
        .map(|(name, value)| OwnedProp::Pair(USER_PROPERTY, (*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(raw.recv_publish().props, expected);
}

fn reserved_flags_are_checked(lab: &Lab) {
    // PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT and AUTH with every wrong flag set.
    let bodies = [
        (0x40, "00 01"),
        (0x50, "00 01"),
        (0x62, "00 01"),
        (0x70, "00 01"),
        (0x82, "00 01 00 00 01 61 00"),
        (0xA2, "00 01 00 00 01 61"),
        (0xC0, ""),
        (0xE0, ""),
        (0xF0, ""),
    ];
    for (right, body) in bodies {
        for flags in (0..16).filter(|flags| *flags != right & 0x0F) {
            expect_answer(lab, &wire::packet((right & 0xF0) | flags, &wire::hex(body)), MALFORMED);
        }
    }
    // Before the version is known the answer may be a close alone.
    for flags in 1..16 {
        let mut connect = ConnectSpec::v5("data-flags").to_bytes();
        if let Some(first) = connect.first_mut() {
            *first |= flags;
        }
        let mut raw = lab.broker().raw();
        raw.send(&connect);
        for packet in raw.try_recv_closed() {
            assert_eq!((packet.packet_type(), packet.reason(5)), (2, MALFORMED), "{packet:?}");
        }
    }
}

fn broker_sets_reserved_flags_as_listed(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-flags"));
    let topic = lab.unique("data-flags");
    assert_eq!(raw.connack.first, 0x20);
    assert_eq!(raw.subscribe_with(&[], &[(&topic, 2)]).first, 0x90);
    raw.send_publish(&PublishSpec { packet_id: 7, ..PublishSpec::new(&topic, b"x", 1) });
    let delivered = raw.recv_until("PUBLISH", |packet| packet.packet_type() == 3);
    assert_eq!(delivered.first, 0x32);
    assert_eq!(raw.recv_until("PUBACK", |packet| packet.packet_type() == 4).first, 0x40);
    raw.send_publish(&PublishSpec { packet_id: 8, ..PublishSpec::new(&topic, b"x", 2) });
    assert_eq!(raw.recv_until("PUBREC", |packet| packet.packet_type() == 5).first, 0x50);
    raw.send(&wire::ack(0x62, 5, 8, None));
    assert_eq!(raw.recv_until("PUBCOMP", |packet| packet.packet_type() == 7).first, 0x70);
    let delivered = raw.recv_publish();
    raw.send(&wire::ack(0x50, 5, delivered.packet_id, None));
    assert_eq!(raw.recv_until("PUBREL", |packet| packet.packet_type() == 6).first, 0x62);
    raw.send(&wire::unsubscribe(5, 9, &[], &[&topic]));
    assert_eq!(raw.recv().first, 0xB0);
    raw.send_hex("c0 00");
    assert_eq!(raw.recv().first, 0xD0);
    raw.send_hex("c0 01 00");
    let packets = raw.try_recv_closed();
    assert_eq!(packets.first().map(|packet| packet.first), Some(0xE0), "{packets:?}");
}

fn packet_type_0_is_malformed(lab: &Lab) {
    for form in ["00 00", "00 02 00 00", "0f 00"] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
}

fn packets_of_servers_are_refused(lab: &Lab) {
    // CONNACK, SUBACK, UNSUBACK, PINGRESP.
    for form in ["20 03 00 00 00", "90 04 00 01 00 00", "b0 04 00 01 00 00", "d0 00"] {
        expect_answer(lab, &wire::hex(form), PROTOCOL_ERROR);
    }
}

fn publish_at_qos_0_has_no_packet_id(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    let topic = format!("{base}/none");
    // What would be a Packet Identifier is the Property Length and the payload.
    raw.send(&wire::packet(0x30, &[wire::string(&topic), wire::hex("00 12 34")].concat()));
    let packet = raw.recv();
    assert_eq!(packet.to_bytes(), wire::packet(0x30, &[wire::string(&topic), wire::hex("00 12 34")].concat()));
    // Published at QoS 1 and granted QoS 0: the identifier does not travel on.
    raw.publish(&PublishSpec { packet_id: 0x1234, ..PublishSpec::new(&topic, b"x", 1) });
    let packet = raw.recv();
    assert_eq!(packet.to_bytes(), wire::packet(0x30, &[wire::string(&topic), wire::hex("00 78")].concat()));
}

fn packet_id_0_is_refused(lab: &Lab) {
    expect_answer(lab, &wire::subscribe(5, 0, &[], &[("t", 0)]), PROTOCOL_ERROR);
    expect_answer(lab, &wire::unsubscribe(5, 0, &[], &["t"]), PROTOCOL_ERROR);
    for qos in [1, 2] {
        let publish = PublishSpec { packet_id: 0, ..PublishSpec::new("t", b"x", qos) };
        expect_answer(lab, &publish.to_bytes(5), PROTOCOL_ERROR);
    }
}

fn broker_assigns_unused_packet_ids(lab: &Lab) {
    const OPEN: usize = 20;
    let topic = lab.unique("data-ids");
    let mut subscriber = lab.broker().v5(&lab.unique("data-ids-sub"));
    assert_eq!(subscriber.subscribe(&[(&topic, 2)]), [2]);
    let mut publisher = lab.broker().v5(&lab.unique("data-ids-pub"));
    let mut open = Vec::new();
    for round in 0..OPEN {
        publisher.publish(&PublishSpec::new(&topic, b"x", if round % 2 == 0 { 1 } else { 2 }));
        open.push(subscriber.recv_publish());
    }
    let ids: BTreeSet<u16> = open.iter().map(|delivered| delivered.packet_id).collect();
    assert_eq!(ids.len(), OPEN, "a Packet Identifier is in use twice: {ids:?}");
    assert!(!ids.contains(&0), "Packet Identifier 0: {ids:?}");
    let held = open.remove(0);
    for delivered in &open {
        subscriber.ack(delivered);
    }
    for round in 0..200 {
        publisher.publish(&PublishSpec::new(&topic, b"x", if round % 2 == 0 { 1 } else { 2 }));
        let delivered = subscriber.recv_publish();
        assert!(delivered.packet_id != 0 && delivered.packet_id != held.packet_id, "{held:?} is open: {delivered:?}");
        subscriber.ack(&delivered);
    }
}

fn acknowledgements_repeat_the_packet_id(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-acks"));
    let topic = lab.unique("data-acks");
    let ids = |first: u8, packet_id: u16| wire::packet(first, &packet_id.to_be_bytes());
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    for packet_id in [1, 0x0102, 0x7FFF, 0x8000, 0xFFFF] {
        raw.send_publish(&PublishSpec { packet_id, ..PublishSpec::new(&topic, b"x", 1) });
        let delivered = take_delivery(&mut raw);
        assert_eq!(raw.recv_until("PUBACK", |packet| packet.packet_type() == 4).to_bytes(), ids(0x40, packet_id));
        raw.send(&wire::ack(0x40, 5, delivered, None));

        raw.send_publish(&PublishSpec { packet_id, ..PublishSpec::new(&topic, b"x", 2) });
        assert_eq!(raw.recv_until("PUBREC", |packet| packet.packet_type() == 5).to_bytes(), ids(0x50, packet_id));
        raw.send(&wire::ack(0x62, 5, packet_id, None));
        assert_eq!(raw.recv_until("PUBCOMP", |packet| packet.packet_type() == 7).to_bytes(), ids(0x70, packet_id));
        let delivered = take_delivery(&mut raw);
        raw.send(&wire::ack(0x50, 5, delivered, None));
        assert_eq!(raw.recv_until("PUBREL", |packet| packet.packet_type() == 6).to_bytes(), ids(0x62, delivered));
        raw.send(&wire::ack(0x70, 5, delivered, None));
    }
    assert!(raw.ping().is_empty());
}

fn suback_and_unsuback_repeat_the_packet_id(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-subacks"));
    let topic = lab.unique("data-subacks");
    for packet_id in [1, 0x0102, 0x7FFF, 0x8000, 0xFFFF_u16] {
        let id = wire::to_hex(&packet_id.to_be_bytes());
        raw.send(&wire::subscribe(5, packet_id, &[], &[(&topic, 1)]));
        raw.expect_hex(&format!("90 04 {id} 00 01"));
        raw.send(&wire::unsubscribe(5, packet_id, &[], &[&topic]));
        raw.expect_hex(&format!("b0 04 {id} 00 00"));
    }
}

fn broker_writes_property_length_0(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-empty"));
    raw.send_hex("82 07 00 01 00 00 01 7a 01");
    raw.expect_hex("90 04 00 01 00 01");
    raw.send_hex("a2 06 00 02 00 00 01 7a");
    raw.expect_hex("b0 04 00 02 00 00");
    let topic = lab.unique("data-empty");
    assert_eq!(raw.subscribe(&[(&topic, 0)]), [0]);
    raw.publish(&PublishSpec::new(&topic, b"x", 0));
    let expected = [wire::string(&topic), vec![0, b'x']].concat();
    assert_eq!(raw.recv().to_bytes(), wire::packet(0x30, &expected));
}

fn missing_property_length_is_malformed(lab: &Lab) {
    for form in [
        "82 06 00 01 00 01 61 00", // SUBSCRIBE as 3.1.1 has it
        "a2 05 00 01 00 01 61",    // UNSUBSCRIBE as 3.1.1 has it
        "82 02 00 01",             // SUBSCRIBE that ends after its Packet Identifier
        "30 03 00 01 61",          // PUBLISH that ends after its Topic Name
        "32 05 00 01 61 00 01",    // PUBLISH that ends after its Packet Identifier
    ] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
    // CONNECT as 3.1.1 has it, and one that ends after its Keep Alive.
    for form in ["10 0d 00 04 4d 51 54 54 05 02 00 00 00 01 61", "10 0a 00 04 4d 51 54 54 05 02 00 00"] {
        expect_connect_refused(lab, &wire::hex(form), MALFORMED);
    }
}

fn broken_property_blocks_are_malformed(lab: &Lab) {
    for form in [
        "30 05 00 01 61 02 01",          // the block is longer than the packet
        "30 05 00 01 61 01 02",          // Message Expiry Interval without its value
        "30 07 00 01 61 03 02 00 00",    // Message Expiry Interval cut within its value
        "30 07 00 01 61 03 03 00 05",    // Content Type longer than the block
        "30 05 00 01 61 01 7f",          // an identifier that the standard does not have
        "30 06 00 01 61 02 00 00",       // identifier 0
        "30 06 00 01 61 02 80 01",       // an identifier of two bytes
        "40 04 00 01 00 05",             // PUBACK, the block is longer than the packet
        "82 08 00 01 02 0b 01 00 01 61", // SUBSCRIBE without the options of its filter
    ] {
        expect_answer(lab, &wire::hex(form), MALFORMED);
    }
}

fn properties_out_of_place_are_protocol_errors(lab: &Lab) {
    for form in [
        "30 0a 00 01 61 05 11 00 00 00 01 78",    // PUBLISH with Session Expiry Interval
        "30 08 00 01 61 03 21 00 05 78",          // PUBLISH with Receive Maximum
        "82 0a 00 01 03 13 00 05 00 01 61 00",    // SUBSCRIBE with Server Keep Alive
        "e0 05 00 03 21 00 05",                   // DISCONNECT with Receive Maximum
        "30 09 00 01 61 04 01 00 01 00 78",       // Payload Format Indicator twice
        "30 07 00 01 61 02 01 02 78",             // Payload Format Indicator 2
        "82 0b 00 01 04 0b 01 0b 02 00 01 61 00", // Subscription Identifier twice
        "82 09 00 01 02 0b 00 00 01 61 00",       // Subscription Identifier 0
    ] {
        expect_answer(lab, &wire::hex(form), PROTOCOL_ERROR);
    }
}

/// A connection that is subscribed to everything below a topic of its own.
fn looped(lab: &Lab, qos: u8) -> (Raw, String) {
    let base = lab.unique("data");
    let mut raw = lab.broker().v5(&lab.unique("data"));
    assert_eq!(raw.subscribe(&[(&format!("{base}/#"), qos)]), [qos]);
    (raw, base)
}

/// A Session that outlives its connection by a minute.
fn kept(client_id: &str) -> ConnectSpec<'_> {
    ConnectSpec { props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)], ..ConnectSpec::v5(client_id) }
}

/// The Packet Identifier of the delivery that comes, in whatever order with acknowledgements.
fn take_delivery(raw: &mut Raw) -> u16 {
    let packet = raw.recv_until("PUBLISH", |packet| packet.packet_type() == 3);
    crate::Delivered::from_wire(&packet, 5).packet_id
}
