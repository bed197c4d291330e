//! MQTT 3.1.1: SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK. What filters match stands in `v311_topics`.

use super::v311_connect::assert_closes;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, PublishSpec, Raw, WillSpec, wire};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_subscribe_is_answered,
        [
            "v311[MQTT-3.8.4-1]",
            "v311[MQTT-3.8.4-2]",
            "v311[MQTT-2.3.1-7]"
        ]
    ),
    case!(
        v311_subscribe_without_filters_closes,
        ["v311[MQTT-3.8.3-3]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(
        v311_subscribe_with_reserved_options_closes,
        ["v311[MQTT-3.8.3-4]"]
    ),
    case!(
        v311_subscribe_cut_anywhere_closes,
        ["v311[MQTT-3.8.3-3]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(
        v311_suback_has_a_code_for_each_filter_in_order,
        [
            "v311[MQTT-3.8.4-5]",
            "v311[MQTT-3.9.3-1]",
            "v311[MQTT-3.9.3-2]"
        ]
    ),
    case!(
        v311_suback_codes_are_qos_or_failure,
        ["v311[MQTT-3.9.3-2]", "v311[MQTT-3.8.4-5]"]
    ),
    case!(
        v311_subscribe_with_many_filters,
        ["v311[MQTT-3.8.4-4]", "v311[MQTT-3.8.4-5]"]
    ),
    case!(v311_subscribe_again_replaces, ["v311[MQTT-3.8.4-3]"]),
    case!(
        v311_subscribe_again_repeats_retained_messages,
        ["v311[MQTT-3.8.4-3]"]
    ),
    case!(
        v311_subscribe_again_interrupts_no_flow,
        ["v311[MQTT-3.8.4-3]"]
    ),
    case!(
        v311_delivery_qos_is_the_lower_one,
        ["v311[MQTT-3.8.4-6]", "v311[MQTT-4.5.0-1]"]
    ),
    case!(
        v311_overlapping_subscriptions_take_the_highest_qos,
        ["v311[MQTT-3.3.5-1]"]
    ),
    case!(
        v311_subscribers_receive_only_what_matches,
        ["v311[MQTT-3.3.2-3]"]
    ),
    case!(
        v311_unsubscribe_is_answered,
        [
            "v311[MQTT-3.10.4-4]",
            "v311[MQTT-3.10.4-5]",
            "v311[MQTT-2.3.1-7]"
        ]
    ),
    case!(
        v311_unsubscribe_without_filters_closes,
        ["v311[MQTT-3.10.3-2]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(
        v311_unsubscribe_cut_anywhere_closes,
        ["v311[MQTT-3.10.3-1]", "v311[MQTT-4.8.0-1]"]
    ),
    case!(
        v311_unsubscribe_deletes_the_equal_filter_only,
        ["v311[MQTT-3.10.4-1]"]
    ),
    case!(v311_unsubscribe_stops_new_messages, ["v311[MQTT-3.10.4-2]"]),
    case!(
        v311_unsubscribe_with_many_filters,
        ["v311[MQTT-3.10.4-6]", "v311[MQTT-3.10.4-4]"]
    ),
    case!(
        v311_unsubscribe_lets_deliveries_finish,
        ["v311[MQTT-3.10.4-3]"]
    ),
    case!(
        v311_plain_client_needs_no_extension,
        ["v311[MQTT-7.0.0-2]", "v311[MQTT-7.1.1-1]"]
    ),
];

fn v311_subscribe_is_answered(lab: &Lab) {
    let topic = lab.unique("suback");
    let mut raw = lab.broker().v311(&lab.unique("s"));
    for (packet_id, qos) in [(1, 0), (0x0100, 1), (0xFFFF, 2)] {
        raw.send(&wire::subscribe(4, packet_id, &[], &[(&topic, qos)]));
        let suback = raw.recv();
        assert_eq!((suback.first, suback.packet_id()), (0x90, packet_id));
        assert_eq!(suback.codes(4), [qos]);
    }
}

fn v311_subscribe_without_filters_closes(lab: &Lab) {
    assert_closes(lab, &wire::hex("82 02 00 01"));
    assert_closes(lab, &wire::hex("82 00"));
}

fn v311_subscribe_with_reserved_options_closes(lab: &Lab) {
    for options in [
        0x03, 0x04, 0x05, 0x08, 0x10, 0x20, 0x40, 0x80, 0x81, 0xFC, 0xFF,
    ] {
        assert_closes(lab, &wire::subscribe(4, 1, &[], &[("a", options)]));
        assert_closes(
            lab,
            &wire::subscribe(4, 1, &[], &[("a", 1), ("b", options)]),
        );
    }
}

fn v311_subscribe_cut_anywhere_closes(lab: &Lab) {
    let whole = wire::subscribe(4, 1, &[], &[("a/b", 1)]);
    let body = whole.get(2..).unwrap_or_default();
    for cut in 0..body.len() {
        assert_closes(
            lab,
            &wire::packet(0x82, body.get(..cut).unwrap_or_default()),
        );
        // The same behind a whole filter.
        let second = body.get(2..cut).unwrap_or_default();
        if !second.is_empty() {
            assert_closes(lab, &wire::packet(0x82, &[body, second].concat()));
        }
    }
}

fn v311_suback_has_a_code_for_each_filter_in_order(lab: &Lab) {
    let base = lab.unique("order");
    let name = |end: &str| format!("{base}/{end}");
    let mut raw = lab.broker().v311(&lab.unique("s"));
    let filters = [
        (name("a"), 2),
        (name("a#"), 1),
        (name("b"), 0),
        (String::new(), 2),
        (name("+"), 1),
        (name("#/c"), 0),
        (name("#"), 2),
    ];
    let filters: Vec<(&str, u8)> = filters
        .iter()
        .map(|(filter, qos)| (filter.as_str(), *qos))
        .collect();
    assert_eq!(raw.subscribe(&filters), [2, 0x80, 0, 0x80, 1, 0x80, 2]);
    assert!(raw.ping().is_empty());
}

fn v311_suback_codes_are_qos_or_failure(lab: &Lab) {
    let name = lab.unique("code");
    let deep = vec![name.as_str(); 1000].join("/");
    let odd = [
        name.as_str(),
        "",
        "#/a",
        "a+",
        "/",
        "//",
        "$SYS/#",
        "$share",
        "$share/",
        "$share/g",
        "$share/+/a",
        deep.as_str(),
    ];
    let mut raw = lab.broker().v311(&lab.unique("s"));
    for qos in 0..=2 {
        for filter in odd {
            let codes = raw.subscribe(&[(filter, qos)]);
            let [code] = codes.as_slice() else {
                panic!("{filter:?} has codes {codes:?}");
            };
            assert!(
                *code == qos || *code == 0x80,
                "{filter:?} at QoS {qos} is answered by 0x{code:02x}"
            );
        }
    }
    raw.ping();
}

fn v311_subscribe_with_many_filters(lab: &Lab) {
    let base = lab.unique("many");
    let names: Vec<String> = (0..100).map(|number| format!("{base}/{number}")).collect();
    let filters: Vec<(&str, u8)> = names
        .iter()
        .zip((0..=2).cycle())
        .map(|(name, qos)| (name.as_str(), qos))
        .collect();
    let codes: Vec<u8> = filters.iter().map(|(_, qos)| *qos).collect();
    let mut pair = Pair::new(lab, lab.broker(), 0);
    assert_eq!(pair.subscriber.subscribe(&filters), codes);
    for (name, qos) in filters {
        pair.publisher.publish(&PublishSpec::new(name, b"x", 2));
        let delivered = pair.expect(b"x");
        assert_eq!((delivered.topic.as_str(), delivered.qos), (name, qos));
    }
    // Of two equal filters the later counts, as in two packets.
    let twice = lab.unique("twice");
    assert_eq!(
        pair.subscriber.subscribe(&[(&twice, 0), (&twice, 2)]),
        [0, 2]
    );
    pair.publisher.publish(&PublishSpec::new(&twice, b"x", 2));
    assert_eq!(pair.expect(b"x").qos, 2);
    pair.expect_nothing(1);
}

fn v311_subscribe_again_replaces(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 0);
    for qos in [2, 1, 0, 1] {
        let topic = pair.topic.clone();
        assert_eq!(pair.subscriber.subscribe(&[(&topic, qos)]), [qos]);
        pair.publish(b"x", 2);
        assert_eq!(pair.expect(b"x").qos, qos);
        // One Subscription, one delivery.
        pair.expect_nothing(2);
    }
}

fn v311_subscribe_again_repeats_retained_messages(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 1);
    let topic = pair.topic.clone();
    pair.publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"kept", 1)
    });
    assert!(!pair.expect(b"kept").retain);
    for _ in 0..3 {
        assert_eq!(pair.subscriber.subscribe(&[(&topic, 1)]), [1]);
        assert!(pair.expect(b"kept").retain);
    }
}

