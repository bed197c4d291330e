//! What happens when something runs out, and what clients cost that do nothing or do not read.

use std::time::Duration;

use dunlin_conformance::{ConnectSpec, PublishSpec, wire};

use crate::broker::{Broker, wait_until};
use crate::client::Client;
use crate::kernel;

#[test]
fn without_descriptors_those_who_are_in_are_served() {
    let mut broker = Broker::start_with_files(64, "workers 2\n");
    broker.expect_line("Up to 64 open files.");
    let mut clients: Vec<Client> = (0..100)
        .map(|number| {
            let mut client = broker.client();
            client.send_connect(&ConnectSpec::v5(&format!("client-{number}")));
            client
        })
        .collect();
    broker.expect_line("cannot accept connections for now");

    // Connections are accepted in their order, so the first ten are in, and the last ten cannot be.
    let mut last = clients.split_off(90);
    let between = clients.split_off(10);
    let mut first = clients;
    first.iter_mut().for_each(Client::expect_accepted);
    for client in &mut last {
        client.expect_silence(Duration::from_millis(1));
    }
    check_served(&mut first);

    // Room for all who wait, and for more.
    drop(between);
    last.iter_mut().for_each(Client::expect_accepted);
    check_served(&mut first);
    check_served(&mut last);
    broker.v5("newcomer").ping();
    assert_eq!(broker.terminate().code, Some(0));
}

/// Each of these gets what the first of them publishes.
fn check_served(clients: &mut [Client]) {
    for client in clients.iter_mut() {
        client.subscribe("served", 1);
    }
    if let Some(publisher) = clients.first_mut() {
        let publish = PublishSpec::new("served", b"still", 0);
        publisher.send(&publish.to_bytes(5));
    }
    for client in clients.iter_mut() {
        assert_eq!(client.recv_publish().payload, b"still");
        client.ping();
    }
}

#[test]
fn a_listener_has_no_more_than_max_connections() {
    let mut broker = Broker::start("workers 2\nmax_connections 3\n");
    let mut clients: Vec<Client> = ["a", "b", "c"].map(|id| broker.v5(id)).into();
    let mut denied = broker.client();
    denied.send_connect(&ConnectSpec::v5("d"));
    denied.expect_close();
    broker.expect_line("denied: max_connections exceeded.");
    clients.iter_mut().for_each(Client::ping);

    clients.pop().expect("three are connected").disconnect();
    // The place is free once the broker has seen the end of the connection as well.
    wait_until("the free place is given to another", || {
        let mut next = broker.client();
        next.send_connect(&ConnectSpec::v5("e"));
        let answer = next.next_packet();
        let is_in = answer.is_some_and(|connack| connack.reason(5) == 0);
        if is_in {
            clients.push(next);
        }
        is_in
    });
    clients.iter_mut().for_each(Client::ping);
}

/// Payload of the flood, in bytes.
const FLOOD_PAYLOAD: usize = 10_000;

/// Memory by which the broker may grow while more than that passes by.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

