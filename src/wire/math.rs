//! The two functions that sampling needs, without libm: it would be one more library that every
//! program under the tap must load.

use std::f64::consts::{LN_2, SQRT_2};

/// Natural logarithm of a positive normal number, relative error below 1e-14; 0 gives a large
/// negative number.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln m = 2 artanh s with s = (m-1)/(m+1), |s| < 0.172: ten terms of the series suffice. Even and odd ones
    // apart, so that the two chains of multiplications overlap.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let fourth = square * square;
    let even = [1.0 / 17.0, 1.0 / 13.0, 1.0 / 9.0, 1.0 / 5.0, 1.0].iter().fold(0.0, |sum, term| sum * fourth + term);
    let odd =
        [1.0 / 19.0, 1.0 / 15.0, 1.0 / 11.0, 1.0 / 7.0, 1.0 / 3.0].iter().fold(0.0, |sum, term| sum * fourth + term);
    let sum = even + square * odd;
    exponent as f64 * LN_2 + 2.0 * s * sum
}

/// 1 - exp(-x) for x >= 0, relative error below 1e-13.
pub(crate) fn one_minus_exp(x: f64) -> f64 {
    if x > 36.0 {
        return 1.0;
    }
    // Halve until the series converges fast, then undo it with (1-e^-2y) = (1-e^-y)(2-(1-e^-y)).
    let mut halvings = 0;
    let mut y = x;
    while y > 0.125 {
        y /= 2.0;
        halvings += 1;
    }
    let mut sum = 0.0;
    let mut n = 12.0;
    while n >= 1.0 {
        // Horner form of y - y^2/2! + y^3/3! - …
        sum = y / n * (1.0 - sum);
        n -= 1.0;
    }
    for _ in 0..halvings {
        sum *= 2.0 - sum;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn logarithm_and_exponential_agree_with_libm() {
        for k in 1..200_000u32 {
            let x = f64::from(k) / 100_000.0;
            assert!((ln(x) - x.ln()).abs() <= 1e-14 * x.ln().abs().max(1e-2), "ln {x}");
            let expected = -(-x).exp_m1();
            assert!((one_minus_exp(x) / expected - 1.0).abs() < 1e-13, "exp {x}");
        }
        for x in [1e-18, 1e-9, 0.5, 3.0, 20.0, 39.0, 41.0, 1e9] {
            assert!((one_minus_exp(x) / -(-x).exp_m1() - 1.0).abs() < 1e-13, "exp {x}");
        }
    }
}
