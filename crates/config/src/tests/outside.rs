//! Overrides, the environment, and what a reload can change.

use super::{check_with, environment, is_reloadable, pairs, parse, set_argument};
use crate::{Ack, Config, Warning};

#[test]
fn overrides_replace_what_the_file_says() {
    let file =
        "max_packet_size 100\npid_file /a\nlog_dest file /b\nlistener 1\nmax_qos 1\nlistener 2\n";
    check_with(
        file,
        &[
            ("max_packet_size", "200"),
            ("pid_file", "/c"),
            ("log_dest", "stdout"),
            ("max_qos", "0"),
            ("allow_anonymous", "true"),
            ("listener", "3 ::1"),
        ],
        &[
            "max_packet_size=200",
            "pid_file=Some(\"/c\")",
            "dests=[Stdout]",
            "listener *:1 anonymous qos=0",
            "listener *:2 anonymous qos=0",
            "listener ::1:3 anonymous qos=0",
        ],
    );
    check_with(
        "",
        &[("max_qos", "1")],
        &[
            "listener 127.0.0.1:1883 anonymous qos=1",
            "listener ::1:1883 anonymous qos=1",
        ],
    );
    check_with(
        "bind_address ::1",
        &[("bind_address", "::2"), ("port", "5")],
        &["listener ::2:5"],
    );
    check_with(
        "",
        &[
            ("max_packt_size", "1"),
            ("include_dir", "/a"),
            ("per_listener_settings", "true"),
        ],
        &[
            "error command line or environment: unknown key 'max_packt_size'; did you mean 'max_packet_size'?",
            "error command line or environment: 'include_dir' is only valid in the main configuration file",
            "error command line or environment: 'per_listener_settings' can only stand in a file: it changes how the file \
         is read",
        ],
    );
    check_with(
        "",
        &[("pid_file", "/a\nb")],
        &["error command line or environment: the value of 'pid_file' has a line end or NUL"],
    );
}

#[test]
fn the_environment_gives_overrides() {
    assert_eq!(
        set_argument("max_qos = 1").unwrap(),
        ("max_qos".to_owned(), "1".to_owned())
    );
    assert_eq!(
        set_argument("pid_file=/a=b").unwrap(),
        ("pid_file".to_owned(), "/a=b".to_owned())
    );
    assert_eq!(
        set_argument("max_qos").unwrap_err().to_string(),
        "--set: 'max_qos' is not KEY=VALUE"
    );
    let found = environment(pairs(&[
        ("PATH", "/bin"),
        ("DUNLIN_MAX_QOS", "1"),
        ("DUNLIN_ALLOW_ANONYMOUS", "true"),
        ("DUNLIN_WORKRES", "2"),
        ("DUNLIN_SERVICE_HOST", "10.0.0.1"),
        ("DUNLIN_PORT", "tcp://10.0.0.1:1883"),
        ("DUNLIN_PORT_1883_TCP_ADDR", "10.0.0.1"),
    ]));
    assert_eq!(
        found.overrides,
        pairs(&[("allow_anonymous", "true"), ("max_qos", "1")])
    );
    let warnings: Vec<String> = found.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment: the variable 'DUNLIN_WORKRES' names no key and is ignored; did you mean 'DUNLIN_WORKERS'?",
        ]
    );
    assert_eq!(
        environment(pairs(&[("DUNLIN_PORT", "1884")])).overrides,
        pairs(&[("port", "1884")])
    );
}

#[test]
fn some_changes_need_a_restart() {
    let config = |text| parse(text, "t", &[]).unwrap().config;
    let old = config("listener 1\n");
    let cases: [(&str, &[&str]); 6] = [
        ("listener 1\nmax_qos 1\nmax_packet_size 100\n", &[]),
        ("listener 2\n", &["listener"]),
        ("port 1884\n", &["listener"]),
        ("listener 1\nworkers 3\n", &["workers"]),
        ("listener 1\npid_file /a\n", &["pid_file"]),
        ("listener 1\nworker_queue_max 3\n", &["worker_queue_max"]),
    ];
    for (text, expected) in cases {
        assert_eq!(old.restart_needed(&config(text)), expected, "{text}");
        assert!(expected.iter().all(|key| !is_reloadable(key)), "{text}");
    }
    let safer = Config {
        ack: Ack::Fsync,
        ..old.clone()
    };
    assert_eq!(old.restart_needed(&safer), ["ack"]);
    assert!(is_reloadable("max_packet_size"));
    assert!(!is_reloadable("cheese"));
}
