//! Brokers that do not start, and why; `--test-config`.

use std::net::{Ipv4Addr, TcpListener};

use crate::broker::{Broker, Ended};

const START: &[&str] = &["broker", "-c", "CONF"];
const TEST: &[&str] = &["broker", "-c", "CONF", "--test-config"];
/// As Mosquitto is called.
const TEST_AS_MOSQUITTO: &[&str] = &["-c", "CONF", "--test-config"];

/// The broker refuses this configuration with exactly these lines, both ways: at the start and when asked to
/// test.
#[track_caller]
fn check_refused(text: &str, expected: &[&str]) {
    for arguments in [START, TEST] {
        let ended = Broker::run(text, arguments);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:#?}");
        assert_eq!(ended.stderr, expected, "{arguments:?}");
        assert!(ended.stdout.is_empty(), "{arguments:?}: {ended:#?}");
    }
}

#[test]
fn a_good_configuration_passes_the_test() {
    let text = "listener 1883\nallow_anonymous true\nmax_packet_size 1000\n";
    for arguments in [TEST, TEST_AS_MOSQUITTO] {
        let ended = Broker::run(text, arguments);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert_eq!(ended.stdout, ["Configuration file is OK."]);
        assert!(ended.stderr.is_empty(), "{ended:#?}");
    }
}

#[test]
fn what_has_no_effect_is_told_by_the_test() {
    let ended = Broker::run("listener 1883\nsys_interval 10\n", TEST);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(
        ended.stderr,
        [
            "Warning: $DIR/broker.conf:2: 'sys_interval' is accepted but has no effect: it comes with the $SYS topics"
        ]
    );
}

#[test]
fn unknown_keys_are_told_with_place_and_suggestion() {
    check_refused(
        "listener 1883\n\nmax_inflght_messages 20\ncheese\n",
        &[
            "Error: $DIR/broker.conf:3: unknown key 'max_inflght_messages'; did you mean 'max_inflight_messages'?",
            "Error: $DIR/broker.conf:4: unknown key 'cheese'",
        ],
    );
}

#[test]
fn wrong_values_are_told_with_what_was_expected() {
    check_refused(
        "listener 1883\nmax_qos 3\nretain_available yes\n",
        &[
            "Error: $DIR/broker.conf:2: 'max_qos' is '3'; expected a number from 0 to 2",
            "Error: $DIR/broker.conf:3: 'retain_available' is 'yes'; expected true or false",
        ],
    );
}

#[test]
fn what_mosquitto_has_and_this_release_has_not_is_an_error() {
    check_refused(
        "listener 8883\ncertfile /etc/mosquitto/server.crt\npassword_file /etc/mosquitto/passwd\n",
        &[
            "Error: $DIR/broker.conf:2: 'certfile' is a Mosquitto option that this release of Dunlin does not have yet (TLS)",
            "Error: $DIR/broker.conf:3: 'password_file' is a Mosquitto option that this release of Dunlin does not have yet \
             (password_file and acl_file)",
        ],
    );
    check_refused(
        "persistence true\n",
        &[
            "Error: $DIR/broker.conf:1: 'persistence true' is not available in this release: Sessions and retained messages \
             are kept in memory, the store comes in the next release; write 'persistence false'",
        ],
    );
}

#[test]
fn a_missing_file_is_told() {
    let ended = Broker::run("", &["broker", "-c", "/nonexistent/dunlin.conf"]);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let told = ended.stderr.concat();
    assert!(
        told.starts_with(
            "Error: /nonexistent/dunlin.conf: cannot open the configuration file: No such file"
        ),
        "{told}"
    );
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be bound");
    let address = taken.local_addr().expect("a bound port is known");
    let port = address.port();
    // The error does not depend on what is logged where.
    for log in ["log_dest none", "log_dest stdout"] {
        let text = format!("{log}\nlistener {port} 127.0.0.1\n");
        let Ended { code, stderr, .. } = Broker::run(&text, START);
        assert_eq!(code, Some(1), "{stderr:?}");
        let told = stderr.concat();
        let expected = format!(
            "Error: $DIR/broker.conf:2: cannot listen on {address}: Address already in use"
        );
        assert!(told.starts_with(&expected), "{told}");
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_is_told() {
    let text = "listener 1883 127.0.0.1\nlog_dest file $DIR/none/dunlin.log\n";
    let ended = Broker::run(text, START);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let told = ended.stderr.concat();
    assert!(
        told.starts_with("Error: $DIR/none/dunlin.log: No such file or directory"),
        "{told}"
    );
}
