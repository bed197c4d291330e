//! MQTT 3.1.1: retained messages: section 3.3.1.3.

use std::collections::BTreeSet;

use super::v311_connect::kept;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{Delivered, Lab, PublishSpec, Raw};

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        v311_retained_message_is_kept_with_its_qos,
        [
            "v311[MQTT-3.3.1-5]",
            "v311[MQTT-3.3.1-6]",
            "v311[MQTT-3.3.1-8]",
            "v311[MQTT-3.8.4-6]"
        ]
    ),
    case!(
        v311_retained_message_of_each_matching_topic,
        ["v311[MQTT-3.3.1-6]", "v311[MQTT-3.3.1-8]"]
    ),
    case!(
        v311_retained_message_is_replaced,
        ["v311[MQTT-3.3.1-5]", "v311[MQTT-3.3.1-6]"]
    ),
    case!(
        v311_retained_qos_0_displaces_the_older_one,
        ["v311[MQTT-3.3.1-7]"]
    ),
    case!(v311_live_message_has_retain_0, ["v311[MQTT-3.3.1-9]"]),
    case!(
        v311_stored_message_has_retain_0,
        ["v311[MQTT-3.3.1-9]", "v311[MQTT-3.1.2-5]"]
    ),
    case!(
        v311_empty_retained_message_is_delivered_and_clears,
        ["v311[MQTT-3.3.1-10]"]
    ),
    case!(
        v311_empty_message_is_never_retained,
        ["v311[MQTT-3.3.1-11]"]
    ),
    case!(v311_retain_0_changes_nothing, ["v311[MQTT-3.3.1-12]"]),
    case!(
        v311_retained_message_outlives_sessions,
        ["v311[MQTT-3.1.2-7]"]
    ),
];

fn v311_retained_message_is_kept_with_its_qos(lab: &Lab) {
    for published in 0..=2_u8 {
        let topic = lab.unique("kept");
        retain(&mut publisher(lab), &topic, b"kept", published);
        for granted in 0..=2 {
            let kept = retained(lab, &topic, granted);
            let [kept] = kept.as_slice() else {
                panic!("awaited one retained message, got {kept:?}");
            };
            assert_eq!(
                (kept.retain, kept.dup, kept.payload.as_slice()),
                (true, false, b"kept".as_slice())
            );
            assert_eq!(kept.qos, published.min(granted));
        }
    }
}

fn v311_retained_message_of_each_matching_topic(lab: &Lab) {
    let base = lab.unique("kept");
    let names = ["", "/", "/a", "/a/b", "/b"].map(|end| format!("{base}{end}"));
    let mut publisher = publisher(lab);
    for name in &names {
        retain(&mut publisher, name, name.as_bytes(), 1);
    }
    let filters: [(&str, &[&str]); 6] = [
        ("", &[""]),
        ("/#", &["", "/", "/a", "/a/b", "/b"]),
        ("/+", &["/", "/a", "/b"]),
        ("/+/b", &["/a/b"]),
        ("/a/#", &["/a", "/a/b"]),
        ("/c", &[]),
    ];
    for (filter, ends) in filters {
        let kept = retained(lab, &format!("{base}{filter}"), 1);
        assert!(kept.iter().all(|message| message.retain), "{kept:?}");
        assert!(
            kept.iter()
                .all(|message| message.payload == message.topic.as_bytes()),
            "{kept:?}"
        );
        let found: BTreeSet<String> = kept.iter().map(|message| message.topic.clone()).collect();
        let expected: BTreeSet<String> = ends.iter().map(|end| format!("{base}{end}")).collect();
        assert_eq!((found, kept.len()), (expected, ends.len()), "{filter:?}");
    }
}

fn v311_retained_message_is_replaced(lab: &Lab) {
    let topic = lab.unique("kept");
    let mut publisher = publisher(lab);
    for (payload, qos) in [(b"first", 1), (b"other", 2), (b"third", 1)] {
        retain(&mut publisher, &topic, payload, qos);
        assert_eq!(payloads(&retained(lab, &topic, 2)), [payload.to_vec()]);
    }
}

/// The newer one may be discarded at any time, the older one may not come back.
fn v311_retained_qos_0_displaces_the_older_one(lab: &Lab) {
    let topic = lab.unique("kept");
    let mut publisher = publisher(lab);
    retain(&mut publisher, &topic, b"older", 1);
    retain(&mut publisher, &topic, b"newer", 0);
    assert_eq!(payloads(&retained(lab, &topic, 1)), [b"newer".to_vec()]);
}

