//! Aligned columns.

/// Columns as wide as their widest cell, two spaces apart, without trailing spaces; one line a
/// row, each with its newline. Rows that are short of cells end early.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let columns = lines.iter().map(|cells| cells.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().filter_map(|cells| cells.get(column)).map(|cell| width(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    lines.iter().map(|cells| line(cells, &widths)).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, column)| format!("{cell:column$}"));
    let joined = padded.collect::<Vec<_>>().join("  ");
    format!("{}\n", joined.trim_end())
}

/// Characters, as `format!` pads by them; what we list are names, numbers and states.
fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up() {
        let rows = [row(&["acme-postgres", "running", "17"]), row(&["größe", ""]), row(&[])];
        insta::assert_snapshot!(table(&["CONTAINER", "STATE", "RELEASE"], &rows), @r"
        CONTAINER      STATE    RELEASE
        acme-postgres  running  17
        größe
        ");
        assert_eq!(table(&[], &[]), "\n");
    }
}
