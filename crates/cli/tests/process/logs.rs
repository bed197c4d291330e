//! What the log tells, where, and what it never tells.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dunlin_conformance::{ConnectSpec, Prop, PublishSpec, WillSpec, wire};

use crate::broker::{Broker, Ended};

/// Lets a client come, subscribe and go, and the broker end; returns what was written.
fn witnessed(broker: Broker) -> Ended {
    let mut client = broker.v5("witness");
    client.subscribe("court/room", 1);
    client.disconnect();
    let ended = broker.terminate();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ended
}

/// The lines on standard error of a broker with these lines of configuration, after a client has been there.
fn log_of(lines: &str) -> Vec<String> {
    witnessed(Broker::start_unheard(lines)).stderr
}

fn tells(lines: &[String], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

#[test]
fn the_log_goes_where_it_is_sent() {
    for (lines, on_stdout, on_stderr) in [
        ("", false, true),
        ("log_dest stderr\n", false, true),
        ("log_dest stdout\n", true, false),
        ("log_dest stdout\nlog_dest stderr\n", true, true),
        ("log_dest none\n", false, false),
    ] {
        let ended = witnessed(Broker::start_unheard(lines));
        for (output, is_wanted) in [(&ended.stdout, on_stdout), (&ended.stderr, on_stderr)] {
            assert_eq!(tells(output, " as witness "), is_wanted, "{lines}");
            assert_eq!(output.is_empty(), !is_wanted, "{lines}: {ended:#?}");
        }
    }
}

#[test]
fn a_log_file_is_appended_to_and_private() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("dunlin.log");
    let lines = format!("log_dest file {}\n", file.display());
    for times in 1..=2 {
        let ended = witnessed(Broker::start_unheard(&lines));
        assert!(ended.stdout.is_empty() && ended.stderr.is_empty());
        let log = fs::read_to_string(&file).expect("the log can be read");
        assert_eq!(log.matches(" as witness ").count(), times);
    }
    let mode = fs::metadata(&file)
        .expect("the log is a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "others may not read it");
}

#[test]
fn log_type_chooses_what_is_told() {
    let usual = log_of("");
    assert!(tells(&usual, "New client connected from 127.0.0.1:"));
    assert!(tells(&usual, "Client witness disconnected."));
    assert!(!tells(&usual, "witness 1 court/room"));

    let subscriptions = log_of("log_type subscribe\n");
    assert!(tells(&subscriptions, ": witness 1 court/room"));
    assert_eq!(subscriptions.len(), 1, "{subscriptions:#?}");

    let everything = log_of("log_type all\n");
    assert!(tells(&everything, "New client connected from 127.0.0.1:"));
    assert!(tells(&everything, ": witness 1 court/room"));

    let nothing = log_of("log_type none\n");
    assert!(nothing.is_empty(), "{nothing:#?}");
}

#[test]
fn connection_messages_can_be_switched_off() {
    let lines = log_of("connection_messages false\n");
    assert!(tells(&lines, "running with"));
    for part in ["witness", "New connection", "disconnected"] {
        assert!(!tells(&lines, part), "{part}: {lines:#?}");
    }
}

#[test]
fn lines_begin_with_the_time_unless_told_otherwise() {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    for line in log_of("") {
        let stamp = line.split_once(": ").map(|(stamp, _)| stamp);
        assert!(stamp.is_some_and(is_number), "{line}");
    }
    for line in log_of("log_timestamp_format %Y-%m-%dT%H:%M:%S\n") {
        let stamp = line.split_once(": ").map_or("", |(stamp, _)| stamp);
        let (date, time) = stamp.split_once('T').expect("date and time");
        let shape = |text: &str, separator: char| -> Vec<usize> {
            let parts = text.split(separator);
            parts
                .map(|part| if is_number(part) { part.len() } else { 0 })
                .collect()
        };
        assert_eq!(shape(date, '-'), [4, 2, 2], "{line}");
        assert_eq!(shape(time, ':'), [2, 2, 2], "{line}");
    }
    let plain = log_of("log_timestamp false\n");
    assert!(
        plain
            .iter()
            .any(|line| line.starts_with("New client connected"))
    );
    assert!(
        plain.iter().all(|line| !is_number(&line[..1])),
        "{plain:#?}"
    );
}

#[test]
fn neither_payloads_nor_passwords_are_told() {
    let broker = Broker::start_unheard("log_type all\nworkers 2\n");
    let spec = ConnectSpec {
        user: Some("alice"),
        password: Some(b"needle-password"),
        will: Some(WillSpec::new("will", b"needle-will")),
        ..ConnectSpec::v5("teller")
    };
    let mut client = broker.client().connect(&spec);
    client.subscribe("told/#", 0);
    for qos in [0, 1, 2] {
        client.publish("other", b"needle-payload", qos);
    }
    client.publish("told/back", b"needle-echo", 0);
    assert_eq!(client.recv_publish().payload, b"needle-echo");
    // QoS 3 is malformed.
    let broken = PublishSpec::new("told/back", b"needle-malformed", 3);
    client.send(&broken.to_bytes(5));
    client.expect_disconnect(0x81);

    let method = ConnectSpec {
        props: vec![Prop::Str(0x15, "SECRET"), Prop::Bin(0x16, b"needle-data")],
        ..ConnectSpec::v5("method")
    };
    let mut refused = broker.client();
    refused.send_connect(&method);
    assert_eq!(refused.recv().reason(5), 0x8C, "bad authentication method");
    refused.expect_close();

    let mut stranger = broker.client();
    stranger.send(b"GET /needle-url HTTP/1.1\r\n\r\n");
    stranger.expect_close();

    let ended = broker.terminate();
    let log = ended.stderr;
    assert!(tells(&log, "as teller (p5, c1, k0, u'alice')"), "{log:#?}");
    assert!(tells(&log, "PUBLISH has QoS 3"), "{log:#?}");
    assert!(tells(&log, "unknown authentication method"), "{log:#?}");
    assert!(tells(&log, "the first packet is not CONNECT"), "{log:#?}");
    assert!(!tells(&log, "needle"), "{log:#?}");
}

#[test]
fn control_characters_forge_no_lines() {
    let broker = Broker::start_unheard("log_type all\nlog_timestamp false\n");
    let id = "evil\nNew client connected from 10.0.0.1 as forged\r\u{1b}[2J\u{85}end";
    let spec = ConnectSpec {
        user: Some("bob\nforged-user"),
        ..ConnectSpec::v5(id)
    };
    let mut client = broker.client().connect(&spec);
    client.subscribe("a\nforged-filter", 0);
    client.send(&wire::unsubscribe(5, 9, &[], &["a\nforged-filter"]));
    assert_eq!(client.recv().packet_type(), 11, "UNSUBACK");
    client.disconnect();
    let log = broker.terminate().stderr;
    let shown = "evil?New client connected from 10.0.0.1 as forged??[2J?end";
    let connected = format!(" as {shown} (p5, c1, k0, u'bob?forged-user').");
    assert!(tells(&log, &connected), "{log:#?}");
    for line in [
        format!("{shown} 0 a?forged-filter"),
        format!("{shown} a?forged-filter"),
        format!("Client {shown} disconnected."),
    ] {
        assert!(log.contains(&line), "`{line}` in {log:#?}");
    }
    for line in &log {
        assert!(!line.starts_with("forged") && !line.contains(char::is_control));
        assert!(!line.ends_with("as forged"), "{line}");
    }
}
