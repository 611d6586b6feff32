//! A text taken apart: where a unit begins, what belongs to it, and what is no part of any.

use std::ops::RangeInclusive;

use serde_json::error::Category;

use super::shape::{Lack, Unit, Units};
use super::{Document, InputError};
use crate::core::names::UnitName;

/// A login's banner and a prompt are fewer lines than that; another command's output is more.
const MOST_STRAY_LINES: usize = 100;

/// The YAML library keeps about 300 bytes for each, however short.
const MOST_ENTRIES: usize = 1_000_000;

/// The units of `text`.
pub(super) fn units(file: &str, text: &str) -> Result<Document, InputError> {
    let mut reader = Reader {
        file,
        document: Document {
            units: Vec::new(),
            notes: Vec::new(),
        },
        block: None,
        section: None,
        table: None,
        stray: Vec::new(),
        entries: 0,
    };
    reader.read(text)?;
    reader.end()
}

struct Reader<'a> {
    file: &'a str,
    document: Document,
    /// The unit that is being read.
    block: Option<Block>,
    /// A line and its indent that begins a map, as only other commands' output has it.
    section: Option<(usize, usize)>,
    /// A line of a table of `juju status`, which may be on the line of what is looked for.
    table: Option<usize>,
    /// Lines that are no part of any unit.
    stray: Vec<RangeInclusive<usize>>,
    entries: usize,
}

/// The lines of one unit.
struct Block {
    text: String,
    /// The first line's number, and how many there are.
    line: usize,
    lines: usize,
    /// How far the unit's name is indented, and how far what it has.
    indent: usize,
    inner: Option<usize>,
    /// Whether a line that is none of the unit's came last.
    is_interrupted: bool,
}

impl Block {
    /// Whether a line belongs to the unit. Where the first line of a paste lost its indent, the
    /// next unit is indented further than this one, but less than what this one has.
    fn holds(&self, indent: usize, line: &str) -> bool {
        // YAML has no tabs there, and says so.
        if line.starts_with('\t') {
            return !self.is_interrupted;
        }
        let is_inner = self.inner.is_none_or(|inner| indent >= inner);
        indent > self.indent && (is_inner || (!self.is_interrupted && header(line).is_none()))
    }

    fn push(&mut self, number: usize, line: &str) {
        // Lines that were left out are blank, so that errors name the right ones.
        while self.line + self.lines < number {
            self.text.push('\n');
            self.lines += 1;
        }
        self.text.push_str(line);
        self.lines += 1;
        self.is_interrupted = false;
    }
}

