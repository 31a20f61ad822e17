//! Figures of several rounds, and the Markdown tables that they are printed as.

/// What the emulator's figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// So many times the figure of the broker compared with, or more.
    AtLeast(f64),
    /// So many times the figure of the broker compared with, or less.
    AtMost(f64),
    /// So much, or less, whatever others do.
    ValueAtMost(f64),
}

impl Target {
    /// In words, with the verdict where there is something to compare with.
    pub(crate) fn verdict(self, value: Option<f64>, ratio: Option<f64>) -> String {
        let (sign, bound, figure) = match self {
            Self::AtLeast(bound) => (">=", bound, ratio),
            Self::AtMost(bound) => ("<=", bound, ratio),
            Self::ValueAtMost(bound) => ("<=", bound, value),
        };
        let bound_text = match self {
            Self::ValueAtMost(_) => number(bound),
            _ => format!("{bound:.2}"),
        };
        let met = figure.map(|figure| match self {
            Self::AtLeast(_) => figure >= bound,
            _ => figure <= bound,
        });
        match met {
            Some(true) => format!("{sign} {bound_text}: met"),
            Some(false) => format!("{sign} {bound_text}: missed"),
            None => format!("{sign} {bound_text}"),
        }
    }
}

/// What all rounds found, `[broker][figure]` by number.
pub(crate) struct Samples(Vec<Vec<Vec<f64>>>);

impl Samples {
    pub(crate) fn new(brokers: usize) -> Self {
        Self(vec![Vec::new(); brokers])
    }

    pub(crate) fn add(&mut self, broker: usize, figures: &[f64]) {
        let samples = &mut self.0[broker];
        samples.resize(figures.len(), Vec::new());
        for (samples, figure) in samples.iter_mut().zip(figures) {
            samples.push(*figure);
        }
    }

    pub(crate) fn median(&self, broker: usize, figure: usize) -> Option<f64> {
        let mut samples = self.0[broker].get(figure)?.clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }
}

/// A table whose rows are printed as they come.
pub(crate) struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// The first column is as wide as given, the others as their titles, and at least 11.
    pub(crate) fn new(first: usize, titles: &[String]) -> Self {
        let widths = titles.iter().enumerate().map(|(index, title)| {
            let least = if index == 0 { first } else { 11 };
            title.chars().count().max(least)
        });
        let table = Self {
            widths: widths.collect(),
        };
        println!();
        table.row(titles);
        let rule = table.widths.iter().enumerate().map(|(index, width)| {
            let end = if index == 0 { '-' } else { ':' };
            format!("{}{end}", "-".repeat(width - 1))
        });
        table.row(&rule.collect::<Vec<_>>());
        table
    }

    pub(crate) fn row(&self, cells: &[String]) {
        let cells = cells.iter().zip(&self.widths).enumerate();
        let line = cells.map(|(index, (cell, width))| match index {
            0 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        println!("|{}", line.collect::<String>());
    }
}

/// A dash where there is none.
pub(crate) fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), number)
}

pub(crate) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.2}"))
}

/// Three digits at least; thousands are set apart.
fn number(value: f64) -> String {
    if value < 9.995 {
        return format!("{value:.2}");
    }
    if value < 99.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
