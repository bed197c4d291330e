//! Connections that move: whichever worker accepts one, it ends up with the worker of its Client
//! Identifier, and takes along whatever the client has sent behind its CONNECT.

use dunlin_conformance::{ConnectSpec, PublishSpec, Wire, wire};

use crate::broker::Broker;
use crate::client::{Client, client_id_of};

/// Pairs of connections for each version.
const PAIRS: u32 = 32;

/// Which of two workers comes first in a pair: 0 1 1 0 1 0 0 1 ..., which no rule of accepting follows.
fn first_worker(pair: u32) -> u16 {
    u16::from(pair.count_ones() % 2 == 1)
}

fn at_level(level: u8, client_id: &str) -> ConnectSpec<'_> {
    ConnectSpec {
        level,
        ..ConnectSpec::v5(client_id)
    }
}

/// CONNECT, SUBSCRIBE, PUBLISH at QoS 1 to what was subscribed, PINGREQ.
fn everything_at_once(level: u8, client_id: &str) -> Vec<u8> {
    let topic = format!("moves/{client_id}");
    let publish = PublishSpec {
        packet_id: 7,
        ..PublishSpec::new(&topic, b"moved", 1)
    };
    [
        at_level(level, client_id).to_bytes(),
        wire::subscribe(level, 3, &[], &[(&topic, 1)]),
        publish.to_bytes(level),
        wire::pingreq(),
    ]
    .concat()
}

/// The answers, each of them right and in the order of the requests. The message itself comes at any place
/// behind SUBACK.
fn check_answers(client: &mut Client, level: u8, client_id: &str) {
    let packets: Vec<Wire> = (0..5).map(|_| client.recv()).collect();
    let types: Vec<u8> = packets.iter().map(Wire::packet_type).collect();
    let is_publish = |packet: &&Wire| packet.packet_type() == 3;
    let answers: Vec<&Wire> = packets.iter().filter(|p| !is_publish(p)).collect();
    let [connack, suback, puback, pingresp] = answers.as_slice() else {
        panic!("four answers and one message awaited for {client_id}, got {packets:?}");
    };
    assert_eq!((connack.packet_type(), connack.reason(level)), (2, 0));
    assert_eq!((suback.packet_type(), suback.packet_id()), (9, 3));
    assert_eq!(suback.codes(level), [1]);
    assert_eq!((puback.packet_type(), puback.packet_id()), (4, 7));
    assert_eq!(puback.reason(level), 0);
    assert_eq!(pingresp.to_hex(), "d0 00");
    assert!(
        types.iter().position(|t| *t == 3) > types.iter().position(|t| *t == 9),
        "a message before SUBACK: {packets:?}"
    );
}

#[test]
fn what_came_in_one_segment_with_connect_moves_along() {
    let broker = Broker::start("workers 2\n");
    for level in [3, 4, 5] {
        for pair in 0..PAIRS {
            let first = first_worker(pair);
            let ids = [first, 1 - first].map(|worker| client_id_of(worker, "mover"));
            let mut clients = ids.each_ref().map(|_| broker.client());
            for (client, id) in clients.iter_mut().zip(&ids) {
                client.send(&everything_at_once(level, id));
            }
            for (client, id) in clients.iter_mut().zip(&ids) {
                check_answers(client, level, id);
            }
        }
    }
}

#[test]
fn an_unfinished_packet_moves_along() {
    let broker = Broker::start("workers 2\n");
    for pair in 0..PAIRS {
        let first = first_worker(pair);
        for worker in [first, 1 - first] {
            let id = client_id_of(worker, "halved");
            let publish = PublishSpec::new("halved", &[b'x'; 1000], 1).to_bytes(5);
            let (now, later) = publish.split_at(publish.len() / 2);
            let mut client = broker.client();
            client.send(&[ConnectSpec::v5(&id).to_bytes(), now.to_vec()].concat());
            client.expect_accepted();
            client.send(later);
            client.expect_ack(4, 1);
            client.ping();
        }
    }
}

#[test]
fn a_session_is_found_by_whichever_worker_accepts() {
    let broker = Broker::start("workers 2\n");
    for worker in [0, 1] {
        let id = client_id_of(worker, "returning");
        let kept = ConnectSpec {
            clean: false,
            ..ConnectSpec::v311(&id)
        };
        let mut client = broker.client().connect(&kept);
        assert!(!client.session_present());
        client.subscribe("returning/+", 1);
        for _ in 0..PAIRS {
            let next = broker.client().connect(&kept);
            assert!(next.session_present());
            client.expect_close();
            client = next;
        }
        client.publish("returning/nobody", b"", 0);
        let delivered = client.recv_publish();
        assert_eq!(delivered.topic, "returning/nobody");
    }
}
