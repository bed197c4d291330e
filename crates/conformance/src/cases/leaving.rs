//! Connections that end, or fall behind, while there is much to read or to write: nobody else waits for them, and what
//! was written comes whole.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::hardening::{LEVELS, client};
use super::limits::connect_in_time;
use crate::case::{Case, case};
use crate::{Broker, ConnectSpec, Delivered, Lab, PublishSpec, Raw, wire};

/// How long the broker may read from a peer that it has told to go.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
/// How long a peer that takes nothing may keep its place after it has left.
const FREE_WITHIN: Duration = Duration::from_secs(15);
/// How often what has no event is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

const PAYLOAD_BYTES: usize = 100_000;
/// Messages that are more, all together, than two sockets and an outgoing buffer take.
const MORE_THAN_FITS: u32 = 400;

/// The cases of this module.
pub const CASES: &[Case] = &[
    case!(flood_behind_a_protocol_error_delays_nobody, []),
    case!(disconnect_behind_publishes_loses_no_acknowledgement, []),
    case!(disconnect_with_a_full_socket_ends_in_time, []),
    case!(disconnect_with_a_full_socket_cuts_no_packet, []),
    case!(large_payloads_to_a_slow_reader_arrive_whole, []),
];

/// The broker has said why it closes, and both go on sending. With one worker, whoever reads them without a pause
/// serves nobody else.
fn flood_behind_a_protocol_error_delays_nobody(lab: &Lab) {
    let broker = lab.broker_with("workers 1");
    let mut bystander = broker.v5("bystander");
    // A packet of type 0, and a PUBLISH of 256 MB.
    let errors = ["00 00", "30 ff ff ff 7f"];
    let streams = errors.map(|error| (error, flooder(&broker, error)));
    thread::scope(|scope| {
        let (begun, floods_begin) = mpsc::channel();
        let floods = streams.map(|(error, stream)| {
            let begun = begun.clone();
            let flooding = move || {
                let closed_after = flood(stream, error, &begun);
                // One that was closed at once is not waited for; nobody may listen any more.
                let _ = begun.send(());
                closed_after
            };
            (error, scope.spawn(flooding))
        });
        drop(begun);
        // Until both have begun, or have ended.
        let _ = (floods_begin.recv(), floods_begin.recv());
        for _ in 0..20 {
            assert!(bystander.ping().is_empty());
        }
        for (error, flood) in floods {
            let closed_after = flood.join().unwrap_or_default();
            assert!(
                closed_after.is_some(),
                "the broker takes what comes behind [{error}] for {CLOSED_WITHIN:?} and longer"
            );
        }
    });
    assert!(bystander.ping().is_empty());
}

/// DISCONNECT ends what the client says, not what it is owed.
fn disconnect_behind_publishes_loses_no_acknowledgement(lab: &Lab) {
    const PUBLISHES: u16 = 50;
    const ROUNDS: usize = 10;
    let topic = lab.unique("leaving");
    for level in LEVELS {
        let mut packets: Vec<u8> = (1..=PUBLISHES)
            .flat_map(|packet_id| {
                PublishSpec {
                    packet_id,
                    ..PublishSpec::new(&topic, b"x", 1)
                }
                .to_bytes(level)
            })
            .collect();
        packets.extend(wire::disconnect(level, None, &[]));
        for round in 0..ROUNDS {
            let mut raw = client(lab, lab.broker(), level);
            raw.send(&packets);
            let answers = raw.try_recv_closed();
            for (packet_id, answer) in (1..=PUBLISHES).zip(&answers) {
                assert_eq!(
                    (answer.first, answer.packet_id()),
                    (0x40, packet_id),
                    "{answer:?}"
                );
                assert!(answer.reason(level) < 0x80, "{answer:?}");
            }
            assert_eq!(
                answers.len(),
                usize::from(PUBLISHES),
                "acknowledgements in round {round} at level {level}"
            );
        }
    }
}

/// What it would have to read first keeps neither its connection nor its place.
fn disconnect_with_a_full_socket_ends_in_time(lab: &Lab) {
    let broker = lab.broker_with("workers 1\nmax_connections 2");
    let (mut publisher, mut subscriber) = full_socket(&broker, 5);
    assert!(
        !has_place(&broker),
        "a connection beyond max_connections is accepted"
    );
    let left = Instant::now();
    subscriber.send(&wire::disconnect(5, None, &[]));
    while !has_place(&broker) {
        assert!(
            left.elapsed() < FREE_WITHIN,
            "a client that has left and does not read has its place after {FREE_WITHIN:?}"
        );
        // Each attempt costs a port. The publisher must not be the one who makes room.
        publisher.expect_silence(LOOK_AGAIN);
    }
    assert!(publisher.ping().is_empty());
    subscriber.drop_connection();
}

/// A client that has left and then reads gets what was on its way, packet by packet.
fn disconnect_with_a_full_socket_cuts_no_packet(lab: &Lab) {
    let broker = lab.broker_with("workers 1");
    for level in [4, 5] {
        let (mut publisher, mut subscriber) = full_socket(&broker, level);
        subscriber.send(&wire::disconnect(level, None, &[]));
        let mut received = 0;
        // A packet that is cut by the close fails here.
        while let Some(packet) = subscriber.recv_or_close() {
            let number = checked_number(&Delivered::from_wire(&packet, level));
            assert_eq!(number, received, "out of order at level {level}");
            received += 1;
        }
        assert!(
            (1..MORE_THAN_FITS).contains(&received),
            "{received} of {MORE_THAN_FITS} messages: the socket was not full"
        );
        assert!(publisher.ping().is_empty());
        publisher.disconnect();
    }
}

