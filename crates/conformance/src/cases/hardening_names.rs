//! What broke other brokers: topics, names and values. Each case is named after its line in a list of such inputs, and
//! tells who broke.

use super::hardening::{LEVELS, MALFORMED, PROTOCOL_ERROR, client, expect_end};
use super::v311_connect::connect_of;
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, Prop, PublishSpec, Raw, WillSpec, wire};

const NOT_AUTHORIZED: u8 = 0x87;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const TOPIC_NAME_INVALID: u8 = 0x90;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(hardening_6_empty_topics, ["v311[MQTT-4.7.3-1]"]),
    case!(hardening_6_dollar_topics_are_topics, []),
    case!(hardening_6_nobody_writes_below_sys, ["v311[MQTT-3.3.5-2]"]),
    case!(hardening_6_no_will_below_sys, []),
    case!(hardening_8_will_with_properties_of_others, []),
    case!(
        hardening_9_wildcards_in_names_of_clients,
        ["v311[MQTT-3.1.3-2]"]
    ),
    case!(
        hardening_15_retained_messages_at_the_edges,
        ["v5[MQTT-3.3.1-6]"]
    ),
    case!(hardening_15_longest_intervals, []),
    case!(hardening_16_absent_is_not_empty, []),
    case!(hardening_16_empty_is_not_somebody, []),
];

/// Mosquitto up to 2.0.7 crashed upon a PUBLISH with an empty topic (CVE-2021-34432).
fn hardening_6_empty_topics(lab: &Lab) {
    for level in LEVELS {
        for qos in 0..=2 {
            expect_end(
                lab,
                level,
                &PublishSpec::new("", b"x", qos).to_bytes(level),
                PROTOCOL_ERROR,
            );
            let retained = PublishSpec {
                retain: true,
                ..PublishSpec::new("", b"", qos)
            };
            expect_end(lab, level, &retained.to_bytes(level), PROTOCOL_ERROR);
        }
        let mut raw = client(lab, lab.broker(), level);
        let refused = if level == 5 {
            TOPIC_FILTER_INVALID
        } else {
            0x80
        };
        assert_eq!(raw.subscribe(&[("", 0)]), [refused]);
        let codes = raw.unsubscribe(&[""]);
        assert!(
            codes.iter().all(|code| *code == TOPIC_FILTER_INVALID),
            "{codes:02x?}"
        );
        let id = lab.unique("empty");
        let will = Some(WillSpec::new("", b"gone"));
        let mut raw = lab.broker().raw().speaking(level);
        raw.send(
            &ConnectSpec {
                level,
                will,
                ..ConnectSpec::v311(&id)
            }
            .to_bytes(),
        );
        if level == 5 {
            raw.expect_refused(TOPIC_NAME_INVALID);
        } else {
            raw.expect_closed();
        }
    }
    let responds = PublishSpec {
        props: vec![Prop::Str(0x08, "")],
        ..PublishSpec::new("a", b"x", 1)
    };
    expect_end(lab, 5, &responds.to_bytes(5), PROTOCOL_ERROR);
}

/// Mosquitto 1.5 to 1.5.2 stopped at an assertion upon a topic that begins with `$` and not with `$SYS`
/// (CVE-2018-12543).
fn hardening_6_dollar_topics_are_topics(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut subscriber = broker.v5("subscriber");
    for level in LEVELS {
        let mut publisher = client(lab, &broker, level);
        for name in [
            "$",
            "$a",
            "$a/b",
            "$/",
            "$$",
            "$SYSTEM",
            "$SYSTEM/a",
            "$sys/a",
            "$queue/a",
        ] {
            assert_eq!(subscriber.subscribe(&[(name, 2)]), [2]);
            for qos in 0..=2 {
                publisher.publish(&PublishSpec::new(name, b"x", qos));
                let delivered = subscriber.recv_publish();
                assert_eq!((delivered.topic.as_str(), delivered.qos), (name, qos));
                subscriber.ack(&delivered);
            }
            assert_eq!(subscriber.unsubscribe(&[name]), [0]);
        }
        // These have a meaning as filters, and none as names.
        for name in [
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share/g/a",
            "$share//a",
        ] {
            for qos in 0..=2 {
                publisher.publish(&PublishSpec::new(name, b"x", qos));
            }
        }
        assert!(publisher.ping().is_empty());
    }
}

