//! Numbers as people read them, the same on every page and in the terminal.

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 class`, `1,234 classes`: a number of things, whose name is given for one of them.
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {}", grouped(number), named(number, one))
}

/// As [`counted`], without marks between the digits, for what programs read too.
pub fn plain(number: u64, one: &str) -> String {
    format!("{number} {}", named(number, one))
}

fn named(number: u64, one: &str) -> String {
    match number {
        1 => one.to_owned(),
        // `classes`, `batches`; an epoch's end is spoken as k.
        _ if one.ends_with('s') || one.ends_with("tch") => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

/// Bytes in decimal units, as disks are sold: `34.5 MB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A number with `decimals` places and grouped digits before them; what is not finite is a dash.
pub fn decimal(number: f64, decimals: usize) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if number < 0.0 && !is_zero { "-" } else { "" };
    match fraction {
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

/// A tick of an axis: as few digits as `step` needs, thousands as `k`, millions as `M`.
pub(super) fn tick(value: f64, step: f64) -> String {
    let (value, step, unit) = match value.abs() {
        x if x >= 1e6 => (value / 1e6, step / 1e6, "M"),
        x if x >= 1e4 => (value / 1e3, step / 1e3, "k"),
        _ => (value, step, ""),
    };
    let decimals = (0..6)
        .find(|&d| {
            let scaled = step * 10_f64.powi(d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1e-300)
        })
        .unwrap_or(6);
    decimal(value, decimals as usize) + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        let cases = [
            (0, "step", "0 steps"),
            (1, "epoch", "1 epoch"),
            (2, "epoch", "2 epochs"),
            (1234, "class", "1,234 classes"),
            (2, "batch", "2 batches"),
        ];
        for (number, one, said) in cases {
            assert_eq!(counted(number, one), said);
            assert_eq!(plain(number, one), said.replace(',', ""));
        }
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(bytes(172_700_000), "172.7 MB");
        assert_eq!(decimal(1234.5678, 2), "1,234.57");
        assert_eq!(decimal(-0.001, 2), "0.00");
        assert_eq!(decimal(-12.25, 1), "-12.2");
        assert_eq!(decimal(f64::NAN, 1), "–");
    }

    #[test]
    fn ticks_are_short() {
        let labels = [
            (0.0, 50.0),
            (0.25, 0.25),
            (100.0, 100.0),
            (20_000.0, 5_000.0),
            (2.5e6, 5e5),
        ]
        .map(|(value, step)| tick(value, step));
        assert_eq!(labels, ["0", "0.25", "100", "20k", "2.5M"]);
        assert_eq!(tick(1_000.0, 1_000.0), "1,000");
    }
}