/// Large payloads wait in pieces: in the socket, in the outgoing buffer, and in the queue, which may drop whole ones.
fn large_payloads_to_a_slow_reader_arrive_whole(lab: &Lab) {
    const MESSAGES: u32 = 200;
    for (level, lines) in [(4, "workers 1"), (5, "workers 1\nmax_queued_messages 10")] {
        let broker = lab.broker_with(lines);
        let mut slow = client(lab, &broker, level);
        assert_eq!(slow.subscribe(&[("topic", 0)]), [0]);
        let mut publisher = broker.v311("publisher");
        publish_numbered(&mut publisher, MESSAGES);
        let mut numbers = Vec::new();
        loop {
            let waiting = slow.ping();
            if waiting.is_empty() {
                break;
            }
            for packet in &waiting {
                numbers.push(checked_number(&Delivered::from_wire(packet, level)));
            }
        }
        assert_eq!(numbers.first(), Some(&0));
        assert!(
            numbers.is_sorted_by(|earlier, later| earlier < later),
            "out of order at level {level}: {numbers:?}"
        );
        publisher.publish(&PublishSpec::new("topic", b"caught up", 0));
        assert_eq!(slow.recv_publish().payload, b"caught up");
    }
}

/// A client of 5.0 without the rules of [`Raw`], for whom a write that fails is the answer.
#[track_caller]
fn flooder(broker: &Broker, client_id: &str) -> TcpStream {
    let opened = TcpStream::connect(broker.addr).and_then(|mut stream| {
        stream.set_read_timeout(Some(CLOSED_WITHIN))?;
        stream.set_write_timeout(Some(LOOK_AGAIN))?;
        stream.write_all(&ConnectSpec::v5(client_id).to_bytes())?;
        let mut header = [0; 2];
        stream.read_exact(&mut header)?;
        let [first, length] = header;
        let mut body = vec![0; usize::from(length)];
        stream.read_exact(&mut body)?;
        let accepted = first == 0x20 && body.get(1) == Some(&0);
        accepted
            .then_some(stream)
            .ok_or_else(|| io::Error::other(format!("refused by 0x{first:02x} {body:?}")))
    });
    match opened {
        Ok(stream) => stream,
        Err(error) => panic!("no connection to {}: {error}", broker.addr),
    }
}

/// Sends the error, then bytes as fast as they are taken; tells when it has begun. How long it took until the broker
/// took no more because it had closed, if it has.
fn flood(mut stream: TcpStream, error: &str, begun: &Sender<()>) -> Option<Duration> {
    const BEGUN_AT_BYTES: usize = 1_000_000;
    let bytes = [0; 65_536];
    let began = Instant::now();
    let mut sent = 0;
    let mut told = false;
    if stream.write_all(&wire::hex(error)).is_err() {
        return Some(began.elapsed());
    }
    while began.elapsed() < CLOSED_WITHIN {
        match stream.write(&bytes) {
            Ok(count) => sent += count,
            Err(error) if is_early(error.kind()) => {}
            Err(_) => return Some(began.elapsed()),
        }
        if sent >= BEGUN_AT_BYTES && !told {
            told = true;
            let _ = begun.send(());
        }
    }
    None
}

/// Nothing could be written yet.
fn is_early(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A publisher, and a subscriber at QoS 0 that has not read, for whom messages wait in the broker. With one worker
/// nothing is on its way between them any more.
#[track_caller]
fn full_socket(broker: &Broker, level: u8) -> (Raw, Raw) {
    let mut subscriber = connect_in_time(
        broker,
        &ConnectSpec {
            level,
            ..ConnectSpec::v311("subscriber")
        },
    );
    assert_eq!(subscriber.subscribe(&[("topic", 0)]), [0]);
    let mut publisher = connect_in_time(broker, &ConnectSpec::v311("publisher"));
    publish_numbered(&mut publisher, MORE_THAN_FITS);
    (publisher, subscriber)
}

/// Whether the broker takes one client more.
#[track_caller]
fn has_place(broker: &Broker) -> bool {
    let mut raw = broker.raw().speaking(4);
    raw.send(&ConnectSpec::v311("one more").to_bytes());
    let answer = raw.recv_or_close();
    answer.is_some_and(|answer| answer.first == 0x20 && answer.reason(4) == 0)
}

/// Publishes messages with these payloads at QoS 0; all of them are handled when it returns.
#[track_caller]
fn publish_numbered(publisher: &mut Raw, messages: u32) {
    for number in 0..messages {
        publisher.send_publish(&PublishSpec::new("topic", &payload(number), 0));
        if number % 50 == 0 {
            assert!(publisher.ping().is_empty());
        }
    }
    assert!(publisher.ping().is_empty());
}

/// The payload of this message: its number, and bytes that no other message has, nor this one at another place.
fn payload(number: u32) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    let mut state = number;
    bytes.resize_with(PAYLOAD_BYTES, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [high, ..] = state.to_be_bytes();
        high
    });
    bytes
}

/// The number of a message whose payload is what it was.
#[track_caller]
fn checked_number(delivered: &Delivered) -> u32 {
    let bytes = &delivered.payload;
    let Some(number) = bytes
        .first_chunk()
        .map(|number| u32::from_be_bytes(*number))
    else {
        panic!("no number in {delivered:?}");
    };
    let published = payload(number);
    let differs_at = bytes
        .iter()
        .zip(&published)
        .position(|(got, sent)| got != sent);
    assert!(
        *bytes == published,
        "message {number} has {} bytes and differs at {differs_at:?}",
        bytes.len()
    );
    number
}
