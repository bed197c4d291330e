//! `dunlin pub`: publishes one message, or each line of standard input.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;

use dunlin_packet::{PacketId, ReasonCode};
use dunlin_protocol::Timestamp;
use dunlin_protocol::client::{ClientSession, Event, OutgoingMessage};

use crate::lines::Lines;
use crate::options::{Options, Source, Tool};
use crate::output::{self, Output, reason_text};
use crate::work::{Context, Flow, Loss, Work};

/// Lines that are read ahead of what the broker has taken.
const LINES_AHEAD: usize = 64;

/// How long messages that were piped in are still tried to be delivered after the end of the input.
const LAST_TRIES_S: u64 = 60;

/// Exit status: the message cannot be sent as it is.
const STATUS_USE: u8 = 1;

pub(crate) fn main(tool: &Tool, arguments: &[OsString]) -> ExitCode {
    let options = match tool.read(arguments) {
        Ok(options) => options,
        Err(status) => return status,
    };
    let message = match message(&options) {
        Ok(message) => message,
        Err(text) => {
            output::complain(&text);
            return ExitCode::FAILURE;
        }
    };
    let runner = options.runner();
    let status = if options.source == Some(Source::Lines) {
        let lines = Lines::start(runner.sender());
        runner.run(&mut Piped {
            message,
            lines,
            allowed: 0,
            ended_at: None,
            status: 0,
        })
    } else {
        let delay_ms = u64::try_from(options.repeat_delay.as_millis()).unwrap_or(u64::MAX);
        runner.run(&mut Repeated {
            message,
            left: options.repeat,
            delay_ms,
            next_at: None,
        })
    };
    ExitCode::from(status)
}

/// The message to be published; with `-l` its payload is still to come.
fn message(options: &Options) -> Result<OutgoingMessage, String> {
    let topic = options.topics.first().map_or("", String::as_str);
    let payload = match &options.source {
        Some(Source::Argument(payload)) => payload.clone(),
        Some(Source::File(path)) => {
            let unreadable = |_| format!("Unable to open file \"{}\".", path.display());
            fs::read(path).map_err(unreadable)?
        }
        Some(Source::Stdin) => {
            let mut payload = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut payload);
            read.map_err(|error| format!("standard input cannot be read: {error}."))?;
            payload
        }
        Some(Source::Empty | Source::Lines) | None => Vec::new(),
    };
    let message = OutgoingMessage::new(topic, &payload, options.qos);
    Ok(OutgoingMessage {
        retain: options.retain,
        ..message
    })
}

/// A message that is published so many times, each when the one before has arrived.
struct Repeated {
    message: OutgoingMessage,
    /// How many times it is still to be published.
    left: u32,
    delay_ms: u64,
    /// When to publish again, or to end.
    next_at: Option<Timestamp>,
}

impl Repeated {
    fn publish(&mut self, context: &mut Context<'_>) -> Flow {
        self.left = self.left.saturating_sub(1);
        match context
            .connection
            .publish(self.message.clone(), context.now)
        {
            Ok(None) => self.arrived(context.now),
            Ok(Some(_)) => {}
            Err(error) => {
                context.output.note(&format!("Error: {error}."));
                return Flow::end(STATUS_USE);
            }
        }
        Flow::Go
    }

    fn arrived(&mut self, now: Timestamp) {
        let delay_ms = if self.left == 0 { 0 } else { self.delay_ms };
        self.next_at = Some(now + delay_ms);
    }
}

impl Work for Repeated {
    fn event(&mut self, event: Event, context: &mut Context<'_>) -> Flow {
        match event {
            Event::Connected { .. } => self.publish(context),
            Event::Published {
                packet_id, reason, ..
            } => {
                warn(packet_id, reason, context.output);
                self.arrived(context.now);
                Flow::Go
            }
            Event::NotSent { reason, .. } => Flow::end(not_sent(reason, context.output)),
            _ => Flow::Go,
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.next_at
    }

    fn on_due(&mut self, context: &mut Context<'_>) -> Flow {
        self.next_at = None;
        if self.left == 0 {
            Flow::end(0)
        } else {
            self.publish(context)
        }
    }

    fn retries(
        &self,
        _loss: &Loss,
        _is_first: bool,
        _session: &ClientSession,
        _now: Timestamp,
    ) -> bool {
        false
    }
}

/// Every line of standard input as a message.
struct Piped {
    /// All but the payload.
    message: OutgoingMessage,
    lines: Lines,
    /// Lines that the reader may still read.
    allowed: usize,
    /// When standard input came to its end.
    ended_at: Option<Timestamp>,
    /// The exit status, if nothing worse happens.
    status: u8,
}

impl Piped {
    /// Lets the reader go on as far as the broker follows, and ends when there is nothing left to do.
    fn go_on(&mut self, context: &mut Context<'_>) -> Flow {
        let session = context.connection.session();
        if self.ended_at.is_some() {
            return if session.is_settled() {
                Flow::end(self.status)
            } else {
                Flow::Go
            };
        }
        if context.connection.is_open() {
            let room = LINES_AHEAD.saturating_sub(session.waiting() + self.allowed);
            self.lines.allow(room);
            self.allowed += room;
        }
        Flow::Go
    }
}

impl Work for Piped {
    fn event(&mut self, event: Event, context: &mut Context<'_>) -> Flow {
        match event {
            Event::Published {
                packet_id, reason, ..
            } => warn(packet_id, reason, context.output),
            Event::NotSent { reason, .. } => self.status = not_sent(reason, context.output),
            _ => {}
        }
        self.go_on(context)
    }

    fn line(&mut self, line: Option<Vec<u8>>, context: &mut Context<'_>) -> Flow {
        self.allowed = self.allowed.saturating_sub(1);
        match line {
            Some(payload) => {
                let message = OutgoingMessage {
                    payload,
                    ..self.message.clone()
                };
                if let Err(error) = context.connection.publish(message, context.now) {
                    context.output.note(&format!("Error: {error}."));
                    return Flow::end(STATUS_USE);
                }
            }
            None => self.ended_at = Some(context.now),
        }
        self.go_on(context)
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn on_due(&mut self, _context: &mut Context<'_>) -> Flow {
        Flow::Go
    }

    /// While lines come, or some that came have not been delivered.
    fn retries(
        &self,
        loss: &Loss,
        is_first: bool,
        session: &ClientSession,
        now: Timestamp,
    ) -> bool {
        if !loss.may_pass() || (is_first && matches!(loss, Loss::NotOpened(_))) {
            return false;
        }
        let is_over =
            |ended: Timestamp| session.is_settled() || now > ended.plus_seconds(LAST_TRIES_S);
        !self.ended_at.is_some_and(is_over)
    }
}

/// Tells of a message that the broker did not take.
fn warn(packet_id: PacketId, reason: ReasonCode, output: &mut Output) {
    if reason.is_error() {
        output.note(&format!(
            "Warning: Publish {packet_id} failed: {}.",
            reason_text(reason)
        ));
    }
}

/// Tells of a message that the broker's terms rule out; returns the exit status that stands for it.
fn not_sent(reason: ReasonCode, output: &mut Output) -> u8 {
    let (text, status) = match reason {
        ReasonCode::QoSNotSupported => {
            ("Message QoS not supported on broker, try a lower QoS.", 24)
        }
        ReasonCode::RetainNotSupported => {
            ("Retained messages are not supported by the broker.", 10)
        }
        _ => ("The message is larger than the broker accepts.", 25),
    };
    output.note(&format!("Error: {text}"));
    status
}
