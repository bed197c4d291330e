//! CONNACK and what it announces: section 3.2 of MQTT 5.0.

use super::acks::assert_fits;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, Prop, PublishSpec, WillSpec, wire};

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

const NOT_AUTHORIZED: u8 = 0x87;
const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
const TOPIC_ALIAS_INVALID: u8 = 0x94;
const PACKET_TOO_LARGE: u8 = 0x95;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
const QOS_NOT_SUPPORTED: u8 = 0x9B;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(connack_comes_before_queued_messages, ["v5[MQTT-3.2.0-1]"]),
    case!(
        connack_comes_first_and_once,
        ["v5[MQTT-3.2.0-1]", "v5[MQTT-3.2.0-2]"]
    ),
    case!(
        connack_flags_are_session_present_alone,
        ["v5[MQTT-3.2.2-1]"]
    ),
    case!(session_present_is_0_after_clean_start, ["v5[MQTT-3.2.2-2]"]),
    case!(session_present_tells_of_session_state, ["v5[MQTT-3.2.2-3]"]),
    case!(session_present_is_0_on_refusal, ["v5[MQTT-3.2.2-6]"]),
    case!(
        refusal_closes_the_connection,
        ["v5[MQTT-3.2.2-7]", "v5[MQTT-4.13.2-1]"]
    ),
    case!(refusals_use_connect_reason_codes, ["v5[MQTT-3.2.2-8]"]),
    case!(maximum_qos_is_announced, ["v5[MQTT-3.2.2-9]"]),
    case!(
        maximum_qos_lets_every_subscription_pass,
        ["v5[MQTT-3.2.2-10]"]
    ),
    case!(publish_above_maximum_qos_is_refused, ["v5[MQTT-3.2.2-11]"]),
    case!(will_above_maximum_qos_is_refused, ["v5[MQTT-3.2.2-12]"]),
    case!(
        retained_will_without_retain_is_refused,
        ["v5[MQTT-3.2.2-13]"]
    ),
    case!(
        retained_publish_without_retain_is_refused,
        ["v5[MQTT-3.2.2-14]"]
    ),
    case!(
        packet_above_maximum_packet_size_is_refused,
        ["v5[MQTT-3.2.2-15]"]
    ),
    case!(
        alias_above_topic_alias_maximum_is_refused,
        ["v5[MQTT-3.2.2-17]"]
    ),
    case!(
        alias_without_topic_alias_maximum_is_refused,
        ["v5[MQTT-3.2.2-18]"]
    ),
    case!(
        refusal_fits_the_maximum_packet_size,
        ["v5[MQTT-3.2.2-19]", "v5[MQTT-3.2.2-20]"]
    ),
    case!(
        connack_fits_the_maximum_packet_size,
        [
            "v5[MQTT-3.2.2-19]",
            "v5[MQTT-3.2.2-20]",
            "v5[MQTT-3.1.2-24]"
        ]
    ),
    case!(connack_has_the_default_properties, ["v5[MQTT-3.1.4-5]"]),
    case!(
        connack_properties_follow_the_configuration,
        ["v5[MQTT-3.2.2-9]", "v5[MQTT-3.1.3-7]"]
    ),
];

fn kept(client_id: &str, clean: bool) -> ConnectSpec<'_> {
    ConnectSpec {
        clean,
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 60)],
        ..ConnectSpec::v5(client_id)
    }
}

/// A CONNECT that is refused for its Authentication Method.
fn unsupported(client_id: &str, mut props: Vec<Prop<'_>>) -> Vec<u8> {
    props.push(Prop::Str(AUTHENTICATION_METHOD, "NO-SUCH-METHOD"));
    ConnectSpec {
        clean: false,
        props,
        ..ConnectSpec::v5(client_id)
    }
    .to_bytes()
}

fn expect_refused(broker: &Broker, connect: &[u8], reason: u8) {
    let mut raw = broker.raw();
    raw.send(connect);
    raw.expect_refused(reason);
}

