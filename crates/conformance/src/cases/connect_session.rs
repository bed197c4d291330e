//! Sessions: Clean Start, Session Present, Session Expiry Interval and takeover (3.1.2.4, 3.1.2.11.2, 3.1.4 of MQTT 5.0).

use std::time::Duration;

use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, Prop, PublishSpec, Raw, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const SESSION_TAKEN_OVER: u8 = 0x8E;
const PACKET_IDENTIFIER_NOT_FOUND: u8 = 0x92;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        clean_start_discards_subscriptions,
        ["v5[MQTT-3.1.2-4]", "v5[MQTT-3.1.4-4]", "v5[MQTT-3.2.2-2]"]
    ),
    case!(
        clean_start_discards_queued_messages,
        ["v5[MQTT-3.1.2-4]", "v5[MQTT-3.1.4-4]"]
    ),
    case!(
        clean_start_discards_qos_2_state,
        ["v5[MQTT-3.1.2-4]", "v5[MQTT-3.1.4-4]"]
    ),
    case!(
        session_keeps_subscriptions_and_queue,
        [
            "v5[MQTT-3.1.2-5]",
            "v5[MQTT-3.1.2-23]",
            "v5[MQTT-3.1.4-4]",
            "v5[MQTT-3.2.2-3]"
        ]
    ),
    case!(
        session_keeps_qos_2_state,
        ["v5[MQTT-3.1.2-5]", "v5[MQTT-3.1.2-23]"]
    ),
    case!(
        session_survives_a_broken_connection,
        ["v5[MQTT-3.1.2-5]", "v5[MQTT-3.1.2-23]"]
    ),
    case!(
        resume_without_session_creates_one,
        ["v5[MQTT-3.1.2-6]", "v5[MQTT-3.2.2-3]"]
    ),
    case!(
        session_without_expiry_ends_at_the_close,
        ["v5[MQTT-4.1.0-2]"]
    ),
    case!(session_ends_after_its_expiry_interval, ["v5[MQTT-4.1.0-2]"]),
    case!(
        expiry_interval_counts_from_the_close,
        ["v5[MQTT-3.1.2-23]", "v5[MQTT-4.1.0-1]"]
    ),
    case!(greatest_expiry_interval_is_kept, ["v5[MQTT-3.1.2-23]"]),
    case!(
        expiry_interval_of_the_last_connect_counts,
        ["v5[MQTT-4.1.0-2]"]
    ),
    case!(sessions_belong_to_exact_client_ids, ["v5[MQTT-3.1.3-2]"]),
    case!(
        session_state_is_not_mixed_between_client_ids,
        ["v5[MQTT-3.1.3-2]"]
    ),
    case!(
        takeover_disconnects_the_older_connection,
        ["v5[MQTT-3.1.4-3]"]
    ),
    case!(
        takeover_closes_an_older_3_1_1_connection,
        ["v5[MQTT-3.1.4-3]"]
    ),
    case!(
        takeover_by_3_1_1_disconnects_a_5_0_connection,
        ["v5[MQTT-3.1.4-3]"]
    ),
    case!(
        takeover_keeps_the_session,
        ["v5[MQTT-3.1.2-5]", "v5[MQTT-3.1.4-3]"]
    ),
    case!(
        takeover_with_clean_start_discards_the_session,
        ["v5[MQTT-3.1.2-4]", "v5[MQTT-3.1.4-3]"]
    ),
    case!(
        takeover_chain_leaves_the_last_connection,
        ["v5[MQTT-3.1.4-3]"]
    ),
];

/// A CONNECT whose Session outlives its connection by this many seconds.
fn kept(client_id: &str, seconds: u32, clean: bool) -> ConnectSpec<'_> {
    let props = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, seconds)];
    ConnectSpec {
        clean,
        props,
        ..ConnectSpec::v5(client_id)
    }
}

/// Connects anew with Clean Start 0 and no Session afterwards; says whether there was a Session.
fn has_session(broker: &Broker, client_id: &str) -> bool {
    let raw = broker.connect(&ConnectSpec {
        clean: false,
        ..ConnectSpec::v5(client_id)
    });
    let present = raw.session_present();
    raw.disconnect();
    present
}

fn publisher(lab: &Lab) -> Raw {
    lab.broker().v5(&lab.unique("session-pub"))
}

fn clean_start_discards_subscriptions(lab: &Lab) {
    let (id, old, new) = (
        lab.unique("session"),
        lab.unique("session-old"),
        lab.unique("session-new"),
    );
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert_eq!(raw.subscribe(&[(&old, 1)]), [1]);
    raw.disconnect();
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert!(!raw.session_present());
    assert_eq!(raw.subscribe(&[(&new, 1)]), [1]);
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&old, b"old", 1));
    publisher.publish(&PublishSpec::new(&new, b"new", 1));
    assert_eq!(raw.recv_publish().topic, new);
}

