//! The Will: sections 3.1.2.5 to 3.1.2.7, 3.1.3.2 to 3.1.3.4 of MQTT 5.0.
//!
//! That no Will comes is proved by a marker which a later connection of the same Client publishes to the Will Topic.

use std::time::{Duration, Instant};

use crate::case::{Case, case};
use crate::{ConnectSpec, Lab, OwnedProp, Prop, PublishSpec, Raw, WillSpec, wire};

const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const WILL_DELAY_INTERVAL: u8 = 0x18;
const USER_PROPERTY: u8 = 0x26;

const MALFORMED: u8 = 0x81;
const TOPIC_NAME_INVALID: u8 = 0x90;
const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(
        will_is_published_when_the_connection_breaks,
        ["v5[MQTT-3.1.2-7]", "v5[MQTT-3.1.2-8]"]
    ),
    case!(
        will_is_published_at_its_qos,
        ["v5[MQTT-3.1.2-8]", "v5[MQTT-3.1.2-12]"]
    ),
    case!(
        will_is_published_after_disconnect_with_will,
        ["v5[MQTT-3.1.2-8]"]
    ),
    case!(
        will_is_published_after_a_malformed_packet,
        ["v5[MQTT-3.1.2-8]"]
    ),
    case!(
        will_is_published_after_a_protocol_error,
        ["v5[MQTT-3.1.2-8]"]
    ),
    case!(
        will_is_published_after_keep_alive_ran_out,
        ["v5[MQTT-3.1.2-8]", "v5[MQTT-3.1.2-22]"]
    ),
    case!(
        will_is_published_on_takeover,
        ["v5[MQTT-3.1.2-8]", "v5[MQTT-3.1.4-3]"]
    ),
    case!(will_is_published_once, ["v5[MQTT-3.1.2-10]"]),
    case!(
        will_is_discarded_by_normal_disconnect,
        ["v5[MQTT-3.1.2-8]", "v5[MQTT-3.1.2-10]", "v5[MQTT-3.14.4-3]"]
    ),
    case!(
        will_of_the_last_connect_counts,
        ["v5[MQTT-3.1.2-7]", "v5[MQTT-3.1.2-10]"]
    ),
    case!(will_flag_0_leaves_no_will, ["v5[MQTT-3.1.2-7]"]),
    case!(will_fields_must_be_there, ["v5[MQTT-3.1.2-9]"]),
    case!(
        will_fields_without_will_flag_are_malformed,
        ["v5[MQTT-3.1.2-9]"]
    ),
    case!(
        will_qos_without_will_flag_is_malformed,
        ["v5[MQTT-3.1.2-11]"]
    ),
    case!(will_qos_3_is_malformed, ["v5[MQTT-3.1.2-12]"]),
    case!(
        will_retain_without_will_flag_is_malformed,
        ["v5[MQTT-3.1.2-13]"]
    ),
    case!(will_without_retain_is_not_retained, ["v5[MQTT-3.1.2-14]"]),
    case!(will_with_retain_is_retained, ["v5[MQTT-3.1.2-15]"]),
    case!(
        empty_retained_will_removes_the_retained_message,
        ["v5[MQTT-3.1.2-15]"]
    ),
    case!(will_delay_holds_the_will_back, ["v5[MQTT-3.1.2-8]"]),
    case!(will_delay_ends_with_the_session, ["v5[MQTT-3.1.2-8]"]),
    case!(
        will_delay_ends_with_a_session_that_expires,
        ["v5[MQTT-3.1.2-8]"]
    ),
    case!(will_delay_ends_with_clean_start, ["v5[MQTT-3.1.2-8]"]),
    case!(
        will_is_not_published_after_reconnect_in_time,
        ["v5[MQTT-3.1.3-9]", "v5[MQTT-3.1.2-8]"]
    ),
    case!(
        will_is_not_published_after_takeover_in_time,
        ["v5[MQTT-3.1.3-9]"]
    ),
    case!(
        will_delay_is_discarded_by_normal_disconnect,
        ["v5[MQTT-3.1.2-10]"]
    ),
    case!(will_user_properties_keep_their_order, ["v5[MQTT-3.1.3-10]"]),
    case!(will_properties_are_forwarded, ["v5[MQTT-3.1.2-7]"]),
    case!(will_topic_must_be_utf8, ["v5[MQTT-3.1.3-11]"]),
    case!(
        will_topic_must_be_a_topic_name,
        ["v5[MQTT-3.1.3-11]", "v5[MQTT-3.1.4-1]"]
    ),
];

