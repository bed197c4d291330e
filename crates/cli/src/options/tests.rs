use super::*;

fn read(tool: &Tool, words: &[&str]) -> Result<Options, String> {
    let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
    let mut options = Options::default();
    let asked = parse(FLAGS, tool.program, &arguments, &mut options)?;
    tool.check(asked, &options)?;
    Ok(options)
}

fn publish(words: &[&str]) -> Result<Options, String> {
    read(&Tool::publish("dunlin pub"), words)
}

fn subscribe(words: &[&str]) -> Result<Options, String> {
    read(&Tool::subscribe("dunlin sub"), words)
}

fn check(result: Result<Options, String>, expected: &str) {
    assert_eq!(result, Err(expected.to_owned()));
}

#[test]
fn what_the_flags_of_pub_say() {
    let words =
        "-t a/b -m hello -q 2 -r -h broker -p 1884 -V 5 -i me -u user -P secret -k 5 -x 7 -d";
    let words: Vec<&str> = words.split(' ').collect();
    let options = publish(&words).unwrap();
    let expected = Options {
        topics: vec!["a/b".into()],
        source: Some(Source::Argument(b"hello".to_vec())),
        qos: QoS::ExactlyOnce,
        retain: true,
        host: "broker".into(),
        port: 1884,
        version: ProtocolVersion::V5,
        client_id: Some("me".into()),
        user_name: Some("user".into()),
        password: Some(b"secret".to_vec()),
        keep_alive_s: 5,
        session_expiry_s: Some(7),
        debug: true,
        ..Options::default()
    };
    assert_eq!(options, expected);
    let repeated = [
        "-t",
        "a",
        "-t",
        "b",
        "-s",
        "--repeat",
        "3",
        "--repeat-delay",
        "0.5",
    ];
    let options = publish(&repeated).unwrap();
    assert_eq!(
        (options.topics.as_slice(), options.repeat),
        (&["b".to_owned()][..], 3)
    );
    assert_eq!(options.repeat_delay, Duration::from_millis(500));
}

#[test]
fn what_the_flags_of_sub_say() {
    let words = "-t a/+ -t $share/g/# -T a/x -v -N -R -C 3 -W 2 -E -c -I -i me --quiet";
    let words: Vec<&str> = words.split(' ').collect();
    // -I takes -i as its prefix: flags are no different from other values.
    check(subscribe(&words), "Unknown option 'me'.");
    let words = "-t a/+ -t $share/g/# -T a/x -v -N -R -C 3 -W 2 -E -c -i me --quiet";
    let words: Vec<&str> = words.split(' ').collect();
    let expected = Options {
        topics: vec!["a/+".into(), "$share/g/#".into()],
        filtered_out: vec!["a/x".into()],
        format: Format {
            verbose: true,
            no_newline: true,
        },
        no_retained: true,
        messages_max: Some(3),
        timeout: Some(Duration::from_secs(2)),
        until_subscribed: true,
        keep_session: true,
        client_id: Some("me".into()),
        quiet: true,
        ..Options::default()
    };
    assert_eq!(subscribe(&words), Ok(expected));
}

#[test]
fn expiry_means_version_5() {
    for (value, seconds) in [
        ("0", 0),
        ("4294967295", u32::MAX),
        ("-1", u32::MAX),
        ("∞", u32::MAX),
    ] {
        let options = subscribe(&["-t", "a", "-x", value]).unwrap();
        assert_eq!(
            (options.session_expiry_s, options.version),
            (Some(seconds), ProtocolVersion::V5)
        );
    }
}