fn clean_start_discards_queued_messages(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    raw.disconnect();
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"while away", 1));
    publisher.publish(&PublishSpec::new(&topic, b"while away", 2));
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert!(!raw.session_present());
    assert_eq!(raw.subscribe(&[(&topic, 2)]), [2]);
    publisher.publish(&PublishSpec::new(&topic, b"marker", 1));
    assert_eq!(raw.recv_publish().payload, b"marker");
}

fn clean_start_discards_qos_2_state(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    raw.send_publish(&PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&topic, b"x", 2)
    });
    assert_eq!(raw.recv().first, 0x50);
    raw.disconnect();
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    raw.send(&wire::ack(0x62, 5, 5, None));
    let pubcomp = raw.recv();
    assert_eq!(
        (pubcomp.first, pubcomp.packet_id(), pubcomp.reason(5)),
        (0x70, 5, PACKET_IDENTIFIER_NOT_FOUND)
    );
}

fn session_keeps_subscriptions_and_queue(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert!(!raw.session_present());
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.disconnect();
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"while away", 1));
    let mut raw = lab.broker().connect(&kept(&id, 60, false));
    assert!(raw.session_present());
    let delivered = raw.recv_publish();
    assert_eq!(
        (delivered.payload.as_slice(), delivered.dup),
        (b"while away".as_slice(), false)
    );
    raw.ack(&delivered);
    publisher.publish(&PublishSpec::new(&topic, b"while here", 1));
    assert_eq!(raw.recv_publish().payload, b"while here");
}

fn session_keeps_qos_2_state(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut watcher = lab.broker().v5(&lab.unique("session-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 2)]), [2]);
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    let publish = PublishSpec {
        packet_id: 5,
        ..PublishSpec::new(&topic, b"once", 2)
    };
    raw.send_publish(&publish);
    assert_eq!(raw.recv().first, 0x50);
    raw.disconnect();
    let mut raw = lab.broker().connect(&kept(&id, 60, false));
    assert!(raw.session_present());
    raw.publish(&PublishSpec {
        dup: true,
        ..publish
    });
    raw.publish(&PublishSpec {
        packet_id: 6,
        ..PublishSpec::new(&topic, b"marker", 2)
    });
    for payload in [b"once".as_slice(), b"marker"] {
        let delivered = watcher.recv_publish();
        assert_eq!(delivered.payload, payload);
        watcher.ack(&delivered);
    }
}

fn session_survives_a_broken_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 60, true));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.drop_connection();
    publisher(lab).publish(&PublishSpec::new(&topic, b"x", 1));
    let mut raw = lab.broker().connect(&kept(&id, 60, false));
    assert!(raw.session_present());
    assert_eq!(raw.recv_publish().payload, b"x");
}

fn resume_without_session_creates_one(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 60, false));
    assert!(!raw.session_present());
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.publish(&PublishSpec::new(&topic, b"x", 0));
    assert_eq!(raw.recv_publish().payload, b"x");
    raw.disconnect();
    assert!(
        lab.broker()
            .connect(&kept(&id, 60, false))
            .session_present()
    );
}

fn session_without_expiry_ends_at_the_close(lab: &Lab) {
    let (absent, zero) = (lab.unique("session-absent"), lab.unique("session-zero"));
    for connect in [ConnectSpec::v5(&absent), kept(&zero, 0, true)] {
        let mut raw = lab.broker().connect(&connect);
        assert_eq!(raw.subscribe(&[("session/none", 1)]), [1]);
        raw.disconnect();
        assert!(!has_session(lab.broker(), connect.client_id));
    }
}

fn session_ends_after_its_expiry_interval(lab: &Lab) {
    let (short, long) = (lab.unique("session-1s"), lab.unique("session-60s"));
    let mut clock = lab.broker().v5(&lab.unique("session-clock"));
    lab.broker().connect(&kept(&short, 1, true)).disconnect();
    lab.broker().connect(&kept(&long, 60, true)).disconnect();
    clock.expect_silence(Duration::from_millis(2500));
    assert!(
        !has_session(lab.broker(), &short),
        "the Session is there after its Session Expiry Interval"
    );
    assert!(
        has_session(lab.broker(), &long),
        "the Session is gone before its Session Expiry Interval"
    );
}

/// The connection lasts longer than the interval, and the Session is there as long, and right after.
fn expiry_interval_counts_from_the_close(lab: &Lab) {
    let (id, topic) = (lab.unique("session"), lab.unique("session"));
    let mut raw = lab.broker().connect(&kept(&id, 2, true));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.expect_silence(Duration::from_millis(2500));
    raw.publish(&PublishSpec::new(&topic, b"x", 0));
    assert_eq!(raw.recv_publish().payload, b"x");
    raw.disconnect();
    assert!(
        has_session(lab.broker(), &id),
        "the Session ended with its connection"
    );
}

fn greatest_expiry_interval_is_kept(lab: &Lab) {
    let id = lab.unique("session-ever");
    lab.broker()
        .connect(&kept(&id, u32::MAX, true))
        .disconnect();
    assert!(has_session(lab.broker(), &id));
}

