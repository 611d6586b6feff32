//! The grammar all hook tools share: GNU style flags as gnuflag reads them, the exit codes, and
//! how a value is printed.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{Printable, SHARED, Stop};

/// What a flag takes.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// Nothing, or a boolean after `=`.
    Nothing,
    /// Any text.
    Text,
    /// A relation's number, perhaps after a name and a colon.
    Relation,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// A flag a tool knows.
#[derive(Clone, Copy)]
pub(super) struct Flag {
    /// What the tool knows it as, and its long form.
    name: &'static str,
    short: Option<char>,
    takes: Takes,
}

impl Flag {
    pub(super) const fn new(name: &'static str, short: Option<char>, takes: Takes) -> Self {
        Self { name, short, takes }
    }

    pub(super) const fn switch(name: &'static str) -> Self {
        Self::new(name, None, Takes::Nothing)
    }
}

pub(super) const RELATION: Flag = Flag::new("relation", Some('r'), Takes::Relation);
pub(super) const FORMAT: Flag = Flag::new("format", None, Takes::OneOf(&["smart", "yaml", "json"]));
pub(super) const BAG_FORMAT: Flag = Flag::new(
    "format",
    None,
    Takes::OneOf(&["smart", "yaml", "json", SHARED]),
);
pub(super) const GOAL_STATE_FORMAT: Flag =
    Flag::new("format", None, Takes::OneOf(&["yaml", "json"]));
pub(super) const OUTPUT: Flag = Flag::new("output", Some('o'), Takes::Text);

/// Arguments, read.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    options: BTreeMap<&'static str, String>,
    pub(super) positional: Vec<String>,
}

impl Arguments {
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.option(name) == Some("true")
    }

    /// Takes the next positional argument.
    pub(super) fn next(&mut self) -> Option<String> {
        (!self.positional.is_empty()).then(|| self.positional.remove(0))
    }

    /// Refuses whatever was not taken.
    pub(super) fn nothing_left(&self) -> Result<(), Stop> {
        if self.positional.is_empty() {
            return Ok(());
        }
        let quoted: Vec<String> = self.positional.iter().map(|arg| go_quoted(arg)).collect();
        Err(Stop::usage(format!(
            "unrecognized args: [{}]",
            quoted.join(" ")
        )))
    }
}

/// Reads `arguments` by `flags`. `known` says whether the unit is in a relation.
pub(super) fn parse(
    arguments: &[String],
    flags: &[Flag],
    known: &dyn Fn(u32) -> bool,
) -> Result<Arguments, Stop> {
    let mut read = Arguments::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            read.positional.extend(rest.cloned());
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let flag = flags.iter().find(|flag| flag.name == name);
            let shown = format!("--{name}");
            take(flag, &shown, value, &mut rest, known, &mut read)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            let mut letters = argument[1..].chars();
            while let Some(letter) = letters.next() {
                let flag = flags.iter().find(|flag| flag.short == Some(letter));
                let shown = format!("-{letter}");
                let switch = flag.is_some_and(|flag| matches!(flag.takes, Takes::Nothing));
                let value = letters.as_str();
                if switch || value.is_empty() {
                    take(flag, &shown, None, &mut rest, known, &mut read)?;
                } else {
                    take(flag, &shown, Some(value), &mut rest, known, &mut read)?;
                    break;
                }
            }
        } else {
            read.positional.push(argument.clone());
        }
    }
    Ok(read)
}

fn take<'a>(
    flag: Option<&Flag>,
    shown: &str,
    value: Option<&str>,
    rest: &mut impl Iterator<Item = &'a String>,
    known: &dyn Fn(u32) -> bool,
    read: &mut Arguments,
) -> Result<(), Stop> {
    let Some(flag) = flag else {
        if matches!(shown, "--help" | "-h") {
            return Err(Stop::Help);
        }
        return Err(Stop::usage(format!(
            "option provided but not defined: {shown}"
        )));
    };
    let value = match (flag.takes, value) {
        (Takes::Nothing, None) => "true".to_owned(),
        (_, Some(value)) => value.to_owned(),
        (_, None) => rest
            .next()
            .cloned()
            .ok_or_else(|| Stop::usage(format!("option needs an argument: {shown}")))?,
    };
    let value = checked(flag, &value, known).map_err(|problem| {
        Stop::usage(format!(
            "invalid value {} for option {shown}: {problem}",
            go_quoted(&value)
        ))
    })?;
    read.options.insert(flag.name, value);
    Ok(())
}

fn checked(flag: &Flag, value: &str, known: &dyn Fn(u32) -> bool) -> Result<String, String> {
    match flag.takes {
        Takes::Text => Ok(value.to_owned()),
        Takes::Nothing => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err(format!(
                "strconv.ParseBool: parsing {}: invalid syntax",
                go_quoted(value)
            )),
        },
        Takes::OneOf(words) => {
            if words.contains(&value) {
                Ok(value.to_owned())
            } else {
                Err(format!("unknown format {}", go_quoted(value)))
            }
        }
        Takes::Relation => {
            let number = value.rsplit(':').next().unwrap_or_default();
            match number.parse::<u32>() {
                Err(_) => Err("invalid relation id".to_owned()),
                Ok(id) if known(id) => Ok(id.to_string()),
                Ok(_) => Err("relation not found".to_owned()),
            }
        }
    }
}

/// `key=value` arguments, as `relation-set` and its kin take them.
pub(super) fn key_values(arguments: &[String]) -> Result<BTreeMap<String, String>, Stop> {
    let mut pairs = BTreeMap::new();
    for argument in arguments {
        match argument.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
                    return Err(Stop::usage(format!(
                        "key {} specified more than once",
                        go_quoted(key)
                    )));
                }
            }
            _ => {
                return Err(Stop::usage(format!(
                    "expected \"key=value\", got {}",
                    go_quoted(argument)
                )));
            }
        }
    }
    Ok(pairs)
}

/// Text as Go's `%q` shows it, as far as hook tools are ever given any.
pub(super) fn go_quoted(text: &str) -> String {
    format!("{text:?}")
}

/// A value as a tool prints it.
pub(super) fn printed(printable: &Printable, format: &str) -> Vec<u8> {
    let text = match (printable, format) {
        (Printable::Value(value), "json") => json(value),
        (Printable::Value(value), "yaml") => yaml(value),
        (Printable::Value(value), _) => smart(value),
        (Printable::Bag(content), "json") => json(&**content),
        (Printable::Bag(content), _) => yaml(&**content),
    };
    if text.is_empty() {
        return Vec::new();
    }
    let mut bytes = text.into_bytes();
    bytes.push(b'\n');
    bytes
}

/// JSON as Go writes it: `<`, `>`, `&` and the two line separators escaped.
fn json(value: &impl Serialize) -> String {
    // Neither a `Value` nor a databag has anything that JSON could not say.
    let plain = serde_json::to_string(value).unwrap_or_default();
    // 0xe2 begins the two separators, among others.
    let suspect = |byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
    if !plain.bytes().any(suspect) {
        return plain;
    }
    let mut escaped = String::with_capacity(plain.len() + 64);
    for c in plain.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn yaml(value: &impl Serialize) -> String {
    // Nor that YAML could not say.
    let text = serde_yaml::to_string(value).unwrap_or_default();
    text.trim_end_matches('\n').to_owned()
}

fn smart(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let lines: Vec<String> = items.iter().map(smart).collect();
            lines.join("\n")
        }
        Value::Number(_) | Value::Object(_) => yaml(value),
    }
}
