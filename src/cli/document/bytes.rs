//! Bytes in, text out, without what terminals, editors and PowerShell put around it.

/// The text that `bytes` are, or the place of the first byte that is none, counted from 1.
pub(super) fn text(bytes: &[u8]) -> Result<String, usize> {
    let text = decoded(bytes)?;
    let control = |character: char| {
        character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{1b}')
    };
    match text.find(control) {
        Some(at) => Err(at + 1),
        None => Ok(plain(text)),
    }
}

fn decoded(bytes: &[u8]) -> Result<String, usize> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).map_err(|at| at + 2),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).map_err(|at| at + 2),
        // Without a mark: the first character is in ASCII, whatever Juju prints.
        [1..=127, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, 1..=127, ..] => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(error.valid_up_to() + 1),
        },
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, usize> {
    let (pairs, odd) = bytes.as_chunks();
    let mut text = String::with_capacity(pairs.len());
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        text.push(decoded.map_err(|_| text.encode_utf16().count() * 2 + 1)?);
    }
    match odd {
        [] => Ok(text),
        _ => Err(bytes.len()),
    }
}

fn plain(mut text: String) -> String {
    // Byte order marks are within a file where files with one were appended.
    if text.contains('\u{feff}') {
        text = text.replace('\u{feff}', "");
    }
    if text.contains('\u{1b}') {
        text = uncoloured(&text);
    }
    // Web pages and mail indent with spaces that do not break.
    if text.contains('\u{a0}') {
        text = text.split_inclusive('\n').map(plainly_indented).collect();
    }
    text
}

fn plainly_indented(line: &str) -> String {
    let body = line.trim_start_matches([' ', '\u{a0}']);
    let indent = line[..line.len() - body.len()].chars().count();
    " ".repeat(indent) + body
}

/// Without `ESC [ parameters letter`, as recordings of a terminal have it.
fn uncoloured(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character: char| matches!(character, '@'..='~'));
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_in_any_encoding_of_a_redirection() {
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let whole = "a/0: \"nœud 😀\"\r\n";
        let marked = format!("\u{feff}{whole}");
        for (case, bytes) in [
            ("UTF-8", whole.as_bytes().to_vec()),
            ("UTF-8 with a mark", marked.as_bytes().to_vec()),
            ("UTF-16 LE with a mark", utf16(&marked, u16::to_le_bytes)),
            ("UTF-16 BE with a mark", utf16(&marked, u16::to_be_bytes)),
            ("UTF-16 LE", utf16(whole, u16::to_le_bytes)),
            ("UTF-16 BE", utf16(whole, u16::to_be_bytes)),
        ] {
            assert_eq!(text(&bytes).as_deref(), Ok(whole), "{case}");
        }
    }

    #[test]
    fn what_is_no_text_is_named_by_its_byte() {
        for (case, bytes, at) in [
            ("gzip", &b"\x1f\x8b\x08\0"[..], 2),
            ("Latin-1", b"n\xe6ud", 2),
            ("a zero", b"a/0:\0", 5),
            ("an archive", b"PK\x03\x04", 3),
            ("UTF-16 with half a character", b"\xff\xfea\0b", 5),
            ("UTF-16 with half a pair", b"\xff\xfea\0\x3d\xd8", 5),
        ] {
            assert_eq!(text(bytes), Err(at), "{case}");
        }
    }

    #[test]
    fn what_a_terminal_or_a_page_adds_goes() {
        for (given, kept) in [
            ("\u{1b}[1;34ma/0\u{1b}[0m: {}\n", "a/0: {}\n"),
            ("\u{a0} \u{a0}a: b\u{a0}c\n\u{a0}d", "   a: b\u{a0}c\n d"),
            ("a\u{1b}[", "a"),
            ("a: 1\n\u{feff}b: 2", "a: 1\nb: 2"),
        ] {
            assert_eq!(text(given.as_bytes()).as_deref(), Ok(kept), "{given:?}");
        }
    }
}
