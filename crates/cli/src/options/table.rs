//! The table of flags of `dunlin pub` and `dunlin sub`, and how each value is read.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_packet::{ProtocolVersion, QoS, SharedFilter, TopicFilter, TopicName};

use super::{Options, PUB, SUB, Source};
use crate::flags::{Action, Flag, Programs, add, put, text};

const fn switch(
    names: &'static [&'static str],
    programs: Programs,
    set: fn(&mut Options) -> Result<(), String>,
    help: &'static str,
) -> Flag<Options> {
    Flag {
        names,
        programs,
        action: Action::Switch(set),
        help,
    }
}

const fn value(
    names: &'static [&'static str],
    programs: Programs,
    (meta, noun): (&'static str, &'static str),
    set: fn(&mut Options, &OsStr) -> Result<(), String>,
    help: &'static str,
) -> Flag<Options> {
    Flag {
        names,
        programs,
        action: Action::Value { meta, noun, set },
        help,
    }
}

const fn later(names: &'static [&'static str], programs: Programs) -> Flag<Options> {
    Flag {
        names,
        programs,
        action: Action::Later,
        help: "",
    }
}

/// Both tools.
const BOTH: Programs = Programs::ALL;

pub(super) static FLAGS: &[Flag<Options>] = &[
    value(
        &["-t", "--topic"],
        PUB,
        ("TOPIC", "topic"),
        |o, v| put(&mut o.topics, vec![name(v, "publish")?]),
        "publish to this topic",
    ),
    value(
        &["-t", "--topic"],
        SUB,
        ("TOPIC", "topic"),
        |o, v| add(&mut o.topics, filter(v, "subscription")?),
        "subscribe to this topic, which may have wildcards; may be repeated",
    ),
    value(
        &["-m", "--message"],
        PUB,
        ("MESSAGE", "message"),
        |o, v| o.take_source(Source::Argument(v.as_encoded_bytes().to_vec())),
        "the message",
    ),
    value(
        &["-f", "--file"],
        PUB,
        ("FILE", "file"),
        |o, v| o.take_source(Source::File(PathBuf::from(v))),
        "the content of this file is the message",
    ),
    switch(
        &["-l", "--stdin-line"],
        PUB,
        |o| o.take_source(Source::Lines),
        "every line of standard input is a message, sent as it comes",
    ),
    switch(
        &["-n", "--null-message"],
        PUB,
        |o| o.take_source(Source::Empty),
        "the message is empty",
    ),
    switch(
        &["-s", "--stdin-file"],
        PUB,
        |o| o.take_source(Source::Stdin),
        "all of standard input is one message",
    ),
    value(
        &["-q", "--qos"],
        BOTH,
        ("QOS", "QoS"),
        set_qos,
        "0, 1 or 2; 0 if not given",
    ),
    switch(
        &["-r", "--retain"],
        PUB,
        |o| put(&mut o.retain, true),
        "the broker keeps the message",
    ),
    value(
        &["--repeat"],
        PUB,
        ("N", "count"),
        set_repeat,
        "publish the message of -m, -f or -s N times",
    ),
    value(
        &["--repeat-delay"],
        PUB,
        ("SECONDS", "time"),
        set_repeat_delay,
        "time between these, which may be a fraction; 0 if not given",
    ),
    switch(
        &["-v", "--verbose"],
        SUB,
        |o| put(&mut o.format.verbose, true),
        "print the topic before the payload",
    ),
    switch(
        &["-N"],
        SUB,
        |o| put(&mut o.format.no_newline, true),
        "print no line end behind the payload",
    ),
    switch(
        &["-R"],
        SUB,
        |o| put(&mut o.no_retained, true),
        "do not print retained messages",
    ),
    value(
        &["-T", "--filter-out"],
        SUB,
        ("TOPIC", "topic filter"),
        |o, v| add(&mut o.filtered_out, filter(v, "filter")?),
        "do not print messages of this topic; may be repeated",
    ),
    value(
        &["-C"],
        SUB,
        ("COUNT", "count"),
        set_messages_max,
        "end after so many messages",
    ),
    value(
        &["-W"],
        SUB,
        ("SECONDS", "timeout"),
        set_timeout,
        "end after so many seconds, with status 27",
    ),
    switch(
        &["-E"],
        SUB,
        |o| put(&mut o.until_subscribed, true),
        "end when the broker has answered the subscription",
    ),
    value(
        &["-h", "--host"],
        BOTH,
        ("HOST", "host"),
        |o, v| put(&mut o.host, text(v)?.to_owned()),
        "the broker's host; localhost if not given",
    ),
    value(
        &["-p", "--port"],
        BOTH,
        ("PORT", "port"),
        set_port,
        "the broker's port; 1883 if not given",
    ),
    value(
        &["-V", "--protocol-version"],
        BOTH,
        ("VERSION", "version"),
        set_version,
        "mqttv31, mqttv311 or mqttv5; mqttv311 if not given",
    ),
    value(
        &["-i", "--id"],
        BOTH,
        ("ID", "id"),
        |o, v| put(&mut o.client_id, Some(text(v)?.to_owned())),
        "the client identifier; the broker chooses one if not given",
    ),
    value(
        &["-I", "--id-prefix"],
        BOTH,
        ("PREFIX", "id prefix"),
        |o, v| put(&mut o.id_prefix, Some(text(v)?.to_owned())),
        "the client identifier is this and the process id",
    ),
    value(
        &["-u", "--username"],
        BOTH,
        ("NAME", "username"),
        |o, v| put(&mut o.user_name, Some(text(v)?.to_owned())),
        "the user's name",
    ),
    value(
        &["-P", "--pw"],
        BOTH,
        ("PASSWORD", "password"),
        |o, v| put(&mut o.password, Some(v.as_encoded_bytes().to_vec())),
        "the password",
    ),
    value(
        &["-k", "--keepalive"],
        BOTH,
        ("SECONDS", "keepalive"),
        set_keep_alive,
        "longest silence, 5 to 65535; 60 if not given",
    ),
    switch(
        &["-c", "--disable-clean-session"],
        BOTH,
        |o| put(&mut o.keep_session, true),
        "come back to the session of -i, and keep it afterwards",
    ),
    value(
        &["-x"],
        BOTH,
        ("SECONDS", "session expiry interval"),
        set_session_expiry,
        "how long the session is kept, -1 for ever; MQTT 5.0",
    ),
    value(
        &["--will-topic"],
        BOTH,
        ("TOPIC", "will topic"),
        |o, v| put(&mut o.will.topic, Some(name(v, "will")?)),
        "topic of the message that the broker publishes if this client is lost",
    ),
    value(
        &["--will-payload"],
        BOTH,
        ("MESSAGE", "will payload"),
        |o, v| put(&mut o.will.payload, Some(v.as_encoded_bytes().to_vec())),
        "its payload; empty if not given",
    ),
    value(
        &["--will-qos"],
        BOTH,
        ("QOS", "will QoS"),
        set_will_qos,
        "its QoS; 0 if not given",
    ),
    switch(
        &["--will-retain"],
        BOTH,
        |o| put(&mut o.will.retain, true),
        "the broker keeps it",
    ),
    switch(
        &["-d", "--debug"],
        BOTH,
        |o| put(&mut o.debug, true),
        "print what is sent and received",
    ),
    switch(
        &["--quiet"],
        BOTH,
        |o| put(&mut o.quiet, true),
        "print no errors",
    ),
    switch(
        &["--nodelay"],
        BOTH,
        |_| Ok(()),
        "always on: small packets are sent at once",
    ),
    Flag {
        names: &["--help"],
        programs: BOTH,
        action: Action::Help,
        help: "print this",
    },
    Flag {
        names: &["--version"],
        programs: BOTH,
        action: Action::Version,
        help: "print the version",
    },
    later(&["-A"], BOTH),
    later(&["-D", "--property"], BOTH),
    later(&["-F"], SUB),
    later(&["-L", "--url"], BOTH),
    later(&["-M"], BOTH),
    later(&["-o"], BOTH),
    later(&["-S"], BOTH),
    later(&["-U", "--unsubscribe"], SUB),
    later(&["-w", "--watch"], SUB),
    later(&["--cafile"], BOTH),
    later(&["--capath"], BOTH),
    later(&["--cert"], BOTH),
    later(&["--ciphers"], BOTH),
    later(&["--insecure"], BOTH),
    later(&["--key"], BOTH),
    later(&["--keyform"], BOTH),
    later(&["--message-rate"], SUB),
    later(&["--no-tls"], BOTH),
    later(&["--pretty"], SUB),
    later(&["--proxy"], BOTH),
    later(&["--psk"], BOTH),
    later(&["--psk-identity"], BOTH),
    later(&["--random-filter"], SUB),
    later(&["--remove-retained"], SUB),
    later(&["--retain-as-published"], SUB),
    later(&["--retain-handling"], SUB),
    later(&["--retained-only"], SUB),
    later(&["--tls-alpn"], BOTH),
    later(&["--tls-engine"], BOTH),
    later(&["--tls-engine-kpass-sha1"], BOTH),
    later(&["--tls-keylog"], BOTH),
    later(&["--tls-use-os-certs"], BOTH),
    later(&["--tls-version"], BOTH),
    later(&["--unix"], BOTH),
    later(&["--ws"], BOTH),
];

