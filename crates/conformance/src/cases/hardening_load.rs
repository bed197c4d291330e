//! What broke other brokers: what costs memory or time, or needs many clients. Each case is named after its line in a
//! list of such inputs, and tells who broke.
//!
//! Memory is the greatest resident set of a broker's process so far, read before and after. A case that sends tens of
//! megabytes allows it to grow by a few, for buffers that are used for the first time.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::v311_connect::kept;
use super::v311_publish::Pair;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Lab, Prop, PublishSpec, Raw, WillSpec, wire};

/// How long a connection may stay open that has to be closed.
const PATIENCE: Duration = Duration::from_secs(8);
/// The pause between two bytes of a peer that takes its time.
const BETWEEN_BYTES: Duration = Duration::from_millis(250);

const KIB_PER_MIB: u64 = 1024;
const PACKET_TOO_LARGE: u8 = 0x95;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(hardening_1_huge_remaining_length_costs_no_memory, []),
    case!(hardening_1_bytes_before_connect_are_bounded, []),
    case!(hardening_1_large_connect_is_accepted, []),
    case!(
        hardening_7_qos_2_id_repeated_without_end,
        ["v311[MQTT-4.3.3-2]"]
    ),
    case!(
        hardening_7_qos_2_exchanges_end_with_their_sessions,
        ["v311[MQTT-3.1.2-6]"]
    ),
    case!(hardening_8_refused_wills_cost_no_memory, []),
    case!(
        hardening_13_takeovers_leave_one_connection,
        ["v311[MQTT-3.1.4-2]"]
    ),
    case!(
        hardening_14_qos_2_repeats_in_one_segment,
        ["v311[MQTT-4.3.3-2]"]
    ),
    case!(
        hardening_14_qos_2_repeats_across_takeovers,
        ["v311[MQTT-4.3.3-2]"]
    ),
    case!(hardening_17_flood_of_qos_2_ids, []),
    case!(hardening_17_slow_reader_costs_its_own_queue, []),
    case!(hardening_17_silent_connections_keep_nobody_out, []),
    case!(hardening_18_connect_has_to_come_in_time, []),
    case!(
        hardening_18_half_a_packet_is_no_sign_of_life,
        ["v311[MQTT-3.1.2-24]"]
    ),
    case!(hardening_18_keep_alive_has_a_maximum, []),
];

/// RabbitMQ, EMQX and VerneMQ made room for what an anonymous peer announced (CVE-2021-22116, -33175, -33176), Mosquitto
/// before 1.4.15 too (CVE-2017-7651).
fn hardening_1_huge_remaining_length_costs_no_memory(lab: &Lab) {
    const CONNECTIONS: usize = 200;
    let broker = lab.broker_with("connect_timeout 2");
    broker.v311("warm").disconnect();
    let before = peak_kib(&broker);
    let forms = [
        "10 ff ff ff 7f",
        "10 ff ff ff 7f 00 04 4d 51 54 54 04 02",
        "10 ff ff ff 7f 00 04 4d 51 54 54 05 02",
    ];
    let mut all: Vec<Raw> = Vec::new();
    for form in forms.iter().cycle().take(CONNECTIONS) {
        let mut raw = broker.raw();
        raw.send_hex(form);
        all.push(raw);
    }
    for raw in &mut all {
        // With CONNACK where it is 5.0, and in silence otherwise.
        let answer = raw.try_recv_closed();
        let refused = answer
            .iter()
            .all(|packet| packet.first == 0x20 && packet.reason(5) == PACKET_TOO_LARGE);
        assert!(refused && answer.len() <= 1, "{answer:?}");
    }
    assert_grown_by_less_than(&broker, before, 16);
    assert!(broker.v311("after").ping().is_empty());
}

/// The largest CONNECT that 5.0 can express has 256 MB and more; 100,000 bytes is what Mosquitto takes.
fn hardening_1_bytes_before_connect_are_bounded(lab: &Lab) {
    let (id, text) = (lab.unique("large"), "x".repeat(60_000));
    for level in [3, 4, 5] {
        let connect = ConnectSpec {
            level,
            will: Some(WillSpec::new("will", text.as_bytes())),
            user: Some(text.as_str()),
            ..ConnectSpec::v311(&id)
        };
        let mut raw = lab.broker().raw().speaking(level);
        raw.send(&connect.to_bytes());
        let answer = raw.try_recv_closed();
        let refused = answer
            .iter()
            .all(|packet| packet.first == 0x20 && packet.reason(level) == PACKET_TOO_LARGE);
        assert!(
            refused && answer.len() <= usize::from(level == 5),
            "{answer:?}"
        );
    }
}

