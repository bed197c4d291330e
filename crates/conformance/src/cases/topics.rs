//! Topic Names, Topic Filters and how they match: section 4.7 of MQTT 5.0.
//!
//! `check_matches` is the door: a filter, names that it matches, names that it does not. Filters whose first level is a
//! wildcard would see the traffic of other cases on the shared broker, so their cases have a broker of their own.

use crate::case::{Case, case};
use crate::{Broker, Lab, PublishSpec, Raw, wire};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        topic_name_has_no_wildcard,
        ["v5[MQTT-4.7.0-1]", "v5[MQTT-3.3.2-2]"]
    ),
    case!(
        multi_level_wildcard_stands_alone_and_last,
        ["v5[MQTT-4.7.1-1]"]
    ),
    case!(
        multi_level_wildcard_matches_the_parent_and_all_below,
        ["v5[MQTT-4.7.1-1]", "v5[MQTT-3.3.2-3]"]
    ),
    case!(single_level_wildcard_fills_its_level, ["v5[MQTT-4.7.1-2]"]),
    case!(
        single_level_wildcard_matches_one_level,
        ["v5[MQTT-4.7.1-2]", "v5[MQTT-3.3.2-3]"]
    ),
    case!(leading_wildcard_hides_dollar_topics, ["v5[MQTT-4.7.2-1]"]),
    case!(
        leading_wildcard_hides_retained_dollar_topics,
        ["v5[MQTT-4.7.2-1]"]
    ),
    case!(dollar_topics_are_reached_by_name, ["v5[MQTT-4.7.2-1]"]),
    case!(topic_name_is_not_empty, ["v5[MQTT-4.7.3-1]"]),
    case!(topic_filter_is_not_empty, ["v5[MQTT-4.7.3-1]"]),
    case!(topic_of_one_character_is_enough, ["v5[MQTT-4.7.3-1]"]),
    case!(topics_have_no_null_character, ["v5[MQTT-4.7.3-2]"]),
    case!(topics_of_65535_bytes_are_taken, ["v5[MQTT-4.7.3-3]"]),
    case!(matching_normalizes_nothing, ["v5[MQTT-4.7.3-4]"]),
    case!(matching_keeps_unusual_characters, ["v5[MQTT-4.7.3-4]"]),
    case!(
        retained_messages_match_by_the_same_rules,
        ["v5[MQTT-3.3.2-3]"]
    ),
];

/// A publisher and a subscriber that hold a marker's topic, to see what comes before the marker.
struct Matcher {
    publisher: Raw,
    subscriber: Raw,
    marker: String,
}

