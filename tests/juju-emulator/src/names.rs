//! Names that Juju gives to things. They sort as text, which is how Juju sorts them: `m/10` comes
//! before `m/2`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// An application's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(Arc<str>);

impl AppName {
    /// The name `text`, unchecked: the operator's typing is judged where it is typed.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AppName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A unit's name, `<application>/<number>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// Unit `number` of `application`.
    pub fn new(application: &str, number: u32) -> Self {
        Self(format!("{application}/{number}").into())
    }

    /// Reads `app/0`; `None` if it is not a unit's name.
    pub fn parse(text: &str) -> Option<Self> {
        let (application, number) = text.rsplit_once('/')?;
        let plain = number == "0" || !number.starts_with(['0', '+']);
        let valid = is_application_name(application) && plain && number.parse::<u32>().is_ok();
        valid.then(|| Self(text.into()))
    }

    /// The application's part.
    pub fn application(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(app, _)| app)
    }

    /// The number's part.
    pub fn number(&self) -> u32 {
        self.0
            .rsplit_once('/')
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or_default()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is safe in a file name: `unit-app-0`.
    pub fn tag(&self) -> String {
        format!("unit-{}-{}", self.application(), self.number())
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A relation's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationId(pub u32);

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether `text` could name an application: lower-case words joined by `-`, no word all digits
/// after the first. `remote-<32 hex>` may break the last rule, and Juju makes it itself.
pub fn is_application_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