/// The property of this number in the CONNACK of a plain client.
fn announced(broker: &Broker, property: u8) -> Option<u32> {
    let raw = broker.v5("connack-announced");
    raw.connack.prop(property).map(|property| property.number())
}

fn connack_comes_before_queued_messages(lab: &Lab) {
    let (id, topic) = (lab.unique("connack"), lab.unique("connack"));
    let mut raw = lab.broker().connect(&kept(&id, true));
    assert_eq!(raw.subscribe(&[(&topic, 1)]), [1]);
    raw.disconnect();
    let mut publisher = lab.broker().v5(&lab.unique("connack-pub"));
    for _ in 0..5 {
        publisher.publish(&PublishSpec::new(&topic, b"x", 1));
    }
    let mut raw = lab.broker().raw();
    raw.send(&[kept(&id, false).to_bytes(), wire::pingreq()].concat());
    let types: Vec<u8> = (0..7).map(|_| raw.recv().packet_type()).collect();
    assert_eq!(types.first(), Some(&2), "{types:?}");
    assert_eq!(
        types
            .iter()
            .filter(|packet_type| **packet_type == 3)
            .count(),
        5,
        "{types:?}"
    );
}

fn connack_comes_first_and_once(lab: &Lab) {
    let (id, topic) = (lab.unique("connack"), lab.unique("connack"));
    let segment = [
        ConnectSpec::v5(&id).to_bytes(),
        wire::subscribe(5, 1, &[], &[(&topic, 0)]),
        PublishSpec::new(&topic, b"x", 0).to_bytes(5),
        PublishSpec {
            packet_id: 2,
            ..PublishSpec::new(&topic, b"y", 1)
        }
        .to_bytes(5),
    ];
    let mut raw = lab.broker().raw();
    raw.send(&segment.concat());
    raw.recv_until("PUBACK", |packet| packet.packet_type() == 4);
    let types: Vec<u8> = raw
        .ping()
        .iter()
        .map(|packet| packet.packet_type())
        .collect();
    assert_eq!(types.first(), Some(&2), "{types:?}");
    assert_eq!(
        types
            .iter()
            .filter(|packet_type| **packet_type == 2)
            .count(),
        1,
        "{types:?}"
    );
    assert!(types.contains(&9), "{types:?}");
}

fn connack_flags_are_session_present_alone(lab: &Lab) {
    let id = lab.unique("connack");
    for (connect, flags) in [
        (kept(&id, true), 0),
        (kept(&id, false), 1),
        (kept(&id, true), 0),
    ] {
        let raw = lab.broker().connect(&connect);
        assert_eq!(raw.connack.body.first(), Some(&flags), "{:?}", raw.connack);
        raw.disconnect();
    }
}

fn session_present_is_0_after_clean_start(lab: &Lab) {
    let id = lab.unique("connack");
    for _ in 0..3 {
        let raw = lab.broker().connect(&kept(&id, true));
        assert!(!raw.session_present(), "{:?}", raw.connack);
        assert_eq!(raw.connack.reason(5), 0);
        raw.disconnect();
    }
}

fn session_present_tells_of_session_state(lab: &Lab) {
    let id = lab.unique("connack");
    for present in [false, true, true] {
        let raw = lab.broker().connect(&kept(&id, false));
        assert_eq!(raw.session_present(), present, "{:?}", raw.connack);
        assert_eq!(raw.connack.reason(5), 0);
        raw.disconnect();
    }
}

fn session_present_is_0_on_refusal(lab: &Lab) {
    let id = lab.unique("connack");
    lab.broker().connect(&kept(&id, true)).disconnect();
    expect_refused(
        lab.broker(),
        &unsupported(&id, Vec::new()),
        BAD_AUTHENTICATION_METHOD,
    );
    // The refused CONNECT left the Session as it was.
    assert!(lab.broker().connect(&kept(&id, false)).session_present());
}

