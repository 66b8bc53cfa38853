//! Levenshtein distance over UTF-16 code units, and the first of many targets within a tolerance.
//!
//! Code units and not bytes or characters, because the compatible mode has to count as JavaScript does.

/// Which of 64 classes of code units a text contains. One edit removes at most one class and adds at most one.
#[derive(Clone, Copy, Debug, Default)]
struct Classes(u64);

impl Classes {
    fn of(units: &[u16]) -> Self {
        Self(units.iter().fold(0, |bits, unit| bits | 1 << (unit & 63)))
    }

    /// A lower bound of the distance between two texts.
    const fn least_distance(self, other: Self) -> u32 {
        let (lost, gained) = ((self.0 & !other.0).count_ones(), (other.0 & !self.0).count_ones());
        if lost > gained { lost } else { gained }
    }
}

/// What names are compared with, in order.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Length and classes, side by side: nearly every comparison ends here.
    outlines: Vec<(usize, Classes)>,
    forms: Vec<Box<[u16]>>,
    names: Vec<Box<str>>,
    shortest: usize,
    longest: usize,
}

impl Targets {
    /// Targets in the order given; `form` makes of a name what is compared.
    pub fn new(names: impl IntoIterator<Item = String>, form: impl Fn(&str) -> String) -> Self {
        let names: Vec<Box<str>> = names.into_iter().map(String::into_boxed_str).collect();
        let forms: Vec<Box<[u16]>> = names.iter().map(|name| form(name).encode_utf16().collect()).collect();
        let outlines: Vec<_> = forms.iter().map(|form| (form.len(), Classes::of(form))).collect();
        let shortest = outlines.iter().map(|outline| outline.0).min().unwrap_or(0);
        let longest = outlines.iter().map(|outline| outline.0).max().unwrap_or(0);
        Self { outlines, forms, names, shortest, longest }
    }

    /// The first target at most `tolerance` edits away from `text` without the first `removed` in it.
    pub fn first_within(&self, text: &str, removed: &str, tolerance: u32) -> Option<&str> {
        let units = self.units(text, removed, tolerance)?;
        let classes = Classes::of(&units);
        self.outlines.iter().enumerate().find_map(|(index, &(length, of_target))| {
            let near = length.abs_diff(units.len()) <= tolerance as usize
                && classes.least_distance(of_target) <= tolerance
                && within(&units, self.forms.get(index)?, tolerance);
            if near { self.names.get(index).map(AsRef::as_ref) } else { None }
        })
    }

    /// The code units of the text, or nothing when its length alone says that no target is near.
    fn units(&self, text: &str, removed: &str, tolerance: u32) -> Option<Vec<u16>> {
        if self.names.is_empty() {
            return None;
        }
        let (before, after) = text.split_once(removed).unwrap_or((text, ""));
        // A code unit takes one byte at least and three at most.
        let bytes = before.len() + after.len();
        let tolerance = tolerance as usize;
        if bytes > 3 * self.longest.saturating_add(tolerance) || bytes + tolerance < self.shortest {
            return None;
        }
        let mut units = Vec::with_capacity(bytes);
        units.extend(before.encode_utf16().chain(after.encode_utf16()));
        Some(units)
    }
}

/// Whether the distance between `a` and `b` is at most `tolerance`.
pub fn within(a: &[u16], b: &[u16], tolerance: u32) -> bool {
    distance(a, b, tolerance).is_some()
}

/// The distance between `a` and `b` if it is at most `tolerance`: only cells near the diagonal are computed.
pub fn distance(a: &[u16], b: &[u16], tolerance: u32) -> Option<u32> {
    // No distance is above the longer length, so a larger tolerance asks for nothing more.
    let tolerance = tolerance.min(a.len().max(b.len()) as u32);
    let band = tolerance as usize;
    if a.len().abs_diff(b.len()) > band {
        return None;
    }
    let far = tolerance + 1;
    // Cells outside the band keep `far`: in the first row they are at least that far from the start.
    let mut row: Vec<u32> = (0..=b.len() as u32).map(|column| column.min(far)).collect();
    for (above, unit) in a.iter().enumerate() {
        let first = (above + 1).saturating_sub(band).max(1);
        let last = (above + 1 + band).min(b.len());
        let edge = if first == 1 { far.min(above as u32 + 1) } else { far };
        let mut diagonal = std::mem::replace(&mut row[first - 1], edge);
        let mut best = edge;
        for column in first..=last {
            let substituted = diagonal + u32::from(*unit != b[column - 1]);
            let edited = row[column].min(row[column - 1]) + 1;
            diagonal = std::mem::replace(&mut row[column], substituted.min(edited).min(far));
            best = best.min(row[column]);
        }
        if best == far {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= tolerance)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    /// The textbook's two rows.
    fn plain(a: &[u16], b: &[u16]) -> u32 {
        let mut row: Vec<u32> = (0..=b.len() as u32).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i as u32 + 1);
            for (j, y) in b.iter().enumerate() {
                let cell = (diagonal + u32::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], cell);
            }
        }
        *row.last().unwrap()
    }

    #[test]
    fn utf16_distance() {
        let (cyrillic, latin) = (units("mуethеrwallet"), units("myetherwallet"));
        assert_eq!(distance(&cyrillic, &latin, 2), Some(2));
        assert_eq!(distance(&cyrillic, &latin, 1), None);
        // One character outside the basic plane is two code units.
        assert_eq!(distance(&units("a😀"), &units("a"), 9), Some(2));
    }

    #[test]
    fn first_target_wins() {
        let targets = Targets::new(["metamosk".into(), "metamask".into()], str::to_owned);
        assert_eq!(targets.first_within("metamask", "www.", 2), Some("metamosk"));
        assert_eq!(targets.first_within("metamask", "www.", 0), Some("metamask"));
        assert_eq!(targets.first_within("metawww.mask", "www.", 0), Some("metamask"));
        assert_eq!(Targets::default().first_within("", "www.", 9), None);
    }

    proptest! {
        #[test]
        fn the_band_agrees_with_the_textbook(a in "[a-cé😀]{0,12}", b in "[a-cé😀]{0,12}", tolerance in 0u32..15) {
            let (a, b) = (units(&a), units(&b));
            let expected = Some(plain(&a, &b)).filter(|distance| *distance <= tolerance);
            prop_assert_eq!(distance(&a, &b, tolerance), expected);
            prop_assert!(Classes::of(&a).least_distance(Classes::of(&b)) <= plain(&a, &b));
        }
    }
}
