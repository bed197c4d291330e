//! SIGTERM and SIGINT: an orderly end.

use std::fs;

use dunlin_conformance::{ConnectSpec, PublishSpec};

use crate::broker::{Broker, OPEN, wait_until};
use crate::client::Client;

/// 5.0's Reason Code of a broker that stops.
const SERVER_SHUTTING_DOWN: u8 = 0x8B;

fn check_orderly_end(signal: &str) {
    let text = format!("{OPEN}listener 0 $DIR/mqtt.sock\npid_file $DIR/dunlin.pid\nworkers 2\n");
    let broker = Broker::configured(&text);
    let socket = broker.path("mqtt.sock");
    let pid_file = broker.path("dunlin.pid");
    let told = fs::read_to_string(&pid_file).expect("a running broker has its pid_file");
    assert_eq!(told, format!("{}\n", broker.pid()));

    let mut clients: Vec<Client> = (0..8).map(|n| broker.v5(&format!("tcp-{n}"))).collect();
    let by_unix = Client::unix(&socket).expect("the unix socket can be reached");
    clients.push(by_unix.connect(&ConnectSpec::v5("unix")));
    let mut older = broker.client().connect(&ConnectSpec::v311("older"));

    broker.signal(signal);
    for mut client in clients {
        client.expect_disconnect(SERVER_SHUTTING_DOWN);
    }
    older.expect_close();
    drop(older);
    // The folder goes with the broker, so what is left in it is looked at first.
    wait_until("the broker removes its files", || {
        !pid_file.exists() && !socket.exists()
    });
    let ended = broker.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[test]
fn sigterm_ends_in_order() {
    check_orderly_end("TERM");
}

#[test]
fn sigint_ends_in_order() {
    check_orderly_end("INT");
}

#[test]
fn what_was_acknowledged_before_the_end_is_delivered_first() {
    let broker = Broker::start("workers 1\n");
    let mut subscriber = broker.v5("subscriber");
    subscriber.subscribe("last/words", 0);
    let mut publisher = broker.v5("publisher");
    publisher.send(&PublishSpec::new("last/words", b"goodbye", 1).to_bytes(5));
    publisher.expect_ack(4, 1);
    broker.signal("TERM");
    assert_eq!(subscriber.recv_publish().payload, b"goodbye");
    subscriber.expect_disconnect(SERVER_SHUTTING_DOWN);
    publisher.expect_disconnect(SERVER_SHUTTING_DOWN);
    drop((subscriber, publisher));
    assert_eq!(broker.finish().code, Some(0));
}

#[test]
fn a_socket_that_a_killed_broker_left_behind_is_no_hindrance() {
    let mut broker = Broker::configured("listener 0 $DIR/mqtt.sock\nallow_anonymous true\n");
    let socket = broker.path("mqtt.sock");
    broker.kill();
    assert!(socket.exists(), "a killed broker cannot remove its socket");
    let text = format!(
        "listener 0 {}\nallow_anonymous true\n",
        socket.to_string_lossy()
    );
    let next = Broker::configured(&text);
    let mut client = Client::unix(&socket)
        .expect("the unix socket can be reached")
        .connect(&ConnectSpec::v5("next"));
    client.ping();
    drop(client);
    assert_eq!(next.terminate().code, Some(0));
}