#[test]
fn a_reader_that_is_stuck_costs_itself_alone() {
    let mut broker = Broker::start("workers 2\nmax_queued_messages 100\n");
    let mut stuck = broker.v5("stuck");
    stuck.subscribe("flood/#", 1);
    let mut healthy = broker.v5("healthy");
    healthy.subscribe("flood/#", 1);
    let mut publisher = broker.v5("publisher");
    let before = kernel::peak_memory_kib(broker.pid());

    // In bursts that the healthy one's outgoing buffer takes whole, so that it must not lose any.
    let mut payload = vec![b'.'; FLOOD_PAYLOAD];
    for burst in 0..100_u32 {
        let numbers = burst * 50..(burst + 1) * 50;
        let mut packets = Vec::new();
        for number in numbers.clone() {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            packets.extend(PublishSpec::new("flood/0", &payload, 0).to_bytes(5));
        }
        publisher.send(&packets);
        for number in numbers {
            check_flood(&mut healthy, "flood/0", number);
        }
    }
    for burst in 0..100_u32 {
        let numbers = burst * 20..(burst + 1) * 20;
        let mut packets = Vec::new();
        for (number, packet_id) in numbers.clone().zip(1..) {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            let publish = PublishSpec {
                packet_id,
                ..PublishSpec::new("flood/1", &payload, 1)
            };
            packets.extend(publish.to_bytes(5));
        }
        publisher.send(&packets);
        for number in numbers {
            check_flood(&mut healthy, "flood/1", number);
        }
        (1..=20).for_each(|packet_id| publisher.expect_ack(4, packet_id));
    }

    let growth = kernel::peak_memory_kib(broker.pid()) - before;
    assert!(
        growth < GROWTH_KIB_MAX,
        "the broker has grown by {growth} KiB"
    );
    broker.expect_line("Outgoing messages are being dropped for client stuck: its queue is full");
    // The stuck one is still connected, and has lost the newest, not the oldest.
    check_flood(&mut stuck, "flood/0", 0);
    check_flood(&mut stuck, "flood/0", 1);

    let ended = broker.terminate();
    assert_eq!(ended.code, Some(0));
    let told = |client: &str| {
        let part = format!("dropped for client {client}");
        ended.stderr.iter().filter(|l| l.contains(&part)).count()
    };
    assert_eq!((told("stuck"), told("healthy")), (1, 0));
}

fn check_flood(client: &mut Client, topic: &str, number: u32) {
    let delivered = client.recv_publish();
    assert_eq!(delivered.topic, topic);
    assert_eq!(delivered.payload.len(), FLOOD_PAYLOAD);
    assert_eq!(delivered.payload[..4], number.to_be_bytes(), "{topic}");
}

/// Bytes of PINGREQ that a client sends without reading an answer.
const PINGS_BYTES: usize = 64 * 1024 * 1024;

#[test]
fn a_client_that_reads_no_answers_is_read_no_further() {
    let broker = Broker::start("workers 2\n");
    let mut deaf = broker.v5("deaf");
    let before = kernel::peak_memory_kib(broker.pid());
    let pings = wire::pingreq().repeat(32 * 1024);
    let mut sent = 0;
    while sent < PINGS_BYTES && deaf.push(&pings, Duration::from_secs(2)) {
        sent += pings.len();
    }
    // Each byte has one of the answer, and nobody takes them.
    let growth = kernel::peak_memory_kib(broker.pid()) - before;
    assert!(
        growth < GROWTH_KIB_MAX,
        "the broker has grown by {growth} KiB for {sent} bytes of PINGREQ"
    );
    broker.v5("other").ping();
}

/// Connections that do nothing.
const IDLE: usize = 2000;

/// Processor time that they may cost in two seconds, in ticks of 10 ms.
const IDLE_TICKS_MAX: u64 = 5;

#[test]
fn idle_connections_cost_next_to_nothing() {
    let files = rlimit::increase_nofile_limit(IDLE as u64 * 4).expect("the limit can be read");
    assert!(
        files > IDLE as u64 + 500,
        "this test opens {IDLE} connections and may open {files} files: raise `ulimit -Hn`"
    );
    let broker = Broker::start("workers 2\nconnection_messages false\n");
    let mut clients: Vec<Client> = (0..IDLE)
        .map(|number| {
            // With a Keep Alive, which has to be watched for each of them.
            let id = format!("idle-{number}");
            let spec = ConnectSpec {
                keep_alive: 600,
                ..ConnectSpec::v5(&id)
            };
            let mut client = broker.client().connect(&spec);
            client.subscribe(&format!("idle/{number}"), 0);
            client
        })
        .collect();

    let before = kernel::cpu_ticks(broker.pid());
    clients[0].expect_silence(Duration::from_secs(2));
    let ticks = kernel::cpu_ticks(broker.pid()) - before;
    assert!(
        ticks <= IDLE_TICKS_MAX,
        "{IDLE} idle connections have cost {ticks} ticks in two seconds"
    );
    // They are all there.
    clients.iter_mut().for_each(Client::ping);
}