fn with_will<'a>(client_id: &'a str, will: WillSpec<'a>) -> ConnectSpec<'a> {
    ConnectSpec {
        will: Some(will),
        ..ConnectSpec::v5(client_id)
    }
}

/// The same, its Session kept for a minute and its Will held back.
fn with_delayed_will<'a>(client_id: &'a str, topic: &'a str, delay: u32) -> ConnectSpec<'a> {
    let will = WillSpec {
        props: vec![Prop::U32(WILL_DELAY_INTERVAL, delay)],
        ..WillSpec::new(topic, b"gone")
    };
    ConnectSpec {
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)],
        ..with_will(client_id, will)
    }
}

fn watch(lab: &Lab, topic: &str) -> Raw {
    let mut watcher = lab.broker().v5(&lab.unique("will-watch"));
    assert_eq!(watcher.subscribe(&[(topic, 2)]), [2]);
    watcher
}

fn expect_will(watcher: &mut Raw, payload: &[u8]) {
    let delivered = watcher.recv_publish();
    assert_eq!(delivered.payload, payload, "{delivered:?}");
    watcher.ack(&delivered);
}

/// The next message is one that this Client publishes now, with a connection that has no Will.
fn expect_marker(lab: &Lab, watcher: &mut Raw, client_id: &str, topic: &str) {
    let mut client = lab.broker().v5(client_id);
    client.publish(&PublishSpec::new(topic, b"marker", 1));
    expect_will(watcher, b"marker");
    client.disconnect();
}

fn will_is_published_when_the_connection_breaks(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let raw = lab
        .broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
    assert!(
        watcher.ping().is_empty(),
        "the Will came while its connection is open"
    );
    raw.drop_connection();
    let delivered = watcher.recv_publish();
    assert_eq!(
        (delivered.topic.as_str(), delivered.payload.as_slice()),
        (topic.as_str(), b"gone".as_slice())
    );
    assert_eq!(
        (delivered.qos, delivered.retain, delivered.dup),
        (0, false, false)
    );
}

fn will_is_published_at_its_qos(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    for qos in [0, 1, 2] {
        let will = WillSpec {
            qos,
            ..WillSpec::new(&topic, b"gone")
        };
        lab.broker()
            .connect(&with_will(&id, will))
            .drop_connection();
        let delivered = watcher.recv_publish();
        assert_eq!(delivered.qos, qos);
        watcher.ack(&delivered);
    }
}

fn will_is_published_after_disconnect_with_will(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    // Disconnect with Will Message, Unspecified error, Administrative action: all but 0x00 leave the Will.
    for reason in [0x04, 0x80, 0x98] {
        let mut raw = lab
            .broker()
            .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
        raw.send(&wire::disconnect(5, Some(reason), &[]));
        raw.expect_closed();
        expect_will(&mut watcher, b"gone");
    }
}

fn will_is_published_after_a_malformed_packet(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut raw = lab
        .broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
    raw.send_hex("36 06 00 01 61 00 01 00");
    raw.expect_disconnect(MALFORMED);
    expect_will(&mut watcher, b"gone");
}

fn will_is_published_after_a_protocol_error(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut raw = lab
        .broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
    raw.send(&ConnectSpec::v5(&id).to_bytes());
    raw.expect_disconnect(0x82);
    expect_will(&mut watcher, b"gone");
}

fn will_is_published_after_keep_alive_ran_out(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let connect = ConnectSpec {
        keep_alive: 1,
        ..with_will(&id, WillSpec::new(&topic, b"gone"))
    };
    let mut raw = lab.broker().connect(&connect);
    raw.try_recv_closed();
    expect_will(&mut watcher, b"gone");
}

fn will_is_published_on_takeover(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut older = lab
        .broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
    let mut newer = lab.broker().v5(&id);
    older.expect_disconnect(0x8E);
    expect_will(&mut watcher, b"gone");
    assert!(newer.ping().is_empty());
}

fn will_is_published_once(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let kept = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)];
    let will = with_will(&id, WillSpec::new(&topic, b"gone"));
    lab.broker()
        .connect(&ConnectSpec {
            props: kept.clone(),
            ..will
        })
        .drop_connection();
    expect_will(&mut watcher, b"gone");
    // The Session lives on, and its next connection has no Will.
    let raw = lab.broker().connect(&ConnectSpec {
        clean: false,
        props: kept,
        ..ConnectSpec::v5(&id)
    });
    assert!(raw.session_present());
    raw.drop_connection();
    expect_marker(lab, &mut watcher, &id, &topic);
}

