//! The limits of the configuration, and what happens at each: packets, topics, Subscriptions, connections, Sessions.
//!
//! Queues and messages on their way stand in `limits_queue`, times in `hardening_load`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::hardening::{LEVELS, client};
use super::v311_connect::kept;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, Prop, PublishSpec, Raw, WillSpec, wire};

/// How long a place may take to be free again.
const PATIENCE: Duration = Duration::from_secs(5);

const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
const RECEIVE_MAXIMUM: u8 = 0x21;
const MAXIMUM_QOS: u8 = 0x24;
const RETAIN_AVAILABLE: u8 = 0x25;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;

const IMPLEMENTATION_SPECIFIC_ERROR: u8 = 0x83;
const CLIENT_IDENTIFIER_NOT_VALID: u8 = 0x85;
const SERVER_BUSY: u8 = 0x89;
const TOPIC_FILTER_INVALID: u8 = 0x8F;
const TOPIC_NAME_INVALID: u8 = 0x90;
const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
const PACKET_TOO_LARGE: u8 = 0x95;
const QUOTA_EXCEEDED: u8 = 0x97;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
const QOS_NOT_SUPPORTED: u8 = 0x9B;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(limit_max_packet_size, []),
    case!(limit_max_packet_size_is_told_by_the_header, []),
    case!(limit_max_packet_size_of_none, []),
    case!(limit_message_size, []),
    case!(limit_max_topic_levels, []),
    case!(limit_max_topic_levels_by_default, []),
    case!(limit_max_subscriptions_per_client, []),
    case!(limit_max_connections, []),
    case!(
        limit_max_connections_is_a_transient_error,
        ["v311[MQTT-4.8.0-2]"]
    ),
    case!(limit_receive_maximum_strict, []),
    case!(limit_receive_maximum_lenient, []),
    case!(limit_receive_maximum_counts_open_exchanges, []),
    case!(limit_max_qos, []),
    case!(limit_retain_available, []),
    case!(limit_allow_zero_length_clientid, ["v311[MQTT-3.1.3-9]"]),
    case!(limit_auto_id_prefix, []),
    case!(limit_persistent_client_expiration, []),
];

fn limit_max_packet_size(lab: &Lab) {
    const SIZE: usize = 1000;
    let broker = lab.broker_with("max_packet_size 1000");
    assert_eq!(announced(&broker, MAXIMUM_PACKET_SIZE), Some(1000));
    let mut bystander = broker.v311("bystander");
    for level in LEVELS {
        for qos in 0..=2 {
            let mut raw = client(lab, &broker, level);
            assert_eq!(raw.subscribe(&[("topic", 0)]), [0]);
            raw.send(&publish_of_size(level, qos, SIZE));
            assert_eq!(
                raw.recv_until("PUBLISH", |packet| packet.packet_type() == 3)
                    .to_bytes()
                    .len()
                    + usize::from(qos > 0) * 2,
                SIZE
            );
            raw.send(&publish_of_size(level, qos, SIZE + 1));
            expect_end(&mut raw, PACKET_TOO_LARGE);
        }
        let mut raw = client(lab, &broker, level);
        raw.send(&wire::subscribe(
            level,
            1,
            &[],
            &[("a".repeat(SIZE).as_str(), 0)],
        ));
        expect_end(&mut raw, PACKET_TOO_LARGE);
    }
    assert!(
        bystander.ping().is_empty(),
        "a packet that is too large ended another connection"
    );
}

/// Nothing beyond the length has to come.
fn limit_max_packet_size_is_told_by_the_header(lab: &Lab) {
    let broker = lab.broker_with("max_packet_size 1000");
    for level in LEVELS {
        // Remaining Length 998, with the three bytes of the fixed header 1001; and the longest of all.
        for header in ["30 e6 07", "82 e6 07", "34 ff ff ff 7f"] {
            let mut raw = client(lab, &broker, level);
            raw.send_hex(header);
            expect_end(&mut raw, PACKET_TOO_LARGE);
        }
    }
}

