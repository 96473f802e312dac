//! What the text of a plain scalar means in the core schema of YAML 1.2.2 (chapter 10.3).

/// The types of the core schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Core {
    Null,
    Bool,
    Integer,
    Float,
    String,
}

/// The type of a plain scalar with this text.
pub(super) fn resolve(text: &str) -> Core {
    if is_null(text) {
        return Core::Null;
    }
    if matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") {
        return Core::Bool;
    }
    if is_integer(text) {
        return Core::Integer;
    }
    if is_float(text) { Core::Float } else { Core::String }
}

/// Whether a plain scalar with this text is null.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

fn is_integer(text: &str) -> bool {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    digits(text.strip_prefix(['-', '+']).unwrap_or(text), 10)
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction, 10),
        Some((whole, fraction)) => digits(whole, 10) && (fraction.is_empty() || digits(fraction, 10)),
        None => digits(mantissa, 10),
    };
    mantissa_ok && exponent.is_none_or(|exponent| digits(exponent, 10))
}

/// The integer with this text, when it fits.
pub(super) fn parse_i64(text: &str) -> Option<i64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16).then(|| i64::from_str_radix(hex, 16).ok()).flatten();
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8).then(|| i64::from_str_radix(octal, 8).ok()).flatten();
    }
    is_integer(text).then(|| text.parse().ok()).flatten()
}

/// The finite number with this text.
pub(super) fn parse_f64(text: &str) -> Option<f64> {
    is_float(text).then(|| text.parse::<f64>().ok()).flatten().filter(|number| number.is_finite())
}

/// A value as a message shows it: in backticks, escaped, and cut after 60 characters.
pub fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Whether a string with this text has to be quoted so that no YAML reader, 1.1 included, takes it for something else.
pub(super) fn looks_typed(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    resolve(text) != Core::String
        || matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "<<" | "=")
        || lower.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}