/// A large Will is lawful, and fits.
fn hardening_1_large_connect_is_accepted(lab: &Lab) {
    let payload = "x".repeat(65_535);
    let password = "y".repeat(30_000);
    for level in [3, 4, 5] {
        let (id, topic) = (lab.unique("large"), lab.unique("large"));
        let mut watcher = lab.broker().v311(&lab.unique("large-watch"));
        assert_eq!(watcher.subscribe(&[(&topic, 0)]), [0]);
        let connect = ConnectSpec {
            level,
            will: Some(WillSpec::new(&topic, payload.as_bytes())),
            user: Some("user"),
            password: Some(password.as_bytes()),
            ..ConnectSpec::v311(&id)
        };
        lab.broker().connect(&connect).drop_connection();
        assert!(
            watcher.recv_publish().payload == payload.as_bytes(),
            "the Will is not what it was"
        );
    }
}

/// Mosquitto before 2.0.16 kept a message for each repeat of one identifier (CVE-2023-28366).
fn hardening_7_qos_2_id_repeated_without_end(lab: &Lab) {
    const BATCHES: usize = 40;
    const BATCH: usize = 500;
    let broker = lab.broker_with("");
    let mut pair = Pair::new(lab, &broker, 2);
    let payload = [b'x'; 1000];
    let publish = PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&pair.topic, &payload, 2)
    };
    let repeats = PublishSpec {
        dup: true,
        ..publish.clone()
    }
    .to_bytes(4)
    .repeat(BATCH);
    pair.publisher.send(&publish.to_bytes(4));
    pair.publisher.expect_hex("50 02 00 07");
    let before = peak_kib(&broker);
    for _ in 0..BATCHES {
        pair.publisher.send(&repeats);
        for _ in 0..BATCH {
            pair.publisher.expect_hex("50 02 00 07");
        }
    }
    // The subscriber does not answer either.
    assert_eq!(pair.subscriber.recv_publish().payload, payload);
    assert!(pair.subscriber.ping().is_empty(), "a repeat was passed on");
    assert_grown_by_less_than(&broker, before, 16);
}

/// The second repair of the same: exchanges that are open when their Session ends.
fn hardening_7_qos_2_exchanges_end_with_their_sessions(lab: &Lab) {
    const CLIENTS: u32 = 300;
    let broker = lab.broker_with("");
    let payload = [b'x'; 4000];
    let publishes: Vec<Vec<u8>> = (1..=20)
        .map(|packet_id| {
            PublishSpec {
                packet_id,
                ..PublishSpec::new("open", &payload, 2)
            }
            .to_bytes(4)
        })
        .collect();
    let publishes = publishes.concat();
    let mut before = 0;
    for number in 0..CLIENTS {
        let mut raw = broker.v311(&format!("open-{number}"));
        raw.send(&publishes);
        for packet_id in 1..=20 {
            raw.expect_hex(&wire::to_hex(&wire::ack(0x50, 4, packet_id, None)));
        }
        raw.drop_connection();
        if number == 10 {
            before = peak_kib(&broker);
        }
    }
    assert_grown_by_less_than(&broker, before, 16);
    // Whoever comes back has neither the Session nor its exchanges: an identifier stands for a new message.
    let mut subscriber = broker.v311("subscriber");
    assert_eq!(subscriber.subscribe(&[("open", 0)]), [0]);
    for number in [0, CLIENTS / 2, CLIENTS - 1] {
        let mut raw = broker.connect(&kept(&format!("open-{number}")));
        assert!(!raw.session_present());
        raw.publish(&PublishSpec {
            packet_id: 20,
            ..PublishSpec::new("open", b"anew", 2)
        });
        assert_eq!(subscriber.recv_publish().payload, b"anew");
    }
}