fn will_is_discarded_by_normal_disconnect(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    for form in ["e0 00", "e0 01 00", "e0 02 00 00"] {
        let mut raw = lab
            .broker()
            .connect(&with_will(&id, WillSpec::new(&topic, b"gone")));
        raw.send_hex(form);
        raw.expect_closed();
        expect_marker(lab, &mut watcher, &id, &topic);
    }
}

fn will_of_the_last_connect_counts(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    lab.broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"first")))
        .disconnect();
    lab.broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"second")))
        .drop_connection();
    expect_will(&mut watcher, b"second");
    expect_marker(lab, &mut watcher, &id, &topic);
}

/// Where a Will would stand are a User Name and a Password that read like one. The Session has had a Will by the
/// connection before, and this one came in time to prevent it.
fn will_flag_0_leaves_no_will(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut older = lab.broker().connect(&with_delayed_will(&id, &topic, 1));
    let newer = lab.broker().connect(&ConnectSpec {
        clean: false,
        will: None,
        user: Some(topic.as_str()),
        password: Some(b"gone"),
        ..with_delayed_will(&id, &topic, 0)
    });
    assert!(newer.session_present());
    older.try_recv_closed();
    newer.drop_connection();
    watcher.expect_silence(Duration::from_millis(2000));
    expect_marker(lab, &mut watcher, &id, &topic);
}

fn expect_refused(lab: &Lab, flags: u8, fields: &[&[u8]], reason: u8) {
    let mut raw = lab.broker().raw();
    raw.send(&wire::connect_of(flags, &[0], fields));
    raw.expect_refused(reason);
}

fn will_fields_must_be_there(lab: &Lab) {
    let (id, topic) = (wire::string("will-fields"), wire::string("t"));
    expect_refused(lab, 0x06, &[&id], MALFORMED);
    expect_refused(lab, 0x06, &[&id, &[0]], MALFORMED);
    expect_refused(lab, 0x06, &[&id, &[0], &topic], MALFORMED);
    expect_refused(lab, 0x06, &[&id, &[0], &topic, &[0]], MALFORMED);
    expect_refused(
        lab,
        0x06,
        &[&id, &[0], &topic, &[0, 3, b'x', b'y']],
        MALFORMED,
    );
    // The Will as 3.1.1 has it, without Will Properties.
    expect_refused(lab, 0x06, &[&id, &topic, &wire::binary(b"gone")], MALFORMED);
}

fn will_fields_without_will_flag_are_malformed(lab: &Lab) {
    let (id, topic, payload) = (
        wire::string("will-fields"),
        wire::string("t"),
        wire::binary(b"gone"),
    );
    expect_refused(lab, 0x02, &[&id, &[0], &topic, &payload], MALFORMED);
}

fn will_qos_without_will_flag_is_malformed(lab: &Lab) {
    let id = wire::string("will-flags");
    for qos in [1, 2, 3] {
        expect_refused(lab, 0x02 | (qos << 3), &[&id], MALFORMED);
    }
}

fn will_qos_3_is_malformed(lab: &Lab) {
    let (id, topic, payload) = (
        wire::string("will-flags"),
        wire::string("t"),
        wire::binary(b"gone"),
    );
    for retain in [0x00, 0x20] {
        expect_refused(
            lab,
            0x1E | retain,
            &[&id, &[0], &topic, &payload],
            MALFORMED,
        );
    }
}

fn will_retain_without_will_flag_is_malformed(lab: &Lab) {
    let id = wire::string("will-flags");
    expect_refused(lab, 0x22, &[&id], MALFORMED);
    expect_refused(lab, 0x2A, &[&id], MALFORMED);
}