fn v311_live_message_has_retain_0(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    for qos in 0..=2 {
        let topic = pair.topic.clone();
        retain(&mut pair.publisher, &topic, b"live", qos);
        assert!(
            !pair.expect(b"live").retain,
            "RETAIN is 1 on a live message at QoS {qos}"
        );
    }
}

/// The Subscription was there before the message, and only its client was away.
fn v311_stored_message_has_retain_0(lab: &Lab) {
    let (id, topic) = (lab.unique("away"), lab.unique("away"));
    let mut subscriber = lab.broker().connect(&kept(&id));
    assert_eq!(subscriber.subscribe(&[(&topic, 1)]), [1]);
    subscriber.disconnect();
    retain(&mut publisher(lab), &topic, b"stored", 1);
    let mut subscriber = lab.broker().connect(&kept(&id));
    let stored = subscriber.recv_publish();
    assert_eq!(
        (stored.retain, stored.payload.as_slice()),
        (false, b"stored".as_slice())
    );
}

fn v311_empty_retained_message_is_delivered_and_clears(lab: &Lab) {
    for qos in 0..=2 {
        let mut pair = Pair::new(lab, lab.broker(), 2);
        let topic = pair.topic.clone();
        retain(&mut pair.publisher, &topic, b"kept", 1);
        pair.expect(b"kept");
        retain(&mut pair.publisher, &topic, b"", qos);
        let cleared = pair.expect(b"");
        assert_eq!(
            (cleared.retain, cleared.qos, cleared.topic),
            (false, qos, topic.clone())
        );
        assert_nothing_retained(lab, &topic);
    }
}

fn v311_empty_message_is_never_retained(lab: &Lab) {
    for qos in 0..=2 {
        let topic = lab.unique("empty");
        retain(&mut publisher(lab), &topic, b"", qos);
        assert_nothing_retained(lab, &topic);
    }
}

fn v311_retain_0_changes_nothing(lab: &Lab) {
    let (kept, none) = (lab.unique("kept"), lab.unique("none"));
    let mut publisher = publisher(lab);
    retain(&mut publisher, &kept, b"kept", 1);
    for payload in [b"live".as_slice(), b""] {
        for qos in 0..=2 {
            publisher.publish(&PublishSpec::new(&kept, payload, qos));
            publisher.publish(&PublishSpec::new(&none, payload, qos));
        }
    }
    assert!(publisher.ping().is_empty());
    assert_eq!(payloads(&retained(lab, &kept, 2)), [b"kept".to_vec()]);
    assert_nothing_retained(lab, &none);
}

fn v311_retained_message_outlives_sessions(lab: &Lab) {
    let (id, topic) = (lab.unique("kept"), lab.unique("kept"));
    let mut publisher = lab.broker().connect(&kept(&id));
    retain(&mut publisher, &topic, b"kept", 1);
    publisher.disconnect();
    // Clean Session ends the Session that published it.
    lab.broker().v311(&id).disconnect();
    assert_eq!(payloads(&retained(lab, &topic, 1)), [b"kept".to_vec()]);
}

fn publisher(lab: &Lab) -> Raw {
    lab.broker().v311(&lab.unique("p"))
}

/// Publishes with RETAIN; the broker has taken it when this returns.
#[track_caller]
fn retain(publisher: &mut Raw, topic: &str, payload: &[u8], qos: u8) {
    publisher.publish(&PublishSpec {
        retain: true,
        ..PublishSpec::new(topic, payload, qos)
    });
    assert!(publisher.ping().is_empty());
}

/// What a new Subscription is sent. A retained message that a second Subscription asks for ends the list: those of the
/// first come before it.
#[track_caller]
fn retained(lab: &Lab, filter: &str, qos: u8) -> Vec<Delivered> {
    let marker = lab.unique("marker");
    retain(&mut publisher(lab), &marker, b"marker", 1);
    let mut subscriber = lab.broker().v311(&lab.unique("s"));
    assert_eq!(
        subscriber.subscribe(&[(filter, qos), (&marker, 0)]),
        [qos, 0]
    );
    let mut found = Vec::new();
    loop {
        let delivered = subscriber.recv_publish();
        subscriber.ack(&delivered);
        if delivered.topic == marker {
            return found;
        }
        found.push(delivered);
    }
}

#[track_caller]
fn assert_nothing_retained(lab: &Lab, filter: &str) {
    let found = retained(lab, filter, 2);
    assert!(
        found.is_empty(),
        "{filter:?} has retained messages: {found:?}"
    );
}

fn payloads(messages: &[Delivered]) -> Vec<Vec<u8>> {
    messages
        .iter()
        .map(|message| message.payload.clone())
        .collect()
}
