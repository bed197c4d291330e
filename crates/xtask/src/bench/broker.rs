//! The brokers that are measured: how each is found, configured, started and ended.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{self, cargo, find_program, free_port};

/// The core of the broker.
const BROKER_CORE: &str = "1";

/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Limits raised and persistence off, so that work is compared and not configurations.
const MOSQUITTO: &str = "\
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 65535
max_inflight_bytes 0
persistence false
connection_messages false
log_type error
";

const DUNLIN: &str = "\
allow_anonymous true
workers 1
max_queued_messages 0
max_inflight_messages 65535
receive_maximum 65535
connection_messages false
log_type error
";

/// A broker that can be started.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// Name and version, for the reader of the table.
    pub(super) version: String,
    program: PathBuf,
    /// Words before the configuration file.
    words: &'static [&'static str],
    configuration: &'static str,
}

/// The broker to compare with.
pub(super) fn other(name: &str) -> Result<Contender> {
    if name != "mosquitto" {
        bail!("only mosquitto is known to compare with, not '{name}'");
    }
    let program =
        find_program(name).context("mosquitto is not installed: apt-get install mosquitto")?;
    let help = Command::new(&program)
        .arg("-h")
        .output()
        .context("cannot start mosquitto")?;
    let said = String::from_utf8_lossy(&help.stdout).into_owned();
    let version = said.lines().next().unwrap_or(name).replace("version ", "");
    let words: &[&str] = &["-c"];
    Ok(Contender {
        name: "mosquitto",
        version,
        program,
        words,
        configuration: MOSQUITTO,
    })
}

/// This broker, built for speed.
pub(super) fn dunlin() -> Result<Contender> {
    workspace::run(cargo().args(["build", "--quiet", "--release", "-p", "dunlin"]))?;
    let program = workspace::target().join("release/dunlin");
    let version = concat!("dunlin ", env!("CARGO_PKG_VERSION")).to_owned();
    let words: &[&str] = &["broker", "-c"];
    Ok(Contender {
        name: "dunlin",
        version,
        program,
        words,
        configuration: DUNLIN,
    })
}

/// A broker's process; killed on drop.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    child: Child,
}

impl Running {
    /// Starts a broker on its core and waits until it listens.
    pub(super) fn start(contender: &Contender, folder: &Path) -> Result<Running> {
        let port = free_port()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let file = folder.join(format!("{}-{port}.conf", contender.name));
        fs::write(
            &file,
            format!("listener {port} 127.0.0.1\n{}", contender.configuration),
        )?;
        // taskset becomes the broker, so the child's process id is the broker's.
        let child = Command::new("taskset")
            .args(["-c", BROKER_CORE])
            .arg(&contender.program)
            .args(contender.words)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start taskset, which is in util-linux")?;
        let mut running = Running { address, child };
        running.wait_until_ready(contender.name)?;
        Ok(running)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self, name: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&self.address, PATIENCE).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended with {status}");
            }
            if Instant::now() > deadline {
                bail!(
                    "{name} does not listen on {} after {PATIENCE:?}",
                    self.address
                );
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
