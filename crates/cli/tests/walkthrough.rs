//! The main job as users do it: subscribe in one shell, publish in the other. Each scenario is walked
//! with Debian's Mosquitto tools, with Dunlin's, and with one of each in either order.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod common;
#[cfg(test)]
#[path = "common/shell.rs"]
mod shell;

use std::path::Path;

use shell::Shells;

/// Each scenario as a test with each pair of tools.
macro_rules! walk {
    ($($module:ident: $publisher:ident, $subscriber:ident;)+) => {
        $(walk! {
            @scenarios $module, $publisher, $subscriber:
            hello_in_each_version,
            delivery_qos_is_the_lower_of_both,
            retained_is_set_replaced_and_deleted,
            wildcards_of_the_house,
            will_of_a_killed_publisher,
            messages_wait_for_a_client_that_is_away,
            measured_readings_are_piped,
            accounts_prefixes_and_whole_files,
        })+
    };
    (@scenarios $module:ident, $publisher:ident, $subscriber:ident: $($scenario:ident,)+) => {
        mod $module {
            use crate::shell::{Shells, Tools};

            $(
                #[test]
                fn $scenario() {
                    crate::$scenario(&Shells::open(Tools::$publisher, Tools::$subscriber));
                }
            )+
        }
    };
}

walk! {
    mosquitto_pub_to_mosquitto_sub: Mosquitto, Mosquitto;
    dunlin_pub_to_dunlin_sub: Dunlin, Dunlin;
    mosquitto_pub_to_dunlin_sub: Mosquitto, Dunlin;
    dunlin_pub_to_mosquitto_sub: Dunlin, Mosquitto;
}

/// What `sub -W` ends with when its time is over.
const TIMED_OUT: Option<i32> = Some(27);

fn hello_in_each_version(shells: &Shells) {
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let subscriber = shells.subscribe(&["-V", version, "-t", "greeting", "-C", "1"]);
        shells.publish(&["-V", version, "-t", "greeting", "-m", "hello"]);
        let finished = subscriber.finish();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.messages(), ["hello"]);
    }
}

fn delivery_qos_is_the_lower_of_both(shells: &Shells) {
    let levels: [(u8, &str); 3] = [(0, "0"), (1, "1"), (2, "2")];
    let subscribers = levels.map(|(granted, text)| {
        (
            granted,
            shells.subscribe(&["-q", text, "-t", "qos/+", "-C", "3"]),
        )
    });
    for (_, text) in levels {
        let topic = format!("qos/{text}");
        shells.publish(&["-q", text, "-t", &topic, "-m", "hello"]);
    }
    for (granted, subscriber) in subscribers {
        let finished = subscriber.finish();
        for (sent, text) in levels {
            finished.assert_received(sent.min(granted), 0, &format!("qos/{text}"), "hello".len());
        }
        assert_eq!(finished.messages(), ["hello"; 3]);
    }
}

fn retained_is_set_replaced_and_deleted(shells: &Shells) {
    let live = shells.subscribe(&["-q", "1", "-t", "heater", "-C", "2"]);
    for payload in ["warm", "scalding"] {
        shells.publish(&["-r", "-q", "1", "-t", "heater", "-m", payload]);
        let late = shells
            .subscribe(&["-q", "1", "-t", "heater", "-C", "1"])
            .finish();
        late.assert_received(1, 1, "heater", payload.len());
        let quiet = shells
            .subscribe_quietly(&["-t", "heater", "-C", "1"])
            .finish();
        assert_eq!(quiet.messages(), [payload]);
    }
    let live = live.finish();
    live.assert_received(1, 0, "heater", "warm".len());
    live.assert_received(1, 0, "heater", "scalding".len());

    shells.publish(&["-r", "-q", "1", "-t", "heater", "-n"]);
    let late = shells
        .subscribe_quietly(&["-t", "heater", "-C", "1", "-W", "1"])
        .finish();
    assert_eq!(late.code, TIMED_OUT);
    assert!(late.messages().is_empty(), "{:?}", late.messages());
}