/// All that is retained below `base` is what stands there at last: markers around the Will's place, and no Will.
fn will_without_retain_is_not_retained(lab: &Lab) {
    let (id, base) = (lab.unique("will"), lab.unique("will"));
    let (before, topic, after) = (
        format!("{base}/a"),
        format!("{base}/m"),
        format!("{base}/z"),
    );
    let mut watcher = lab.broker().v5(&lab.unique("will-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, RETAIN_AS_PUBLISHED)]), [0]);
    lab.broker()
        .connect(&with_will(&id, WillSpec::new(&topic, b"gone")))
        .drop_connection();
    let delivered = watcher.recv_publish();
    assert_eq!(
        (delivered.payload.as_slice(), delivered.retain),
        (b"gone".as_slice(), false)
    );
    let mut client = lab.broker().v5(&id);
    for topic in [&before, &after] {
        client.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(topic, b"marker", 1)
        });
    }
    assert_eq!(client.subscribe(&[(&format!("{base}/+"), 0)]), [0]);
    for _ in [&before, &after] {
        assert_eq!(client.recv_publish().payload, b"marker");
    }
    assert!(client.ping().is_empty());
}

fn will_with_retain_is_retained(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut plain = watch(lab, &topic);
    let mut as_published = lab.broker().v5(&lab.unique("will-watch"));
    assert_eq!(
        as_published.subscribe(&[(&topic, RETAIN_AS_PUBLISHED)]),
        [0]
    );
    let will = WillSpec {
        retain: true,
        qos: 1,
        ..WillSpec::new(&topic, b"gone")
    };
    lab.broker()
        .connect(&with_will(&id, will))
        .drop_connection();
    assert!(!plain.recv_publish().retain);
    assert!(as_published.recv_publish().retain);
    let mut later = watch(lab, &topic);
    let delivered = later.recv_publish();
    assert_eq!(
        (
            delivered.payload.as_slice(),
            delivered.qos,
            delivered.retain
        ),
        (b"gone".as_slice(), 1, true)
    );
}

fn empty_retained_will_removes_the_retained_message(lab: &Lab) {
    let (id, base) = (lab.unique("will"), lab.unique("will"));
    let (topic, other) = (format!("{base}/m"), format!("{base}/z"));
    let mut client = lab.broker().v5(&lab.unique("will-pub"));
    for topic in [&topic, &other] {
        client.publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new(topic, b"kept", 1)
        });
    }
    let mut watcher = lab.broker().v5(&lab.unique("will-watch"));
    assert_eq!(watcher.subscribe(&[(&topic, 0x20)]), [0]);
    let will = WillSpec {
        retain: true,
        ..WillSpec::new(&topic, b"")
    };
    lab.broker()
        .connect(&with_will(&id, will))
        .drop_connection();
    expect_will(&mut watcher, b"");
    assert_eq!(client.subscribe(&[(&format!("{base}/+"), 0)]), [0]);
    assert_eq!(client.recv_publish().topic, other);
    assert!(client.ping().is_empty());
}

fn will_delay_holds_the_will_back(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let raw = lab.broker().connect(&with_delayed_will(&id, &topic, 1));
    let dropped = Instant::now();
    raw.drop_connection();
    expect_will(&mut watcher, b"gone");
    let waited = dropped.elapsed();
    assert!(
        waited >= Duration::from_millis(950),
        "the Will came after {waited:?}, its Will Delay Interval is 1 s"
    );
}

fn will_delay_ends_with_the_session(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let connect = ConnectSpec {
        props: Vec::new(),
        ..with_delayed_will(&id, &topic, 600)
    };
    lab.broker().connect(&connect).drop_connection();
    expect_will(&mut watcher, b"gone");
}

fn will_delay_ends_with_a_session_that_expires(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let props = vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 1)];
    let connect = ConnectSpec {
        props,
        ..with_delayed_will(&id, &topic, 600)
    };
    let raw = lab.broker().connect(&connect);
    let dropped = Instant::now();
    raw.drop_connection();
    expect_will(&mut watcher, b"gone");
    let waited = dropped.elapsed();
    assert!(
        waited >= Duration::from_millis(950),
        "the Will came after {waited:?}, its Session lasts 1 s"
    );
}

fn will_delay_ends_with_clean_start(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut older = lab.broker().connect(&with_delayed_will(&id, &topic, 600));
    let newer = lab.broker().v5(&id);
    older.expect_disconnect(0x8E);
    assert!(!newer.session_present());
    expect_will(&mut watcher, b"gone");
}

fn will_is_not_published_after_reconnect_in_time(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    lab.broker()
        .connect(&with_delayed_will(&id, &topic, 1))
        .drop_connection();
    let resumed = ConnectSpec {
        clean: false,
        will: None,
        ..with_delayed_will(&id, &topic, 0)
    };
    let raw = lab.broker().connect(&resumed);
    assert!(raw.session_present());
    watcher.expect_silence(Duration::from_millis(2000));
    raw.disconnect();
    expect_marker(lab, &mut watcher, &id, &topic);
}

