//! Columns of text, aligned.

/// How the columns are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Two spaces between columns, for a terminal.
    Plain,
    /// A Markdown table, padded so that its source reads well too.
    Markdown,
}

/// Renders a heading and rows; rows may be shorter than the heading.
pub fn render(style: Style, heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            std::iter::once(&heading).chain(rows).map(|row| cell(row, column).chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for row in [&heading, &rule].into_iter().chain(rows) {
        text.push_str(&line(style, row, &widths));
        text.push('\n');
    }
    text
}

fn line(style: Style, row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> =
        widths.iter().enumerate().map(|(column, &width)| format!("{:width$}", cell(row, column))).collect();
    match style {
        Style::Plain => cells.join("  ").trim_end().to_owned(),
        Style::Markdown => format!("| {} |", cells.join(" | ")),
    }
}

fn cell(row: &[String], column: usize) -> &str {
    row.get(column).map_or("", String::as_str)
}