fn limit_max_packet_size_of_none(lab: &Lab) {
    let broker = lab.broker_with("max_packet_size 0");
    let payload = vec![b'x'; 3_000_000];
    for level in LEVELS {
        let mut raw = client(lab, &broker, level);
        assert_eq!(raw.subscribe(&[("topic", 1)]), [1]);
        raw.publish(&PublishSpec::new("topic", &payload, 1));
        assert!(
            raw.recv_publish().payload == payload,
            "3 MB are not what they were"
        );
    }
}

/// The message goes nowhere, and the connection lives. 5.0 is told why where there is an acknowledgement.
fn limit_message_size(lab: &Lab) {
    let broker = lab.broker_with("message_size_limit 100");
    let (fits, large) = ([b'x'; 100], [b'x'; 101]);
    let mut subscriber = broker.v311("subscriber");
    assert_eq!(subscriber.subscribe(&[("topic", 0)]), [0]);
    for level in LEVELS {
        let mut raw = client(lab, &broker, level);
        for qos in 0..=2 {
            let publish = PublishSpec {
                retain: true,
                ..PublishSpec::new("topic", &large, qos)
            };
            match qos {
                0 => raw.send_publish(&publish),
                _ if level < 5 => raw.publish(&publish),
                // PUBREC with an error ends the exchange: the identifier is free.
                _ => {
                    raw.send_publish(&publish);
                    assert_eq!(raw.recv().reason(5), IMPLEMENTATION_SPECIFIC_ERROR);
                }
            }
            raw.publish(&PublishSpec::new("topic", &fits, qos));
            assert_eq!(subscriber.recv_publish().payload, fits);
        }
    }
    let mut late = broker.v311("late");
    assert_eq!(late.subscribe(&[("topic", 0)]), [0]);
    assert!(
        late.ping().is_empty(),
        "a message that was refused is retained"
    );
}

fn limit_max_topic_levels(lab: &Lab) {
    let broker = lab.broker_with("max_topic_levels 4");
    for level in LEVELS {
        let refused = if level == 5 {
            TOPIC_FILTER_INVALID
        } else {
            0x80
        };
        let mut raw = client(lab, &broker, level);
        assert_eq!(
            raw.subscribe(&[("a/b/c/d", 1), ("+/+/+/+", 1), ("///", 1), ("a/b/c/#", 1)]),
            [1, 1, 1, 1]
        );
        for filter in ["a/b/c/d/e", "a/b/c/d/#", "+/+/+/+/+", "////"] {
            assert_eq!(raw.subscribe(&[(filter, 1)]), [refused], "{filter:?}");
        }
        raw.publish(&PublishSpec::new("a/b/c/d", b"x", 1));
        assert_eq!(raw.recv_publish().topic, "a/b/c/d");
        for topic in ["a/b/c/d/e", "////"] {
            for qos in 0..=2 {
                let mut raw = client(lab, &broker, level);
                raw.send_publish(&PublishSpec::new(topic, b"x", qos));
                expect_end(&mut raw, TOPIC_NAME_INVALID);
            }
            let will = Some(WillSpec::new(topic, b"gone"));
            let mut raw = broker.raw().speaking(level);
            raw.send(
                &ConnectSpec {
                    level,
                    will,
                    ..ConnectSpec::v311("will")
                }
                .to_bytes(),
            );
            expect_refusal(&mut raw, &[TOPIC_NAME_INVALID]);
        }
    }
}

fn limit_max_topic_levels_by_default(lab: &Lab) {
    let base = lab.unique("deep");
    let most = vec![base.as_str(); 128].join("/");
    let more = format!("{most}/a");
    for level in LEVELS {
        let refused = if level == 5 {
            TOPIC_FILTER_INVALID
        } else {
            0x80
        };
        let mut raw = client(lab, lab.broker(), level);
        assert_eq!(raw.subscribe(&[(&most, 0), (&more, 0)]), [0, refused]);
        raw.publish(&PublishSpec::new(&most, b"x", 1));
        assert_eq!(raw.recv_publish().payload, b"x");
        raw.send_publish(&PublishSpec::new(&more, b"x", 1));
        expect_end(&mut raw, TOPIC_NAME_INVALID);
    }
}

