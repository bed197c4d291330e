//! MQTT 3.1.1: Topic Names, Topic Filters, and which of them match: section 4.7.
//!
//! Filters whose first level is a wildcard would see the traffic of other cases on the shared broker, so their cases
//! have a broker of their own.

use super::v311_connect::{ILL_FORMED, assert_closes, packet_of};
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{Broker, Lab, PublishSpec, Raw, wire};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_topic_name_is_utf8,
        ["v311[MQTT-1.5.3-1]", "v311[MQTT-3.3.2-1]"]
    ),
    case!(
        v311_topic_name_has_no_null,
        ["v311[MQTT-1.5.3-2]", "v311[MQTT-4.7.3-2]"]
    ),
    case!(
        v311_topic_name_has_no_wildcard,
        ["v311[MQTT-3.3.2-2]", "v311[MQTT-4.7.1-1]"]
    ),
    case!(v311_topic_name_is_not_empty, ["v311[MQTT-4.7.3-1]"]),
    case!(
        v311_topic_name_keeps_its_byte_order_mark,
        ["v311[MQTT-1.5.3-3]", "v311[MQTT-4.7.3-4]"]
    ),
    case!(v311_topic_name_of_65535_bytes, ["v311[MQTT-4.7.3-3]"]),
    case!(
        v311_topic_filter_is_utf8,
        [
            "v311[MQTT-1.5.3-1]",
            "v311[MQTT-3.8.3-1]",
            "v311[MQTT-3.10.3-1]"
        ]
    ),
    case!(
        v311_topic_filter_has_no_null,
        [
            "v311[MQTT-1.5.3-2]",
            "v311[MQTT-4.7.3-2]",
            "v311[MQTT-3.8.3-1]",
            "v311[MQTT-3.10.3-1]"
        ]
    ),
    case!(v311_topic_filter_is_not_empty, ["v311[MQTT-4.7.3-1]"]),
    case!(v311_topic_filter_of_65535_bytes, ["v311[MQTT-4.7.3-3]"]),
    case!(
        v311_multi_level_wildcard_is_alone_and_last,
        ["v311[MQTT-4.7.1-2]"]
    ),
    case!(v311_single_level_wildcard_is_alone, ["v311[MQTT-4.7.1-3]"]),
    case!(
        v311_multi_level_wildcard_matches,
        ["v311[MQTT-4.7.1-2]", "v311[MQTT-3.3.2-3]"]
    ),
    case!(
        v311_single_level_wildcard_matches,
        ["v311[MQTT-4.7.1-3]", "v311[MQTT-3.3.2-3]"]
    ),
    case!(
        v311_leading_wildcard_hides_dollar_topics,
        ["v311[MQTT-4.7.2-1]"]
    ),
    case!(
        v311_names_are_compared_as_they_are,
        ["v311[MQTT-4.7.3-4]", "v311[MQTT-3.3.2-3]"]
    ),
];

fn v311_topic_name_is_utf8(lab: &Lab) {
    for bytes in ILL_FORMED {
        let bad = wire::binary(bytes);
        assert_closes(lab, &packet_of(0x30, &[&bad, b"x"]));
        assert_closes(lab, &packet_of(0x32, &[&bad, &[0, 1], b"x"]));
        assert_closes(lab, &packet_of(0x34, &[&bad, &[0, 1], b"x"]));
    }
}

fn v311_topic_name_has_no_null(lab: &Lab) {
    for name in ["\0", "a\0", "\0a", "a/\0/b"] {
        for qos in 0..=2 {
            assert_closes(lab, &PublishSpec::new(name, b"x", qos).to_bytes(4));
        }
    }
}

fn v311_topic_name_has_no_wildcard(lab: &Lab) {
    for name in ["#", "+", "a/#", "a/+/b", "a+", "#a", "a/b+c", "a#/b"] {
        for qos in 0..=2 {
            assert_closes(lab, &PublishSpec::new(name, b"x", qos).to_bytes(4));
        }
    }
}

fn v311_topic_name_is_not_empty(lab: &Lab) {
    for qos in 0..=2 {
        assert_closes(lab, &PublishSpec::new("", b"x", qos).to_bytes(4));
    }
}

fn v311_topic_name_keeps_its_byte_order_mark(lab: &Lab) {
    let base = lab.unique("mark");
    let (marked, plain) = (format!("{base}/\u{feff}a"), format!("{base}/a"));
    let mut publisher = lab.broker().v311(&lab.unique("p"));
    let mut subscriber = lab.broker().v311(&lab.unique("s"));
    assert_eq!(subscriber.subscribe(&[(&marked, 1)]), [1]);
    publisher.publish(&PublishSpec::new(&plain, b"plain", 1));
    publisher.publish(&PublishSpec::new(&marked, b"marked", 1));
    let delivered = subscriber.recv_publish();
    assert_eq!(
        (delivered.topic, delivered.payload.as_slice()),
        (marked, b"marked".as_slice())
    );
    // The mark is a character of the Client Identifier as of any string.
    let id = lab.unique("mark");
    let mut unmarked = lab.broker().v311(&id);
    assert!(
        lab.broker()
            .v311(&format!("\u{feff}{id}"))
            .ping()
            .is_empty()
    );
    assert!(
        unmarked.ping().is_empty(),
        "a Client Identifier lost its mark"
    );
}

