//! Where a broker listens.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use dunlin_conformance::ConnectSpec;

use crate::broker::Broker;
use crate::client::Client;

/// Another address of the loopback interface: a listener on 127.0.0.1 is not reached there, one on all
/// addresses is.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn is_reached_elsewhere(broker: &Broker) -> bool {
    Client::tcp((ELSEWHERE, broker.port)).is_ok()
}

#[test]
fn a_unix_socket_and_a_port_lead_to_the_same_broker() {
    let lines = "workers 2\nlistener 0 $DIR/mqtt.sock\n";
    let mut broker = Broker::start(lines);
    let mut by_unix = Client::unix(&broker.path("mqtt.sock"))
        .expect("the unix socket can be reached")
        .connect(&ConnectSpec::v311("by-unix"));
    by_unix.subscribe("bridge", 1);
    let mut by_tcp = broker.v5("by-tcp");
    by_tcp.publish("bridge", b"hello", 1);
    assert_eq!(by_unix.recv_publish().payload, b"hello");
    broker.expect_line("Opening unix listen socket on path ");
    broker.expect_line("New client connected from unix as by-unix (p2, c1, k0).");
}

#[test]
fn a_listener_on_the_ipv6_loopback() {
    let text = "listener $PORT ::1\nallow_anonymous true\n";
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        // A machine without IPv6: then the broker has to say what it cannot do.
        let ended = Broker::run(&text.replace("$PORT", "1883"), &["broker", "-c", "CONF"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.concat().contains("cannot listen on [::1]"));
        return;
    }
    let mut broker = Broker::configured(text);
    broker.expect_line("Opening ipv6 listen socket on port ");
    let mut client = Client::tcp((Ipv6Addr::LOCALHOST, broker.port))
        .expect("the port can be reached by IPv6")
        .connect(&ConnectSpec::v5("six"));
    client.ping();
    assert!(Client::tcp((Ipv4Addr::LOCALHOST, broker.port)).is_err());
}

#[test]
fn bind_address_narrows_the_default_listener() {
    let everywhere = Broker::configured("port $PORT\n");
    assert!(is_reached_elsewhere(&everywhere));
    let narrow = Broker::configured("port $PORT\nbind_address 127.0.0.1\nallow_anonymous true\n");
    narrow.v5("near").ping();
    assert!(!is_reached_elsewhere(&narrow));
}

#[test]
fn a_listener_admits_nobody_unless_told_to() {
    let broker = Broker::configured("listener $PORT 127.0.0.1\n");
    let mut client = broker.client();
    client.send_connect(&ConnectSpec::v5("anybody"));
    assert_eq!(client.recv().reason(5), 0x87, "not authorized");
    client.expect_close();
    let mut older = broker.client();
    older.send_connect(&ConnectSpec::v311("anybody"));
    assert_eq!(older.recv().reason(4), 5, "not authorized");
    older.expect_close();
}

#[test]
fn without_a_configuration_only_this_machine_is_served() {
    let mut broker = Broker::without_configuration();
    broker.expect_line("Starting in local only mode");
    let hint = broker.expect_line("Create a configuration file");
    assert!(
        hint.contains("`listener 1883`") && hint.contains("`allow_anonymous true`"),
        "{hint}"
    );
    broker.v5("near").ping();
    assert!(!is_reached_elsewhere(&broker));
}

#[test]
fn files_of_include_dir_are_read() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let included = folder.path().join("limits.conf");
    fs::write(&included, "receive_maximum 11\n").expect("a file can be written");
    let ignored = folder.path().join("notes.txt");
    fs::write(&ignored, "this is no configuration\n").expect("a file can be written");
    let broker = Broker::start(&format!("include_dir {}\n", folder.path().display()));
    assert_eq!(broker.v5("included").receive_maximum(), 11);
    assert_eq!(broker.terminate().code, Some(0));
}
