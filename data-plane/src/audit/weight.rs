//! How many bytes a stream has, of which only the number of entries is known.

/// Fewest frames that the mean is over.
const FRAMES_MIN: f64 = 16.0;
/// What a frame is taken to weigh before there was one, bytes.
const FIRST: f64 = 2048.0;

/// What an entry of a stream weighs: the mean of about as many of our last frames as the stream has entries.
///
/// Over fewer it would say of the whole stream what is true of its end: where calls wait, frames are ten times as large as
/// those before, and a stream with room for all of them would be left alone. A node that has just begun knows only what it
/// has sent itself, and goes by that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    mean: f64,
    /// Frames the mean was made of.
    seen: f64,
    /// Most frames it is made of.
    most: f64,
}

impl Default for Weight {
    fn default() -> Self {
        Self { mean: FIRST, seen: FRAMES_MIN, most: FRAMES_MIN }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, of what is positive and far below 2^52"
)]
impl Weight {
    /// One frame more, bytes.
    pub(super) fn add(&mut self, bytes: usize) {
        self.seen = (self.seen + 1.0).min(self.most);
        self.mean += (bytes as f64 - self.mean) / self.seen;
    }

    /// Bytes of a stream with so many entries.
    pub(super) fn of(&mut self, entries: u64) -> u64 {
        self.most = FRAMES_MIN.max(entries as f64);
        (entries as f64 * self.mean) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of these bytes are sent to a stream that drops none; gives its bytes and what they are taken for.
    fn filled(frames: impl IntoIterator<Item = usize>) -> (u64, u64) {
        let (mut weight, mut entries, mut bytes) = (Weight::default(), 0, 0);
        for frame in frames {
            weight.add(frame);
            (entries, bytes) = (entries + 1, bytes + frame as u64);
            weight.of(entries);
        }
        (bytes, weight.of(entries))
    }

    #[test]
    fn large_frames_at_the_end_do_not_make_all_of_the_stream_large() {
        let (bytes, taken_for) = filled(std::iter::repeat_n(2_000, 30_000).chain(std::iter::repeat_n(30_000, 300)));
        assert!(taken_for.abs_diff(bytes) < bytes / 10, "{taken_for} of {bytes}");
    }

    #[test]
    fn a_stream_of_large_frames_is_large() {
        for each in [100, 2_000, 30_000, 500_000] {
            let (bytes, taken_for) = filled(std::iter::repeat_n(each, 5_000));
            assert!(taken_for.abs_diff(bytes) < bytes / 10, "{taken_for} of {bytes}");
        }
        assert_eq!(Weight::default().of(0), 0);
    }

    #[test]
    fn a_node_that_has_just_begun_learns_from_its_first_frames() {
        let mut weight = Weight::default();
        for _ in 0..200 {
            weight.of(30_000);
            weight.add(30_000);
        }
        assert!(weight.of(30_000) > 800_000_000, "{}", weight.of(30_000));
    }

    #[test]
    fn what_is_dropped_at_the_other_end_is_forgotten() {
        let mut weight = Weight::default();
        for frame in std::iter::repeat_n(30_000, 5_000).chain(std::iter::repeat_n(1_000, 30_000)) {
            weight.add(frame);
            weight.of(5_000);
        }
        assert!(weight.of(5_000) < 6_000_000, "{}", weight.of(5_000));
    }
}