fn name(value: &OsStr, what: &str) -> Result<String, String> {
    let topic = text(value)?;
    match TopicName::new(topic) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(format!(
            "Invalid {what} topic '{topic}', does it contain '+' or '#'?"
        )),
    }
}

fn filter(value: &OsStr, what: &str) -> Result<String, String> {
    let topic = text(value)?;
    let is_valid = match SharedFilter::parse(topic) {
        Ok(Some(_)) => true,
        Ok(None) => TopicFilter::new(topic).is_ok(),
        Err(_) => false,
    };
    if is_valid {
        Ok(topic.to_owned())
    } else {
        Err(format!(
            "Invalid {what} topic '{topic}', are all '+' and '#' wildcards correct?"
        ))
    }
}

fn qos(value: &str) -> Option<QoS> {
    value.parse::<u8>().ok().and_then(QoS::from_bits)
}

fn set_qos(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let level = text(value)?;
    options.qos = qos(level).ok_or_else(|| format!("Invalid QoS given: {level}"))?;
    Ok(())
}

fn set_will_qos(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let level = text(value)?;
    options.will.qos = qos(level).ok_or_else(|| format!("Invalid will QoS {level}."))?;
    Ok(())
}

fn set_port(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let port = text(value)?;
    let number = port.parse::<u16>().ok().filter(|number| *number != 0);
    options.port = number.ok_or_else(|| format!("Invalid port given: {port}"))?;
    Ok(())
}