fn wildcards_of_the_house(shells: &Shells) {
    let temperatures = shells.subscribe(&["-v", "-t", "house/+/temperature", "-C", "2"]);
    let house = shells.subscribe(&["-v", "-t", "house/#", "-C", "5"]);
    for (topic, payload) in [
        ("garden/temperature", "9"),
        ("house/oven/top/temperature", "180"),
        ("house/kitchen/humidity", "40"),
        ("house", "tidy"),
        ("house/kitchen/temperature", "21"),
        ("house/bath/temperature", "23"),
    ] {
        shells.publish(&["-q", "1", "-t", topic, "-m", payload]);
    }
    assert_eq!(
        temperatures.finish().messages_sorted(),
        ["house/bath/temperature 23", "house/kitchen/temperature 21"]
    );
    assert_eq!(
        house.finish().messages_sorted(),
        [
            "house tidy",
            "house/bath/temperature 23",
            "house/kitchen/humidity 40",
            "house/kitchen/temperature 21",
            "house/oven/top/temperature 180",
        ]
    );
}

fn will_of_a_killed_publisher(shells: &Shells) {
    let watcher = shells.subscribe(&["-v", "-q", "1", "-t", "status/+", "-C", "1"]);
    let will = ["--will-payload", "gone", "--will-qos", "1", "--will-retain"];
    let orderly = ["-t", "data", "-m", "1", "--will-topic", "status/orderly"];
    shells.publish(&[&orderly[..], &will[..]].concat());
    let killed = ["-t", "data", "--will-topic", "status/killed"];
    shells
        .publish_lines(&[&killed[..], &will[..]].concat())
        .kill();

    let watched = watcher.finish();
    assert_eq!(watched.messages(), ["status/killed gone"]);
    watched.assert_received(1, 0, "status/killed", "gone".len());
    let late = shells
        .subscribe(&["-q", "1", "-t", "status/killed", "-C", "1"])
        .finish();
    late.assert_received(1, 1, "status/killed", "gone".len());
    let late = shells
        .subscribe_quietly(&["-t", "status/orderly", "-C", "1", "-W", "1"])
        .finish();
    assert_eq!(late.code, TIMED_OUT);
}

fn messages_wait_for_a_client_that_is_away(shells: &Shells) {
    for version in ["mqttv311", "mqttv5"] {
        let away = [
            "-V", version, "-c", "-i", version, "-q", "1", "-t", version, "-C",
        ];
        let first = shells.subscribe(&[&away[..], &["1"][..]].concat());
        shells.publish(&["-q", "1", "-t", version, "-m", "at home"]);
        assert_eq!(first.finish().messages(), ["at home"]);
        let missed = ["one", "two", "three"];
        for payload in missed {
            shells.publish(&["-q", "1", "-t", version, "-m", payload]);
        }
        let back = shells
            .subscribe_quietly(&[&away[..], &["3"][..]].concat())
            .finish();
        assert_eq!(back.messages(), missed);
    }
}

fn measured_readings_are_piped(shells: &Shells) {
    let measure = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/measure.sh");
    let subscriber = shells.subscribe(&["-q", "1", "-t", "house/pi/temperature", "-C", "3"]);
    let piped = shells.pipe_into_publisher(&measure, &["-q", "1", "-t", "house/pi/temperature"]);
    assert_eq!(piped.code, Some(0), "{:?}", piped.lines);
    let finished = subscriber.finish();
    let readings = finished.messages();
    assert_eq!(readings.len(), 3);
    for reading in readings {
        assert!(
            reading.parse::<f64>().is_ok(),
            "`{reading}` is not a reading"
        );
    }
}

fn accounts_prefixes_and_whole_files(shells: &Shells) {
    let account = [
        "-u", "somebody", "-P", "secret", "-k", "10", "-I", "shell-", "-d",
    ];
    let subscriber = shells.subscribe(&[&account[..], &["-t", "file", "-C", "2"][..]].concat());
    let whole = shells.publish_input(
        &[&account[..], &["-q", "1", "-t", "file", "-s"][..]].concat(),
        "a\nb",
    );
    shells.publish(&[&account[..], &["-q", "1", "-t", "file", "-n"][..]].concat());
    let finished = subscriber.finish();
    for lines in [&whole.lines, &finished.lines] {
        assert!(
            lines
                .iter()
                .any(|line| line.text.starts_with("Client shell-")),
            "{lines:#?}"
        );
    }
    finished.assert_received(0, 0, "file", "a\nb".len());
    finished.assert_received(0, 0, "file", 0);
    assert_eq!(finished.messages()[..2], ["a", "b"]);
}