fn refusal_closes_the_connection(lab: &Lab) {
    let id = lab.unique("connack");
    let reserved_flag = wire::connect_of(0x03, &[0], &[&wire::string(&id)]);
    expect_refused(lab.broker(), &reserved_flag, 0x81);
    let receive_maximum_0 = ConnectSpec {
        props: vec![Prop::U16(0x21, 0)],
        ..ConnectSpec::v5(&id)
    };
    expect_refused(lab.broker(), &receive_maximum_0.to_bytes(), 0x82);
    expect_refused(
        lab.broker(),
        &unsupported(&id, Vec::new()),
        BAD_AUTHENTICATION_METHOD,
    );
    let wildcard_will = ConnectSpec {
        will: Some(WillSpec::new("a/#", b"")),
        ..ConnectSpec::v5(&id)
    };
    expect_refused(lab.broker(), &wildcard_will.to_bytes(), 0x90);
}

fn refusals_use_connect_reason_codes(lab: &Lab) {
    const CONNECT_REASON_CODES: [u8; 21] = [
        0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97,
        0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
    ];
    let id = wire::string(&lab.unique("connack"));
    let (topic, payload) = (wire::string("t"), wire::binary(b"x"));
    for connect in [
        wire::connect_of(0x01, &[0], &[&id]),
        wire::connect_of(0x08, &[0], &[&id]),
        wire::connect_of(0x1E, &[0], &[&id, &[0], &topic, &payload]),
        wire::connect_of(0x02, &wire::hex("02 7f 00"), &[&id]),
        wire::connect_of(0x02, &wire::hex("03 21 00 00"), &[&id]),
        wire::connect_of(0x02, &wire::hex("04 16 00 01 78"), &[&id]),
        wire::connect_of(0x06, &[0], &[&id, &[0], &wire::string("+"), &payload]),
        wire::connect_of(0x06, &[0], &[&id, &wire::hex("02 01 02"), &topic, &payload]),
        unsupported("connack", Vec::new()),
    ] {
        let mut raw = lab.broker().raw();
        raw.send(&connect);
        let packets = raw.try_recv_closed();
        let [connack] = packets.as_slice() else {
            panic!("awaited a CONNACK alone, got {packets:?}");
        };
        assert_eq!(connack.first, 0x20, "{connack:?}");
        assert!(
            CONNECT_REASON_CODES.contains(&connack.reason(5)),
            "{connack:?}"
        );
    }
}

fn maximum_qos_is_announced(lab: &Lab) {
    assert_eq!(
        announced(&lab.broker_with("max_qos 0"), MAXIMUM_QOS),
        Some(0)
    );
    assert_eq!(
        announced(&lab.broker_with("max_qos 1"), MAXIMUM_QOS),
        Some(1)
    );
    assert_eq!(announced(&lab.broker_with("max_qos 2"), MAXIMUM_QOS), None);
}

fn maximum_qos_lets_every_subscription_pass(lab: &Lab) {
    for max in [0, 1] {
        let broker = lab.broker_with(&format!("max_qos {max}"));
        let mut subscriber = broker.v5("subscriber");
        let codes = subscriber.subscribe(&[("t/0", 0), ("t/1", 1), ("t/2", 2)]);
        assert!(
            codes.len() == 3 && codes.iter().all(|code| *code <= 2),
            "{codes:?}"
        );
        let mut publisher = broker.v5("publisher");
        for topic in ["t/0", "t/1", "t/2"] {
            publisher.publish(&PublishSpec::new(topic, b"x", max));
            let delivered = subscriber.recv_publish();
            assert_eq!(delivered.topic, topic);
            assert!(delivered.qos <= max, "{delivered:?}");
            subscriber.ack(&delivered);
        }
    }
}

fn publish_above_maximum_qos_is_refused(lab: &Lab) {
    for (max, above) in [(0, [1, 2].as_slice()), (1, [2].as_slice())] {
        let broker = lab.broker_with(&format!("max_qos {max}"));
        for qos in above {
            let mut raw = broker.v5("publisher");
            raw.send_publish(&PublishSpec::new("t", b"x", *qos));
            raw.expect_disconnect(QOS_NOT_SUPPORTED);
        }
    }
}

