//! Two shells before one broker: a subscriber in one, publishers in the other, each run by Mosquitto's
//! tools or by Dunlin's. Lines are read by threads, so that each wait is for a line or for the end, and
//! bounded.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::mem;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::common::BrokerProcess;

/// How long to wait for the next line, or for the end of a tool's output.
const WAIT: Duration = Duration::from_secs(10);

/// Whose command-line tools stand in a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tools {
    /// Debian's `mosquitto_pub` and `mosquitto_sub`.
    Mosquitto,
    /// `dunlin pub` and `dunlin sub`.
    Dunlin,
}

impl Tools {
    /// The words that begin a command; `verb` is `pub` or `sub`.
    fn words(self, verb: &str) -> Vec<String> {
        match self {
            // Mosquitto's tools write line by line to a terminal only; stdbuf makes them do so here.
            Self::Mosquitto => vec![
                "stdbuf".to_owned(),
                "-oL".to_owned(),
                format!("mosquitto_{verb}"),
            ],
            Self::Dunlin => vec![env!("CARGO_BIN_EXE_dunlin").to_owned(), verb.to_owned()],
        }
    }

    fn require(self) {
        if self == Self::Dunlin {
            return;
        }
        let path = env::var_os("PATH").unwrap_or_default();
        for tool in ["mosquitto_pub", "mosquitto_sub", "stdbuf"] {
            assert!(
                env::split_paths(&path).any(|folder| folder.join(tool).is_file()),
                "{tool} is missing: run scripts/install-test-needs.sh once, it installs what the tests need"
            );
        }
    }
}

/// A broker of its own and the two shells before it.
pub(crate) struct Shells {
    broker: BrokerProcess,
    publisher: Tools,
    subscriber: Tools,
}

impl Shells {
    pub(crate) fn open(publisher: Tools, subscriber: Tools) -> Self {
        publisher.require();
        subscriber.require();
        Self {
            broker: BrokerProcess::start(""),
            publisher,
            subscriber,
        }
    }

    /// Starts a subscriber with `-d`; returns once the broker has answered its SUBSCRIBE.
    pub(crate) fn subscribe(&self, arguments: &[&str]) -> Running {
        let mut running = self.subscribe_quietly(&[&["-d"][..], arguments].concat());
        running.expect_line("received SUBACK");
        running
    }

    /// Starts a subscriber without `-d`: it prints messages and nothing else.
    pub(crate) fn subscribe_quietly(&self, arguments: &[&str]) -> Running {
        Running::start(&self.command(self.subscriber, "sub", arguments), "")
    }

    /// Runs a publisher to its end, which must be a good one.
    pub(crate) fn publish(&self, arguments: &[&str]) -> Finished {
        self.publish_input(arguments, "")
    }

    /// The same with something on its standard input.
    pub(crate) fn publish_input(&self, arguments: &[&str], input: &str) -> Finished {
        let finished =
            Running::start(&self.command(self.publisher, "pub", arguments), input).finish();
        assert_eq!(
            finished.code,
            Some(0),
            "{arguments:?}: {:?}",
            finished.lines
        );
        finished
    }

    /// Starts a publisher with `-d -l` whose standard input stays open; returns once it is connected.
    pub(crate) fn publish_lines(&self, arguments: &[&str]) -> Running {
        let arguments = [&["-d", "-l"][..], arguments].concat();
        let mut running = Running::start_waiting(&self.command(self.publisher, "pub", &arguments));
        running.expect_line("received CONNACK");
        running
    }

    /// Runs `feed` three times and pipes what it prints into a publisher with `-l`.
    pub(crate) fn pipe_into_publisher(&self, feed: &Path, arguments: &[&str]) -> Finished {
        let loop_and_pipe = r#"for n in 1 2 3; do "$0" || exit 1; done | "$@""#;
        let mut words = vec![
            "sh".to_owned(),
            "-c".to_owned(),
            loop_and_pipe.to_owned(),
            feed.display().to_string(),
        ];
        words.extend(self.command(self.publisher, "pub", arguments));
        words.push("-l".to_owned());
        Running::start(&words, "").finish()
    }