fn hardening_6_nobody_writes_below_sys(lab: &Lab) {
    let below = format!("$SYS/{}", lab.unique("forbidden"));
    let marker = lab.unique("marker");
    let mut subscriber = lab.broker().v5(&lab.unique("s"));
    assert_eq!(subscriber.subscribe(&[(&below, 2), (&marker, 2)]), [2, 2]);
    for retain in [false, true] {
        let mut publisher = lab.broker().v5(&lab.unique("p"));
        let publish = |qos| PublishSpec {
            retain,
            ..PublishSpec::new(&below, b"x", qos)
        };
        for (qos, first) in [(1, 0x40), (2, 0x50), (2, 0x50)] {
            publisher.send_publish(&publish(qos));
            let answer = publisher.recv();
            assert_eq!(
                (answer.first, answer.packet_id(), answer.reason(5)),
                (first, 1, NOT_AUTHORIZED)
            );
        }
        publisher.send_publish(&publish(0));
        assert!(publisher.ping().is_empty());
        let mut older = lab.broker().v311(&lab.unique("p"));
        for qos in 0..=2 {
            older.publish(&publish(qos));
        }
        for publisher in [&mut publisher, &mut older] {
            publisher.publish(&PublishSpec::new(&marker, b"marker", 1));
            let delivered = subscriber.recv_publish();
            assert_eq!(delivered.topic, marker, "somebody wrote below $SYS");
            subscriber.ack(&delivered);
        }
    }
    let mut late = lab.broker().v5(&lab.unique("s"));
    assert_eq!(late.subscribe(&[(&below, 0)]), [0]);
    assert!(late.ping().is_empty());
}

fn hardening_6_no_will_below_sys(lab: &Lab) {
    let (id, topic) = (
        lab.unique("will"),
        format!("$SYS/{}", lab.unique("forbidden")),
    );
    for (level, refused) in [(3, 5), (4, 5), (5, NOT_AUTHORIZED)] {
        let will = Some(WillSpec::new(&topic, b"gone"));
        let mut raw = lab.broker().raw().speaking(level);
        raw.send(
            &ConnectSpec {
                level,
                will,
                ..ConnectSpec::v311(&id)
            }
            .to_bytes(),
        );
        raw.expect_refused(refused);
    }
}

/// Mosquitto lost memory upon a Will with properties that a Will cannot have (CVE-2023-3592). `hardening_load` sends
/// many of them.
fn hardening_8_will_with_properties_of_others(lab: &Lab) {
    let id = lab.unique("will");
    for prop in [
        Prop::Varint(0x0B, 1),
        Prop::U32(0x11, 1),
        Prop::Str(0x12, "a"),
        Prop::U16(0x13, 1),
        Prop::Str(0x15, "a"),
        Prop::Bin(0x16, b"a"),
        Prop::Byte(0x17, 1),
        Prop::Byte(0x19, 1),
        Prop::Str(0x1A, "a"),
        Prop::Str(0x1C, "a"),
        Prop::Str(0x1F, "a"),
        Prop::U16(0x21, 1),
        Prop::U16(0x22, 1),
        Prop::U16(0x23, 1),
        Prop::Byte(0x24, 1),
        Prop::Byte(0x25, 1),
        Prop::U32(0x27, 1),
        Prop::Byte(0x28, 1),
        Prop::Byte(0x29, 1),
        Prop::Byte(0x2A, 1),
        // Numbers that are no properties.
        Prop::Byte(0x00, 1),
        Prop::Byte(0x04, 1),
        Prop::Byte(0x2B, 1),
        Prop::Byte(0x7F, 1),
    ] {
        for props in [
            vec![prop],
            vec![Prop::U32(0x18, 5), prop],
            vec![prop, Prop::Pair(0x26, "a", "b")],
        ] {
            let will = Some(WillSpec {
                props,
                ..WillSpec::new("will", b"gone")
            });
            let mut raw = lab.broker().raw();
            raw.send(
                &ConnectSpec {
                    will,
                    ..ConnectSpec::v5(&id)
                }
                .to_bytes(),
            );
            let answer = raw.try_recv_closed();
            let [connack] = answer.as_slice() else {
                panic!("{prop:?} in a Will is answered by {answer:?}");
            };
            assert_eq!(connack.first, 0x20, "{connack:?}");
            assert!(
                matches!(connack.reason(5), MALFORMED | PROTOCOL_ERROR),
                "{prop:?}: {connack:?}"
            );
        }
    }
}

/// In Mosquitto a client called `#` passed access rules with `%c` (CVE-2017-7650). There are no such rules here yet, so
/// the names are plain text.
fn hardening_9_wildcards_in_names_of_clients(lab: &Lab) {
    let base = lab.unique("wild");
    let ids = [
        "#",
        "+",
        "/#",
        "/+/a",
        "$SYS/#",
        "%c",
        "%u",
        "$share/g/a",
        "/a",
    ]
    .map(|end| format!("{base}{end}"));
    for level in [4, 5] {
        let mut clients: Vec<Raw> = Vec::new();
        for id in &ids {
            let connect = ConnectSpec {
                level,
                user: Some(id.as_str()),
                password: Some(b"+".as_slice()),
                ..ConnectSpec::v311(id)
            };
            clients.push(lab.broker().connect(&connect));
        }
        for (id, client) in ids.iter().zip(&mut clients) {
            assert!(
                client.ping().is_empty(),
                "{id:?} was taken over by a name that it matches"
            );
        }
    }
}

