//! Data representation, that is strings, integers and pairs: chapter 1 of MQTT 5.0.
//!
//! Each malformed form goes to the broker on a connection of its own and must be answered with its Reason Code.

use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, wire};

const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const USER_PROPERTY: u8 = 0x26;

const MALFORMED: u8 = 0x81;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(ill_formed_utf8_is_malformed, ["v5[MQTT-1.5.4-1]"]),
    case!(
        ill_formed_utf8_in_connect_is_malformed,
        ["v5[MQTT-1.5.4-1]"]
    ),
    case!(
        every_well_formed_text_passes_unchanged,
        ["v5[MQTT-1.5.4-1]"]
    ),
    case!(null_character_is_malformed, ["v5[MQTT-1.5.4-2]"]),
    case!(null_character_in_connect_is_malformed, ["v5[MQTT-1.5.4-2]"]),
    case!(
        byte_order_mark_stays_in_topics_and_properties,
        ["v5[MQTT-1.5.4-3]"]
    ),
    case!(
        byte_order_mark_stays_in_client_identifiers,
        ["v5[MQTT-1.5.4-3]"]
    ),
    case!(varint_longer_than_needed_is_malformed, ["v5[MQTT-1.5.5-1]"]),
    case!(
        varint_longer_than_needed_in_connect_is_refused,
        ["v5[MQTT-1.5.5-1]"]
    ),
    case!(varint_of_five_bytes_is_malformed, ["v5[MQTT-1.5.5-1]"]),
    case!(broker_writes_lengths_in_fewest_bytes, ["v5[MQTT-1.5.5-1]"]),
    case!(
        broker_writes_subscription_identifiers_in_fewest_bytes,
        ["v5[MQTT-1.5.5-1]"]
    ),
    case!(
        string_pair_with_a_bad_half_is_malformed,
        ["v5[MQTT-1.5.7-1]"]
    ),
    case!(string_pairs_pass_unchanged, ["v5[MQTT-1.5.7-1]"]),
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
    let named = wire::block(&join(&[
        &[USER_PROPERTY],
        text.as_slice(),
        &wire::string("v"),
    ]));
    let valued = wire::block(&join(&[
        &[USER_PROPERTY],
        wire::string("n").as_slice(),
        &text,
    ]));
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
    let (id, topic, payload) = (
        wire::string("data-bad-connect"),
        wire::string("t"),
        wire::binary(b"p"),
    );
    let named = wire::block(&join(&[
        &[USER_PROPERTY],
        text.as_slice(),
        &wire::string("v"),
    ]));
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

/// This packet, sent on a connection of its own, is answered by DISCONNECT with this reason.
pub(super) fn expect_answer(lab: &Lab, bytes: &[u8], reason: u8) {
    let mut raw = lab.broker().v5(&lab.unique("data"));
    raw.send(bytes);
    raw.expect_disconnect(reason);
}

/// This CONNECT is refused with this reason.
pub(super) fn expect_connect_refused(lab: &Lab, bytes: &[u8], reason: u8) {
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
    for packet in [b"\0".as_slice(), b"a\0b", b"a\0"]
        .into_iter()
        .flat_map(packets_with)
    {
        expect_answer(lab, &packet, MALFORMED);
    }
}

fn null_character_in_connect_is_malformed(lab: &Lab) {
    for packet in [b"\0".as_slice(), b"a\0b"]
        .into_iter()
        .flat_map(connects_with)
    {
        expect_connect_refused(lab, &packet, MALFORMED);
    }
}

fn every_well_formed_text_passes_unchanged(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    // One to four bytes, the borders of the surrogates, combined and precomposed forms, what looks like an escape.
    for text in [
        "a b",
        "é",
        "e\u{301}",
        "\u{D7FF}\u{E000}",
        "漢字",
        "\u{FFFD}",
        "😀",
        "%2F\\u0041",
    ] {
        let topic = format!("{base}/{text}");
        let props = vec![
            Prop::Str(CONTENT_TYPE, text),
            Prop::Str(RESPONSE_TOPIC, text),
        ];
        raw.publish(&PublishSpec {
            props,
            ..PublishSpec::new(&topic, text.as_bytes(), 0)
        });
        let delivered = raw.recv_publish();
        assert_eq!(delivered.topic, topic);
        assert_eq!(delivered.payload, text.as_bytes());
        assert_eq!(
            delivered.prop(CONTENT_TYPE),
            Some(&OwnedProp::Str(CONTENT_TYPE, text.to_owned()))
        );
        assert_eq!(
            delivered.prop(RESPONSE_TOPIC),
            Some(&OwnedProp::Str(RESPONSE_TOPIC, text.to_owned()))
        );
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
    for (topic, payload) in [
        (&plain, "plain"),
        (&marked, "marked"),
        (&plain, "end"),
        (&marked, "end"),
    ] {
        let props = vec![
            Prop::Str(CONTENT_TYPE, "\u{FEFF}x"),
            Prop::Pair(USER_PROPERTY, "\u{FEFF}", "y\u{FEFF}"),
        ];
        publisher.publish(&PublishSpec {
            props,
            ..PublishSpec::new(topic, payload.as_bytes(), 0)
        });
    }
    for (subscriber, topic, payloads) in [
        (&mut marked_only, &marked, ["marked", "end"]),
        (&mut plain_only, &plain, ["plain", "end"]),
    ] {
        for payload in payloads {
            let delivered = subscriber.recv_publish();
            assert_eq!(
                (&delivered.topic, delivered.payload.as_slice()),
                (topic, payload.as_bytes())
            );
            assert_eq!(
                delivered.prop(CONTENT_TYPE).map(OwnedProp::text),
                Some("\u{FEFF}x")
            );
            let pair =
                OwnedProp::Pair(USER_PROPERTY, "\u{FEFF}".to_owned(), "y\u{FEFF}".to_owned());
            assert_eq!(delivered.prop(USER_PROPERTY), Some(&pair));
        }
    }
}

fn byte_order_mark_stays_in_client_identifiers(lab: &Lab) {
    let plain = lab.unique("bom-id");
    let marked = format!("\u{FEFF}{plain}");
    lab.broker().connect(&kept(&marked)).disconnect();
    let other = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..kept(&plain)
    });
    assert!(
        !other.session_present(),
        "a Client Identifier without U+FEFF found the Session of one with it"
    );
    let same = lab.broker().connect(&ConnectSpec {
        clean: false,
        ..kept(&marked)
    });
    assert!(
        same.session_present(),
        "the Session of a Client Identifier with U+FEFF was not found"
    );
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
    expect_connect_refused(
        lab,
        &wire::connect_of(0x02, &[0x80, 0x00], &[&id]),
        MALFORMED,
    );
    expect_connect_refused(
        lab,
        &wire::connect_of(0x02, &[0x83, 0x00, 0x21, 0x00, 0x01], &[&id]),
        MALFORMED,
    );
    // The fixed header says it before the version is known, so the answer may be a close alone.
    let mut raw = lab.broker().raw();
    raw.send_hex("10 8e 00 00 04 4d 51 54 54 05 02 00 00 00 00 01 61");
    for packet in raw.try_recv_closed() {
        assert_eq!(
            (packet.packet_type(), packet.reason(5)),
            (2, MALFORMED),
            "{packet:?}"
        );
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
    expect_connect_refused(
        lab,
        &wire::connect_of(0x02, &[0x80, 0x80, 0x80, 0x80, 0x00], &[&id]),
        MALFORMED,
    );
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
        raw.publish(&PublishSpec {
            props,
            ..PublishSpec::new(&topic, b"", 0)
        });
        let delivered = raw.recv_publish();
        assert_eq!(
            delivered.props,
            [OwnedProp::Pair(USER_PROPERTY, "n".to_owned(), value)]
        );
    }
}

