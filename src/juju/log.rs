//! `tracing` in, `juju-log` out: a layer keeps the lines until the end of the hook, then sends
//! consecutive lines of a level with one call.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::core::status::LOG_LEVELS;
use crate::juju::hook_tools::{HookTools, ToolError};

/// The default of the option `log-level`, and what counts where its value is not a level.
pub const DEFAULT_LEVEL: &str = "info";

/// Linux takes 128 KiB in one argument.
const LONGEST_MESSAGE: usize = 100 * 1024;

/// The lines of one hook.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    lines: Arc<Mutex<Vec<Line>>>,
}

#[derive(Clone, Debug)]
struct Line {
    level: Level,
    text: String,
}

impl Journal {
    /// Runs `work` with everything it logs kept here.
    pub fn keep<T>(&self, work: impl FnOnce() -> T) -> T {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::dispatcher::with_default(&Dispatch::new(subscriber), work)
    }

    /// Drops the lines about changes: the hook failed, so Juju drops the changes.
    pub fn retract_changes(&self) {
        self.lines().retain(|line| line.level <= Level::WARN);
    }

    /// Sends what is at least as severe as `level`, one of [`LOG_LEVELS`] in any case.
    ///
    /// # Errors
    /// When `juju-log` fails.
    pub fn send(&self, tools: &HookTools<'_>, level: &str) -> Result<(), ToolError> {
        let least = severity(level).or(severity(DEFAULT_LEVEL));
        let lines = std::mem::take(&mut *self.lines());
        let mut lines = lines
            .iter()
            .filter(|line| severity(name(line.level)) >= least)
            .peekable();
        while let Some(first) = lines.next() {
            let mut message = first.text.clone();
            while let Some(next) = lines.next_if(|next| {
                next.level == first.level && message.len() + next.text.len() < LONGEST_MESSAGE
            }) {
                message.push('\n');
                message.push_str(&next.text);
            }
            tools.juju_log(&name(first.level).to_uppercase(), &message)?;
        }
        Ok(())
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Place in [`LOG_LEVELS`]; `None` for a word that is not among them.
fn severity(level: &str) -> Option<usize> {
    LOG_LEVELS
        .iter()
        .position(|known| known.eq_ignore_ascii_case(level))
}

fn name(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warning",
        Level::ERROR => "error",
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.lines().push(Line {
            level: *event.metadata().level(),
            text: text.0,
        });
    }
}

/// The message of an event; this program uses no other fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