/// FlashMQ stopped at an assertion in a crafted retained message (CVE-2024-42645), and divided by zero while spreading
/// them (CVE-2026-42209).
fn hardening_15_retained_messages_at_the_edges(lab: &Lab) {
    let broker = lab.broker_with("");
    let mut publisher = broker.v5("publisher");
    let names = [
        "/".to_owned(),
        "//".to_owned(),
        " ".to_owned(),
        "a//b".to_owned(),
        "/a/".to_owned(),
    ];
    let extremes = [
        "x".repeat(65_535),
        vec!["y"; 128].join("/"),
        "/".repeat(127),
    ];
    let names: Vec<String> = names.into_iter().chain(extremes).collect();
    for name in &names {
        let empty = PublishSpec {
            retain: true,
            ..PublishSpec::new(name, b"", 1)
        };
        publisher.publish(&empty);
        publisher.publish(&empty);
        publisher.publish(&PublishSpec {
            payload: b"kept",
            ..empty
        });
    }
    // Gone at once, and as good as never.
    for (name, seconds) in [("at once", 0), ("never", u32::MAX)] {
        let props = vec![Prop::U32(0x02, seconds)];
        publisher.publish(&PublishSpec {
            retain: true,
            props,
            ..PublishSpec::new(name, b"kept", 1)
        });
    }
    let mut all = broker.v5("all");
    assert_eq!(all.subscribe(&[("#", 0)]), [0]);
    let mut found: Vec<String> = (0..=names.len())
        .map(|_| all.recv_publish().topic)
        .collect();
    let mut expected = names.clone();
    expected.push("never".to_owned());
    found.sort();
    expected.sort();
    assert!(
        found == expected,
        "{} retained messages, {} awaited",
        found.len(),
        expected.len()
    );
    for name in &expected {
        publisher.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(name, b"", 1)
        });
        assert_eq!(all.recv_publish().payload, b"");
    }
    let mut late = broker.v5("late");
    assert_eq!(late.subscribe(&[("#", 0)]), [0]);
    assert!(late.ping().is_empty());
}

/// Sums of times that go beyond their type.
fn hardening_15_longest_intervals(lab: &Lab) {
    let (id, topic) = (lab.unique("longest"), lab.unique("longest"));
    for seconds in [u32::MAX - 1, u32::MAX] {
        let delay = vec![Prop::U32(0x18, seconds), Prop::U32(0x02, seconds)];
        let connect = ConnectSpec {
            keep_alive: u16::MAX,
            props: vec![Prop::U32(0x11, seconds)],
            will: Some(WillSpec {
                props: delay,
                ..WillSpec::new(&topic, b"gone")
            }),
            ..ConnectSpec::v5(&id)
        };
        let mut raw = lab.broker().connect(&connect);
        assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
        raw.drop_connection();
        let props = vec![Prop::U32(0x02, seconds)];
        let mut publisher = lab.broker().v5(&lab.unique("p"));
        publisher.publish(&PublishSpec {
            props,
            ..PublishSpec::new(&topic, b"x", 1)
        });
        let mut raw = lab.broker().connect(&ConnectSpec {
            clean: false,
            ..connect
        });
        assert_eq!(raw.recv_publish().payload, b"x");
    }
}

/// A broker asked for the length of a user name that was not there (CVE-2026-32696).
fn hardening_16_absent_is_not_empty(lab: &Lab) {
    for level in LEVELS {
        for (user, password) in credentials(level) {
            let id = lab.unique("somebody");
            let connect = ConnectSpec {
                level,
                user,
                password,
                ..ConnectSpec::v311(&id)
            };
            assert!(
                lab.broker().connect(&connect).ping().is_empty(),
                "{connect:?}"
            );
        }
    }
}

/// Where a user name is asked for, an empty one is nobody's, nor is any while there are no accounts.
fn hardening_16_empty_is_not_somebody(lab: &Lab) {
    let broker = lab.broker_with("allow_anonymous false");
    for level in LEVELS {
        for (user, password) in credentials(level) {
            let mut raw = broker.raw().speaking(level);
            raw.send(
                &ConnectSpec {
                    level,
                    user,
                    password,
                    ..ConnectSpec::v311("somebody")
                }
                .to_bytes(),
            );
            raw.expect_refused(if level == 5 { NOT_AUTHORIZED } else { 5 });
        }
    }
    // A password without user name is what 3.1.1 does not know.
    let mut raw = broker.raw().speaking(4);
    raw.send(&connect_of(
        0x42,
        &[&wire::string("somebody"), &wire::binary(b"")],
    ));
    raw.expect_closed();
}

/// User names and passwords, there or not, empty or not, as far as the version allows.
fn credentials(level: u8) -> Vec<(Option<&'static str>, Option<&'static [u8]>)> {
    let mut all: Vec<(Option<&'static str>, Option<&'static [u8]>)> = vec![
        (None, None),
        (Some(""), None),
        (Some(""), Some(b"".as_slice())),
        (Some(""), Some(b"secret".as_slice())),
        (Some("user"), None),
        (Some("user"), Some(b"".as_slice())),
        (Some("user"), Some(b"secret".as_slice())),
    ];
    if level == 5 {
        all.push((None, Some(b"".as_slice())));
        all.push((None, Some(b"secret".as_slice())));
    }
    all
}
