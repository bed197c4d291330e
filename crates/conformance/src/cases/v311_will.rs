//! MQTT 3.1.1: Wills: sections 3.1.2.5 to 3.1.2.7 and 3.14.

use std::time::Duration;

use super::v311_connect::kept;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, PublishSpec, Raw, WillSpec};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_will_is_published_when_the_connection_breaks,
        ["v311[MQTT-3.1.2-8]", "v311[MQTT-3.1.2-9]"]
    ),
    case!(
        v311_will_is_published_after_a_violation,
        ["v311[MQTT-3.1.2-8]"]
    ),
    case!(
        v311_will_is_published_after_a_takeover,
        ["v311[MQTT-3.1.2-8]", "v311[MQTT-3.1.4-2]"]
    ),
    case!(
        v311_will_is_published_at_its_qos,
        ["v311[MQTT-3.1.2-8]", "v311[MQTT-3.1.2-9]"]
    ),
    case!(
        v311_will_is_stored_for_those_who_are_away,
        ["v311[MQTT-3.1.2-8]", "v311[MQTT-3.1.2-5]"]
    ),
    case!(v311_will_may_be_empty, ["v311[MQTT-3.1.2-8]"]),
    case!(
        v311_disconnect_drops_the_will,
        ["v311[MQTT-3.14.4-3]", "v311[MQTT-3.1.2-10]"]
    ),
    case!(v311_will_is_published_once, ["v311[MQTT-3.1.2-10]"]),
    case!(
        v311_will_belongs_to_its_connection,
        ["v311[MQTT-3.1.2-10]", "v311[MQTT-3.1.2-12]"]
    ),
    case!(
        v311_no_will_is_published_without_one,
        ["v311[MQTT-3.1.2-12]"]
    ),
    case!(
        v311_will_is_not_published_while_the_connection_lives,
        ["v311[MQTT-3.1.2-8]"]
    ),
    case!(
        v311_will_without_retain_is_not_kept,
        ["v311[MQTT-3.1.2-16]"]
    ),
    case!(v311_will_with_retain_is_kept, ["v311[MQTT-3.1.2-17]"]),
];

fn v311_will_is_published_when_the_connection_breaks(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    for clean in [true, false] {
        let topic = watcher.topic.clone();
        let raw = willing(lab, &topic, clean);
        raw.drop_connection();
        let will = watcher.expect(b"gone");
        assert_eq!((will.topic, will.retain), (topic, false));
    }
    watcher.expect_nothing(1);
}

fn v311_will_is_published_after_a_violation(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let topic = watcher.topic.clone();
    for form in [
        "00 00",
        "36 05 00 01 61 00 01",
        "82 02 00 01",
        "d0 00",
        "c0 80 80 80 80 01",
    ] {
        let mut raw = willing(lab, &topic, true);
        raw.send_hex(form);
        raw.expect_closed();
        watcher.expect(b"gone");
    }
    watcher.expect_nothing(1);
}

fn v311_will_is_published_after_a_takeover(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let topic = watcher.topic.clone();
    for clean in [true, false] {
        let id = lab.unique("will");
        let will = Some(WillSpec::new(&topic, b"gone"));
        let mut older = lab.broker().connect(&ConnectSpec {
            clean,
            will,
            ..ConnectSpec::v311(&id)
        });
        let newer = lab.broker().connect(&ConnectSpec {
            clean,
            ..ConnectSpec::v311(&id)
        });
        older.expect_closed();
        watcher.expect(b"gone");
        newer.disconnect();
    }
    watcher.expect_nothing(1);
}

fn v311_will_is_published_at_its_qos(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 2);
    let topic = watcher.topic.clone();
    for qos in 0..=2 {
        let id = lab.unique("will");
        let will = Some(WillSpec {
            qos,
            ..WillSpec::new(&topic, b"gone")
        });
        lab.broker()
            .connect(&ConnectSpec {
                will,
                ..ConnectSpec::v311(&id)
            })
            .drop_connection();
        assert_eq!(watcher.expect(b"gone").qos, qos);
    }
}

fn v311_will_is_stored_for_those_who_are_away(lab: &Lab) {
    let (id, mut watcher) = (lab.unique("away"), Pair::new(lab, lab.broker(), 1));
    let topic = watcher.topic.clone();
    let mut away = lab.broker().connect(&kept(&id));
    assert_eq!(away.subscribe(&[(&topic, 1)]), [1]);
    away.disconnect();
    let will = Some(WillSpec {
        qos: 1,
        ..WillSpec::new(&topic, b"gone")
    });
    let owner = lab.unique("will");
    lab.broker()
        .connect(&ConnectSpec {
            will,
            ..ConnectSpec::v311(&owner)
        })
        .drop_connection();
    watcher.expect(b"gone");
    assert_eq!(
        lab.broker().connect(&kept(&id)).recv_publish().payload,
        b"gone"
    );
}

fn v311_will_may_be_empty(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let (id, topic) = (lab.unique("will"), watcher.topic.clone());
    let will = Some(WillSpec::new(&topic, b""));
    lab.broker()
        .connect(&ConnectSpec {
            will,
            ..ConnectSpec::v311(&id)
        })
        .drop_connection();
    watcher.expect(b"");
}

fn v311_disconnect_drops_the_will(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let topic = watcher.topic.clone();
    for clean in [true, false] {
        willing(lab, &topic, clean).disconnect();
        watcher.expect_nothing(1);
    }
}

