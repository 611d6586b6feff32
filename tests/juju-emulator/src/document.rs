//! What `relation-set --file` makes of a document.
//!
//! Juju reads it with `github.com/juju/yaml/v2` v2.0.0, which like `libyaml_safer` is a port of
//! libyaml: tokens, grammar and most error texts are the same here and there. This module adds
//! what differs, always on the strict side: every document accepted here is accepted by Juju and
//! means the same there. A form that cannot be promised is refused with an error saying so. One
//! difference shows nowhere in the code: this port counts the 1024 characters a key may span in
//! bytes.

use std::collections::BTreeMap;
use std::io::{Chain, Read};

use libyaml_safer::{
    Error, ErrorKind, Event, EventData, MappingStyle, Mark, Parser, ScalarStyle, Scanner, TokenData,
};

/// Where the library ends a line.
const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Collections in collections, of which no valid document has any: a bound on the work.
const MAX_DEPTH: i32 = 100;
const DEEP_NESTING: &str = "collections nested so deeply";

/// Reads the settings of `document`; an empty value is what makes Juju delete the key.
pub fn parse(document: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = readable_text(document).map_err(|problem| format!("yaml: {problem}"))?;
    let mut reader = Reader::new(text);
    let settings = reader
        .document()
        .map_err(|problem| format!("yaml: {problem}"))?;
    if reader.mismatches.is_empty() {
        Ok(settings)
    } else {
        Err(format!(
            "yaml: unmarshal errors:\n  {}",
            reader.mismatches.join("\n  ")
        ))
    }
}

/// The document as text, without its byte order mark and free of what no part of it may hold.
fn readable_text(document: &[u8]) -> Result<&str, String> {
    let utf8 = match document {
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => return Err(not_read("UTF-16")),
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        _ => document,
    };
    let (valid, invalid) = match std::str::from_utf8(utf8) {
        Ok(text) => (text, None),
        Err(error) => {
            let (valid, invalid) = utf8.split_at(error.valid_up_to());
            let valid = std::str::from_utf8(valid).expect("checked up to here");
            (valid, Some(invalid))
        }
    };
    if valid.contains(is_refused_control) {
        return Err("control characters are not allowed".to_owned());
    }
    if let Some(invalid) = invalid {
        return Err(utf8_problem(invalid).to_owned());
    }
    // Juju drops some of these and keeps others, depending on where its reads of 512 bytes end.
    if valid.contains('\u{feff}') {
        return Err(not_read("a raw U+FEFF"));
    }
    // JSON allows `\/`, the library does not. Outside double quotes it would be fine.
    if has_escaped_slash(valid) {
        return Err("found unknown escape character".to_owned());
    }
    // Which versions there may be, and in how many digits, is for each port to say.
    if valid
        .split(LINE_BREAKS)
        .any(|line| line.starts_with("%YAML"))
    {
        return Err(not_read("%YAML directives"));
    }
    refuse_tags(valid)?;
    Ok(valid)
}

/// Whether there is a `\/` of which the backslash is not escaped itself.
fn has_escaped_slash(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && bytes.next() == Some(b'/') {
            return true;
        }
    }
    false
}

/// Finds tags without having the port read them: it panics at some in flow collections.
fn refuse_tags(text: &str) -> Result<(), String> {
    if !text.contains('!') {
        return Ok(());
    }
    // Any letter will do that means nothing after a backslash; where tokens begin stays the same.
    let untagged = text.replace('!', "z") + "\n";
    let mut input = untagged.as_bytes();
    let mut scanner = Scanner::new();
    scanner.set_input(&mut input);
    let mut depth = 0;
    for token in scanner {
        let token = token.map_err(|error| problem(&error))?;
        if text.as_bytes().get(token.start_mark.index as usize) == Some(&b'!') {
            return Err(not_read("tags"));
        }
        match token.data {
            TokenData::FlowMappingStart | TokenData::FlowSequenceStart => depth += 1,
            TokenData::FlowMappingEnd | TokenData::FlowSequenceEnd => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(not_read(DEEP_NESTING));
        }
    }
    Ok(())
}

fn is_refused_control(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{fffe}' | '\u{ffff}' => true,
        _ => character.is_control(),
    }
}

/// What is wrong with a text that starts with an invalid UTF-8 sequence.
fn utf8_problem(invalid: &[u8]) -> &'static str {
    let width = match invalid[0] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => return "invalid leading UTF-8 octet",
    };
    let Some(trailing) = invalid.get(1..width) else {
        return "incomplete UTF-8 octet sequence";
    };
    if trailing.iter().any(|octet| octet & 0xc0 != 0x80) {
        return "invalid trailing UTF-8 octet";
    }
    match (invalid[0], trailing[0]) {
        (0xc0 | 0xc1, _) | (0xe0, ..0xa0) | (0xf0, ..0x90) => "invalid length of a UTF-8 sequence",
        _ => "invalid Unicode character",
    }
}

fn not_read(what: &str) -> String {
    format!("this emulator does not read {what}")
}

