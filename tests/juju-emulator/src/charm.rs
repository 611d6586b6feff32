//! Charms: what they declare, and where their code is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::names::UnitName;
use crate::tools::ToolOutput;

/// Which part an endpoint plays in its relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Under `requires`.
    Requirer,
    /// Under `provides`.
    Provider,
    /// Under `peers`.
    Peer,
}

/// An endpoint a charm declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its part in a relation.
    pub role: Role,
    /// Only endpoints of one interface can be related.
    pub interface: String,
}

/// The type of a configuration option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptionType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Boolean,
    /// Text naming a secret.
    Secret,
}

impl OptionType {
    /// What `juju config app key=text` would store, if `text` is of this type.
    pub fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::String | Self::Secret => Some(text.into()),
            Self::Int => text.parse::<i64>().ok().map(Value::from),
            Self::Float => text.parse::<f64>().ok().map(Value::from),
            Self::Boolean => match text {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Some(true.into()),
                "false" | "False" | "FALSE" | "f" | "F" | "0" => Some(false.into()),
                _ => None,
            },
        }
    }
}

/// An option of `config.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConfigOption {
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: OptionType,
    /// Its value while the operator has set none.
    #[serde(default)]
    pub default: Option<Value>,
}

/// An action of `actions.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActionSpec {
    /// The schema of each parameter.
    pub params: BTreeMap<String, Parameter>,
    /// Parameters that must be given.
    pub required: Vec<String>,
    /// Whether undeclared parameters are let through.
    pub additional_properties: bool,
}

/// The schema of one action parameter: the part of JSON Schema that charms use.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// JSON type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its value when not given.
    pub default: Option<Value>,
    /// The only values allowed, if any are listed.
    #[serde(rename = "enum")]
    pub allowed: Vec<Value>,
}

impl ActionSpec {
    /// Judges the parameters an operator gives, and fills in defaults.
    pub fn accept(&self, mut given: Map<String, Value>) -> Result<Map<String, Value>, String> {
        let shown = Value::Object(given.clone());
        for (name, value) in &given {
            match self.params.get(name) {
                None if !self.additional_properties => {
                    return Err(format!(
                        "validation failed: (root) : additional property {name:?} is not allowed, \
                         given {shown}"
                    ));
                }
                None => {}
                Some(parameter) => parameter.check(name, value)?,
            }
        }
        if let Some(missing) = self.required.iter().find(|name| !given.contains_key(*name)) {
            return Err(format!(
                "validation failed: (root) : {missing:?} property is missing and required, \
                 given {shown}"
            ));
        }
        for (name, parameter) in &self.params {
            if let (Some(default), false) = (&parameter.default, given.contains_key(name)) {
                given.insert(name.clone(), default.clone());
            }
        }
        Ok(given)
    }
}

impl Parameter {
    fn check(&self, name: &str, value: &Value) -> Result<(), String> {
        let fits = match self.kind.as_deref() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            _ => true,
        };
        if !fits {
            let kind = self.kind.as_deref().unwrap_or_default();
            return Err(format!(
                "validation failed: (root).{name} : must be of type {kind}, given {value}"
            ));
        }
        if !self.allowed.is_empty() && !self.allowed.contains(value) {
            let allowed: Vec<String> = self.allowed.iter().map(Value::to_string).collect();
            return Err(format!(
                "validation failed: (root).{name} : must match one of the enum values [{}], \
                 given {value}",
                allowed.join(", ")
            ));
        }
        Ok(())
    }
}

/// What a charm declares about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// The charm's name.
    pub name: String,
    /// Its units live on the machines of other applications' units.
    pub subordinate: bool,
    /// Endpoints by name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Configuration options by name.
    pub options: BTreeMap<String, ConfigOption>,
    /// Actions by name.
    pub actions: BTreeMap<String, ActionSpec>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    #[serde(default)]
    subordinate: bool,
    #[serde(default)]
    provides: BTreeMap<String, DeclaredEndpoint>,
    #[serde(default)]
    requires: BTreeMap<String, DeclaredEndpoint>,
    #[serde(default)]
    peers: BTreeMap<String, DeclaredEndpoint>,
    #[serde(default)]
    config: Options,
    #[serde(default)]
    actions: BTreeMap<String, ActionSpec>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum DeclaredEndpoint {
    Short(String),
    Long { interface: String },
}

#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    options: BTreeMap<String, ConfigOption>,
}

impl Metadata {
    /// Reads the text of `metadata.yaml` (or of a whole `charmcraft.yaml`) and, where a charm has
    /// them, of `config.yaml` and `actions.yaml`. An empty text declares nothing.
    pub fn parse(metadata: &str, config: &str, actions: &str) -> Result<Self, CharmError> {
        let declared: Declared = read_yaml("metadata.yaml", metadata)?;
        let mut options = declared.config.options;
        if !config.trim().is_empty() {
            options.extend(read_yaml::<Options>("config.yaml", config)?.options);
        }
        let mut all_actions = declared.actions;
        if !actions.trim().is_empty() {
            all_actions.extend(read_yaml::<BTreeMap<String, ActionSpec>>(
                "actions.yaml",
                actions,
            )?);
        }
        let endpoints = [
            (Role::Provider, declared.provides),
            (Role::Requirer, declared.requires),
            (Role::Peer, declared.peers),
        ]
        .into_iter()
        .flat_map(|(role, group)| {
            group.into_iter().map(move |(name, endpoint)| {
                let interface = match endpoint {
                    DeclaredEndpoint::Short(interface) | DeclaredEndpoint::Long { interface } => {
                        interface
                    }
                };
                (name, Endpoint { role, interface })
            })
        })
        .collect();
        Ok(Self {
            name: declared.name,
            subordinate: declared.subordinate,
            endpoints,
            options,
            actions: all_actions,
        })
    }