fn will_is_not_published_after_takeover_in_time(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let mut older = lab.broker().connect(&with_delayed_will(&id, &topic, 600));
    let resumed = ConnectSpec {
        clean: false,
        will: None,
        ..with_delayed_will(&id, &topic, 0)
    };
    let mut newer = lab.broker().connect(&resumed);
    older.expect_disconnect(0x8E);
    assert!(newer.session_present());
    newer.publish(&PublishSpec::new(&topic, b"marker", 1));
    expect_will(&mut watcher, b"marker");
    newer.disconnect();
    expect_marker(lab, &mut watcher, &id, &topic);
}

fn will_delay_is_discarded_by_normal_disconnect(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    lab.broker()
        .connect(&with_delayed_will(&id, &topic, 1))
        .disconnect();
    watcher.expect_silence(Duration::from_millis(2000));
    expect_marker(lab, &mut watcher, &id, &topic);
}

fn will_user_properties_keep_their_order(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let pairs = [("z", "1"), ("a", "2"), ("z", "1"), ("", ""), ("a", "1")];
    let props = pairs
        .iter()
        .map(|(name, value)| Prop::Pair(USER_PROPERTY, name, value))
        .collect();
    let will = WillSpec {
        props,
        ..WillSpec::new(&topic, b"gone")
    };
    lab.broker()
        .connect(&with_will(&id, will))
        .drop_connection();
    let expected: Vec<OwnedProp> = pairs
        .iter()
        .map(|(name, value)| {
            OwnedProp::Pair(USER_PROPERTY, (*name).to_owned(), (*value).to_owned())
        })
        .collect();
    assert_eq!(watcher.recv_publish().props, expected);
}

fn will_properties_are_forwarded(lab: &Lab) {
    let (id, topic) = (lab.unique("will"), lab.unique("will"));
    let mut watcher = watch(lab, &topic);
    let props = vec![
        Prop::U32(WILL_DELAY_INTERVAL, 0),
        Prop::Byte(PAYLOAD_FORMAT_INDICATOR, 1),
        Prop::U32(MESSAGE_EXPIRY_INTERVAL, 100),
        Prop::Str(CONTENT_TYPE, "text/plain"),
        Prop::Str(RESPONSE_TOPIC, "answers/here"),
        Prop::Bin(CORRELATION_DATA, b"\x00\xFF"),
    ];
    let will = WillSpec {
        props,
        ..WillSpec::new(&topic, b"gone")
    };
    lab.broker()
        .connect(&with_will(&id, will))
        .drop_connection();
    let delivered = watcher.recv_publish();
    for expected in [
        OwnedProp::Byte(PAYLOAD_FORMAT_INDICATOR, 1),
        OwnedProp::Str(CONTENT_TYPE, "text/plain".to_owned()),
        OwnedProp::Str(RESPONSE_TOPIC, "answers/here".to_owned()),
        OwnedProp::Bin(CORRELATION_DATA, vec![0x00, 0xFF]),
    ] {
        assert_eq!(delivered.prop(expected.id()), Some(&expected));
    }
    let expiry = delivered
        .prop(MESSAGE_EXPIRY_INTERVAL)
        .map(OwnedProp::number);
    assert!(
        matches!(expiry, Some(95..=100)),
        "Message Expiry Interval was 100, is {expiry:?}"
    );
    assert_eq!(delivered.prop(WILL_DELAY_INTERVAL), None);
    assert_eq!(delivered.props.len(), 5);
}

fn will_topic_must_be_utf8(lab: &Lab) {
    let (id, payload) = (wire::string("will-topic"), wire::binary(b"gone"));
    for bytes in [b"\xFF".as_slice(), b"t\xC3", b"\xED\xA0\x80", b"t\0"] {
        expect_refused(
            lab,
            0x06,
            &[&id, &[0], &wire::binary(bytes), &payload],
            MALFORMED,
        );
    }
}

fn will_topic_must_be_a_topic_name(lab: &Lab) {
    let (id, payload) = (wire::string("will-topic"), wire::binary(b"gone"));
    for topic in ["", "+", "#", "a/+/b", "a/#", "a+"] {
        expect_refused(
            lab,
            0x06,
            &[&id, &[0], &wire::string(topic), &payload],
            TOPIC_NAME_INVALID,
        );
    }
}
