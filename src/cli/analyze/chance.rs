//! How likely something is by chance: tails of the normal distribution, and births against deaths.
//!
//! Many places are tested at once. What may be called a finding is decided for the whole process: the sum of all
//! places' error probabilities is at most [`FALSE_ALARMS`] (Bonferroni's bound). Each place gets a share of it by the
//! part of the live bytes that it holds, and never less than an even share: half of the bound is divided by size, half
//! by number. Example: of 1,000 places, one that holds half of all bytes is believed from p = 2.5e-4 on (3.5 standard
//! errors), one that holds nearly nothing from 5e-7 on (4.9).

/// How often a steady process may be accused: once in so many readings.
pub(crate) const FALSE_ALARMS: f64 = 1e-3;
/// Standard errors of a bound that holds in 95 of 100 cases: what `±` means everywhere.
pub(crate) const BOUND_95: f64 = 1.96;
/// Births and deaths that are counted out; above, the normal distribution is near enough.
const COUNTED: f64 = 500.0;

/// The error probability that one place of so many may have, which holds this share of the live bytes.
pub(crate) fn allowance(share: f64, places: usize) -> f64 {
    FALSE_ALARMS * 0.5 * (share.clamp(0.0, 1.0) + 1.0 / places.max(1) as f64)
}

/// The probability that a normal variable exceeds so many standard deviations (Numerical Recipes' `erfcc`: to 1.2e-7
/// of the value, however small that is).
pub(crate) fn upper_tail(sigmas: f64) -> f64 {
    let x = sigmas.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let terms = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
    ];
    let polynomial = terms.iter().fold(0.0, |sum, term| sum * t + term);
    let tail = 0.5 * t * (-x * x - 1.265_512_23 + t * polynomial).exp();
    if sigmas >= 0.0 { tail } else { 1.0 - tail }
}

/// The probability that of so many births and deaths at least so many are births, if both are as likely.
pub(crate) fn births_by_chance(births: f64, deaths: f64) -> f64 {
    let (births, all) = (births.max(0.0).floor(), births.max(0.0).floor() + deaths.max(0.0).ceil());
    if all < 1.0 {
        return 1.0;
    }
    if all > COUNTED {
        return upper_tail((2.0 * births - all - 1.0) / all.sqrt());
    }
    // Sum of C(n, k) / 2^n for k from births to n, from the smallest term on.
    let mut term = -all * std::f64::consts::LN_2;
    let mut sum = 0.0;
    let mut k = all;
    while k >= births {
        sum += term.exp();
        term += (k / (all - k + 1.0)).ln();
        k -= 1.0;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_the_normal_distribution() {
        for (sigmas, tail) in [(0.0, 0.5), (1.0, 0.158_655), (3.0, 1.3499e-3), (5.0, 2.8665e-7), (-1.0, 0.841_345)] {
            assert!((upper_tail(sigmas) / tail - 1.0).abs() < 1e-4, "{sigmas}: {}", upper_tail(sigmas));
        }
    }

    #[test]
    fn births_without_deaths_are_coins_that_all_fall_one_way() {
        assert!((births_by_chance(10.0, 0.0) - 1.0 / 1024.0).abs() < 1e-12);
        assert!((births_by_chance(2.0, 1.0) - 0.5).abs() < 1e-12);
        assert_eq!((births_by_chance(0.0, 0.0), births_by_chance(0.0, 9.0)), (1.0, 1.0));
        // Counted out and normal agree where they meet.
        let (counted, normal) = (births_by_chance(270.0, 230.0), births_by_chance(271.0, 231.0));
        assert!((counted / normal - 1.0).abs() < 0.05, "{counted} {normal}");
    }

    #[test]
    fn all_places_together_stay_within_the_bound() {
        let shares = [0.5, 0.3, 0.1, 0.1];
        let sum: f64 = shares.iter().map(|share| allowance(*share, shares.len())).sum();
        assert!((sum - FALSE_ALARMS).abs() < 1e-12);
    }
}