impl Matcher {
    fn new(lab: &Lab, broker: &Broker) -> Matcher {
        let marker = lab.unique("marker");
        let publisher = broker.v5(&lab.unique("p"));
        let mut subscriber = broker.v5(&lab.unique("c"));
        assert_eq!(subscriber.subscribe(&[(marker.as_str(), 1)]), [1]);
        Matcher {
            publisher,
            subscriber,
            marker,
        }
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

/// Subscribes to `filter` alone, and looks at each of these Topic Names.
#[track_caller]
fn check_matches(matcher: &mut Matcher, filter: &str, matching: &[&str], others: &[&str]) {
    assert_eq!(
        matcher.subscriber.subscribe(&[(filter, 1)]),
        [1],
        "{filter:?}"
    );
    for name in matching {
        assert!(matcher.receives(name), "{filter:?} does not match {name:?}");
    }
    for name in others {
        assert!(!matcher.receives(name), "{filter:?} matches {name:?}");
    }
    assert_eq!(matcher.subscriber.unsubscribe(&[filter]), [0], "{filter:?}");
}

/// Each filter is refused with 0x8F, and the connection lives.
#[track_caller]
fn check_refused(lab: &Lab, filters: &[&str]) {
    let mut client = lab.broker().v5(&lab.unique("c"));
    for filter in filters {
        assert_eq!(client.subscribe(&[(filter, 1)]), [0x8F], "{filter:?}");
        assert_eq!(
            client.subscribe(&[("plain", 1), (filter, 1), ("other", 0)]),
            [1, 0x8F, 0],
            "{filter:?}"
        );
    }
}

fn topic_name_has_no_wildcard(lab: &Lab) {
    for name in ["#", "+", "a/#", "a/+/b", "a+", "#a", "a/b+c", "a#/b"] {
        for qos in 0..=2 {
            let mut client = lab.broker().v5(&lab.unique("c"));
            client.send_publish(&PublishSpec::new(name, b"x", qos));
            client.expect_disconnect(0x90);
        }
    }
}

fn multi_level_wildcard_stands_alone_and_last(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut client = broker.v5(&lab.unique("c"));
    for filter in ["#", "a/#", "/#", "a/b/#", "+/#", "a//#", "$a/#"] {
        assert_eq!(client.subscribe(&[(filter, 1)]), [1], "{filter:?}");
    }
    check_refused(
        lab,
        &[
            "a#", "#a", "a/#/b", "#/", "#/a", "/#/", "##", "#/#", "a/b#", "a/#b", "+#", "#+",
            "a/##",
        ],
    );
}

fn multi_level_wildcard_matches_the_parent_and_all_below(lab: &Lab) {
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
        "tennis/player1",
        "/sport/tennis/player1",
    ];
    check_matches(&mut matcher, "sport/tennis/player1/#", &below, &beside);
    check_matches(
        &mut matcher,
        "sport/#",
        &["sport", "sport/", "sport//", "sport/a/b/c"],
        &["sports", "Sport", "/sport"],
    );
    check_matches(
        &mut matcher,
        "/#",
        &["/", "/a", "/a/b", "//"],
        &["a", "a/b"],
    );
    // `#` has the marker too, once: overlapping Subscriptions are one delivery.
    check_matches(
        &mut matcher,
        "#",
        &["a", "/", "a/b/c", "//", " "],
        &["$a", "$a/b"],
    );
}

fn single_level_wildcard_fills_its_level(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut client = broker.v5(&lab.unique("c"));
    for filter in [
        "+", "+/", "/+", "+/a", "a/+", "a/+/b", "+/+/+", "+/a/#", "a/+/#", "$a/+",
    ] {
        assert_eq!(client.subscribe(&[(filter, 1)]), [1], "{filter:?}");
    }
    check_refused(
        lab,
        &[
            "a+", "+a", "a+b", "a/b+", "a/+b/c", "a/b+/c", "++", "a/++", "+#", "/+a",
        ],
    );
}

fn single_level_wildcard_matches_one_level(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    let deeper = [
        "sport/tennis/player1/ranking",
        "sport/tennis",
        "sport/player1",
    ];
    check_matches(
        &mut matcher,
        "sport/tennis/+",
        &["sport/tennis/player1", "sport/tennis/"],
        &deeper,
    );
    check_matches(
        &mut matcher,
        "sport/+",
        &["sport/", "sport/a"],
        &["sport", "sport//", "sport/a/"],
    );
    check_matches(
        &mut matcher,
        "+/+",
        &["/finance", "a/b", "/"],
        &["finance", "/a/b", "//"],
    );
    check_matches(
        &mut matcher,
        "/+",
        &["/finance", "/"],
        &["finance", "a/finance"],
    );
    check_matches(
        &mut matcher,
        "sport/+/player1",
        &["sport/tennis/player1", "sport//player1"],
        &["sport/player1"],
    );
    check_matches(
        &mut matcher,
        "+/tennis/#",
        &["sport/tennis", "/tennis", "a/tennis/b/c"],
        &["tennis", "a/b/tennis"],
    );
    // `+` has the marker too, once.
    check_matches(
        &mut matcher,
        "+",
        &["finance", " "],
        &["/finance", "finance/", "$finance"],
    );
}

fn leading_wildcard_hides_dollar_topics(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    check_matches(
        &mut matcher,
        "#",
        &["a$/b", "a/$b"],
        &["$", "$test", "$test/b"],
    );
    check_matches(
        &mut matcher,
        "+/monitor/clients",
        &["a/monitor/clients"],
        &["$test/monitor/clients"],
    );
    check_matches(&mut matcher, "+", &["a$"], &["$", "$test"]);
    check_matches(&mut matcher, "+/#", &["a/$test"], &["$test", "$test/b"]);
    check_matches(&mut matcher, "/#", &["/$test"], &["$test/b"]);
}

/// One worker, so that PINGRESP comes behind all retained messages that are sent.
fn leading_wildcard_hides_retained_dollar_topics(lab: &Lab) {
    let broker = lab.broker_with("workers 1");
    let mut publisher = broker.v5(&lab.unique("p"));
    for topic in ["$test/b", "a/b"] {
        publisher.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(topic, b"kept", 1)
        });
    }
    for (filter, topic) in [
        ("#", "a/b"),
        ("+/b", "a/b"),
        ("+/#", "a/b"),
        ("$test/#", "$test/b"),
        ("$test/+", "$test/b"),
    ] {
        let mut client = broker.v5(&lab.unique("c"));
        assert_eq!(client.subscribe(&[(filter, 1)]), [1]);
        let kept = client.recv_publish();
        assert_eq!(
            (kept.topic.as_str(), kept.retain),
            (topic, true),
            "{filter:?}"
        );
        assert!(
            client.ping().is_empty(),
            "{filter:?} has more than {topic:?}"
        );
    }
}

fn dollar_topics_are_reached_by_name(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    check_matches(
        &mut matcher,
        "$test/#",
        &["$test", "$test/a", "$test/a/b"],
        &["test/a", "$tests/a"],
    );
    check_matches(&mut matcher, "$test/+/b", &["$test/a/b"], &["$test/b"]);
    check_matches(
        &mut matcher,
        "$test/a",
        &["$test/a"],
        &["$test/b", "test/a"],
    );
    // A client that wants both subscribes to both.
    assert_eq!(
        matcher.subscriber.subscribe(&[("#", 1), ("$test/#", 1)]),
        [1, 1]
    );
    assert!(matcher.receives("$test/a") && matcher.receives("a"));
}

