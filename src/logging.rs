//! `tracing` in, `juju-log` out: lines are kept until the end of the hook, then sent with one call
//! for consecutive lines of a level.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::hook_tools::{HookTools, ToolError};
use crate::status::LOG_LEVELS;

/// What the option `log-level` is by default, and what counts where its value is none.
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
    /// Whether something was said that is logged unless the operator asked for less.
    pub fn has_news(&self) -> bool {
        self.lines().iter().any(|line| line.level <= Level::INFO)
    }

    /// Drops the lines that tell of changes: the hook failed, so Juju drops the changes.
    pub fn retract_changes(&self) {
        self.lines().retain(|line| line.level <= Level::WARN);
    }

    /// Sends what is at least as severe as `level`, one of [`LOG_LEVELS`] in any case.
    ///
    /// # Errors
    /// When `juju-log` fails.
    pub fn flush(&self, tools: &HookTools<'_>, level: &str) -> Result<(), ToolError> {
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

// A registry of spans would cost more of the executable than this module, and a hook has none.
impl Subscriber for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.lines().push(Line {
            level: *event.metadata().level(),
            text: text.0,
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
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
