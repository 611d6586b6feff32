//! Text for people, on a terminal of 80 columns. No library: what one costs in size is better spent
//! elsewhere.

/// The usual width of a terminal, but for the indent that texts have below a title.
const WIDTH: usize = 78;

/// A longer cell moves only the rest of its own row.
const WIDEST: usize = 28;

/// Lays out `rows`, the first of which is the head, as columns two spaces apart.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let cells = |column: usize| rows.iter().map(move |row| row[column].chars().count());
    let fitting = |column| cells(column).filter(|width| *width <= WIDEST).max();
    let widths: [usize; N] = std::array::from_fn(|column| fitting(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let padded = cells.map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    folded(&lines.join("\n"))
}

/// Sentences, one a line: what goes on from the line above is indented.
pub fn folded(text: &str) -> String {
    let mut folded = String::new();
    for line in text.lines() {
        let mut row = String::new();
        for word in line.split(' ') {
            let is_begun = !row.trim().is_empty();
            if is_begun && row.chars().count() + 1 + word.chars().count() > WIDTH {
                folded.push_str(row.trim_end());
                folded.push('\n');
                row = "  ".to_owned();
            } else if is_begun {
                row.push(' ');
            }
            row.push_str(word);
        }
        folded.push_str(row.trim_end());
        folded.push('\n');
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_usual_cell() {
        let long = "x".repeat(WIDEST + 1);
        let rows = [
            ["HOST", "STATE"],
            ["nœud-1", "token"],
            [&long, "y"],
            ["h", ""],
        ];
        assert_eq!(
            columns(&rows.map(|row| row.map(str::to_owned))),
            format!("HOST    STATE\nnœud-1  token\n{long}  y\nh\n")
        );
        assert_eq!(columns::<2>(&[]), "");
    }

    #[test]
    fn what_does_not_fit_goes_on_behind_an_indent() {
        let sentence = "one two three four five six seven eight nine ten eleven twelve thirteen 14";
        let wide = format!("{sentence}     15 16");
        assert_eq!(folded(&wide), format!("{sentence}\n  15 16\n"));
        assert_eq!(folded("one\nfour\n"), "one\nfour\n");
        assert_eq!(folded(&"x".repeat(90)), "x".repeat(90) + "\n");
    }
}
