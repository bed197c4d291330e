//! Starting brokers: one that the cases share, and own ones with other configurations.
//!
//! A broker is a child process with a configuration file of its own in a folder of its own, on a free port of the
//! loopback address. It ends with its [`Broker`]; what it wrote to stderr is shown when a case fails.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::raw::Raw;
use crate::spec::ConnectSpec;

/// How long a broker may take to listen, or to stop after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two looks at a starting or ending process.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A port may be taken by another process between finding it and listening on it.
const ATTEMPTS: usize = 5;
/// How much of stderr a failure shows.
const LAST_WORDS_BYTES: usize = 4096;

/// Ports given out by this process: two brokers that start at once must not be told the same free one.
static PORTS: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(|| Mutex::new(HashSet::new()));
static FOLDERS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The workplace of a run: where the broker's binary is, the shared broker, and names that are used once.
pub struct Lab {
    binary: PathBuf,
    mutant: Option<String>,
    shared: OnceLock<Broker>,
    salt: u64,
    counter: AtomicU32,
}

impl Lab {
    /// A run against this binary, which is called as `BINARY broker -c FILE`.
    pub fn new(dunlin_binary: PathBuf) -> Lab {
        Lab {
            binary: dunlin_binary,
            mutant: None,
            shared: OnceLock::new(),
            salt: RandomState::new().hash_one(0),
            counter: AtomicU32::new(0),
        }
    }

    /// The same with a deliberate bug: brokers get `DUNLIN_MUTANT` with this name.
    pub fn with_mutant(dunlin_binary: PathBuf, mutant: &str) -> Lab {
        Lab {
            mutant: Some(mutant.to_owned()),
            ..Lab::new(dunlin_binary)
        }
    }

    /// The broker that all cases share; started by the first who asks, ended with the `Lab`.
    #[track_caller]
    pub fn broker(&self) -> &Broker {
        self.shared.get_or_init(|| self.broker_with(""))
    }

    /// A broker of the caller's own with these lines after the usual configuration; later lines win.
    #[track_caller]
    pub fn broker_with(&self, lines: &str) -> Broker {
        let mut failures = Vec::new();
        for _ in 0..ATTEMPTS {
            match Broker::start(&self.binary, self.mutant.as_deref(), lines) {
                Ok(broker) => return broker,
                Err(reason) => failures.push(reason),
            }
        }
        panic!("no broker with {lines:?}: {}", failures.join("; then: "));
    }

    /// A name that nobody else in this run uses: for Client Identifiers and Topic Names.
    pub fn unique(&self, stem: &str) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{stem}-{count}x{:06x}", self.salt & 0x00FF_FFFF)
    }

    /// What a failed case should tell of the brokers: stderr of its own ones, and of the shared one if it ended.
    pub(crate) fn last_words(&self) -> String {
        let mut words = LAST_WORDS.with(RefCell::take);
        if let Some(shared) = self.shared.get()
            && let Some(status) = shared.ended()
        {
            words.push_str(&format!(
                "\nthe shared broker ended with {status}{}",
                shared.stderr_tail()
            ));
        }
        words
    }
}

/// A running broker; killed on drop.
pub struct Broker {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Mutex<Child>,
    folder: PathBuf,
}

impl Broker {
    /// Connected, and nothing sent; speaks 5.0 unless told otherwise by [`Raw::speaking`].
    #[track_caller]
    pub fn raw(&self) -> Raw {
        Raw::open(self.addr)
    }

    /// MQTT 5.0 with Clean Start and Keep Alive 0, CONNACK 0x00 read.
    #[track_caller]
    pub fn v5(&self, client_id: &str) -> Raw {
        self.connect(&ConnectSpec::v5(client_id))
    }

    /// MQTT 3.1.1 with Clean Session and Keep Alive 0, CONNACK 0 read.
    #[track_caller]
    pub fn v311(&self, client_id: &str) -> Raw {
        self.connect(&ConnectSpec::v311(client_id))
    }

    /// MQTT 3.1 with Clean Session and Keep Alive 0, CONNACK 0 read.
    #[track_caller]
    pub fn v31(&self, client_id: &str) -> Raw {
        self.connect(&ConnectSpec::v31(client_id))
    }

    /// Connected by this CONNECT; the CONNACK with success is kept in [`Raw::connack`].
    #[track_caller]
    pub fn connect(&self, spec: &ConnectSpec<'_>) -> Raw {
        let mut raw = self.raw().speaking(spec.level & 0x7F);
        raw.send(&spec.to_bytes());
        let connack = raw.recv();
        assert_eq!(
            connack.first, 0x20,
            "awaited CONNACK for {spec:?}, got {connack:?}"
        );
        assert_eq!(
            connack.reason(spec.level),
            0,
            "refused {spec:?} by {connack:?}"
        );
        raw.connack = connack;
        raw
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .id()
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let killed = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -TERM {}", self.pid()))
            .status();
        assert!(
            killed.as_ref().is_ok_and(ExitStatus::success),
            "kill -TERM: {killed:?}"
        );
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the broker still runs {PATIENCE:?} after SIGTERM"
            );
            thread::park_timeout(LOOK_AGAIN);
        }
    }

    fn start(binary: &Path, mutant: Option<&str>, lines: &str) -> Result<Broker, String> {
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!(
            "dunlin-conformance-{}-{number}",
            std::process::id()
        ));
        let child = spawn(binary, mutant, &folder, &configuration(port, lines))
            .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let broker = Broker {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            child: Mutex::new(child),
            folder,
        };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connected = TcpStream::connect_timeout(&self.addr, PATIENCE);
            if let Some(status) = self.ended() {
                return Err(format!("ended with {status}{}", self.stderr_tail()));
            }
            match connected {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(format!(
                        "does not listen after {PATIENCE:?}: {error}{}",
                        self.stderr_tail()
                    ));
                }
                Err(_) => thread::park_timeout(LOOK_AGAIN),
            }
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()
            .ok()
            .flatten()
    }

    fn stderr_tail(&self) -> String {
        let written = fs::read(self.folder.join("stderr")).unwrap_or_default();
        let tail = written
            .get(written.len().saturating_sub(LAST_WORDS_BYTES)..)
            .unwrap_or_default();
        if tail.is_empty() {
            return String::new();
        }
        format!(
            "\nstderr of the broker on {}:\n{}",
            self.addr,
            String::from_utf8_lossy(tail).trim_end()
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if thread::panicking() {
            let words = self.stderr_tail();
            LAST_WORDS.with(|kept| kept.borrow_mut().push_str(&words));
        }
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already, which is as good.
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn configuration(port: u16, lines: &str) -> String {
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nworkers 2\nreceive_maximum_strict true\nlog_type error\n{lines}\n"
    )
}

fn spawn(
    binary: &Path,
    mutant: Option<&str>,
    folder: &Path,
    configuration: &str,
) -> io::Result<Child> {
    fs::create_dir_all(folder)?;
    let file = folder.join("broker.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new(binary);
    command
        .arg("broker")
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(File::create(folder.join("stderr"))?);
    if let Some(name) = mutant {
        command.env("DUNLIN_MUTANT", name);
    }
    command.spawn()
}

/// A port that nobody listens on now and that this process has not given out before.
fn free_port() -> io::Result<u16> {
    loop {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        if PORTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port)
        {
            return Ok(port);
        }
    }
}
