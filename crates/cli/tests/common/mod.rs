//! One broker process for one test: the `dunlin` under test on a port of its own, killed when the test
//! ends. What the broker logs is kept, and shown when the test fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for a line of the log before the next attempt to connect.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(10);

/// A broker that listens on 127.0.0.1 and lasts as long as this value.
pub(crate) struct BrokerProcess {
    /// The port of its only listener.
    pub(crate) port: u16,
    child: Child,
    log: Receiver<String>,
    /// Lines taken from `log` so far.
    logged: Vec<String>,
    config: PathBuf,
}

impl BrokerProcess {
    /// Starts a broker with a listener for anonymous clients and these further lines of configuration;
    /// returns when it accepts connections.
    pub(crate) fn start(config: &str) -> Self {
        let port = free_port();
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("broker-{}-{port}.conf", std::process::id()));
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{config}");
        fs::write(&path, text).expect("the configuration file can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .arg("broker")
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the broker can be started");
        let stderr = child.stderr.take().expect("the broker's log is piped");
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut broker = Self {
            port,
            child,
            log,
            logged: Vec::new(),
            config: path,
        };
        broker.wait_until_ready();
        broker
    }

    fn wait_until_ready(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if TcpStream::connect(address).is_ok() {
                return;
            }
            match self.log.recv_timeout(ATTEMPT_INTERVAL) {
                Ok(line) => self.logged.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("the broker does not accept connections on {address}");
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
        if thread::panicking() {
            self.logged.extend(self.log.iter());
            eprintln!("the broker's log:\n{}", self.logged.join("\n"));
        }
    }
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port of 127.0.0.1 can be bound")
        .port()
}