fn expiry_interval_of_the_last_connect_counts(lab: &Lab) {
    let id = lab.unique("session");
    lab.broker().connect(&kept(&id, 60, true)).disconnect();
    lab.broker().connect(&kept(&id, 0, false)).disconnect();
    assert!(
        !has_session(lab.broker(), &id),
        "the older Session Expiry Interval outlived the newer"
    );
    lab.broker().connect(&kept(&id, 60, false)).disconnect();
    assert!(
        has_session(lab.broker(), &id),
        "the newer Session Expiry Interval is not in force"
    );
}

fn sessions_belong_to_exact_client_ids(lab: &Lab) {
    let id = lab.unique("session-Id");
    lab.broker().connect(&kept(&id, 60, true)).disconnect();
    let others = [
        id.to_lowercase(),
        id.to_uppercase(),
        format!("{id} "),
        format!(" {id}"),
        format!("{id}0"),
    ];
    for other in others {
        assert!(
            !has_session(lab.broker(), &other),
            "{other:?} found the Session of {id:?}"
        );
    }
    assert!(has_session(lab.broker(), &id));
}

fn session_state_is_not_mixed_between_client_ids(lab: &Lab) {
    let ids = [lab.unique("session-a"), lab.unique("session-b")];
    let topics = [lab.unique("session-a"), lab.unique("session-b")];
    for (id, topic) in ids.iter().zip(&topics) {
        let mut raw = lab.broker().connect(&kept(id, 60, true));
        assert_eq!(raw.subscribe(&[(topic, 1)]), [1]);
        raw.disconnect();
    }
    let mut publisher = publisher(lab);
    for topic in &topics {
        publisher.publish(&PublishSpec::new(topic, topic.as_bytes(), 1));
    }
    for (id, topic) in ids.iter().zip(&topics) {
        let mut raw = lab.broker().connect(&kept(id, 60, false));
        let delivered = raw.recv_publish();
        assert_eq!(
            (&delivered.topic, delivered.payload.as_slice()),
            (topic, topic.as_bytes())
        );
        raw.ack(&delivered);
        assert!(raw.ping().is_empty());
    }
}

fn takeover_disconnects_the_older_connection(lab: &Lab) {
    let id = lab.unique("takeover");
    let mut older = lab.broker().v5(&id);
    let mut newer = lab.broker().v5(&id);
    older.expect_disconnect(SESSION_TAKEN_OVER);
    assert!(newer.ping().is_empty());
}

fn takeover_closes_an_older_3_1_1_connection(lab: &Lab) {
    let id = lab.unique("takeover");
    let mut older = lab.broker().v311(&id);
    let mut newer = lab.broker().v5(&id);
    older.expect_closed();
    assert!(newer.ping().is_empty());
}

fn takeover_by_3_1_1_disconnects_a_5_0_connection(lab: &Lab) {
    let id = lab.unique("takeover");
    let mut older = lab.broker().v5(&id);
    let mut newer = lab.broker().v311(&id);
    older.expect_disconnect(SESSION_TAKEN_OVER);
    assert!(newer.ping().is_empty());
}

fn takeover_keeps_the_session(lab: &Lab) {
    let (id, topic) = (lab.unique("takeover"), lab.unique("takeover"));
    let mut older = lab.broker().connect(&kept(&id, 60, true));
    assert_eq!(older.subscribe(&[(&topic, 1)]), [1]);
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&topic, b"open", 1));
    let open = older.recv_publish();
    let mut newer = lab.broker().connect(&kept(&id, 60, false));
    older.expect_disconnect(SESSION_TAKEN_OVER);
    assert!(newer.session_present());
    let again = newer.recv_publish();
    assert_eq!(
        (again.packet_id, again.payload.as_slice(), again.dup),
        (open.packet_id, b"open".as_slice(), true)
    );
    newer.ack(&again);
    publisher.publish(&PublishSpec::new(&topic, b"new", 1));
    assert_eq!(newer.recv_publish().payload, b"new");
}

fn takeover_with_clean_start_discards_the_session(lab: &Lab) {
    let (id, old, new) = (
        lab.unique("takeover"),
        lab.unique("takeover-old"),
        lab.unique("takeover-new"),
    );
    let mut older = lab.broker().connect(&kept(&id, 60, true));
    assert_eq!(older.subscribe(&[(&old, 1)]), [1]);
    let mut newer = lab.broker().connect(&kept(&id, 60, true));
    older.expect_disconnect(SESSION_TAKEN_OVER);
    assert!(!newer.session_present());
    assert_eq!(newer.subscribe(&[(&new, 1)]), [1]);
    let mut publisher = publisher(lab);
    publisher.publish(&PublishSpec::new(&old, b"old", 1));
    publisher.publish(&PublishSpec::new(&new, b"new", 1));
    assert_eq!(newer.recv_publish().topic, new);
}

fn takeover_chain_leaves_the_last_connection(lab: &Lab) {
    let id = lab.unique("takeover");
    let mut last = lab.broker().v5(&id);
    for _ in 0..20 {
        let mut older = std::mem::replace(&mut last, lab.broker().v5(&id));
        older.expect_disconnect(SESSION_TAKEN_OVER);
    }
    assert!(last.ping().is_empty());
}