impl Reader<'_> {
    fn read(&mut self, text: &str) -> Result<(), InputError> {
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let (line, after) = rest.split_at(rest.find('\n').map_or(rest.len(), |end| end + 1));
            let body = line.trim_start_matches(' ');
            let indent = line.len() - body.len();
            rest = after;
            if body.trim().is_empty() {
                continue;
            }
            if let Some(block) = &mut self.block
                && block.holds(indent, body)
            {
                block.inner.get_or_insert(indent);
                block.push(number, line);
            } else if body.starts_with('{') {
                self.close()?;
                let from = text.len() - rest.len() - body.len();
                let read = self.json(text, from, number)?;
                // What follows on the last line is looked at as if it were alone.
                rest = &text[from + read..];
                number = number + newlines(&text[from..from + read]) - 1;
            } else {
                self.line(number, indent, line, body.trim_end())?;
            }
        }
        self.close()
    }

    /// A line that is no part of the unit before it.
    fn line(
        &mut self,
        number: usize,
        indent: usize,
        line: &str,
        body: &str,
    ) -> Result<(), InputError> {
        if let Some((at, outer)) = self.section
            && indent > outer
            && is_entry(body)
        {
            return Err(match child_of(body) {
                Some(command) => self.other_command(at, command),
                None => self.not_show_unit(at, "but begins something else"),
            });
        }
        self.section = None;
        if header(body).is_some() {
            self.close()?;
            self.block = Some(Block {
                text: line.to_owned(),
                line: number,
                lines: 1,
                indent,
                inner: None,
                is_interrupted: false,
            });
            return Ok(());
        }
        if matches!(body, "---" | "...") {
            return self.close();
        }
        if body.starts_with('#') {
            return Ok(());
        }
        if let Some(command) = top_of(body) {
            return Err(self.other_command(number, command));
        }
        if is_of_table(body) {
            self.table.get_or_insert(number);
        }
        if is_entry(body) && body.ends_with(':') {
            self.section = Some((number, indent));
        }
        if let Some(block) = &mut self.block {
            block.is_interrupted = true;
        }
        match self.stray.last_mut() {
            Some(last) if *last.end() + 1 == number => *last = *last.start()..=number,
            _ => self.stray.push(number..=number),
        }
        let strays: usize = self.stray.iter().map(|lines| lines.clone().count()).sum();
        match strays > MOST_STRAY_LINES {
            true => {
                let first = self.stray.first().map_or(number, |lines| *lines.start());
                Err(self.not_show_unit(first, "and many more are not"))
            }
            false => Ok(()),
        }
    }

    /// Parses the unit that was read.
    fn close(&mut self) -> Result<(), InputError> {
        let Some(block) = self.block.take() else {
            return Ok(());
        };
        self.weigh(&block.text)?;
        let units: Units = serde_yaml::from_str(&block.text).map_err(|error| {
            let location = error.location();
            let (line, column) = location.map_or((1, 1), |at| (at.line(), at.column()));
            let (file, format) = (self.file.to_owned(), "YAML");
            // The end of the text counts as the line after it.
            let line = block.line + line.min(block.lines) - 1;
            match serde_yaml::from_str::<serde::de::IgnoredAny>(&block.text) {
                Ok(_) => InputError::Shape { file, line, column },
                Err(_) => InputError::Syntax {
                    file,
                    format,
                    line,
                    column,
                },
            }
        })?;
        self.add(units, block.line)
    }

    /// Parses the JSON object that begins at `from`, and returns how long it is.
    fn json(&mut self, text: &str, from: usize, number: usize) -> Result<usize, InputError> {
        if self.entries == 0 {
            self.weigh(&text[from..])?;
        }
        let mut objects = serde_json::Deserializer::from_str(&text[from..]).into_iter::<Units>();
        match objects.next() {
            Some(Ok(units)) => {
                let read = objects.byte_offset();
                self.add(units, number)?;
                Ok(read)
            }
            Some(Err(error)) => {
                let file = self.file.to_owned();
                let line = number + error.line().max(1) - 1;
                let before = text[..from].rsplit('\n').next().map_or(0, str::len);
                let column = match error.line() {
                    1 => error.column() + before,
                    _ => error.column(),
                };
                Err(match error.classify() {
                    Category::Eof => InputError::CutOff { file, line },
                    Category::Data => InputError::Shape { file, line, column },
                    Category::Syntax | Category::Io => InputError::Syntax {
                        file,
                        format: "JSON",
                        line,
                        column,
                    },
                })
            }
            None => Ok(text.len() - from),
        }
    }

    fn add(&mut self, units: Units, line: usize) -> Result<(), InputError> {
        if let Some(key) = units.foreign {
            return Err(match top_of(&format!("{key}:")) {
                Some(command) => self.other_command(line, command),
                None => self.not_show_unit(line, "for something in it is no unit by its name"),
            });
        }
        for (name, unit) in units.units {
            let unit = self.unit(name, unit, line)?;
            self.document.units.push(unit);
        }
        Ok(())
    }

    fn unit(
        &self,
        name: UnitName,
        unit: Unit,
        line: usize,
    ) -> Result<super::ShownUnit, InputError> {
        let place = format!("{} line {line}", self.file);
        unit.shown(name.clone(), place).map_err(|lack| match lack {
            Lack::OtherCommand(command) => self.other_command(line, command),
            Lack::Field(lacks) => InputError::Unit {
                file: self.file.to_owned(),
                line,
                unit: name,
                lacks,
            },
        })
    }

    /// Refuses what would take too much memory, before it does.
    fn weigh(&mut self, text: &str) -> Result<(), InputError> {
        let begins_entry = |byte: &u8| matches!(byte, b'\n' | b',' | b'[' | b'{' | b'-' | b'?');
        self.entries += text.bytes().filter(|byte| begins_entry(byte)).count();
        match self.entries > MOST_ENTRIES {
            true => Err(InputError::TooLarge {
                file: self.file.to_owned(),
                limit: "over a million entries",
            }),
            false => Ok(()),
        }
    }

    fn end(mut self) -> Result<Document, InputError> {
        if self.document.units.is_empty() {
            return Err(match (self.table, self.stray.first()) {
                (Some(line), _) => self.other_command(line, "juju status"),
                (None, Some(lines)) => {
                    self.not_show_unit(*lines.start(), "nor is any other line of it")
                }
                (None, None) => InputError::Empty {
                    file: self.file.to_owned(),
                },
            });
        }
        for lines in &self.stray {
            let (start, end) = (lines.start(), lines.end());
            let lines = match start == end {
                true => format!("line {start} is"),
                false => format!("lines {start} to {end} are"),
            };
            self.document.notes.push(format!(
                "{}: {lines} not from `juju show-unit` and left out",
                self.file
            ));
        }
        Ok(self.document)
    }

    fn other_command(&self, line: usize, command: &'static str) -> InputError {
        InputError::OtherCommand {
            file: self.file.to_owned(),
            line,
            command,
        }
    }

    fn not_show_unit(&self, line: usize, why: &'static str) -> InputError {
        InputError::NotShowUnit {
            file: self.file.to_owned(),
            line,
            why,
        }
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The unit whose name begins the line, with the colon after it.
fn header(line: &str) -> Option<&str> {
    let quote = |character| matches!(character, '"' | '\'');
    let (name, after) = line.split_once(':')?;
    let is_key = after.is_empty() || after.starts_with(char::is_whitespace);
    let name = name.trim_end().trim_start_matches(quote);
    let name = name.trim_end_matches(quote);
    (is_key && UnitName::is(name)).then_some(name)
}

/// Whether the line is `key: value`, or only the key.
fn is_entry(line: &str) -> bool {
    let key = line
        .split_once(':')
        .filter(|(_, after)| after.is_empty() || after.starts_with(char::is_whitespace));
    key.is_some_and(|(key, _)| !key.is_empty() && !key.contains(char::is_whitespace))
}

fn key(line: &str) -> &str {
    line.split_once(':').map_or("", |(key, _)| key)
}

/// The command whose YAML or JSON has such a line at its top.
fn top_of(line: &str) -> Option<&'static str> {
    Some(match key(line) {
        "model" | "machines" | "applications" | "application-endpoints" | "controller" => {
            "juju status"
        }
        "bundle" | "default-base" | "series" | "saas" => "juju export-bundle",
        _ => return None,
    })
}

/// The command that prints such a line below a name of somebody's choice.
fn child_of(line: &str) -> Option<&'static str> {
    Some(match key(line) {
        "charm" | "base" | "channel" | "exposed" | "series" => "juju show-application",
        "name" | "short-name" | "model-uuid" | "model-type" => "juju show-model",
        _ => return None,
    })
}

/// Whether a table of `juju status` has such a line as its head.
fn is_of_table(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!(
        (words.next(), words.next()),
        (Some("Model"), Some("Controller"))
            | (Some("Unit"), Some("Workload"))
            | (Some("App"), Some("Version"))
    )
}