fn limit_max_subscriptions_per_client(lab: &Lab) {
    let broker = lab.broker_with("max_subscriptions_per_client 3");
    for level in LEVELS {
        let refused = if level == 5 { QUOTA_EXCEEDED } else { 0x80 };
        let mut raw = client(lab, &broker, level);
        let filters = [("a", 1), ("b", 1), ("c/+", 1), ("d", 1), ("e/#", 1)];
        assert_eq!(raw.subscribe(&filters), [1, 1, 1, refused, refused]);
        raw.publish(&PublishSpec::new("d", b"x", 1));
        assert!(
            raw.ping().is_empty(),
            "a Subscription that was refused is there"
        );
        // One that is there may be replaced.
        assert_eq!(raw.subscribe(&[("a", 2)]), [2]);
        assert_eq!(raw.subscribe(&[("d", 2)]), [refused]);
        raw.unsubscribe(&["b"]);
        assert_eq!(raw.subscribe(&[("d", 2), ("b", 1)]), [2, refused]);
        raw.publish(&PublishSpec::new("d", b"x", 1));
        assert_eq!(raw.recv_publish().topic, "d");
        // Each client has its own count.
        assert_eq!(client(lab, &broker, level).subscribe(&[("a", 0)]), [0]);
    }
}

/// Those who are there are served, those beyond are closed or refused, and a place that is left can be taken.
fn limit_max_connections(lab: &Lab) {
    let broker = lab.broker_with("max_connections 3");
    let mut inside: Vec<TcpStream> = Vec::new();
    for round in 0..3 {
        // A place is free again soon after its connection has ended, not at once.
        let deadline = Instant::now() + PATIENCE;
        while inside.len() < 3 {
            assert!(
                Instant::now() < deadline,
                "only {} connections in round {round}",
                inside.len()
            );
            let next = try_connect(&broker, &format!("inside-{round}-{}", inside.len()));
            inside.extend(next);
        }
        for number in 0..5 {
            let other = try_connect(&broker, &format!("outside-{number}"));
            assert!(
                other.is_none(),
                "a connection beyond max_connections is accepted"
            );
        }
        let mut raw = broker.raw();
        raw.send(&ConnectSpec::v5("outside").to_bytes());
        expect_refusal(&mut raw, &[SERVER_BUSY, QUOTA_EXCEEDED]);
        for stream in &mut inside {
            let mut answer = [0; 2];
            let served = stream
                .write_all(&wire::pingreq())
                .and_then(|()| stream.read_exact(&mut answer));
            assert!(
                served.is_ok() && answer == [0xD0, 0],
                "{served:?} {answer:?}"
            );
        }
        inside.truncate(2);
    }
}

/// There is no place for a connection now: it is closed, and its CONNECT has no effect. The same CONNECT is accepted
/// once there is a place. Whatever else runs out for a client of 3.1.1 does not end its connection.
fn limit_max_connections_is_a_transient_error(lab: &Lab) {
    let broker = lab.broker_with("max_connections 2");
    let mut subscriber = connect_in_time(&broker, &ConnectSpec::v311("subscriber"));
    let mut publisher = connect_in_time(&broker, &ConnectSpec::v311("publisher"));
    assert_eq!(subscriber.subscribe(&[("#", 1)]), [1]);
    let connect = ConnectSpec {
        will: Some(WillSpec::new("will", b"of one who was never in")),
        ..kept("third")
    };
    let behind = PublishSpec::new("behind", b"a CONNECT without a place", 0).to_bytes(4);
    for number in 0..5_u8 {
        let mut third = broker.raw().speaking(4);
        third.send(&[connect.to_bytes(), behind.clone()].concat());
        expect_refusal(&mut third, &[]);
        publisher.publish(&PublishSpec::new("topic", &[number], 1));
        let delivered = subscriber.recv_publish();
        assert_eq!(
            (delivered.topic.as_str(), delivered.payload.as_slice()),
            ("topic", [number].as_slice()),
            "the others are served as before"
        );
        subscriber.ack(&delivered);
    }
    publisher.disconnect();
    let mut third = connect_in_time(&broker, &connect);
    assert!(
        !third.session_present(),
        "a CONNECT without a place has left a Session"
    );
    third.publish(&PublishSpec::new("topic", b"there is a place", 1));
    let delivered = subscriber.recv_publish();
    assert_eq!(delivered.payload, b"there is a place");
    subscriber.ack(&delivered);
    assert!(subscriber.ping().is_empty());
}