fn topic_name_is_not_empty(lab: &Lab) {
    for qos in 0..=2 {
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send_publish(&PublishSpec::new("", b"x", qos));
        client.expect_disconnect(0x82);
    }
}

fn topic_filter_is_not_empty(lab: &Lab) {
    check_refused(lab, &["", "$share/g/"]);
}

fn topic_of_one_character_is_enough(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    for name in ["/", "a", " ", "é", "鍵", "🗝"] {
        check_matches(&mut matcher, name, &[name], &["b", "//", "/a"]);
    }
}

fn topics_have_no_null_character(lab: &Lab) {
    for name in ["\0", "a\0", "\0a", "a/\0/b"] {
        for qos in 0..=2 {
            let mut client = lab.broker().v5(&lab.unique("c"));
            client.send_publish(&PublishSpec::new(name, b"x", qos));
            client.expect_disconnect(0x81);
        }
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&wire::subscribe(5, 1, &[], &[(name, 0)]));
        client.expect_disconnect(0x81);
        let mut client = lab.broker().v5(&lab.unique("c"));
        client.send(&wire::unsubscribe(5, 1, &[], &[name]));
        client.expect_disconnect(0x81);
    }
}

fn topics_of_65535_bytes_are_taken(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut matcher = Matcher::new(lab, &broker);
    let longest = "a".repeat(65_535);
    let shorter = "a".repeat(65_534);
    check_matches(&mut matcher, &longest, &[&longest], &[&shorter]);
    check_matches(&mut matcher, &shorter, &[&shorter], &[&longest]);
    let below = format!("{}/b", "a".repeat(65_533));
    check_matches(
        &mut matcher,
        &format!("{}/+", "a".repeat(65_533)),
        &[&below],
        &[&longest],
    );
    // Three bytes for each character.
    let wide = "鍵".repeat(21_845);
    check_matches(&mut matcher, &wide, &[&wide], &[&longest]);
}

fn matching_normalizes_nothing(lab: &Lab) {
    let mut matcher = Matcher::new(lab, lab.broker());
    let base = lab.unique("Norm");
    let name = |end: &str| format!("{base}/{end}");
    // A filter, and a name that some software would hold to be the same.
    let pairs = [
        ("\u{e9}", "e\u{301}"),
        ("ACCOUNTS", "Accounts"),
        ("Ä", "ä"),
        ("a/b", "a//b"),
        ("a", "a/"),
        ("a/../b", "b"),
        ("a/./b", "a/b"),
        ("a b", "a%20b"),
        ("a", " a"),
        ("a", "a "),
        ("\u{ff41}", "a"),
        ("\u{fb01}", "fi"),
        ("a\u{ad}b", "ab"),
        ("\u{feff}a", "a"),
        ("a\\b", "a/b"),
        ("ß", "ss"),
    ];
    for (one, other) in pairs {
        let (one, other) = (name(one), name(other));
        check_matches(&mut matcher, &one, &[&one], &[&other]);
        check_matches(&mut matcher, &other, &[&other], &[&one]);
    }
}

fn matching_keeps_unusual_characters(lab: &Lab) {
    let mut matcher = Matcher::new(lab, lab.broker());
    let base = lab.unique("odd");
    // Well-formed, and none of those that a receiver may refuse (1.5.4).
    for end in [
        "\u{feff}",
        "\u{feff}a",
        "\u{fffd}",
        "\u{e000}",
        "\u{10fffd}",
        "\u{200d}",
        "*",
        "?",
        "%",
        "\"",
        "\\",
    ] {
        let name = format!("{base}/{end}");
        check_matches(&mut matcher, &name, &[&name], &[&base]);
        check_matches(&mut matcher, &format!("{base}/+"), &[&name], &[&base]);
    }
}

fn retained_messages_match_by_the_same_rules(lab: &Lab) {
    let base = lab.unique("kept");
    let names = ["", "/", "/a", "/a/", "/a/b", "/a//b", "/b"].map(|end| format!("{base}{end}"));
    let mut publisher = lab.broker().v5(&lab.unique("p"));
    for name in &names {
        publisher.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(name, b"kept", 1)
        });
    }
    let filters: [(&str, &[&str]); 8] = [
        ("", &[""]),
        ("/#", &["", "/", "/a", "/a/", "/a/b", "/a//b", "/b"]),
        ("/+", &["/", "/a", "/b"]),
        ("/a/#", &["/a", "/a/", "/a/b", "/a//b"]),
        ("/a/+", &["/a/", "/a/b"]),
        ("/+/b", &["/a/b"]),
        ("/+/+/+", &["/a//b"]),
        ("/c", &[]),
    ];
    for (filter, ends) in filters {
        let mut client = lab.broker().v5(&lab.unique("c"));
        let filter = format!("{base}{filter}");
        assert_eq!(client.subscribe(&[(filter.as_str(), 1)]), [1]);
        let mut found: Vec<String> = ends.iter().map(|_| client.recv_publish().topic).collect();
        assert!(
            client.ping().is_empty(),
            "{filter:?} has more than {found:?}"
        );
        let mut expected: Vec<String> = ends.iter().map(|end| format!("{base}{end}")).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{filter:?}");
    }
}
