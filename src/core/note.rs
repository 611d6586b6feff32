//! A line for the log. The core returns it; the shell logs it.

/// A line for the log. It names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// One line.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A decision, for those who want to know why.
    Debug,
    /// A real change.
    Info,
    /// Something to mend; the text says how.
    Warning,
}

impl Note {
    /// A note on a decision.
    pub fn debug(text: impl Into<String>) -> Self {
        Note {
            level: Level::Debug,
            text: text.into(),
        }
    }

    /// A note on a change.
    pub fn info(text: impl Into<String>) -> Self {
        Note {
            level: Level::Info,
            text: text.into(),
        }
    }

    /// A note on something to mend.
    pub fn warning(text: impl Into<String>) -> Self {
        Note {
            level: Level::Warning,
            text: text.into(),
        }
    }
}
