//! Plain tables: a header line, columns three spaces apart, no borders, no trailing blanks.

use comfy_table::{ContentArrangement, Table as Layout, presets};

use crate::text::one_line;

/// A table being filled.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
}

impl Table {
    /// A table with these column headings.
    pub fn new(headings: &[&str]) -> Self {
        let mut layout = Layout::new();
        layout.load_style(presets::NOTHING);
        // Width is the printer's business: only it knows whether anybody looks at a terminal.
        layout.set_content_arrangement(ContentArrangement::Disabled);
        layout.set_header(headings.to_vec());
        Table { layout }
    }

    /// Adds a row. Empty cells are shown as they are; control characters are taken out.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.layout.add_row(cells.map(|cell| one_line(&cell)));
    }

    /// The text, each line ended.
    pub fn render(mut self) -> String {
        for column in self.layout.column_iter_mut() {
            column.set_padding((0, 3));
        }
        let mut text = String::new();
        for line in self.layout.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A cell for something that may be absent: `-` then.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(&["NAME", "REASON"]);
        table.row(["a-long-name".into(), String::new()]);
        table.row(["b".into(), "line\nend".into()]);
        assert_eq!(table.render(), "NAME          REASON\na-long-name\nb             line end\n");
    }

    #[test]
    fn a_table_is_as_wide_as_it_needs() {
        let mut table = Table::new(&["X"]);
        table.row(["y".repeat(500)]);
        assert!(table.render().contains(&"y".repeat(500)));
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(Table::new(&["A", "B"]).render(), "A   B\n");
    }
}
