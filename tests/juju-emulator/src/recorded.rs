//! What Juju's own parser made of some seven hundred documents, for tests of either side of it.
//!
//! The recording and how it came about are described in `tests/data/README.md`.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;

const RECORDING: &[u8] = include_bytes!("../../data/relation-set-documents.jsonl.gz");

/// A document given to `relation-set --file -`, and what became of it.
#[derive(Debug, Clone)]
pub struct RecordedDocument {
    /// Unique; the part before the first `-` is a group such as `escape`, `safe` or `quirk`.
    pub name: String,
    /// The bytes on standard input.
    pub document: Vec<u8>,
    /// All settings that were read, or the text after `ERROR `.
    ///
    /// What is not valid UTF-8 has U+FFFD in its place.
    pub outcome: Result<BTreeMap<String, String>, String>,
    /// What was encoded as the value of the key `k`; only `safe-*` documents have one.
    pub original: Option<String>,
}

/// A line of the recording.
#[derive(Deserialize)]
struct Line {
    name: String,
    document_base64: String,
    ok: bool,
    settings: Option<BTreeMap<String, String>>,
    error: Option<String>,
    original_base64: Option<String>,
}

/// Every recorded document, in the order of the recording.
///
/// # Panics
/// If the recording is damaged.
pub fn recorded_documents() -> Vec<RecordedDocument> {
    let mut lines = String::new();
    GzDecoder::new(RECORDING)
        .read_to_string(&mut lines)
        .expect("the recording is compressed text");
    lines.lines().map(recorded_document).collect()
}

fn recorded_document(line: &str) -> RecordedDocument {
    let line: Line = serde_json::from_str(line).expect("a line is a JSON object");
    let decode = |base64: String| STANDARD.decode(base64).expect("bytes are in base64");
    let outcome = if line.ok {
        Ok(line.settings.expect("an accepted document has settings"))
    } else {
        Err(line.error.expect("a refused document has an error"))
    };
    RecordedDocument {
        name: line.name,
        document: decode(line.document_base64),
        outcome,
        original: line
            .original_base64
            .map(|original| String::from_utf8(decode(original)).expect("originals are UTF-8")),
    }
}