    fn command(&self, tools: Tools, verb: &str, arguments: &[&str]) -> Vec<String> {
        let mut words = tools.words(verb);
        let port = self.broker.port.to_string();
        let place = ["-h", "127.0.0.1", "-p", port.as_str()];
        words.extend(place.iter().chain(arguments).map(|word| (*word).to_owned()));
        words
    }
}

/// One line that a tool wrote.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// False for standard error.
    on_stdout: bool,
    /// Without its end of line.
    pub(crate) text: String,
}

/// A tool that runs; it is killed when this value goes.
pub(crate) struct Running {
    words: Vec<String>,
    child: Child,
    output: Receiver<Line>,
    /// Lines taken from `output` so far.
    lines: Vec<Line>,
}

impl Running {
    /// Starts a tool and closes its standard input behind `input`.
    fn start(words: &[String], input: &str) -> Self {
        let mut running = Self::start_waiting(words);
        if let Some(mut stdin) = running.child.stdin.take() {
            // A tool that reads no input may be gone already; its exit status tells more than this.
            let _ = stdin.write_all(input.as_bytes());
        }
        running
    }

    /// Starts a tool whose standard input stays open.
    fn start_waiting(words: &[String]) -> Self {
        let (program, arguments) = words.split_first().expect("a command has a first word");
        let mut child = Command::new(program)
            .args(arguments)
            // Where Mosquitto's tools look for options of the user's own.
            .env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        let (lines, output) = mpsc::channel();
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        read_lines(stdout, true, lines.clone());
        read_lines(stderr, false, lines);
        Self {
            words: words.to_vec(),
            child,
            output,
            lines: Vec::new(),
        }
    }

    /// Waits for a line that contains this.
    pub(crate) fn expect_line(&mut self, part: &str) {
        loop {
            let Ok(line) = self.output.recv_timeout(WAIT) else {
                panic!(
                    "{:?} did not write `{part}`, it wrote {:#?}",
                    self.words, self.lines
                );
            };
            let found = line.text.contains(part);
            self.lines.push(line);
            if found {
                return;
            }
        }
    }

    /// Waits until the tool has ended by itself.
    pub(crate) fn finish(mut self) -> Finished {
        drop(self.child.stdin.take());
        loop {
            match self.output.recv_timeout(WAIT) {
                Ok(line) => self.lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("{:?} did not end, it wrote {:#?}", self.words, self.lines)
                }
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        Finished {
            code: status.code(),
            lines: mem::take(&mut self.lines),
        }
    }

    /// Ends the tool with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the tool has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, on_stdout: bool, lines: Sender<Line>) {
    thread::spawn(move || {
        for text in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(Line { on_stdout, text }).is_err() {
                break;
            }
        }
    });
}

/// What a tool left behind.
pub(crate) struct Finished {
    /// Its exit status; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it wrote.
    pub(crate) lines: Vec<Line>,
}

impl Finished {
    /// The messages that a subscriber printed: standard output without the lines of `-d`.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line.on_stdout)
            .map(|line| line.text.as_str())
            .filter(|text| !text.starts_with("Client ") && !text.starts_with("Subscribed (mid: "))
            .collect()
    }

    /// The same in the order of the alphabet, where the order of arrival is not promised.
    pub(crate) fn messages_sorted(&self) -> Vec<&str> {
        let mut messages = self.messages();
        messages.sort_unstable();
        messages
    }

    /// Demands that a `-d` line tells of one PUBLISH received: DUP 0, this QoS and RETAIN, this topic
    /// and size. The Packet Identifier may be any.
    pub(crate) fn assert_received(&self, qos: u8, retain: u8, topic: &str, payload_bytes: usize) {
        let flags = format!(" received PUBLISH (d0, q{qos}, r{retain}, m");
        let rest = format!(", '{topic}', ... ({payload_bytes} bytes))");
        let count = self
            .lines
            .iter()
            .filter(|line| line.text.contains(&flags) && line.text.ends_with(&rest))
            .count();
        assert_eq!(count, 1, "`{flags}..{rest}` in {:#?}", self.lines);
    }
}