/// Mosquitto before 2.0.16 lost a Will with the wrong properties (CVE-2023-3592), and before 1.4.15 parts of a CONNECT
/// that it refused (CVE-2017-7654).
fn hardening_8_refused_wills_cost_no_memory(lab: &Lab) {
    const CONNECTIONS: u32 = 500;
    let broker = lab.broker_with("");
    let payload = [b'x'; 60_000];
    let wrong = ConnectSpec {
        will: Some(WillSpec {
            props: vec![Prop::U16(0x21, 1)],
            ..WillSpec::new("will", &payload)
        }),
        user: Some("user"),
        ..ConnectSpec::v5("refused")
    }
    .to_bytes();
    let cut = ConnectSpec {
        will: Some(WillSpec::new("will", &payload)),
        user: Some("user"),
        ..ConnectSpec::v311("refused")
    };
    let cut = wire::packet(
        0x10,
        &[cut.to_bytes().get(4..).unwrap_or_default(), b"more"].concat(),
    );
    let mut before = 0;
    for number in 0..CONNECTIONS {
        for connect in [&wrong, &cut] {
            let mut raw = broker.raw();
            raw.send(connect);
            raw.try_recv_closed();
        }
        if number == 20 {
            before = peak_kib(&broker);
        }
    }
    assert_grown_by_less_than(&broker, before, 16);
}

/// Sol used a connection after it had freed it when another came with its Client Identifier (sol#17).
fn hardening_13_takeovers_leave_one_connection(lab: &Lab) {
    let (id, topic) = (lab.unique("storm"), lab.unique("storm"));
    let connect = kept(&id);
    let mut first = lab.broker().connect(&connect);
    assert_eq!(first.subscribe(&[(&topic, 1)]), [1]);
    let mut all: Vec<Raw> = (0..60).map(|_| lab.broker().raw().speaking(4)).collect();
    for raw in &mut all {
        raw.send(&[connect.to_bytes(), wire::pingreq().repeat(3)].concat());
    }
    first.expect_closed();
    for raw in &mut all {
        assert_eq!(raw.recv().to_hex(), "20 02 01 00");
    }
    let mut last = lab.broker().connect(&connect);
    assert!(last.session_present());
    for raw in &mut all {
        let answers = raw.try_recv_closed();
        assert!(
            answers.iter().all(|answer| answer.first == 0xD0),
            "{answers:?}"
        );
    }
    let mut publisher = lab.broker().v311(&lab.unique("p"));
    for payload in [b"one", b"two"] {
        publisher.publish(&PublishSpec::new(&topic, payload, 1));
        let delivered = last.recv_publish();
        assert_eq!(delivered.payload, payload);
        last.ack(&delivered);
    }
    assert!(last.ping().is_empty());
}

/// EMQX lost or doubled messages between the check of an identifier and the message that it guards (CVE-2026-8741).
fn hardening_14_qos_2_repeats_in_one_segment(lab: &Lab) {
    let mut pair = Pair::new(lab, lab.broker(), 2);
    let topic = pair.topic.clone();
    let publish = |payload: &[u8], dup| {
        PublishSpec {
            packet_id: 7,
            dup,
            ..PublishSpec::new(&topic, payload, 2)
        }
        .to_bytes(4)
    };
    let pubrel = || wire::ack(0x62, 4, 7, None);
    let packets = [
        publish(b"one", false),
        publish(b"one", true),
        pubrel(),
        pubrel(),
        publish(b"two", false),
        pubrel(),
        publish(b"three", true),
        publish(b"three", true),
    ];
    pair.publisher.send(&packets.concat());
    for first in ["50", "50", "70", "70", "50", "70", "50", "50"] {
        pair.publisher.expect_hex(&format!("{first} 02 00 07"));
    }
    pair.expect(b"one");
    pair.expect(b"two");
    pair.expect(b"three");
    pair.publisher.send(&pubrel());
    pair.publisher.expect_hex("70 02 00 07");
    pair.expect_nothing(2);
}

/// Whether the older connection's PUBLISH was still read or not, the message comes once.
fn hardening_14_qos_2_repeats_across_takeovers(lab: &Lab) {
    let (id, mut pair) = (lab.unique("race"), Pair::new(lab, lab.broker(), 2));
    let topic = pair.topic.clone();
    let connect = kept(&id);
    for turn in 0..30_u8 {
        let payload = [turn];
        let publish = PublishSpec {
            packet_id: 7,
            ..PublishSpec::new(&topic, &payload, 2)
        };
        let mut older = lab.broker().connect(&connect);
        older.send_publish(&publish);
        let mut newer = lab.broker().connect(&connect);
        newer.publish(&PublishSpec {
            dup: true,
            ..publish
        });
        pair.expect(&payload);
    }
    pair.expect_nothing(2);
}