fn will_above_maximum_qos_is_refused(lab: &Lab) {
    let broker = lab.broker_with("max_qos 1");
    let with_will = |qos| {
        let will = WillSpec {
            qos,
            ..WillSpec::new("t", b"gone")
        };
        ConnectSpec {
            will: Some(will),
            ..ConnectSpec::v5("will")
        }
    };
    expect_refused(&broker, &with_will(2).to_bytes(), QOS_NOT_SUPPORTED);
    broker.connect(&with_will(1)).disconnect();
}

fn retained_will_without_retain_is_refused(lab: &Lab) {
    let broker = lab.broker_with("retain_available false");
    assert_eq!(announced(&broker, RETAIN_AVAILABLE), Some(0));
    let with_will = |retain| {
        let will = WillSpec {
            retain,
            ..WillSpec::new("t", b"gone")
        };
        ConnectSpec {
            will: Some(will),
            ..ConnectSpec::v5("will")
        }
    };
    expect_refused(&broker, &with_will(true).to_bytes(), RETAIN_NOT_SUPPORTED);
    broker.connect(&with_will(false)).disconnect();
}

fn retained_publish_without_retain_is_refused(lab: &Lab) {
    let broker = lab.broker_with("retain_available false");
    for qos in [0, 1, 2] {
        let mut raw = broker.v5("publisher");
        raw.send_publish(&PublishSpec {
            retain: true,
            ..PublishSpec::new("t", b"x", qos)
        });
        raw.expect_disconnect(RETAIN_NOT_SUPPORTED);
    }
}

fn packet_above_maximum_packet_size_is_refused(lab: &Lab) {
    let broker = lab.broker_with("max_packet_size 200");
    assert_eq!(announced(&broker, MAXIMUM_PACKET_SIZE), Some(200));
    // Fixed header 3, Topic Name 3, Property Length 1.
    let payload = [b'x'; 194];
    for (len, qos) in [(193, 0), (191, 1)] {
        let mut raw = broker.v5("publisher");
        raw.publish(&PublishSpec::new(
            "t",
            payload.get(..len).unwrap_or_default(),
            qos,
        ));
        assert!(raw.ping().is_empty(), "a packet of 200 bytes is allowed");
        raw.send_publish(&PublishSpec::new(
            "t",
            payload.get(..=len).unwrap_or_default(),
            qos,
        ));
        raw.expect_disconnect(PACKET_TOO_LARGE);
    }
    // The fixed header alone tells.
    let mut raw = broker.v5("publisher");
    raw.send_hex("30 ff ff ff 7f");
    raw.expect_disconnect(PACKET_TOO_LARGE);
}

fn alias_above_topic_alias_maximum_is_refused(lab: &Lab) {
    let broker = lab.broker_with("max_topic_alias 3");
    assert_eq!(announced(&broker, TOPIC_ALIAS_MAXIMUM), Some(3));
    let aliased = |alias| PublishSpec {
        props: vec![Prop::U16(TOPIC_ALIAS, alias)],
        ..PublishSpec::new("t", b"x", 0)
    };
    for alias in [4, 5, 65_535] {
        let mut raw = broker.v5("publisher");
        raw.publish(&aliased(3));
        assert!(raw.ping().is_empty(), "alias 3 is allowed");
        raw.send_publish(&aliased(alias));
        raw.expect_disconnect(TOPIC_ALIAS_INVALID);
    }
}

fn alias_without_topic_alias_maximum_is_refused(lab: &Lab) {
    let broker = lab.broker_with("max_topic_alias 0");
    assert_eq!(announced(&broker, TOPIC_ALIAS_MAXIMUM).unwrap_or(0), 0);
    let mut raw = broker.v5("publisher");
    raw.send_publish(&PublishSpec {
        props: vec![Prop::U16(TOPIC_ALIAS, 1)],
        ..PublishSpec::new("t", b"x", 0)
    });
    raw.expect_disconnect(TOPIC_ALIAS_INVALID);
}