    fn read(directory: &Path) -> Result<Self, CharmError> {
        let text = |name: &str| -> Result<Option<String>, CharmError> {
            let path = directory.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(CharmError::Read { path, source }),
            }
        };
        let metadata = match text("metadata.yaml")? {
            Some(metadata) => metadata,
            None => text("charmcraft.yaml")?
                .ok_or_else(|| CharmError::NoMetadata(directory.to_path_buf()))?,
        };
        Self::parse(
            &metadata,
            &text("config.yaml")?.unwrap_or_default(),
            &text("actions.yaml")?.unwrap_or_default(),
        )
    }
}

fn read_yaml<T: serde::de::DeserializeOwned>(
    file: &'static str,
    text: &str,
) -> Result<T, CharmError> {
    serde_yaml::from_str(text).map_err(|source| CharmError::Yaml { file, source })
}

/// Why a charm cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum CharmError {
    /// Neither `metadata.yaml` nor `charmcraft.yaml`.
    #[error("no metadata.yaml in {0}")]
    NoMetadata(PathBuf),
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the YAML Juju expects.
    #[error("cannot understand {file}")]
    Yaml {
        /// Which one.
        file: &'static str,
        /// Why.
        source: serde_yaml::Error,
    },
    /// An archive could not be unpacked.
    #[error("cannot unpack {path}")]
    Archive {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: zip::result::ZipError,
    },
}

/// How an in-process charm calls a hook tool: name, arguments, standard input.
pub type CallTool<'a> = dyn FnMut(&str, &[String], Option<&[u8]>) -> ToolOutput + 'a;

/// A charm written as a Rust value: `dispatch` is a function call instead of a process.
pub trait InProcess {
    /// Handles what `environment` says, as the charm's `dispatch` would, and returns its exit
    /// status. One value serves one unit for as long as the unit runs this charm.
    fn dispatch(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>)
    -> i32;

    /// Whether a hook may pause: then the tools' answers are kept.
    fn may_pause(&self) -> bool {
        false
    }

    /// How long the hook pauses that `dispatch` or `resume` was in. If it does, it has not ended,
    /// and what was returned means nothing.
    fn take_pause(&mut self) -> Option<Duration> {
        None
    }

    /// Goes on after the pause: runs the same hook from its beginning. Its tools first give the
    /// answers that they gave before, without doing anything, and then those of now.
    fn resume(&mut self, environment: &BTreeMap<String, String>, tools: &mut CallTool<'_>) -> i32 {
        self.dispatch(environment, tools)
    }
}

impl<F> InProcess for F
where
    F: FnMut(&BTreeMap<String, String>, &mut CallTool<'_>) -> i32,
{
    fn dispatch(
        &mut self,
        environment: &BTreeMap<String, String>,
        tools: &mut CallTool<'_>,
    ) -> i32 {
        self(environment, tools)
    }
}

/// Makes the in-process charm of one unit.
pub type Factory = dyn Fn(&UnitName) -> Box<dyn InProcess>;

/// A charm to deploy.
#[derive(Clone)]
pub struct Charm {
    /// What it declares.
    pub metadata: Arc<Metadata>,
    /// What runs.
    pub code: Code,
}

/// The code of a charm.
#[derive(Clone)]
pub enum Code {
    /// An unpacked charm, run as processes.
    Directory(PathBuf),
    /// A Rust value per unit.
    InProcess(Arc<Factory>),
}

impl Charm {
    /// The unpacked charm in `directory`.
    pub fn directory(directory: impl Into<PathBuf>) -> Result<Self, CharmError> {
        let directory = directory.into();
        Ok(Self {
            metadata: Arc::new(Metadata::read(&directory)?),
            code: Code::Directory(directory),
        })
    }

    /// A charm whose units `factory` makes.
    pub fn in_process<C: InProcess + 'static>(
        metadata: Metadata,
        factory: impl Fn(&UnitName) -> C + 'static,
    ) -> Self {
        Self {
            metadata: Arc::new(metadata),
            code: Code::InProcess(Arc::new(move |unit| Box::new(factory(unit)))),
        }
    }

    /// The same charm, declared to be a subordinate.
    pub fn subordinate(mut self) -> Self {
        Arc::make_mut(&mut self.metadata).subordinate = true;
        self
    }

    /// Unpacks the `.charm` archive at `path` into the directory `into`.
    pub fn unpack(path: &Path, into: &Path) -> Result<Self, CharmError> {
        let archive = |source| CharmError::Archive {
            path: path.to_path_buf(),
            source,
        };
        let file = std::fs::File::open(path).map_err(|source| CharmError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        zip::ZipArchive::new(file)
            .and_then(|mut zip| zip.extract(into))
            .map_err(archive)?;
        Self::directory(into)
    }
}

impl fmt::Debug for Charm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match &self.code {
            Code::Directory(path) => path.display().to_string(),
            Code::InProcess(_) => "in process".to_owned(),
        };
        write!(f, "Charm({}, {code})", self.metadata.name)
    }
}