fn limit_receive_maximum_strict(lab: &Lab) {
    const MAXIMUM: u16 = 4;
    let broker = lab.broker_with("receive_maximum 4");
    assert_eq!(announced(&broker, RECEIVE_MAXIMUM), Some(4));
    let mut raw = broker.v5("publisher");
    open_exchanges(&mut raw, 1..=MAXIMUM);
    // One that ends makes room for one.
    raw.send_hex("62 02 00 02");
    raw.expect_hex("70 02 00 02");
    open_exchanges(&mut raw, MAXIMUM + 1..=MAXIMUM + 1);
    // A repeat is none more.
    open_exchanges(&mut raw, 1..=1);
    raw.send_publish(&PublishSpec {
        packet_id: MAXIMUM + 2,
        ..PublishSpec::new("topic", b"x", 2)
    });
    expect_end(&mut raw, RECEIVE_MAXIMUM_EXCEEDED);
    // The largest value is what a client may assume anyway.
    assert_eq!(
        announced(&lab.broker_with("receive_maximum 65535"), RECEIVE_MAXIMUM),
        None
    );
}

/// Clients in the field get it wrong: up to ten times the value is let pass.
fn limit_receive_maximum_lenient(lab: &Lab) {
    const TENFOLD: u16 = 40;
    let broker = lab.broker_with("receive_maximum 4\nreceive_maximum_strict false");
    assert_eq!(announced(&broker, RECEIVE_MAXIMUM), Some(4));
    let mut raw = broker.v5("publisher");
    open_exchanges(&mut raw, 1..=TENFOLD);
    raw.send_publish(&PublishSpec {
        packet_id: TENFOLD + 1,
        ..PublishSpec::new("topic", b"x", 2)
    });
    expect_end(&mut raw, RECEIVE_MAXIMUM_EXCEEDED);
}

/// QoS 1 is acknowledged as it comes, so that any number may be sent at once.
fn limit_receive_maximum_counts_open_exchanges(lab: &Lab) {
    let broker = lab.broker_with("receive_maximum 1");
    let mut raw = broker.v5("publisher");
    for packet_id in 1..=50 {
        raw.publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new("topic", b"x", 1)
        });
        raw.publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new("topic", b"x", 2)
        });
    }
    open_exchanges(&mut raw, 1..=1);
    raw.send_publish(&PublishSpec {
        packet_id: 2,
        ..PublishSpec::new("topic", b"x", 2)
    });
    expect_end(&mut raw, RECEIVE_MAXIMUM_EXCEEDED);
}

