//! The process: start, signals, reload, end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use dunlin_config::{Config, ListenAddress, Loaded, LogTypes};
use dunlin_route::RouteIndex;
use dunlin_transport::{Address, Bound};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::listen::{ListenerShare, Slots};
use crate::log::{Kind, Log};
use crate::mail::{Mail, Post};
use crate::settings::Settings;
use crate::worker::{self, Parts};

/// How the broker was called, beside its configuration: what a reload needs again.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The configuration file.
    pub config_path: Option<PathBuf>,
    /// `--set` and environment, applied after the file.
    pub overrides: Vec<(String, String)>,
    /// `-v`: every kind of log line.
    pub verbose: bool,
    /// `-p`: loopback ports, where no listener is configured.
    pub ports: Vec<u16>,
}

/// Runs the broker until SIGTERM or SIGINT. Status 0 after an orderly end, 1 when it could not start.
#[must_use]
pub fn run(loaded: Loaded, options: RunOptions) -> ExitCode {
    match Process::start(loaded, options).and_then(Process::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There may be no log yet.
            let _ = writeln!(io::stderr(), "Error: {error}.");
            ExitCode::FAILURE
        }
    }
}

struct Process {
    options: RunOptions,
    config: Config,
    log: Log,
    post: Post,
    workers: Vec<JoinHandle<io::Result<()>>>,
    runtime: Runtime,
    signals: Signals,
}

