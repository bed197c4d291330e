//! One broker process in a folder of its own, with everything that it writes kept line by line; what it
//! wrote is shown when its test fails.
//!
//! In a configuration `$PORT` stands for a free port of 127.0.0.1 and `$DIR` for the broker's folder; in
//! what is read back from it, `$DIR` stands for the folder again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dunlin_conformance::ConnectSpec;
use tempfile::TempDir;

use crate::client::Client;
use crate::kernel;

/// How long any one event may take.
pub(crate) const WAIT: Duration = Duration::from_secs(15);
/// The pause between two looks at something that tells nobody when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A port may be taken by another process between finding it and listening on it.
const ATTEMPTS: usize = 5;
/// A listener for anonymous clients.
pub(crate) const OPEN: &str = "listener $PORT 127.0.0.1\nallow_anonymous true\n";

/// Ports given out by this process: two brokers that start at once must not be told the same free one.
static PORTS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A broker that is killed when its value goes.
pub(crate) struct Broker {
    /// What stands for `$PORT`.
    pub(crate) port: u16,
    folder: TempDir,
    child: Child,
    output: Receiver<Line>,
    /// Lines taken from `output` so far.
    seen: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    /// False for standard error.
    on_stdout: bool,
    text: String,
}

/// What an ended broker leaves behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// How a broker says that it serves.
#[derive(Clone, Copy)]
enum Ready {
    /// By the line of its log that says so.
    Logged,
    /// By accepting a connection on `$PORT`: for logs that go elsewhere.
    Accepting,
}

impl Broker {
    /// Starts a broker with a listener for anonymous clients and these further lines.
    pub(crate) fn start(lines: &str) -> Self {
        Self::configured(&format!("{OPEN}{lines}"))
    }

    /// Starts a broker with this configuration.
    pub(crate) fn configured(text: &str) -> Self {
        Self::attempt(Ready::Logged, text, None)
    }

    /// Starts a broker like `start`, whose log need not come here.
    pub(crate) fn start_unheard(lines: &str) -> Self {
        Self::attempt(Ready::Accepting, &format!("{OPEN}{lines}"), None)
    }

    /// Starts a broker like `start` that may have this many open files.
    pub(crate) fn start_with_files(files_max: u32, lines: &str) -> Self {
        Self::attempt(Ready::Logged, &format!("{OPEN}{lines}"), Some(files_max))
    }

    /// Starts a broker without any configuration, on a free port that the system chooses.
    pub(crate) fn without_configuration() -> Self {
        let mut command = dunlin();
        command.args(["broker", "-p", "0"]);
        let mut broker = Self::launch(&mut command, new_folder(), 0);
        let line = broker.expect_line("Opening ipv4 listen socket on port ");
        let port = line.trim_end_matches('.').rsplit(' ').next();
        broker.port = port
            .and_then(|port| port.parse().ok())
            .expect("the line ends with a port");
        broker.expect_line("running with");
        broker
    }

    /// Runs `dunlin` to its own end, with this configuration where `CONF` stands in the arguments.
    pub(crate) fn run(text: &str, arguments: &[&str]) -> Ended {
        let folder = new_folder();
        let path = write_configuration(&folder, 0, text);
        let mut command = dunlin();
        for argument in arguments {
            if *argument == "CONF" {
                command.arg(&path);
            } else {
                command.arg(argument);
            }
        }
        Self::launch(&mut command, folder, 0).finish()
    }

    fn attempt(ready: Ready, text: &str, files_max: Option<u32>) -> Self {
        for _ in 0..ATTEMPTS {
            let (folder, port) = (new_folder(), free_port());
            let path = write_configuration(&folder, port, text);
            let mut command = broker_command(&path, files_max);
            let mut broker = Self::launch(&mut command, folder, port);
            let is_ready = match ready {
                Ready::Logged => broker.is_running(),
                Ready::Accepting => broker.is_accepting(),
            };
            if is_ready {
                return broker;
            }
            let seen = &broker.seen;
            assert!(
                broker.has_written("Address already in use"),
                "the broker did not start: {seen:#?}"
            );
        }
        panic!("no port that was found free stayed free, {ATTEMPTS} times");
    }