fn set_version(options: &mut Options, value: &OsStr) -> Result<(), String> {
    options.version = match text(value)? {
        "mqttv31" | "31" => ProtocolVersion::V31,
        "mqttv311" | "311" => ProtocolVersion::V311,
        "mqttv5" | "5" => ProtocolVersion::V5,
        _ => return Err("Invalid protocol version argument given.".to_owned()),
    };
    Ok(())
}

fn set_keep_alive(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let seconds = text(value)?
        .parse::<u16>()
        .ok()
        .filter(|seconds| *seconds >= 5);
    let range = "Invalid keepalive given, it must be between 5 and 65535 inclusive.";
    options.keep_alive_s = seconds.ok_or(range)?;
    Ok(())
}

fn set_session_expiry(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let seconds = match text(value)? {
        "-1" | "∞" => u32::MAX,
        seconds => seconds
            .parse::<u32>()
            .map_err(|_| "session-expiry-interval not a number.")?,
    };
    options.session_expiry_s = Some(seconds);
    options.version = ProtocolVersion::V5;
    Ok(())
}

fn set_repeat(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let count = text(value)?.parse::<u32>().ok().filter(|count| *count > 0);
    options.repeat = count.ok_or("--repeat argument must be >0.")?;
    Ok(())
}

fn set_repeat_delay(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let seconds = text(value)?.parse::<f64>().ok();
    let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    options.repeat_delay = delay.ok_or("--repeat-delay argument must be >=0.0.")?;
    Ok(())
}

fn set_messages_max(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let count = text(value)?;
    let number = count.parse::<u32>().ok().filter(|number| *number > 0);
    options.messages_max =
        Some(number.ok_or_else(|| format!("Invalid message count \"{count}\"."))?);
    Ok(())
}

fn set_timeout(options: &mut Options, value: &OsStr) -> Result<(), String> {
    let seconds = text(value)?;
    let number = seconds.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| format!("Invalid timeout \"{seconds}\"."))?;
    options.timeout = Some(Duration::from_secs(u64::from(number)));
    Ok(())
}