impl Process {
    fn start(loaded: Loaded, options: RunOptions) -> io::Result<Self> {
        let Loaded {
            mut config,
            warnings,
        } = loaded;
        if options.verbose {
            config.log.types = LogTypes::ALL;
        }
        let log = Log::open(&config.log)?;
        log.line(
            Kind::Information,
            format_args!("dunlin version {} starting", env!("CARGO_PKG_VERSION")),
        );
        match &options.config_path {
            Some(path) => log.line(
                Kind::Information,
                format_args!("Config loaded from {}.", path.display()),
            ),
            None => log.line(Kind::Information, format_args!("Using default config.")),
        }
        for warning in &warnings {
            log.line(Kind::Warning, format_args!("Warning: {warning}"));
        }
        raise_descriptor_limit(&log);
        // Before anybody is told that we run: an early signal must find its handler.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        let sockets = bind(&config, &log)?;
        let count = config.workers.unwrap_or_else(cores);
        let (post, mailboxes) = Post::open(count);
        let settings = Arc::new(Settings::new(&config));
        let seed = getrandom::u64()
            .map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
        let routes = Arc::new(RouteIndex::new(seed));
        let epoch = Instant::now();
        let mut workers = Vec::new();
        for (number, mailbox) in (0u16..).zip(mailboxes) {
            let parts = Parts {
                number,
                count,
                mailbox,
                post: post.clone(),
                log: log.clone(),
                settings: Arc::clone(&settings),
                routes: Arc::clone(&routes),
                epoch,
                seed: seed.rotate_left(u32::from(number) + 1),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            workers.push(thread.spawn(move || worker::run(parts))?);
        }
        for (number, socket, slots) in sockets {
            for to in 0..count {
                let share = ListenerShare {
                    number,
                    socket: socket.try_clone()?,
                    slots: Arc::clone(&slots),
                };
                post.send(to, Mail::Listen(share));
            }
        }
        if let Some(path) = &config.pid_file {
            let explain = |error: io::Error| {
                io::Error::new(
                    error.kind(),
                    format!("pid_file {}: {error}", path.display()),
                )
            };
            std::fs::write(path, format!("{}\n", std::process::id())).map_err(explain)?;
        }
        if config.local_only {
            let hint = "Starting in local only mode. Connections will only be possible from clients running on this machine.";
            log.line(Kind::Information, format_args!("{hint}"));
            let hint = "Create a configuration file which defines a listener to allow remote access: `listener 1883` and `allow_anonymous true` open it to everybody.";
            log.line(Kind::Information, format_args!("{hint}"));
        }
        log.line(
            Kind::Information,
            format_args!(
                "dunlin version {} running with {count} worker(s)",
                env!("CARGO_PKG_VERSION")
            ),
        );
        Ok(Self {
            options,
            config,
            log,
            post,
            workers,
            runtime,
            signals,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        while let Told::Reload = self.runtime.block_on(self.signals.next()) {
            self.reload();
        }
        self.log.line(
            Kind::Information,
            format_args!("dunlin version {} terminating", env!("CARGO_PKG_VERSION")),
        );
        self.post.broadcast(|| Mail::Stop);
        for worker in self.workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => return Err(io::Error::other("a worker panicked")),
            }
        }
        if let Some(path) = &self.config.pid_file {
            // It may have been removed by others.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Reads the configuration again; on any error everything stays as it is.
    fn reload(&mut self) {
        self.log
            .line(Kind::Information, format_args!("Reloading config."));
        let loaded = match &self.options.config_path {
            Some(path) => dunlin_config::load(path, &self.options.overrides),
            None => dunlin_config::defaults(&self.options.overrides),
        };
        let Loaded {
            mut config,
            warnings,
        } = match loaded {
            Ok(loaded) => dunlin_config::with_ports(loaded, &self.options.ports),
            Err(errors) => {
                for error in &errors.0 {
                    self.log.line(Kind::Error, format_args!("Error: {error}"));
                }
                return self.log.line(
                    Kind::Error,
                    format_args!("Error: the configuration was not reloaded; the old one stays."),
                );
            }
        };
        if self.options.verbose {
            config.log.types = LogTypes::ALL;
        }
        if let Err(error) = self.log.reopen(&config.log) {
            return self.log.line(
                Kind::Error,
                format_args!("Error: {error}; the old configuration stays."),
            );
        }
        for warning in &warnings {
            self.log
                .line(Kind::Warning, format_args!("Warning: {warning}"));
        }
        for key in self.config.restart_needed(&config) {
            self.log.line(
                Kind::Warning,
                format_args!("Warning: a change of `{key}` needs a restart; the old value stays."),
            );
        }
        // Listeners cannot come or go by a reload yet: their rules go by their place in the old list.
        config.listeners = self
            .config
            .listeners
            .iter()
            .map(|old| {
                config
                    .listeners
                    .iter()
                    .find(|new| new.address == old.address)
                    .unwrap_or(old)
                    .clone()
            })
            .collect();
        config.workers = self.config.workers;
        config.ack = self.config.ack;
        config.pid_file.clone_from(&self.config.pid_file);
        config.worker_queue_max = self.config.worker_queue_max;
        let settings = Arc::new(Settings::new(&config));
        self.post.broadcast(|| Mail::Reload(Arc::clone(&settings)));
        self.config = config;
    }
}

enum Told {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        std::future::poll_fn(|cx| {
            if self.terminate.poll_recv(cx).is_ready() || self.interrupt.poll_recv(cx).is_ready() {
                return std::task::Poll::Ready(Told::Stop);
            }
            self.hangup.poll_recv(cx).map(|_| Told::Reload)
        })
        .await
    }
}

/// Binds all listeners before anything else starts. Loopback by IPv6 is not everywhere; the rest must be.
fn bind(config: &Config, log: &Log) -> io::Result<Vec<(u16, Bound, Arc<Slots>)>> {
    let mut sockets = Vec::new();
    for (number, listener) in (0u16..).zip(&config.listeners) {
        let (address, optional) = match &listener.address {
            ListenAddress::Tcp { host, port } => {
                let optional = config.local_only && host.as_deref() == Some("::1");
                (
                    Address::Tcp {
                        host: host.clone(),
                        port: *port,
                    },
                    optional,
                )
            }
            ListenAddress::Unix(path) => (Address::Unix(path.clone()), false),
        };
        let bound = match Bound::bind(&address) {
            Ok(bound) => bound,
            Err(error) if optional => {
                log.line(
                    Kind::Warning,
                    format_args!("Warning: no IPv6 loopback: {error}."),
                );
                continue;
            }
            Err(error) => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: cannot listen on {error}", listener.origin),
                ));
            }
        };
        let slots = Slots::new(listener.max_connections);
        for socket in bound {
            log.line(Kind::Information, format_args!("Opening {socket}."));
            sockets.push((number, socket, Arc::clone(&slots)));
        }
    }
    Ok(sockets)
}

fn cores() -> u16 {
    std::thread::available_parallelism()
        .map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX))
        .min(1024)
}

/// Each connection is a descriptor: take as many as the system lets us have.
fn raise_descriptor_limit(log: &Log) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => log.line(Kind::Information, format_args!("Up to {limit} open files.")),
        Err(error) => log.line(
            Kind::Warning,
            format_args!("Warning: the limit of open files stays as it is: {error}."),
        ),
    }
}