/// NanoMQ stopped when its queue for one peer was full (CVE-2024-48077), Mochi under a flood of packets
/// (CVE-2024-50948). Every identifier is answered, or the connection ends at a bound.
fn hardening_17_flood_of_qos_2_ids(lab: &Lab) {
    let broker = lab.broker_with("receive_maximum_strict false");
    let mut bystander = Pair::new(lab, &broker, 1);
    let before = peak_kib(&broker);
    for level in [3, 4, 5] {
        let id = format!("flood-{level}");
        let mut raw = broker.connect(&ConnectSpec {
            level,
            ..ConnectSpec::v311(&id)
        });
        let publishes: Vec<Vec<u8>> = (1..=u16::MAX)
            .map(|packet_id| {
                PublishSpec {
                    packet_id,
                    ..PublishSpec::new("flood", b"x", 2)
                }
                .to_bytes(level)
            })
            .collect();
        raw.send(&publishes.concat());
        raw.send(&wire::disconnect(level, None, &[]));
        bystander.publish(b"x", 1);
        bystander.expect(b"x");
        for (packet_id, answer) in (1..=u16::MAX).zip(raw.try_recv_closed()) {
            match answer.packet_type() {
                5 => assert_eq!(answer.packet_id(), packet_id),
                14 if level == 5 => assert_eq!(answer.reason(5), 0x93),
                _ => panic!("PUBLISH {packet_id} is answered by {answer:?}"),
            }
        }
    }
    assert_grown_by_less_than(&broker, before, 16);
}

/// One client that read slowly stopped Mochi for everybody (mochi#95), and cost VerneMQ its memory (vernemq#1814).
fn hardening_17_slow_reader_costs_its_own_queue(lab: &Lab) {
    const BATCHES: u32 = 100;
    const BATCH: u32 = 50;
    let broker = lab.broker_with("max_queued_messages 100");
    let mut slow = broker.v311("slow");
    let mut pair = Pair::new(lab, &broker, 0);
    assert_eq!(slow.subscribe(&[(&pair.topic, 0)]), [0]);
    let payload = [b'x'; 10_000];
    let before = peak_kib(&broker);
    for _ in 0..BATCHES {
        for _ in 0..BATCH {
            pair.publish(&payload, 0);
        }
        assert!(pair.publisher.ping().is_empty());
        for _ in 0..BATCH {
            let delivered = pair.subscriber.recv_publish();
            assert!(
                delivered.payload == payload,
                "the quick reader got something else"
            );
        }
    }
    assert_grown_by_less_than(&broker, before, 16);
    // What its connection and its queue could take is still there, and no more.
    let mut received = 0;
    loop {
        let waiting = slow.ping().len();
        if waiting == 0 {
            break;
        }
        received += waiting;
    }
    let sent = BATCHES as usize * BATCH as usize;
    assert!(
        received < sent,
        "the broker kept all of {sent} messages for a client that did not read"
    );
    pair.publish(b"again", 0);
    assert_eq!(slow.recv_publish().payload, b"again");
}

/// Handshakes that never end take no place from those that do (mosquitto#2830, emqx#3492).
fn hardening_17_silent_connections_keep_nobody_out(lab: &Lab) {
    let broker = lab.broker_with("");
    let connect = ConnectSpec::v311("half").to_bytes();
    let half = connect.get(..connect.len() / 2).unwrap_or_default();
    let mut silent: Vec<Raw> = Vec::new();
    for number in 0..150 {
        let mut raw = broker.raw();
        if number % 2 == 0 {
            raw.send(half);
        }
        silent.push(raw);
    }
    let mut pair = Pair::new(lab, &broker, 1);
    for number in 0..50_u8 {
        pair.publish(&[number], 1);
        pair.expect(&[number]);
    }
    // None of them was closed before its time.
    for raw in silent.iter_mut().step_by(2) {
        raw.send(connect.get(half.len()..).unwrap_or_default());
        assert_eq!(raw.recv().to_hex(), "20 02 00 00");
    }
}

/// MQTT has no bound for the time to CONNECT; a peer could hold connections for nothing (CVE-2020-13849).
fn hardening_18_connect_has_to_come_in_time(lab: &Lab) {
    let broker = lab.broker_with("connect_timeout 1");
    let connect = ConnectSpec::v311(&"x".repeat(200)).to_bytes();
    let (half, rest) = connect.split_at(20);
    let forms: [(&str, &[u8], &[u8]); 3] = [
        ("nothing", &[], &[]),
        ("half a CONNECT", half, &[]),
        ("a CONNECT byte by byte", half, rest),
    ];
    for (form, opening, pieces) in forms {
        let took = closed_after(broker.addr, opening, pieces);
        let in_time = Duration::from_millis(900)..Duration::from_millis(3500);
        assert!(
            in_time.contains(&took),
            "{form} was closed after {took:?}, connect_timeout is 1 s"
        );
    }
    // Whoever is in time is not disturbed later.
    let mut raw = broker.v311("in time");
    raw.expect_silence(Duration::from_millis(1500));
    assert!(raw.ping().is_empty());
}