/// A key or a value.
enum Node {
    Text {
        value: String,
        plain: bool,
    },
    /// A collection, where only text can be: Juju's complaint about it.
    Mismatch(String),
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<Chain<&'a [u8], &'static [u8]>>,
    /// Juju reports all of these together, once the whole document has been read.
    mismatches: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        // The port panics at the end of a block scalar that is not also the end of a line.
        let line_end: &[u8] = if text.ends_with(LINE_BREAKS) {
            b""
        } else {
            b"\n"
        };
        let mut parser = Parser::new();
        parser.set_input(text.as_bytes().chain(line_end));
        Self {
            text,
            parser,
            mismatches: Vec::new(),
        }
    }

    /// Reads the first document; what comes after it matters only as far as the parser peeks.
    fn document(&mut self) -> Result<BTreeMap<String, String>, String> {
        let _stream_start = self.event()?;
        if self.event()?.data == EventData::StreamEnd {
            return Ok(BTreeMap::new());
        }
        let root = self.event()?;
        let settings = if let EventData::MappingStart { style, .. } = root.data {
            self.mapping(style == MappingStyle::Flow)?
        } else {
            let line = root.start_mark.line + 1;
            match self.node(root)? {
                Node::Text { value, plain } if plain && is_null(&value) => {}
                Node::Text { value, .. } => self.mismatches.push(format!(
                    "line {line}: cannot unmarshal !!str `{}` into map[string]string",
                    shortened(&value)
                )),
                Node::Mismatch(_) => self.mismatches.push(format!(
                    "line {line}: cannot unmarshal !!seq into map[string]string"
                )),
            }
            BTreeMap::new()
        };
        let _document_end = self.event()?;
        Ok(settings)
    }

    fn mapping(&mut self, flow: bool) -> Result<BTreeMap<String, String>, String> {
        let mut settings = BTreeMap::new();
        loop {
            let event = self.event()?;
            if event.data == EventData::MappingEnd {
                return Ok(settings);
            }
            let key = self.node(event)?;
            let event = self.event()?;
            let value = self.node(event)?;
            match (key, value) {
                (Node::Text { value, plain: true }, _) if value == "<<" => {
                    return Err(not_read("merge keys"));
                }
                // The library ends a plain scalar in a flow mapping at a question mark.
                (Node::Text { value, plain: true }, _) | (_, Node::Text { value, plain: true })
                    if flow && value.contains('?') =>
                {
                    return Err("did not find expected ',' or '}'".to_owned());
                }
                (Node::Mismatch(mismatch), _) | (_, Node::Mismatch(mismatch)) => {
                    self.mismatches.push(mismatch);
                }
                (key, value) => {
                    settings.insert(key.into_setting(), value.into_setting());
                }
            }
        }
    }

    /// Reads the node that begins with `event`.
    fn node(&mut self, event: Event) -> Result<Node, String> {
        let line = event.start_mark.line + 1;
        match event.data {
            EventData::Scalar { value, style, .. } => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                // The line end that was added may be part of the value.
                if is_block && event.end_mark.index > self.text.len() as u64 {
                    return Err(not_read("a block scalar without an end of line"));
                }
                let plain = style == ScalarStyle::Plain;
                Ok(Node::Text { value, plain })
            }
            EventData::MappingStart { .. } => {
                self.skip_collection()?;
                let mismatch = format!("line {line}: cannot unmarshal !!map into string");
                Ok(Node::Mismatch(mismatch))
            }
            EventData::SequenceStart { .. } => {
                self.skip_collection()?;
                let mismatch = format!("line {line}: cannot unmarshal !!seq into string");
                Ok(Node::Mismatch(mismatch))
            }
            other => unreachable!("not the beginning of a node: {other:?}"),
        }
    }

    /// Reads up to the end of the collection that has just begun.
    fn skip_collection(&mut self) -> Result<(), String> {
        let mut depth = 1;
        while depth > 0 {
            match self.event()?.data {
                EventData::MappingStart { .. } | EventData::SequenceStart { .. } => depth += 1,
                EventData::MappingEnd | EventData::SequenceEnd => depth -= 1,
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(not_read(DEEP_NESTING));
            }
        }
        Ok(())
    }

    /// The next event, without an anchor.
    fn event(&mut self) -> Result<Event, String> {
        let event = self.parser.parse().map_err(|error| problem(&error))?;
        match &event.data {
            // No anchor gets as far as being referred to.
            EventData::Alias { anchor } => Err(format!("unknown anchor '{anchor}' referenced")),
            EventData::Scalar { anchor, .. }
            | EventData::MappingStart { anchor, .. }
            | EventData::SequenceStart { anchor, .. }
                if anchor.is_some() =>
            {
                Err(not_read("anchors"))
            }
            _ => Ok(event),
        }
    }
}

impl Node {
    fn into_setting(self) -> String {
        match self {
            Self::Text { value, plain: true } if is_null(&value) => String::new(),
            Self::Text { value, .. } => value,
            Self::Mismatch(mismatch) => unreachable!("{mismatch}"),
        }
    }
}

fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

/// Juju's text for an error of the parser, whose lines it counts from one or from zero.
fn problem(error: &Error) -> String {
    let line_of = |mark: Option<Mark>| mark.map_or(0, |mark| mark.line);
    let line = match line_of(error.problem_mark()) {
        0 => line_of(error.context_mark()),
        line if error.kind() == ErrorKind::Scanner => line + 1,
        line => line,
    };
    match line {
        0 => error.problem().to_owned(),
        line => format!("line {line}: {}", error.problem()),
    }
}

/// A value as Juju quotes it in an error: cut to ten bytes, be it inside a character.
fn shortened(value: &str) -> String {
    match value.as_bytes() {
        bytes if bytes.len() <= 10 => value.to_owned(),
        bytes => String::from_utf8_lossy(&bytes[..7]).into_owned() + "...",
    }
}