fn v311_topic_name_of_65535_bytes(lab: &Lab) {
    let start = lab.unique("long");
    let name = format!("{start}{}", "a".repeat(65_535 - start.len()));
    let mut pair = Pair::with_topic(lab, lab.broker(), name, 1);
    pair.publish(b"x", 1);
    let delivered = pair.expect(b"x");
    assert!(
        delivered.topic == pair.topic,
        "a Topic Name of {} bytes",
        delivered.topic.len()
    );
}

fn v311_topic_filter_is_utf8(lab: &Lab) {
    let good = wire::string("a");
    for bytes in ILL_FORMED {
        let bad = wire::binary(bytes);
        assert_closes(lab, &packet_of(0x82, &[&[0, 1], &bad, &[0]]));
        assert_closes(lab, &packet_of(0x82, &[&[0, 1], &good, &[0], &bad, &[0]]));
        assert_closes(lab, &packet_of(0xA2, &[&[0, 1], &bad]));
        assert_closes(lab, &packet_of(0xA2, &[&[0, 1], &good, &bad]));
    }
}

fn v311_topic_filter_has_no_null(lab: &Lab) {
    for filter in ["\0", "a\0", "\0/#", "+/\0"] {
        assert_closes(lab, &wire::subscribe(4, 1, &[], &[("a", 0), (filter, 0)]));
        assert_closes(lab, &wire::unsubscribe(4, 1, &[], &["a", filter]));
    }
}

fn v311_topic_filter_is_not_empty(lab: &Lab) {
    let mut client = lab.broker().v311(&lab.unique("empty"));
    let filter = lab.unique("empty");
    assert_eq!(client.subscribe(&[("", 0)]), [0x80]);
    assert_eq!(
        client.subscribe(&[(&filter, 1), ("", 1), (&filter, 2)]),
        [1, 0x80, 2]
    );
    client.unsubscribe(&["", &filter]);
    assert!(client.ping().is_empty());
}

fn v311_topic_filter_of_65535_bytes(lab: &Lab) {
    let start = lab.unique("long");
    let name = format!("{start}/{}", "a".repeat(65_535 - start.len() - 1));
    let mut pair = Pair::new(lab, lab.broker(), 1);
    assert_eq!(pair.subscriber.subscribe(&[(&name, 1)]), [1]);
    pair.publisher
        .publish(&PublishSpec::new(&name, b"longest", 1));
    pair.expect(b"longest");
    pair.subscriber.unsubscribe(&[&name]);
    pair.publisher
        .publish(&PublishSpec::new(&name, b"longest", 1));
    pair.expect_nothing(1);
}

fn v311_multi_level_wildcard_is_alone_and_last(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut client = broker.v311(&lab.unique("c"));
    for filter in ["#", "a/#", "/#", "a/b/#", "+/#", "a//#", "$a/#"] {
        assert_eq!(client.subscribe(&[(filter, 1)]), [1], "{filter:?}");
    }
    for filter in [
        "a#", "#a", "a/#/b", "#/", "#/a", "##", "#/#", "a/b#", "a/#b", "+#", "a/##",
    ] {
        assert_eq!(client.subscribe(&[(filter, 1)]), [0x80], "{filter:?}");
    }
    assert!(client.ping().is_empty());
}

fn v311_single_level_wildcard_is_alone(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut client = broker.v311(&lab.unique("c"));
    for filter in [
        "+", "+/", "/+", "+/a", "a/+", "a/+/b", "+/+/+", "+/a/#", "a/+/#", "$a/+",
    ] {
        assert_eq!(client.subscribe(&[(filter, 2)]), [2], "{filter:?}");
    }
    for filter in [
        "a+", "+a", "a+b", "a/b+", "a/+b/c", "a/b+/c", "++", "a/++", "/+a",
    ] {
        assert_eq!(client.subscribe(&[(filter, 2)]), [0x80], "{filter:?}");
    }
    assert!(client.ping().is_empty());
}

fn v311_multi_level_wildcard_matches(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    let below = [
        "sport/tennis/player1",
        "sport/tennis/player1/ranking",
        "sport/tennis/player1/score/wimbledon",
    ];
    let beside = [
        "sport/tennis/player",
        "sport/tennis/player11",
        "sport/tennis",
        "/sport/tennis/player1",
    ];
    matcher.check("sport/tennis/player1/#", &below, &beside);
    matcher.check(
        "sport/#",
        &["sport", "sport/", "sport//", "sport/a/b/c"],
        &["sports", "Sport", "/sport"],
    );
    matcher.check("/#", &["/", "/a", "/a/b", "//"], &["a", "a/b"]);
    // `#` has the marker too, once.
    matcher.check("#", &["a", "/", "a/b/c", "//", " "], &["$a", "$a/b"]);
}