/// Once it is published it is no part of the Session, which goes on.
fn v311_will_is_published_once(lab: &Lab) {
    let (id, mut watcher) = (lab.unique("will"), Pair::new(lab, lab.broker(), 1));
    let topic = watcher.topic.clone();
    let will = Some(WillSpec::new(&topic, b"gone"));
    lab.broker()
        .connect(&ConnectSpec { will, ..kept(&id) })
        .drop_connection();
    watcher.expect(b"gone");
    let mut older = lab.broker().connect(&kept(&id));
    assert!(older.session_present());
    // This one ends without DISCONNECT, and had no Will.
    let newer = lab.broker().connect(&kept(&id));
    older.expect_closed();
    watcher.expect_nothing(1);
    newer.disconnect();
    watcher.expect_nothing(1);
}

fn v311_will_belongs_to_its_connection(lab: &Lab) {
    let (id, mut watcher) = (lab.unique("will"), Pair::new(lab, lab.broker(), 1));
    let topic = watcher.topic.clone();
    let mut last: Option<Raw> = None;
    for payload in [b"will 1", b"will 2", b"will 3"] {
        let will = Some(WillSpec::new(&topic, payload));
        let newer = lab.broker().connect(&ConnectSpec { will, ..kept(&id) });
        if let Some(mut older) = last.replace(newer) {
            older.expect_closed();
        }
    }
    watcher.expect(b"will 1");
    watcher.expect(b"will 2");
    if let Some(raw) = last {
        raw.drop_connection();
    }
    watcher.expect(b"will 3");
    watcher.expect_nothing(1);
}

/// Where a Will would stand are a User Name and a Password that read like one. The Session has had a Will by an earlier
/// connection.
fn v311_no_will_is_published_without_one(lab: &Lab) {
    let (id, mut watcher) = (lab.unique("will"), Pair::new(lab, lab.broker(), 1));
    let topic = watcher.topic.clone();
    let will = Some(WillSpec::new(&topic, b"gone"));
    let with_one = ConnectSpec { will, ..kept(&id) };
    let without = ConnectSpec {
        user: Some(topic.as_str()),
        password: Some(b"gone"),
        ..kept(&id)
    };
    lab.broker().connect(&with_one).drop_connection();
    watcher.expect(b"gone");
    // Its end by another connection, by a violation, and by the loss of the connection.
    let mut older = lab.broker().connect(&without);
    assert!(older.session_present());
    let mut newer = lab.broker().connect(&without);
    older.expect_closed();
    watcher.expect_nothing(1);
    newer.send_hex("00 00");
    newer.expect_closed();
    watcher.expect_nothing(1);
    lab.broker().connect(&without).drop_connection();
    // A connection that follows finds the one before at its end.
    let last = lab.broker().connect(&kept(&id));
    watcher.expect_nothing(1);
    last.disconnect();
    watcher.expect_nothing(1);
}

fn v311_will_is_not_published_while_the_connection_lives(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let topic = watcher.topic.clone();
    let mut raw = willing(lab, &topic, true);
    watcher.subscriber.expect_silence(Duration::from_secs(1));
    assert!(raw.ping().is_empty());
    watcher.expect_nothing(1);
    raw.drop_connection();
    watcher.expect(b"gone");
}

fn v311_will_without_retain_is_not_kept(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 1);
    let topic = watcher.topic.clone();
    // What is retained already stays as it is.
    let retained = PublishSpec {
        retain: true,
        ..PublishSpec::new(&topic, b"kept", 1)
    };
    watcher.publisher.publish(&retained);
    watcher.expect(b"kept");
    willing(lab, &topic, true).drop_connection();
    watcher.expect(b"gone");
    let mut late = lab.broker().v311(&lab.unique("late"));
    assert_eq!(late.subscribe(&[(&topic, 1)]), [1]);
    let found = late.recv_publish();
    assert_eq!(
        (found.retain, found.payload.as_slice()),
        (true, b"kept".as_slice())
    );
    assert!(late.ping().is_empty());
}

fn v311_will_with_retain_is_kept(lab: &Lab) {
    let mut watcher = Pair::new(lab, lab.broker(), 2);
    let topic = watcher.topic.clone();
    for (qos, payload) in [(0, b"will 0"), (1, b"will 1"), (2, b"will 2")] {
        let id = lab.unique("will");
        let will = Some(WillSpec {
            qos,
            retain: true,
            ..WillSpec::new(&topic, payload)
        });
        lab.broker()
            .connect(&ConnectSpec {
                will,
                ..ConnectSpec::v311(&id)
            })
            .drop_connection();
        assert!(
            !watcher.expect(payload).retain,
            "a Subscription that existed sees RETAIN 0"
        );
        let mut late = lab.broker().v311(&lab.unique("late"));
        assert_eq!(late.subscribe(&[(&topic, 2)]), [2]);
        let found = late.recv_publish();
        assert_eq!(
            (found.retain, found.qos, found.payload.as_slice()),
            (true, qos, payload.as_slice())
        );
    }
}

/// A client whose Will says `gone` at QoS 1.
#[track_caller]
fn willing(lab: &Lab, topic: &str, clean: bool) -> Raw {
    let id = lab.unique("will");
    let will = Some(WillSpec {
        qos: 1,
        ..WillSpec::new(topic, b"gone")
    });
    lab.broker().connect(&ConnectSpec {
        clean,
        will,
        ..ConnectSpec::v311(&id)
    })
}