/// Keep Alive asks for a Control Packet. A peer that sends one of its bytes now and then sends none (CVE-2020-13849).
fn hardening_18_half_a_packet_is_no_sign_of_life(lab: &Lab) {
    for level in [3, 4, 5] {
        let id = lab.unique("loris");
        let connect = ConnectSpec {
            level,
            keep_alive: 1,
            ..ConnectSpec::v311(&id)
        }
        .to_bytes();
        // The beginning of a PUBLISH of 127 bytes.
        let opening = [connect, wire::hex("30 7f 00 7d")].concat();
        let took = closed_after(lab.broker().addr, &opening, &[b'x'; 100]);
        let in_time = Duration::from_millis(1400)..Duration::from_millis(4000);
        assert!(
            in_time.contains(&took),
            "closed after {took:?} at Keep Alive 1 s"
        );
    }
}

/// Without one a peer could ask for 18 hours, or for no Keep Alive at all (CVE-2020-13849). 3.x cannot be told another
/// value, so it is refused, with the code that Mosquitto takes.
fn hardening_18_keep_alive_has_a_maximum(lab: &Lab) {
    let broker = lab.broker_with("max_keepalive 30");
    for level in [3, 4] {
        for keep_alive in [0, 31, u16::MAX] {
            let mut raw = broker.raw().speaking(level);
            raw.send(
                &ConnectSpec {
                    level,
                    keep_alive,
                    ..ConnectSpec::v311("c")
                }
                .to_bytes(),
            );
            raw.expect_refused(2);
        }
        for keep_alive in [1, 30] {
            let connect = ConnectSpec {
                level,
                keep_alive,
                ..ConnectSpec::v311("c")
            };
            assert!(broker.connect(&connect).ping().is_empty());
        }
    }
    for (keep_alive, told) in [
        (0, Some(30)),
        (31, Some(30)),
        (u16::MAX, Some(30)),
        (30, None),
        (1, None),
    ] {
        let raw = broker.connect(&ConnectSpec {
            keep_alive,
            ..ConnectSpec::v5("c")
        });
        let server_keep_alive = raw.connack.prop(0x13).map(|prop| prop.number());
        assert_eq!(server_keep_alive, told, "Keep Alive {keep_alive}");
    }
}

/// The most memory that the process has had so far, in KiB.
#[track_caller]
fn peak_kib(broker: &Broker) -> u64 {
    let file = format!("/proc/{}/status", broker.pid());
    let status = fs::read_to_string(&file).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok());
    kib.unwrap_or_else(|| panic!("no VmHWM in {file}"))
}

#[track_caller]
fn assert_grown_by_less_than(broker: &Broker, before_kib: u64, mib: u64) {
    let grown_kib = peak_kib(broker).saturating_sub(before_kib);
    assert!(
        before_kib > 0 && grown_kib < mib * KIB_PER_MIB,
        "the broker grew by {grown_kib} KiB, {mib} MiB are allowed"
    );
}

/// Sends these bytes, then the others one by one, until the broker closes: how long that took.
#[track_caller]
fn closed_after(addr: SocketAddr, opening: &[u8], others: &[u8]) -> Duration {
    let began = Instant::now();
    let mut stream = match TcpStream::connect(addr) {
        Ok(stream) => stream,
        Err(error) => panic!("cannot connect to {addr}: {error}"),
    };
    let ready = stream
        .set_read_timeout(Some(BETWEEN_BYTES))
        .and_then(|()| stream.write_all(opening));
    assert!(ready.is_ok(), "cannot send to {addr}: {ready:?}");
    let mut others = others.iter();
    while began.elapsed() < PATIENCE {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) if is_early(error.kind()) => {
                if let Some(byte) = others.next()
                    && stream.write_all(&[*byte]).is_err()
                {
                    return began.elapsed();
                }
            }
            Err(_) => return began.elapsed(),
        }
    }
    panic!("the connection is open after {PATIENCE:?}");
}

/// Nothing was there to read yet.
fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