fn v311_subscribe_again_interrupts_no_flow(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    let topic = pair.topic.clone();
    for number in 0..60_u8 {
        pair.publish(&[number], 2);
        if number % 5 == 0 {
            assert_eq!(pair.subscriber.subscribe(&[(&topic, 2)]), [2]);
        }
    }
    for number in 0..60 {
        pair.expect(&[number]);
    }
    pair.expect_nothing(2);
}

fn v311_delivery_qos_is_the_lower_one(lab: &Lab) {
    for granted in 0..=2_u8 {
        let mut pair = Pair::new(lab, lab.broker(), granted);
        for published in 0..=2 {
            pair.publish(b"x", published);
            let delivered = pair.expect(b"x");
            assert_eq!(
                delivered.qos,
                granted.min(published),
                "published at {published}, granted {granted}"
            );
        }
    }
}

/// 3.1.1 allows a copy for each Subscription. Here there is one, at the highest QoS.
fn v311_overlapping_subscriptions_take_the_highest_qos(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 1);
    let base = lab.unique("overlap");
    let name = |end: &str| format!("{base}{end}");
    let (all, level, exact, deep) = (name("/#"), name("/+"), name("/a"), name("/a/#"));
    let overlapping = [
        (all.as_str(), 0),
        (level.as_str(), 2),
        (exact.as_str(), 1),
        (deep.as_str(), 0),
    ];
    assert_eq!(pair.subscriber.subscribe(&overlapping), [0, 2, 1, 0]);
    for (topic, granted) in [
        (&exact, 2),
        (&name("/b"), 2),
        (&name("/a/b"), 0),
        (&base, 0),
    ] {
        for published in 0..=2_u8 {
            pair.publisher
                .publish(&PublishSpec::new(topic, b"x", published));
            let delivered = pair.expect(b"x");
            assert_eq!(
                (&delivered.topic, delivered.qos),
                (topic, published.min(granted))
            );
            pair.expect_nothing(1);
        }
    }
}

