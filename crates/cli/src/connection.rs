//! Drives the Client role over a TCP stream for a tool: one loop that waits for the next input or the
//! next instant at which something is due, and nothing else. The tool decides what to do with events
//! and how long to go on; this file writes, reads, connects again and ends in good order.

use std::io::Write;
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};

use dunlin_packet::ReasonCode;
use dunlin_protocol::Timestamp;
use dunlin_protocol::client::{
    ClientConnection, ClientError, ClientSession, ConnectOptions, Event,
};

use crate::debug::Trace;
use crate::network;
use crate::output::{Output, refusal};
use crate::work::{Context, Flow, Input, Loss, Work};

/// Inputs that may wait for the loop.
const INPUTS_MAX: usize = 16;

/// How long to wait before the next attempt to connect, as Mosquitto's tools do.
const RETRY_MS: u64 = 1000;

/// How long the broker may take to close the stream after DISCONNECT.
const CLOSE_LIMIT_MS: u64 = 1000;

/// Exit status: the broker broke the rules.
const STATUS_PROTOCOL: u8 = 2;

/// Exit status: a signal came before there was a connection.
const STATUS_INTERRUPTED: u8 = 255;

/// The loop and all that it owns.
pub(crate) struct Runner {
    host: String,
    port: u16,
    options: ConnectOptions,
    connection: ClientConnection,
    stream: Option<TcpStream>,
    /// Bytes of a packet that is not complete.
    unread: Vec<u8>,
    /// Counts streams, those included that could not be opened.
    attempt: u32,
    retry_at: Option<Timestamp>,
    inputs: Receiver<Input>,
    sender: SyncSender<Input>,
    origin: Instant,
    output: Output,
    /// With `-d`.
    trace: Option<Trace>,
    /// Outgoing bytes that the trace has seen.
    traced: usize,
}

impl Runner {
    pub(crate) fn new(
        host: &str,
        port: u16,
        options: ConnectOptions,
        output: Output,
        debug: bool,
    ) -> Self {
        let (sender, inputs) = mpsc::sync_channel(INPUTS_MAX);
        Self {
            host: host.to_owned(),
            port,
            connection: ClientConnection::new(options.clone(), ClientSession::new()),
            stream: None,
            unread: Vec::new(),
            attempt: 0,
            retry_at: None,
            inputs,
            sender,
            origin: Instant::now(),
            output,
            trace: debug.then(|| Trace::new(&options)),
            traced: 0,
            options,
        }
    }

    /// Where threads of the tool send their inputs.
    pub(crate) fn sender(&self) -> SyncSender<Input> {
        self.sender.clone()
    }

    /// Milliseconds since the tool began.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Works until the tool has done its work or gives up; returns the exit status.
    pub(crate) fn run(mut self, work: &mut dyn Work) -> u8 {
        self.open();
        loop {
            let mut flow = match self.next_input(work) {
                Some(input) => self.take(input, work),
                None => Flow::Go,
            };
            if flow == Flow::Go {
                flow = self.on_time(work);
            }
            self.write();
            self.output.flush();
            if flow == Flow::Go && self.output.is_broken() {
                flow = Flow::end(0);
            }
            if let Flow::End { reason, status } = flow {
                self.end(reason);
                return status;
            }
        }
    }

    /// The next input; `None` when something is due before.
    fn next_input(&self, work: &dyn Work) -> Option<Input> {
        let timers = [self.connection.next_timeout(), work.due(), self.retry_at];
        match timers.into_iter().flatten().min() {
            Some(due) => {
                let wait = Duration::from_millis(due.millis_since(self.now()));
                self.inputs.recv_timeout(wait).ok()
            }
            None => self.inputs.recv().ok(),
        }
    }

    fn take(&mut self, input: Input, work: &mut dyn Work) -> Flow {
        let current = self.attempt;
        match input {
            Input::Opened { attempt, stream } if attempt == current => self.opened(stream),
            Input::NotOpened { attempt, error } if attempt == current => {
                self.lost(&Loss::NotOpened(error), work)
            }
            Input::Bytes { attempt, bytes } if attempt == current => self.received(&bytes, work),
            Input::Lost { attempt } if attempt == current => self.lost(&Loss::Lost, work),
            // Of a stream that was given up.
            Input::Opened { .. }
            | Input::NotOpened { .. }
            | Input::Bytes { .. }
            | Input::Lost { .. } => Flow::Go,
            Input::Line(line) => self.call(work, |work, context| work.line(Some(line), context)),
            Input::EndOfLines => self.call(work, |work, context| work.line(None, context)),
            Input::Signal => Flow::end(if self.connection.is_open() {
                0
            } else {
                STATUS_INTERRUPTED
            }),
        }
    }

    /// Does what is due.
    fn on_time(&mut self, work: &mut dyn Work) -> Flow {
        let now = self.now();
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if is_due(self.retry_at) {
            self.retry_at = None;
            self.open();
        }
        if let Err(error) = self.connection.handle_timeout(now) {
            return self.broken(error, work);
        }
        if is_due(work.due()) {
            return self.call(work, |work, context| work.on_due(context));
        }
        Flow::Go
    }

    fn open(&self) {
        network::open(
            self.host.clone(),
            self.port,
            self.attempt,
            self.sender.clone(),
        );
    }