/// Whatever a refusal says beyond its Reason Code is left out where there is no room for it, as in five bytes.
fn refusal_fits_the_maximum_packet_size(lab: &Lab) {
    let id = lab.unique("connack");
    for size in [5, 6, 8, 12, 16, 24, 32, 48, 64, 200] {
        let maximum = Prop::U32(MAXIMUM_PACKET_SIZE, size);
        let forbidden = ConnectSpec {
            will: Some(WillSpec::new("$SYS/will", b"gone")),
            props: vec![maximum],
            ..ConnectSpec::v5(&id)
        };
        for (connect, reason) in [
            (unsupported(&id, vec![maximum]), BAD_AUTHENTICATION_METHOD),
            (forbidden.to_bytes(), NOT_AUTHORIZED),
        ] {
            let mut raw = lab.broker().raw();
            raw.send(&connect);
            let packets = raw.try_recv_closed();
            let [connack] = packets.as_slice() else {
                panic!("awaited a CONNACK alone for Maximum Packet Size {size}, got {packets:?}");
            };
            assert_eq!(
                (connack.first, connack.reason(5)),
                (0x20, reason),
                "{connack:?}"
            );
            assert_fits(connack, size);
        }
    }
}

/// A success has 16 bytes here. Clients that accept less get it without its properties, which is 5.
fn connack_fits_the_maximum_packet_size(lab: &Lab) {
    let id = lab.unique("connack");
    for size in [5, 6, 12, 15, 16, 20, 48] {
        let raw = lab.broker().connect(&ConnectSpec {
            props: vec![Prop::U32(MAXIMUM_PACKET_SIZE, size)],
            ..ConnectSpec::v5(&id)
        });
        assert_fits(&raw.connack, size);
        match size {
            5 => assert_eq!(raw.connack.to_hex(), "20 03 00 00 00"),
            16 => assert_eq!(raw.connack.to_hex(), DEFAULT_CONNACK),
            _ => {}
        }
        raw.disconnect();
    }
}

/// With Topic Alias Maximum, Maximum Packet Size and Receive Maximum.
const DEFAULT_CONNACK: &str = "20 0e 00 00 0b 22 00 0a 27 00 1e 84 80 21 00 14";

fn connack_has_the_default_properties(lab: &Lab) {
    let mut raw = lab.broker().raw();
    raw.send(
        &ConnectSpec {
            keep_alive: 60,
            ..ConnectSpec::v5(&lab.unique("connack"))
        }
        .to_bytes(),
    );
    raw.expect_hex(DEFAULT_CONNACK);
    let mut raw = lab.broker().raw();
    raw.send(&ConnectSpec::v5(&lab.unique("connack")).to_bytes());
    raw.expect_hex(DEFAULT_CONNACK);
}

fn connack_properties_follow_the_configuration(lab: &Lab) {
    let broker = lab.broker_with(
        "max_topic_alias 7\nmax_keepalive 60\nretain_available false\nmax_packet_size 5000\nreceive_maximum 9\nmax_qos 1",
    );
    let raw = broker.connect(&ConnectSpec {
        keep_alive: 600,
        ..ConnectSpec::v5("")
    });
    let properties = raw.connack.properties();
    let ids: Vec<u8> = properties.iter().map(|property| property.id()).collect();
    assert_eq!(
        ids,
        [0x22, 0x13, 0x12, 0x25, 0x27, 0x21, 0x24],
        "{:?}",
        raw.connack
    );
    for (id, number) in [
        (0x22, 7),
        (0x13, 60),
        (0x25, 0),
        (0x27, 5000),
        (0x21, 9),
        (0x24, 1),
    ] {
        assert_eq!(
            raw.connack.prop(id).map(|property| property.number()),
            Some(number),
            "property 0x{id:02x}"
        );
    }
}