    fn launch(command: &mut Command, folder: TempDir, port: u16) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("dunlin can be started");
        let (lines, output) = mpsc::channel();
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        read_lines(stdout, true, lines.clone());
        read_lines(stderr, false, lines);
        Self {
            port,
            folder,
            child,
            output,
            seen: Vec::new(),
        }
    }

    /// A new connection, nothing sent yet.
    pub(crate) fn client(&self) -> Client {
        Client::tcp((Ipv4Addr::LOCALHOST, self.port)).expect("the broker's port can be reached")
    }

    /// A client of MQTT 5.0 with a clean start.
    pub(crate) fn v5(&self, client_id: &str) -> Client {
        self.client().connect(&ConnectSpec::v5(client_id))
    }

    /// A path in the broker's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What stands in a file of the broker's folder; nothing if there is no such file.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Replaces the lines that follow the listener and asks for a reload.
    pub(crate) fn reload(&self, lines: &str) {
        write_configuration(&self.folder, self.port, &format!("{OPEN}{lines}"));
        self.signal("HUP");
    }

    /// Sends a signal, of HUP, INT and TERM, once the broker is prepared for it.
    pub(crate) fn signal(&self, name: &str) {
        let number = match name {
            "HUP" => 1,
            "INT" => 2,
            "TERM" => 15,
            _ => panic!("{name} is no signal that the broker handles"),
        };
        wait_until("the broker handles the signal", || {
            kernel::handles_signal(self.pid(), number)
        });
        let kill = format!("kill -{name} {}", self.pid());
        let killed = Command::new("sh").arg("-c").arg(&kill).status();
        assert!(killed.is_ok_and(|status| status.success()), "{kill}");
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(self) -> Ended {
        self.signal("TERM");
        self.finish()
    }

    /// Waits until the broker has ended by itself.
    pub(crate) fn finish(mut self) -> Ended {
        let deadline = Instant::now() + WAIT;
        while self.read_line(deadline, "end of the broker") {}
        let status = self.child.wait().expect("a child can be waited for");
        let folder = self.folder.path().display().to_string();
        let lines = |on_stdout: bool| -> Vec<String> {
            let lines = self.seen.iter().filter(|line| line.on_stdout == on_stdout);
            lines
                .map(|line| line.text.replace(&folder, "$DIR"))
                .collect()
        };
        Ended {
            code: status.code(),
            stdout: lines(true),
            stderr: lines(false),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains this, on standard output or standard error.
    pub(crate) fn expect_line(&mut self, part: &str) -> String {
        let deadline = Instant::now() + WAIT;
        let mut looked = 0;
        loop {
            let mut new = self.seen.iter().skip(looked);
            if let Some(line) = new.find(|line| line.text.contains(part)) {
                return line.text.clone();
            }
            looked = self.seen.len();
            let goes_on = self.read_line(deadline, part);
            assert!(
                goes_on,
                "the broker ended without `{part}`: {:#?}",
                self.seen
            );
        }
    }

    fn is_running(&mut self) -> bool {
        let deadline = Instant::now() + WAIT;
        while !self.has_written("running with") {
            if !self.read_line(deadline, "start of the broker") {
                return false;
            }
        }
        true
    }

    fn is_accepting(&mut self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut has_ended = false;
        wait_until("the broker accepts connections or ends", || {
            has_ended = self.child.try_wait().is_ok_and(|ended| ended.is_some());
            has_ended || TcpStream::connect(address).is_ok()
        });
        if has_ended {
            let deadline = Instant::now() + WAIT;
            while self.read_line(deadline, "end of the broker") {}
        }
        !has_ended
    }

    fn has_written(&self, part: &str) -> bool {
        self.seen.iter().any(|line| line.text.contains(part))
    }

    /// Takes one more line; false if the broker will write no more.
    fn read_line(&mut self, deadline: Instant, awaited: &str) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.output.recv_timeout(left) {
            Ok(line) => {
                self.seen.push(line);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                panic!("not within {WAIT:?}: {awaited}; only {:#?}", self.seen)
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.seen.extend(self.output.try_iter());
            eprintln!("the broker wrote:");
            for line in &self.seen {
                eprintln!("{}", line.text);
            }
        }
    }
}

/// Looks again and again until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}");
        thread::park_timeout(LOOK_AGAIN);
    }
}

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

fn write_configuration(folder: &TempDir, port: u16, text: &str) -> PathBuf {
    let path = folder.path().join("broker.conf");
    let text = text
        .replace("$PORT", &port.to_string())
        .replace("$DIR", &folder.path().display().to_string());
    fs::write(&path, text).expect("the configuration file can be written");
    path
}

/// The program, without the settings that the environment of the tests may hold.
fn dunlin() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_dunlin")))
}

fn broker_command(configuration: &Path, files_max: Option<u32>) -> Command {
    let Some(max) = files_max else {
        let mut command = dunlin();
        command.arg("broker").arg("-c").arg(configuration);
        return command;
    };
    let mut command = clean(Command::new("sh"));
    command
        .arg("-c")
        .arg(format!(r#"ulimit -n {max} && exec "$0" broker -c "$1""#))
        .arg(env!("CARGO_BIN_EXE_dunlin"))
        .arg(configuration);
    command
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DUNLIN_") {
            command.env_remove(name);
        }
    }
    command
}

/// A port that nobody listens on now and that this process has not given out before.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port of 127.0.0.1 can be bound")
            .port();
        let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.insert(port) {
            return port;
        }
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
