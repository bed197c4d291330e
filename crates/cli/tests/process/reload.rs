//! SIGHUP: what changes, what stays, and what a broken configuration does not do.

use std::fs;

use dunlin_conformance::{ConnectSpec, PublishSpec};

use crate::broker::{Broker, wait_until};
use crate::client::{Client, client_id_of};

/// Waits until new connections of both workers are told this Receive Maximum: the reload has then reached
/// everybody.
fn wait_for_receive_maximum(broker: &Broker, expected: u32) {
    for worker in [0, 1] {
        let id = client_id_of(worker, "probe");
        wait_until("a reload reaches the workers", || {
            broker.v5(&id).receive_maximum() == expected
        });
    }
}

/// How many of ten messages wait for a client that is away while `publisher` sends them. Both belong to
/// worker 0, so that what is acknowledged has also reached the queue.
fn queued_of_ten(broker: &Broker, publisher: &mut Client) -> usize {
    let id = client_id_of(0, "away");
    let away = ConnectSpec {
        clean: false,
        ..ConnectSpec::v311(&id)
    };
    let mut client = broker.client().connect(&away);
    client.subscribe("away/#", 1);
    client.disconnect();
    for number in 0..10 {
        publisher.publish("away/work", &[b'0' + number], 1);
    }
    let mut client = broker.client().connect(&away);
    assert!(client.session_present());
    publisher.publish("away/end", b"", 1);
    let mut payloads = Vec::new();
    loop {
        let delivered = client.recv_publish();
        if delivered.topic == "away/end" {
            break;
        }
        payloads.push(delivered.payload);
    }
    client.disconnect();
    let in_order: Vec<Vec<u8>> = (b'0'..).take(payloads.len()).map(|n| vec![n]).collect();
    assert_eq!(payloads, in_order, "the newest are dropped, not the oldest");
    payloads.len()
}

#[test]
fn a_changed_limit_counts_and_connections_go_on() {
    let broker = Broker::start("workers 2\nreceive_maximum 7\nmax_queued_messages 100\n");
    let mut staying = broker.v5(&client_id_of(0, "staying"));
    assert_eq!(staying.receive_maximum(), 7);
    assert_eq!(queued_of_ten(&broker, &mut staying), 10);
    broker.reload("workers 2\nreceive_maximum 9\nmax_queued_messages 3\n");
    wait_for_receive_maximum(&broker, 9);
    assert_eq!(queued_of_ten(&broker, &mut staying), 3);
    staying.ping();
}

#[test]
fn anonymous_clients_are_shut_out_and_let_in_again() {
    let broker = Broker::start("workers 2\n");
    let mut staying = broker.v5("staying");
    let reason_of_connack = |id: &str| {
        let mut client = broker.client();
        client.send_connect(&ConnectSpec::v5(id));
        client.recv().reason(5)
    };
    // The line of OPEN above says the contrary; the last one counts.
    broker.reload("workers 2\nallow_anonymous false\n");
    wait_until("a new client is refused", || {
        reason_of_connack("anybody") == 0x87
    });
    staying.ping();
    broker.reload("workers 2\n");
    wait_until("a new client is let in", || {
        reason_of_connack("anybody") == 0
    });
    staying.ping();
}

#[test]
fn the_log_file_changes_and_rotates() {
    let broker = Broker::start("workers 2\nlog_dest stderr\nlog_dest file $DIR/first.log\n");
    let mut staying = broker.v5("before");
    wait_until("the first file tells of a client", || {
        broker.file("first.log").contains(" as before ")
    });

    // What needs a restart is told in the new file, once it is in use.
    broker.reload("workers 3\nlog_dest stderr\nlog_dest file $DIR/second.log\n");
    wait_until("the second file is in use", || {
        broker
            .file("second.log")
            .contains("`workers` needs a restart")
    });
    drop(broker.v5("between"));
    wait_until("the second file tells of a client", || {
        broker.file("second.log").contains(" as between ")
    });
    assert!(!broker.file("first.log").contains("between"));

    let (second, rotated) = (broker.path("second.log"), broker.path("second.log.1"));
    fs::rename(&second, &rotated).expect("a log in use can be renamed");
    broker.reload("workers 4\nlog_dest stderr\nlog_dest file $DIR/second.log\n");
    wait_until("the file is opened anew", || {
        broker
            .file("second.log")
            .contains("`workers` needs a restart")
    });
    drop(broker.v5("after"));
    wait_until("the new file tells of a client", || {
        broker.file("second.log").contains(" as after ")
    });
    assert!(broker.file("second.log.1").contains(" as between "));
    assert!(!broker.file("second.log.1").contains(" as after "));
    staying.ping();
}

#[test]
fn a_broken_file_changes_nothing() {
    let mut broker = Broker::start("workers 2\nreceive_maximum 7\n");
    let mut staying = broker.v5("staying");
    let path = broker.path("broker.conf");
    let place = format!("Error: {}:5: ", path.display());

    broker.reload("workers 2\nreceive_maximum 9\nmax_queued_mesages 5\n");
    broker.expect_line(&format!(
        "{place}unknown key 'max_queued_mesages'; did you mean 'max_queued_messages'?"
    ));
    broker.expect_line("the configuration was not reloaded; the old one stays.");
    assert_eq!(broker.v5("next").receive_maximum(), 7);
    staying.ping();

    broker.reload("workers 2\nreceive_maximum 9\nlog_dest file $DIR/none/dunlin.log\n");
    broker.expect_line("; the old configuration stays.");
    assert_eq!(broker.v5("next").receive_maximum(), 7);
    staying.ping();

    fs::remove_file(&path).expect("the configuration can be removed");
    broker.signal("HUP");
    broker.expect_line(&format!(
        "Error: {}: cannot open the configuration file: ",
        path.display()
    ));
    assert_eq!(broker.v5("next").receive_maximum(), 7);
    staying.ping();

    broker.reload("workers 2\nreceive_maximum 9\n");
    wait_for_receive_maximum(&broker, 9);
    staying.ping();
}

#[test]
fn messages_flow_through_a_storm_of_reloads() {
    let broker = Broker::start("workers 2\n");
    let mut subscriber = broker.v5(&client_id_of(0, "subscriber"));
    subscriber.subscribe("storm", 1);
    let mut publisher = broker.v5(&client_id_of(1, "publisher"));
    for number in 0..50_u8 {
        broker.reload(&format!("workers 2\nmax_queued_messages {number}\n"));
        let payload = [number];
        let publish = PublishSpec::new("storm", &payload, 1);
        publisher.send(&publish.to_bytes(5));
        publisher.expect_ack(4, 1);
        assert_eq!(subscriber.recv_publish().payload, [number]);
    }
    assert_eq!(broker.terminate().code, Some(0));
}