    fn opened(&mut self, stream: TcpStream) -> Flow {
        self.stream = Some(stream);
        if let Err(error) = self.connection.connect(self.now()) {
            self.output.note(&format!("Error: {error}."));
            return Flow::end(1);
        }
        Flow::Go
    }

    fn received(&mut self, bytes: &[u8], work: &mut dyn Work) -> Flow {
        let mut unread = mem::take(&mut self.unread);
        unread.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(rest) = unread.get(at..).filter(|rest| !rest.is_empty()) {
            let len = match self.connection.received(rest, self.now()) {
                Ok(0) => break,
                Ok(len) => len,
                Err(error) => return self.broken(error, work),
            };
            if let Some(trace) = &mut self.trace {
                trace.received(rest.get(..len).unwrap_or_default(), &mut self.output);
            }
            at += len;
            self.trace_sent();
            let flow = self.events(work);
            // What follows on a stream that was given up counts for nothing.
            if flow != Flow::Go || self.stream.is_none() {
                return flow;
            }
        }
        unread.drain(..at);
        self.unread = unread;
        Flow::Go
    }

    /// Calls the tool, then tells it what came of it.
    fn call(
        &mut self,
        work: &mut dyn Work,
        act: impl FnOnce(&mut dyn Work, &mut Context<'_>) -> Flow,
    ) -> Flow {
        let now = self.now();
        let mut context = Context {
            connection: &mut self.connection,
            output: &mut self.output,
            now,
        };
        let flow = act(work, &mut context);
        self.trace_sent();
        if flow == Flow::Go {
            self.events(work)
        } else {
            flow
        }
    }

    fn events(&mut self, work: &mut dyn Work) -> Flow {
        while let Some(event) = self.connection.poll_event() {
            let flow = self.event(event, work);
            self.trace_sent();
            if flow != Flow::Go {
                return flow;
            }
        }
        Flow::Go
    }

    fn event(&mut self, event: Event, work: &mut dyn Work) -> Flow {
        match &event {
            Event::Connected { terms, .. } => {
                if let Some(client_id) = &terms.assigned_client_id {
                    self.options.client_id.clone_from(client_id);
                }
            }
            Event::Refused { reason, .. } => {
                let (text, status) = refusal(*reason, self.options.version);
                self.output.note(&format!("Connection error: {text}"));
                return Flow::end(status);
            }
            Event::Disconnected { reason, .. } => {
                return self.lost(&Loss::Disconnected(*reason), work);
            }
            _ => {}
        }
        let now = self.now();
        let mut context = Context {
            connection: &mut self.connection,
            output: &mut self.output,
            now,
        };
        work.event(event, &mut context)
    }

    /// The connection is over by its own account.
    fn broken(&mut self, error: ClientError, work: &mut dyn Work) -> Flow {
        if let ClientError::Silent(_) = error {
            return self.lost(&Loss::Lost, work);
        }
        let text = "A network protocol error occurred when communicating with the broker";
        self.output.note(&format!("Error: {text}: {error}."));
        Flow::end(STATUS_PROTOCOL)
    }

    /// Gives the stream up. The Session goes on with the next one, if there is to be one.
    fn lost(&mut self, loss: &Loss, work: &mut dyn Work) -> Flow {
        if let Some(stream) = self.stream.take() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let is_first = self.attempt == 0;
        self.attempt += 1;
        self.unread.clear();
        self.traced = 0;
        let unused = ClientConnection::new(self.options.clone(), ClientSession::new());
        let mut session = mem::replace(&mut self.connection, unused).into_session();
        // The tools subscribe whenever they are connected.
        session.forget_requests();
        self.connection = ClientConnection::new(self.options.clone(), session);
        let now = self.now();
        if work.retries(loss, is_first, self.connection.session(), now) {
            self.retry_at = Some(now + RETRY_MS);
            return Flow::Go;
        }
        let (text, status) = loss.told();
        self.output.note(&text);
        Flow::end(status)
    }

    /// Says DISCONNECT where there is a connection, and waits until the broker has read it: closing
    /// a stream with unread bytes in it would take back what was sent.
    fn end(&mut self, reason: ReasonCode) {
        self.connection.disconnect(reason);
        self.write();
        self.output.flush();
        let Some(stream) = self.stream.take() else {
            return;
        };
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = self.now() + CLOSE_LIMIT_MS;
        while self.now() < deadline {
            let wait = Duration::from_millis(deadline.millis_since(self.now()));
            match self.inputs.recv_timeout(wait) {
                Ok(Input::Lost { attempt }) if attempt == self.attempt => return,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Writes what is outgoing.
    fn write(&mut self) {
        self.trace_sent();
        let outgoing = self.connection.outgoing();
        if outgoing.is_empty() {
            return;
        }
        if let Some(stream) = &mut self.stream
            && stream.write_all(outgoing).is_err()
        {
            // The thread that reads the stream finds its end, and tells the loop.
            let _ = stream.shutdown(Shutdown::Both);
        }
        outgoing.clear();
        self.traced = 0;
    }

    fn trace_sent(&mut self) {
        let Some(trace) = &mut self.trace else { return };
        let outgoing = self.connection.outgoing();
        if let Some(new) = outgoing.get(self.traced..) {
            trace.sent(new, &mut self.output);
        }
        self.traced = outgoing.len();
    }
}
