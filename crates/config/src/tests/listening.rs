//! Which listeners there are, and which options count for which.

use super::{check, defaults, listener, parse, rendered, with_ports};
use crate::Config;

#[test]
fn without_a_listener_only_this_host_can_connect() {
    let config = defaults(&[]).unwrap().config;
    assert_eq!(config, Config::default());
    assert!(config.local_only);
    let lines: Vec<String> = config.listeners.iter().map(listener).collect();
    assert_eq!(
        lines,
        [
            "listener 127.0.0.1:1883 anonymous",
            "listener ::1:1883 anonymous"
        ]
    );
    check(
        "allow_anonymous false",
        &["listener 127.0.0.1:1883", "listener ::1:1883"],
    );
    check(
        "max_connections 5",
        &[
            "listener 127.0.0.1:1883 anonymous connections=5",
            "listener ::1:1883 anonymous connections=5",
        ],
    );
}

#[test]
fn listeners_are_closed_to_anonymous_clients_unless_opened() {
    check("listener 1884", &["listener *:1884"]);
    check("listener 1884 # plain", &["listener *:1884"]);
    check(
        "allow_anonymous true\nlistener 1884\nlistener 1885 ::1",
        &["listener *:1884 anonymous", "listener ::1:1885 anonymous"],
    );
    check(
        "listener 1884\nallow_anonymous true",
        &["listener *:1884 anonymous"],
    );
    check(
        "listener 1884\nlistener_allow_anonymous true\nlistener 1885",
        &["listener *:1884 anonymous", "listener *:1885"],
    );
    check(
        "listener 0 /run/d.sock\nmax_connections -1",
        &["listener /run/d.sock"],
    );
    check("port 1884", &["listener *:1884"]);
    check("bind_address localhost", &["listener localhost:1883"]);
    check(
        "port 1884\nbind_address [::1]\nlistener 1885",
        &["listener ::1:1884", "listener *:1885"],
    );
}

#[test]
fn listener_lines_are_checked() {
    check(
        "listener",
        &["error t:1: 'listener' has the port ''; expected a number from 0 to 65535"],
    );
    check(
        "listener 65536",
        &["error t:1: 'listener' has the port '65536'; expected a number from 0 to 65535"],
    );
    check(
        "listener 0",
        &["error t:1: 'listener 0' needs the path of a unix socket, such as /run/mqtt.sock"],
    );
    check(
        "listener 1 /a",
        &["error t:1: a unix socket has the port 0: 'listener 0 /a'"],
    );
    check(
        "listener 1 a,b",
        &["error t:1: 'a,b' is no host name and no address"],
    );
    check(
        "port 0",
        &["error t:1: 'port' is '0'; expected a number from 1 to 65535"],
    );
    check(
        "listener 1\nlistener 1",
        &["error t:2: this listener has the same address as the one at t:1"],
    );
    // A wrong `listener` still opens its scope.
    check(
        "listener x\nmax_topic_alias 5",
        &["error t:1: 'listener' has the port 'x'; expected a number from 0 to 65535"],
    );
}

#[test]
fn options_count_for_the_listener_above_them() {
    check(
        "listener 1\nmax_qos 1\nlistener 2\nmax_topic_alias 3\nmax_topic_alias_broker 4\nmaximum_qos 0",
        &["listener *:1 qos=1", "listener *:2 qos=0 aliases=3/4"],
    );
    check(
        "max_topic_alias 5",
        &[
            "error t:1: 'max_topic_alias' belongs to a listener; no 'listener' stands above it in this file",
        ],
    );
    check(
        "max_qos 1\nlistener 2",
        &[
            "listener *:1883 qos=1",
            "listener *:2",
            "warning t:1: 'max_qos' stands before any 'listener', so it opens the default listener on port 1883, as in \
         Mosquitto; put it below the listener that it is for",
        ],
    );
    check("max_qos 1\nport 1884", &["listener *:1884 qos=1"]);
}

#[test]
fn settings_per_listener() {
    check(
        "per_listener_settings true\nlistener 1\nallow_anonymous true\nlistener 2",
        &["listener *:1 anonymous", "listener *:2"],
    );
    check(
        "per_listener_settings true\nallow_anonymous true\nlistener 1",
        &[
            "error t:2: 'allow_anonymous' stands before any 'listener' of this file while per_listener_settings is true; \
         put it below the listener that it is for",
        ],
    );
    check(
        "allow_anonymous true\nper_listener_settings true",
        &["error t:2: 'per_listener_settings' must stand before any security option"],
    );
    check(
        "per_listener_settings true\nlistener 1\nlistener 2\nallow_zero_length_clientid false",
        &[
            "error t:3: this listener differs from the first in 'allow_zero_length_clientid'; this release has one value \
         for all",
        ],
    );
    check(
        "per_listener_settings true\nlistener 1\nallow_zero_length_clientid false",
        &["allow_zero_length_clientid=false", "listener *:1"],
    );
}

#[test]
fn ports_of_the_command_line_are_local() {
    let ports = |text| {
        rendered(Ok(with_ports(
            parse(text, "t", &[]).unwrap(),
            &[1884, 1885, 1884],
        )))
    };
    assert_eq!(
        ports("max_qos 1\nallow_anonymous false"),
        [
            "listener 127.0.0.1:1884 qos=1",
            "listener ::1:1884 qos=1",
            "listener 127.0.0.1:1885 qos=1",
            "listener ::1:1885 qos=1",
        ]
    );
    assert_eq!(
        ports("listener 1"),
        [
            "listener *:1",
            "warning command line: the port is ignored: the configuration has listeners of its own",
        ]
    );
    let unchanged = with_ports(defaults(&[]).unwrap(), &[]);
    assert_eq!(unchanged.config, Config::default());
}
