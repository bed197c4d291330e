//! `dunlin sub`: subscribes, and prints what comes.

use std::ffi::OsString;
use std::mem;
use std::process::ExitCode;

use dunlin_packet::{
    PropertiesBuf, QoS, ReasonCode, RetainHandling, SubscriptionOptions, TopicFilter, TopicName,
};
use dunlin_protocol::Timestamp;
use dunlin_protocol::client::{ClientSession, Event, Message};

use crate::options::{Options, Tool};
use crate::output;
use crate::signals;
use crate::work::{Context, Flow, Loss, Work};

/// Exit status: the time of `-W` is over.
const STATUS_TIMED_OUT: u8 = 27;

pub(crate) fn main(tool: &Tool, arguments: &[OsString]) -> ExitCode {
    let options = match tool.read(arguments) {
        Ok(options) => options,
        Err(status) => return status,
    };
    let runner = options.runner();
    if let Err(error) = signals::watch(runner.sender()) {
        output::complain(&format!("signals cannot be watched: {error}."));
        return ExitCode::FAILURE;
    }
    let mut subscriber = Subscriber::new(options, runner.now());
    ExitCode::from(runner.run(&mut subscriber))
}

struct Subscriber {
    options: Options,
    /// QoS 2 messages whose exchange is not complete: as Mosquitto's, this tool prints them when it is,
    /// so that one that ends after `-C` messages leaves nothing half done.
    held: Vec<Message>,
    /// Messages printed.
    count: u32,
    /// The end of the time of `-W`.
    timeout_at: Option<Timestamp>,
}

impl Subscriber {
    fn new(options: Options, now: Timestamp) -> Self {
        let timeout_at = options
            .timeout
            .map(|timeout| now.plus_seconds(timeout.as_secs()));
        Self {
            options,
            held: Vec::new(),
            count: 0,
            timeout_at,
        }
    }

    fn subscribe(&self, context: &mut Context<'_>) -> Flow {
        let spared = self.options.no_retained && self.options.version.is_v5();
        let options = SubscriptionOptions {
            qos: self.options.qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: if spared {
                RetainHandling::DoNotSend
            } else {
                RetainHandling::SendAtSubscribe
            },
        };
        let filters: Vec<_> = self
            .options
            .topics
            .iter()
            .map(|topic| (topic.as_str(), options))
            .collect();
        match context
            .connection
            .subscribe(&filters, PropertiesBuf::new(), context.now)
        {
            Ok(_) => Flow::Go,
            Err(error) => {
                context.output.note(&format!("Error: {error}."));
                Flow::end(1)
            }
        }
    }

    fn subscribed(&self, number: u16, codes: &[u8], context: &mut Context<'_>) -> Flow {
        if self.options.debug {
            let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
            context
                .output
                .line(&format!("Subscribed (mid: {number}): {}", codes.join(", ")));
        }
        if codes
            .iter()
            .all(|code| *code >= ReasonCode::UnspecifiedError.code())
        {
            context
                .output
                .note("All subscription requests were denied.");
            return Flow::end(0);
        }
        if self.options.until_subscribed {
            Flow::end(0)
        } else {
            Flow::Go
        }
    }

    /// Prints a message, unless it is not wanted; ends after as many as were asked for.
    fn show(&mut self, message: &Message, context: &mut Context<'_>) -> Flow {
        let is_unwanted =
            (self.options.no_retained && message.retain) || self.is_filtered_out(message);
        if is_unwanted || self.options.messages_max == Some(self.count) {
            return Flow::Go;
        }
        context.output.message(message, self.options.format);
        self.count = self.count.saturating_add(1);
        if self.options.messages_max == Some(self.count) {
            Flow::end(0)
        } else {
            Flow::Go
        }
    }

    fn is_filtered_out(&self, message: &Message) -> bool {
        let Ok(name) = TopicName::new(&message.topic) else {
            return false;
        };
        let matches =
            |filter: &String| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(name));
        self.options.filtered_out.iter().any(matches)
    }
}

impl Work for Subscriber {
    fn event(&mut self, event: Event, context: &mut Context<'_>) -> Flow {
        match event {
            Event::Connected {
                session_present, ..
            } => {
                let orphans = if session_present {
                    Vec::new()
                } else {
                    mem::take(&mut self.held)
                };
                for message in orphans {
                    // The Session that would have released them is gone.
                    let flow = self.show(&message, context);
                    if flow != Flow::Go {
                        return flow;
                    }
                }
                self.subscribe(context)
            }
            Event::Subscribed { packet_id, codes } => {
                self.subscribed(packet_id.get(), &codes, context)
            }
            Event::Message(message) if message.qos == QoS::ExactlyOnce => {
                self.held.push(message);
                Flow::Go
            }
            Event::Message(message) => self.show(&message, context),
            Event::Released { packet_id } => {
                match self
                    .held
                    .iter()
                    .position(|message| message.packet_id == Some(packet_id))
                {
                    Some(at) => {
                        let message = self.held.remove(at);
                        self.show(&message, context)
                    }
                    None => Flow::Go,
                }
            }
            _ => Flow::Go,
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.timeout_at
    }

    fn on_due(&mut self, context: &mut Context<'_>) -> Flow {
        context.output.note("Timed out");
        Flow::End {
            reason: ReasonCode::DisconnectWithWill,
            status: STATUS_TIMED_OUT,
        }
    }

    fn retries(
        &self,
        loss: &Loss,
        is_first: bool,
        _session: &ClientSession,
        _now: Timestamp,
    ) -> bool {
        loss.may_pass() && !(is_first && matches!(loss, Loss::NotOpened(_)))
    }
}