#[test]
fn wrong_values_are_told_in_mosquittos_words() {
    let pub_with = |words: &[&str]| publish(&[&["-t", "a", "-m", "b"][..], words].concat());
    let topic = "Invalid publish topic 'a/+', does it contain '+' or '#'?";
    check(pub_with(&["-t", "a/+"]), topic);
    check(pub_with(&["-q", "3"]), "Invalid QoS given: 3");
    check(pub_with(&["-q"]), "-q argument given but no QoS specified.");
    check(pub_with(&["-p", "99999"]), "Invalid port given: 99999");
    check(pub_with(&["-p", "0"]), "Invalid port given: 0");
    let keep_alive = "Invalid keepalive given, it must be between 5 and 65535 inclusive.";
    check(pub_with(&["-k", "2"]), keep_alive);
    check(pub_with(&["-k", "70000"]), keep_alive);
    check(
        pub_with(&["-V", "4"]),
        "Invalid protocol version argument given.",
    );
    check(
        pub_with(&["-x", "soon"]),
        "session-expiry-interval not a number.",
    );
    check(
        pub_with(&["--repeat", "0"]),
        "--repeat argument must be >0.",
    );
    check(
        pub_with(&["--repeat-delay", "-1"]),
        "--repeat-delay argument must be >=0.0.",
    );
    check(
        pub_with(&["--will-topic", "a", "--will-qos", "5"]),
        "Invalid will QoS 5.",
    );
    check(pub_with(&["-C", "1"]), "Unknown option '-C'.");
    check(
        pub_with(&["--cafile"]),
        "Mosquitto's option '--cafile' is not in this release of dunlin.",
    );
    let filter = "Invalid subscription topic 'a/#/b', are all '+' and '#' wildcards correct?";
    check(subscribe(&["-t", "a/#/b"]), filter);
    check(
        subscribe(&["-t", "a", "-C", "0"]),
        "Invalid message count \"0\".",
    );
    check(subscribe(&["-t", "a", "-W", "0"]), "Invalid timeout \"0\".");
    let out = "Invalid filter topic 'a+', are all '+' and '#' wildcards correct?";
    check(subscribe(&["-t", "a", "-T", "a+"]), out);
}

#[test]
fn flags_that_do_not_go_together() {
    let pub_with = |words: &[&str]| publish(&[&["-t", "a", "-m", "b"][..], words].concat());
    let both = "Both topic and message must be supplied.";
    check(publish(&[]), both);
    check(publish(&["-t", "a"]), both);
    check(publish(&["-m", "a"]), both);
    check(
        pub_with(&["-n"]),
        "Only one type of message can be sent at once.",
    );
    check(
        pub_with(&["-i", "a", "-I", "b"]),
        "-i and -I argument cannot be used together.",
    );
    check(
        pub_with(&["-c"]),
        "You must provide a client id if you are using the -c option.",
    );
    check(
        pub_with(&["--will-payload", "p"]),
        "Will payload given, but no will topic given.",
    );
    check(
        pub_with(&["--will-retain"]),
        "Will retain given, but no will topic given.",
    );
    check(
        pub_with(&["-P", "p"]),
        "A password (-P) needs a username (-u) before MQTT 5.0.",
    );
    assert!(pub_with(&["-P", "p", "-V", "5"]).is_ok());
    check(subscribe(&[]), "You must specify a topic to subscribe to.");
}

#[test]
fn each_flag_stands_once_per_tool() {
    for tool in [PUB, SUB] {
        let mut seen: Vec<&str> = Vec::new();
        for flag in FLAGS.iter().filter(|flag| flag.programs.0 & tool.0 != 0) {
            for name in flag.names {
                assert!(!seen.contains(name), "{name}");
                seen.push(name);
            }
        }
    }
}

#[test]
fn what_connect_asks_for() {
    let options = publish(&["-t", "a", "-n", "-V", "31"])
        .unwrap()
        .connect_options();
    assert!(
        options.client_id.starts_with("mosq-") && options.client_id.len() == 23,
        "{}",
        options.client_id
    );
    let other = publish(&["-t", "a", "-n", "-V", "31"])
        .unwrap()
        .connect_options();
    assert_ne!(options.client_id, other.client_id);

    let options = subscribe(&["-t", "a", "-I", "me-", "-C", "3"])
        .unwrap()
        .connect_options();
    assert_eq!(options.client_id, format!("me-{}", std::process::id()));
    assert_eq!((options.receive_maximum, options.clean_start), (3, true));
    let options = subscribe(&["-t", "a", "-C", "300", "-c", "-i", "x", "-V", "5"])
        .unwrap()
        .connect_options();
    assert_eq!((options.receive_maximum, options.clean_start), (20, false));
    assert_eq!(options.session_expiry_interval_s, Some(u32::MAX));
    let options = subscribe(&["-t", "a"]).unwrap().connect_options();
    assert_eq!(
        (
            options.client_id.as_str(),
            options.session_expiry_interval_s
        ),
        ("", None)
    );
}