fn v311_subscribers_receive_only_what_matches(lab: &Lab) {
    let base = lab.unique("match");
    let topics = ["/a", "/b", "/a/b", "/a/c", ""].map(|end| format!("{base}{end}"));
    let mut publisher = lab.broker().v311(&lab.unique("p"));
    let filters: [(&str, &[&str]); 6] = [
        ("/a", &["/a"]),
        ("/+", &["/a", "/b"]),
        ("/a/+", &["/a/b", "/a/c"]),
        ("/#", &["/a", "/b", "/a/b", "/a/c", ""]),
        ("/+/b", &["/a/b"]),
        ("/c", &[]),
    ];
    let marker = lab.unique("marker");
    let mut subscribers: Vec<Raw> = Vec::new();
    for (filter, _) in filters {
        let mut subscriber = lab.broker().v311(&lab.unique("s"));
        let filter = format!("{base}{filter}");
        assert_eq!(subscriber.subscribe(&[(&filter, 1), (&marker, 1)]), [1, 1]);
        subscribers.push(subscriber);
    }
    for topic in topics.iter().chain([&marker]) {
        publisher.publish(&PublishSpec::new(topic, b"x", 1));
    }
    for ((filter, matching), subscriber) in filters.iter().zip(&mut subscribers) {
        for end in *matching {
            assert_eq!(
                subscriber.recv_publish().topic,
                format!("{base}{end}"),
                "{filter:?}"
            );
        }
        assert_eq!(subscriber.recv_publish().topic, marker, "{filter:?}");
    }
}

fn v311_unsubscribe_is_answered(lab: &Lab) {
    let (topic, unknown) = (lab.unique("unsuback"), lab.unique("unsuback"));
    let mut raw = lab.broker().v311(&lab.unique("s"));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    for packet_id in [1_u16, 0x0100, 0xFFFF] {
        for filters in [[&topic, &unknown], [&unknown, &unknown]] {
            let filters: Vec<&str> = filters.iter().map(|filter| filter.as_str()).collect();
            raw.send(&wire::unsubscribe(4, packet_id, &[], &filters));
            let id = wire::to_hex(&packet_id.to_be_bytes());
            raw.expect_hex(&format!("b0 02 {id}"));
        }
    }
}

fn v311_unsubscribe_without_filters_closes(lab: &Lab) {
    assert_closes(lab, &wire::hex("a2 02 00 01"));
    assert_closes(lab, &wire::hex("a2 00"));
}

fn v311_unsubscribe_cut_anywhere_closes(lab: &Lab) {
    let whole = wire::unsubscribe(4, 1, &[], &["a/b"]);
    let body = whole.get(2..).unwrap_or_default();
    for cut in 0..body.len() {
        assert_closes(
            lab,
            &wire::packet(0xA2, body.get(..cut).unwrap_or_default()),
        );
    }
    // A byte between two filters, and one behind the last.
    assert_closes(lab, &wire::hex("a2 09 00 01 00 01 61 00 00 01 62"));
    assert_closes(lab, &wire::hex("a2 06 00 01 00 01 61 00"));
}