fn limit_max_qos(lab: &Lab) {
    for max in [0_u8, 1] {
        let broker = lab.broker_with(&format!("max_qos {max}"));
        assert_eq!(announced(&broker, MAXIMUM_QOS), Some(u32::from(max)));
        for level in LEVELS {
            for qos in 0..=2 {
                let mut raw = client(lab, &broker, level);
                if qos <= max {
                    raw.publish(&PublishSpec::new("topic", b"x", qos));
                    assert!(raw.ping().is_empty());
                } else {
                    raw.send_publish(&PublishSpec::new("topic", b"x", qos));
                    expect_end(&mut raw, QOS_NOT_SUPPORTED);
                    let will = Some(WillSpec {
                        qos,
                        ..WillSpec::new("will", b"gone")
                    });
                    let mut raw = broker.raw().speaking(level);
                    raw.send(
                        &ConnectSpec {
                            level,
                            will,
                            ..ConnectSpec::v311("will")
                        }
                        .to_bytes(),
                    );
                    expect_refusal(&mut raw, &[QOS_NOT_SUPPORTED]);
                }
            }
        }
    }
}

fn limit_retain_available(lab: &Lab) {
    let broker = lab.broker_with("retain_available false");
    assert_eq!(announced(&broker, RETAIN_AVAILABLE), Some(0));
    for level in LEVELS {
        for qos in 0..=2 {
            let mut raw = client(lab, &broker, level);
            raw.publish(&PublishSpec::new("topic", b"x", qos));
            assert!(raw.ping().is_empty());
            raw.send_publish(&PublishSpec {
                retain: true,
                ..PublishSpec::new("topic", b"x", qos)
            });
            expect_end(&mut raw, RETAIN_NOT_SUPPORTED);
        }
        let will = Some(WillSpec {
            retain: true,
            ..WillSpec::new("will", b"gone")
        });
        let mut raw = broker.raw().speaking(level);
        raw.send(
            &ConnectSpec {
                level,
                will,
                ..ConnectSpec::v311("will")
            }
            .to_bytes(),
        );
        expect_refusal(&mut raw, &[RETAIN_NOT_SUPPORTED]);
    }
    let mut late = broker.v311("late");
    assert_eq!(late.subscribe(&[("topic", 0)]), [0]);
    assert!(late.ping().is_empty());
}

fn limit_allow_zero_length_clientid(lab: &Lab) {
    let broker = lab.broker_with("allow_zero_length_clientid false");
    for (level, refused) in [(3, 2), (4, 2), (5, CLIENT_IDENTIFIER_NOT_VALID)] {
        let mut raw = broker.raw().speaking(level);
        raw.send(
            &ConnectSpec {
                level,
                ..ConnectSpec::v311("")
            }
            .to_bytes(),
        );
        raw.expect_refused(refused);
        assert!(client(lab, &broker, level).ping().is_empty());
    }
}

fn limit_auto_id_prefix(lab: &Lab) {
    let own = lab.broker_with("auto_id_prefix dev-");
    for (broker, prefix) in [(&own, "dev-"), (lab.broker(), "auto-")] {
        let mut ids = Vec::new();
        for _ in 0..10 {
            let raw = broker.v5("");
            let assigned = raw.connack.prop(ASSIGNED_CLIENT_IDENTIFIER);
            let id = assigned
                .map(|prop| prop.text().to_owned())
                .unwrap_or_default();
            assert!(
                id.starts_with(prefix) && id.len() > prefix.len(),
                "{id:?} has not the prefix {prefix:?}"
            );
            ids.push(id);
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10, "an identifier was assigned twice");
        assert!(broker.v311("").ping().is_empty());
    }
}

/// It counts from the end of the connection, and shortens what a client asks for.
fn limit_persistent_client_expiration(lab: &Lab) {
    let broker = lab.broker_with("persistent_client_expiration 1s");
    let long = |client_id, clean| ConnectSpec {
        clean,
        props: vec![Prop::U32(SESSION_EXPIRY_INTERVAL, 3600)],
        ..ConnectSpec::v5(client_id)
    };
    let mut staying = broker.connect(&kept("staying"));
    assert_eq!(staying.subscribe(&[("topic", 1)]), [1]);
    broker.connect(&kept("3.1.1")).disconnect();
    broker.connect(&long("5.0", true)).disconnect();
    for connect in [kept("3.1.1"), long("5.0", false)] {
        let raw = broker.connect(&connect);
        assert!(
            raw.session_present(),
            "{} is gone at once",
            connect.client_id
        );
        raw.disconnect();
    }
    staying.expect_silence(Duration::from_millis(2500));
    for connect in [kept("3.1.1"), long("5.0", false)] {
        assert!(
            !broker.connect(&connect).session_present(),
            "{} is still there",
            connect.client_id
        );
    }
    broker
        .v311("publisher")
        .publish(&PublishSpec::new("topic", b"x", 1));
    assert_eq!(staying.recv_publish().payload, b"x");
}