fn v311_single_level_wildcard_matches(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    let deeper = [
        "sport/tennis/player1/ranking",
        "sport/tennis",
        "sport/player1",
    ];
    matcher.check(
        "sport/tennis/+",
        &["sport/tennis/player1", "sport/tennis/"],
        &deeper,
    );
    matcher.check(
        "sport/+",
        &["sport/", "sport/a"],
        &["sport", "sport//", "sport/a/"],
    );
    matcher.check("+/+", &["/finance", "a/b", "/"], &["finance", "/a/b", "//"]);
    matcher.check("/+", &["/finance", "/"], &["finance", "a/finance"]);
    matcher.check(
        "sport/+/player1",
        &["sport/tennis/player1", "sport//player1"],
        &["sport/player1"],
    );
    matcher.check(
        "+/tennis/#",
        &["sport/tennis", "/tennis", "a/tennis/b/c"],
        &["tennis", "a/b/tennis"],
    );
}

fn v311_leading_wildcard_hides_dollar_topics(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    matcher.check("#", &["a$/b", "a/$b"], &["$", "$test", "$test/b"]);
    matcher.check(
        "+/monitor/clients",
        &["a/monitor/clients"],
        &["$test/monitor/clients"],
    );
    matcher.check("+", &["a$"], &["$", "$test"]);
    matcher.check("+/#", &["a/$test"], &["$test", "$test/b"]);
    matcher.check(
        "$test/#",
        &["$test", "$test/a", "$test/a/b"],
        &["test/a", "$tests/a"],
    );
    matcher.check("$test/+/b", &["$test/a/b"], &["$test/b"]);
    // Nor are they found among the retained messages.
    let retained = PublishSpec {
        retain: true,
        ..PublishSpec::new("$test/kept", b"kept", 1)
    };
    matcher.publisher.publish(&retained);
    for (filter, expected) in [("#", 0), ("+/kept", 0), ("$test/+", 1), ("$test/#", 1)] {
        let mut late = broker.v311(&lab.unique("late"));
        assert_eq!(late.subscribe(&[(filter, 0)]), [0]);
        for _ in 0..expected {
            assert_eq!(late.recv_publish().topic, "$test/kept");
        }
        assert!(
            late.ping().is_empty(),
            "{filter:?} has more than {expected} retained messages"
        );
    }
}

fn v311_names_are_compared_as_they_are(lab: &Lab) {
    let mut matcher = Matcher::new(lab, lab.broker());
    let base = lab.unique("Norm");
    // A filter, and a name that some software would hold to be the same.
    for (one, other) in [
        ("\u{e9}", "e\u{301}"),
        ("ACCOUNTS", "Accounts"),
        ("Ä", "ä"),
        ("a/b", "a//b"),
        ("a", "a/"),
        ("a/../b", "b"),
        ("a b", "a%20b"),
        ("a", " a"),
        ("\u{ff41}", "a"),
        ("\u{fb01}", "fi"),
        ("a\u{ad}b", "ab"),
        ("a\\b", "a/b"),
        ("\u{fffd}", "?"),
    ] {
        let (one, other) = (format!("{base}/{one}"), format!("{base}/{other}"));
        matcher.check(&one, &[&one], &[&other]);
        matcher.check(&other, &[&other], &[&one]);
    }
}

/// A publisher, and a subscriber that holds a marker's topic, to see what comes before the marker.
struct Matcher {
    publisher: Raw,
    subscriber: Raw,
    marker: String,
}

impl Matcher {
    #[track_caller]
    fn new(lab: &Lab, broker: &Broker) -> Matcher {
        let marker = lab.unique("marker");
        let publisher = broker.v311(&lab.unique("p"));
        let mut subscriber = broker.v311(&lab.unique("s"));
        assert_eq!(subscriber.subscribe(&[(&marker, 1)]), [1]);
        Matcher {
            publisher,
            subscriber,
            marker,
        }
    }

    /// Subscribes to `filter` alone, and looks at each of these Topic Names.
    #[track_caller]
    fn check(&mut self, filter: &str, matching: &[&str], others: &[&str]) {
        assert_eq!(self.subscriber.subscribe(&[(filter, 1)]), [1], "{filter:?}");
        for name in matching {
            assert!(self.receives(name), "{filter:?} does not match {name:?}");
        }
        for name in others {
            assert!(!self.receives(name), "{filter:?} matches {name:?}");
        }
        self.subscriber.unsubscribe(&[filter]);
    }

    /// Whether a message with this Topic Name comes, unaltered, before the marker.
    #[track_caller]
    fn receives(&mut self, name: &str) -> bool {
        self.publisher.publish(&PublishSpec::new(name, b"x", 1));
        self.publisher
            .publish(&PublishSpec::new(&self.marker, b"marker", 1));
        let first = self.subscriber.recv_publish();
        self.subscriber.ack(&first);
        if first.payload == b"marker" {
            return false;
        }
        assert_eq!(first.topic, name);
        let last = self.subscriber.recv_publish();
        self.subscriber.ack(&last);
        assert_eq!(last.topic, self.marker, "{name:?} came more than once");
        true
    }
}
