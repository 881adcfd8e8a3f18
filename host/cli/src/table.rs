//! Tables for people.

/// Rows of cells, as wide as they must be.
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    pub(crate) fn with_head(&self) -> String {
        let head = self.line(&self.head.map(str::to_owned));
        if self.rows.is_empty() { head } else { format!("{head}\n{}", self.rows_only()) }
    }

    pub(crate) fn rows_only(&self) -> String {
        self.rows.iter().map(|row| self.line(row)).collect::<Vec<_>>().join("\n")
    }

    fn line(&self, cells: &[String; N]) -> String {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            let width = cells.max().unwrap_or(0).max(self.head[column].len());
            line += &format!("{cell:<width$}  ");
        }
        line.trim_end().to_owned()
    }
}

/// The text in one line and no longer than this; what is not for a terminal is left out.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}