fn broker_writes_subscription_identifiers_in_fewest_bytes(lab: &Lab) {
    let mut raw = lab.broker().v5(&lab.unique("data-subid"));
    for identifier in [
        1,
        127,
        128,
        16_383,
        16_384,
        2_097_151,
        2_097_152,
        268_435_455,
    ] {
        let topic = lab.unique("data-subid");
        let suback = raw.subscribe_with(
            &[Prop::Varint(SUBSCRIPTION_IDENTIFIER, identifier)],
            &[(&topic, 0)],
        );
        assert_eq!(suback.codes(5), [0]);
        raw.publish(&PublishSpec::new(&topic, b"x", 0));
        assert_eq!(
            raw.recv_publish().props,
            [OwnedProp::Varint(SUBSCRIPTION_IDENTIFIER, identifier)]
        );
    }
}

fn string_pair_with_a_bad_half_is_malformed(lab: &Lab) {
    let bad = [b"\xED\xA0\x80".as_slice(), b"a\0", b"\xC3"];
    let good = wire::string("good");
    for text in bad.map(wire::binary) {
        for pair in [[text.as_slice(), &good], [good.as_slice(), &text]] {
            let block = wire::block(&join(&[&[USER_PROPERTY], pair.concat().as_slice()]));
            let topic = wire::string("t");
            expect_answer(
                lab,
                &wire::packet(0x30, &join(&[topic.as_slice(), &block])),
                MALFORMED,
            );
            expect_answer(
                lab,
                &wire::packet(0x82, &join(&[&[0, 1], block.as_slice(), &topic, &[0]])),
                MALFORMED,
            );
            let id = wire::string("data-bad-pair");
            expect_connect_refused(lab, &wire::connect_of(0x02, &block, &[&id]), MALFORMED);
        }
    }
    // A pair that ends after its name.
    let half = wire::block(&join(&[&[USER_PROPERTY], good.as_slice()]));
    expect_answer(
        lab,
        &wire::packet(0x30, &[wire::string("t"), half].concat()),
        MALFORMED,
    );
}

fn string_pairs_pass_unchanged(lab: &Lab) {
    let (mut raw, base) = looped(lab, 0);
    let pairs = [
        ("", ""),
        ("name", ""),
        ("", "value"),
        ("ä", "😀"),
        ("name", "again"),
        ("name", ""),
    ];
    let props = pairs
        .iter()
        .map(|(name, value)| Prop::Pair(USER_PROPERTY, name, value))
        .collect();
    let topic = format!("{base}/pairs");
    raw.publish(&PublishSpec {
        props,
        ..PublishSpec::new(&topic, b"x", 0)
    });
    let expected: Vec<OwnedProp> = pairs
        .iter()
        .map(|(name, value)| {
            OwnedProp::Pair(USER_PROPERTY, (*name).to_owned(), (*value).to_owned())
        })
        .collect();
    assert_eq!(raw.recv_publish().props, expected);
}

/// A connection that is subscribed to everything below a topic of its own.
pub(super) fn looped(lab: &Lab, qos: u8) -> (Raw, String) {
    let base = lab.unique("data");
    let mut raw = lab.broker().v5(&lab.unique("data"));
    assert_eq!(raw.subscribe(&[(&format!("{base}/#"), qos)]), [qos]);
    (raw, base)
}

/// A Session that outlives its connection by a minute.
fn kept(client_id: &str) -> ConnectSpec<'_> {
    ConnectSpec {
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)],
        ..ConnectSpec::v5(client_id)
    }
}