/// The number that CONNACK announces in this property.
#[track_caller]
fn announced(broker: &Broker, id: u8) -> Option<u32> {
    broker
        .v5("announced")
        .connack
        .prop(id)
        .map(|prop| prop.number())
}

/// A PUBLISH to `topic` that is as many bytes long, all in all.
fn publish_of_size(level: u8, qos: u8, size: usize) -> Vec<u8> {
    let empty = PublishSpec::new("topic", b"", qos).to_bytes(level).len();
    // Its Remaining Length takes one byte, that of the larger packet two.
    let payload = vec![b'x'; size - empty - 1];
    let packet = PublishSpec::new("topic", &payload, qos).to_bytes(level);
    assert_eq!(packet.len(), size);
    packet
}

/// PUBLISH packets at QoS 2, each answered by PUBREC.
#[track_caller]
fn open_exchanges(raw: &mut Raw, packet_ids: impl Iterator<Item = u16>) {
    for packet_id in packet_ids {
        raw.send_publish(&PublishSpec {
            packet_id,
            ..PublishSpec::new("topic", b"x", 2)
        });
        let pubrec = raw.recv();
        assert_eq!((pubrec.first, pubrec.packet_id()), (0x50, packet_id));
        assert!(pubrec.reason(raw.level()) < 0x80, "{pubrec:?}");
    }
}

/// The broker closes; on 5.0 it says this reason before. What is acknowledged before that does not matter.
#[track_caller]
fn expect_end(raw: &mut Raw, reason: u8) {
    let answers = raw.try_recv_closed();
    let said = answers
        .iter()
        .find(|answer| answer.first == 0xE0)
        .map(|last| last.reason(5));
    let awaited = (raw.level() == 5).then_some(reason);
    assert_eq!(said, awaited, "the connection ended with {answers:?}");
}

/// A CONNECT is answered by CONNACK with one of these reasons and a close, or by a close alone. 3.x has codes of its own.
#[track_caller]
fn expect_refusal(raw: &mut Raw, reasons: &[u8]) {
    let answers = raw.try_recv_closed();
    let level = raw.level();
    for answer in &answers {
        assert_eq!(answer.first, 0x20, "awaited CONNACK, got {answer:?}");
        let reason = answer.reason(level);
        let told = if level == 5 {
            reasons.contains(&reason)
        } else {
            (1..=5).contains(&reason)
        };
        assert!(told, "refused by 0x{reason:02x}");
    }
    assert!(answers.len() <= 1, "{answers:?}");
}

/// Connected by this CONNECT as soon as there is a place for it. Until then, and that may be a moment after somebody
/// has left, the broker closes.
#[track_caller]
pub(super) fn connect_in_time(broker: &Broker, connect: &ConnectSpec<'_>) -> Raw {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = broker.raw().speaking(connect.level);
        raw.send(&connect.to_bytes());
        let answer = raw.recv_or_close();
        if let Some(connack) = answer.filter(|answer| answer.reason(connect.level) == 0) {
            raw.connack = connack;
            return raw;
        }
        assert!(
            Instant::now() < deadline,
            "no place for {connect:?} within {PATIENCE:?}"
        );
    }
}

/// A client of 3.1.1, if the broker takes it.
fn try_connect(broker: &Broker, client_id: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(broker.addr).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream
        .write_all(&ConnectSpec::v311(client_id).to_bytes())
        .ok()?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).ok()?;
    (connack == [0x20, 2, 0, 0]).then_some(stream)
}
