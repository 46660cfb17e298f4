//! JSON numbers as Cedar's `Long` and `decimal`: exactly, or not at all.

/// The number as a `Long`: `5`, `5.0` and `5e0` are the same integer (JSON Schema 2020-12, 4.2.3).
pub(crate) fn long(text: &str) -> Option<i64> {
    let (digits, exponent) = exact(text)?;
    i64::try_from(scaled(digits, exponent)?).ok()
}

/// The number as the text of a `decimal`, which has four digits after the point.
pub(crate) fn decimal(text: &str) -> Option<String> {
    let (digits, exponent) = exact(text)?;
    let value = i64::try_from(scaled(digits, exponent.checked_add(4)?)?).ok()?;
    let (sign, size) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    Some(format!("{sign}{}.{:04}", size / 10_000, size % 10_000))
}

/// `digits * 10^exponent`, if that is an integer that fits.
fn scaled(digits: i128, exponent: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    // No trailing zero is left in `digits`, so a negative exponent means a fraction.
    let exponent = u32::try_from(exponent).ok()?;
    digits.checked_mul(10_i128.checked_pow(exponent)?)
}

/// Takes a JSON number apart into digits without trailing zeros and a power of ten.
fn exact(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    if unsigned.is_empty() || !unsigned.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}").parse::<i128>().ok()?;
    let mut exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        exponent = exponent.checked_add(1)?;
    }
    Some((digits, exponent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written_and_nothing_is_rounded() {
        for (text, value) in [("5", 5), ("5.0", 5), ("-5e0", -5), ("0.5e1", 5), ("1E2", 100), ("-0", 0), ("0.0", 0)] {
            assert_eq!(long(text), Some(value), "{text}");
        }
        assert_eq!(long("9223372036854775807"), Some(i64::MAX));
        assert_eq!(long("-9223372036854775808"), Some(i64::MIN));
        for text in
            ["9223372036854775808", "5.5", "1e19", "1e999999999", "1e99999999999", "true", "\"5\"", "", "-", "NaN"]
        {
            assert_eq!(long(text), None, "{text}");
        }
        assert_eq!(long(&format!("1{}", "0".repeat(5_000))), None);
    }

    #[test]
    fn a_decimal_has_four_digits_or_is_not_one() {
        for (text, value) in
            [("1.5", "1.5000"), ("-0.25", "-0.2500"), ("10", "10.0000"), ("1e-4", "0.0001"), ("0", "0.0000")]
        {
            assert_eq!(decimal(text).as_deref(), Some(value));
        }
        assert_eq!(decimal("922337203685477.5807").as_deref(), Some("922337203685477.5807"));
        assert_eq!(decimal("-922337203685477.5808").as_deref(), Some("-922337203685477.5808"));
        for text in ["1.23456", "1e-5", "922337203685477.5808", "1e300"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_long_reads_back(value: i64) {
            prop_assert_eq!(long(&value.to_string()), Some(value));
            prop_assert_eq!(long(&format!("{value}.000")), Some(value));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eE]{0,40}") {
            let _ = (long(&text), decimal(&text));
        }
    }
}
