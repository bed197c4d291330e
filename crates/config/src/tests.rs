//! Configurations and what becomes of them, through one door: [`check`].

mod files;
mod listening;
mod outside;
mod random;
mod table;

use crate::*;

/// Parses `text` as the file `t` and compares with what [`rendered`] makes of the result.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    check_with(text, &[], expected);
}

/// The same with overrides.
#[track_caller]
fn check_with(text: &str, overrides: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(
        rendered(parse(text, "t", &pairs(overrides))),
        expected,
        "{text}"
    );
}

fn pairs(overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    overrides
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// What differs from the defaults, the listeners (unless local-only) and the warnings; or the errors.
fn rendered(result: Result<Loaded, ConfigErrors>) -> Vec<String> {
    let loaded = match result {
        Ok(loaded) => loaded,
        Err(errors) => {
            return errors
                .0
                .iter()
                .map(|error| format!("error {error}"))
                .collect();
        }
    };
    let fields = fields(&loaded.config)
        .into_iter()
        .zip(fields(&Config::default()));
    let mut lines: Vec<String> = fields
        .filter(|(own, default)| own != default)
        .map(|(own, _)| own)
        .collect();
    if loaded.config.listeners != Config::default().listeners {
        lines.extend(loaded.config.listeners.iter().map(listener));
    }
    lines.extend(
        loaded
            .warnings
            .iter()
            .map(|warning| format!("warning {warning}")),
    );
    lines
}

fn listener(listener: &Listener) -> String {
    let mut line = match &listener.address {
        ListenAddress::Tcp { host, port } => {
            format!("listener {}:{port}", host.as_deref().unwrap_or("*"))
        }
        ListenAddress::Unix(path) => format!("listener {}", path.display()),
    };
    if listener.allow_anonymous {
        line.push_str(" anonymous");
    }
    if let Some(max) = listener.max_connections {
        line.push_str(&format!(" connections={max}"));
    }
    if listener.max_qos != 2 {
        line.push_str(&format!(" qos={}", listener.max_qos));
    }
    if (listener.max_topic_alias, listener.max_topic_alias_broker) != (10, 10) {
        line.push_str(&format!(
            " aliases={}/{}",
            listener.max_topic_alias, listener.max_topic_alias_broker
        ));
    }
    line
}

macro_rules! values {
    ($from:expr; $($field:ident)*) => { [$(format!("{}={:?}", stringify!($field), $from.$field)),*] };
}

fn fields(config: &Config) -> Vec<String> {
    let mut values = values!(config;
        workers ack max_inflight_messages max_inflight_bytes max_queued_messages max_queued_bytes queue_full
        max_packet_size message_size_limit max_keepalive_s retain_available allow_zero_length_clientid
        auto_id_prefix persistent_client_expiration_s queue_qos0_messages upgrade_outgoing_qos set_tcp_nodelay
        receive_maximum receive_maximum_strict shared_subscription_strategy max_topic_levels
        max_subscriptions_per_client outgoing_buffer_max connect_timeout_s payload_format_check worker_queue_max
        check_retain_source pid_file)
    .to_vec();
    values.extend(values!(config.log; dests timestamp timestamp_format connection_messages));
    values.extend(values!(config.log.types;
        error warning notice information debug subscribe unsubscribe internal websockets));
    values
}

#[test]
fn lines_are_keys_and_values() {
    check("", &[]);
    check("# comment\n\n   \n\t\n  # indented comment\n", &[]);
    check("max_packet_size 100", &["max_packet_size=100"]);
    check("  max_packet_size   100  \r\n", &["max_packet_size=100"]);
    check("max_packet_size\t100\n", &["max_packet_size=100"]);
    check("max_packet_size 100 # bytes\n", &["max_packet_size=100"]);
    check(
        "max_inflight_messages 0x10\nmax_queued_messages 010",
        &["max_inflight_messages=16", "max_queued_messages=8"],
    );
    check(
        "max_queued_messages 5\nmax_queued_messages 6",
        &["max_queued_messages=6"],
    );
    check("queue_qos0_messages 1", &["queue_qos0_messages=true"]);
    check(
        "auto_id_prefix my client # 1  ",
        &["auto_id_prefix=\"my client # 1\""],
    );
    check(
        "log_timestamp_format %Y-%m-%d %H",
        &["timestamp_format=Some(\"%Y-%m-%d %H\")"],
    );
}

#[test]
fn what_is_not_read_is_said() {
    check(
        "max_packet_size 100 bytes",
        &[
            "max_packet_size=100",
            "warning t:1: 'bytes' behind the value of 'max_packet_size' is ignored",
        ],
    );
    check(
        "log_type error warning",
        &[
            "warning=false",
            "notice=false",
            "information=false",
            "warning t:1: 'warning' behind the value of 'log_type' is ignored",
        ],
    );
    check(
        "pid_file /run/d.pid # here",
        &[
            "pid_file=Some(\"/run/d.pid # here\")",
            "warning t:1: the whole rest of the line is the value of 'pid_file': no comment can stand there",
        ],
    );
}

#[test]
fn numbers_have_ranges_and_limits_have_a_none() {
    check("max_inflight_messages 0", &["max_inflight_messages=65535"]);
    check("max_inflight_messages -1", &["max_inflight_messages=65535"]);
    check("max_packet_size 0", &["max_packet_size=268435460"]);
    check("max_packet_size 2147483647", &["max_packet_size=268435460"]);
    check("max_packet_size 2M", &["max_packet_size=2097152"]);
    check(
        "max_queued_messages 0\nmax_queued_bytes 1G",
        &["max_queued_messages=0", "max_queued_bytes=1073741824"],
    );
    check("max_keepalive 0\nmessage_size_limit 0", &[]);
    check("max_keepalive 60", &["max_keepalive_s=60"]);
    check(
        "persistent_client_expiration 7d",
        &["persistent_client_expiration_s=Some(604800)"],
    );
    check("workers 4\nworkers 0", &[]);
    check("workers 4", &["workers=Some(4)"]);
    check(
        "receive_maximum 5\nreceive_maximum_strict true\nqueue_full reject\nshared_subscription_strategy sticky",
        &[
            "queue_full=Reject",
            "receive_maximum=5",
            "receive_maximum_strict=true",
            "shared_subscription_strategy=Sticky",
        ],
    );
}

#[test]
fn wrong_values_are_told_with_what_was_expected() {
    check(
        "max_inflight_messages 65536",
        &[
            "error t:1: 'max_inflight_messages' is '65536'; expected a number from 1 to 65535, or 0 or -1 for no limit",
        ],
    );
    check(
        "receive_maximum 0",
        &["error t:1: 'receive_maximum' is '0'; expected a number from 1 to 65535"],
    );
    check(
        "max_keepalive ten",
        &[
            "error t:1: 'max_keepalive' is 'ten'; expected a number from 1 to 65535, or 0 for no limit",
        ],
    );
    check(
        "queue_qos0_messages TRUE",
        &["error t:1: 'queue_qos0_messages' is 'TRUE'; expected true or false"],
    );
    check(
        "queue_qos0_messages",
        &["error t:1: 'queue_qos0_messages' has no value; expected true or false"],
    );
    check(
        "queue_full drop",
        &["error t:1: 'queue_full' is 'drop'; expected one of drop_newest, reject"],
    );
    check(
        "persistent_client_expiration 7",
        &[
            "error t:1: 'persistent_client_expiration' is '7'; expected a number and its unit s, h, d, w, m (30 days) or \
           y (365 days), such as 7d",
        ],
    );
    check(
        &format!("auto_id_prefix {}", "x".repeat(51)),
        &["error t:1: 'auto_id_prefix' is 51 bytes long; expected a text of at most 50 bytes"],
    );
}

#[test]
fn every_error_is_told_with_its_line() {
    check(
        "max_qos 3\n# comment\nmax_inflght_messages 20\nretain_available yes\n",
        &[
            "error t:1: 'max_qos' is '3'; expected a number from 0 to 2",
            "error t:3: unknown key 'max_inflght_messages'; did you mean 'max_inflight_messages'?",
            "error t:4: 'retain_available' is 'yes'; expected true or false",
        ],
    );
    check("cheese 1", &["error t:1: unknown key 'cheese'"]);
    check(
        "Listener 1883",
        &["error t:1: unknown key 'Listener'; did you mean 'listener'?"],
    );
    let errors = parse(&"cheese\n".repeat(1_000), "t", &[]).unwrap_err();
    assert_eq!(errors.0.len(), 101);
    assert_eq!(
        errors.0[100].to_string(),
        "t:100: there are 100 errors or more; the rest was not read"
    );
}

#[test]
fn texts_are_written_once_per_scope() {
    check(
        "pid_file /a\n\npid_file /b",
        &["error t:3: 'pid_file' is written twice; the first time at t:1"],
    );
    check(
        "log_dest file /a\nlog_dest file /b",
        &["error t:2: 'log_dest file' is written twice"],
    );
    check(
        "bind_address ::1\nbind_address ::2",
        &["error t:2: 'bind_address' is written twice"],
    );
    check(
        "listener 1\nlistener_auto_id_prefix a\nlistener 2\nlistener_auto_id_prefix a\n",
        &["auto_id_prefix=\"a\"", "listener *:1", "listener *:2"],
    );
}

#[test]
fn logs() {
    check(
        "log_dest stdout\nlog_dest syslog\nlog_dest stdout",
        &["dests=[Stdout, Syslog]"],
    );
    check(
        "log_dest file /var/log/my log",
        &["dests=[File(\"/var/log/my log\")]"],
    );
    check("log_dest stdout\nlog_dest none", &["dests=[None]"]);
    check("log_dest none\nlog_dest stderr", &[]);
    check(
        "log_dest file",
        &["error t:1: 'log_dest file' needs a path behind it"],
    );
    check(
        "log_dest paper",
        &[
            "error t:1: 'log_dest' is 'paper'; expected one of none, stdout, stderr, syslog, file PATH",
        ],
    );
    check(
        "log_dest topic",
        &[
            "error t:1: 'log_dest topic' is not available in this release: the topics below $SYS/broker/log come with $SYS",
        ],
    );
    check(
        "log_dest dlt",
        &["error t:1: 'log_dest dlt' is not available in this release: there is no DLT log"],
    );
    check(
        "log_type none",
        &[
            "error=false",
            "warning=false",
            "notice=false",
            "information=false",
        ],
    );
    check(
        "log_type error\nlog_type debug\nlog_type warning",
        &["notice=false", "information=false", "debug=true"],
    );
    check(
        "log_timestamp false\nconnection_messages 0",
        &["timestamp=false", "connection_messages=false"],
    );
}

#[test]
fn what_is_not_there_yet_is_never_pretended() {
    check(
        "certfile /a",
        &[
            "error t:1: 'certfile' is a Mosquitto option that this release of Dunlin does not have yet (TLS)",
        ],
    );
    check(
        "auth_opt_http_host x",
        &[
            "error t:1: 'auth_opt_http_host' is a Mosquitto option that this release of Dunlin does not have yet (plugins \
         and dynamic security)",
        ],
    );
    check("persistence false\nretained_persistence 0", &[]);
    check(
        "persistence true",
        &[
            "error t:1: 'persistence true' is not available in this release: Sessions and retained messages are kept in \
         memory, the store comes in the next release; write 'persistence false'",
        ],
    );
    check("ack memory", &[]);
    check(
        "ack fsync",
        &[
            "error t:1: 'ack fsync' is not available in this release: it needs the store, which comes in the next release",
        ],
    );
    check(
        "listener 1\nprotocol websockets",
        &[
            "error t:2: 'protocol websockets' is not available in this release: WebSocket listeners come in a later release",
        ],
    );
    check(
        "require_certificate false # off",
        &[
            "warning t:1: 'require_certificate' has no effect: this release of Dunlin does not have it yet (TLS)",
        ],
    );
    check(
        "sys_interval 10",
        &[
            "warning t:1: 'sys_interval' is accepted but has no effect: it comes with the $SYS topics",
        ],
    );
}

#[test]
fn text_that_is_none_is_refused() {
    check(
        "\u{feff}max_qos 1",
        &["error t:1: the file begins with a UTF-8 byte order mark; save it as UTF-8 without one"],
    );
    check(
        "max_qos 1\n\0",
        &["error t:2: the line has a NUL byte; is this UTF-16 or no text at all?"],
    );
    check(
        &format!("pid_file {}", "x".repeat(65_528)),
        &["error t:1: the line is 65537 bytes long, the limit is 65536"],
    );
    check(
        "include_dir /etc",
        &["error t:1: 'include_dir' cannot be followed: this text is read without files"],
    );
}
