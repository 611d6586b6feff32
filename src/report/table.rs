//! Columns for people, on a terminal of 80 columns. No library: what one costs in size is better
//! spent elsewhere.

/// The usual width of a terminal, but for the indent that texts have below a title.
const WIDTH: usize = 78;

/// Lines of a row: higher ones are hard to read.
const TALLEST: usize = 2;

/// Between two columns.
const GAP: usize = 2;

/// Lays out `rows`, the first of which is the head, as columns two spaces apart. Cells wrap between
/// words. The last columns, where there is no room for that, are below their row.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    within(rows, WIDTH)
}

/// Sentences, one a line: what goes on from the line above is indented by two spaces.
pub fn folded(text: &str) -> String {
    let lines = text.lines().flat_map(|line| wrapped(line, WIDTH, "  "));
    lines.map(|line| line + "\n").collect()
}

fn within<const N: usize>(rows: &[[String; N]], width: usize) -> String {
    let is_flat = |widths: &Vec<usize>| {
        let mut cells = rows.iter().flat_map(|row| row.iter().zip(widths));
        cells.all(|(cell, width)| wrapped(cell, *width, " ").len() <= TALLEST)
    };
    let fit = |columns| widths(rows, columns, width).filter(is_flat);
    let fitting = (1..=N).rev().find_map(fit);
    // Not even one: its words are as wide as they are.
    let widths = fitting.unwrap_or_else(|| vec![width]);
    let Some(head) = rows.first() else {
        return String::new();
    };
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| wrapped(cell, *width, " "))
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let part = cell.get(at).map_or("", String::as_str);
                line.push_str(&format!("{part:width$}{:GAP$}", ""));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let below = head.iter().zip(row).skip(widths.len()).filter(|_| at > 0);
        for (head, cell) in below {
            let lines = wrapped(&format!("{head}: {cell}"), width - width.min(2), "  ");
            for line in lines {
                text.push_str(format!("  {line}").trim_end());
                text.push('\n');
            }
        }
    }
    text
}

/// How wide the first `columns` are: as their widest cells; then the widest give way first, down to
/// their widest words. `None` where that is not enough.
fn widths<const N: usize>(
    rows: &[[String; N]],
    columns: usize,
    width: usize,
) -> Option<Vec<usize>> {
    let widest = |measure: fn(&str) -> usize| -> Vec<usize> {
        let cells = |column: usize| rows.iter().map(move |row| measure(&row[column]));
        (0..columns)
            .map(|column| cells(column).max().unwrap_or(0))
            .collect()
    };
    let (mut widths, least) = (widest(length), widest(longest_word));
    while widths.iter().sum::<usize>() + GAP * (columns - 1) > width {
        let can_give = (0..columns).filter(|column| widths[*column] > least[*column]);
        let column = can_give.max_by_key(|column| widths[*column])?;
        widths[column] -= 1;
    }
    Some(widths)
}

/// The words of `text` in lines of at most `width`, all but the first behind `indent`.
fn wrapped(text: &str, width: usize, indent: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let is_begun = line.len() > if lines.is_empty() { 0 } else { indent.len() };
        if is_begun && length(&line) + 1 + length(word) > width {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
        } else if is_begun {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// What a column needs at least: a word that goes on in a further line is indented.
fn longest_word(text: &str) -> usize {
    let words = text.split(' ').enumerate();
    let words = words.map(|(at, word)| length(word) + usize::from(at > 0));
    words.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<const N: usize>(rows: &[[&str; N]], width: usize) -> String {
        let rows: Vec<[String; N]> = rows.iter().map(|row| row.map(str::to_owned)).collect();
        within(&rows, width)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["HOST", "STATE"], ["nœud-1", "token"], ["h", ""]];
        assert_eq!(
            columns(&rows.map(|row| row.map(str::to_owned))),
            "HOST    STATE\nnœud-1  token\nh\n"
        );
    }

    #[test]
    fn the_widest_columns_give_way_between_words() {
        let rows = [
            ["HOST", "ANNOUNCED BY", "WHY"],
            ["h", "m/0 (relation 2)", "one two three four five"],
            ["i", "-", "-"],
        ];
        let text = "\
HOST  ANNOUNCED BY   WHY
h     m/0 (relation  one two three
       2)             four five
i     -              -
";
        assert_eq!(table(&rows, 34), text);
    }

    #[test]
    fn what_is_too_wide_for_a_column_is_below_its_row() {
        let rows = [
            ["NR", "KEY", "WHY"],
            ["1", "a-word-of-some-length", "announced by m/0"],
            ["2", "k", "-"],
        ];
        let text = "\
NR  KEY
1   a-word-of-some-length
  WHY: announced by m/0
2   k
  WHY: -
";
        assert_eq!(table(&rows, 26), text);
        let text = "\
NR
1
  KEY:
    a-word-of-some-length
  WHY: announced by m/0
2
  KEY: k
  WHY: -
";
        assert_eq!(table(&rows, 24), text);
        assert!(table(&rows, 39).starts_with("NR  KEY                    WHY\n"));
        assert_eq!(table(&[["a-long-word"]], 4), "a-long-word\n");
        assert_eq!(table::<2>(&[], 4), "");
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        let words = "a bb ccc dddd eeeee ffffff ggggggg hhhhhhhh";
        for width in 12..120 {
            let text = table(
                &[["A", "B", "C"], [words, "HEAD", words], ["x", words, ""]],
                width,
            );
            for line in text.lines() {
                assert!(length(line) <= width, "{width}: {line}");
            }
            for word in words.split(' ') {
                assert!(text.matches(word).count() >= 3, "{word} in {text}");
            }
        }
    }

    #[test]
    fn sentences_go_on_behind_an_indent() {
        let sentence = "one two three four five six seven eight nine ten eleven twelve thirteen 14";
        assert_eq!(folded("one\nfour\n"), "one\nfour\n");
        assert_eq!(
            folded(&format!("{sentence} 15 16")),
            format!("{sentence} 15\n  16\n")
        );
        assert_eq!(folded(&"x".repeat(90)), "x".repeat(90) + "\n");
        assert_eq!(folded(""), "");
    }
}