fn v311_unsubscribe_deletes_the_equal_filter_only(lab: &Lab) {
    let base = lab.unique("equal");
    let name = |end: &str| format!("{base}{end}");
    let (level, exact) = (name("/+"), name("/a"));
    let mut pair = Pair::new(lab, lab.broker(), 1);
    assert_eq!(
        pair.subscriber.subscribe(&[(&level, 1), (&exact, 2)]),
        [1, 2]
    );
    // None of these is the text of a Subscription, whatever it matches or is matched by.
    for other in [
        name("/#"),
        name("/b"),
        name("/A"),
        name("/a/"),
        name("/a/#"),
        base.clone(),
    ] {
        pair.subscriber.unsubscribe(&[&other]);
        pair.publisher.publish(&PublishSpec::new(&exact, b"x", 2));
        assert_eq!(pair.expect(b"x").qos, 2, "{other:?} deleted a Subscription");
        pair.publisher
            .publish(&PublishSpec::new(&name("/b"), b"x", 2));
        assert_eq!(pair.expect(b"x").qos, 1, "{other:?} deleted a Subscription");
    }
    pair.subscriber.unsubscribe(&[&level]);
    pair.publisher
        .publish(&PublishSpec::new(&name("/b"), b"x", 2));
    pair.expect_nothing(2);
    pair.publisher.publish(&PublishSpec::new(&exact, b"x", 2));
    assert_eq!(pair.expect(b"x").qos, 2);
}

fn v311_unsubscribe_stops_new_messages(lab: &Lab) {
    for qos in 0..=2 {
        let mut pair = Pair::new(lab, lab.broker(), 2);
        let topic = lab.unique("ended");
        assert_eq!(pair.subscriber.subscribe(&[(&topic, qos)]), [qos]);
        pair.publisher
            .publish(&PublishSpec::new(&topic, b"before", qos));
        pair.expect(b"before");
        pair.subscriber.unsubscribe(&[&topic]);
        pair.publisher
            .publish(&PublishSpec::new(&topic, b"after", qos));
        pair.expect_nothing(qos);
    }
}

fn v311_unsubscribe_with_many_filters(lab: &Lab) {
    let base = lab.unique("many");
    let names: Vec<String> = (0..100).map(|number| format!("{base}/{number}")).collect();
    let filters: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut pair = Pair::new(lab, lab.broker(), 1);
    assert_eq!(pair.subscriber.subscribe(&filters), vec![1_u8; names.len()]);
    let ended: Vec<&str> = names.iter().step_by(2).map(String::as_str).collect();
    pair.subscriber.unsubscribe(&ended);
    for (number, name) in names.iter().enumerate() {
        pair.publisher.publish(&PublishSpec::new(name, b"x", 1));
        if number % 2 == 1 {
            assert_eq!(&pair.expect(b"x").topic, name);
        }
    }
    pair.expect_nothing(1);
}

fn v311_unsubscribe_lets_deliveries_finish(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    pair.publish(b"first", 2);
    pair.publish(b"other", 2);
    let first = pair.subscriber.recv_publish();
    let other = pair.subscriber.recv_publish();
    // One is at PUBREL already, the other has not been answered at all.
    pair.subscriber
        .send(&wire::ack(0x50, 4, first.packet_id, None));
    pair.subscriber
        .expect_hex(&wire::to_hex(&wire::ack(0x62, 4, first.packet_id, None)));
    let topic = pair.topic.clone();
    pair.subscriber.unsubscribe(&[&topic]);
    pair.subscriber
        .send(&wire::ack(0x70, 4, first.packet_id, None));
    pair.subscriber.ack(&other);
    assert_eq!(
        (first.payload.as_slice(), other.payload.as_slice()),
        (b"first".as_slice(), b"other".as_slice())
    );
    assert!(pair.subscriber.ping().is_empty());
}

/// Everything that a client can do, with nothing but what the standard names, over plain TCP.
fn v311_plain_client_needs_no_extension(lab: &Lab) {
    let (id, topic, gone) = (
        lab.unique("plain"),
        lab.unique("plain"),
        lab.unique("plain-gone"),
    );
    let mut other = lab.broker().v311(&lab.unique("plain-other"));
    assert_eq!(other.subscribe(&[(&topic, 2), (&gone, 1)]), [2, 1]);
    let will = Some(WillSpec {
        qos: 1,
        ..WillSpec::new(&gone, b"gone")
    });
    let mut raw = lab.broker().connect(&ConnectSpec {
        keep_alive: 60,
        will,
        ..ConnectSpec::v311(&id)
    });
    assert!(!raw.session_present());
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    for qos in 0..=2 {
        raw.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(&topic, b"hello", qos)
        });
        for receiver in [&mut raw, &mut other] {
            let delivered = receiver.recv_publish();
            assert_eq!(
                (delivered.qos, delivered.payload.as_slice()),
                (qos, b"hello".as_slice())
            );
            receiver.ack(&delivered);
        }
    }
    raw.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"", 1)
    });
    assert_eq!(other.recv_publish().payload, b"");
    raw.unsubscribe(&[&topic]);
    raw.drop_connection();
    assert_eq!(other.recv_publish().payload, b"gone");
    other.disconnect();
}
