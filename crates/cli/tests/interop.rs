//! Other people's clients against the broker: paho-mqtt (Python) and MQTT.js (Node), each at MQTT 3.1.1
//! and 5.0. The checks themselves stand in `tests/interop`, in the client's own language.

// `cfg(test)` lets clippy see that the helpers are test code.
#[cfg(test)]
mod common;
#[cfg(test)]
#[path = "common/suite.rs"]
mod suite;

use std::path::Path;

#[test]
fn paho_mqtt() {
    suite::run(&suite::needed("venv/bin/python"), "paho_suite.py");
}

#[test]
fn mqttjs() {
    suite::needed("node/node_modules/mqtt/package.json");
    suite::run(Path::new("node"), "mqttjs_suite.mjs");
}
